"""A complete wafer: yields by zones, the radial profile of a parameter, and its part average test (PAT) limits."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.kernels.kernel import Kernel
from fs_spark.kernels.moments import exact_moments
from fs_spark.kernels.own import IQR_OF_SIGMA

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


def _quantile(ordered: list[float], share: float) -> float:
    """Linear between the closest ranks (type 7 of Hyndman and Fan, 1996)."""
    at = (len(ordered) - 1) * share
    k = int(at)
    return ordered[k] if at == k else ordered[k] + (at - k) * (ordered[k + 1] - ordered[k])


def pat_limits(values: Float64, *, sigmas: float, robust: bool) -> tuple[float, float]:
    """The limits of a part average test: mean and standard deviation, or median and interquartile range by 1.35.

    Shapes     values (d,) of the parts that count, NaN = none
    Undefined  NaN, both, where the parts have no spread: under two values, all equal, or an interquartile range of 0
    Invariant to  die order
    Source     AEC-Q001

    >>> pat_limits(np.array([1.0, 2.0, 3.0]), sigmas=6.0, robust=False)
    (-4.0, 8.0)
    """
    if robust:
        ordered = sorted(values[~np.isnan(values)].tolist()) or [math.nan]
        center, sigma = _quantile(ordered, 0.5), (_quantile(ordered, 0.75) - _quantile(ordered, 0.25)) / IQR_OF_SIGMA
    else:
        _, center, sigma = exact_moments(values.tolist())
    if not sigma > 0:
        return math.nan, math.nan
    return center - sigmas * sigma, center + sigmas * sigma


PAT: Final = tuple(f"{kind}_{what}" for kind in ("pat", "robust_pat") for what in ("low", "high", "flag"))

KERNEL: Final = Kernel(revision=2, columns=(*PAT, "yield", "mean"))
