"""Where the records of a file are, where its framing is lost and where it begins again (compiled by numba).

A record is *sound* when its type is known and its payload ends where one of its fields ends. A place *makes sense*
when the records from there, each found by the length of the one before, are sound three times, or up to the MRR or
the end of the file. Unknown records are passed over in between: vendors write records of their own, in any number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.stdf.layouts import RECORDS, STRUCT_CODES
from fs_spark.stdf.records import read_fields

KINDS: Final[dict[str, int]] = {
    name: typ << 8 | sub
    for typ, subs in (
        (0, (("FAR", 10), ("ATR", 20), ("VUR", 30))),
        (1, (("MIR", 10), ("MRR", 20), ("PCR", 30), ("HBR", 40), ("SBR", 50), ("PMR", 60), ("PGR", 62), ("PLR", 63),
             ("RDR", 70), ("SDR", 80), ("PSR", 90), ("NMR", 91), ("CNR", 92), ("SSR", 93), ("CDR", 94))),
        (2, (("WIR", 10), ("WRR", 20), ("WCR", 30))),
        (5, (("PIR", 10), ("PRR", 20))),
        (10, (("TSR", 30),)),
        (15, (("PTR", 10), ("MPR", 15), ("FTR", 20), ("STR", 30))),
        (20, (("BPS", 10), ("EPS", 20))),
        (50, (("GDR", 10), ("DTR", 30))),
    )
    for name, sub in subs
}  # fmt: skip
"""REC_TYP << 8 | REC_SUB of every record of STDF V4 and V4-2007."""

NAMES: Final = {kind: name for name, kind in KINDS.items()}

COMPLETE: Final = 0
CUT: Final = 1
FRAMING_LOST: Final = 2
SECOND_FILE: Final = 3
PADDING: Final = 4
SECOND_HEADER: Final = 5
TRAILING: Final = 6
NO_HEADER: Final = 7
"""Why the walk over the records stopped; NO_HEADER: records behind the MRR that no FAR or MIR introduces."""

SAME_HEADER: Final = (
    "start_t", "lot_id", "part_typ", "node_nam", "tstr_typ", "job_nam", "sblot_id", "test_cod", "flow_id", "user_txt",
)  # fmt: skip
"""What decides whose parts follow a MIR: a second one that agrees in these is the same header again."""

_FIXED, _TEXT, _BITS, _ARRAY, _NIBBLES = 1, 2, 3, 4, 5


def _programs() -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """The layouts for the compiled check: a row of (what, bytes, register) per field, and how many are needed.

    A count that a later array needs goes to a register, 1 or 2.
    """
    longest = max(len(layout.fields) for layout in RECORDS.values())
    of_kind = np.full(65536, -1, np.int32)
    programs = np.zeros((len(RECORDS), longest + 1, 3), np.int32)
    needed = np.zeros(len(RECORDS), np.int32)
    for row, (name, layout) in enumerate(RECORDS.items()):
        of_kind[KINDS[name]] = row
        counted = list(dict.fromkeys(field.length for field in layout.fields if field.length))
        for k, field in enumerate(layout.fields):
            register = counted.index(field.name) + 1 if field.name in counted else 0
            if field.type in STRUCT_CODES:
                programs[row, k] = _FIXED, int(field.type[1]), register
            elif field.type in ("Cn", "Bn"):
                programs[row, k] = _TEXT, 0, 0
            elif field.type == "Dn":
                programs[row, k] = _BITS, 0, 0
            elif field.type == "kxN1":
                programs[row, k] = _NIBBLES, 0, counted.index(field.length) + 1
            else:
                programs[row, k] = _ARRAY, int(field.type[3]), counted.index(field.length) + 1
            if field.missing is None:
                needed[row] = k + 1
    return of_kind, programs, needed


_OF_KIND, _PROGRAMS, _NEEDED = _programs()
_KNOWN: Final = np.zeros(65536, np.bool_)
_KNOWN[list(KINDS.values())] = True


@njit(inner=True, nogil=True)
def u2(data: Any, at: Any, big: Any) -> Any:
    a, b = np.int64(data[at]), np.int64(data[at + 1])
    return (a << 8 | b) if big else (b << 8 | a)


@njit(inner=True, nogil=True)
def _number(data: Any, at: Any, width: Any, big: Any) -> Any:
    value = np.int64(0)
    for k in range(width):
        value = value << 8 | np.int64(data[at + k] if big else data[at + width - 1 - k])
    return value


@njit(cache=True, nogil=True)
def sound_end(data: Any, at: Any, big: Any, of_kind: Any, programs: Any, needed: Any) -> Any:
    """The byte behind the record at `at` where it is sound, else -1."""
    size = data.shape[0]
    if at + 4 > size:
        return -1
    row = of_kind[np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])]
    end: Any = at + 4 + u2(data, at, big)
    if row < 0 or end > size:
        return -1
    place: Any = at + 4
    first = second = np.int64(0)
    for k in range(programs.shape[1]):
        what, width, register = programs[row, k, 0], programs[row, k, 1], programs[row, k, 2]
        if place == end:
            return end if k >= needed[row] else -1
        if what == 0:
            return -1  # bytes behind the last field
        count = first if register == 1 else second
        if what == 1:
            if place + width > end:
                return -1
            if register == 1:
                first = _number(data, place, width, big)
            elif register == 2:
                second = _number(data, place, width, big)
            place += width
        elif what == 2:
            place += 1 + np.int64(data[place])
        elif what == 3:
            if place + 2 > end:
                return -1
            place += 2 + (u2(data, place, big) + 7) // 8
        elif what == 4:
            place += width * count
        else:
            place += (count + 1) // 2
        if place > end:
            return -1
    return -1


@njit(inner=True, nogil=True)
def is_far(data: Any, at: Any) -> Any:
    """Whether a file begins there, in either byte order."""
    if at + 6 > data.shape[0] or data[at + 2] != 0 or data[at + 3] != 10 or data[at + 5] != 4:
        return False
    return np.int64(data[at]) + np.int64(data[at + 1]) == 2 and data[at] != 1


@njit(inner=True, nogil=True)
def makes_sense(data: Any, at: Any, big: Any, known: Any, of_kind: Any, programs: Any, needed: Any) -> Any:
    """The first sound record from `at`, or the end of the file, where the records from there make sense; else -1."""
    size = data.shape[0]
    sound = seen = 0
    begins: Any = -1
    while True:
        if at == size:
            return begins if sound > 0 else size
        if at + 4 > size:
            return -1
        if is_far(data, at):
            return begins if sound > 0 else at
        length = u2(data, at, big)
        kind = np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
        if kind == 0 and length == 0:
            while at < size and data[at] == 0:
                at += 1
            return begins if at == size and sound > 0 else -1
        after = at + 4 + length
        if after > size:
            return begins if sound > 1 and known[kind] else -1
        if sound_end(data, at, big, of_kind, programs, needed) >= 0:
            sound += 1
            if begins < 0:
                begins = at
            if sound == 3 or kind == 276:
                return begins
        seen += known[kind]
        if seen == 16:  # so many known types in a row are no chance, even if none of them ends with a field
            return begins if begins >= 0 else after
        at = after


@njit(cache=True, nogil=True)
def resume(data: Any, at: Any, big: Any, known: Any, of_kind: Any, programs: Any, needed: Any) -> Any:
    """The first byte from `at` on where a sound record stands and the records make sense, -1 where there is none."""
    for place in range(at, data.shape[0] - 3):
        kind = np.int64(data[place + 2]) << 8 | np.int64(data[place + 3])
        if (kind == 10 and is_far(data, place)) or (
            of_kind[kind] >= 0
            and sound_end(data, place, big, of_kind, programs, needed) >= 0
            and makes_sense(data, place, big, known, of_kind, programs, needed) >= 0
        ):
            return place
    return -1


@njit(inner=True, nogil=True)
def swallowed(data: Any, at: Any, end: Any, big: Any, of_kind: Any, programs: Any, needed: Any) -> Any:
    """Whether two or more sound records behind each other, somewhere from `at` on, end exactly at `end`."""
    for place in range(at, end - 7):
        here: Any = place
        sound = 0
        while 0 <= here < end:
            here = sound_end(data, here, big, of_kind, programs, needed)
            sound += 1
        if here == end and sound >= 2:
            return True
    return False


@njit(cache=True, nogil=True)
def survey_records(
    data: Any, at: Any, previous: Any, big: Any, known: Any, of_kind: Any, programs: Any, needed: Any, counts: Any
) -> Any:
    """Counts records by kind into `counts` (65536,) from `at` on: where the walk stops, the record before, and why.

    It stops where a record reaches beyond the file, at zeros, at a second FAR or MIR, at an unknown record behind
    which nothing makes sense, and at a record that cannot be as long as it says since records stand in it.
    """
    size = data.shape[0]
    trusted: Any = at
    while at < size:
        if at + 4 > size:
            return at, previous, 1
        length: Any = u2(data, at, big)
        kind = np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
        if kind == 10 and at > 0:
            return at, previous, 3 if is_far(data, at) else 2
        if kind == 0 and length == 0:
            last = at + 4
            while last < size and data[last] == 0:
                last += 1
            return at, previous, 4 if last == size else 2
        after = at + 4 + length
        if after > size:
            return at, previous, 1
        if known[kind]:
            if (
                (length >= 256 or (kind == 1290 and length > 2))
                and of_kind[kind] >= 0
                and sound_end(data, at, big, of_kind, programs, needed) < 0
                and swallowed(data, at + 1, after, big, of_kind, programs, needed)
            ):
                return at, previous, 2
            if kind == 266 and (counts[266] > 0 or counts[1290] + counts[1300] > 0):
                return at, previous, 5
        elif at >= trusted:
            trusted = makes_sense(data, after, big, known, of_kind, programs, needed)
            if trusted < 0:
                return at, previous, 2
            inside = at
            if previous >= 0 and sound_end(data, previous, big, of_kind, programs, needed) < 0:
                inside = previous
            if swallowed(data, inside + 1, trusted, big, of_kind, programs, needed):
                return at, previous, 2
        counts[kind] += 1
        previous = at
        at = after
    return at, previous, 0


@dataclass(frozen=True, slots=True)
class Survey:
    """What stands where: counts (65536,) of records by kind, the byte where the walk stopped and why.

    `gaps` are bytes in between that are no records; `second_at` is where another file or header begins.
    """

    counts: NDArray[np.int64]
    stopped_at: int
    why: int
    gaps: tuple[tuple[int, int], ...] = ()
    second_at: int | None = None


def _kind_at(data: NDArray[np.uint8], at: int) -> int:
    return int(data[at + 2]) << 8 | int(data[at + 3])


def _header(data: NDArray[np.uint8], at: int, big_endian: bool) -> tuple[object, ...]:
    length = int.from_bytes(data[at : at + 2].tobytes(), "big" if big_endian else "little")
    fields = read_fields("MIR", data[at + 4 : at + 4 + length].tobytes(), big_endian=big_endian)
    return tuple(fields[name] for name in SAME_HEADER)


def survey(data: NDArray[np.uint8], big_endian: bool) -> Survey:
    """Walks over the records; behind damage it goes on where they make sense again.

    Behind the MRR nothing is promised: what stands there is another file, or it is of no matter.
    """
    layout = (_OF_KIND, _PROGRAMS, _NEEDED)
    counts = np.zeros(65536, np.int64)
    gaps: list[tuple[int, int]] = []
    at, previous, first_mir = 0, -1, -1
    while True:
        at, previous, why = (int(n) for n in survey_records(data, at, previous, big_endian, _KNOWN, *layout, counts))
        if why == SECOND_HEADER and counts[KINDS["MIR"]]:
            if first_mir < 0:
                first_mir = _first_of(data, "MIR", gaps, big_endian)
            if _header(data, at, big_endian) == _header(data, first_mir, big_endian):
                counts[KINDS["MIR"]] += 1
                length = int.from_bytes(data[at : at + 2].tobytes(), "big" if big_endian else "little")
                previous, at = at, at + 4 + length
                continue
        if why in (SECOND_FILE, SECOND_HEADER):
            return Survey(counts, at, why, tuple(gaps), at)
        if why not in (CUT, FRAMING_LOST):
            return Survey(counts, at, why, tuple(gaps))
        ended = previous >= 0 and _is_end(_kind_at(data, previous), counts)
        damaged = at
        if (
            not ended
            and previous >= 0
            and _kind_at(data, previous) not in (KINDS["FAR"], KINDS["MIR"])
            and sound_end(data, previous, big_endian, *layout) < 0
        ):
            damaged = previous  # its length may be what led here
        again = int(resume(data, damaged + 1, big_endian, _KNOWN, *layout))
        if ended:
            if again < 0:
                return Survey(counts, at, TRAILING, tuple(gaps))
            kind = _kind_at(data, again)
            why = {KINDS["FAR"]: SECOND_FILE, KINDS["MIR"]: SECOND_HEADER}.get(kind, NO_HEADER)
            return Survey(counts, at, why, tuple(gaps), again)
        if again < 0:
            return Survey(counts, at, why, tuple(gaps))
        if damaged == previous:
            counts[_kind_at(data, previous)] -= 1
        gaps.append((damaged, again))
        at, previous = again, -1


def _is_end(kind: int, counts: NDArray[np.int64]) -> bool:
    """Whether a record of this kind ends a file: the MRR, or a vendor's own behind it."""
    return kind == KINDS["MRR"] or (not _KNOWN[kind] and bool(counts[KINDS["MRR"]]))


def _first_of(data: NDArray[np.uint8], name: str, gaps: list[tuple[int, int]], big_endian: bool) -> int:
    """The first record of a name."""
    at, behind = 0, dict(gaps)
    while True:
        at = behind.get(at, at)
        if _kind_at(data, at) == KINDS[name]:
            return at
        at += 4 + int.from_bytes(data[at : at + 2].tobytes(), "big" if big_endian else "little")
