"""Results by part, and the tests they belong to with names, units and limits resolved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.stdf.filling import fill_results
from fs_spark.stdf.quantity import powers_between
from fs_spark.stdf.records import Fields
from fs_spark.stdf.scan import FTR, MPR, PTR, Scan

RECORD_NAMES: Final = {PTR: "PTR", MPR: "MPR", FTR: "FTR"}
_KIND_OF_TYPE: Final = {"P": PTR, "M": MPR, "F": FTR}  # TSR TEST_TYP
_RESULT_TYPES: Final = (np.int32, np.int32, np.uint32, np.int32, np.bool_, np.bool_, np.bool_)
_NOTHING: Final[Fields] = dict.fromkeys(
    ("opt_flag", "parm_flg", "lo_limit", "hi_limit", "lo_spec", "hi_spec", "res_scal", "units")
)


@dataclass(slots=True)
class Test:
    """A test of a file: record kind, TEST_NUM and TEST_TXT are its identity.

    `low_limit`, `high_limit`, `low_spec`, `high_spec` are in base units, null where the test has none; `inclusive`
    tells whether a result equal to the limit passes [STDF V4 p.47-48].
    """

    record: str
    test_num: int
    test_name: str
    unit: str | None = None
    low_limit: float | None = None
    high_limit: float | None = None
    low_inclusive: bool | None = None
    high_inclusive: bool | None = None
    low_spec: float | None = None
    high_spec: float | None = None
    result_scale: int | None = None
    opt_flag: int | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """Results sorted by part, then file order; all arrays (n,), `begins` (parts + 1,)."""

    begins: NDArray[np.int64]
    test_index: NDArray[np.int32]
    element: NDArray[np.int32]  # -1 but in an MPR
    result: NDArray[np.float32]
    occurrence: NDArray[np.int32]
    usable: NDArray[np.bool_]
    passed: NDArray[np.bool_]
    says_passed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tests:
    """The tests of a file, and what of it they could not be told from alone.

    Shapes     index, power (tests of the scan,): the place of each among `tests`, and the power of ten that brings its
               results to the unit of that test; result_test (result records,): the test of the scan of each
    """

    tests: list[Test]
    index: NDArray[np.int32]
    power: NDArray[np.int64]
    result_test: NDArray[np.int32]
    warnings: list[str]


def _finite(value: float | None) -> float | None:
    """A limit that is infinite or NaN limits nothing: it is none."""
    return value if value is not None and math.isfinite(value) else None


def _with_limits(scan: Scan, test: Test, option: int, low: int, high: int) -> None:
    """Unit, scale and specification limits of the record at `option`, the limits of those at `low` and `high`.

    Bits 4 and 6 (5 and 7) of OPT_FLAG say that a record has no low (high) limit [STDF V4 p.48].
    """
    fields = {**_NOTHING, **scan.fields(test.record, option)}
    flag = fields["opt_flag"]
    if flag is None:
        return
    test.opt_flag, test.unit = flag, fields["units"]
    test.low_spec = None if flag & 0x04 else _finite(fields["lo_spec"])
    test.high_spec = None if flag & 0x08 else _finite(fields["hi_spec"])
    test.result_scale = None if flag & 0x01 else fields["res_scal"]
    if low >= 0:
        fields = scan.fields(test.record, low)
        test.low_limit = _finite(fields["lo_limit"])
        test.low_inclusive = None if test.low_limit is None else bool(fields["parm_flg"] & 0x40)
    if high >= 0:
        fields = scan.fields(test.record, high)
        test.high_limit = _finite(fields["hi_limit"])
        test.high_inclusive = None if test.high_limit is None else bool(fields["parm_flg"] & 0x80)


def _named_in_order(scan: Scan, names: list[str]) -> tuple[NDArray[np.int32], int]:
    """Tests of the results, where records without a name have a number that several names share.

    In a part they come in the order in which the first part that names all of them has them, and a part that stops
    early has the first of them. Where a part has more, or other names, which one is which is not known: they stay
    without a name, and are counted.
    """
    of_result = scan.result_test
    of_number: dict[tuple[int, int], list[int]] = {}
    for k, key in enumerate(zip(scan.test_kind.tolist(), scan.test_num.tolist(), strict=True)):
        of_number.setdefault(key, []).append(k)
    shared = [
        ks for ks in of_number.values() if len({names[k] for k in ks if names[k]}) > 1 and not all(names[k] for k in ks)
    ]
    unknown = 0
    for ks in shared:
        rows = np.flatnonzero(np.isin(of_result, ks))
        of_part: dict[int, list[int]] = {}
        for row in rows[scan.result_part[rows] >= 0].tolist():
            of_part.setdefault(int(scan.result_part[row]), []).append(row)
        lists = [[int(of_result[row]) for row in mine] for mine in of_part.values()]
        order = next((tests for tests in lists if len(tests) > 1 and all(names[k] for k in tests)), [])
        if of_result is scan.result_test:
            of_result = of_result.copy()
        for mine, tests in zip(of_part.values(), lists, strict=True):
            fits = len(tests) <= len(order) and all(
                not names[k] or names[k] == names[o] for k, o in zip(tests, order, strict=False)
            )
            for row, k, named in zip(mine, tests, order if fits else tests, strict=False):
                of_result[row] = k if names[k] else named
                unknown += not names[k] and not fits
    return of_result, unknown


def _alterations(scan: Scan, names: list[str]) -> list[str]:
    altered = np.flatnonzero(scan.test_alter >= 0)
    if not len(altered):
        return []
    k = int(altered[0])
    found = Test(RECORD_NAMES[int(scan.test_kind[k])], int(scan.test_num[k]), names[k])
    other = Test(found.record, found.test_num, found.test_name)
    record = int(scan.test_alter[k])
    _with_limits(scan, found, int(scan.test_opt[k]), int(scan.test_low[k]), int(scan.test_high[k]))
    fields = {**_NOTHING, **scan.fields(other.record, record)}
    flag = fields["opt_flag"] or 0
    own = [None if flag & bits else _finite(fields[name]) for bits, name in ((0x50, "lo_limit"), (0xA0, "hi_limit"))]
    first = [found.low_limit, found.high_limit]
    if own == first:  # a record before it said that there are none
        own = [None, None]
    return [
        f"{len(altered)} of {len(names)} tests change their limits within the file, such as {found.test_num} "
        f"{found.test_name!r}: {_between(*first)}, elsewhere {_between(*own)}; `tests` has the first ones, `passed` is "
        "by each part's own"
    ]


def _between(low: float | None, high: float | None) -> str:
    return (
        "none"
        if low is None and high is None
        else f"{low if low is not None else ''}..{high if high is not None else ''}"
    )


def read_tests(scan: Scan) -> Tests:
    """Tests by their first record.

    Names of records without one, and limits of tests that never give any, come from the first test of the same kind
    and number that has them, then from a TSR [STDF V4 p.45-50]. A test is one whatever prefix its unit has in a
    record; in another quantity it is another test, with the unit behind its name.
    """
    summed: dict[tuple[int, int, str], None] = {}  # in file order
    for at in scan.places("TSR").tolist():
        fields = scan.fields("TSR", at)
        kind = _KIND_OF_TYPE.get(fields["test_typ"] or "")
        if kind and fields["test_num"] is not None and fields["test_nam"]:
            summed[kind, fields["test_num"], fields["test_nam"]] = None
    summaries: dict[tuple[int, int], str] = {}
    for kind, number, name in summed:
        summaries.setdefault((kind, number), name)
    columns = (
        scan.test_kind, scan.test_num, scan.test_name_at, scan.test_name_size, scan.test_unit_at, scan.test_unit_size,
    )  # fmt: skip
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    names = [scan.text(at, size) for _, _, at, size, _, _ in rows]
    result_test, unknown = _named_in_order(scan, names)
    warnings = _alterations(scan, names)
    if unknown:
        warnings.append(f"{unknown} results have no test name, and their number is that of several tests")
    named: dict[tuple[int, int], list[str]] = {}
    for (kind, number, *_), name in zip(rows, names, strict=True):
        if name and name not in named.setdefault((kind, number), []):
            named[kind, number].append(name)
    there = np.ones(len(rows), bool)
    if result_test is not scan.result_test:
        there = np.bincount(result_test[result_test >= 0], minlength=len(rows)) > 0
    tests: list[Test] = []
    units: list[str] = []
    place: dict[tuple[int, int, str, str], int] = {}
    reaches: list[list[int]] = []  # of each test the first record that reaches OPT_FLAG, and those with limits
    index, power = np.zeros(len(rows), np.int32), np.zeros(len(rows), np.int64)
    changed: dict[tuple[int, str], list[str]] = {}
    for k, (kind, number, _, _, unit_at, unit_size) in enumerate(rows):
        if not names[k] and not there[k] and len(named.get((kind, number), ())) > 1:
            continue  # all its results were named in order
        several = named.get((kind, number), [])
        name = names[k] or (several[0] if len(several) == 1 else "" if several else summaries.get((kind, number), ""))
        unit = scan.text(unit_at, unit_size) if unit_size > 0 else ""
        at = place.setdefault((kind, number, name, ""), len(tests))
        if at < len(tests) and unit and units[at] and unit != units[at]:
            between = powers_between(unit, units[at])
            if between != 0:
                changed.setdefault((number, name), [units[at]]).append(unit)
            if between is None:
                at = place.setdefault((kind, number, name, unit), len(tests))
                name = f"{name} [{unit}]"
            elif between:
                index[k], power[k] = at, between
                continue
        index[k] = at
        marks = [int(scan.test_opt[k]), int(scan.test_low[k]), int(scan.test_high[k])]
        if at == len(tests):
            tests.append(Test(RECORD_NAMES[kind], number, name))
            units.append(unit)
            reaches.append(marks)
        else:
            units[at] = units[at] or unit
            reaches[at] = [
                min((one for one in pair if one >= 0), default=-1) for pair in zip(reaches[at], marks, strict=True)
            ]
    default: dict[tuple[str, int], list[int]] = {}
    for test, marks in zip(tests, reaches, strict=True):
        if marks[0] >= 0:
            default.setdefault((test.record, test.test_num), marks)
    for test, marks, unit in zip(tests, reaches, units, strict=True):
        option, low, high = marks if marks[0] >= 0 else default.get((test.record, test.test_num), marks)
        if option >= 0:
            _with_limits(scan, test, option, low, high)
        test.unit = unit or test.unit
    for (number, name), given in changed.items():
        parted = any(powers_between(unit, given[0]) is None for unit in given[1:])
        what = "in another quantity it is a test of its own" if parted else f"all values are brought to {given[0]}"
        warnings.append(f"test {number} {name!r} changes its unit ({', '.join(dict.fromkeys(given))}): {what}")
    seen = {(kind, number) for kind, number, *_ in rows}
    tests += [Test(RECORD_NAMES[kind], number, name) for kind, number, name in summed if (kind, number) not in seen]
    return Tests(tests, index, power, result_test, warnings)


def read_results(scan: Scan, final: NDArray[np.int64], n_parts: int, tests: Tests) -> Results:
    """Results of the kept parts.

    Shapes     final (linked parts,): the number of each kept part, -1 = dropped
    """
    kept = np.flatnonzero(final >= 0)
    rows_of = np.zeros(n_parts, np.int64)
    rows_of[final[kept]] = scan.part_rows[kept]
    begins = np.zeros(n_parts + 1, np.int64)
    np.cumsum(rows_of, out=begins[1:])
    first = np.full(len(final), -1, np.int64)
    first[kept] = begins[final[kept]]

    def filled(index: NDArray[np.int32], count: int) -> tuple[NDArray[Any], ...]:
        rows = int(begins[-1])
        found = tuple(np.zeros(rows, kind) for kind in _RESULT_TYPES)
        fill_results(
            scan.data, scan.stopped_at, scan.big_endian, scan.result_part, tests.result_test, index, first,
            first.copy(), np.full(max(count, 1), -1, np.int64), np.zeros(max(count, 1), np.int32), *found,
        )  # fmt: skip
        return found

    test, element, bits, occurrence, usable, passed, told = filled(tests.index, len(tests.tests))
    value = bits.view(np.float32)
    if tests.power.any():
        power = tests.power[filled(np.arange(len(tests.index), dtype=np.int32), len(tests.index))[0]]
        for exponent in np.unique(power[power != 0]).tolist():
            rows, wide = power == exponent, 10.0 ** abs(exponent)
            scaled = value[rows].astype(np.float64)
            with np.errstate(over="ignore"):
                value[rows] = (scaled * wide if exponent > 0 else scaled / wide).astype(np.float32)
    return Results(begins, test, element, value, occurrence, usable, passed, told)
