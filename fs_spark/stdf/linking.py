"""Passes over the bytes of a file that link its results to parts and tests (compiled by numba).

Linking rules [STDF V4 p.40-41, semantics 2.2]: a PIR opens a part on (head, site); a PTR, MPR or FTR belongs to the
part open there; a PRR closes it. A touchdown of a head begins at a PIR when no part of that head is open;
pseudo-parts neither begin a touchdown nor keep one open.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.stdf.framing import u2
from fs_spark.stdf.touchdowns import touchdowns_of

KIND, NUMBER, NAME, NAME_SIZE, FIRST, OPTION, NEXT, UNIT, UNIT_SIZE = range(9)
LOW, HIGH, LOW_AT, HIGH_AT, ALTER, OTHER, NONE, HASH = range(9, 17)
_COLUMNS: Final = 17
"""What is known of each test, all in one array: where its name and unit are, its first record, the first ones that
reach OPT_FLAG and have a low or high limit, where these limits are, a record with others, the same test in another
unit, in NONE bit 0 (1) where a record says that there is no low (high) limit, bit 2 for one that is another's OTHER,
and its place in the table."""
_NEW_TESTS: Final = 2
"""At most, of one record: a test, and the same in another unit."""
_AT, _LAST, _PARTS, _RESULTS, _RUNS, _KEPT, _BREAKS, _TESTS, _SHORT, _OVERLONG, _OUTSIDE, _LOST = range(12)
"""Of `walk`: the next byte, the record before it, and what was counted up to there."""

_DELIMITER: Final = np.frombuffer(b"Test Plan Delimiter", np.uint8)


@njit(inner=True, nogil=True)
def u4(data: Any, at: Any, big: Any) -> Any:
    a, b, c, d = np.int64(data[at]), np.int64(data[at + 1]), np.int64(data[at + 2]), np.int64(data[at + 3])
    return (a << 24 | b << 16 | c << 8 | d) if big else (d << 24 | c << 16 | b << 8 | a)


@njit(inner=True, nogil=True)
def mpr_elements(data: Any, at: Any, end: Any, big: Any) -> Any:
    """First byte of RTN_RSLT, the whole floats in it, and the byte behind it (-1: beyond the record)."""
    if end - at < 12:
        return end, 0, end
    pins, elements = u2(data, at + 8, big), u2(data, at + 10, big)
    first = at + 12 + (pins + 1) // 2
    after = first + 4 * elements
    if after <= end:
        return first, elements, after
    return first, max(0, (end - first) // 4), -1


@njit(inner=True, nogil=True)
def _ftr_text(data: Any, at: Any, end: Any, big: Any) -> Any:
    """Where TEST_TXT of an FTR begins, at or behind `end` where the record stops before it; -1: beyond the record."""
    if end - at < 38:
        return end
    returned, programmed = u2(data, at + 34, big), u2(data, at + 36, big)
    place = at + 38 + 2 * returned + (returned + 1) // 2 + 2 * programmed + (programmed + 1) // 2
    if place > end:
        return -1
    if place + 2 > end:
        return end
    place += 2 + (u2(data, place, big) + 7) // 8
    for _ in range(3):  # VECT_NAM, TIME_SET, OP_CODE
        if place > end:
            return -1
        if place == end:
            return end
        place += 1 + np.int64(data[place])
    return place if place <= end else -1


@njit(inner=True, nogil=True)
def _same_bytes(data: Any, place: Any, other: Any, size: Any) -> Any:
    for k in range(size):  # noqa: SIM110  compiled
        if data[place + k] != data[other + k]:
            return False
    return True


@njit(inner=True, nogil=True)
def _same_test(data: Any, kind: Any, number: Any, name: Any, size: Any, test: Any, t: Any) -> Any:
    if t[test, KIND] != kind or t[test, NUMBER] != number or t[test, NAME_SIZE] != size:
        return False
    return _same_bytes(data, name, t[test, NAME], size)


@njit(cache=True, nogil=True)
def _link(
    data: Any, size: Any, big: Any, unread: Any, breaks: Any, has_pirs: Any, site_255: Any, delimiter: Any,
    kept_at: Any, kept_kind: Any, part_prr: Any, part_run: Any, part_head: Any, part_begin: Any, part_end: Any,
    part_pir: Any, part_pseudo: Any, part_rows: Any, result_part: Any, result_test: Any, open_part: Any, slot_test: Any,
    given_up: Any, head_run: Any, t: Any, table: Any, walk: Any,
) -> None:  # fmt: skip
    # Goes on where `walk` says, to the end or to where a table may be too small. The caller makes all arrays: each
    # np.full here would take a quarter of a second to compile, and a slice that is assigned to five.
    mask = len(table) - 1
    tests = walk[_TESTS]
    for test in range(tests):
        if t[test, NONE] & 4 == 0:
            place = t[test, HASH] & mask
            while table[place] >= 0:
                place = (place + 1) & mask
            table[place] = test
    at: Any = walk[_AT]
    r = walk[_RESULTS]
    while at < size:
        if tests + _NEW_TESTS > len(t) or 2 * tests > len(table):
            break
        length = u2(data, at, big)
        kind = np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
        here = at
        at += 4
        end = at + length
        while walk[_BREAKS] < len(breaks) and here >= breaks[walk[_BREAKS]]:
            walk[_BREAKS] += 1
            for each in range(65536):
                if open_part[each] >= 0:
                    part_end[open_part[each]] = walk[_LAST] - 1
                    open_part[each] = -1
                given_up[each] = has_pirs
        if kind == 3850 or kind == 3855 or kind == 3860:
            walk[_SHORT] += length < (7 if kind == 3860 else 12)
            if length >= 6:
                slot = np.int64(data[at + 4]) << 8 | np.int64(data[at + 5])
                part = open_part[slot]
                number = u4(data, at, big)
                rows = 1
                text = at + 12
                if kind == 3855:
                    _, rows, text = mpr_elements(data, at, end, big)
                    if rows < 1:
                        rows = 1
                elif kind == 3860:
                    text = _ftr_text(data, at, end, big)
                after = end
                name = end
                stop = end
                over = text < 0
                if 0 <= text < end:
                    name = text + 1
                    stop = name + np.int64(data[text])
                    if stop > end:
                        over = True
                        stop = end
                    after = stop
                    while stop > name and (data[stop - 1] == 32 or data[stop - 1] == 0):
                        stop -= 1
                walk[_OVERLONG] += over
                wide = stop - name
                # most often the test that followed the last one of this site the time before
                test = slot_test[slot]
                if test >= 0:
                    test = t[test, NEXT]
                if test < 0 or not _same_test(data, kind, number, name, wide, test, t):
                    h = np.uint64(14695981039346656037) ^ np.uint64(number << 16 | kind)
                    for k in range(name, stop):
                        h = (h ^ np.uint64(data[k])) * np.uint64(1099511628211)
                    folded = np.int64((h ^ (h >> np.uint64(32))) & np.uint64(0x7FFFFFFF))
                    place = folded & mask
                    test = table[place]
                    while test >= 0 and not _same_test(data, kind, number, name, wide, test, t):
                        place = (place + 1) & mask
                        test = table[place]
                    if test < 0:
                        test = tests
                        tests += 1
                        table[place] = test
                        t[test, KIND] = kind
                        t[test, NUMBER] = number
                        t[test, NAME] = name
                        t[test, NAME_SIZE] = wide
                        t[test, FIRST] = here
                        t[test, NONE] = 0
                        t[test, HASH] = folded
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
                        unit += 8 + 2 * u2(data, at + 8, big)
                    wide = 0
                    if unit < end:
                        unit += 1
                        wide = np.int64(data[unit - 1])
                        wide = wide if unit + wide <= end else 0
                        while wide > 0 and (data[unit + wide - 1] == 32 or data[unit + wide - 1] == 0):
                            wide -= 1
                    if wide > 0:
                        while t[test, UNIT_SIZE] >= 0 and not (
                            t[test, UNIT_SIZE] == wide and _same_bytes(data, unit, t[test, UNIT], wide)
                        ):
                            if t[test, OTHER] < 0:
                                t[test, OTHER] = tests
                                t[tests, KIND] = kind
                                t[tests, NUMBER] = number
                                t[tests, NAME] = name
                                t[tests, NAME_SIZE] = t[test, NAME_SIZE]
                                t[tests, FIRST] = here
                                t[tests, NONE] = 4
                                tests += 1
                            test = t[test, OTHER]
                        t[test, UNIT] = unit
                        t[test, UNIT_SIZE] = wide
                    if t[test, OPTION] < 0:
                        t[test, OPTION] = here
                    for side in range(2):
                        place = option + 4 + 4 * side
                        if place + 4 > end:
                            continue
                        first = t[test, LOW_AT + side]
                        if flag >> side & 0x50 == 0:
                            if first < 0:
                                t[test, LOW + side] = here
                                t[test, LOW_AT + side] = place
                                differs = t[test, NONE] >> side & 1 > 0
                            else:
                                differs = u4(data, place, big) != u4(data, first, big)
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
                    walk[_OUTSIDE] += 1
            r += 1
        elif kind == 1290 or kind == 1300:
            walk[_SHORT] += length < (2 if kind == 1290 else 7)
            if length >= 2:
                head = np.int64(data[at])
                slot = head << 8 | np.int64(data[at + 1])
                part = open_part[slot]
                if kind == 1290:
                    given_up[slot] = False
                if given_up[slot] and part < 0:
                    walk[_LOST] += 1
                    walk[_LAST] = here
                    at = end
                    continue
                pseudo = data[at + 1] == 255 and not site_255
                if kind == 1290 or part < 0:
                    if part >= 0:
                        part_end[part] = walk[_LAST] - 1  # its PRR never came
                    part = walk[_PARTS]
                    walk[_PARTS] += 1
                    part_head[part] = head
                    part_begin[part] = here
                    part_pir[part] = kind == 1290
                    part_run[part] = head_run[head] if head_run[head] >= 0 else head_run[255]
                    part_pseudo[part] = pseudo
                    open_part[slot] = part
                if kind == 1300:  # no part: a site 255 that no SDR lists, HARD_BIN above 32767, or a delimiter
                    pseudo |= length >= 7 and data[at + 5 if big else at + 6] > 127
                    if length >= 18 and not pseudo:
                        stop = at + 18 + np.int64(data[at + 17])
                        stop = stop if stop < end else end
                        while stop > at + 18 and (data[stop - 1] == 32 or data[stop - 1] == 0):
                            stop -= 1
                        pseudo = stop - at - 18 == len(delimiter)
                        for k in range(len(delimiter) if pseudo else 0):
                            pseudo &= data[at + 18 + k] == delimiter[k]
                    part_prr[part] = here
                    part_end[part] = here
                    part_pseudo[part] = pseudo
                    open_part[slot] = -1
        elif not unread[kind]:
            kept_at[walk[_KEPT]] = here
            kept_kind[walk[_KEPT]] = kind
            walk[_KEPT] += 1
            if kind == 522 and length >= 1:
                head_run[data[at]] = walk[_RUNS]
                walk[_RUNS] += 1
        walk[_LAST] = here
        at = end
    walk[_AT] = at
    walk[_RESULTS] = r
    walk[_TESTS] = tests


def link_records(
    data: NDArray[np.uint8],
    size: int,
    big: bool,
    unread: NDArray[np.bool_],
    n_kept: int,
    n_parts: int,
    n_results: int,
    breaks: NDArray[np.int64],
    has_pirs: bool,
    site_255: bool,
) -> Any:
    """Walks the records once. Slots are (head, site) pairs, 65,536 of them.

    At a break, where bytes were lost, all open parts are given up: whose results and ends come behind it, none can
    tell. So a PRR behind it is the end of a part only if its PIR is there too.
    """

    def none(count: int) -> NDArray[np.int64]:
        return np.full(count, -1, np.int64)

    kept = np.empty(n_kept, np.int64), np.empty(n_kept, np.int32)
    prr, run, head, begin = none(n_parts), none(n_parts), np.zeros(n_parts, np.int64), np.zeros(n_parts, np.int64)
    end, rows = np.full(n_parts, size, np.int64), np.zeros(n_parts, np.int64)
    pir, pseudo = np.zeros(n_parts, np.bool_), np.zeros(n_parts, np.bool_)
    results = np.full(n_results, -1, np.int32), np.full(n_results, -1, np.int32)
    slots = none(65536), none(65536), np.zeros(65536, np.bool_), none(256)
    t, table = np.full((1024, _COLUMNS), -1, np.int64), none(4096)
    walk = np.zeros(12, np.int64)
    while True:
        _link(
            data, size, big, unread, breaks, has_pirs, site_255, _DELIMITER, *kept, prr, run, head, begin, end, pir,
            pseudo, rows, *results, *slots, t, table, walk,
        )  # fmt: skip
        if walk[_AT] >= size:
            break
        t, table = np.concatenate([t, np.full_like(t, -1)]), none(2 * len(table))
    p = int(walk[_PARTS])
    touchdown = none(p)
    touchdowns_of(head[:p], run[:p], begin[:p], end[:p], pseudo[:p], none(256), none(256), none(256) - 1, touchdown)
    return (
        kept,
        (prr[:p], run[:p], touchdown, pir[:p], pseudo[:p], rows[:p]),
        results,
        t[: walk[_TESTS]],
        walk[[_SHORT, _OVERLONG, _OUTSIDE, _LOST]],
    )


@njit(cache=True, nogil=True)
def _places(data: Any, size: Any, big: Any, kind: Any, places: Any) -> None:
    at: Any = np.int64(0)
    found = 0
    while at < size:
        if np.int64(data[at + 2]) << 8 | np.int64(data[at + 3]) == kind:
            places[found] = at
            found += 1
        at += 4 + u2(data, at, big)


def places_of(data: NDArray[np.uint8], size: int, big: bool, kind: int, count: int) -> NDArray[np.int64]:
    """Where the `count` records of a kind are."""
    places = np.empty(count, np.int64)
    _places(data, size, big, kind, places)
    return places
