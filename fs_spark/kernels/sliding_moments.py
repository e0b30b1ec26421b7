"""Sum, standard deviation and slope of the rows of a window, as rows come and go.

The kernels read a window's log (`fs_spark.kernels.sliding_walk.Log`): what came and went before each of its states.
Every result is a function of the rows that are there, to the bit. Standard deviation and slope are made of exact sums
by arithmetic of two doubles, to about 97 bits, and rounded once; where these leave a doubt (a middle between two
doubles, no spread, rows that are all alike beside what the group has else) they say so, and
`fs_spark.kernels.sliding_doubts` settles it.

Shapes     values (v,), NaN = null, below 1e150 in size; event_us (v,); ops (p,), begin (s + 1,), instant (s,): the
           log; edges (g + 1,) over versions; results (s,)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fs_spark.compiled import njit
from fs_spark.kernels.exact import dd_times, two_product, two_sum
from fs_spark.kernels.sliding_digits import BIAS, SQUARES, SUM, parts, power, put, put_product, read, scaled

DOUBTFUL: Final = -np.inf
"""In place of a standard deviation or a slope that is not certain."""
_SURE: Final = 2.0**-97
_FAR: Final = 900
_NORMAL: Final = 1e-290
_DAY_US: Final = 86_400_000_000.0
_NEAR: Final = 2.0**-8
_MASK: Final = 0xFFFFFFFF
_DIGIT: Final = 2.0**32
_X, _D, _DD, _TD = range(4)
_ROWS: Final = 4
_AT_D, _AT_DD, _AT_TD = SQUARES, 2 * SQUARES, 3 * SQUARES
"""Sums of x, d, d^2 and t d, one behind the other."""


@njit(cache=True)
def _bounds(values: Any, first: Any, last: Any, base: Any) -> Any:
    """The least and greatest position of values less `base`, that are not null and not 0; 0, 0 without one."""
    low, high = np.int64(1 << 20), np.int64(0)
    for v in range(first, last):
        if values[v] == values[v] and values[v] != base:
            _, _, position = parts(values[v] - base)
            if position < low:
                low = position
            if position > high:
                high = position
    return (low if low < high else high), high


@njit(cache=True)
def sums(values: Any, ops: Any, begin: Any, instant: Any, edges: Any, count: Any, out: Any) -> None:
    """Number and correctly rounded sum of the values; 0.0 of none.

    Shapes     count, out (s,)
    """
    total, digits = np.zeros(SUM, np.int64), np.zeros(SUM + 1, np.int64)
    first = last = group = n = 0
    for s in range(len(instant)):
        if instant[s] < 0:
            low, high = _bounds(values, edges[group], edges[group + 1], 0.0)
            first, last, n = low >> 5, (high >> 5) + 2, 0
            for k in range(SUM):
                total[k] = 0
            group += 1
        for k in range(begin[s], begin[s + 1]):
            v, sign = ops[k], 1
            if v < 0:
                v, sign = ~v, -1
            if values[v] == values[v]:
                side, whole, position = parts(values[v])
                put(total, whole, position, side * sign)
                n += sign
        count[s] = n
        high_part, _, exponent = read(total, first, last, digits)
        out[s] = scaled(high_part, exponent - BIAS)


@njit(cache=True, error_model="numpy")
def moments(
    values: Any, event_us: Any, ops: Any, begin: Any, instant: Any, edges: Any, spread: Any, slope: Any,
    count: Any, out: Any,
) -> None:  # fmt: skip
    """Number and correctly rounded sum of the values, with `spread` their standard deviation, with `slope` their slope
    over time in days.

    The deviation is sqrt(S / (n - 1)), where S is the exact sum of (x - m)^2, rounded once as if without a limit of
    the exponent, and m the double sum / n: S = (n sum(d^2) - sum(d)^2 + (n m - sum(x))^2) / n, where d = x - c counts
    from the first value of the group, where that is near and no such difference is rounded, else from 0. The slope is
    (n sum(t d) - sum(t) sum(d)) / (n sum(t^2) - sum(t)^2), rounded once, times counted from any row of the window.

    Shapes     count (s,); out (3, s), NaN everywhere: sum, deviation and slope
    Undefined  deviation NaN under two values, slope under two distinct times; `DOUBTFUL` where not certain
    """
    total, digits = np.zeros(_ROWS * SQUARES, np.int64), np.zeros(_ROWS * SQUARES + 1, np.int64)
    first, last = np.zeros(_ROWS, np.int64), np.zeros(_ROWS, np.int64)
    big, small, up = np.zeros(_ROWS), np.zeros(_ROWS), np.zeros(_ROWS, np.int64)
    reads = 4 if slope else 3 if spread else 1
    group = n = 0
    base, shifted = 0.0, False
    origin: Any = 0
    t_low: Any = 0
    t_high: Any = 0
    tt_0: Any = 0
    tt_1: Any = 0
    tt_2: Any = 0
    tt_3: Any = 0
    for s in range(len(instant)):
        if instant[s] < 0:
            for k in range(_ROWS * SQUARES):
                total[k] = 0
            n = t_low = t_high = tt_0 = tt_1 = tt_2 = tt_3 = 0
            base, shifted, farthest = np.nan, True, 0.0
            for v in range(edges[group], edges[group + 1]):
                if values[v] == values[v]:
                    if base != base:
                        base = values[v]
                    d, error = two_sum(values[v], -base)
                    shifted = shifted and error == 0.0
                    if abs(d) > farthest:
                        farthest = abs(d)
            shifted = shifted and farthest < abs(base) * _NEAR
            if not shifted:
                base = 0.0
            low, high = _bounds(values, edges[group], edges[group + 1], 0.0)
            first[_X], last[_X] = low >> 5, (high >> 5) + 2
            low, high = _bounds(values, edges[group], edges[group + 1], base)
            first[_D], last[_D] = _AT_D + (low >> 5), _AT_D + (high >> 5) + 2
            first[_DD], last[_DD] = _AT_DD + (low >> 4), _AT_DD + (high >> 4) + 4
            first[_TD], last[_TD] = _AT_TD + (low >> 5), _AT_TD + (high >> 5) + 4
            group += 1
        for k in range(begin[s], begin[s + 1]):
            v, sign = ops[k], 1
            if v < 0:
                v, sign = ~v, -1
            x = values[v]
            if x != x:
                continue
            side, whole, position = parts(x)
            put(total, whole, position, side * sign)
            if shifted:
                side, whole, position = parts(x - base)
                put(total, whole, position + 32 * _AT_D, side * sign)
            if spread:
                put_product(total, whole, whole, 2 * position + 32 * _AT_DD, sign)
            if slope:
                if n == 0:
                    origin = event_us[v]
                t = event_us[v] - origin
                side *= sign
                aside = sign
                if t < 0:
                    t, side, aside = -t, -side, -sign
                put_product(total, whole, t, position + 32 * _AT_TD, side)
                low, high = t & _MASK, t >> 32
                t_low += aside * low
                t_high += aside * high
                square, crossed = low * low, low * high * 2  # the first may wrap: its bits are right
                tt_0 += sign * (square & _MASK)
                tt_1 += sign * (((square >> 32) & _MASK) + (crossed & _MASK))
                tt_2 += sign * ((crossed >> 32) + (high * high & _MASK))
                tt_3 += sign * (high * high >> 32)
            n += sign
        count[s] = n
        for row in range(reads if n > 1 else 1):
            if row == _D and not shifted:
                big[_D], small[_D], up[_D] = big[_X], small[_X], up[_X]
            elif row != _DD or spread:
                big[row], small[row], up[row] = read(total, first[row], last[row], digits)
                if big[row] != 0.0:
                    up[row] -= 32 * row * SQUARES
        out[0, s] = scaled(big[_X], up[_X] - BIAS)
        if n < 2:
            continue
        fn = np.float64(n)
        d, d_low = big[_D], small[_D]
        if spread:
            q, q_low, above = big[_DD], small[_DD], up[_DD]
            if above & 1:
                q, q_low, above = 2.0 * q, 2.0 * q_low, above - 1
            if q == 0.0:
                out[1, s] = 0.0
            else:
                high_part, low_part = dd_times(q, q_low, fn, 0.0)
                doubt = high_part * _SURE
                apart = 2 * up[_D] - above
                if d != 0.0 and apart > -_FAR:
                    beside = power(apart)
                    b, b_low = dd_times(d, d_low, d, d_low)
                    high_part, error = two_sum(high_part, -b * beside)
                    low_part = (low_part - b_low * beside) + error
                apart = 2 * up[_X] - above
                if big[_X] != 0.0 and apart > -_FAR:
                    m = big[_X] / fn
                    product, error = two_product(m, fn)
                    left, left_low = two_sum(error, -small[_X])
                    left, error = two_sum(product - big[_X], left)
                    left_low += error
                    beside = power(apart if apart < _FAR else _FAR)
                    rest, rest_low = dd_times(left, left_low, left, left_low)
                    if up[_X] - 44 <= 32 * first[_X]:  # the sum has no more bits than were read
                        doubt += rest * beside * _SURE
                    else:
                        doubt += (abs(left) * 2.0**-43 + 2.0**-86) * beside
                    high_part, error = two_sum(high_part, rest * beside)
                    low_part += rest_low * beside + error
                found = high_part / fn
                product, error = two_product(found, fn)
                low_part = (((high_part - product) - error) + low_part) / fn
                doubt /= fn
                square, other = found + (low_part + doubt), found + (low_part - doubt)
                if square != other or not other > 0.0 or (big[_X] != 0.0 and abs(out[0, s] / fn) < _NORMAL):
                    out[1, s] = DOUBTFUL
                else:
                    out[1, s] = scaled(np.sqrt(square / (fn - 1.0)), (above >> 1) - BIAS)
        if slope:
            tt_1 += tt_0 >> 32
            tt_0 &= _MASK
            tt_2 += tt_1 >> 32
            tt_1 &= _MASK
            tt_3 += tt_2 >> 32
            tt_2 &= _MASK
            t_high += t_low >> 32
            t_low &= _MASK
            t, t_low_part = two_sum(np.float64(t_high) * _DIGIT, np.float64(t_low))
            high_part, low_part = two_sum(np.float64(tt_3) * _DIGIT, np.float64(tt_2))
            high_part, low_part = high_part * _DIGIT * _DIGIT, low_part * _DIGIT * _DIGIT
            b, b_low = two_sum(np.float64(tt_1) * _DIGIT, np.float64(tt_0))
            high_part, error = two_sum(high_part, b)
            high_part, low_part = dd_times(high_part, low_part + (error + b_low), fn, 0.0)
            doubt = high_part
            if high_part == 0.0:
                continue  # one time
            b, b_low = dd_times(t, t_low_part, t, t_low_part)
            under, error = two_sum(high_part, -b)
            under_low = (low_part - b_low) + error
            doubt = doubt / under * _SURE
            z, z_low, above = big[_TD], small[_TD], up[_TD]
            apart = up[_D] - above if d != 0.0 else 0
            out[2, s] = DOUBTFUL
            if not 0.0 <= doubt < 1.0:
                continue
            if z == 0.0 and d == 0.0:
                out[2, s] = 0.0
            elif z != 0.0 and abs(apart) < _FAR:
                beside = power(apart)
                high_part, low_part = dd_times(z, z_low, fn, 0.0)
                b, b_low = dd_times(d * beside, d_low * beside, t, t_low_part)
                over, error = two_sum(high_part, -b)
                over_low = (low_part - b_low) + error
                doubt += (abs(high_part) + abs(b)) / abs(over) * _SURE
                over, over_low = dd_times(over, over_low, _DAY_US, 0.0)
                found = over / under
                product, error = two_product(found, under)
                low_part = ((((over - product) - error) + over_low) - found * under_low) / under
                doubt *= abs(found)
                square, other = found + (low_part + doubt), found + (low_part - doubt)
                if square == other:
                    out[2, s] = scaled(square, above - BIAS)
