"""The eight neighbors as far as they were tested earlier: wafers worked by hand, and a naive loop on any wafer."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from fs_spark.errors import RequestError, SchemaError
from fs_spark.features.compute import compute_features
from fs_spark.kernels.map import possible_neighbors
from fs_spark.wafer import WaferGeometry
from tests.kernels.wafers import (
    COUNTS,
    MOMENTS,
    NO_MAP,
    Row,
    as_rows,
    as_table,
    attempt,
    in_file_order,
    map_of,
    wafers,
)
from tests.oracles.neighbors import neighborhood, neighborhood_all, row_known_at

MANY = settings(max_examples=50, deadline=None, derandomize=True)
EVERYTHING = ["neighbor_possible", *COUNTS, *MOMENTS]


def computed(rows: list[Row], *, geometry: WaferGeometry = NO_MAP, known: Any = "at_event") -> list[Row]:
    """Feature rows in order of the parts (and of knowledge)."""
    table = compute_features(
        as_table(in_file_order(rows), ["vdd"]), geometry, features=EVERYTHING, parameters=["vdd"], known=known
    )
    found = as_rows(table)
    return sorted(found, key=lambda row: (row["sequence"] % 2**32, row["available_timestamp"]))


def column(rows: list[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def block(width: int, height: int, *, vdd: float | None = None) -> list[Row]:
    """Dies tested one after the other, row by row, all good."""
    return [attempt(x, y, y * width + x, vdd=vdd) for y in range(height) for x in range(width)]


# closed forms


def test_one_hot_die_is_seen_by_the_later_neighbors_alone() -> None:
    rows = block(5, 5)
    rows[12] |= {"passed": False, "vdd": 9.0}  # (2, 2)
    found = computed(rows)
    seeing = {(r["die_x"], r["die_y"]) for r in found if r["fail__neighbor_count"]}
    assert seeing == {(3, 2), (1, 3), (2, 3), (3, 3)}
    assert {(r["die_x"], r["die_y"]) for r in found if r["vdd__neighbor_mean"] == 9.0} == seeing
    # row by row, an inner die has the one to its left and the three before its row
    assert {r["neighbor_count"] for r in found if 0 < r["die_x"] < 4 and r["die_y"] > 0} == {4}
    assert [r["fail__neighbor_frac"] for r in found if (r["die_x"], r["die_y"]) == (3, 3)] == [0.25]


def test_a_ring_around_the_last_die() -> None:
    ring = [(0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (1, 2), (2, 2)]
    values = [1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0, 7.0]
    rows = [
        attempt(x, y, k, k % 2 == 0, vdd=value)
        for k, ((x, y), value) in enumerate(zip(ring, values, strict=True))
    ]  # fmt: skip
    last = computed([*rows, attempt(1, 1, 50, vdd=100.0)], geometry=map_of([*ring, (1, 1)]))[-1]
    assert (last["neighbor_possible"], last["neighbor_count"], last["fail__neighbor_count"]) == (8, 8, 4)
    assert last["fail__neighbor_frac"] == 0.5
    assert last["vdd__neighbor_mean"] == 4.0
    # deviations -3 -2 -1 0 0 1 2 3: squares sum to 28 over 7 degrees of freedom
    assert last["vdd__neighbor_std"] == 2.0


def test_the_dies_of_one_touchdown_never_see_each_other() -> None:
    square = [(0, 0), (1, 0), (0, 1), (1, 1)]
    touchdown = [attempt(x, y, 10, x == 0, vdd=1.0) for x, y in square]
    found = computed([*touchdown, attempt(2, 0, 20, vdd=5.0)], geometry=map_of([*square, (2, 0)]))
    assert column(found, "neighbor_count") == [0, 0, 0, 0, 2]
    assert column(found, "fail__neighbor_count") == [0, 0, 0, 0, 2]
    assert column(found, "fail__neighbor_frac") == [None] * 4 + [1.0]
    assert column(found, "vdd__neighbor_mean") == [None] * 4 + [1.0]
    assert column(found, "neighbor_possible") == [3, 4, 3, 4, 2]


def test_equal_times_of_two_runs_never_see_each_other() -> None:
    found = computed([attempt(0, 0, 10, run_id="a", vdd=1.0), attempt(1, 0, 10, run_id="b", vdd=1.0)])
    assert column(found, "neighbor_count") == [0, 0]


def test_a_lattice_of_step_two() -> None:
    rows = [attempt(0, 0, 1, False, vdd=1.0), attempt(1, 0, 2, False, vdd=9.0), attempt(2, 3, 3, vdd=5.0)]
    found = computed(rows, geometry=map_of([(0, 0), (2, 0), (4, 0), (0, 3), (2, 3)], pitch=(2, 3)))
    assert column(found, "neighbor_count") == [0, 0, 1]
    assert column(found, "fail__neighbor_count") == [0, 0, 1]
    assert column(found, "vdd__neighbor_mean") == [None, None, 1.0]
    assert column(found, "neighbor_possible") == [3, 0, 4]


def test_a_dies_own_earlier_attempt_is_no_neighbor() -> None:
    found = computed([attempt(0, 0, 1, False, vdd=1.0), attempt(0, 0, 2, vdd=2.0)])
    assert column(found, "neighbor_count") == [0, 0]
    assert column(found, "fail__neighbor_count") == [0, 0]


def test_a_retest_replaces_the_outcome_only_for_what_comes_later() -> None:
    rows = [
        attempt(0, 0, 1, False, vdd=1.0),
        attempt(1, 0, 2, vdd=None),  # between: the fail is still a fail
        attempt(0, 0, 3, True, vdd=4.0),
        attempt(0, 1, 4, vdd=None),
    ]
    found = computed(rows)
    assert column(found, "neighbor_count") == [0, 1, 1, 2]
    assert column(found, "fail__neighbor_count") == [0, 1, 0, 0]
    assert column(found, "vdd__neighbor_mean") == [None, 1.0, None, 4.0]


def test_a_retest_without_a_value_takes_the_old_value_away() -> None:
    found = computed([attempt(0, 0, 1, vdd=1.0), attempt(0, 0, 2, vdd=None), attempt(1, 0, 3, vdd=None)])
    assert column(found, "vdd__neighbor_mean")[2] is None
    assert column(found, "neighbor_count")[2] == 1


def test_the_fraction_is_of_the_neighbors_that_were_judged() -> None:
    rows = [attempt(0, 0, 1, False), attempt(2, 0, 1, None), attempt(1, 0, 2), attempt(3, 0, 3)]
    found = computed([{**row, "vdd": None} for row in rows])
    assert column(found, "neighbor_count") == [0, 0, 2, 1]
    assert column(found, "fail__neighbor_count") == [0, 0, 1, 0]
    assert column(found, "fail__neighbor_frac") == [None, None, 1.0, None]


# few dies, no values


@pytest.mark.parametrize("dies", [0, 1, 2])
def test_few_dies(dies: int) -> None:
    found = computed([attempt(x, 0, x, False, vdd=3.0) for x in range(dies)])
    assert column(found, "neighbor_count") == [0, 1][:dies]
    assert column(found, "vdd__neighbor_mean") == [None, 3.0][:dies]
    assert column(found, "vdd__neighbor_std") == [None, None][:dies]


def test_no_rows_have_the_columns_of_some_rows() -> None:
    def schema(rows: list[Row]) -> pa.Schema:
        return compute_features(as_table(rows, ["vdd"]), NO_MAP, features=EVERYTHING, parameters=["vdd"]).schema

    assert schema([]) == schema(block(2, 2))


def test_nothing_measured_is_null_and_never_zero() -> None:
    for nothing in (None, math.nan, math.inf):
        found = computed(block(4, 4, vdd=nothing))
        assert set(column(found, "vdd__neighbor_mean")) == {None}
        assert set(column(found, "vdd__neighbor_std")) == {None}
    assert set(column(found, "neighbor_possible")) == {None}  # without a wafer map


def test_a_measured_value_that_is_not_finite_is_null() -> None:
    rows = in_file_order(attempt(x, 0, x, vdd=v) for x, v in enumerate([1.5, None, math.nan, math.inf, -math.inf]))
    found = compute_features(as_table(rows, ["vdd"]), NO_MAP, features=["{p}"], parameters=["vdd"])
    assert found["vdd"].to_pylist() == [1.5, None, None, None, None]


def test_a_constant_has_no_spread() -> None:
    found = computed(block(6, 6, vdd=0.1))
    assert column(found, "vdd__neighbor_mean")[0] is None
    assert column(found, "vdd__neighbor_mean")[1:] == pytest.approx([0.1] * 35, rel=1e-15)
    assert all(std is None or std <= 1e-16 for std in column(found, "vdd__neighbor_std"))


def test_a_part_without_a_place_has_no_row_and_is_nobodys_neighbor() -> None:
    found = computed(
        [attempt(None, 0, 1, False, vdd=7.0), attempt(0, None, 1, False, vdd=7.0), attempt(0, 0, 2, vdd=1.0)]
    )
    assert column(found, "die_x") == [0]
    assert column(found, "neighbor_count") == [0]


def test_possible_neighbors_of_a_die_outside_the_map() -> None:
    dies = np.array([(0, 0), (1, 0), (5, 5)])
    x, y = np.array([0, 2, 9, -1]), np.array([0, 0, 9, -1])
    assert possible_neighbors(x, y, map_of(dies)).tolist() == [1, 1, 0, 1]
    assert np.isnan(possible_neighbors(x, y, NO_MAP)).all()


def test_a_missing_column_is_named() -> None:
    table = as_table(block(2, 2), ["vdd"]).drop_columns(["passed", "run_id"])
    with pytest.raises(SchemaError, match=r"lack run_id, passed; they have .*die_x"):
        compute_features(table, NO_MAP, features=COUNTS)


@pytest.mark.parametrize(
    "features", [[], ["x_mm", "neighbor_count"], ["neighbor_count", "{p}"], ["wafers_done", "{p}"]]
)
def test_features_of_one_view_at_a_time(features: list[str]) -> None:
    with pytest.raises(RequestError, match="Hint: ask for those of one view at a time"):
        compute_features(as_table(block(2, 2), ["vdd"]), NO_MAP, features=features, parameters=["vdd"])


@pytest.mark.parametrize("name", ["event_timestamp", "available_timestamp"])
@pytest.mark.parametrize("features", [["neighbor_count"], ["{p}"], ["wafers_done"]])
def test_attempts_without_a_time_are_refused_with_a_hint(name: str, features: list[str]) -> None:
    rows = in_file_order([*block(2, 2), {**attempt(5, 5, 9, vdd=1.0), name: None}])
    with pytest.raises(SchemaError, match=f"{name} is null in 1 of 5 attempts.*\n?.*Hint: .* read with `testers`"):
        compute_features(as_table(rows, ["vdd"]), NO_MAP, features=features, parameters=["vdd"])


# late knowledge


def test_a_row_is_written_again_when_later_knowledge_changes_it() -> None:
    rows = [
        attempt(0, 0, 10, False, vdd=1.0),
        attempt(0, 0, 20, True, available=35, vdd=3.0),  # changes a neighbor's outcome
        attempt(2, 1, 22, True, available=40, vdd=3.0),  # a neighbor that was not known
        attempt(2, 1, 24, True, available=45, vdd=3.0),  # changes nothing
        attempt(9, 9, 25, False, available=50, vdd=1.0),  # no neighbor
        attempt(1, 0, 30, True, vdd=None),
        attempt(0, 1, 31, False, available=60, vdd=1.0),  # later than the attempt: never counts for it
    ]
    found = [row for row in computed(rows, known="all") if (row["die_x"], row["die_y"]) == (1, 0)]
    assert column(found, "event_timestamp") == [30, 30, 30]
    assert column(found, "available_timestamp") == [30, 35, 40]
    assert column(found, "neighbor_count") == [1, 1, 2]
    assert column(found, "fail__neighbor_count") == [1, 0, 0]
    assert column(found, "vdd__neighbor_mean") == [1.0, 3.0, 3.0]
    at_event = [row for row in computed(rows) if (row["die_x"], row["die_y"]) == (1, 0)]
    assert at_event == found[:1]


# a naive loop


def assert_values(actual: Row, expected: Row) -> None:
    for name in ("neighbor_possible", *COUNTS):
        assert actual[name] == expected[name], name
    for name in ("vdd__neighbor_mean", "vdd__neighbor_std"):
        near = None if expected[name] is None else pytest.approx(expected[name], rel=1e-12, abs=1e-12)
        assert actual[name] == near, name


def keys(row: Row) -> tuple[Any, ...]:
    return row["die_x"], row["die_y"], row["event_timestamp"], row["available_timestamp"]


@pytest.mark.parametrize("pitch", [(1, 1), (2, 1)])
@MANY
@given(data=st.data())
def test_any_wafer_equals_the_oracle(pitch: tuple[int, int], data: st.DataObject) -> None:
    rows = data.draw(wafers(pitch=pitch))
    dies = {(x * pitch[0], y * pitch[1]) for x in range(-1, 3) for y in range(3)}
    expected = neighborhood(rows, pitch=pitch, wafer_map=dies, parameters=["vdd"])
    found = computed(rows, geometry=map_of(dies, pitch))
    assert [keys(row) for row in found] == [keys(row) for row in expected]
    for actual, wanted in zip(found, expected, strict=True):
        assert_values(actual, wanted)


@MANY
@given(wafers(late=True))
def test_any_wafer_known_late_has_the_rows_of_the_oracle(rows: list[Row]) -> None:
    """Over counts, where a change is a change in every arithmetic."""
    table = compute_features(as_table(rows, ["vdd"]), NO_MAP, features=COUNTS, known="all")
    expected = neighborhood_all(rows)
    names = ("die_x", "die_y", "event_timestamp", "available_timestamp", *COUNTS)

    def comparable(some: list[Row]) -> list[tuple[Any, ...]]:
        return sorted((tuple(row[name] for name in names) for row in some), key=repr)

    assert comparable(as_rows(table)) == comparable(expected)


@MANY
@given(wafers(late=True))
def test_any_wafer_known_late_has_the_values_of_the_oracle_at_any_time_of_knowledge(rows: list[Row]) -> None:
    found = computed(rows, known="all")
    moments = {row["available_timestamp"] for row in rows}
    placed = [row for row in rows if row["die_x"] is not None]
    for row in placed:
        mine = [f for f in found if f["sequence"] % 2**32 == row["part_index"]]
        assert [f["available_timestamp"] for f in mine] == sorted({f["available_timestamp"] for f in mine})
        for moment in sorted(moments | {row["event_timestamp"]}):
            if moment >= row["event_timestamp"]:
                (*_, newest) = (f for f in mine if f["available_timestamp"] <= moment)
                assert_values(newest, row_known_at(row, rows, moment, parameters=["vdd"]))


@pytest.mark.parametrize("seed", range(3))
def test_a_whole_wafer_equals_the_oracle(seed: int) -> None:
    """300 touchdowns of a 2x2 card, a second pass over the fails, and results that come up to 40 touchdowns late."""
    rng = np.random.default_rng(seed)
    places = [(x, y) for y in range(0, 12, 2) for x in range(0, 12, 2)]
    square = [(0, 0), (1, 0), (0, 1), (1, 1)]
    rows: list[Row] = []
    for time, (x, y) in enumerate(places * 2):
        late = int(rng.integers(0, 40))
        for dx, dy in square:
            if rng.random() < (0.9 if time < len(places) else 0.2):
                value = None if rng.random() < 0.05 else float(rng.normal(1.2, 0.02))
                passed = bool(rng.random() < 0.7)
                rows.append(attempt(x + dx, y + dy, time, passed, available=time + late, vdd=value))
    rows = in_file_order(rows)
    dies = {(x + dx, y + dy) for x, y in places for dx, dy in square}
    expected = neighborhood(rows, wafer_map=dies, parameters=["vdd"])
    found = computed(rows, geometry=map_of(dies))
    for actual, wanted in zip(found, expected, strict=True):
        assert keys(actual) == keys(wanted)
        assert_values(actual, wanted)
