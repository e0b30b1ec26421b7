"""Mean and sample standard deviation over few or many values, by a route that gives the same bits in any batch."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def row_moments(values: Float64) -> tuple[NDArray[np.int64], Float64, Float64]:
    """Count, mean and sample standard deviation of each row, leaving out what is not finite.

    Shapes     values (n, m)  ->  three of (n,)
    Undefined  mean NaN without a value; std NaN under two values (ddof 1)
    Invariant to  which other rows are in the batch: columns are added one by one, two passes per row

    >>> count, mean, std = row_moments(np.array([[1.0, 3.0, np.nan], [np.nan, np.nan, 5.0]]))
    >>> count.tolist(), mean.tolist(), [round(s, 6) for s in std.tolist()]
    ([2, 1], [2.0, 5.0], [1.414214, nan])
    """
    there = np.isfinite(values)
    count = there.sum(axis=1)
    total = np.zeros(len(values))
    for column in range(values.shape[1]):
        total = total + np.where(there[:, column], values[:, column], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, total / count, np.nan)
        squares = np.zeros(len(values))
        for column in range(values.shape[1]):
            squares = squares + np.where(there[:, column], (values[:, column] - mean) ** 2, 0.0)
        std = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
    return count, mean, std


def exact_moments(values: Iterable[float]) -> tuple[int, float, float]:
    """Count, mean and sample standard deviation from correctly rounded sums.

    Undefined  mean NaN without a value; std NaN under two values (ddof 1)
    Invariant to  order of the values, to the last bit
    Source     J. Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997 (`math.fsum`)

    >>> exact_moments([1.0, 2.0, 3.0])
    (3, 2.0, 1.0)
    """
    kept = [float(v) for v in values if math.isfinite(v)]
    if not kept:
        return 0, math.nan, math.nan
    mean = math.fsum(kept) / len(kept)
    if len(kept) < 2:
        return 1, mean, math.nan
    return len(kept), mean, math.sqrt(math.fsum((v - mean) ** 2 for v in kept) / (len(kept) - 1))
