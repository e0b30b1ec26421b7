"""Passes over the bytes of a file that link its results to parts and tests (compiled by numba).

Linking rules [STDF V4 p.40-41, semantics 2.2]: a PIR opens a part on (head, site); a PTR, MPR or FTR belongs to the
part open there; a PRR closes it. A touchdown of a head begins at a PIR when no part of that head is open;
pseudo-parts neither begin a touchdown nor keep one open.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fs_spark.compiled import njit
from fs_spark.stdf.touchdowns import touchdowns_of

KIND, NUMBER, NAME, NAME_SIZE, FIRST, OPTION, NEXT, UNIT, UNIT_SIZE = range(9)
LOW, HIGH, LOW_AT, HIGH_AT, ALTER, OTHER, NONE = range(9, 16)
_COLUMNS: Final = 16
"""What is known of each test, all in one array since each more array that grows costs every record: where its name and
unit are, its first record, the first ones that reach OPT_FLAG and have a low or high limit, where these limits are, a
record with others, the same test in another unit, and in NONE bit 0 (1) where a record says that there is no low
(high) limit, bit 2 for one that is another's OTHER."""

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
def _is_pseudo(data: Any, at: Any, end: Any, big: Any, site_255: Any) -> Any:
    """Whether the PRR at `at` is no part: a SITE_NUM 255 that no SDR lists, HARD_BIN above 32767, or a delimiter."""
    if (data[at + 1] == 255 and not site_255) or (end - at >= 7 and data[at + 5 if big else at + 6] > 127):
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
def _grown(table: Any) -> Any:
    larger = np.empty((table.shape[0] * 2, table.shape[1]), np.int64)
    for row in range(larger.shape[0]):  # assigning a slice takes five seconds to compile
        for column in range(table.shape[1]):
            larger[row, column] = table[row, column] if row < table.shape[0] else -1
    return larger


@njit(cache=True, nogil=True)
def _same_bytes(data: Any, place: Any, size: Any, other: Any, size_of_other: Any) -> Any:
    if size != size_of_other:
        return False
    for k in range(size):  # noqa: SIM110  compiled
        if data[place + k] != data[other + k]:
            return False
    return True


@njit(cache=True, nogil=True)
def _same_test(data: Any, kind: Any, number: Any, name: Any, size: Any, test: Any, t: Any) -> Any:
    if t[test, KIND] != kind or t[test, NUMBER] != number or t[test, NAME_SIZE] != size:
        return False
    other = t[test, NAME]
    for k in range(size):  # noqa: SIM110  compiled
        if data[name + k] != data[other + k]:
            return False
    return True


@njit(cache=True, nogil=True)
def link_records(
    data: Any,
    size: Any,
    big: Any,
    unread: Any,
    n_kept: Any,
    n_parts: Any,
    n_results: Any,
    breaks: Any,
    has_pirs: Any,
    site_255: Any,
) -> Any:
    """Walks the records once. Slots are (head, site) pairs, 65,536 of them.

    At a break, where bytes were lost, all open parts are given up: whose results and ends come behind it, none can
    tell. So a PRR behind it is the end of a part only if its PIR is there too.
    """
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
    given_up = np.zeros(65536, np.bool_)
    b = lost_ends = 0
    t = np.full((1024, _COLUMNS), -1, np.int64)
    table = np.full(4096, -1, np.int64)
    tests = p = r = w = o = short = overlong = outside = 0
    at: Any = 0
    last: Any = 0
    while at < size:
        length = _u2(data, at, big)
        kind = np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
        here = at
        at += 4
        end = at + length
        while b < breaks.shape[0] and here >= breaks[b]:
            b += 1
            for each in range(65536):
                if open_part[each] >= 0:
                    part_end[open_part[each]] = last - 1
                    open_part[each] = -1
                given_up[each] = has_pirs
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
                    test = t[test, NEXT]
                if test < 0 or not _same_test(data, kind, number, name, wide, test, t):
                    h = np.uint64(14695981039346656037) ^ np.uint64(number << 16 | kind)
                    for k in range(name, stop):
                        h = (h ^ np.uint64(data[k])) * np.uint64(1099511628211)
                    mask = table.shape[0] - 1
                    place = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(mask))
                    while True:
                        test = table[place]
                        if test < 0 or _same_test(data, kind, number, name, wide, test, t):
                            break
                        place = (place + 1) & mask
                    if test < 0:
                        if tests == t.shape[0]:
                            t = _grown(t)
                        test = tests
                        tests += 1
                        t[test, KIND], t[test, NUMBER], t[test, NAME], t[test, NAME_SIZE] = kind, number, name, wide
                        t[test, FIRST], t[test, NONE] = here, 0
                        table[place] = test
                        if tests * 2 > table.shape[0]:
                            table = np.full(table.shape[0] * 2, -1, np.int64)
                            mask = table.shape[0] - 1
                            for other in range(tests):
                                if t[other, NONE] & 4:
                                    continue
                                g = np.uint64(14695981039346656037) ^ np.uint64(t[other, NUMBER] << 16 | t[other, KIND])
                                for k in range(t[other, NAME], t[other, NAME] + t[other, NAME_SIZE]):
                                    g = (g ^ np.uint64(data[k])) * np.uint64(1099511628211)
                                place = np.int64((g ^ (g >> np.uint64(32))) & np.uint64(mask))
                                while table[place] >= 0:
                                    place = (place + 1) & mask
                                table[place] = other
                    if slot_test[slot] >= 0:
                        t[slot_test[slot], NEXT] = test
                slot_test[slot] = test
                option = end
                if kind != 3860 and not over and after < end:  # ALARM_ID stands between the two
                    option = after + 1 + np.int64(data[after])
                if option < end:
                    flag = data[option]
                    unit = option + 12
                    if kind == 3855:
                        unit += 8 + 2 * _u2(data, at + 8, big)
                    wide = 0
                    if unit < end:
                        unit += 1
                        wide = np.int64(data[unit - 1])
                        wide = wide if unit + wide <= end else 0
                        while wide > 0 and (data[unit + wide - 1] == 32 or data[unit + wide - 1] == 0):
                            wide -= 1
                    if wide > 0:
                        while t[test, UNIT_SIZE] >= 0 and not _same_bytes(
                            data, unit, wide, t[test, UNIT], t[test, UNIT_SIZE]
                        ):
                            if t[test, OTHER] < 0:
                                if tests == t.shape[0]:
                                    t = _grown(t)
                                t[tests, KIND], t[tests, NUMBER], t[tests, NAME] = kind, number, name
                                t[tests, NAME_SIZE], t[tests, FIRST], t[tests, NONE] = t[test, NAME_SIZE], here, 4
                                t[test, OTHER] = tests
                                tests += 1
                            test = t[test, OTHER]
                        t[test, UNIT], t[test, UNIT_SIZE] = unit, wide
                    if t[test, OPTION] < 0:
                        t[test, OPTION] = here
                    for side in range(2):
                        place = option + 4 + 4 * side
                        if place + 4 > end:
                            continue
                        first = t[test, HIGH_AT] if side else t[test, LOW_AT]
                        if flag >> side & 0x50 == 0:
                            if first < 0:
                                if side:
                                    t[test, HIGH], t[test, HIGH_AT] = here, place
                                else:
                                    t[test, LOW], t[test, LOW_AT] = here, place
                                differs = t[test, NONE] >> side & 1 > 0
                            else:
                                differs = not _same_bytes(data, place, 4, first, 4)
                        else:
                            differs = first >= 0 and flag >> side & 0x40 > 0
                            if first < 0:
                                t[test, NONE] |= 1 << side
                        if differs and t[test, ALTER] < 0:
                            t[test, ALTER] = here
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
                if kind == 1290:
                    given_up[slot] = False
                if given_up[slot] and part < 0:
                    lost_ends += 1
                    last, at = here, end
                    continue
                if kind == 1290 or part < 0:
                    if part >= 0:
                        part_end[part] = last - 1  # its PRR never came
                    part = p
                    p += 1
                    part_head[part], part_begin[part], part_pir[part] = head, here, kind == 1290
                    part_run[part] = head_run[head] if head_run[head] >= 0 else head_run[255]
                    part_pseudo[part] = data[at + 1] == 255 and not site_255
                    open_part[slot] = part
                if kind == 1300:
                    part_prr[part], part_end[part] = here, here
                    part_pseudo[part] = _is_pseudo(data, at, end, big, site_255)
                    open_part[slot] = -1
        elif not unread[kind]:
            kept_at[o], kept_kind[o] = here, kind
            o += 1
            if kind == 522 and length >= 1:
                head_run[np.int64(data[at])] = w
                w += 1
        last, at = here, end
    touchdown = touchdowns_of(part_head[:p], part_run[:p], part_begin[:p], part_end[:p], part_pseudo[:p])
    return (
        (kept_at, kept_kind),
        (part_prr[:p], part_run[:p], touchdown, part_pir[:p], part_pseudo[:p], part_rows[:p]),
        (result_part, result_test),
        t[:tests],
        (short, overlong, outside, lost_ends),
    )


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
def places_of(data: Any, size: Any, big: Any, kind: Any, count: Any) -> Any:
    """Where the `count` records of a kind are."""
    places = np.empty(count, np.int64)
    at, found = 0, 0
    while at < size:
        if np.int64(data[at + 2]) << 8 | np.int64(data[at + 3]) == kind:
            places[found] = at
            found += 1
        at += 4 + _u2(data, at, big)
    return places
