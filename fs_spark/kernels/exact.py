"""Sums of doubles without any rounding, from which a term can be taken out again, and exact differences of products.

An accumulator is a number of 106 digits of 32 bits over the range of all doubles and of their products, so that a sum
is a function of the set of its terms alone: not of their order, nor of terms that came and went. What is made of such
sums by products and differences, as a variance is, is computed without rounding too: it is 0 where it is exactly 0.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit

LARGEST: Final = 1e150
"""A value of this size and more has no square in a double: it counts as missing, everywhere."""
LIMBS: Final = 106
_LOW: Final = 0
_HIGH: Final = 1
_FIRST: Final = 2
_ONE: Final = 70 + _FIRST
"""The digit of 2^0: the least product of doubles is 2^-2148."""
WIDTH: Final = LIMBS + _FIRST
PRODUCT_WIDTH: Final = 2 * WIDTH
_BIAS: Final = 32 * _ONE
_MASK: Final = 0xFFFFFFFF
_SPLIT: Final = 134217729.0  # 2^27 + 1
_BASE: Final = 2.0**32
_DIGIT: Final = 2.0**-32
_TINY: Final = 2.0**-960
"""A smaller product may have bits below the least double."""
_SURE: Final = 2.0**-42
_LEAST: Final = 1e-200
_MOST: Final = 1e280
_UP: Final = 544
_DOWN: Final = 2 * _UP // 32


def accumulators(*shape: int) -> NDArray[np.int64]:
    """Zero sums, (*shape, 108): the lowest and highest digit in use, and the digits."""
    return _zeros(*shape, WIDTH)


def product_sums(*shape: int) -> NDArray[np.int64]:
    """Zero sums of products of accumulators, (*shape, 216)."""
    return _zeros(*shape, PRODUCT_WIDTH)


def _zeros(*shape: int) -> NDArray[np.int64]:
    out = np.zeros(shape, np.int64)
    out[..., _LOW] = shape[-1]
    out[..., _HIGH] = -1
    return out


@njit(inner=True)
def _add(acc: Any, x: Any, sign: Any, down: Any) -> None:
    if x == 0.0:
        return
    mantissa, exponent = math.frexp(x)
    whole = np.int64(mantissa * 9007199254740992.0)
    if whole < 0:
        whole = -whole
        sign = -sign
    position = exponent - 53 + _BIAS
    limb = (position >> 5) - down
    shift = position & 31
    low = (whole & _MASK) << shift
    high = (whole >> 32) << shift
    acc[limb] += sign * (low & _MASK)
    acc[limb + 1] += sign * ((low >> 32) + (high & _MASK))
    acc[limb + 2] += sign * (high >> 32)
    if limb < acc[_LOW]:
        acc[_LOW] = limb
    if limb + 2 > acc[_HIGH]:
        acc[_HIGH] = limb + 2


@njit(inner=True)
def add(acc: Any, x: Any, sign: Any) -> None:
    """Adds `sign` (1 or -1) times a finite x. At most 2^30 terms.

    Source     R. Neal, Fast Exact Summation Using Small and Large Superaccumulators, 2015
    """
    _add(acc, x, sign, np.int64(0))  # not a literal, for which it would be compiled once more


def product_and_error(x: Any, y: Any) -> Any:
    """x * y as a rounded product and its error, for |x|, |y| below 1e290 and a product from 1e-270 to 1e300; of
    numbers or arrays.

    Source     Dekker 1971
    """
    product = x * y
    t = _SPLIT * x
    x_high = t - (t - x)
    x_low = x - x_high
    t = _SPLIT * y
    y_high = t - (t - y)
    y_low = y - y_high
    return product, ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low


def sum_and_error(x: Any, y: Any) -> Any:
    """x + y as a rounded sum and its error, of numbers or arrays. Source: Knuth 1969."""
    total = x + y
    back = total - x
    return total, (x - (total - back)) + (y - back)


two_product, two_sum = njit(inner=True)(product_and_error), njit(inner=True)(sum_and_error)


@njit(inner=True)
def add_product(acc: Any, x: Any, y: Any, sign: Any) -> None:
    """Adds `sign` times x * y without rounding, for |x|, |y| below 1e150."""
    product, error = two_product(x, y)
    down = 0
    if abs(product) < _TINY and x != 0.0 and y != 0.0:
        product, error = two_product(math.ldexp(x, _UP), math.ldexp(y, _UP))
        down = _DOWN
    _add(acc, product, sign, down)
    _add(acc, error, sign, down)


@njit(inner=True)
def digits_of(acc: Any, digits: Any) -> Any:
    """The digits of a sum's size, from digits[first] to digits[last]; its sign. Zero: sign 0, first > last."""
    first, last = acc[_LOW], acc[_HIGH]
    sign, carry = 1, np.int64(0)
    for k in range(first, last + 1):
        value = acc[k] + carry
        digits[k] = value & _MASK
        carry = value >> 32
    if carry < 0:
        sign, carry = -1, np.int64(0)
        for k in range(first, last + 1):
            value = carry - acc[k]
            digits[k] = value & _MASK
            carry = value >> 32
    if carry > 0:
        last += 1
        digits[last] = carry
    while last >= first and digits[last] == 0:
        last -= 1
    while first <= last and digits[first] == 0:
        first += 1
    return (sign if first <= last else 0), first, last


@njit(inner=True)
def whole_digits(number: Any, digits: Any) -> Any:
    """The same of an integer below 2^62."""
    size = abs(number)
    digits[_ONE] = size & _MASK
    digits[_ONE + 1] = size >> 32
    if size == 0:
        return 0, 1, 0
    return (-1 if number < 0 else 1), _ONE, _ONE + (digits[_ONE + 1] > 0)


@njit(inner=True)
def times(digits: Any, first: Any, last: Any, number: Any) -> Any:
    """Multiplies digits by an integer from 0 to 2^31, in place; the new last."""
    carry = np.int64(0)
    for k in range(first, last + 1):
        value = digits[k] * number + carry
        digits[k] = value & _MASK
        carry = value >> 32
    if carry > 0:
        last += 1
        digits[last] = carry
    return last


@njit(inner=True)
def add_digits(total: Any, sign: Any, a: Any, a_first: Any, a_last: Any, b: Any, b_first: Any, b_last: Any) -> None:
    """Adds `sign` (1, 0 or -1) times the product of two numbers to a sum of products."""
    if sign == 0:
        return
    for i in range(a_first, a_last + 1):
        digit, carry = np.uint64(a[i]), np.uint64(0)
        for j in range(b_first, b_last + 1):
            product = digit * np.uint64(b[j])
            total[i + j] += sign * np.int64((product & np.uint64(_MASK)) + carry)
            carry = product >> np.uint64(32)
        total[i + b_last + 1] += sign * np.int64(carry)
    if a_first + b_first < total[_LOW]:
        total[_LOW] = a_first + b_first
    if a_last + b_last + 1 > total[_HIGH]:
        total[_HIGH] = a_last + b_last + 1


@njit(inner=True)
def leading(acc: Any, digits: Any) -> Any:
    """A sum as (high + low) * 2^(32 top), less the bias, to about 100 bits: a function of the exact sum alone."""
    first, last = acc[_LOW], acc[_HIGH]
    sign, carry = 1.0, np.int64(0)
    for k in range(first, last + 1):
        value = acc[k] + carry
        digits[k] = value & _MASK
        carry = value >> 32
    if carry < 0:
        sign, carry = -1.0, np.int64(0)
        for k in range(first, last + 1):
            value = carry - acc[k]
            digits[k] = value & _MASK
            carry = value >> 32
    top = last
    if carry == 0:
        while top > first and digits[top] == 0:
            top -= 1
    high, low, weight = float(carry) * _BASE, 0.0, 1.0
    least = top - 3 if top - 3 > first else first
    for k in range(top, least - 1, -1):
        term = float(digits[k]) * weight
        total = high + term
        low += term - (total - high)  # exact: each term is below the sum before it
        high = total
        weight *= _DIGIT
    total = high + low
    return sign * total, sign * (low - (total - high)), top


@njit(inner=True)
def read(acc: Any, digits: Any) -> Any:
    """The sum of an accumulator as high + low, to about 100 bits; `digits` is room for it."""
    high, low, top = leading(acc, digits)
    return math.ldexp(high, 32 * top - _BIAS), math.ldexp(low, 32 * top - _BIAS)


@njit(inner=True)
def take(total: Any, digits: Any) -> Any:
    """A sum of products as value * 2^exponent, an even exponent; empties it."""
    high, low, top = leading(total, digits)
    for k in range(total[_LOW], total[_HIGH] + 1):
        total[k] = 0
    total[_LOW] = PRODUCT_WIDTH
    total[_HIGH] = -1
    return high + low, 32 * top - 2 * _BIAS


@njit(inner=True, error_model="numpy")
def quotient(high: Any, low: Any, number: Any) -> Any:
    """(high + low) / number, rounded once where high + low is a double's multiple of the number."""
    found = high / number
    product, error = two_product(found, float(number))
    return found + (((high - product) - error) + low) / number


@njit(inner=True)
def dd_times(x: Any, x_low: Any, y: Any, y_low: Any) -> Any:
    """(x + x_low) * (y + y_low), to about 100 bits."""
    product, error = two_product(x, y)
    return two_sum(product, error + (x * y_low + x_low * y))


@njit(inner=True)
def difference(n: Any, xy: Any, xy_low: Any, x: Any, x_low: Any, y: Any, y_low: Any) -> Any:
    """n * xy - x * y to about 100 bits of n * xy, and whether at least 55 are left of it."""
    a, a_low = dd_times(xy, xy_low, n, 0.0)
    b, b_low = dd_times(x, x_low, y, y_low)
    high, low = two_sum(a, -b)
    high += low + (a_low - b_low)
    size = abs(a)
    return high, abs(high) > _SURE * size and _LEAST < size < _MOST and abs(b) < _MOST


@njit(inner=True)
def covariation(n: Any, xy: Any, x: Any, y: Any) -> Any:
    """n * xy - x * y of whole numbers below 2^53, as a double: n^2 times a covariance, without cancellation."""
    a, a_low = two_product(n, xy)
    b, b_low = two_product(x, y)
    high, low = two_sum(a, -b)
    return high + (low + (a_low - b_low))
