"""Where the records of a file are, and where its framing ends (compiled by numba)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit

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

_KNOWN: Final = np.zeros(65536, np.bool_)
_KNOWN[list(KINDS.values())] = True

COMPLETE: Final = 0
CUT: Final = 1
FRAMING_LOST: Final = 2
SECOND_FILE: Final = 3
PADDING: Final = 4


@njit(cache=True, nogil=True)
def survey_records(data: Any, big: bool, known: Any) -> Any:
    """Counts of the records by kind (65536,), the byte at which the walk stops, and why.

    It stops where a record reaches beyond the file, at zeros up to the end, at a second FAR, and where an unknown
    record is not followed by a known one: vendors' own records are skipped by their length, a lost framing is not
    read on.
    """
    size = data.shape[0]
    counts = np.zeros(65536, np.int64)
    at: Any = 0
    while at < size:
        if at + 4 > size:
            return counts, at, 1
        a, b = np.int64(data[at]), np.int64(data[at + 1])
        length: Any = (a << 8 | b) if big else (b << 8 | a)
        kind = np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
        if kind == 0 and length == 0:
            last = at + 4
            while last < size and data[last] == 0:
                last += 1
            if last == size:
                return counts, at, 4
        after = at + 4 + length
        if after > size:
            return counts, at, 1
        if kind == 10 and at > 0:
            return counts, at, 3
        lost = not known[kind] and after < size
        if lost and after + 4 <= size:
            lost = not known[np.int64(data[after + 2]) << 8 | np.int64(data[after + 3])]
        if lost:
            return counts, at, 2
        counts[kind] += 1
        at = after
    return counts, at, 0


def survey(data: NDArray[np.uint8], big_endian: bool) -> tuple[NDArray[np.int64], int, int]:
    """Counts (65536,) of the records by kind, the byte at which the walk stopped, and why."""
    counts, stopped_at, why = survey_records(data, big_endian, _KNOWN)
    return counts, int(stopped_at), int(why)
