"""No spread is exactly no spread, whatever arithmetic leaves over; and values too large for a square are missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_spark.features.catalogue import CATALOGUE
from fs_spark.features.compute import compute_features
from fs_spark.features.session import WaferSession
from fs_spark.features.view import FeatureView
from fs_spark.kernels.moments import exact_moments, row_moments
from fs_spark.wafer import WaferGeometry, rows_of_dies
from tests.kernels.wafers import bits
from tests.oracles.spatial import parameter_row

SIDE = 6
PLACES = [(x, y) for y in range(SIDE) for x in range(SIDE)]
MAP = WaferGeometry(
    2.5, 2.5, die_width_mm=2.0, die_height_mm=3.0, wafer_diameter_mm=30.0, pos_x="L", pos_y="U", notch="D",
    rows=rows_of_dies(PLACES, 1),
)  # fmt: skip
CONSTANTS = [0.1, -0.7, 1 / 3, 1.2, float(np.float32(0.1)), 1e9 + 0.1, -0.0, 9.9e149, 1e-160, 5e-324]
GROUPS = {
    (knowledge, entity): [f for f in CATALOGUE if (f.knowledge, f.entity) == (knowledge, entity)]
    for knowledge, entity in (
        ("before_test", "die"), ("at_test", "die"), ("after_wafer", "die"), ("after_wafer", "wafer"),
        ("after_wafer", "lot"),
    )
}  # fmt: skip

ZERO = (
    "neighbor_std", "neighbor_range", "wafer_std", "wafer_iqr", "site_bias", "gradient", "gradient_x", "gradient_y",
    "radius_gradient", "radius_gradient_x", "radius_gradient_y", "plane_x", "plane_y", "bowl_x", "bowl_y", "bowl_r2",
    "nnr_median", "nnr_mean", "plane_residual", "lot_std", "lot_die_std",
)  # fmt: skip
NULL = (
    "moran_i", "gradient_rad", "gradient_r2", "radius_gradient_rad", "radius_gradient_r2", "zscore", "robust_zscore",
    "pat_low", "pat_high", "robust_pat_low", "robust_pat_high", "pat_flag", "robust_pat_flag",
)  # fmt: skip
SAME = (
    "neighbor_mean", "neighbor_min", "neighbor_max", "neighbor_median", "wafer_mean", "wafer_median", "plane_0",
    "bowl_0", "value", "lot_mean", "lot_die_mean", "mean",
)  # fmt: skip


def wafer(values: Sequence[float | None], again: Sequence[float | None] = (), wafer_id: str = "W1") -> pa.Table:
    """Each die an instant of its own; then the first ones again, in a second run."""
    every = [*values, *again]
    count = len(every)
    place = [PLACES[k % len(values)] for k in range(count)]
    event = pa.array(np.arange(count) * 1000).cast(pa.timestamp("us", tz="UTC"))
    return pa.table(
        {
            "wafer_id": [wafer_id] * count, "die_x": [p[0] for p in place], "die_y": [p[1] for p in place],
            "event_timestamp": event, "available_timestamp": event, "part_index": np.arange(count),
            "run_id": ["r1" if k < len(values) else "r2" for k in range(count)], "touchdown": np.arange(count),
            "passed": pa.array([k % 5 != 0 for k in range(count)]), "hard_bin": np.ones(count, int),
            "head": np.ones(count, int), "site": np.arange(count) % 2, "z": pa.array(every, pa.float64()),
        }
    )  # fmt: skip


def last_row(table: pa.Table, group: tuple[str, str]) -> dict[str, Any]:
    keys = [f.key for f in GROUPS[group]]
    rows: list[dict[str, Any]] = compute_features(table, MAP, features=keys, parameters=["z"], bins=[1]).to_pylist()
    return rows[-1]


def assert_no_spread(row: dict[str, Any], group: tuple[str, str], value: float) -> int:
    asked = 0
    for f in GROUPS[group]:
        if f.of_parameters:
            for column in f.columns(("z",)):
                expected = {**dict.fromkeys(ZERO, 0.0), **dict.fromkeys(NULL), **dict.fromkeys(SAME, value)}
                if f.shown in expected and not (f.shown == "mean" and row[column] is None):  # no die in that ring
                    assert row[column] == expected[f.shown], (column, row[column])
                    assert str(row[column]) != "-0.0" or f.shown in SAME, column
                    asked += 1
    return asked


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
@pytest.mark.parametrize("value", CONSTANTS)
def test_a_constant_history(value: float, group: tuple[str, str]) -> None:
    table = wafer([value] * len(PLACES))
    if group[1] == "lot":
        table = pa.concat_tables([table, wafer([value] * 7, wafer_id="W2")])
    assert assert_no_spread(last_row(table, group), group, value) >= 4


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
@pytest.mark.parametrize("value", [0.1, 1.2, 1e-160, float(np.float32(0.1))])
def test_retests_restore_a_constant_history(value: float, group: tuple[str, str]) -> None:
    spread = np.random.default_rng(3).normal(size=len(PLACES)) * 10.0 ** np.arange(-18, 18)
    first = [float(v) if k % 3 else value for k, v in enumerate(spread)]
    before = last_row(wafer(first), group)
    with pytest.raises(AssertionError):
        assert_no_spread(before, group, value)
    after = wafer(first, [value] * len(PLACES))
    if group[0] != "after_wafer":  # one more, which knows of all these
        after = wafer(first, [value] * (len(PLACES) + 1))
    if group[1] == "lot":
        after = pa.concat_tables([after, wafer([value] * 7, wafer_id="W2")])
    assert_no_spread(last_row(after, group), group, value)


@pytest.mark.parametrize("value", [1.2, 0.1, -3e7])
def test_one_unit_in_the_last_place_is_a_spread(value: float) -> None:
    values = [value] * 20 + [math.nextafter(value, math.inf)] + [value] * 15
    row = last_row(wafer([*values]), ("after_wafer", "die"))
    there = {
        p: {"die_x": p[0], "die_y": p[1], "z": v, "head": 1, "site": k % 2}
        for k, (p, v) in enumerate(zip(PLACES, values, strict=True))
    }
    wanted = parameter_row(
        {"die_x": 5, "die_y": 5, "z": value, "head": 1, "site": 1}, there, "z",
        pitch=(1, 1), size=(2.0, 3.0), direction=(-1.0, 1.0), center=(2.5, 2.5), radius_mm=10.0,
    )  # fmt: skip
    assert row["z__full_wafer_std"] == pytest.approx(wanted["wafer_std"], rel=1e-14)
    assert row["z__full_moran_i"] == pytest.approx(wanted["moran_i"], rel=1e-12)
    assert row["z__full_wafer_std"] > 0


def test_moments_of_equal_values() -> None:
    for value in CONSTANTS:
        for count in (2, 3, 10, 49):
            assert exact_moments([value] * count) == (count, value, 0.0)
            counts, mean, std = row_moments(np.array([[*[value] * count, math.nan], [1.0] * (count + 1)]))
            assert (counts[0], mean[0], std[0]) == (count, value, 0.0)


HUGE = [1e150, -1e155, 1e155, 1e200, -1e300, 1.7e308, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_a_value_without_a_square_is_missing_everywhere(group: tuple[str, str]) -> None:
    rng = np.random.default_rng(8)
    values: list[float | None] = rng.normal(size=len(PLACES)).tolist()
    without = list(values)
    for k, huge in enumerate(HUGE):
        values[3 * k], without[3 * k] = huge, None
    keys = [f.key for f in GROUPS[group]]
    found, wanted = (
        compute_features(wafer(some, some[:9]), MAP, features=keys, parameters=["z"], bins=[1], known="all")
        for some in (values, without)
    )
    assert bits(found) == bits(wanted)


@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
@pytest.mark.parametrize("size", [9e149, 1e-150, 1e-310])
def test_the_largest_and_smallest_values_give_numbers(size: float, group: tuple[str, str]) -> None:
    values = [float(v) * size for v in np.random.default_rng(5).uniform(-1, 1, len(PLACES))]
    if size < 1:
        values[7] = 0.9e150
    keys = [f.key for f in GROUPS[group]]
    table = compute_features(wafer(values, values[:5]), MAP, features=keys, parameters=["z"], bins=[1])
    for name in table.column_names:
        if pa.types.is_floating(table[name].type):
            assert np.isfinite(table[name].drop_null().to_numpy()).all(), name


def test_a_session_and_the_moments_keep_to_the_same_rule() -> None:
    view = FeatureView(name="v", version="1.0", features=("{p}__wafer_mean",),
                       parameters=("z",))  # fmt: skip
    session = WaferSession(MAP, view)
    for k, value in enumerate([1.0, 1e155, 3.0, math.inf]):
        session.push([{"die_x": k, "die_y": 0, "z": value}])
    assert session.ask([{"die_x": 5, "die_y": 5}])[0]["z__wafer_mean"] == 2.0
    assert exact_moments([1e155, -1e155, 2.0, 4.0]) == (2, 3.0, math.sqrt(2))
    assert row_moments(np.array([[1e155, 2.0, 4.0, -math.inf]]))[2].tolist() == [math.sqrt(2)]


def test_a_quotient_that_overflows_is_null() -> None:
    rows = compute_features(
        wafer([1e-300] * 8 + [1e140]), MAP, features=["{p}__nnr_ratio", "{p}__zscore"], parameters=["z"]
    ).to_pylist()
    assert rows[-1]["z__nnr_ratio"] is None
