"""The lot at each wafer end: worked by hand, and a naive loop on any lot."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from fs_spark.features.compute import compute_features
from tests.kernels.wafers import NO_MAP, SMALL_VALUES, Row, as_rows, as_table, attempt, in_file_order
from tests.oracles.lots import lot_so_far

FEATURES = [
    "wafers_done", "yield_mean", "yield_std", "{p}__lot_mean", "{p}__lot_std", "{p}__lot_die_mean", "{p}__lot_die_std",
]  # fmt: skip
COLUMNS = [key.replace("{p}", "vdd") for key in FEATURES]


def computed(rows: list[Row]) -> list[Row]:
    rows = in_file_order(rows)
    return as_rows(compute_features(as_table(rows, ["vdd"]), NO_MAP, features=FEATURES, parameters=["vdd"]))


def column(rows: list[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def run_of(
    run_id: str, wafer_id: str | None, rows: list[tuple[int | None, int, bool | None, float | None]]
) -> list[Row]:
    """From (x, time, passed, vdd)."""
    return [attempt(x, 0, t, ok, run_id=run_id, wafer_id=wafer_id, vdd=v) for x, t, ok, v in rows]


FIRST = run_of("r1", "W1", [(0, 1, True, 1.0), (1, 2, False, 3.0)])
SECOND = run_of("r2", "W2", [(0, 3, True, 5.0), (1, 4, True, 7.0)])
RETEST = run_of("r3", "W1", [(1, 6, True, 9.0)])


def test_a_retested_wafer_counts_once_in_its_latest_state() -> None:
    found = computed(FIRST + SECOND + RETEST)
    assert column(found, "event_timestamp") == column(found, "available_timestamp") == [2, 4, 6]
    assert column(found, "wafers_done") == [1, 2, 2]
    assert column(found, "yield_mean") == [0.5, 0.75, 1.0]
    assert column(found, "yield_std") == [None, pytest.approx(math.sqrt(0.125)), 0.0]
    assert column(found, "vdd__lot_mean") == [2.0, 4.0, 5.5]  # wafers: 2 | 2, 6 | (1 + 9) / 2, 6
    assert column(found, "vdd__lot_std") == [None, pytest.approx(math.sqrt(8)), pytest.approx(math.sqrt(0.5))]
    assert column(found, "vdd__lot_die_mean") == [2.0, 4.0, 5.5]  # dies: 1, 3 | 1, 3, 5, 7 | 1, 9, 5, 7
    assert column(found, "vdd__lot_die_std") == [
        pytest.approx(math.sqrt(2)), pytest.approx(math.sqrt(20 / 3)), pytest.approx(math.sqrt(35 / 3))
    ]  # fmt: skip


def test_a_touchdown_without_a_place_ends_the_run_and_is_in_no_statistic() -> None:
    found = computed([*FIRST, *run_of("r1", "W1", [(None, 9, False, 400.0)])])
    assert column(found, "event_timestamp") == [9]
    assert column(found, "yield_mean") == [0.5]
    assert column(found, "vdd__lot_die_mean") == [2.0]


def test_a_run_without_a_place_is_no_end() -> None:
    found = computed(FIRST + run_of("r9", "W9", [(None, 9, True, 1.0)]))
    assert column(found, "event_timestamp") == [2]
    assert column(found, "wafers_done") == [1]


def test_a_wafer_without_a_name_is_none() -> None:
    found = computed(FIRST + run_of("r9", None, [(0, 9, True, 1.0)]))
    assert column(found, "event_timestamp") == [2]
    assert column(found, "wafers_done") == [1]


def test_a_wafer_counts_from_its_end_and_not_from_its_first_touchdown() -> None:
    long = run_of("r1", "W1", [(0, 1, True, 1.0), (1, 9, True, 1.0)])
    found = computed(long + run_of("r2", "W2", [(0, 5, False, 2.0)]))
    assert column(found, "event_timestamp") == [5, 9]
    assert column(found, "wafers_done") == [1, 2]
    assert column(found, "yield_mean") == [0.0, 0.5]


def test_two_runs_that_end_together_are_one_row() -> None:
    found = computed(run_of("r1", "W1", [(0, 5, True, 1.0)]) + run_of("r2", "W2", [(0, 5, False, 3.0)]))
    assert column(found, "event_timestamp") == [5]
    assert column(found, "yield_mean") == [0.5]


def test_a_row_is_written_again_when_a_run_becomes_known_later() -> None:
    late = [{**row, "available_timestamp": 10} for row in FIRST]
    found = computed(late + SECOND)
    times = list(zip(column(found, "event_timestamp"), column(found, "available_timestamp"), strict=True))
    assert times == [(2, 10), (4, 4), (4, 10)]
    assert column(found, "wafers_done") == [1, 1, 2]
    assert column(found, "yield_mean") == [0.5, 1.0, 0.75]


def test_later_knowledge_that_changes_nothing_is_no_row() -> None:
    again = run_of("r2", "W1", [(0, 3, True, 1.0)])  # as in the first run, but known after the second wafer's end
    lot = FIRST + [{**row, "available_timestamp": 9} for row in again] + run_of("r3", "W2", [(0, 4, True, 1.0)])
    found = computed(lot)
    times = list(zip(column(found, "event_timestamp"), column(found, "available_timestamp"), strict=True))
    assert times == [(2, 2), (3, 9), (4, 4)]


def test_nothing_judged_and_nothing_measured_is_null() -> None:
    found = computed(run_of("r1", "W1", [(0, 1, None, None), (1, 2, None, math.nan)]))
    assert column(found, "wafers_done") == [1]
    for name in COLUMNS[1:]:
        assert column(found, name) == [None], name


def test_no_attempts_give_no_rows() -> None:
    table = compute_features(as_table([], ["vdd"]), NO_MAP, features=FEATURES, parameters=["vdd"])
    assert table.num_rows == 0
    full = compute_features(as_table(FIRST, ["vdd"]), NO_MAP, features=FEATURES, parameters=["vdd"])
    assert table.schema == full.schema
    assert table.schema.field("wafers_done").type == pa.int32()


def test_sums_do_not_depend_on_the_order_of_the_dies() -> None:
    values = [0.1, 0.7, 1e8, -1e8, 0.3, 1e-9]
    rows = [attempt(x, 0, 5, run_id="r1", vdd=v) for x, v in enumerate(values)]
    forth, back = computed(rows), computed(rows[::-1])
    assert forth == back
    assert forth[0]["vdd__lot_die_mean"] == math.fsum(values) / 6


@st.composite
def lots(draw: st.DrawFn) -> list[Row]:
    """Up to five runs of three wafers that may overlap, with retests, missing places, outcomes and values."""
    rows: list[Row] = []
    for run in range(draw(st.integers(0, 5))):
        wafer_id = draw(st.sampled_from(["W1", "W1", "W2", "W3", None]))
        start, late = draw(st.integers(0, 8)), draw(st.sampled_from([0, 0, 4]))
        for step in range(draw(st.integers(1, 5))):
            x = draw(st.sampled_from([0, 1, 2, None]))
            time = start + step
            outcome, value = draw(st.sampled_from([True, False, None])), draw(st.sampled_from(SMALL_VALUES))
            rows.append(
                attempt(x, 0, time, outcome, available=time + late, run_id=f"r{run}", wafer_id=wafer_id, vdd=value)
            )
    return in_file_order(rows)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(lots())
def test_any_lot_equals_the_oracle(rows: list[Row]) -> None:
    expected = lot_so_far(rows, parameters=["vdd"])
    found = computed(rows)
    for name in ("event_timestamp", "available_timestamp", "wafers_done"):
        assert column(found, name) == column(expected, name)
    for name in COLUMNS[1:]:
        for actual, wanted in zip(column(found, name), column(expected, name), strict=True):
            assert actual == (None if wanted is None else pytest.approx(wanted, rel=1e-12, abs=1e-12)), name
