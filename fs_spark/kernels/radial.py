"""Where a die lies on its wafer: millimeters, radius, angle, distance to the edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fs_spark.wafer import WaferGeometry


def radial_features(x: ArrayLike, y: ArrayLike, *, geometry: WaferGeometry) -> dict[str, NDArray[np.float64]]:
    """Place of each die on the wafer.

    Shapes     x, y (n,) die indices  ->  each feature (n,)
    Units      mm and rad; `radius_norm` is 1 at the wafer's edge, or at the map's half extent without sizes
    Undefined  NaN: mm features without die sizes; `edge_distance_mm` and `is_edge` also without a wafer size;
               `angle_rad` unless both POS_X and POS_Y are known; `radius_norm` when the map has no extent
    Invariant to  die order
    Source     STDF V4 p.38-39; edge distance to the outermost corner of the die

    >>> g = WaferGeometry(0, 0, die_width_mm=3, die_height_mm=4, wafer_diameter_mm=20, pos_x="R", pos_y="U")
    >>> {k: v.tolist() for k, v in radial_features([1], [1], geometry=g).items() if k in ("radius_mm", "is_edge")}
    {'radius_mm': [5.0], 'is_edge': [1.0]}
    """
    x_mm, y_mm = geometry.to_millimeters(x, y)
    radius_mm = np.hypot(x_mm, y_mm)
    wafer_radius = np.nan if geometry.wafer_diameter_mm is None else geometry.wafer_diameter_mm / 2
    width = np.nan if geometry.die_width_mm is None else geometry.die_width_mm
    height = np.nan if geometry.die_height_mm is None else geometry.die_height_mm
    edge_mm = wafer_radius - np.hypot(np.abs(x_mm) + width / 2, np.abs(y_mm) + height / 2)

    dx = np.asarray(x, np.float64) - geometry.center_x
    dy = np.asarray(y, np.float64) - geometry.center_y
    if np.isfinite(wafer_radius) and np.isfinite(width) and np.isfinite(height):
        radius_norm = radius_mm / wafer_radius
    else:
        radius_norm = np.full(dx.shape, np.nan)
        dies = geometry.dies
        if len(dies):
            half_x = np.abs(dies[:, 0] - geometry.center_x).max() + geometry.pitch_x / 2
            half_y = np.abs(dies[:, 1] - geometry.center_y).max() + geometry.pitch_y / 2
            radius_norm = np.hypot(dx / half_x, dy / half_y) if len(dies) > 1 else radius_norm
    directed = geometry.pos_x is not None and geometry.pos_y is not None
    right, up = dx * (-1 if geometry.pos_x == "L" else 1) + 0.0, dy * (-1 if geometry.pos_y == "D" else 1) + 0.0
    if geometry.die_width_mm is not None and geometry.die_height_mm is not None:
        right, up = x_mm, y_mm
    return {
        "x_mm": x_mm,
        "y_mm": y_mm,
        "radius_mm": radius_mm,
        "radius_norm": radius_norm,
        "angle_rad": np.arctan2(up, right) if directed else np.full(dx.shape, np.nan),
        "edge_distance_mm": edge_mm,
        "is_edge": np.where(np.isnan(edge_mm), np.nan, edge_mm <= geometry.edge_exclusion_mm),
    }
