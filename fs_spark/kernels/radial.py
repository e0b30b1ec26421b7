"""Where a die lies on its wafer: millimeters, radius, angle, distance to the edge."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fs_spark.kernels.elementary import arctangents, hypotenuses
from fs_spark.kernels.kernel import Kernel
from fs_spark.wafer import WaferGeometry, place_codes

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

_NOTCHES: Final = {"R": 0.0, "U": np.pi / 2, "L": np.pi, "D": -np.pi / 2}
"""Their angles from the x axis."""
_SHOT: Final = ("reticle_x", "reticle_y", "reticle_position", "shot_x", "shot_y", "shot")
_MM: Final = ("x_mm", "y_mm", "radius_mm", "edge_distance_mm")


def _angle(dx: Float64, dy: Float64, x_mm: Float64, y_mm: Float64, geometry: WaferGeometry) -> Float64:
    """From the x axis, counterclockwise; NaN without directions."""
    if geometry.pos_x is None or geometry.pos_y is None:
        return np.full(dx.shape, np.nan)
    if geometry.die_width_mm is not None and geometry.die_height_mm is not None:
        return arctangents(y_mm, x_mm)
    up, right = dy * (-1 if geometry.pos_y == "D" else 1) + 0.0, dx * (-1 if geometry.pos_x == "L" else 1) + 0.0
    return arctangents(up, right)


def _radius_norm(dx: Float64, dy: Float64, radius_mm: Float64, geometry: WaferGeometry) -> Float64:
    sizes = (geometry.wafer_diameter_mm, geometry.die_width_mm, geometry.die_height_mm)
    if geometry.wafer_diameter_mm is not None and None not in sizes:
        return np.asarray(radius_mm / (geometry.wafer_diameter_mm / 2), np.float64)
    dies = geometry.dies
    if len(dies) < 2:
        return np.full(dx.shape, np.nan)
    half_x = np.abs(dies[:, 0] - geometry.center_x).max() + geometry.pitch_x / 2
    half_y = np.abs(dies[:, 1] - geometry.center_y).max() + geometry.pitch_y / 2
    return hypotenuses(dx / half_x, dy / half_y)


def _ring(share: Float64, rings: int) -> Float64:
    return np.minimum(np.floor(share * rings), rings - 1)


def _border(x: Int64, y: Int64, geometry: WaferGeometry) -> Float64:
    """1 where a neighbor is missing on the map, 0 where none is; NaN off the map."""
    on_map = np.unique(place_codes(*geometry.dies.T))

    def there(a: Int64, b: Int64) -> NDArray[np.bool_]:
        if not len(on_map):
            return np.zeros(a.shape, np.bool_)
        keys = place_codes(a, b)
        return np.asarray(on_map[np.minimum(np.searchsorted(on_map, keys), len(on_map) - 1)] == keys)

    inside = np.ones(x.shape, np.bool_)
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            inside &= there(x + a * geometry.pitch_x, y + b * geometry.pitch_y)
    return np.where(there(x, y), np.where(inside, 0.0, 1.0), np.nan)


def _shots(x: Int64, y: Int64, geometry: WaferGeometry) -> dict[str, Float64]:
    """Place in the shot, and the shot; NaN without a reticle."""
    if geometry.reticle is None:
        return {name: np.full(x.shape, np.nan) for name in _SHOT}
    columns, rows, first_x, first_y = geometry.reticle

    def split(a: Int64, b: Int64) -> tuple[Int64, Int64, Int64, Int64]:
        steps_x, steps_y = (a - first_x) // geometry.pitch_x, (b - first_y) // geometry.pitch_y
        return steps_x % columns, steps_y % rows, steps_x // columns, steps_y // rows

    in_x, in_y, shot_x, shot_y = split(x, y)
    dies = geometry.dies
    shot = np.full(x.shape, np.nan)
    if len(dies):
        _, _, map_x, map_y = split(dies[:, 0], dies[:, 1])
        numbers = {place: k for k, place in enumerate(sorted(set(zip(map_y.tolist(), map_x.tolist(), strict=True))))}
        places = zip(shot_y.tolist(), shot_x.tolist(), strict=True)
        shot = np.array([numbers.get(place, np.nan) for place in places], np.float64)
    values = (in_x, in_y, in_y * columns + in_x, shot_x, shot_y, shot)
    return {name: value.astype(np.float64) for name, value in zip(_SHOT, values, strict=True)}


def radial_features(
    x: ArrayLike,
    y: ArrayLike,
    *,
    geometry: WaferGeometry,
    rings: int = 5,
    sectors: int = 8,
    edge_exclusion_mm: float | None = None,
) -> dict[str, Float64]:
    """Place of each die on the wafer.

    Rings and sectors count from 0, from the center outwards and counterclockwise from the notch (from the x axis where
    the notch is not known); zone 0 is the innermost ring, the others are 1 + (ring - 1) * sectors + sector. A shot's
    number runs over the shots of the map by shot_y, then shot_x.

    Shapes     x, y (n,) die indices  ->  each feature (n,)
    Units      mm and rad; `radius_norm` is 1 at the wafer's edge, or at the map's half extent without sizes
    Undefined  NaN: mm features without die sizes; `edge_distance_mm` and `is_edge` also without a wafer size; angles,
               sector and zone unless both POS_X and POS_Y are known, `notch_angle_rad` also without a notch;
               `radius_norm` and rings when the map has no extent; `is_border` off the map; shots without a reticle
    Invariant to  die order
    Source     STDF V4 p.38-39; edge distance to the outermost corner of the die

    >>> g = WaferGeometry(0, 0, die_width_mm=3, die_height_mm=4, wafer_diameter_mm=20, pos_x="R", pos_y="U")
    >>> {k: v.tolist() for k, v in radial_features([1], [1], geometry=g).items() if k in ("radius_mm", "is_edge")}
    {'radius_mm': [5.0], 'is_edge': [1.0]}
    """
    die_x, die_y = np.asarray(x, np.int64), np.asarray(y, np.int64)
    x_mm, y_mm = geometry.to_millimeters(die_x, die_y)
    radius_mm = hypotenuses(x_mm, y_mm)
    wafer_radius = np.nan if geometry.wafer_diameter_mm is None else geometry.wafer_diameter_mm / 2
    width = np.nan if geometry.die_width_mm is None else geometry.die_width_mm
    height = np.nan if geometry.die_height_mm is None else geometry.die_height_mm
    edge_mm = wafer_radius - hypotenuses(np.abs(x_mm) + width / 2, np.abs(y_mm) + height / 2)
    exclusion = geometry.edge_exclusion_mm if edge_exclusion_mm is None else edge_exclusion_mm

    dx, dy = (np.asarray(v, np.float64) for v in (die_x - geometry.center_x, die_y - geometry.center_y))
    radius_norm = _radius_norm(dx, dy, radius_mm, geometry)
    angle = _angle(dx, dy, x_mm, y_mm, geometry)
    notch_angle = np.full(angle.shape, np.nan) if geometry.notch is None else _turned(angle - _NOTCHES[geometry.notch])
    ring = _ring(radius_norm, rings)
    from_start = notch_angle if geometry.notch is not None else _turned(angle)
    sector = np.minimum(np.floor(from_start / (2 * np.pi / sectors)), sectors - 1)
    return {
        "x_mm": x_mm,
        "y_mm": y_mm,
        "radius_mm": radius_mm,
        "radius_norm": radius_norm,
        "angle_rad": angle,
        "notch_angle_rad": notch_angle,
        "edge_distance_mm": edge_mm,
        "is_edge": np.where(np.isnan(edge_mm), np.nan, edge_mm <= exclusion),
        "is_border": _border(die_x, die_y, geometry),
        "ring": ring,
        "ring_equal_area": _ring(radius_norm * radius_norm, rings),
        "sector": sector,
        "zone": np.where(ring == 0, sector * 0, 1 + (ring - 1) * sectors + sector),
        **_shots(die_x, die_y, geometry),
    }


def _turned(angle: Float64) -> Float64:
    """From (-2 pi, 2 pi) into [0, 2 pi)."""
    turned = np.where(angle < 0, angle + 2 * np.pi, angle)
    return np.where(turned >= 2 * np.pi, 0.0, turned)


KERNEL: Final = Kernel(
    revision=2,
    columns=(
        *_MM, "radius_norm", "angle_rad", "notch_angle_rad", "is_edge", "is_border", "ring", "ring_equal_area",
        "sector", "zone", *_SHOT,
    ),
)  # fmt: skip
