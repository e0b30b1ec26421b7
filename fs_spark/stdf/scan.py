"""One pass over the bytes: where each record is, and which part each result belongs to (compiled by numba).

Linking rules [STDF V4 p.40-41, semantics 2.2]: a PIR opens a part on (head, site); a PTR belongs to the part
open there; a PRR closes it. A touchdown of a head begins at a PIR when no part of that head is open; pseudo-parts
neither begin a touchdown nor keep one open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fs_spark.errors import StdfError

Int64 = NDArray[np.int64]

FAR: Final = 0 << 8 | 10
MIR: Final = 1 << 8 | 10
MRR: Final = 1 << 8 | 20
WIR: Final = 2 << 8 | 10
WRR: Final = 2 << 8 | 20
WCR: Final = 2 << 8 | 30
PIR: Final = 5 << 8 | 10
PRR: Final = 5 << 8 | 20
PTR: Final = 15 << 8 | 10

_DELIMITER: Final = np.frombuffer(b"Test Plan Delimiter", np.uint8)


@njit(cache=True)
def _count(data: Any, start: int, big: bool) -> tuple[int, int]:
    n, at, size = 0, start, data.shape[0]
    while at + 4 <= size:
        a, b = np.int64(data[at]), np.int64(data[at + 1])
        length: Any = (a << 8 | b) if big else (b << 8 | a)
        if at + 4 + length > size:
            break
        n += 1
        at += 4 + length
    return n, at


@njit(cache=True)
def _index(data: Any, start: int, big: bool, n: int) -> tuple[Any, Any]:
    offsets = np.empty(n + 1, np.int64)
    kinds = np.empty(n, np.int32)
    at = start
    for i in range(n):
        a, b = np.int64(data[at]), np.int64(data[at + 1])
        length: Any = (a << 8 | b) if big else (b << 8 | a)
        offsets[i] = at + 4
        kinds[i] = np.int32(data[at + 2]) << 8 | np.int32(data[at + 3])
        at += 4 + length
    offsets[n] = at + 4
    return offsets, kinds


@njit(cache=True)
def _is_pseudo(data: Any, at: Any, end: Any, big: bool) -> Any:
    """Whether the PRR at `at` is no part: SITE_NUM 255, HARD_BIN above 32767, or the name of a delimiter."""
    if data[at + 1] == 255 or (end - at >= 7 and data[at + 5 if big else at + 6] > 127):
        return True
    if end - at < 18:
        return False
    stop: Any = min(at + 18 + np.int64(data[at + 17]), end)
    while stop > at + 18 and (data[stop - 1] == 32 or data[stop - 1] == 0):
        stop -= 1
    return np.array_equal(data[at + 18 : stop], _DELIMITER)


@njit(cache=True)
def _link(data: Any, offsets: Any, kinds: Any, big: bool) -> tuple[Any, ...]:
    """Walks the records once. Slots are (head, site) pairs, 65,536 of them."""
    n = kinds.shape[0]
    parts = results = runs = 0
    for i in range(n):
        parts += kinds[i] == 1290 or kinds[i] == 1300
        results += kinds[i] == 3850
        runs += kinds[i] == 522
    part_prr = np.full(parts, -1, np.int64)
    part_run = np.full(parts, -1, np.int64)
    part_head = np.zeros(parts, np.int64)
    part_begin = np.zeros(parts, np.int64)
    part_end = np.full(parts, n, np.int64)
    part_pir = np.zeros(parts, np.bool_)
    part_pseudo = np.zeros(parts, np.bool_)
    result_part = np.full(results, -1, np.int64)
    result_at = np.empty(results, np.int64)
    result_end = np.empty(results, np.int64)
    open_part = np.full(65536, -1, np.int64)
    head_run = np.full(256, -1, np.int64)
    p = r = w = 0
    for i in range(n):
        kind, at, end = kinds[i], offsets[i], offsets[i + 1] - 4
        if kind == 3850:
            result_at[r], result_end[r] = at, end
            if end - at >= 8:
                result_part[r] = open_part[np.int64(data[at + 4]) << 8 | np.int64(data[at + 5])]
            r += 1
        elif (kind == 1290 or kind == 1300) and end - at >= 2:
            head = np.int64(data[at])
            slot = head << 8 | np.int64(data[at + 1])
            q = open_part[slot]
            if kind == 1290 or q < 0:
                if q >= 0:
                    part_end[q] = i - 1  # its PRR never came
                q = p
                p += 1
                part_head[q], part_begin[q], part_pir[q] = head, i, kind == 1290
                part_run[q] = head_run[head] if head_run[head] >= 0 else head_run[255]
                part_pseudo[q] = data[at + 1] == 255
                open_part[slot] = q
            if kind == 1300:
                part_prr[q], part_end[q], part_pseudo[q] = i, i, _is_pseudo(data, at, end, big)
                open_part[slot] = -1
        elif kind == 522 and end - at >= 6:
            head_run[np.int64(data[at])] = w
            w += 1
        elif kind == 522:
            w += 1
    touchdown = _touchdowns(part_head[:p], part_begin[:p], part_end[:p], part_pseudo[:p])
    return part_prr[:p], part_run[:p], touchdown, part_pir[:p], part_pseudo[:p], result_part, result_at, result_end


@njit(cache=True)
def _touchdowns(head: Any, begin: Any, end: Any, pseudo: Any) -> Any:
    """Number of each part's touchdown from the records at which the parts begin and end; pseudo-parts have none."""
    out = np.full(head.shape[0], -1, np.int64)
    busy_until = np.full(256, -1, np.int64)
    current = np.full(256, -1, np.int64)
    touchdown = -1
    for p in range(head.shape[0]):
        if not pseudo[p]:
            if begin[p] > busy_until[head[p]]:
                touchdown += 1
                current[head[p]] = touchdown
            busy_until[head[p]] = max(busy_until[head[p]], end[p])
            out[p] = current[head[p]]
    return out


@njit(cache=True)
def text_hashes(data: Any, at: Any, end: Any) -> Any:
    """FNV-1a of the Cn text at each offset; 0 where the record stops before it or the text is empty."""
    out = np.zeros(at.shape[0], np.uint64)
    for i in range(at.shape[0]):
        if at[i] < end[i]:
            length = np.int64(data[at[i]])
            stop = min(at[i] + 1 + length, end[i])
            if stop > at[i] + 1:
                h = np.uint64(14695981039346656037)
                for j in range(at[i] + 1, stop):
                    h = (h ^ np.uint64(data[j])) * np.uint64(1099511628211)
                out[i] = h
    return out


@dataclass(frozen=True, slots=True)
class Scan:
    """Records: `offsets` (n + 1,) of the first payload byte, `kinds` (n,) = REC_TYP << 8 | REC_SUB.

    Parts (in the order of PIR, then of a PRR without one) and results (PTR, in file order) are linked;
    `part_prr` -1 is a part that was never closed, `result_part` -1 a result outside any part.
    """

    data: NDArray[np.uint8]
    big_endian: bool
    offsets: Int64
    kinds: NDArray[np.int32]
    stopped_at: int
    part_prr: Int64
    part_run: Int64
    part_touchdown: Int64
    part_has_pir: NDArray[np.bool_]
    part_is_pseudo: NDArray[np.bool_]
    result_part: Int64
    result_at: Int64
    result_end: Int64

    @property
    def complete(self) -> bool:
        return bool(self.stopped_at == self.data.shape[0])

    def payload(self, record: int) -> bytes:
        return self.data[self.offsets[record] : self.offsets[record + 1] - 4].tobytes()

    def numbers(self, at: Int64, dtype: str) -> NDArray[Any]:
        """The numbers of `dtype` (u1, i2, u2, u4, f4) at the byte offsets `at`, (n,)."""
        size = int(dtype[1])
        raw = self.data[at[:, None] + np.arange(size)]
        numbers: NDArray[Any] = raw.view((">" if self.big_endian else "<") + dtype).ravel()
        return numbers


def scan(data: bytes) -> Scan:
    """Indexes and links a whole file. Raises StdfError where the first record is no FAR of STDF V4."""
    if not data:
        raise StdfError("the file is empty")
    if len(data) < 6 or data[2:4] != b"\x00\x0a":
        raise StdfError(f"not an STDF file: it begins with {data[:6].hex(' ')}, not with a FAR record")
    if data[:2] == b"\x00\x02":
        big = True
    elif data[:2] == b"\x02\x00":
        big = False
    else:
        raise StdfError(f"not an STDF file: its FAR record has the length bytes {data[:2].hex(' ')}, not 2")
    if data[5] != 4:
        raise StdfError(f"STDF version {data[5]} at byte 5. Hint: only V4 files can be read")
    buffer = np.frombuffer(data, np.uint8)
    n, stopped_at = _count(buffer, 0, big)
    offsets, kinds = _index(buffer, 0, big, n)
    linked = _link(buffer, offsets, kinds, big)
    return Scan(buffer, big, offsets, kinds, int(stopped_at), *linked)
