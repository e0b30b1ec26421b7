"""Standard deviations and slopes that two doubles did not settle: by whole numbers of any size."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.kernels.sliding_moments import DOUBTFUL
from fs_spark.kernels.sliding_order import distinct_values, levels_of
from fs_spark.kernels.sliding_walk import Log

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

_DAY_US: Final = 86_400_000_000
_LOWEST: Final = 1074
"""Every double is a multiple of 2^-1074."""


def rounded(value: Fraction) -> tuple[float, int]:
    """A number as double * 2^exponent, an even exponent; rounded once, whatever its size.

    >>> rounded(Fraction(12))
    (3.0, 2)
    """
    if value == 0:
        return 0.0, 0
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    exponent -= exponent % 2
    return float(value / Fraction(2) ** exponent), exponent


def settle_doubts(values: Float64, event_us: Int64, edges: Int64, log: Log, std: Float64, slope: Float64) -> None:
    """Puts what is true in place of each `DOUBTFUL`.

    Shapes     values, event_us (v,); edges (g + 1,) over versions; std, slope (s,)
    """
    doubtful = (std == DOUBTFUL) | (slope == DOUBTFUL)
    if not doubtful.any():
        return
    known = values == values
    level, _, level_edges = levels_of(values, known, edges)
    alike = distinct_values(level, level_edges, log) == 1
    std[(std == DOUBTFUL) & alike] = 0.0
    flat = (slope == DOUBTFUL) & alike
    if flat.any():
        level, _, level_edges = levels_of(event_us, known, edges)
        slope[flat] = np.where(distinct_values(level, level_edges, log)[flat] > 1, 0.0, np.nan)
    doubtful = (std == DOUBTFUL) | (slope == DOUBTFUL)
    first_of = np.flatnonzero(log.instant < 0)
    group_of = np.cumsum(log.instant < 0) - 1
    for group in np.unique(group_of[doubtful]).tolist():
        last = first_of[group + 1] if group + 1 < len(first_of) else len(log.instant)
        _settle_group(values, event_us, int(edges[group]), log, range(first_of[group], last), doubtful, std, slope)


def _settle_group(
    values: Float64,
    event_us: Int64,
    version: int,
    log: Log,
    states: range,
    doubtful: NDArray[np.bool_],
    std: Float64,
    slope: Float64,
) -> None:
    """The sums of one group without rounding, values counted in 2^-1074 and times from its first version."""
    n = x = xx = t = tt = tx = 0
    origin = int(event_us[version])
    for s in states:
        for op in log.ops[log.begin[s] : log.begin[s + 1]].tolist():
            v, sign = (op, 1) if op >= 0 else (~op, -1)
            if math.isnan(values[v]):
                continue
            over, under = float(values[v]).as_integer_ratio()
            whole = over << (_LOWEST + 1 - under.bit_length())
            time = int(event_us[v]) - origin
            n += sign
            x += sign * whole
            xx += sign * whole * whole
            t += sign * time
            tt += sign * time * time
            tx += sign * time * whole
        if not doubtful[s]:
            continue
        unit = Fraction(1, 1 << _LOWEST)
        if std[s] == DOUBTFUL:
            mean = Fraction(float(rounded_sum(x)) / n)
            square, exponent = rounded(((n * xx - x * x) * unit * unit + (n * mean - x * unit) ** 2) / n)
            std[s] = math.ldexp(math.sqrt(square / (n - 1)), exponent // 2)
        if slope[s] == DOUBTFUL:
            spread = n * tt - t * t
            if spread == 0:
                slope[s] = math.nan
            else:
                value, exponent = rounded(_DAY_US * unit * (n * tx - t * x) / spread)
                slope[s] = math.ldexp(value, exponent)


def rounded_sum(whole: int) -> float:
    """A number of 2^-1074 as a double.

    >>> rounded_sum(1 << 1074)
    1.0
    """
    return whole / (1 << _LOWEST)
