"""The exponentially weighted mean of the rows of a window, as rows come and go."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.sliding_digits import BIAS, SUM, parts, put, read, scaled

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

_LN2: Final = 0.6931471805599453
_STEPS: Final = 8
_BITS: Final = 160
_GONE: Final = 1076
"""So many half-lives ago a weight is 0."""


def _roots() -> Float64:
    """2^(k / 256) as two doubles, from square roots of whole numbers."""
    one = 1 << _BITS
    root = [2 << _BITS]
    for _ in range(_STEPS):
        root.append(math.isqrt(root[-1] << _BITS))
    out = np.empty((1 << _STEPS, 2))
    for k in range(1 << _STEPS):
        product = one
        for step in range(1, _STEPS + 1):
            if k >> (_STEPS - step) & 1:
                product = product * root[step] >> _BITS
        high = float(Fraction(product, one))
        out[k] = high, float(Fraction(product, one) - Fraction(high))
    return out


_ROOTS: Final = _roots()


@njit(cache=True, error_model="numpy")
def powers(event_us: Any, half_life_us: Any, roots: Any) -> Any:
    """2^(t / half-life) as m * 2^k, m from 1 to 2 with an error of at most 0.52 units in the last place.

    Shapes     event_us (v,), roots (256, 2)  ->  m (v,), k (v,)
    """
    m, k = np.empty(len(event_us)), np.empty(len(event_us), np.int64)
    for v in range(len(event_us)):
        whole = event_us[v] // half_life_us
        share = np.float64(event_us[v] - whole * half_life_us) / np.float64(half_life_us)
        step = np.int64(share * 256.0)
        if step > 255:
            step = np.int64(255)
        y = (share - step / 256.0) * _LN2
        rest = y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4 * (1 + y / 5 * (1 + y / 6)))))
        m[v] = roots[step, 0] + (roots[step, 1] + roots[step, 0] * rest)
        k[v] = whole
    return m, k


@njit(cache=True, error_model="numpy")
def weighted_means(
    values: Any, m: Any, k: Any, edges: Any, ops: Any, begin: Any, instant: Any, here: Any, out: Any
) -> None:
    """The mean of the values with the weights of `powers`, counted from those of the newest row that has a value.

    A weight is the double m * 2^(k - newest k), so that what is 1,076 half-lives older than the newest counts
    nothing; the result is the correctly rounded sum of the doubles weight * value by that of the weights.

    Shapes     values (v,), NaN = null; a window's log; here (v,) bool: room; out (s,), NaN everywhere
    Undefined  NaN without a value
    """
    products, weights = np.zeros(SUM, np.int64), np.zeros(SUM, np.int64)
    digits = np.zeros(SUM + 1, np.int64)
    group, n, newest = 0, 0, -1
    for s in range(len(instant)):
        if instant[s] < 0:
            n, newest = 0, edges[group] - 1
            for v in range(edges[group], edges[group + 1]):
                here[v] = False
            group += 1
        for p in range(begin[s], begin[s + 1]):
            v, sign = ops[p], 1
            if v < 0:
                v, sign = ~v, -1
            if values[v] == values[v]:
                here[v] = sign > 0
                n += sign
                if sign > 0 and v > newest:
                    newest = v
        if n == 0:
            newest = edges[group - 1] - 1
            continue
        while not here[newest]:
            newest -= 1
        left, v = n, newest
        low, high = SUM, 0
        while left > 0:
            if here[v]:
                if k[newest] - k[v] > _GONE:
                    break
                weight = scaled(m[v], k[v] - k[newest])
                _, whole, position = parts(weight)
                put(weights, whole, position, 1)
                low, high = min(low, position >> 5), max(high, position >> 5)
                side, whole, position = parts(weight * values[v])
                put(products, whole, position, side)
                low, high = min(low, position >> 5), max(high, position >> 5)
                left -= 1
            v -= 1
        over, _, up = read(products, low, high + 2, digits)
        under, _, down = read(weights, low, high + 2, digits)
        out[s] = scaled(over, up - BIAS) / scaled(under, down - BIAS)
        for p in range(low, high + 3):
            products[p] = 0
            weights[p] = 0


def weighted_mean(
    values: Float64, event_us: Int64, half_life_us: int, edges: Int64, ops: Int64, begin: Int64, instant: Int64
) -> Float64:
    """`weighted_means` with weights 2^(-(t(newest) - t) / half-life)."""
    m, k = powers(event_us, half_life_us, _ROOTS)
    out = np.full(len(instant), np.nan)
    weighted_means(values, m, k, edges, ops, begin, instant, np.empty(len(values), np.bool_), out)
    return out
