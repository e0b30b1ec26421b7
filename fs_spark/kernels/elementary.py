"""exp, sin, cos, atan2 and hypot by IEEE's basic operations and square root alone: the same bits on any CPU.

The C library, numpy's SIMD code and BLAS choose other code on other machines, and give other last bits there. Here a
result is computed as an unevaluated sum of two doubles, to about 100 bits, and rounded once: by a series for exp, sin
and cos, by a table and a series for atan2, by one step of Newton for hypot.

Source     T. Dekker, A Floating-Point Technique for Extending the Available Precision, 1971; tables and constants to
           more than 106 bits
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.exact import dd_times, two_product, two_sum

Float64 = NDArray[np.float64]

_LN2: Final = (0.6931471805599453, 2.3190468138462996e-17)
_HALF_PI: Final = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
_PI: Final = (3.141592653589793, 1.2246467991473532e-16)
_ATAN: Final = np.array(
    [
        (0.0, 0.0),
        (0.06241880999595735, -1.5490756308295046e-18),
        (0.12435499454676144, -3.1253241424539383e-18),
        (0.18534794999569476, 4.180692268843079e-18),
        (0.24497866312686414, 1.0698755618734451e-17),
        (0.3028848683749714, -1.1010827903001369e-17),
        (0.35877067027057225, -2.4623815582638635e-17),
        (0.4124104415973873, -1.587652227770689e-17),
        (0.4636476090008061, 2.2698777452961687e-17),
        (0.5123894603107377, -2.5462781472855804e-17),
        (0.5585993153435624, -5.4556305485916264e-18),
        (0.6022873461349642, 2.950430737228402e-17),
        (0.6435011087932844, 1.5834785051444286e-17),
        (0.6823165548747481, 6.943223671560008e-18),
        (0.7188299996216245, -2.1478388444456983e-17),
        (0.7531512809621944, -2.4256934659182068e-17),
        (0.7853981633974483, 3.061616997868383e-17),
    ]
)
"""atan(k / 16), each as two doubles."""
_C: Final = (-1 / 3, 1 / 5, -1 / 7, 1 / 9, -1 / 11, 1 / 13, -1 / 15)
"""Of the series of atan w = w + w (C0 w^2 + C1 w^4 + ...), |w| up to 1 / 32."""
_TERMS: Final = 24
_SMALL, _LARGE = 1e-130, 1e140
"""Between them no product here overflows, or loses bits below the least double."""


@njit(cache=True, error_model="numpy")
def _over(x: Any, x_low: Any, y: Any, y_low: Any) -> Any:
    """(x + x_low) / (y + y_low), to about 100 bits."""
    quotient = x / y
    product, error = two_product(quotient, y)
    return two_sum(quotient, ((((x - product) - error) + x_low) - quotient * y_low) / y)


@njit(cache=True, error_model="numpy")
def exp(x: Any) -> Any:
    """e^x. Error at most 0.51 units in the last place; where the result is below 2.3e-308, one such unit at 5e-324."""
    if not x < 709.8:
        return x if x != x else np.inf
    if x < -746.0:
        return 0.0
    k = np.floor(x / _LN2[0] + 0.5)
    product, error = two_product(k, _LN2[0])
    r, r_low = two_sum(x - product, -error - k * _LN2[1])
    total, low = 1.0, 0.0
    for n in range(_TERMS, 0, -1):
        part, part_low = _over(r, r_low, float(n), 0.0)
        total, low = dd_times(total, low, part, part_low)
        total, error = two_sum(1.0, total)
        total, low = two_sum(total, error + low)
    return math.ldexp(total + low, int(k))


@njit(cache=True, error_model="numpy")
def sine_and_cosine(x: Any) -> Any:
    """sin x and cos x of a finite |x| up to 1,000. Error at most 0.51 units in the last place of each."""
    k = np.floor(x / _HALF_PI[0] + 0.5)
    product, error = two_product(k, _HALF_PI[0])
    middle, middle_low = two_product(k, _HALF_PI[1])
    r, r_low = two_sum(x - product, -error)
    r, rest = two_sum(r, -middle)
    r, r_low = two_sum(r, ((r_low + rest) - middle_low) - k * _HALF_PI[2])
    square, square_low = dd_times(r, r_low, r, r_low)
    sine, sine_low, cosine, cosine_low = 1.0, 0.0, 1.0, 0.0
    for n in range(_TERMS, 0, -2):  # 1 - square / (n (n + 1)) (1 - ...), and the same from n - 1
        part, part_low = _over(square, square_low, -float(n * (n + 1)), 0.0)
        sine, sine_low = dd_times(sine, sine_low, part, part_low)
        sine, error = two_sum(1.0, sine)
        sine, sine_low = two_sum(sine, error + sine_low)
        part, part_low = _over(square, square_low, -float(n * (n - 1)), 0.0)
        cosine, cosine_low = dd_times(cosine, cosine_low, part, part_low)
        cosine, error = two_sum(1.0, cosine)
        cosine, cosine_low = two_sum(cosine, error + cosine_low)
    sine, sine_low = dd_times(sine, sine_low, r, r_low)
    sine, cosine = sine + sine_low, cosine + cosine_low
    turns = int(k) & 3
    if turns == 1:
        return cosine, -sine
    if turns == 2:
        return -sine, -cosine
    return (-cosine, sine) if turns == 3 else (sine, cosine)


@njit(cache=True, error_model="numpy")
def arctangent(y: Any, x: Any) -> Any:
    """The angle of finite (x, y) from the x axis, in (-pi, pi]; 0 at the origin. Error at most 0.51 units in the last
    place, where the result is 2.3e-308 or more."""
    if x != x or y != y:
        return np.nan
    above, below = abs(y), abs(x)
    steep = above > below
    if steep:
        above, below = below, above
    if below == 0.0:
        return 0.0
    if not (above > _SMALL and below < _LARGE):
        below, exponent = math.frexp(below)
        above = math.ldexp(above, -exponent)
    ratio, ratio_low = _over(above, 0.0, below, 0.0)
    k = np.floor(ratio * 16.0 + 0.5)
    place = k / 16.0
    # atan(ratio) = atan(place) + atan((ratio - place) / (1 + ratio place))
    high, low = two_sum(ratio - place, ratio_low)
    product, error = two_product(ratio, place)
    under, rest = two_sum(1.0, product)
    w, w_low = _over(high, low, under, rest + (error + ratio_low * place))
    z = w * w
    series = z * (_C[0] + z * (_C[1] + z * (_C[2] + z * (_C[3] + z * (_C[4] + z * (_C[5] + z * _C[6]))))))
    angle, error = two_sum(_ATAN[int(k), 0], w)
    low = error + (w_low + (_ATAN[int(k), 1] + w * series))
    if steep:
        angle, error = two_sum(_HALF_PI[0], -angle)
        low = error + (_HALF_PI[1] - low)
    if x < 0.0:
        angle, error = two_sum(_PI[0], -angle)
        low = error + (_PI[1] - low)
    elif not steep and k == 0.0:  # a small angle may be below what two doubles hold
        low = w_low + w * series
        angle = w
    return -(angle + low) if y < 0.0 else angle + low


@njit(cache=True, error_model="numpy")
def hypotenuse(x: Any, y: Any) -> Any:
    """The square root of x^2 + y^2, without overflow on the way. Error at most 0.51 units in the last place, where the
    result is 2.3e-308 or more."""
    a, b = abs(x), abs(y)
    if a < b:
        a, b = b, a
    if not (a > 0.0 and a < np.inf):
        return a + b
    exponent = 0
    if not _SMALL < a < _LARGE:
        a, exponent = math.frexp(a)
        b = math.ldexp(b, -exponent)
    square, error = two_product(a, a)
    other, other_error = two_product(b, b)
    total, low = two_sum(square, other)
    low += error + other_error
    root = np.sqrt(total)
    square, error = two_product(root, root)
    root += (((total - square) - error) + low) / (2.0 * root)
    return math.ldexp(root, exponent) if exponent != 0 else root


@njit(cache=True)
def _arctangents(y: Float64, x: Float64) -> Float64:
    out = np.empty(len(x))
    for k in range(len(x)):
        out[k] = arctangent(y[k], x[k])
    return out


@njit(cache=True)
def _hypotenuses(x: Float64, y: Float64) -> Float64:
    out = np.empty(len(x))
    for k in range(len(x)):
        out[k] = hypotenuse(x[k], y[k])
    return out


@njit(cache=True)
def _exponentials(x: Float64) -> Float64:
    out = np.empty(len(x))
    for k in range(len(x)):
        out[k] = exp(x[k])
    return out


def _flat(*given: ArrayLike) -> tuple[tuple[int, ...], list[Float64]]:
    arrays = np.broadcast_arrays(*(np.asarray(one, np.float64) for one in given))
    return arrays[0].shape, [np.ascontiguousarray(one).ravel() for one in arrays]


def arctangents(y: ArrayLike, x: ArrayLike) -> Float64:
    """`arctangent` of each; NaN where either is.

    >>> arctangents([1.0, -0.0, 0.0], [1.0, -1.0, 0.0]).tolist() == [np.pi / 4, np.pi, 0.0]
    True
    """
    shape, (a, b) = _flat(y, x)
    return np.asarray(_arctangents(a, b), np.float64).reshape(shape)


def hypotenuses(x: ArrayLike, y: ArrayLike) -> Float64:
    """`hypotenuse` of each; NaN where either is.

    >>> hypotenuses([3.0, 1e200], [4.0, 0.0]).tolist()
    [5.0, 1e+200]
    """
    shape, (a, b) = _flat(x, y)
    return np.asarray(_hypotenuses(a, b), np.float64).reshape(shape)


def exponentials(x: ArrayLike) -> Float64:
    """`exp` of each.

    >>> exponentials([0.0, 1.0]).tolist()
    [1.0, 2.718281828459045]
    """
    shape, (a,) = _flat(x)
    return np.asarray(_exponentials(a), np.float64).reshape(shape)
