"""Passes over the bytes of a file that link its results to parts and tests (compiled by numba).

Linking rules [STDF V4 p.40-41, semantics 2.2]: a PIR opens a part on (head, site); a PTR, MPR or FTR belongs to the
part open there; a PRR closes it. A touchdown of a head begins at a PIR when no part of that head is open;
pseudo-parts neither begin a touchdown nor keep one open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.errors import StdfError
from fs_spark.stdf.framing import KINDS, survey

Int64 = NDArray[np.int64]

PTR: Final = 3850
MPR: Final = 3855
FTR: Final = 3860
_WIR: Final = 522
_PIR: Final = 1290
_PRR: Final = 1300
_UNREAD: Final = (PTR, MPR, FTR, _PIR, _PRR, KINDS["STR"], KINDS["BPS"], KINDS["EPS"])
"""Records that are not kept one by one: results, the ends of parts, and what is skipped by length."""

_DELIMITER: Final = np.frombuffer(b"Test Plan Delimiter", np.uint8)


@njit(cache=True, nogil=True)
def _u2(data: Any, at: Any, big: Any) -> Any:
    a, b = np.int64(data[at]), np.int64(data[at + 1])
    return (a << 8 | b) if big else (b << 8 | a)


@njit(cache=True, nogil=True)
def _u4(data: Any, at: Any, big: Any) -> Any:
    a, b, c, d = np.int64(data[at]), np.int64(data[at + 1]), np.int64(data[at + 2]), np.int64(data[at + 3])
    return (a << 24 | b << 16 | c << 8 | d) if big else (d << 24 | c << 16 | b << 8 | a)


@njit(cache=True, nogil=True)
def _is_pseudo(data: Any, at: Any, end: Any, big: Any) -> Any:
    """Whether the PRR at `at` is no part: SITE_NUM 255, HARD_BIN above 32767, or the name of a delimiter."""
    if data[at + 1] == 255 or (end - at >= 7 and data[at + 5 if big else at + 6] > 127):
        return True
    if end - at < 18:
        return False
    stop: Any = min(at + 18 + np.int64(data[at + 17]), end)
    while stop > at + 18 and (data[stop - 1] == 32 or data[stop - 1] == 0):
        stop -= 1
    return np.array_equal(data[at + 18 : stop], _DELIMITER)


@njit(cache=True, nogil=True)
def _mpr_elements(data: Any, at: Any, end: Any, big: Any) -> Any:
    """First byte of RTN_RSLT, the whole floats in it, and the byte behind it (-1: beyond the record)."""
    if end - at < 12:
        return end, 0, end
    pins, elements = _u2(data, at + 8, big), _u2(data, at + 10, big)
    first = at + 12 + (pins + 1) // 2
    after = first + 4 * elements
    if after <= end:
        return first, elements, after
    return first, max(0, (end - first) // 4), -1


@njit(cache=True, nogil=True)
def _ftr_text(data: Any, at: Any, end: Any, big: Any) -> Any:
    """Where TEST_TXT of an FTR begins, at or behind `end` where the record stops before it; -1: beyond the record."""
    if end - at < 38:
        return end
    returned, programmed = _u2(data, at + 34, big), _u2(data, at + 36, big)
    place = at + 38 + 2 * returned + (returned + 1) // 2 + 2 * programmed + (programmed + 1) // 2
    if place > end:
        return -1
    if place + 2 > end:
        return end
    place += 2 + (_u2(data, place, big) + 7) // 8
    for _ in range(3):  # VECT_NAM, TIME_SET, OP_CODE
        if place > end:
            return -1
        if place == end:
            return end
        place += 1 + np.int64(data[place])
    return place if place <= end else -1


@njit(cache=True, nogil=True)
def _grown(values: Any) -> Any:
    larger = np.full(values.shape[0] * 2, -1, values.dtype)
    larger[: values.shape[0]] = values
    return larger


@njit(cache=True, nogil=True)
def _same_test(
    data: Any, kind: Any, number: Any, name: Any, size: Any, test: Any, kinds: Any, nums: Any, names: Any, sizes: Any
) -> Any:
    if kinds[test] != kind or nums[test] != number or sizes[test] != size:
        return False
    other = names[test]
    for k in range(size):  # noqa: SIM110  compiled
        if data[name + k] != data[other + k]:
            return False
    return True


@njit(cache=True, nogil=True)
def _link(data: Any, size: Any, big: Any, unread: Any, n_kept: Any, n_parts: Any, n_results: Any) -> Any:
    """Walks the records once. Slots are (head, site) pairs, 65,536 of them."""
    kept_at, kept_kind = np.empty(n_kept, np.int64), np.empty(n_kept, np.int32)
    part_prr = np.full(n_parts, -1, np.int64)
    part_run = np.full(n_parts, -1, np.int64)
    part_head = np.zeros(n_parts, np.int64)
    part_begin = np.zeros(n_parts, np.int64)
    part_end = np.full(n_parts, size, np.int64)
    part_pir = np.zeros(n_parts, np.bool_)
    part_pseudo = np.zeros(n_parts, np.bool_)
    part_rows = np.zeros(n_parts, np.int64)
    result_part, result_test = np.full(n_results, -1, np.int32), np.full(n_results, -1, np.int32)
    open_part, slot_test = np.full(65536, -1, np.int64), np.full(65536, -1, np.int64)
    head_run = np.full(256, -1, np.int64)
    # tests: kind, number, name; where their first record is, and the first one that reaches OPT_FLAG
    t_kind, t_num = np.full(1024, -1, np.int64), np.full(1024, -1, np.int64)
    t_name, t_size = np.full(1024, -1, np.int64), np.full(1024, -1, np.int64)
    t_first, t_opt, t_next = np.full(1024, -1, np.int64), np.full(1024, -1, np.int64), np.full(1024, -1, np.int64)
    table = np.full(4096, -1, np.int64)
    tests = p = r = w = o = short = overlong = outside = 0
    at = 0
    while at < size:
        length = _u2(data, at, big)
        kind = np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
        here = at
        at += 4
        end = at + length
        if kind == 3850 or kind == 3855 or kind == 3860:
            short += length < (7 if kind == 3860 else 12)
            if length >= 6:
                slot = np.int64(data[at + 4]) << 8 | np.int64(data[at + 5])
                part = open_part[slot]
                number = _u4(data, at, big)
                rows = 1
                text = at + 12
                if kind == 3855:
                    _, rows, text = _mpr_elements(data, at, end, big)
                    rows = max(rows, 1)
                elif kind == 3860:
                    text = _ftr_text(data, at, end, big)
                after = end
                name, stop = end, end
                over = text < 0
                if 0 <= text < end:
                    name = text + 1
                    stop = name + np.int64(data[text])
                    if stop > end:
                        over, stop = True, end
                    after = stop
                    while stop > name and (data[stop - 1] == 32 or data[stop - 1] == 0):
                        stop -= 1
                overlong += over
                wide = stop - name
                # most often the test that followed the last one of this site the time before
                test = slot_test[slot]
                if test >= 0:
                    test = t_next[test]
                if test < 0 or not _same_test(data, kind, number, name, wide, test, t_kind, t_num, t_name, t_size):
                    h = np.uint64(14695981039346656037) ^ np.uint64(number << 16 | kind)
                    for k in range(name, stop):
                        h = (h ^ np.uint64(data[k])) * np.uint64(1099511628211)
                    mask = table.shape[0] - 1
                    place = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(mask))
                    while True:
                        test = table[place]
                        if test < 0 or _same_test(data, kind, number, name, wide, test, t_kind, t_num, t_name, t_size):
                            break
                        place = (place + 1) & mask
                    if test < 0:
                        if tests == t_kind.shape[0]:
                            t_kind, t_num, t_name, t_size = (
                                _grown(t_kind),
                                _grown(t_num),
                                _grown(t_name),
                                _grown(t_size),
                            )
                            t_first, t_opt, t_next = _grown(t_first), _grown(t_opt), _grown(t_next)
                        test = tests
                        tests += 1
                        t_kind[test], t_num[test], t_name[test], t_size[test] = kind, number, name, wide
                        t_first[test] = here
                        table[place] = test
                        if tests * 2 > table.shape[0]:
                            table = np.full(table.shape[0] * 2, -1, np.int64)
                            mask = table.shape[0] - 1
                            for other in range(tests):
                                g = np.uint64(14695981039346656037) ^ np.uint64(t_num[other] << 16 | t_kind[other])
                                for k in range(t_name[other], t_name[other] + t_size[other]):
                                    g = (g ^ np.uint64(data[k])) * np.uint64(1099511628211)
                                place = np.int64((g ^ (g >> np.uint64(32))) & np.uint64(mask))
                                while table[place] >= 0:
                                    place = (place + 1) & mask
                                table[place] = other
                    if slot_test[slot] >= 0:
                        t_next[slot_test[slot]] = test
                slot_test[slot] = test
                if t_opt[test] < 0 and kind != 3860 and not over and after < end:  # ALARM_ID stands between the two
                    t_opt[test] = here if after + 1 + np.int64(data[after]) < end else -1
                result_test[r] = test
                if part >= 0:
                    result_part[r] = part
                    part_rows[part] += rows
                else:
                    outside += 1
            r += 1
        elif kind == 1290 or kind == 1300:
            short += length < (2 if kind == 1290 else 7)
            if length >= 2:
                head = np.int64(data[at])
                slot = head << 8 | np.int64(data[at + 1])
                part = open_part[slot]
                if kind == 1290 or part < 0:
                    if part >= 0:
                        part_end[part] = here - 1  # its PRR never came
                    part = p
                    p += 1
                    part_head[part], part_begin[part], part_pir[part] = head, here, kind == 1290
                    part_run[part] = head_run[head] if head_run[head] >= 0 else head_run[255]
                    part_pseudo[part] = data[at + 1] == 255
                    open_part[slot] = part
                if kind == 1300:
                    part_prr[part], part_end[part] = here, here
                    part_pseudo[part] = _is_pseudo(data, at, end, big)
                    open_part[slot] = -1
        elif not unread[kind]:
            kept_at[o], kept_kind[o] = here, kind
            o += 1
            if kind == 522 and length >= 1:
                head_run[np.int64(data[at])] = w
                w += 1
        at = end
    touchdown = _touchdowns(part_head[:p], part_run[:p], part_begin[:p], part_end[:p], part_pseudo[:p])
    return (
        (kept_at, kept_kind),
        (part_prr[:p], part_run[:p], touchdown, part_pir[:p], part_pseudo[:p], part_rows[:p]),
        (result_part, result_test),
        (t_kind[:tests], t_num[:tests], t_name[:tests], t_size[:tests], t_first[:tests], t_opt[:tests]),
        (short, overlong, outside),
    )


@njit(cache=True, nogil=True)
def _touchdowns(head: Any, run: Any, begin: Any, end: Any, pseudo: Any) -> Any:
    """Number of each part's touchdown from the bytes at which the parts begin and end; pseudo-parts have none.

    A part that was never closed holds its touchdown open to the end of its run, not of the file.
    """
    out = np.full(head.shape[0], -1, np.int64)
    busy_until = np.full(256, -1, np.int64)
    current = np.full(256, -1, np.int64)
    run_of = np.full(256, -2, np.int64)
    touchdown = -1
    for p in range(head.shape[0]):
        if not pseudo[p]:
            if run[p] != run_of[head[p]]:
                run_of[head[p]], busy_until[head[p]] = run[p], -1
            if begin[p] > busy_until[head[p]]:
                touchdown += 1
                current[head[p]] = touchdown
            busy_until[head[p]] = max(busy_until[head[p]], end[p])
            out[p] = current[head[p]]
    return out


@njit(cache=True, nogil=True)
def fill_results(
    data: Any, size: Any, big: Any, result_part: Any, result_test: Any, test_of: Any, begins: Any, rows: Any, tests: Any
) -> Any:
    """Rows of all kept parts, part after part; `begins` is each part's first row, -1 for a part that is dropped."""
    cursor = begins.copy()
    test, element = np.empty(rows, np.int32), np.empty(rows, np.int32)
    value, occurrence = np.zeros(rows, np.uint32), np.empty(rows, np.int32)
    usable, passed, told = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    at, r = 0, 0
    while at < size:
        length = _u2(data, at, big)
        kind = np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
        at += 4
        end = at + length
        if kind == 3850 or kind == 3855 or kind == 3860:
            part = result_part[r]
            row = cursor[part] if part >= 0 else -1
            if row >= 0:
                fine = kind != 3860 and length >= 12 and data[at + 6] & 0x3F == 0 and data[at + 7] & 0x07 == 0
                says = length >= 7 and data[at + 6] & 0x40 == 0
                good = says and data[at + 6] & 0x80 == 0
                first, count, step = at + 8, 1, 0
                if kind == 3855:
                    first, count, _ = _mpr_elements(data, at, end, big)
                    fine, count, step = fine and count > 0, max(count, 1), 1 if count > 0 else 0
                for k in range(count):
                    test[row] = test_of[result_test[r]]
                    element[row] = k if step else -1
                    if fine:
                        bits = _u4(data, first + 4 * k, big)
                        value[row] = bits
                        usable[row] = not (bits & 0x7F800000 == 0x7F800000 and bits & 0x7FFFFF != 0)
                    passed[row], told[row] = good, says
                    row += 1
                cursor[part] = row
            r += 1
        at = end
    # how often the same test came before in the same part: rows of a part stand together, elements of a record too
    seen = np.full(tests, -1, np.int64)
    count_of = np.zeros(tests, np.int32)
    for part in range(cursor.shape[0]):
        for row in range(begins[part], cursor[part]):
            t = test[row]
            if element[row] > 0:
                occurrence[row] = occurrence[row - 1]
            else:
                if seen[t] != part:
                    seen[t], count_of[t] = part, 0
                occurrence[row] = count_of[t]
                count_of[t] += 1
            row += 1
    return test, element, value, occurrence, usable, passed, told


@njit(cache=True, nogil=True)
def gather(data: Any, at: Any, end: Any) -> Any:
    """The bytes of some pieces, one behind the other, and where each begins."""
    starts = np.zeros(at.shape[0] + 1, np.int64)
    for i in range(at.shape[0]):
        starts[i + 1] = starts[i] + end[i] - at[i]
    out = np.empty(starts[-1], np.uint8)
    for i in range(at.shape[0]):
        out[starts[i] : starts[i + 1]] = data[at[i] : end[i]]
    return out, starts


@dataclass(frozen=True, slots=True)
class Scan:
    """What the passes over a file's bytes find; places are bytes of record headers.

    kept_*     (records,) every record but results, PIR, PRR and what is skipped
    part_*     (parts,) in the order of PIR, then of a PRR without one; `part_prr` -1 was never closed
    result_*   (result records,) in file order; `result_part` -1 is outside any part
    test_*     (tests,) by their first record: (kind, TEST_NUM, name) as bytes, `test_opt` -1 never reaches OPT_FLAG
    """

    data: NDArray[np.uint8]
    big_endian: bool
    counts: Int64
    stopped_at: int
    why: int
    kept_at: Int64
    kept_kind: NDArray[np.int32]
    part_prr: Int64
    part_run: Int64
    part_touchdown: Int64
    part_has_pir: NDArray[np.bool_]
    part_is_pseudo: NDArray[np.bool_]
    part_rows: Int64
    result_part: NDArray[np.int32]
    result_test: NDArray[np.int32]
    test_kind: Int64
    test_num: Int64
    test_name_at: Int64
    test_name_size: Int64
    test_first: Int64
    test_opt: Int64
    short_records: int
    overlong_fields: int
    results_outside_parts: int

    def ends(self, at: Int64) -> Int64:
        """Byte behind each record."""
        ends: Int64 = at + 4 + self.numbers(at, "u2").astype(np.int64)
        return ends

    def payload(self, at: int) -> bytes:
        """The payload of the record at a byte."""
        (end,) = self.ends(np.array([at], np.int64))
        return self.data[at + 4 : end].tobytes()

    def places(self, name: str) -> Int64:
        """Where the kept records of a name are."""
        found: Int64 = self.kept_at[self.kept_kind == KINDS[name]]
        return found

    def numbers(self, at: Int64, dtype: str) -> NDArray[Any]:
        """The numbers of `dtype` (u1, i2, u2, u4, f4) at the byte offsets `at`, (n,)."""
        size = int(dtype[1])
        raw = self.data[at[:, None] + np.arange(size)]
        numbers: NDArray[Any] = raw.view((">" if self.big_endian else "<") + dtype).ravel()
        return numbers


_KEPT: Final = np.ones(65536, np.bool_)
_KEPT[list(_UNREAD)] = False


def scan(data: bytes) -> Scan:
    """Frames and links a whole file. Raises StdfError where the first record is no FAR of STDF V4."""
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
    if data[4] == 0:
        raise StdfError("CPU_TYPE 0 at byte 4: floats of a VAX. Hint: convert the file to IEEE numbers (CPU_TYPE 2)")
    buffer = np.frombuffer(data, np.uint8)
    counts, stopped_at, why = survey(buffer, big)
    n_results = int(counts[[PTR, MPR, FTR]].sum())
    n_parts = int(counts[[_PIR, _PRR]].sum())
    kept, parts, results, tests, faults = _link(
        buffer, stopped_at, big, ~_KEPT, int(counts[_KEPT].sum()), n_parts, n_results
    )
    return Scan(buffer, big, counts, stopped_at, why, *kept, *parts, *results, *tests, *(int(n) for n in faults))
