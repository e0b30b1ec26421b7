"""Names in order, limits and units that change, and header times that cannot be believed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fs_spark.stdf import StdfFile, read_stdf
from fs_spark.stdf.writer import ByteOrder
from tests.fuzz.compare import difference
from tests.stdf.files import ANY_PRODUCT, START, Maker, in_zone, parts_with_results

ORDERS: tuple[ByteOrder, ...] = ("little", "big")


def read(data: bytes, **options: Any) -> StdfFile:
    assert difference(data)[0] is None
    return read_stdf(data, testers=[in_zone(**options)], products=ANY_PRODUCT)


def results(found: StdfFile) -> list[Any]:
    return [[row[1:] for row in part["results"]] for part in parts_with_results(found)]


@pytest.mark.parametrize("order", ORDERS)
def test_records_without_a_name_follow_the_order_of_those_with_one(order: ByteOrder) -> None:
    out = Maker(order).begin().wir("W")
    for k, names in enumerate([("a", "b", "a"), (None, None, None), (None,), (None,) * 4, (None, "b", None)]):
        out.pir(0)
        for j, name in enumerate(names):
            out.ptr(0, 1, 10.0 * k + j, name)
        out.prr(0, k, 1)
    found = read(out.wrr("W").end())
    assert results(found) == [
        [("a", 0.0, 0), ("b", 1.0, 0), ("a", 2.0, 1)],
        [("a", 10.0, 0), ("b", 11.0, 0), ("a", 12.0, 1)],
        [("a", 20.0, 0)],  # it stopped early
        [("", 30.0, 0), ("", 31.0, 1), ("", 32.0, 2), ("", 33.0, 3)],  # one more than there are names
        [("a", 40.0, 0), ("b", 41.0, 0), ("a", 42.0, 1)],
    ]
    assert any("4 results have no test name" in warning for warning in found.report.warnings)


LIMITS: dict[str, Any] = {
    "with the second record": ([(None, None), (0.5, 1.5)], (0.5, 1.5), "elsewhere none"),
    "that alter": ([(0.0, 2.0), (0.5, 1.5), (0.9, 1.1)], (0.0, 2.0), "0.0..2.0, elsewhere 0.5..1.5"),
    "one side that appears": ([(None, 2.0), (0.5, 2.0)], (0.5, 2.0), "change their limits"),
    "that vanish": ([(0.0, 2.0), (None, None)], (0.0, 2.0), "elsewhere none"),
    "that stay": ([(0.0, 2.0), (0.0, 2.0)], (0.0, 2.0), None),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", LIMITS)
def test_limits(case: str, order: ByteOrder) -> None:
    given, expected, said = LIMITS[case]
    out = Maker(order).begin().wir("W")
    for k, (low, high) in enumerate(given):
        flag = 0x0E | (0x40 if low is None else 0) | (0x80 if high is None else 0)
        out.pir(0).ptr(0, 1, 1.0, "vdd", opt_flag=flag, lo_limit=low or 0.0, hi_limit=high or 0.0, units="V")
        out.prr(0, k, 1)
    found = read(out.wrr("W").end())
    (test,) = found.tests.to_pylist()
    assert (test["low_limit"], test["high_limit"]) == expected
    warnings = [warning for warning in found.report.warnings if "change their limits" in warning]
    assert (not warnings) if said is None else said in warnings[0]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_limit_that_is_not_finite_is_none(value: float) -> None:
    out = Maker().begin().pir(0).ptr(0, 1, 1.0, "vdd", opt_flag=0x0E, lo_limit=value, hi_limit=value, units="V")
    (test,) = read(out.prr(0, 0, 0).end()).tests.to_pylist()
    assert [test[name] for name in ("low_limit", "high_limit", "low_inclusive", "high_inclusive")] == [None] * 4


def with_units(order: ByteOrder, *units: tuple[str | None, float]) -> bytes:
    out = Maker(order).begin().wir("W")
    for k, (unit, value) in enumerate(units):
        out.pir(0)
        out.ptr(0, 1, value, "vdd", **({"units": unit, "lo_limit": 0.0, "hi_limit": 9.0} if unit else {}))
        out.prr(0, k, 1)
    return out.wrr("W").end()


@pytest.mark.parametrize("order", ORDERS)
def test_one_quantity_in_several_units_is_one_column_in_one_unit(order: ByteOrder) -> None:
    found = read(with_units(order, ("V", 1.5), ("mV", 1500.0), (None, 2.5), ("uV", 3.5e6), ("v", 1.25)))
    assert [row[0][1] for row in results(found)] == [1.5, 1.5, 2.5, 3.5, 1.25]
    assert [(t["test_name"], t["unit"], t["high_limit"]) for t in found.tests.to_pylist()] == [("vdd", "V", 9.0)]
    assert any("changes its unit (V, mV, uV): all values are brought to V" in w for w in found.report.warnings)
    small = read(with_units(order, ("mV", 1.5), ("V", 0.25)))
    assert [row[0][1] for row in results(small)] == [1.5, 250.0]


@pytest.mark.parametrize("order", ORDERS)
def test_another_quantity_is_another_test(order: ByteOrder) -> None:
    found = read(with_units(order, ("V", 1.5), ("A", 0.5), ("V", 2.5), ("A", 0.75)))
    assert [row[0][:2] for row in results(found)] == [("vdd", 1.5), ("vdd [A]", 0.5), ("vdd", 2.5), ("vdd [A]", 0.75)]
    assert [(t["test_name"], t["unit"]) for t in found.tests.to_pylist()] == [("vdd", "V"), ("vdd [A]", "A")]
    assert any("in another quantity it is a test of its own" in warning for warning in found.report.warnings)


# header times


def timed(
    *, mir: int | None = START, wir: int | None = START, wrr: int | None = START + 100, mrr: int = START + 120
) -> bytes:
    out = Maker().begin(start_t=mir or 0)
    if wir is not None:
        out.wir("W", start=wir - START)
    for k in range(2):
        out.pir(0).prr(0, k, 1, test_t=1000)
    if wrr is not None:
        out.wrr("W", finish=wrr - START)
    return out.end(mrr - START)


NEVER = 0xFFFFFFFF
DAY = 86_400


@pytest.mark.parametrize(
    ("times", "quality", "seconds", "said"),
    [
        ({}, "interpolated", (50, 100), None),
        ({"wir": 0}, "interpolated", (50, 100), "START_T of a WIR is 0"),
        ({"wir": NEVER}, "interpolated", (50, 100), "START_T of a WIR is 4294967295"),
        ({"wir": START - 40 * DAY}, "interpolated", (50, 100), "START_T of a WIR is more than 31 days"),
        ({"wir": START + 40 * DAY}, "interpolated", (50, 100), "START_T of a WIR is more than 31 days"),
        ({"wrr": 0}, "interpolated", (60, 120), "FINISH_T of a WRR is 0"),
        ({"wrr": NEVER}, "interpolated", (60, 120), "FINISH_T of a WRR is 4294967295"),
        ({"wrr": START - 5}, "interpolated", (60, 120), "FINISH_T of a WRR is before its start"),
        ({"wrr": START + 32 * DAY}, "interpolated", (60, 120), "FINISH_T of a WRR is more than 31 days after"),
        ({"wrr": NEVER, "mrr": NEVER}, "cumulative", (1, 2), "FINISH_T of the MRR is 4294967295"),
        ({"wrr": None, "mrr": START - 1}, "cumulative", (1, 2), "FINISH_T of the MRR is before its start"),
        ({"wrr": None, "mrr": START + 40 * DAY}, "cumulative", (1, 2), "FINISH_T of the MRR is more than 31 days"),
        ({"mir": 0}, "interpolated", (50, 100), "START_T of the MIR is 0"),
        ({"mir": 0, "wir": 0}, "run_finish", (100, 100), "nothing tells when 1 of 1 runs began"),
        ({"mir": NEVER, "wir": None, "wrr": None}, "run_finish", (120, 120), "START_T of the MIR is 4294967295"),
        ({"mir": 0, "wir": 3600, "wrr": 0, "mrr": 0}, "missing", None, "START_T of a WIR is 3600"),
    ],
)  # fmt: skip
def test_times_that_cannot_be_believed_are_missing(
    times: dict[str, Any], quality: str, seconds: tuple[int, int] | None, said: str | None
) -> None:
    found = read_stdf(timed(**times), testers=[in_zone("UTC")], products=ANY_PRODUCT)
    parts = found.parts.to_pylist()
    assert {part["time_quality"] for part in parts} == {quality}
    warnings = [
        warning for warning in found.report.warnings if "taken as missing" in warning or "nothing tells" in warning
    ]
    assert (warnings == []) if said is None else any(said in warning for warning in warnings)
    stamps = [part["event_timestamp"] for part in parts]
    if seconds is None:
        assert stamps == [None, None]
        assert [part["available_timestamp"] for part in parts] == [None, None]
        assert [part["event_local"] for part in parts] == [None, None]
    else:
        assert [round(stamp.timestamp() - START) for stamp in stamps] == list(seconds)
        assert stamps[0] < stamps[1]
    (run,) = found.runs.to_pylist()
    unknown = quality in ("run_finish", "missing")
    assert (run["run_start"] is None, run["run_start_local"] is None) == (unknown, unknown)
    assert (run["run_end"] is None) == (seconds is None)
    assert (parts[0]["run_start"] is None, parts[0]["run_start_local"] is None) == (unknown, unknown)


def test_the_longest_run_is_a_setting() -> None:
    data = timed(wrr=START + 32 * DAY, mrr=START + 32 * DAY)
    found = read_stdf(data, testers=[in_zone("UTC", longest_run="40 d")], products=ANY_PRODUCT)
    assert found.report.warnings == []
    assert np.unique(found.parts["time_quality"].to_pylist()).tolist() == ["interpolated"]
    without = read_stdf(data)
    assert any("more than 31 days" in warning for warning in without.report.warnings)
