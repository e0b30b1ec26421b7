"""Mutants of real tester files, each told by a seed and a number."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

from tests.stdf.files import plain_bytes

Record = tuple[int, int, int]  # kind, first byte of the header, byte behind the record
Mutation = Callable[[random.Random, bytearray, list[Record], str], str]

SIZES = (2_000, 6_000, 20_000, 60_000)
RESULTS = (15 << 8 | 10, 15 << 8 | 15, 15 << 8 | 20)


def order_of(data: bytes) -> str:
    return ">" if data[4] == 1 else "<"


def records_of(data: bytes, order: str) -> list[Record]:
    found, at = [], 0
    while at + 4 <= len(data):
        length, typ, sub = struct.unpack_from(order + "HBB", data, at)
        if at + 4 + length > len(data):
            break
        found.append((typ << 8 | sub, at, at + 4 + length))
        at += 4 + length
    return found


def sample(data: bytes, size: int) -> bytes:
    """Whole records of a file up to about `size` bytes: its head, its first parts, and its last records."""
    if len(data) <= size:
        return data
    records = records_of(data, order_of(data))
    tail, left = len(records), size // 4
    while tail > 1 and records[tail - 1][2] - records[tail - 1][1] <= left and records[tail - 1][0] not in RESULTS:
        tail -= 1
        left -= records[tail][2] - records[tail][1]
    kept, used = bytearray(), len(data) - (records[tail][1] if tail < len(records) else len(data))
    for kind, start, stop in records[:tail]:
        if kind in (10 << 8 | 30, 1 << 8 | 60) and used > size // 4:  # TSR and PMR would fill the sample
            continue
        if used + stop - start > size:
            break
        kept += data[start:stop]
        used += stop - start
    return bytes(kept) + data[records[tail][1] if tail < len(records) else len(data) :]


class Corpus:
    """Samples of the real files in some sizes."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(p for p in folder.glob("*/*") if ".std" in p.name)
        self.samples: list[tuple[str, bytes]] = []
        for path in paths:
            data = plain_bytes(path)
            for size in SIZES:
                cut = sample(data, size)
                if (path.name, cut) not in self.samples:
                    self.samples.append((path.name, cut))

    def mutant(self, seed: int, number: int) -> tuple[str, bytes]:
        """A description and the bytes of one mutant."""
        rng = random.Random(f"{seed}:{number}")
        weights = [1 / (1 + len(data) / 3000) for _, data in self.samples]
        name, data = rng.choices(self.samples, weights)[0]
        changed, told = bytearray(data), [name[:24]]
        order = order_of(data)
        for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
            records = records_of(bytes(changed), order)
            if not records:
                break
            told.append(rng.choice(MUTATIONS)(rng, changed, records, order))
        if rng.random() < 0.02:
            changed += rng.choice(self.samples)[1]
            told.append("another file behind")
        return ", ".join(told), bytes(changed)


def flip(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    count = rng.choice([1, 1, 2, 8, 40])
    for _ in range(count):
        at = rng.randrange(len(data))
        data[at] = rng.choice([0, 255, 128, data[at] ^ (1 << rng.randrange(8)), rng.randrange(256)])
    return f"{count} bytes flipped"


def noise_in_head(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    """FAR, ATR, MIR: the bytes that decide how all others are read."""
    count = rng.choice([1, 2, 5])
    for _ in range(count):
        data[rng.randrange(min(len(data), rng.choice([6, 12, 200])))] = rng.randrange(256)
    return f"{count} bytes of the head are noise"


def flip_in_result(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    of_results = [r for r in records if r[0] in RESULTS and r[2] - r[1] > 8]
    for _, start, stop in rng.sample(of_results, min(len(of_results), 10)):
        data[rng.randrange(start + 4, stop)] = rng.choice([0, 1, 255, rng.randrange(256)])
    return "bytes of results flipped"


def lie(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    _, start, stop = rng.choice(records)
    length = max(0, min(65535, rng.choice([stop - start - 4 + rng.choice([-4, -1, 1, 2, 4, 256]), rng.randrange(300)])))
    struct.pack_into(order + "H", data, start, length)
    return f"length at {start} is {length}"


def rename(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    _, start, _ = rng.choice(records)
    kind = rng.choice([*(r[0] for r in records[:40]), 180 << 8 | 1, 15 << 8 | 99, 10])
    data[start + 2], data[start + 3] = kind >> 8, kind & 255
    return f"type at {start} is {kind >> 8},{kind & 255}"


def shorten(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    """A record without its last bytes, with a true length."""
    chosen = rng.sample(records, min(len(records), rng.choice([1, 3, 20])))
    for _, start, stop in sorted(chosen, key=lambda record: -record[1]):
        keep = rng.randrange(stop - start - 4 + 1)
        struct.pack_into(order + "H", data, start, keep)
        del data[start + 4 + keep : stop]
    return "records cut"


def drop(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    first = rng.randrange(len(records))
    last = min(len(records), first + rng.choice([1, 1, 5, 50]))
    del data[records[first][1] : records[last - 1][2]]
    return f"records {first}..{last - 1} dropped"


def double(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    first = rng.randrange(len(records))
    last = min(len(records), first + rng.choice([1, 1, 5, 30]))
    piece = data[records[first][1] : records[last - 1][2]]
    at = rng.choice(records)[2]
    data[at:at] = piece
    return f"records {first}..{last - 1} again at {at}"


def swap(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    one, other = sorted(rng.sample(range(len(records)), 2)) if len(records) > 1 else (0, 0)
    if one != other:
        (_, a, b), (_, c, d) = records[one], records[other]
        data[a:d] = data[c:d] + data[b:c] + data[a:b]
    return f"records {one} and {other} swapped"


def truncate(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    del data[rng.randrange(len(data)) :]
    return f"cut at {len(data)}"


def pad(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    count = rng.choice([1, 3, 4, 5, 512])
    data += bytes(count) if rng.random() < 0.7 else rng.randbytes(count)
    return f"{count} bytes behind"


def vendors(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    """Records of types that STDF V4 does not have, some in a row, also before the first and behind the last record."""
    at = rng.choice([rng.choice(records)[2], rng.choice(records)[2], 6, len(data)])
    count, told = rng.choice([1, 2, 3, 40]), bytearray()
    for _ in range(count):
        payload = rng.randbytes(rng.choice([0, 1, 4, 40, 300]))
        told += struct.pack(order + "HBB", len(payload), rng.choice([1, 15, 180, 181]), rng.choice([7, 95, 102, 200]))
        told += payload
    data[at:at] = told
    return f"{count} vendor records at {at}"


def second_header(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    """A MIR again, as it is or of another lot, or a whole head in either byte order."""
    at = rng.choice(records)[2]
    headers = [data[start:stop] for kind, start, stop in records if kind == 1 << 8 | 10]
    header = bytearray(headers[0] if headers else b"")
    if len(header) > 21 and rng.random() < 0.5:
        header[20] = rng.randrange(65, 90)
    far = rng.choice([b"", b"", b"\x02\x00\x00\x0a\x02\x04", b"\x00\x02\x00\x0a\x01\x04"])
    data[at:at] = far + header
    return f"a header at {at}"


def tail(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    end = rng.choice(
        [b"\r\n", b"\x1a" * 128, b"\0" * 3, b"\0" * 512, b"end of the file, written by hand\n", b"\xff" * 9]
    )
    if rng.random() < 0.3:
        mrrs = [stop for kind, _, stop in records if kind == 1 << 8 | 20]
        data[mrrs[0] if mrrs else len(data) :] = end
    else:
        data += end
    return f"{len(end)} bytes behind"


def overwrite(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    """A block that a disk or a transfer lost: overwritten, put in between or taken out."""
    at, size = rng.randrange(min(19, len(data)), len(data) + 1), rng.choice([1, 4, 30, 512, 4096])
    block = bytes(size) if rng.random() < 0.5 else rng.randbytes(size)
    data[at : at + (size if rng.random() < 0.5 else 0)] = block if rng.random() < 0.8 else b""
    return f"{size} bytes lost at {at}"


def unit(rng: random.Random, data: bytearray, records: list[Record], order: str) -> str:
    """Units of PTRs that change by a prefix or altogether, and their limits."""
    chosen = [r for r in records if r[0] == RESULTS[0]]
    for _, start, stop in rng.sample(chosen, min(len(chosen), 8)):
        text = start + 16
        option = text + 1 + data[text] if text < stop else stop
        option = option + 1 + data[option] if option < stop else stop
        if option + 13 < stop and option + 13 + data[option + 12] <= stop and data[option + 12]:
            data[option + 13] = rng.choice(b"mumVA")
            data[option + 7] = rng.randrange(256)
    return "units and limits of results"


MUTATIONS: tuple[Mutation, ...] = (
    vendors, second_header, tail, overwrite, overwrite, unit,
    flip, flip, noise_in_head, flip_in_result, lie, lie, rename, shorten, shorten, drop, double, swap, truncate, pad,
)  # fmt: skip
