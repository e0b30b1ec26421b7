"""A complete wafer by zones: yields, and the radial profile of a parameter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fs_spark.kernels.moments import exact_moments

Float64 = NDArray[np.float64]


def zone_yields(outcome: NDArray[np.int8], zone: NDArray[np.int32], zones: int) -> Float64:
    """Passed by judged dies in each zone.

    Shapes     outcome (d,): 1, 0 or -1 = not judged; zone (d,), -1 = in none  ->  (zones,)
    Undefined  NaN where none is judged
    """
    inside = (zone >= 0) & (zone < zones) & (outcome >= 0)
    judged = np.bincount(zone[inside], minlength=zones)
    passed = np.bincount(zone[inside & (outcome == 1)], minlength=zones)
    return np.where(judged > 0, passed / np.maximum(judged, 1), np.nan)


def radial_profile(values: Float64, ring: NDArray[np.int32], rings: int) -> Float64:
    """Mean of a parameter in each ring, from correctly rounded sums.

    Shapes     values (d,), NaN = none; ring (d,), -1 = in none  ->  (rings,)
    Undefined  NaN without a value in the ring
    Invariant to  die order
    """
    return np.array([exact_moments(values[ring == k].tolist())[1] for k in range(rings)], np.float64)
