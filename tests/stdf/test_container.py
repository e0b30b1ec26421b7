"""Delivered bytes to STDF bytes: by content and not by name, with what is readable of a damaged file."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_spark.errors import StdfError
from fs_spark.stdf import container, decompress
from fs_spark.stdf.container import Delivered, Limits

WIDE = Limits(1 << 40, 10**9)
"""What is packed here is far emptier than a tester's file."""


def unpack(raw: bytes, *, limits: Limits = WIDE) -> Delivered:
    return container.unpack(raw, limits=limits)


def read_delivered(path: Any, *, limits: Limits = WIDE) -> Delivered:
    return container.read_delivered(path, limits=limits)


PLAIN = random.Random(1).randbytes(3000) + bytes(2_500_000)
"""Longer than the pieces in which it is unpacked, with a beginning that does not compress."""
SHORT = PLAIN[:4000]
NAME = "lot/W01.stdf"
ZSTD_CHECKED = bytes.fromhex("28b52ffd04582100005354444640931ea3")
"""`printf STDF | zstd`: with a checksum."""
MIB = 1 << 20


def slack(kind: str) -> int:
    """Pieces, and the dictionary of LZMA."""
    return (11 if "xz" in kind or "lzma" in kind else 3) * MIB


def lzma_alone(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_ALONE)


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return packed


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, streamed: bool = False) -> bytes:
    """As zipfile writes it: seekable with sizes first, `streamed` with sizes after each file."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return not streamed

        def tell(self) -> int:
            if streamed:
                raise OSError("a pipe")
            return super().tell()

    out = Pipe()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return out.getvalue()


def zip_by_hand(
    method: int, packed: bytes, data: bytes, *, flags: int = 0, size: int | None = None, crc: int | None = None
) -> bytes:
    """One file, with whatever its headers claim. Source: APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16"""
    name = NAME.encode()
    head = struct.pack(
        "<5H3I2H",
        63,
        flags,
        method,
        0,
        33,
        zlib.crc32(data) if crc is None else crc,
        len(packed),
        len(data) if size is None else size,
        len(name),
        0,
    )
    local = b"PK\3\4" + head + name + packed
    directory = b"PK\1\2" + struct.pack("<H", 63) + head + bytes(14) + name
    return local + directory + b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, len(directory), len(local), 0)


def zip_with(method: int) -> Callable[[bytes], bytes]:
    return lambda data: zipped((NAME, data), method=method)


STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lzma_alone,
    "zstd": zstd,
}
ZIPS: dict[str, Callable[[bytes], bytes]] = {
    "zip": zip_with(zipfile.ZIP_DEFLATED),
    "zip_stored": zip_with(zipfile.ZIP_STORED),
    "zip_bzip2": zip_with(zipfile.ZIP_BZIP2),
    "zip_lzma": zip_with(zipfile.ZIP_LZMA),
    "zip_streamed": lambda data: zipped((NAME, data), streamed=True),
    "zip_zstd": lambda data: zip_by_hand(93, zstd(data), data),
    "zip_xz": lambda data: zip_by_hand(95, lzma.compress(data), data),
    "zip_lzma_unmarked": lambda data: zip_by_hand(14, b"\x10\2\5\0" + sized_lzma(data), data),
}
ALL = STREAMS | ZIPS
every_container = pytest.mark.parametrize("kind", ALL)
every_stream = pytest.mark.parametrize("kind", STREAMS)
every_zip = pytest.mark.parametrize("kind", ZIPS)


def sized_lzma(data: bytes) -> bytes:
    """LZMA without an end mark, as 7-Zip puts it in a zip: the five properties, then raw data."""
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 23, "lc": 3, "lp": 0, "pb": 2}]
    packed = lzma.compress(data, lzma.FORMAT_RAW, filters=filters)  # it has an end mark, which may stand
    return b"\x5d" + struct.pack("<I", 1 << 23) + packed


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def whole(data: bytes, raw: bytes) -> Delivered:
    return Delivered(data, len(raw), sha(data), None)


def test_plain_bytes_stay_as_they_are() -> None:
    assert unpack(PLAIN) == whole(PLAIN, PLAIN)
    assert unpack(PLAIN).data is PLAIN
    assert unpack(b"") == whole(b"", b"")


@every_container
@pytest.mark.parametrize("data", [PLAIN, SHORT, b"S", b""], ids=["long", "short", "byte", "empty"])
def test_the_same_content_is_the_same_file(kind: str, data: bytes) -> None:
    raw = ALL[kind](data)
    assert unpack(raw) == whole(data, raw)
    assert len(raw) < len(PLAIN) or kind == "zip_stored"


@every_stream
def test_any_number_of_members(kind: str) -> None:
    pack = STREAMS[kind]
    raw = pack(PLAIN[:777]) + pack(b"") + pack(PLAIN[777:2_000_000]) + pack(PLAIN[2_000_000:])
    assert unpack(raw) == whole(PLAIN, raw)


@every_container
@pytest.mark.parametrize("nuls", [1, 512, 10240])
def test_nuls_after_the_end_are_padding(kind: str, nuls: int) -> None:
    raw = ALL[kind](PLAIN) + bytes(nuls)
    assert unpack(raw) == whole(PLAIN, raw)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_nuls_between_members_are_padding(kind: str) -> None:
    raw = STREAMS[kind](PLAIN[:777]) + bytes(512) + STREAMS[kind](PLAIN[777:])
    assert unpack(raw) == whole(PLAIN, raw)


def test_frames_of_zstd_that_hold_no_data_or_a_checksum() -> None:
    note = b"\x5f\x2a\x4d\x18\5\0\0\0a note"[:13]
    assert unpack(ZSTD_CHECKED).data == b"STDF"
    for raw in (note + zstd(PLAIN), zstd(PLAIN[:9]) + note + zstd(PLAIN[9:]) + note):
        assert unpack(raw) == whole(PLAIN, raw)
    assert unpack(ZSTD_CHECKED + ZSTD_CHECKED + bytes(9)).data == b"STDFSTDF"
    flipped = ZSTD_CHECKED[:-1] + b"\xa4"
    assert unpack(flipped).damage
    assert unpack(flipped).file_id == sha(flipped)


@every_stream
def test_a_cut_stream_gives_what_came_before(kind: str) -> None:
    raw = STREAMS[kind](PLAIN)
    fewest = 13 if kind == "lzma" else 6
    for cut in [*range(fewest, 40), *range(40, len(raw) - 20, len(raw) // 15), *range(len(raw) - 20, len(raw))]:
        found = unpack(raw[:cut])
        assert PLAIN.startswith(found.data), f"cut at {cut}"
        assert found.damage == f"{kind} stream ends early", f"cut at {cut}"
        assert found.file_id == sha(raw[:cut])  # not of the part that could be decompressed
        assert found.delivered_bytes == cut


@pytest.mark.parametrize(
    ("kind", "cut", "at_least"),
    [
        ("gzip", 3010, 2000),
        ("gzip", -8, len(PLAIN)),
        ("xz", -40, len(PLAIN) - 30_000),  # the index and the footer are 28 bytes
        ("zstd", -1, len(PLAIN) - (1 << 17)),  # all but the last block
        ("zip", -100, len(PLAIN) - 20_000),
    ],
)
def test_a_cut_stream_gives_all_that_can_be_read(kind: str, cut: int, at_least: int) -> None:
    assert len(unpack(ALL[kind](PLAIN)[:cut]).data) >= at_least


@every_stream
def test_a_cut_in_the_second_member_keeps_the_first(kind: str) -> None:
    found = unpack(STREAMS[kind](PLAIN[:777]) + STREAMS[kind](PLAIN[777:])[:14])
    assert found.data[:777] == PLAIN[:777]
    assert found.damage == f"{kind} stream ends early"


@every_zip
def test_a_cut_zip_gives_what_came_before(kind: str) -> None:
    raw = ZIPS[kind](SHORT)
    for cut in [*range(4, len(raw) - 100, 7), *range(len(raw) - 100, len(raw) - 22)]:
        found = unpack(raw[:cut])
        assert found.damage == "zip archive ends early", f"cut at {cut}"
        assert found.file_id == sha(raw[:cut])
        assert SHORT.startswith(found.data), f"cut at {cut}"
    assert len(unpack(raw[: len(raw) - 130]).data) >= (0 if kind in ("zip_bzip2", "zip_zstd") else 2500)


def test_a_zip_without_directory_gives_its_first_file() -> None:
    for streamed in (False, True):
        raw = zipped(("lot/", b""), ("__MACOSX/._W01.stdf", b"mac"), (NAME, SHORT), streamed=streamed)
        found = unpack(raw[: raw.index(b"PK\1\2")])
        assert (found.data, found.damage) == (SHORT, "zip archive ends early")
    only_folders = zipped(("lot/", b""), ("lot/empty/", b""))
    found = unpack(only_folders[: only_folders.index(b"PK\1\2")])
    assert (found.data, found.damage) == (b"", "zip archive ends early")


@every_stream
def test_bytes_after_the_end_are_reported_and_not_read(kind: str) -> None:
    for more in (b"not compressed", bytes(100) + b"no"):
        raw = STREAMS[kind](PLAIN) + more
        found = unpack(raw)
        assert found.data == PLAIN
        assert found.damage == f"bytes after the {kind} stream are not {kind}"
        assert found.file_id == sha(raw)


@every_container
def test_any_flipped_byte_is_found_or_harmless(kind: str) -> None:
    raw = ALL[kind](SHORT)
    unchecked = kind in ("lzma", "zstd")  # these have no checksum
    for at in range(len(raw)):
        for mask in (0x55, 0x01):
            flipped = raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :]
            try:
                found = unpack(flipped)
            except StdfError:
                continue
            assert found.damage or unchecked or found.data in (SHORT, flipped), f"byte {at} ^ {mask}"
            assert found.file_id == sha(flipped if found.damage else found.data)


@every_container
@pytest.mark.parametrize("seed", range(3))
def test_noise_never_crashes(kind: str, seed: int) -> None:
    chance, raw = random.Random(seed), ALL[kind](SHORT)
    for _ in range(150):
        noise = bytearray(raw[: chance.randrange(4, len(raw))] if chance.random() < 0.5 else raw)
        for _ in range(chance.randrange(1, 30)):
            at = chance.randrange(min(len(noise), chance.choice((16, 60, len(noise)))))
            noise[-at if chance.random() < 0.3 else at] = chance.choice((0, 255, chance.randrange(256)))
        if chance.random() < 0.3:
            noise = noise[:40] + chance.randbytes(400)
        with contextlib.suppress(StdfError):
            assert len(unpack(bytes(noise), limits=Limits(4 * MIB, 10**6)).data) <= 4 * MIB


@every_container
def test_a_bomb_is_refused_before_it_is_unpacked(kind: str) -> None:
    raw = ALL[kind](bytes(20 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(StdfError, match=r"decompresses to more than 4000000 bytes.*Hint"):
            unpack(raw, limits=Limits(4_000_000, 10**6))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000 + slack(kind)
    fits = ALL[kind](bytes(4_000_000))
    assert len(unpack(fits, limits=Limits(4_000_000, 10**6)).data) == 4_000_000
    with pytest.raises(StdfError, match="more than 3999999 bytes"):
        unpack(fits, limits=Limits(3_999_999, 10**6))


@every_container
def test_the_content_is_held_once(kind: str) -> None:
    raw = ALL[kind](bytes(24 * MIB))
    tracemalloc.start()
    try:
        found = unpack(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.data) == 24 * MIB
    assert peak < 1.125 * 24 * MIB + slack(kind)  # what `io.BytesIO` grows by is given back


def test_no_memory_is_told_as_such() -> None:
    def pieces() -> decompress.Pieces:
        yield b"1234"
        raise MemoryError

    with pytest.raises(StdfError, match="more than 4 bytes, for which there is no memory"):
        decompress.collect(pieces(), 100, "100 bytes")


def test_a_header_that_asks_for_gigabytes_is_damage() -> None:
    raw = b"\x5d" + struct.pack("<I", 0xF0000000) + lzma_alone(SHORT)[5:]
    assert unpack(raw[:1] + b"\0\0" + raw[3:]).damage == "lzma stream is damaged (Memory usage limit exceeded)"


@pytest.mark.parametrize("size", [0, 10, 0xFFFFFFFE])
@pytest.mark.parametrize("method", [0, 8, 12, 93, 95])
def test_the_size_in_a_zip_is_not_believed(method: int, size: int) -> None:
    packed = {0: SHORT, 8: zlib.compress(SHORT, wbits=-15), 12: bz2.compress(SHORT), 93: zstd(SHORT)}
    raw = zip_by_hand(method, packed.get(method, lzma.compress(SHORT)), SHORT, size=size)
    assert unpack(raw) == whole(SHORT, raw)


@pytest.mark.parametrize("method", [0, 8])
def test_a_zip_whose_checksum_does_not_fit_is_damaged(method: int) -> None:
    packed = SHORT if method == 0 else zlib.compress(SHORT, wbits=-15)
    raw = zip_by_hand(method, packed, SHORT, crc=7)
    assert unpack(raw) == Delivered(SHORT, len(raw), sha(raw), "zip member does not fit its checksum")


def test_a_zip_that_points_nowhere_is_damaged() -> None:
    raw = zip_by_hand(0, SHORT, SHORT)
    for offset in (1, len(raw) - 3, 0xFFFFFF):
        at = raw.index(b"PK\1\2") + 42
        found = unpack(raw[:at] + struct.pack("<I", offset) + raw[at + 4 :])
        assert found.damage == "zip directory is damaged (no file where it says)"
    found = unpack(raw.replace(b"PK\1\2", b"PK\1\3"))
    assert (found.data, found.damage) == (SHORT, "zip directory is damaged (Bad magic number for central directory)")


def test_folders_and_mac_files_do_not_count() -> None:
    raw = zipped(("lot/", b""), (NAME, PLAIN), ("__MACOSX/lot/._W01.stdf", b"mac"), ("__MACOSX/", b""))
    assert unpack(raw) == whole(PLAIN, raw)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], r"the zip holds no files, not one"),
        (["lot/", "__MACOSX/._a"], r"the zip holds no files \('lot/', '__MACOSX/._a'\), not one"),
        (["a.stdf", "lot/", "b.stdf"], r"the zip holds 2 files \('a.stdf', 'b.stdf'\), not one"),
        ([f"{k}.stdf" for k in range(12)], r"12 files \('0.stdf', .*, '9.stdf', \.\.\.\)"),
    ],
)
def test_a_zip_with_no_or_several_files_names_them(names: list[str], said: str) -> None:
    with pytest.raises(StdfError, match=said + r".*\nHint: unpack it and name the STDF files or their folder"):
        unpack(zipped(*((name, SHORT if not name.endswith("/") else b"") for name in names)))


def test_zips_that_cannot_be_read_say_why() -> None:
    for flags in (0x1, 0x2000):
        with pytest.raises(StdfError, match=rf"'{NAME}' is encrypted\.\nHint: .*without a password"):
            unpack(zip_by_hand(99, SHORT, SHORT, flags=flags))
    with pytest.raises(StdfError, match=r"compression method 9 \(Deflate64\)\.\nHint: zip it anew with deflate"):
        unpack(zip_by_hand(9, SHORT, SHORT))
    with pytest.raises(StdfError, match=r"compression method 77 \(unknown\)"):
        unpack(zip_by_hand(77, SHORT, SHORT))


@every_container
@pytest.mark.parametrize("outer", ["gzip", "zip", "zstd"])
def test_a_container_in_a_container(kind: str, outer: str) -> None:
    raw = ALL[outer](ALL[kind](SHORT))
    assert unpack(raw) == whole(SHORT, raw)
    with pytest.raises(StdfError, match=r"packed more than 2 times\. Hint"):
        unpack(gzip.compress(raw))


def test_damage_inside_a_container_is_told() -> None:
    inside = gzip.compress(PLAIN)
    raw = zipped((NAME, inside[:-9]))
    found = unpack(raw)
    assert PLAIN.startswith(found.data)
    assert (found.damage, found.file_id) == ("gzip stream ends early", sha(raw))
    cut = zipped((NAME, inside), method=zipfile.ZIP_STORED)[:2500]
    assert unpack(cut).damage == "zip archive ends early; in it: gzip stream ends early"
    assert len(unpack(cut).data) > 2000
    with pytest.raises(StdfError, match="more than 9000 bytes"):
        unpack(raw, limits=Limits(9000, 10**6))


@every_container
def test_names_do_not_matter(kind: str, tmp_path: Path) -> None:
    for name in ("lot.stdf.bz2", "lot.gz", "lot.stdf", "lot.zip"):
        misnamed = tmp_path / name
        misnamed.write_bytes(ALL[kind](PLAIN))
        assert read_delivered(misnamed).data == PLAIN
        assert read_delivered(misnamed.as_uri()).data == PLAIN


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StdfError, match=r"nowhere\.stdf cannot be read: No such file"):
        read_delivered(tmp_path / "nowhere.stdf")
    with pytest.raises(StdfError, match="cannot be read: Is a directory"):
        read_delivered(tmp_path)
    with pytest.raises(StdfError, match="cannot be read"):
        read_delivered("a\0b")


@every_container
def test_what_becomes_more_than_200_times_as_large_is_refused(kind: str) -> None:
    raw = ALL[kind](bytes(20 * MIB))
    if kind == "zip_stored":
        assert len(container.unpack(raw).data) == 20 * MIB
        return
    with pytest.raises(StdfError, match=r"more than 200 times its size\. Hint: raise `decompression.largest_ratio`"):
        container.unpack(raw)
    assert len(container.unpack(raw, limits=Limits(largest_ratio=10**6)).data) == 20 * MIB
    small = ALL[kind](bytes(60_000))
    assert len(container.unpack(small).data) == 60_000
    assert container.DEFAULT_LIMITS.of(1 << 30) == (
        2 << 30,
        "2147483648 bytes. Hint: raise `decompression.largest_bytes`",
    )


@pytest.mark.parametrize("tail", [b"\r\n", b"\x1a" * 128, b"\0" * 512, b"\0\r\n\x1a"])
@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
def test_what_transfers_add_behind_a_stream_is_no_damage(kind: str, tail: bytes) -> None:
    raw = ALL[kind](SHORT)
    found = container.unpack(raw + tail)
    assert (found.data, found.damage) == (SHORT, None)
    assert found.file_id == container.unpack(raw).file_id
