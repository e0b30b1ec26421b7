"""The 59 features of a wafer map: pictures whose answer is known, turned pictures, and real classes told apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.interpolate import CubicSpline
from skimage.transform import radon

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


@pytest.mark.parametrize("shape", [(41, 41), (30, 47), (12, 9), (3, 2), (2, 2), (1, 1), (1, 5)])
@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_projections_are_those_of_scikit_image(shape: tuple[int, int], share: float) -> None:
    """Radon by scikit-image, mean and deviation by numpy, the cubic interpolation by scipy."""
    picture = np.where(np.random.default_rng(shape[0]).random(shape) < share, FAIL, PASS).astype(np.int8)
    picture[0, 0] = FAIL
    sinogram = radon((picture == FAIL).astype(float), theta=np.arange(180.0), circle=False)
    lines = np.arange(len(sinogram))
    found = wm811k_features(picture)
    for name, wanted in (("mean", sinogram.mean(axis=1)), ("std", sinogram.std(axis=1))):
        curve = CubicSpline(lines, wanted)(np.linspace(0, lines[-1], 20))  # by default through the second point too
        told = [found[f"wm_radon_{name}_{k:02}"] for k in range(20)]
        np.testing.assert_allclose(told, curve, rtol=1e-10, atol=1e-12)


def test_half_a_turn_shows_the_same_lines_from_the_other_side() -> None:
    picture = disk(43)  # of 61 lines, an odd number, so that its center is the center of a line
    picture[(np.random.default_rng(1).random(picture.shape) < 0.2) & (picture == PASS)] = FAIL
    plain, turned = (wm811k_features(p) for p in (picture, picture[::-1, ::-1]))
    for name in ("mean", "std"):
        there, back = ([f[f"wm_radon_{name}_{k:02}"] for k in range(20)] for f in (plain, turned))
        np.testing.assert_allclose(there, back[::-1], atol=1e-10)


def test_single_fails_are_removed_where_that_is_asked_for() -> None:
    picture = disk()
    picture[5, 20] = picture[30, 30] = FAIL
    picture[18:20, 18] = FAIL
    kept, removed = wm811k_features(picture), wm811k_features(picture, remove_single_fails=True)
    picture[5, 20] = picture[30, 30] = PASS
    assert removed == wm811k_features(picture) != kept
    corner = np.full((3, 3), PASS, np.int8)
    corner[0, 0] = corner[1, 1] = FAIL  # neighbors over a corner
    assert wm811k_features(corner, remove_single_fails=True) == wm811k_features(corner)


def test_the_picture_of_dies() -> None:
    picture = map_array([2, 4, 2], [-3, -3, 1], [0, 1, -1], pitch=(2, 2))
    assert picture is not None
    assert picture.tolist() == [[FAIL, 0, PASS], [PASS, 0, 0]]


def test_the_picture_is_that_of_the_products_map() -> None:
    every = [(x, y) for x in range(3) for y in range(2)]
    picture = map_array([1, 9000], [1, 12000], [0, 0], dies=every)
    assert picture is not None
    assert picture.tolist() == [[0, 0], [0, FAIL], [0, 0]]
    assert map_array([9000], [0], [0], dies=every) is None  # nothing of it lies on the map


def test_dies_strewn_too_far_are_no_wafer() -> None:
    assert map_array([0, 12000], [0, 12000], [0, 1]) is None
    found = wm811k_features(None)
    assert len(found) == 59
    assert np.isnan(list(found.values())).all()
    strewn = [(0, 0), (1, 0), (12000, 12000)]  # a map that a stray came into: the box of the tested dies
    picture = map_array([0, 1], [0, 0], [0, 1], dies=strewn)
    assert picture is not None
    assert picture.shape == (2, 1)


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
