"""Sums of doubles without any rounding, from which a term can be taken out again.

An accumulator is a number of 70 digits of 32 bits over the whole range of doubles, so that a sum is a function of the
set of its terms alone: not of their order, nor of terms that came and went.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit

LIMBS: Final = 70
_LOW: Final = 70
_HIGH: Final = 71
_BIAS: Final = 1152
_MASK: Final = 0xFFFFFFFF
_SPLIT: Final = 134217729.0  # 2^27 + 1


def accumulators(*shape: int) -> NDArray[np.int64]:
    """Zero sums, (*shape, 72): the digits, and the lowest and highest digit in use."""
    out = np.zeros((*shape, LIMBS + 2), np.int64)
    out[..., _LOW] = LIMBS
    out[..., _HIGH] = -1
    return out


@njit(cache=True)
def add(acc: Any, x: Any, sign: Any) -> None:
    """Adds `sign` (1 or -1) times a finite x. At most 2^30 terms.

    Source     R. Neal, Fast Exact Summation Using Small and Large Superaccumulators, 2015
    """
    if x == 0.0:
        return
    mantissa, exponent = math.frexp(x)
    whole = np.int64(mantissa * 9007199254740992.0)
    if whole < 0:
        whole = -whole
        sign = -sign
    position = exponent - 53 + _BIAS
    limb = position >> 5
    shift = position & 31
    low = (whole & _MASK) << shift
    high = (whole >> 32) << shift
    acc[limb] += sign * (low & _MASK)
    acc[limb + 1] += sign * ((low >> 32) + (high & _MASK))
    acc[limb + 2] += sign * (high >> 32)
    acc[_LOW] = min(acc[_LOW], limb)
    acc[_HIGH] = max(acc[_HIGH], limb + 2)


@njit(cache=True)
def two_product(x: Any, y: Any) -> Any:
    """x * y as a rounded product and its error, for |x|, |y| below 1e150. Source: Dekker 1971."""
    product = x * y
    t = _SPLIT * x
    x_high = t - (t - x)
    x_low = x - x_high
    t = _SPLIT * y
    y_high = t - (t - y)
    y_low = y - y_high
    return product, ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low


@njit(cache=True)
def add_product(acc: Any, x: Any, y: Any, sign: Any) -> None:
    """Adds `sign` times x * y without rounding."""
    product, error = two_product(x, y)
    add(acc, product, sign)
    add(acc, error, sign)


@njit(cache=True)
def two_sum(x: Any, y: Any) -> Any:
    """x + y as a rounded sum and its error. Source: Knuth 1969."""
    total = x + y
    back = total - x
    return total, (x - (total - back)) + (y - back)


@njit(cache=True)
def read(acc: Any) -> Any:
    """The sum as high + low, to about 100 bits: a function of the exact sum alone."""
    first, last = acc[_LOW], acc[_HIGH]
    if last < 0:
        return 0.0, 0.0
    carry = np.int64(0)
    for k in range(first, last + 1):
        carry = (acc[k] + carry) >> 32
    negative = carry < 0
    digits = np.empty(LIMBS + 1, np.int64)
    carry = np.int64(0)
    for k in range(first, last + 1):
        value = (-acc[k] if negative else acc[k]) + carry
        digits[k] = value & _MASK
        carry = value >> 32
    digits[last + 1] = carry
    top = last + 1
    while top >= first and digits[top] == 0:
        top -= 1
    high = low = 0.0
    for k in range(top, max(first, top - 4) - 1, -1):
        term = math.ldexp(float(digits[k]), 32 * k - _BIAS)
        high, error = two_sum(high, term)
        low += error
    high, low = two_sum(high, low)
    return (-high, -low) if negative else (high, low)


@njit(cache=True)
def dd_times(x: Any, x_low: Any, y: Any, y_low: Any) -> Any:
    """(x + x_low) * (y + y_low), to about 100 bits."""
    product, error = two_product(x, y)
    return two_sum(product, error + (x * y_low + x_low * y))


@njit(cache=True)
def dd_minus(x: Any, x_low: Any, y: Any, y_low: Any) -> Any:
    """(x + x_low) - (y + y_low), to about 100 bits."""
    high, error = two_sum(x, -y)
    low, rest = two_sum(x_low, -y_low)
    high, error = two_sum(high, error + low)
    return two_sum(high, error + rest)


@njit(cache=True)
def covariation(n: Any, xy: Any, xy_low: Any, x: Any, x_low: Any, y: Any, y_low: Any) -> Any:
    """n * sum(xy) - sum(x) * sum(y), as a double: n^2 times the covariance, without cancellation."""
    a, a_low = dd_times(xy, xy_low, n, 0.0)
    b, b_low = dd_times(x, x_low, y, y_low)
    high, low = dd_minus(a, a_low, b, b_low)
    return high + low
