"""The 59 features of a wafer map: pictures whose answer is known, turned pictures, and real classes told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fs_spark.kernels.whole_wafer import radial_profile, zone_yields
from fs_spark.kernels.wm811k import FAIL, PASS, map_array, wm811k_features


def disk(across: int = 41) -> np.ndarray:
    x, y = np.mgrid[:across, :across] - (across - 1) / 2
    return np.where(np.hypot(x, y) <= across / 2, PASS, 0).astype(np.int8)


def test_a_good_wafer_is_all_zero() -> None:
    found = wm811k_features(disk())
    assert len(found) == 59
    assert set(found.values()) == {0.0}


def test_densities_are_fails_by_dies_of_the_region() -> None:
    picture = np.full((10, 10), PASS, np.int8)
    picture[:2] = FAIL
    picture[4, 4] = FAIL
    found = wm811k_features(picture)
    densities = [found[f"wm_density_{k:02}"] for k in range(13)]
    assert densities[:4] == [1.0, 0.0, 0.2, 0.2]  # low x, high x, low y, high y
    assert densities[4:] == [0, 0, 0, 0, 0.25, 0, 0, 0, 0]


def test_the_largest_cluster_of_a_square() -> None:
    picture = disk()
    picture[18:23, 18:23] = FAIL
    picture[5, 20] = FAIL
    found = {k.removeprefix("wm_component_"): v for k, v in wm811k_features(picture).items() if "component" in k}
    diagonal = np.hypot(41, 41)
    assert found["area"] == pytest.approx(25 / np.count_nonzero(picture))
    assert found["perimeter"] == pytest.approx(20 / diagonal)
    assert found["major"] == found["minor"] == pytest.approx(4 * np.sqrt(25 / 12) / diagonal)
    assert found["eccentricity"] == pytest.approx(0, abs=1e-6)
    assert found["solidity"] == pytest.approx(1)


def test_a_line_is_eccentric_and_a_ring_is_not_solid() -> None:
    line, ring = disk(), disk()
    line[20, 5:36] = FAIL
    x, y = np.mgrid[:41, :41] - 20
    ring[(np.hypot(x, y) > 15) & (np.hypot(x, y) < 18)] = FAIL
    assert wm811k_features(line)["wm_component_eccentricity"] > 0.99
    assert wm811k_features(ring)["wm_component_solidity"] < 0.4


def test_every_projection_holds_all_fails() -> None:
    """At each angle the lines share out all fails: the mean over angles sums to their number."""
    from fs_spark.kernels import wm811k

    picture = disk()
    picture[np.random.default_rng(1).random(picture.shape) < 0.2] = FAIL
    picture[disk() == 0] = 0
    wm811k._POINTS = (lines := int(np.ceil(np.hypot(41, 41))) + 2)  # type: ignore[misc]
    try:
        mean, std = wm811k._projections(picture)
    finally:
        wm811k._POINTS = 20  # type: ignore[misc]
    assert len(mean) == lines
    assert mean.sum() == pytest.approx(np.count_nonzero(picture == FAIL))
    turned, _ = wm811k._projections(picture[::-1, ::-1])  # half a turn: the same lines from the other side
    again, _ = wm811k._projections(picture)
    np.testing.assert_allclose(turned, again[::-1], atol=1e-9)
    assert (std >= -1e-9).all()


def test_the_picture_of_dies() -> None:
    picture = map_array([2, 4, 2], [-3, -3, 1], [0, 1, -1], pitch=(2, 2))
    assert picture.tolist() == [[FAIL, 0, PASS], [PASS, 0, 0]]


def test_zones_and_profile_by_hand() -> None:
    outcome = np.array([1, 0, 1, -1, 0], np.int8)
    zone = np.array([0, 0, 1, 2, -1], np.int32)
    np.testing.assert_array_equal(zone_yields(outcome, zone, 4), [0.5, 1.0, np.nan, np.nan])
    values = np.array([1.0, 2.0, np.nan, 4.0, 9.0])
    np.testing.assert_array_equal(radial_profile(values, zone, 3), [1.5, np.nan, 4.0])


def test_real_classes_are_told_apart(shared_data: Path) -> None:
    table = pq.read_table(shared_data / "wm811k" / "wm811k_lots_dev.parquet")
    by_class: dict[str, list[dict[str, float]]] = {}
    for row in table.to_pylist():
        some = by_class.setdefault(row["failure_type"], [])
        if row["failure_type"] in ("Center", "Edge-Ring", "none") and len(some) < 12:
            some.append(wm811k_features(np.frombuffer(row["map"], np.int8).reshape(row["rows"], row["cols"])))

    def median(kind: str, name: str) -> float:
        return float(np.median([found[name] for found in by_class[kind]]))

    assert all(np.isfinite(list(found.values())).all() for some in by_class.values() for found in some)
    assert median("Center", "wm_density_08") > 2 * median("none", "wm_density_08")
    assert median("Edge-Ring", "wm_density_00") > 2 * median("Edge-Ring", "wm_density_08")
    assert median("Edge-Ring", "wm_component_area") > median("none", "wm_component_area")
