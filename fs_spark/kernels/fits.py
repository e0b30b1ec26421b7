"""What is fitted of a column's values, and what a value is beside it. Plain numpy: a fit is made once.

Values are sorted first, so that a fit does not depend on the order of rows: sums are `math.fsum` of them, quantiles of
type 7 (linear), a std is two-pass about that mean with n - 1, null below two values, and exactly 0 where all are equal.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
IQR_OF_SIGMA = 1.35
"""How many standard deviations of a normal distribution its IQR is (AEC-Q001 Rev-D, section 3, for robust limits)."""


def known(values: Any) -> Float64:
    """The finite values, sorted; -0.0 is 0.0."""
    plain = np.asarray(values, np.float64)
    return np.sort(plain[np.isfinite(plain)]) + 0.0


def mean_std(values: Float64) -> list[float | None]:
    """[mean, std] of sorted values, n >= 1."""
    count = len(values)
    mean = math.fsum(values.tolist()) / count
    if values[0] == values[-1]:
        return [float(values[0]), 0.0 if count > 1 else None]
    std = math.sqrt(math.fsum(((values - mean) ** 2).tolist()) / (count - 1))
    return [mean, std]


def quantile(values: Float64, at: float) -> float:
    """Type 7 of sorted values, to the bit as numpy's quantile interpolates it."""
    place = at * (len(values) - 1)
    low = math.floor(place)
    below, above = float(values[low]), float(values[min(low + 1, len(values) - 1)])
    part, step = place - low, above - below
    return below + step * part if part < 0.5 else above - step * (1 - part)


def median_iqr(values: Float64) -> list[float | None]:
    """[median, IQR] of sorted values, n >= 1; no IQR of a single one."""
    if len(values) == 1:
        return [float(values[0]), None]
    return [quantile(values, 0.5), quantile(values, 0.75) - quantile(values, 0.25)]


def edges(values: Float64, bins: int) -> list[float]:
    """The bins' inner edges: quantiles k / bins of sorted values, k = 1 ... bins - 1."""
    return [quantile(values, k / bins) for k in range(1, bins)]


def words(values: Iterable[Any], most: int) -> list[Any]:
    """The most frequent values, of equal counts in their own order."""
    ranked = sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0]))
    return [word for word, _ in ranked[:most]]
