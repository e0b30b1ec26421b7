"""PRR records -> the kept parts of a file, in file order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.stdf.scan import Scan
from fs_spark.stdf.texts import decode_text

MISSING_COORDINATE: Final = -32768
MISSING_SOFT_BIN: Final = 65535
MISSING_HARD_BIN: Final = -1  # the record stopped before it

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Parts:
    """The kept parts in file order (order of their PRR); all arrays (n,)."""

    run: Int64
    touchdown: Int64
    head: Int64
    site: Int64
    flag: Int64
    hard_bin: Int64
    soft_bin: Int64
    x: Int64
    y: Int64
    test_time_ms: Int64
    part_id: list[str | None]


def read_parts(scan: Scan, doubtful: NDArray[np.bool_]) -> tuple[Parts, Int64, int]:
    """The kept parts, the number of each linked part among them (-1 = dropped), and how many pseudo-parts went.

    Shapes     doubtful (linked parts,): parts that are dropped since their wafer is not certain
    """
    closed = np.flatnonzero(scan.part_prr >= 0)
    closed = closed[np.argsort(scan.part_prr[closed], kind="stable")]
    linked = closed[~scan.part_is_pseudo[closed] & ~doubtful[closed]]
    final = np.full(len(scan.part_prr), -1, np.int64)
    final[linked] = np.arange(len(linked))
    record = scan.part_prr[linked]
    at, end = record + 4, scan.ends(record)

    def number(skip: int, dtype: str, missing: int) -> Int64:
        out = np.full(len(at), missing, np.int64)
        there = end - at >= skip + int(dtype[1])
        out[there] = scan.numbers(at[there] + skip, dtype)
        return out

    def part_id(start: int, stop: int) -> str | None:
        raw = scan.data[start + 17 : stop].tobytes()
        return decode_text(raw[1 : 1 + raw[0]], scan.encoding) or None if raw else None

    parts = Parts(
        run=scan.part_run[linked],
        touchdown=scan.part_touchdown[linked],
        head=number(0, "u1", 255),
        site=number(1, "u1", 255),
        flag=number(2, "u1", 0x10),
        hard_bin=number(5, "u2", MISSING_HARD_BIN),
        soft_bin=number(7, "u2", MISSING_SOFT_BIN),
        x=number(9, "i2", MISSING_COORDINATE),
        y=number(11, "i2", MISSING_COORDINATE),
        test_time_ms=number(13, "u4", 0),
        part_id=[part_id(int(a), int(b)) for a, b in zip(at, end, strict=True)],
    )
    return parts, final, int(scan.part_is_pseudo[closed].sum())
