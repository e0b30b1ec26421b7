"""Where a die lies: right triangles, rotations, mirrors, and what is unknown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fs_spark.errors import GeometryError
from fs_spark.features.compute import compute_features
from fs_spark.kernels.radial import radial_features
from fs_spark.wafer import WaferGeometry, resolve_geometry, rows_of_dies

SIZES: dict[str, Any] = {"die_width_mm": 3.0, "die_height_mm": 4.0, "wafer_diameter_mm": 100.0}
ROUND = [(x, y) for x in range(-7, 8) for y in range(-5, 6) if (abs(x) * 3 + 1.5) ** 2 + (abs(y) * 4 + 2) ** 2 < 49**2]


def geometry(*, pos: str = "RU", **options: Any) -> WaferGeometry:
    usual = {"center_x": 0.0, "center_y": 0.0, "pos_x": pos[0], "pos_y": pos[1]}
    return WaferGeometry(**{**usual, **SIZES, **options})


def features(places: list[tuple[int, int]], where: WaferGeometry) -> dict[str, np.ndarray]:
    x, y = np.array(places).reshape(-1, 2).T
    return radial_features(x, y, geometry=where)


def close(actual: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_right_triangles() -> None:
    found = features([(1, 1), (4, 3), (0, 0), (-4, -3), (0, 10)], geometry())
    close(found["x_mm"], [3, 12, 0, -12, 0])
    close(found["y_mm"], [4, 12, 0, -12, 40])
    close(found["radius_mm"], [5, math.sqrt(288), 0, math.sqrt(288), 40])
    close(found["radius_norm"], [0.1, math.sqrt(288) / 50, 0, math.sqrt(288) / 50, 0.8])
    close(found["angle_rad"], [math.atan2(4, 3), math.pi / 4, 0, -3 * math.pi / 4, math.pi / 2])
    # outermost corners: (4.5, 6) and (1.5, 2) and (1.5, 42)
    close(found["edge_distance_mm"][[0, 2, 4]], [50 - 7.5, 50 - 2.5, 50 - math.hypot(1.5, 42)])


def test_the_center_is_subtracted_and_the_pitch_divides() -> None:
    shifted = features([(11, -4)], geometry(center_x=10.0, center_y=-5.0))
    close(shifted["radius_mm"], [5])
    half = features([(1, 0)], geometry(center_x=0.5, center_y=-0.5))
    close(half["x_mm"], [1.5])
    close(half["y_mm"], [2])
    stretched = features([(2, 3)], geometry(pitch_x=2, pitch_y=3))
    close(stretched["radius_mm"], [5])


def test_edge_distance_is_that_of_the_outermost_corner() -> None:
    found = features(ROUND, geometry())
    for k, (x, y) in enumerate(ROUND):
        corners = [math.hypot(3 * x + dx, 4 * y + dy) for dx in (-1.5, 1.5) for dy in (-2, 2)]
        assert found["edge_distance_mm"][k] == pytest.approx(50 - max(corners), abs=1e-12)


def test_an_edge_die_is_within_the_exclusion_or_on_its_border() -> None:
    # the corner of (x, 0) is at hypot(3 x + 1.5, 2); 12 lies 50 - hypot(37.5, 2) = 12.4467... from the edge
    distance = 50 - math.hypot(37.5, 2)
    for exclusion, expected in ((distance - 1e-9, 0.0), (distance, 1.0), (distance + 1e-9, 1.0)):
        assert features([(12, 0)], geometry(edge_exclusion_mm=exclusion))["is_edge"].tolist() == [expected]
    assert features([(0, 0)], geometry())["is_edge"].tolist() == [0.0]


def test_a_quarter_turn_keeps_radii_and_turns_angles() -> None:
    turned_map = geometry(die_width_mm=4.0, die_height_mm=3.0)
    plain, turned = features(ROUND, geometry()), features([(-y, x) for x, y in ROUND], turned_map)
    for name in ("radius_mm", "radius_norm", "edge_distance_mm", "is_edge"):
        close(turned[name], plain[name])
    quarter = np.exp(1j * plain["angle_rad"]) * 1j
    away = plain["radius_mm"] > 0
    close(np.exp(1j * turned["angle_rad"])[away], quarter[away])


@pytest.mark.parametrize(("pos", "x", "y"), [("RU", 1, 1), ("LU", -1, 1), ("RD", 1, -1), ("LD", -1, -1)])
def test_directions_mirror_the_wafer(pos: str, x: int, y: int) -> None:
    found, plain = features(ROUND, geometry(pos=pos)), features([(x * a, y * b) for a, b in ROUND], geometry())
    for name in plain:
        close(found[name], plain[name])


@pytest.mark.parametrize("pos", ["RU", "LU", "RD", "LD"])
@pytest.mark.parametrize("sizes", [SIZES, {"die_width_mm": None, "die_height_mm": None}])
def test_on_an_axis_the_directions_make_no_negative_zero(pos: str, sizes: dict[str, Any]) -> None:
    found = features([(0, 0), (2, 0), (-2, 0)], geometry(pos=pos, **sizes))
    right, left = (0.0, math.pi) if pos[0] == "R" else (math.pi, 0.0)
    assert found["angle_rad"].tolist() == [0.0, right, left]


@pytest.mark.parametrize("missing", ["pos_x", "pos_y"])
def test_the_angle_needs_both_directions(missing: str) -> None:
    without: dict[str, Any] = {missing: None}
    found = features([(1, 1)], geometry(**without))
    assert np.isnan(found["angle_rad"]).all()
    close(found["radius_mm"], [5])


def test_without_sizes_there_are_no_millimeters() -> None:
    block = [(x, y) for x in range(4) for y in range(2)]
    where = WaferGeometry(1.5, 0.5, rows=rows_of_dies(block, 1), pos_x="R", pos_y="U")
    found = features(block, where)
    for name in ("x_mm", "y_mm", "radius_mm", "edge_distance_mm", "is_edge"):
        assert np.isnan(found[name]).all(), name
    # half extents are 2 and 1 dies: the outer corner die (3, 1) is 1.5 / 2 and 0.5 / 1 away
    assert found["radius_norm"][block.index((3, 1))] == pytest.approx(math.hypot(0.75, 0.5))
    assert found["radius_norm"][block.index((0, 0))] == pytest.approx(math.hypot(0.75, 0.5))
    assert np.isfinite(found["angle_rad"]).all()


@pytest.mark.parametrize(
    ("absent", "unknown"),
    [
        ("die_width_mm", {"x_mm", "radius_mm", "edge_distance_mm", "is_edge"}),
        ("die_height_mm", {"y_mm", "radius_mm", "edge_distance_mm", "is_edge"}),
        ("wafer_diameter_mm", {"edge_distance_mm", "is_edge"}),
    ],
)
def test_what_each_size_is_needed_for(absent: str, unknown: set[str]) -> None:
    without: dict[str, Any] = {absent: None, "rows": rows_of_dies(ROUND, 1), "notch": "D", "reticle": (2, 2, 0, 0)}
    found = features(ROUND, geometry(**without))
    assert {name for name, column in found.items() if np.isnan(column).any()} == unknown
    assert found["radius_norm"].max() <= math.sqrt(2)


def test_degenerate_maps() -> None:
    assert np.isnan(features([(0, 0)], WaferGeometry(0, 0))["radius_norm"]).all()
    assert np.isnan(features([(3, 3)], WaferGeometry(3, 3, rows=((3, 3, 3),)))["radius_norm"]).all()
    assert all(column.shape == (0,) for column in features([], geometry()).values())


def test_geometry_has_one_row_per_die_without_times() -> None:
    dies = pa.table({"die_x": pa.array([1, 0, 1, None], pa.int32()), "die_y": pa.array([1, 0, 1, 5], pa.int32())})
    found = compute_features(dies, geometry(), features=["radius_mm", "is_edge"])
    assert found.select(["die_x", "die_y", "radius_mm", "is_edge"]).to_pylist() == [
        {"die_x": 0, "die_y": 0, "radius_mm": 0.0, "is_edge": False},
        {"die_x": 1, "die_y": 1, "radius_mm": 5.0, "is_edge": False},
    ]
    assert found["event_timestamp"].null_count == found["available_timestamp"].null_count == 2
    assert found["sequence"].to_pylist() == [0, 0]
    assert found.schema.field("is_edge").type == pa.bool_()
    unknown = compute_features(dies, geometry(die_width_mm=None), features=["radius_mm", "is_edge"])
    assert unknown["radius_mm"].null_count == unknown["is_edge"].null_count == 2


# the map


def test_a_recorded_center_is_believed_when_all_dies_lie_around_it() -> None:
    recorded = {**SIZES, "center_x": 0, "center_y": 0, "pos_x": "R", "pos_y": "D"}
    found = resolve_geometry(ROUND, recorded=recorded)
    assert (found.center_x, found.center_y, found.geometry_source, found.pos_y) == (0, 0, "wcr", "D")
    bogus = resolve_geometry(ROUND, recorded={**recorded, "center_x": 128, "center_y": 128})
    assert (bogus.center_x, bogus.center_y, bogus.geometry_source) == (0, 0, "box_center")


def test_a_center_that_leaves_dies_off_the_wafer_is_not_believed_even_inside_the_box() -> None:
    recorded = {**SIZES, "wafer_diameter_mm": 90.0, "center_x": 7, "center_y": 0}
    found = resolve_geometry(ROUND, recorded=recorded)  # (-7, 5) would be 42 and 20 mm away
    assert (found.center_x, found.geometry_source) == (0, "box_center")


def test_without_a_wafer_size_a_recorded_center_must_lie_in_the_box() -> None:
    block = [(x, y) for x in range(-5, 30) for y in range(17, 51)]
    inside = resolve_geometry(block, recorded={"center_x": 21, "center_y": 33})
    assert (inside.center_x, inside.center_y, inside.geometry_source) == (21, 33, "wcr")
    outside = resolve_geometry(block, recorded={"center_x": 128, "center_y": 128})
    assert (outside.center_x, outside.center_y, outside.geometry_source) == (12, 33.5, "box_center")
    told = resolve_geometry(block, recorded={"center_x": 21, "center_y": 33}, configured={"center": (12, 33.5)})
    assert (told.center_x, told.geometry_source) == (12, "configuration")


def test_the_pitch_is_the_commonest_step_of_each_axis() -> None:
    lattice = [(x, y) for x in (0, 2, 4, 6, 10) for y in (-3, 0, 3)]
    found = resolve_geometry(lattice)
    assert (found.pitch_x, found.pitch_y) == (2, 3)
    assert sorted(map(tuple, found.dies.tolist())) == sorted(lattice)
    assert found.outside([0, 1, 8], [0, 0, 0]).tolist() == [False, True, True]
    uneven = resolve_geometry([(x, 0) for x in (0, 1, 3, 5, 7)])
    assert uneven.pitch_x == 2
    one = resolve_geometry([(5, 7)])
    assert (one.pitch_x, one.pitch_y, one.center_x, one.center_y) == (1, 1, 5, 7)


def test_configured_rows_are_the_map_whatever_was_tested() -> None:
    found = resolve_geometry([(100, 100)], configured={"rows": [(0, 0, 3), (1, 1, 2)], "die_width_mm": 2.0})
    assert found.dies.tolist() == [[0, 0], [1, 0], [2, 0], [3, 0], [1, 1], [2, 1]]
    assert (found.center_x, found.center_y, found.die_width_mm) == (1.5, 0.5, 2.0)
    assert found.outside([100], [100]).tolist() == [True]


def test_a_map_survives_the_registry() -> None:
    found = resolve_geometry(ROUND, recorded={**SIZES, "center_x": 0, "center_y": 0})
    again = WaferGeometry.from_json(found.to_json())
    assert again == found
    assert again.digest == found.digest
    assert resolve_geometry(ROUND[1:], recorded=SIZES).digest != found.digest


def test_impossible_maps_are_refused() -> None:
    with pytest.raises(GeometryError, match="Hint"):
        resolve_geometry([])
    with pytest.raises(GeometryError, match="die_width_mm is 0"):
        geometry(die_width_mm=0.0)
    with pytest.raises(GeometryError, match="pitch 0 x 1"):
        geometry(pitch_x=0)


# rings, sectors, shots


def placed(places: list[tuple[int, int]], where: WaferGeometry, **options: Any) -> dict[str, list[Any]]:
    x, y = np.array(places).reshape(-1, 2).T
    found = radial_features(x, y, geometry=where, **options)
    return {name: [None if np.isnan(v) else v for v in values] for name, values in found.items()}


def test_rings_of_equal_width_and_of_equal_area() -> None:
    where = geometry(die_width_mm=1.0, die_height_mm=1.0, wafer_diameter_mm=20.0)
    found = placed([(0, 0), (1, 0), (2, 0), (5, 0), (9, 0), (10, 0), (12, 0)], where, rings=5)
    assert found["ring"] == [0, 0, 1, 2, 4, 4, 4]
    assert found["ring_equal_area"] == [0, 0, 0, 1, 4, 4, 4]


def test_sectors_count_from_the_notch_counterclockwise() -> None:
    places = [(0, -1), (1, 0), (0, 1), (-1, 0)]
    bare = placed(places, geometry(), sectors=4)
    assert bare["sector"] == [3, 0, 1, 2]  # from the x axis
    assert bare["notch_angle_rad"] == [None] * 4
    down = placed(places, geometry(notch="D"), sectors=4)
    assert down["sector"] == [0, 1, 2, 3]
    assert down["notch_angle_rad"] == pytest.approx([0, np.pi / 2, np.pi, 3 * np.pi / 2])
    for notch, first in (("R", 1), ("U", 2), ("L", 3)):
        assert placed(places, geometry(notch=notch), sectors=4)["sector"][first] == 0
    assert placed(places, geometry(pos_x=None), sectors=4)["sector"] == [None] * 4


def test_zones_are_the_center_and_then_rings_by_sectors() -> None:
    where = geometry(die_width_mm=1.0, die_height_mm=1.0, wafer_diameter_mm=20.0)
    found = placed([(1, 0), (5, 1), (-5, 1), (9, 1), (1, -9)], where, rings=3, sectors=4)
    assert found["zone"] == [0, 1 + 0, 1 + 1, 1 + 4, 1 + 4 + 3]


def test_the_border_of_the_map() -> None:
    where = geometry(rows=rows_of_dies([(x, y) for x in range(4) for y in range(4)], 1))
    found = placed([(0, 0), (1, 1), (2, 2), (3, 1), (9, 9)], where)
    assert found["is_border"] == [1, 0, 0, 1, None]
    assert placed([(0, 0)], geometry())["is_border"] == [None]


def test_shots_of_two_by_three() -> None:
    where = geometry(rows=rows_of_dies([(x, y) for x in range(-2, 4) for y in range(6)], 1), reticle=(2, 3, 0, 1))
    found = placed([(0, 1), (1, 3), (-1, 0), (2, 4), (99, 1)], where)
    assert found["reticle_x"] == [0, 1, 1, 0, 1]
    assert found["reticle_y"] == [0, 2, 2, 0, 0]
    assert found["reticle_position"] == [0, 5, 5, 0, 1]
    assert found["shot_x"] == [0, 0, -1, 1, 49]
    assert found["shot_y"] == [0, 0, -1, 1, 0]
    assert found["shot"] == [4, 4, 0, 8, None]  # three rows of three shots
    stretched = geometry(pitch_x=2, reticle=(2, 1, 0, 0))
    assert placed([(0, 0), (2, 0), (4, 0)], stretched)["reticle_x"] == [0, 1, 0]


def test_notch_and_reticle_come_from_configuration_and_files() -> None:
    told = resolve_geometry(ROUND, recorded={"flat": "L"})
    assert told.notch == "L"
    assert resolve_geometry(ROUND, recorded={"flat": " "}).notch is None
    configured = {"notch": "U", "reticle": {"columns": 2, "rows": 3, "first_die": (1, -1)}}
    where = resolve_geometry(ROUND, recorded={"flat": "L"}, configured=configured)
    assert (where.notch, where.reticle) == ("U", (2, 3, 1, -1))
    assert WaferGeometry.from_json(where.to_json()) == where
    assert where.digest != told.digest
    assert "notch" not in resolve_geometry(ROUND).to_json()
    with pytest.raises(GeometryError, match="notch 'N'"):
        WaferGeometry(0, 0, notch="N")
    with pytest.raises(GeometryError, match="a shot of 0 x 3 dies"):
        WaferGeometry(0, 0, reticle=(0, 3, 0, 0))
