"""Mean and sample standard deviation over few or many values, by a route that gives the same bits in any batch."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fs_spark.kernels.exact import LARGEST

Float64 = NDArray[np.float64]


def row_moments(values: Float64) -> tuple[NDArray[np.int64], Float64, Float64]:
    """Count, mean and sample standard deviation of each row, leaving out what is not below 1e150 in size.

    Shapes     values (n, m)  ->  three of (n,)
    Undefined  mean NaN without a value; std NaN under two values (ddof 1), exactly 0 where all are equal
    Invariant to  which other rows are in the batch: columns are added one by one, two passes per row

    >>> count, mean, std = row_moments(np.array([[1.0, 3.0, np.nan], [np.nan, np.nan, 5.0]]))
    >>> count.tolist(), mean.tolist(), [round(s, 6) for s in std.tolist()]
    ([2, 1], [2.0, 5.0], [1.414214, nan])
    """
    there = np.abs(values) < LARGEST
    count = there.sum(axis=1)
    # from each row's first value, so that equal ones have exactly no spread
    first = np.zeros(len(values))
    if values.shape[1]:
        first = np.where(count > 0, values[np.arange(len(values)), there.argmax(axis=1)], 0.0)
    above = np.where(there, values - first[:, None], 0.0)
    total = np.zeros(len(values))
    for column in range(values.shape[1]):
        total = total + above[:, column]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        squares = np.zeros(len(values))
        for column in range(values.shape[1]):
            rest = np.where(there[:, column], above[:, column] - mean, 0.0)
            squares = squares + rest * rest
        std = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
        mean = np.where(count > 0, first + mean, np.nan)
    return count, mean, std


def exact_moments(values: Iterable[float] | Float64) -> tuple[int, float, float]:
    """Count, mean and sample standard deviation from correctly rounded sums, of values below 1e150 in size.

    Undefined  mean NaN without a value; std NaN under two values (ddof 1), exactly 0 where all are equal
    Invariant to  order of the values, to the last bit
    Source     J. Shewchuk, Adaptive Precision Floating-Point Arithmetic, 1997 (`math.fsum`)

    >>> exact_moments([1.0, 2.0, 3.0])
    (3, 2.0, 1.0)
    """
    given = np.asarray(values if isinstance(values, np.ndarray) else list(values), np.float64)
    kept = given[np.abs(given) < LARGEST]
    if not len(kept):
        return 0, math.nan, math.nan
    if kept.min() == kept.max():
        return len(kept), float(kept[0]) + 0.0, 0.0 if len(kept) > 1 else math.nan
    mean = math.fsum(kept.tolist()) / len(kept)
    rest = kept - mean
    return len(kept), mean, math.sqrt(math.fsum((rest * rest).tolist()) / (len(kept) - 1))
