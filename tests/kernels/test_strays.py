"""A die far away: it costs no more than a wafer's worth, changes nothing of the others, and is no wafer's picture."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_spark.features.catalogue import CATALOGUE, features_of_family
from fs_spark.features.compute import compute_features
from fs_spark.features.mapped import MappedWafers
from fs_spark.features.settings import SpatialSettings
from fs_spark.wafer import WaferGeometry, place_codes, rows_of_dies

ACROSS = 20
PLACES = [(x, y) for x in range(ACROSS) for y in range(ACROSS) if (x - 9.5) ** 2 + (y - 9.5) ** 2 <= 100]
MAP = WaferGeometry(
    9.5, 9.5, die_width_mm=2.0, die_height_mm=2.0, wafer_diameter_mm=42.0, pos_x="R", pos_y="U", notch="D",
    reticle=(2, 3, 0, 0), rows=rows_of_dies(PLACES, 1),
)  # fmt: skip
FAR = [(12000, 12000), (32767, -32768), (-32768, 5), (9, 32767)]
FAMILIES = list(dict.fromkeys(f.family for f in CATALOGUE if f.entity != "lot"))


def wafer(stray: tuple[int, int] | None) -> pa.Table:
    """All dies of the map; one in the middle of the test may be reported far away."""
    places = list(PLACES)
    if stray is not None:
        places[150] = stray
    rng = np.random.default_rng(1)
    count = len(places)
    event = pa.array(np.arange(count) // 2).cast(pa.timestamp("us", tz="UTC"))
    good = rng.random(count) < 0.8
    return pa.table(
        {
            "die_x": [p[0] for p in places], "die_y": [p[1] for p in places], "event_timestamp": event,
            "available_timestamp": event, "run_id": ["r"] * count, "part_index": np.arange(count),
            "touchdown": np.arange(count) // 2, "passed": good, "hard_bin": np.where(good, 1, 2),
            "head": np.ones(count, int), "site": np.arange(count) % 2, "z": rng.normal(size=count),
        }
    )  # fmt: skip


def computed(table: pa.Table, geometry: WaferGeometry, family: str) -> pa.Table:
    keys = [f.key for f in features_of_family(family)]
    return compute_features(table, geometry, features=keys, parameters=["z"], bins=[2])


def most_memory(table: pa.Table, geometry: WaferGeometry, family: str) -> int:
    computed(table, geometry, family)  # compiled now
    tracemalloc.start()
    computed(table, geometry, family)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stray_takes_no_more_than_twice_the_memory(family: str) -> None:
    """On the product's map, on a map that it came into, and without one. Time goes with the cells that are laid out."""
    with_stray = [replace(MAP, rows=rows_of_dies([*PLACES, place], 1)) for place in FAR]
    for geometries in ([MAP] * len(FAR), with_stray, [replace(MAP, rows=())] * len(FAR)):
        plain = most_memory(wafer(None), geometries[0] if geometries is not with_stray else MAP, family)
        for place, geometry in zip(FAR, geometries, strict=True):
            assert most_memory(wafer(place), geometry, family) < 2 * plain + 20_000, place


@pytest.mark.parametrize("stray", FAR)
def test_what_is_laid_out_is_bounded(stray: tuple[int, int]) -> None:
    for geometry in (MAP, replace(MAP, rows=())):
        table = wafer(stray)
        x, y = (np.asarray(table[name], np.int64) for name in ("die_x", "die_y"))
        sizes = []
        for xs in (x, np.asarray(wafer(None)["die_x"], np.int64)):
            ys = y if xs is x else np.asarray(wafer(None)["die_y"], np.int64)
            mapped, die = MappedWafers(SpatialSettings(), 15.0).find(xs, ys, geometry)
            assert mapped.lattice.x[die].tolist() == xs.tolist()
            assert mapped.lattice.y[die].tolist() == ys.tolist()
            sizes.append((mapped.lattice.grid.size, mapped.table.size))
        assert sizes[0][0] <= 2 * sizes[1][0]
        assert sizes[0][1] <= 2 * sizes[1][1]


def test_the_picture_of_a_wafer_leaves_a_stray_out() -> None:
    without = wafer(None).filter(pa.array([k != 150 for k in range(len(PLACES))]))
    (wanted,) = computed(without, MAP, "wm811k").to_pylist()
    (found,) = computed(wafer((12000, 12000)), MAP, "wm811k").to_pylist()
    assert found == wanted
    assert found["wm_radon_mean_10"] > 0
    (nothing,) = computed(wafer((12000, 12000)), replace(MAP, rows=()), "wm811k").to_pylist()
    assert {v for k, v in nothing.items() if k.startswith("wm_")} == {None}


def test_other_dies_do_not_notice() -> None:
    """Of what is around a die: rows of dies that are not near the missing one."""
    families = ("outcome_neighborhood", "outcome_density", "parametric_neighborhood", "parametric_surface", "geometry")
    for family in families:
        plain, strayed = (computed(wafer(s), MAP, family).to_pylist() for s in (None, (12000, 12000)))
        theirs: dict[Any, Any] = {(r["die_x"], r["die_y"]): r for r in strayed}
        x0, y0 = PLACES[150]
        far = [r for r in plain if max(abs(r["die_x"] - x0), abs(r["die_y"] - y0)) > 9]
        assert len(far) > 30
        assert [theirs[r["die_x"], r["die_y"]] for r in far] == far


def test_a_map_is_laid_out_once_for_wafers_with_the_same_strays() -> None:
    wafers = MappedWafers(SpatialSettings(), 0.0)
    table = wafer((7000, 7))
    x, y = (np.asarray(table[name], np.int64) for name in ("die_x", "die_y"))
    first, _ = wafers.find(x, y, MAP)
    again, _ = wafers.find(x[::-1].copy(), y[::-1].copy(), MAP)
    assert again is first
    assert wafers.of_map(MAP) is not first
    codes = place_codes(np.array([-(2**31), 2**31 - 1, 0, 0]), np.array([2**31 - 1, -(2**31), -1, 0]))
    assert (np.diff(codes[[0, 2, 3, 1]]) > 0).all()
