"""Sums of doubles, of their squares and of their products with times, without rounding and quick to read.

A sum is a row of digits of 32 bits with an exponent that no term changes, so that a term is taken out again without a
trace. Digits carry only where a sum is read. Beside `fs_spark.kernels.exact` these are for values that come and go by
the million: their place is known beforehand, and what is read of them is correctly rounded.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from fs_spark.compiled import njit

BIAS: Final = 1088
"""Digit 0 of a sum counts 2^-1088, of a sum of squares 2^-2176."""
SUM: Final = 56
SQUARES: Final = 106
"""Digits of a sum of values below 1e150, and of their squares."""
_MASK: Final = 0xFFFFFFFF
_FRACTION: Final = (1 << 52) - 1


@njit(cache=True)
def parts(x: Any) -> Any:
    """A finite double as sign, whole number below 2^53 and exponent above 2^-1088: it is their product."""
    bits = np.float64(x).view(np.int64)
    exponent: Any = (bits >> 52) & 0x7FF
    whole = bits & _FRACTION
    if exponent > 0:
        whole |= _FRACTION + 1
    else:
        exponent = 1
    return (-1 if bits < 0 else 1), whole, exponent + 13


@njit(cache=True)
def put(total: Any, whole: Any, position: Any, sign: Any) -> None:
    """Adds sign * whole * 2^position to a sum, whole below 2^59; touches three digits."""
    at, shift = position >> 5, position & 31
    low = (whole & _MASK) << shift
    high = (whole >> 32) << shift
    total[at] += sign * (low & _MASK)
    total[at + 1] += sign * ((low >> 32) + (high & _MASK))
    total[at + 2] += sign * (high >> 32)


@njit(cache=True)
def put_product(total: Any, a: Any, b: Any, position: Any, sign: Any) -> None:
    """Adds sign * a * b * 2^position to a sum, a and b below 2^59; touches five digits."""
    at, shift = position >> 5, position & 31
    a_low, a_high, b_low, b_high = a & _MASK, a >> 32, b & _MASK, b >> 32
    low = a_low * b_low  # may wrap: its bits are those of the product without sign
    one, other = a_low * b_high, a_high * b_low
    digit = ((low >> 32) & _MASK) + (one & _MASK) + (other & _MASK)
    high = a_high * b_high + (one >> 32) + (other >> 32) + (digit >> 32)
    low = (low & _MASK) << shift
    digit = (digit & _MASK) << shift
    middle = (high & _MASK) << shift
    high = (high >> 32) << shift
    total[at] += sign * (low & _MASK)
    total[at + 1] += sign * ((low >> 32) + (digit & _MASK))
    total[at + 2] += sign * ((digit >> 32) + (middle & _MASK))
    total[at + 3] += sign * ((middle >> 32) + (high & _MASK))
    total[at + 4] += sign * (high >> 32)


@njit(cache=True)
def power(exponent: Any) -> Any:
    """2^exponent, from -1022 to 1023."""
    return np.int64((exponent + 1023) << 52).view(np.float64)


@njit(cache=True)
def scaled(x: Any, exponent: Any) -> Any:
    """x * 2^exponent, rounded once where it is small."""
    if -1022 <= exponent <= 1023:
        return x * power(exponent)
    return math.ldexp(x, exponent)


@njit(cache=True)
def read(total: Any, first: Any, last: Any, digits: Any) -> Any:
    """A sum as (high + low) * 2^exponent, less the bias; `high` is correctly rounded, both hold 100 bits and more.

    Shapes     digits: room for one digit more than the sum has. 0 is (0.0, 0.0, 0); else |high| is about 2^62
    """
    carry = np.int64(0)
    for k in range(first, last + 1):
        value = total[k] + carry
        digits[k] = value & _MASK
        carry = value >> 32
    sign = 1.0
    if carry < 0:
        sign, carry = -1.0, np.int64(0)
        for k in range(first, last + 1):
            value = carry - total[k]
            digits[k] = value & _MASK
            carry = value >> 32
    top = last + 1
    digits[top] = carry
    while top >= first and digits[top] == 0:
        top -= 1
    if top < first:
        return 0.0, 0.0, 0
    d0 = digits[top]
    d1 = digits[top - 1] if top - 1 >= first else np.int64(0)
    d2 = digits[top - 2] if top - 2 >= first else np.int64(0)
    d3 = digits[top - 3] if top - 3 >= first else np.int64(0)
    d4 = digits[top - 4] if top - 4 >= first else np.int64(0)
    up = 32 - ((np.float64(d0).view(np.int64) >> 52) - 1022)  # zero bits before the first one
    whole = (d0 << (30 + up)) | ((d1 << up) >> 2) | (d2 >> (34 - up))
    rest = np.float64((d1 << up) & 3) * 0.25 + np.float64(d2 & ((np.int64(1) << (34 - up)) - 1)) * power(up - 34)
    rest += np.float64(d3) * power(up - 66) + np.float64(d4) * power(up - 98)
    sticky = np.int64(rest > 0.0)
    k = top - 5
    while sticky == 0 and k >= first:
        sticky = np.int64(digits[k] != 0)
        k -= 1
    high = np.float64(whole | sticky)
    return sign * high, sign * (np.float64(whole - np.int64(high)) + rest), 32 * top - 30 - up
