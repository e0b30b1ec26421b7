"""Wafers whose answer is known: tilt, bowl, checkerboard, one hot die, constant field, turned and mirrored; scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import ndimage, spatial

from fs_spark.errors import GeometryError, RequestError, SchemaError
from fs_spark.features.catalogue import CATALOGUE
from fs_spark.features.compute import compute_features
from fs_spark.features.settings import SpatialSettings
from fs_spark.features.view import FeatureView
from fs_spark.wafer import WaferGeometry, rows_of_dies

SIDE = 9
BEFORE = [f.key for f in CATALOGUE if f.knowledge == "before_test" and f.per != "bin"]
WHOLE = [f.key for f in CATALOGUE if f.knowledge == "after_wafer" and f.entity == "die" and f.per != "bin"]
SUMMARY = [f.key for f in CATALOGUE if f.knowledge == "after_wafer" and f.entity == "wafer" and f.per != "bin"]

Field = Callable[[np.ndarray, np.ndarray], Any]


def square(**changes: Any) -> WaferGeometry:
    places = [(x, y) for x in range(SIDE) for y in range(SIDE)]
    usual: dict[str, Any] = {
        "center_x": 4.0, "center_y": 4.0, "die_width_mm": 2.0, "die_height_mm": 3.0, "wafer_diameter_mm": 40.0,
        "pos_x": "R", "pos_y": "U", "notch": "D", "reticle": (3, 3, 0, 0), "rows": rows_of_dies(places, 1),
    }  # fmt: skip
    return WaferGeometry(**{**usual, **changes})


def wafer(passed: Field, value: Field, *, turn: Callable[[int, int], tuple[int, int]] | None = None) -> pa.Table:
    """All dies of the square, one touchdown each, row by row; fields over the die's own coordinates."""
    x, y = (a.ravel() for a in np.meshgrid(np.arange(SIDE), np.arange(SIDE)))
    good, z = np.broadcast_to(passed(x, y), x.shape), np.broadcast_to(value(x, y), x.shape)
    places = [turn(a, b) if turn else (a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    count = len(x)
    event = pa.array(np.arange(count) * 1_000_000).cast(pa.timestamp("us", tz="UTC"))
    number = np.arange(count)
    return pa.table(
        {
            "die_x": [p[0] for p in places], "die_y": [p[1] for p in places],
            "event_timestamp": event, "available_timestamp": event, "run_id": ["r"] * count, "part_index": number,
            "touchdown": number, "passed": pa.array(good.astype(bool)), "hard_bin": np.where(good, 1, 2),
            "head": np.ones(count, int), "site": number % 2, "z": z.astype(float),
        }
    )  # fmt: skip


def rows(table: pa.Table, keys: list[str], geometry: WaferGeometry | None = None, **more: Any) -> list[dict[str, Any]]:
    found = compute_features(table, geometry or square(), features=keys, parameters=["z"], **more)
    return found.to_pylist()


def good(x: np.ndarray, y: np.ndarray) -> Any:
    return np.ones_like(x)


def nothing(x: np.ndarray, y: np.ndarray) -> Any:
    return np.zeros(x.shape)


def near(actual: float | None, wanted: float) -> bool:
    return actual is not None and math.isclose(actual, wanted, rel_tol=1e-9, abs_tol=1e-9)


def test_a_tilt_has_its_slopes_everywhere() -> None:
    found = rows(wafer(good, lambda x, y: 10 + 0.5 * (x - 4) * 2.0 - 0.25 * (y - 4) * 3.0), BEFORE)
    last = found[-1]
    for name in ("gradient", "radius_gradient", "plane"):
        assert near(last[f"z__{name}_x"], 0.5)
        assert near(last[f"z__{name}_y"], -0.25)
    assert near(last["z__gradient"], math.hypot(0.5, 0.25))
    assert near(last["z__gradient_rad"], math.atan2(-0.25, 0.5))
    assert near(last["z__gradient_r2"], 1.0)
    assert near(last["z__plane_0"], 10.0)
    assert near(last["z__bowl_r2"], 0.0)
    flipped = rows(wafer(good, lambda x, y: x * 2.0), ["{p}__plane_x"], square(pos_x="L"))[-1]
    assert near(flipped["z__plane_x"], -1.0)  # x_mm grows to the right, the coordinate to the left


def test_a_bowl() -> None:
    last = rows(wafer(good, lambda x, y: 1 + 0.01 * ((2 * (x - 4)) ** 2 + (3 * (y - 4)) ** 2)), BEFORE)[-1]
    assert near(last["z__bowl_0"], 1.0)
    assert near(last["z__bowl_r2"], 0.01)
    assert near(last["z__bowl_x"], 0.0)


def test_a_constant_field_has_no_direction_no_rank_beside_its_own_and_no_spread() -> None:
    last = rows(wafer(good, lambda x, y: np.full(x.shape, 7.5)), BEFORE)[-1]
    assert last["z__neighbor_std"] == last["z__wafer_std"] == last["z__wafer_iqr"] == last["z__neighbor_range"] == 0.0
    assert last["z__gradient"] == 0.0
    undefined = ("z__gradient_rad", "z__gradient_r2", "z__moran_i", "fail__moran_i", "fail__nearest_mm")
    assert {name: last[name] for name in undefined} == dict.fromkeys(undefined)
    own = rows(wafer(good, lambda x, y: np.full(x.shape, 7.5)), ["{p}__zscore", "{p}__robust_zscore", "{p}__rank"])[-1]
    assert (own["z__zscore"], own["z__robust_zscore"], own["z__rank"]) == (None, None, 0.5)


def test_a_checkerboard() -> None:
    (summary,) = rows(wafer(lambda x, y: (x + y) % 2, lambda x, y: (x + y) % 2), SUMMARY)
    sides, corners = 2 * SIDE * (SIDE - 1), 2 * (SIDE - 1) ** 2
    assert summary["fail__wafer_join_bw"] == sides  # across a side the colors differ, across a corner they do not
    assert summary["fail__wafer_join_bb"] + summary["fail__wafer_join_ww"] == corners
    n, mean = SIDE * SIDE, (SIDE * SIDE - 1) / 2 / (SIDE * SIDE)
    dark = summary["fail__wafer_join_ww"]  # both 1
    cross = dark * (1 - mean) ** 2 + (corners - dark) * mean**2 - sides * mean * (1 - mean)
    wanted = n / (sides + corners) * cross / (n * mean * (1 - mean))
    assert near(summary["fail__wafer_moran_i"], wanted)
    assert near(summary["z__whole_moran_i"], wanted)
    assert wanted < 0


def test_one_hot_die() -> None:
    def hot(x: np.ndarray, y: np.ndarray) -> Any:
        return (x != 4) | (y != 4)

    found = {(r["die_x"], r["die_y"]): r for r in rows(wafer(hot, nothing), WHOLE)}
    for (x, y), row in found.items():
        away = max(abs(x - 4), abs(y - 4))
        assert row["fail__full_nearest_dies"] == (away or None)
        assert row["fail__full_neighbor_count"] == (away == 1)
        assert row["fail__full_ring5_count"] == (away == 2)
        assert row["fail__full_cluster_size"] == (away == 1)
        if away:
            assert near(row["fail__full_nearest_mm"], math.hypot(2 * (x - 4), 3 * (y - 4)))


def test_all_fail_and_all_pass() -> None:
    for passed, share in ((nothing, 0.0), (good, 1.0)):
        row = rows(wafer(passed, nothing), BEFORE)[-1]
        assert row["yield"] == row["ring_yield"] == row["site_yield"] == share
        assert row["fail__run_length"] == (80 if share == 0 else 0)
        assert row["fail__cluster_size"] == (80 if share == 0 else 0)
        assert row["fail__density_box"] == 1 - share


def test_a_wafer_of_one_die() -> None:
    one = wafer(good, nothing).slice(40, 1)
    before = rows(one, BEFORE)[0]
    assert before["tested_count"] == before["neighbor_count"] == 0
    assert before["yield"] is None
    (whole,) = rows(one, WHOLE)
    assert (whole["full_tested_count"], whole["full_yield"], whole["z__full_wafer_mean"]) == (1, 1.0, 0.0)
    (summary,) = rows(one, SUMMARY)
    assert summary["wafer_yield"] == 1.0


TURNED = {
    "quarter": lambda x, y: (8 - y, x),
    "mirror": lambda x, y: (8 - x, y),
}


@pytest.mark.parametrize("name", TURNED)
def test_turned_and_mirrored_wafers_give_the_transformed_answer(name: str) -> None:
    rng = np.random.default_rng(4)
    fails, values = rng.random((SIDE, SIDE)) < 0.3, rng.normal(size=(SIDE, SIDE))
    round_die = square(die_width_mm=2.0, die_height_mm=2.0, notch=None)

    def passed(x: np.ndarray, y: np.ndarray) -> Any:
        return ~fails[x, y]

    def value(x: np.ndarray, y: np.ndarray) -> Any:
        return values[x, y]

    skipped = ("sector", "reticle", "gradient_x", "gradient_y", "_rad", "plane_x", "plane_y", "bowl_x", "bowl_y")
    plain, turned = (rows(wafer(passed, value, turn=t), BEFORE, round_die) for t in (None, TURNED[name]))
    for a, b in zip(plain, turned, strict=True):
        for column, wanted in a.items():
            if column in ("die_x", "die_y") or any(part in column for part in skipped):
                continue
            if isinstance(wanted, float):
                assert math.isclose(b[column], wanted, rel_tol=1e-9, abs_tol=1e-9), column
            else:
                assert b[column] == wanted, column
        for prefix in ("gradient", "radius_gradient", "plane", "bowl"):
            gx, gy = a[f"z__{prefix}_x"], a[f"z__{prefix}_y"]
            if gx is None:
                continue
            wanted_x, wanted_y = (-gy, gx) if name == "quarter" else (-gx, gy)
            assert math.isclose(b[f"z__{prefix}_x"], wanted_x, rel_tol=1e-7, abs_tol=1e-9), prefix
            assert math.isclose(b[f"z__{prefix}_y"], wanted_y, rel_tol=1e-7, abs_tol=1e-9), prefix


def test_clusters_and_distances_as_scipy_tells_them() -> None:
    rng = np.random.default_rng(5)
    fails = rng.random((SIDE, SIDE)) < 0.25
    found = rows(wafer(lambda x, y: ~fails[x, y], nothing), WHOLE)
    labels, _ = ndimage.label(fails, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    at = np.argwhere(fails) * [2.0, 3.0]
    tree = spatial.cKDTree(at)
    for row in found:
        x, y = row["die_x"], row["die_y"]
        around = labels[max(x - 1, 0) : x + 2, max(y - 1, 0) : y + 2].copy()
        around[min(x, 1), min(y, 1)] = 0
        assert row["fail__full_cluster_size"] == sizes[around].max()
        distances: Any = tree.query([2.0 * x, 3.0 * y], k=2)[0]
        wanted = distances[1] if fails[x, y] else distances[0]
        assert near(row["fail__full_nearest_mm"], wanted)


def test_density_as_a_correlation_tells_it() -> None:
    rng = np.random.default_rng(6)
    fails = rng.random((SIDE, SIDE)) < 0.3
    chosen = SpatialSettings(density_box_mm=6.0, density_sigma_mm=2.0)
    found = rows(wafer(lambda x, y: ~fails[x, y], nothing), WHOLE, settings=chosen)
    dx, dy = np.mgrid[-3:4, -2:3] * np.array([2.0, 3.0])[:, None, None]
    distance = np.hypot(dx, dy)
    gauss = np.where((distance <= 6) & (distance > 0), np.exp(-(distance**2) / 8), 0)
    box = (distance > 0).astype(float)
    for name, kernel in (("density_gauss", gauss), ("density_box", box)):
        above, below = (
            ndimage.correlate(field.astype(float), kernel, mode="constant") for field in (fails, np.ones_like(fails))
        )
        for row in found:
            place = row["die_x"], row["die_y"]
            assert near(row[f"fail__full_{name}"], above[place] / below[place])


def test_pat_flags_and_limits() -> None:
    values = np.zeros((SIDE, SIDE))
    values[::2] = 1.0
    values[4, 4] = 50.0
    table = wafer(good, lambda x, y: values[x, y])
    flagged = [r for r in rows(table, WHOLE) if r["z__pat_flag"]]
    assert [(r["die_x"], r["die_y"]) for r in flagged] == [(4, 4)]
    (summary,) = rows(table, SUMMARY)
    every = values.ravel()
    assert near(summary["z__whole_pat_high"], every.mean() + 6 * every.std(ddof=1))
    q1, q2, q3 = np.quantile(every, [0.25, 0.5, 0.75])
    assert near(summary["z__whole_robust_pat_low"], q2 - 6 * (q3 - q1) / 1.35)
    wide = rows(table, ["{p}__pat_flag"], settings=SpatialSettings(pat_sigmas=60))
    assert not any(r["z__pat_flag"] for r in wide)


# bad input


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": {"density_box_mm": 0}}, "greater than 0"),
        ({"settings": {"density_sigma_mm": -1}}, "greater than 0"),
        ({"settings": {"gradient_radius_mm": float("inf")}}, "finite"),
        ({"settings": {"gdbn_side_weight": 0, "gdbn_corner_weight": 0}}, "both GDBN weights are 0"),
        ({"settings": {"radius": 3}}, "Extra inputs are not permitted"),
        ({"families": ["outcome_cluster", "own_context"]}, "more than one knowledge class"),
        ({"families": ["outcome_clusters"]}, "did you mean 'outcome_cluster'"),
        ({"families": "outcome_cluster"}, "families is no list"),
        ({"features": ["{p}__neighbour_mean"]}, "did you mean '{p}__neighbor_mean'"),
        ({"features": ["{bin}__rate"]}, "names no bins"),
        ({"features": ["{p}__neighbor_mean"], "parameters": []}, "names no parameters"),
        ({"bins": [3, 3]}, "bins given twice"),
    ],
)
def test_views_that_are_refused(changes: dict[str, Any], said: str) -> None:
    usual = {"name": "v", "version": "1.0", "features": ["fail__cluster_size"], "parameters": ["z"]}
    with pytest.raises(ValueError, match=said.replace("{", r"\{").replace("}", r"\}")):
        FeatureView.model_validate({**usual, **changes})


def test_a_map_that_contradicts_the_dies() -> None:
    elsewhere = rows_of_dies([(x + 100, y) for x in range(9) for y in range(9)], 1)
    with pytest.raises(GeometryError, match=r"81 of 81 dies .* are not on the wafer map"):
        rows(wafer(good, nothing), ["neighbor_count"], square(rows=elsewhere))


def test_an_attempt_that_comes_twice() -> None:
    table = wafer(good, nothing)
    with pytest.raises(SchemaError, match="part 5 at x 5, y 0 is there twice"):
        rows(pa.concat_tables([table, table.slice(5, 1)]), ["neighbor_count"])


def test_a_parameter_that_is_not_there() -> None:
    with pytest.raises(SchemaError, match="did you mean 'z' for 'zz'"):
        compute_features(wafer(good, nothing), square(), features=["{p}__rank"], parameters=["zz"])


def test_classes_do_not_mix() -> None:
    with pytest.raises(RequestError, match="at_test and before_test"):
        rows(wafer(good, nothing), ["neighbor_count", "{p}__rank"])


def test_dies_strewn_too_far() -> None:
    table = wafer(good, nothing)
    places = np.arange(81) * 1000
    for axis in ("die_x", "die_y"):
        table = table.set_column(table.column_names.index(axis), axis, pa.array(places))
    with pytest.raises(GeometryError, match="strewn too far for a wafer"):
        rows(table, ["fail__density_gauss"], square(rows=()), settings=SpatialSettings(density_sigma_mm=60))
