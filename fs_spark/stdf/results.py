"""PTR records -> results by part, and the tests they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.stdf.records import read_fields
from fs_spark.stdf.scan import Scan, text_hashes

_UNUSABLE_TEST: Final = 0x3F  # TEST_FLG bits 0-5 [STDF V4 p.47]
_UNUSABLE_PARAMETER: Final = 0x07  # PARM_FLG bits 0-2 [STDF V4 p.47]
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Tests:
    """Tests of a file in the order of their first result, each identified by (TEST_NUM, TEST_TXT)."""

    test_num: list[int]
    test_name: list[str]
    unit: list[str | None]
    low_limit: list[float | None]
    high_limit: list[float | None]


@dataclass(frozen=True, slots=True)
class Results:
    """Results sorted by part, then file order; all arrays (n,)."""

    part: NDArray[np.int64]
    test_index: NDArray[np.int32]
    occurrence: NDArray[np.int32]
    result: NDArray[np.float32]
    usable: NDArray[np.bool_]
    passed: NDArray[np.int8]  # 1, 0, or -1 where the record says neither


def _limits(fields: dict[str, Any]) -> tuple[float | None, float | None]:
    """Low and high limit of a test's first PTR; bits 4 and 6 (5 and 7) say that it has none [STDF V4 p.48]."""
    flag = fields["opt_flag"]
    if flag is None:
        return None, None
    low = None if flag & 0x50 else fields["lo_limit"]
    high = None if flag & 0xA0 else fields["hi_limit"]
    return low, high


def _identify(scan: Scan, at: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[np.int32], Tests]:
    """Test of each result, (n,); a record without a text is of the first test of its number that has one."""
    number = scan.numbers(at, "u4").astype(np.int64)
    hashes = text_hashes(scan.data, at + 12, end)
    key = hashes ^ (number.astype(np.uint64) * _MIX)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # tests are numbered by first appearance in the file
    named: dict[int, int] = {}
    target = np.zeros(len(first), np.int32)
    tests = Tests([], [], [], [], [])
    for group in order:  # tests with a text first, so that a text-less first record finds its test
        if hashes[first[group]]:
            named.setdefault(int(number[first[group]]), int(first[group]))
    seen: dict[tuple[int, str], int] = {}
    for group in order:
        where = int(first[group])
        num = int(number[where])
        owner = where if hashes[where] else named.get(num, where)
        fields, owned = (
            read_fields("PTR", scan.data[at[k] : end[k]].tobytes(), big_endian=scan.big_endian) for k in (where, owner)
        )
        name = owned["test_txt"] or ""
        index = seen.setdefault((num, name), len(seen))  # texts that differ in trailing blanks are one test
        target[group] = index
        if index == len(tests.test_num):
            low, high = _limits(fields)
            tests.test_num.append(num)
            tests.test_name.append(name)
            tests.unit.append(fields["units"])
            tests.low_limit.append(low)
            tests.high_limit.append(high)
    return target[inverse], tests


def _occurrences(part: NDArray[np.int64], test: NDArray[np.int32], n_tests: int) -> NDArray[np.int32]:
    """How often the same test came before in the same part, (n,)."""
    key = part * max(n_tests, 1) + test
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    begins = np.ones(len(key), bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    place = np.arange(len(key))
    occurrence = np.empty(len(key), np.int32)
    occurrence[order] = place - np.maximum.accumulate(np.where(begins, place, 0))
    return occurrence


def read_results(scan: Scan, part_index: NDArray[np.int64]) -> tuple[Results, Tests, int]:
    """Results of the kept parts.

    Shapes     part_index (parts,): the final number of each linked part, -1 = dropped  ->  results (n,)
    Adds       the count of results that lie outside every part
    """
    linked = scan.result_part >= 0
    orphans = int((~linked).sum())
    # names and limits come from the first record of a test, which may lie in a part that is dropped
    whole_header = np.flatnonzero(scan.result_end - scan.result_at >= 8)
    test_of = np.full(len(linked), -1, np.int32)
    test_of[whole_header], tests = _identify(scan, scan.result_at[whole_header], scan.result_end[whole_header])
    part = np.where(linked, part_index[scan.result_part], -1) if len(part_index) else np.full(len(linked), -1)
    kept = np.flatnonzero(part >= 0)
    kept = kept[np.argsort(part[kept], kind="stable")]
    at, end, part, test = scan.result_at[kept], scan.result_end[kept], part[kept], test_of[kept]
    whole = end - at >= 12
    value = np.full(len(at), np.nan, np.float32)
    value[whole] = scan.numbers(at[whole] + 8, "f4").astype(np.float32)
    test_flag, parameter_flag = scan.data[at + 6], scan.data[at + 7]
    usable = ((test_flag & _UNUSABLE_TEST) == 0) & ((parameter_flag & _UNUSABLE_PARAMETER) == 0) & ~np.isnan(value)
    passed = np.where(test_flag & 0x40, -1, 1 - (test_flag >> 7)).astype(np.int8)
    occurrence = _occurrences(part, test, len(tests.test_num))
    return Results(part, test, occurrence, value, usable, passed), tests, orphans
