"""Results by part, and the tests they belong to with names, units and limits resolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.stdf.records import Fields, read_fields
from fs_spark.stdf.scan import FTR, MPR, PTR, Scan, fill_results

RECORD_NAMES: Final = {PTR: "PTR", MPR: "MPR", FTR: "FTR"}
_KIND_OF_TYPE: Final = {"P": PTR, "M": MPR, "F": FTR}  # TSR TEST_TYP
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


def _with_limits(test: Test, fields: Fields) -> None:
    """Bits 4 and 6 (5 and 7) of OPT_FLAG say that a record has no low (high) limit [STDF V4 p.48]."""
    flag, parameter = fields["opt_flag"], fields["parm_flg"]
    if flag is None:
        return
    test.opt_flag, test.unit = flag, fields["units"]
    test.low_limit = None if flag & 0x50 else fields["lo_limit"]
    test.high_limit = None if flag & 0xA0 else fields["hi_limit"]
    test.low_spec = None if flag & 0x04 else fields["lo_spec"]
    test.high_spec = None if flag & 0x08 else fields["hi_spec"]
    test.result_scale = None if flag & 0x01 else fields["res_scal"]
    if parameter is not None:
        test.low_inclusive = None if test.low_limit is None else bool(parameter & 0x40)
        test.high_inclusive = None if test.high_limit is None else bool(parameter & 0x80)


def read_tests(scan: Scan) -> tuple[list[Test], NDArray[np.int32]]:
    """Tests by their first record, and for each test of the scan its place among them (tests of the scan,).

    Names of records without one, and limits of tests that never give any, come from the first test of the same kind
    and number that has them, then from a TSR [STDF V4 p.45-50].
    """
    summed: dict[tuple[int, int, str], None] = {}  # in file order
    for at in scan.places("TSR").tolist():
        fields = read_fields("TSR", scan.payload(at), big_endian=scan.big_endian)
        kind = _KIND_OF_TYPE.get(fields["test_typ"] or "")
        if kind and fields["test_num"] is not None and fields["test_nam"]:
            summed[kind, fields["test_num"], fields["test_nam"]] = None
    summaries: dict[tuple[int, int], str] = {}
    for kind, number, name in summed:
        summaries.setdefault((kind, number), name)
    columns = (scan.test_kind, scan.test_num, scan.test_name_at, scan.test_name_size, scan.test_opt)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    named: dict[tuple[int, int], str] = {}
    names = []
    for kind, number, name_at, size, _ in rows:
        names.append(scan.data[name_at : name_at + size].tobytes().decode("latin-1"))
        if size:
            named.setdefault((kind, number), names[-1])
    tests: list[Test] = []
    place: dict[tuple[int, int, str], int] = {}
    reaches: list[int] = []  # the first record of each test that reaches OPT_FLAG
    index = np.zeros(len(rows), np.int32)
    for k, (kind, number, _, _, opt) in enumerate(rows):
        name = names[k] or named.get((kind, number)) or summaries.get((kind, number), "")
        index[k] = place.setdefault((kind, number, name), len(tests))
        if index[k] == len(tests):
            tests.append(Test(RECORD_NAMES[kind], number, name))
            reaches.append(opt)
        elif opt >= 0:
            before = reaches[index[k]]
            reaches[index[k]] = opt if before < 0 else min(before, opt)
    default: dict[tuple[str, int], int] = {}
    for test, opt in zip(tests, reaches, strict=True):
        if opt >= 0:
            default.setdefault((test.record, test.test_num), opt)
    for test, opt in zip(tests, reaches, strict=True):
        where = opt if opt >= 0 else default.get((test.record, test.test_num), -1)
        if where >= 0:
            fields = read_fields(test.record, scan.payload(where), big_endian=scan.big_endian)
            _with_limits(test, {**_NOTHING, **fields})
    seen = {(kind, number) for kind, number, *_ in rows}
    tests += [Test(RECORD_NAMES[kind], number, name) for kind, number, name in summed if (kind, number) not in seen]
    return tests, index


def read_results(
    scan: Scan, final: NDArray[np.int64], n_parts: int, test_of: NDArray[np.int32], n_tests: int
) -> Results:
    """Results of the kept parts.

    Shapes     final (linked parts,): the number of each kept part, -1 = dropped; test_of (tests of the scan,)
    """
    kept = np.flatnonzero(final >= 0)
    rows_of = np.zeros(n_parts, np.int64)
    rows_of[final[kept]] = scan.part_rows[kept]
    begins = np.zeros(n_parts + 1, np.int64)
    np.cumsum(rows_of, out=begins[1:])
    first = np.full(len(final), -1, np.int64)
    first[kept] = begins[final[kept]]
    test, element, bits, occurrence, usable, passed, told = fill_results(
        scan.data, scan.stopped_at, scan.big_endian, scan.result_part, scan.result_test, test_of, first,
        int(begins[-1]), max(n_tests, 1),
    )  # fmt: skip
    return Results(begins, test, element, bits.view(np.float32), occurrence, usable, passed, told)
