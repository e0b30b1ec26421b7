"""Every spatial feature against loops: any wafer, with ties, retests, late knowledge, missing values, strays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from fs_spark.features.catalogue import CATALOGUE
from fs_spark.features.compute import compute_features
from fs_spark.features.feature import Feature
from fs_spark.features.settings import SpatialSettings
from fs_spark.kernels.radial import radial_features
from fs_spark.wafer import WaferGeometry, rows_of_dies
from tests.oracles.neighbors import order
from tests.oracles.spatial import ILL_POSED, known_dies, outcome_row, parameter_row, wafer_row

Row = dict[str, Any]

BINS = (2, 3)
CHOSEN = SpatialSettings(
    gdbn_corner_weight=0.25, density_box_mm=6.5, density_sigma_mm=3.0, gradient_radius_mm=8.5, rings=3, sectors=4
)
BEFORE = [f for f in CATALOGUE if f.knowledge == "before_test" and f.kernel != "map"]
AT = [f for f in CATALOGUE if f.knowledge == "at_test"]
WHOLE = [f for f in CATALOGUE if f.knowledge == "after_wafer" and f.family.startswith("full_")]


def geometry_of(pitch: tuple[int, int], **changes: Any) -> WaferGeometry:
    dies = [(x * pitch[0], y * pitch[1]) for x in range(-2, 4) for y in range(-2, 4)]
    usual: Row = {
        "center_x": 0.5 * pitch[0],
        "center_y": 0.5 * pitch[1],
        "pitch_x": pitch[0],
        "pitch_y": pitch[1],
        "die_width_mm": 3.0,
        "die_height_mm": 4.0,
        "wafer_diameter_mm": 40.0,
        "pos_x": "L",
        "pos_y": "U",
        "notch": "D",
        "reticle": (2, 3, 0, 0),
        "rows": rows_of_dies(dies, pitch[0]),
    }
    return WaferGeometry(**{**usual, **changes})


@st.composite
def wafers(draw: st.DrawFn, *, late: bool, pitch: tuple[int, int]) -> list[Row]:
    """Touchdowns over a block: retests, partial ones, equal times, missing bins, sites and values, a far stray."""
    rows: list[Row] = []
    time = 100
    plain = st.floats(-5, 5, width=32).map(float)
    for _ in range(draw(st.integers(1, 12))):
        time += draw(st.sampled_from([0, 1, 1, 5]))
        x0, y0 = draw(st.integers(-2, 2)), draw(st.integers(-2, 2))
        run = draw(st.sampled_from(["r1", "r2"]))
        available = time + (draw(st.sampled_from([0, 1, 3, 8])) if late else 0)
        for site, (dx, dy) in enumerate(
            sorted(draw(st.sets(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1)))
        ):
            stray = draw(st.integers(0, 30)) == 0
            passed = draw(st.sampled_from([True, True, False, False, None]))
            rows.append(
                {
                    "die_x": (x0 + dx) * pitch[0] + (1000 * pitch[0] if stray else 0),
                    "die_y": (y0 + dy) * pitch[1],
                    "event_timestamp": time,
                    "available_timestamp": available,
                    "run_id": run,
                    "part_index": len(rows),
                    "touchdown": time,
                    "passed": passed,
                    "hard_bin": draw(st.sampled_from([1, 2, 3, None])),
                    "head": 1,
                    "site": draw(st.sampled_from([site, site, None])),
                    "a": draw(st.sampled_from([None, float("nan"), 1.0, -2.0, 0.0]) | plain),
                    "b": 1e6 + 0.125 * draw(st.integers(-9, 9)),
                }
            )
    return rows


def table_of(rows: list[Row]) -> pa.Table:
    kinds = {
        "run_id": pa.string(),
        **dict.fromkeys(("die_x", "die_y", "part_index", "touchdown", "hard_bin", "head", "site"), pa.int32()),
        **dict.fromkeys(("event_timestamp", "available_timestamp"), pa.timestamp("us", tz="UTC")),
        "passed": pa.bool_(),
        "a": pa.float64(),
        "b": pa.float64(),
    }
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()})


def computed(rows: list[Row], where: WaferGeometry, features: list[Feature], known: Any = "all") -> list[Row]:
    table = compute_features(
        table_of(rows),
        where,
        features=[f.key for f in features],
        parameters=("a", "b"),
        bins=BINS,
        settings=CHOSEN,
        known=known,
    )
    for name in ("event_timestamp", "available_timestamp"):
        table = table.set_column(table.column_names.index(name), name, table[name].cast(pa.int64()))
    found: list[Row] = table.to_pylist()
    return found


def oracle_row(attempt: Row, latest: dict[Any, Row], where: WaferGeometry) -> dict[str, Any]:
    """Kernel columns by name; of parameters `a:<name>`."""
    pitch = (where.pitch_x, where.pitch_y)
    sized = where.die_width_mm is not None and where.die_height_mm is not None
    size = (where.die_width_mm, where.die_height_mm) if sized else None
    direction = (-1.0 if where.pos_x == "L" else 1.0, -1.0 if where.pos_y == "D" else 1.0)
    places = sorted({*latest, (attempt["die_x"], attempt["die_y"])})
    zone = radial_features(
        [x for x, _ in places], [y for _, y in places], geometry=where, rings=CHOSEN.rings, sectors=CHOSEN.sectors
    )
    zones = {
        name: {p: v for p, v in zip(places, zone[column].tolist(), strict=True) if v == v}
        for name, column in (("ring", "ring"), ("sector", "sector"), ("reticle", "reticle_position"))
    }
    row = outcome_row(
        attempt,
        latest,
        pitch=pitch,
        size=size,
        side_weight=CHOSEN.gdbn_side_weight,
        corner_weight=CHOSEN.gdbn_corner_weight,
        box_mm=CHOSEN.density_box_mm,
        sigma_mm=CHOSEN.density_sigma_mm,
    )
    row |= wafer_row(attempt, latest, pitch=pitch, zones=zones, bins=BINS)
    for name in ("a", "b"):
        of_one = parameter_row(
            attempt,
            latest,
            name,
            pitch=pitch,
            size=size,
            direction=direction,
            center=(where.center_x, where.center_y),
            radius_mm=CHOSEN.gradient_radius_mm,
        )
        row |= {f"{name}:{column}": value for column, value in of_one.items()}
    return row


def expected_columns(row: dict[str, Any], features: list[Feature]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for f in features:
        if f.of_parameters:
            for p, column in zip(("a", "b"), f.columns(("a", "b")), strict=True):
                named[column] = row[f"{p}:{f.shown}"]
        elif f.per == "bin":
            for b, column in zip(BINS, f.columns((), BINS), strict=True):
                named[column] = row[f"bin{b}__rate"]
        else:
            named[f.key] = row[f"fail__{f.shown}" if f.per == "fail" else f.shown]
    return named


def assert_close(found: Row, expected: Row, features: list[Feature], where: Any) -> None:
    for column, wanted in expected.items():
        actual = found[column]
        if wanted == ILL_POSED:
            continue
        if column.endswith("gradient_rad"):  # the direction of almost nothing is anything
            length = expected[column.removesuffix("_rad")]
            if length is not None and length < 1e-4:
                continue
            if wanted is not None and actual is not None:
                assert abs(math.remainder(actual - wanted, math.tau)) < 1e-5, (column, actual, wanted, where)
                continue
        if column.endswith(("gradient_r2",)) and wanted is not None and actual is not None:
            assert math.isclose(actual, wanted, abs_tol=1e-6), (column, actual, wanted, where)
            continue
        if isinstance(wanted, float) and isinstance(actual, float):
            scale = 1e6 if column.startswith("b__") else 5.0  # values about 1,000,000, of which 1e-9 is told
            assert math.isclose(actual, wanted, rel_tol=1e-9, abs_tol=2e-10 * scale), (column, actual, wanted, where)
        else:
            assert actual == wanted, (column, actual, wanted, where)


PITCHES = [(1, 1), (2, 1)]


def check(rows: list[Row], where: WaferGeometry, features: list[Feature], base: Callable[[Row], int]) -> None:
    found = {(r["sequence"] & 0xFFFFFFFF, r["available_timestamp"]): r for r in computed(rows, where, features)}
    asked = 0
    for attempt in rows:
        times = sorted({base(attempt), *(a["available_timestamp"] for a in rows)})
        last: Row | None = None
        for known_at in [t for t in times if t >= base(attempt)]:
            latest = known_dies(rows, attempt["event_timestamp"], known_at)
            expected = expected_columns(oracle_row(attempt, latest, where), features)
            row = found.get((attempt["part_index"], known_at))
            if last is None:
                assert row is not None, (attempt, known_at)
            if row is not None:
                last = row
                asked += 1
            assert last is not None
            assert_close(last, expected, features, (attempt["part_index"], known_at))
    assert asked == len(found)


@pytest.mark.parametrize("pitch", PITCHES)
@given(data=st.data())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_before_test_as_things_were_known_at_once(pitch: tuple[int, int], data: st.DataObject) -> None:
    check(data.draw(wafers(late=False, pitch=pitch)), geometry_of(pitch), BEFORE, lambda a: a["event_timestamp"])


@given(data=st.data())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_before_test_as_things_became_known_later(data: st.DataObject) -> None:
    check(data.draw(wafers(late=True, pitch=(1, 1))), geometry_of((1, 1)), BEFORE, lambda a: a["event_timestamp"])


@pytest.mark.parametrize("late", [False, True])
@given(data=st.data())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_own_values_against_their_context(late: bool, data: st.DataObject) -> None:
    check(data.draw(wafers(late=late, pitch=(1, 1))), geometry_of((1, 1)), AT, lambda a: a["available_timestamp"])


@given(data=st.data())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_without_sizes_and_directions(data: st.DataObject) -> None:
    bare = geometry_of((1, 1), die_width_mm=None, wafer_diameter_mm=None, pos_x=None, notch=None, reticle=None)
    check(data.draw(wafers(late=False, pitch=(1, 1))), bare, BEFORE, lambda a: a["event_timestamp"])


@given(data=st.data())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_the_whole_wafer_at_each_end_of_a_run(data: st.DataObject) -> None:
    rows = data.draw(wafers(late=False, pitch=(1, 1)))
    where = geometry_of((1, 1))
    found = computed(rows, where, WHOLE)
    runs = {r["run_id"] for r in rows}
    ends = sorted({max(r["event_timestamp"] for r in rows if r["run_id"] == run) for run in runs})
    expected = 0
    for end in ends:
        told = [r for r in rows if max(o["event_timestamp"] for o in rows if o["run_id"] == r["run_id"]) <= end]
        latest = known_dies(told, end + 1, end + 1)
        for place, attempt in latest.items():
            mine = [r for r in found if (r["die_x"], r["die_y"]) == place and r["event_timestamp"] == end]
            assert len(mine) == 1
            assert mine[0]["available_timestamp"] == end
            assert_close(mine[0], expected_columns(oracle_row(attempt, latest, where), WHOLE), WHOLE, (place, end))
            expected += 1
    assert len(found) == expected


@given(data=st.data())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_bits_depend_on_what_is_known_alone(data: st.DataObject) -> None:
    """A wafer of retests ends in the same bits as one on which each die was tested once, with its last attempt."""
    rows = data.draw(wafers(late=False, pitch=(1, 1)))
    where = geometry_of((1, 1))
    end = rows[-1]["event_timestamp"] + 10
    probe = {**rows[-1], "event_timestamp": end, "available_timestamp": end, "part_index": 1000, "run_id": "r3"}
    latest = sorted(known_dies(rows, end, end).values(), key=order)
    with_past, without = (computed([*some, probe], where, BEFORE)[-1] for some in (rows, latest))
    assert np.array_equal(
        np.array([v for v in with_past.values() if isinstance(v, float)]),
        np.array([v for v in without.values() if isinstance(v, float)]),
    )
    assert with_past == without
