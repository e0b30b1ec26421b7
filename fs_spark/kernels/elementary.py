"""exp, sin, cos, atan2 and hypot by IEEE's basic operations and square root alone: the same bits on any CPU.

The C library, numpy's SIMD code and BLAS choose other code on other machines, and give other last bits there. Here a
result is computed as an unevaluated sum of two doubles, to about 100 bits, and rounded once: by a series for exp, sin
and cos, by a table and a series for atan2, by one step of Newton for hypot.

Source     T. Dekker, A Floating-Point Technique for Extending the Available Precision, 1971; tables and constants to
           more than 106 bits
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.exact import product_and_error, sum_and_error, two_product, two_sum

Float64 = NDArray[np.float64]
_Two = Callable[[Any, Any], Any]

_LN2: Final = (0.6931471805599453, 2.3190468138462996e-17)
_LN10: Final = (2.302585092994046, -2.1707562233822494e-16)
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


def _arithmetic(two_product: _Two, two_sum: _Two, made: Callable[..., Any]) -> tuple[Callable[..., Any], ...]:
    """What is computed without branches, of numbers in compiled code or of arrays in numpy, which needs no compiling.

    Gives      (x + x_low) / (y + y_low) to about 100 bits; the arctangent of above / below as a place in `_ATAN`, two
               doubles and what is to be added; the square root of a^2 + b^2
    """

    @made
    def over(x: Any, x_low: Any, y: Any, y_low: Any) -> Any:
        quotient = x / y
        product, error = two_product(quotient, y)
        return two_sum(quotient, ((((x - product) - error) + x_low) - quotient * y_low) / y)

    @made
    def turn(above: Any, below: Any) -> Any:
        ratio, ratio_low = over(above, 0.0, below, 0.0)
        k = np.floor(ratio * 16.0 + 0.5)
        place = k / 16.0
        # atan(ratio) = atan(place) + atan((ratio - place) / (1 + ratio place))
        high, low = two_sum(ratio - place, ratio_low)
        product, error = two_product(ratio, place)
        under, rest = two_sum(1.0, product)
        w, w_low = over(high, low, under, rest + (error + ratio_low * place))
        z = w * w
        series = z * (_C[0] + z * (_C[1] + z * (_C[2] + z * (_C[3] + z * (_C[4] + z * (_C[5] + z * _C[6]))))))
        return k, w, w_low, w * series

    @made
    def root(a: Any, b: Any) -> Any:
        square, error = two_product(a, a)
        other, other_error = two_product(b, b)
        total, low = two_sum(square, other)
        low += error + other_error
        found = np.sqrt(total)
        square, error = two_product(found, found)
        return found + (((total - square) - error) + low) / (2.0 * found)

    return over, turn, root


_over, _turns, _roots = _arithmetic(product_and_error, sum_and_error, lambda function: function)
_, _turn, _root = _arithmetic(two_product, two_sum, njit(inner=True, error_model="numpy"))


def _products(x: Float64, x_low: Float64, y: Float64, y_low: Float64) -> tuple[Float64, Float64]:
    """(x + x_low) * (y + y_low), to about 100 bits."""
    product, error = product_and_error(x, y)
    found: tuple[Float64, Float64] = sum_and_error(product, error + (x * y_low + x_low * y))
    return found


def _one_and(x: Float64, x_low: Float64) -> tuple[Float64, Float64]:
    """1 + x + x_low."""
    total, error = sum_and_error(1.0, x)
    found: tuple[Float64, Float64] = sum_and_error(total, error + x_low)
    return found


def exponentials(x: ArrayLike) -> Float64:
    """e^x of each. Error at most 0.51 units in the last place; where the result is below 2.3e-308, one such unit at
    5e-324. Not compiled, as little is computed of it.

    >>> exponentials([0.0, 1.0]).tolist()
    [1.0, 2.718281828459045]
    """
    given = np.asarray(x, np.float64)
    inside = (given < 709.8) & (given >= -746.0)
    kept = np.where(inside, given, 0.0)
    k = np.floor(kept / _LN2[0] + 0.5)
    product, error = product_and_error(k, _LN2[0])
    r, r_low = sum_and_error(kept - product, -error - k * _LN2[1])
    total, low = np.ones(kept.shape), np.zeros(kept.shape)
    for n in range(_TERMS, 0, -1):
        total, low = _one_and(*_products(total, low, *_over(r, r_low, float(n), 0.0)))
    with np.errstate(over="ignore", under="ignore"):
        found = np.ldexp(total + low, k.astype(np.int32))
    return np.where(inside, found, np.where(given < 0.0, 0.0, np.where(np.isnan(given), given, np.inf)))


def logarithms(x: ArrayLike, *, base_10: bool = False) -> Float64:
    """The logarithm of each x >= 0, natural or to the base 10; NaN below. Error at most 0.51 units in the last place.
    Not compiled.

    >>> logarithms([1.0, 2.0, 0.0]).tolist(), logarithms([1000.0], base_10=True).tolist()
    ([0.0, 0.6931471805599453, -inf], [3.0])
    """
    given = np.asarray(x, np.float64)
    inside = (given > 0.0) & (given < np.inf)
    m, exponent = np.frexp(np.where(inside, given, 1.0))
    halved = m < 0.7071067811865476
    m, exponent = np.where(halved, 2.0 * m, m), np.where(halved, exponent - 1, exponent).astype(np.float64)
    # ln m = 2 (s + s^3 / 3 + s^5 / 5 + ...), s = (m - 1) / (m + 1), |s| up to 0.172
    s, s_low = _over(m - 1.0, 0.0, *sum_and_error(m, 1.0))
    square = _products(s, s_low, s, s_low)
    total, low = np.zeros(given.shape), np.zeros(given.shape)
    for n in range(2 * _TERMS - 1, 0, -2):
        total, low = _products(total, low, *square)
        part, part_low = _over(1.0, 0.0, float(n), 0.0)
        total, error = sum_and_error(part, total)
        total, low = sum_and_error(total, error + (low + part_low))
    total, low = _products(total, low, 2.0 * s, 2.0 * s_low)
    product, error = product_and_error(exponent, _LN2[0])
    high, rest = sum_and_error(product, total)
    high, low = sum_and_error(high, rest + (error + exponent * _LN2[1] + low))
    if base_10:
        high, low = _over(high, low, *_LN10)
    outside = np.where(given == 0.0, -np.inf, np.where(given > 0.0, given, np.nan))
    return np.where(inside, high + low, outside)


def sines_and_cosines(x: ArrayLike) -> tuple[Float64, Float64]:
    """sin x and cos x of each |x| up to 1,000, NaN where it is not finite. Error at most 0.51 units in the last place.
    Not compiled.

    >>> [one.tolist() for one in sines_and_cosines([0.0])]
    [[0.0], [1.0]]
    """
    asked = np.asarray(x, np.float64)
    finite = np.abs(asked) < np.inf
    given = np.where(finite, asked, 0.0)
    k = np.floor(given / _HALF_PI[0] + 0.5)
    product, error = product_and_error(k, _HALF_PI[0])
    middle, middle_low = product_and_error(k, _HALF_PI[1])
    r, r_low = sum_and_error(given - product, -error)
    r, rest = sum_and_error(r, -middle)
    r, r_low = sum_and_error(r, ((r_low + rest) - middle_low) - k * _HALF_PI[2])
    square = _products(r, r_low, r, r_low)
    sine = cosine = np.ones(given.shape), np.zeros(given.shape)
    for n in range(_TERMS, 0, -2):  # 1 - square / (n (n + 1)) (1 - ...), and the same from n - 1
        sine = _one_and(*_products(*sine, *_over(*square, -float(n * (n + 1)), 0.0)))
        cosine = _one_and(*_products(*cosine, *_over(*square, -float(n * (n - 1)), 0.0)))
    sine = _products(*sine, r, r_low)
    sines, cosines = sine[0] + sine[1], cosine[0] + cosine[1]
    turns = k.astype(np.int64) & 3
    odd = turns % 2 == 1
    first, second = np.where(odd, cosines, sines), np.where(odd, sines, cosines)
    found = np.where(turns >= 2, -first, first), np.where((turns == 1) | (turns == 2), -second, second)
    return np.where(finite, found[0], np.nan), np.where(finite, found[1], np.nan)


@njit(inner=True, error_model="numpy")
def arctangent(y: Any, x: Any) -> Any:
    """`arctangents` of one, in compiled code."""
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
    k, w, w_low, rest = _turn(above, below)
    angle, error = two_sum(_ATAN[int(k), 0], w)
    low = error + (w_low + (_ATAN[int(k), 1] + rest))
    if steep:
        angle, error = two_sum(_HALF_PI[0], -angle)
        low = error + (_HALF_PI[1] - low)
    if x < 0.0:
        angle, error = two_sum(_PI[0], -angle)
        low = error + (_PI[1] - low)
    elif not steep and k == 0.0:  # a small angle may be below what two doubles hold
        low = w_low + rest
        angle = w
    return -(angle + low) if y < 0.0 else angle + low


@njit(inner=True, error_model="numpy")
def hypotenuse(x: Any, y: Any) -> Any:
    """`hypotenuses` of one, in compiled code."""
    a, b = abs(x), abs(y)
    if a < b:
        a, b = b, a
    if not (a > 0.0 and a < np.inf):
        return a + b
    if _SMALL < a < _LARGE:
        return _root(a, b)
    a, exponent = math.frexp(a)
    return math.ldexp(_root(a, math.ldexp(b, -exponent)), exponent)


def arctangents(y: ArrayLike, x: ArrayLike) -> Float64:
    """The angle of each finite (x, y) from the x axis, in (-pi, pi]; 0 at the origin, NaN where either is. Error at
    most 0.51 units in the last place, where the result is 2.3e-308 or more.

    >>> arctangents([1.0, -0.0, 0.0], [1.0, -1.0, 0.0]).tolist() == [np.pi / 4, np.pi, 0.0]
    True
    """
    ys, xs = np.broadcast_arrays(np.asarray(y, np.float64), np.asarray(x, np.float64))
    above, below = np.abs(ys), np.abs(xs)
    steep = above > below
    above, below = np.where(steep, below, above), np.where(steep, above, below)
    angles = (above == above) & (below > 0.0) & (below < np.inf)
    above, below = np.where(angles, above, 0.0), np.where(angles, below, 1.0)
    usual = (above > _SMALL) & (below < _LARGE)
    mantissa, exponent = np.frexp(below)
    with np.errstate(under="ignore"):
        above, below = np.where(usual, above, np.ldexp(above, -exponent)), np.where(usual, below, mantissa)
        k, w, w_low, rest = _turns(above, below)
    at = k.astype(np.int64)
    angle, error = sum_and_error(_ATAN[at, 0], w)
    low = error + (w_low + (_ATAN[at, 1] + rest))
    turned, error = sum_and_error(_HALF_PI[0], -angle)
    angle, low = np.where(steep, turned, angle), np.where(steep, error + (_HALF_PI[1] - low), low)
    back, error = sum_and_error(_PI[0], -angle)
    behind, small = xs < 0.0, (xs >= 0.0) & ~steep & (at == 0)  # a small angle may be below what two doubles hold
    angle, low = np.where(behind, back, angle), np.where(behind, error + (_PI[1] - low), low)
    found = np.where(small, w, angle) + np.where(small, w_low + rest, low)
    found = np.where(ys < 0.0, -found, found)
    return np.where(angles, found, np.where((xs == 0.0) & (ys == 0.0), 0.0, np.nan))


def hypotenuses(x: ArrayLike, y: ArrayLike) -> Float64:
    """The square root of each x^2 + y^2, without overflow on the way; NaN where either is. Error at most 0.51 units in
    the last place, where the result is 2.3e-308 or more.

    >>> hypotenuses([3.0, 1e200], [4.0, 0.0]).tolist()
    [5.0, 1e+200]
    """
    xs, ys = np.broadcast_arrays(np.abs(np.asarray(x, np.float64)), np.abs(np.asarray(y, np.float64)))
    swapped = xs < ys
    a, b = np.where(swapped, ys, xs), np.where(swapped, xs, ys)
    lengths = (a > 0.0) & (a < np.inf) & (b == b)
    long, short = np.where(lengths, a, 1.0), np.where(lengths, b, 0.0)
    mantissa, exponent = np.frexp(long)
    exponent = np.where((long > _SMALL) & (long < _LARGE), 0, exponent)
    with np.errstate(under="ignore", over="ignore"):
        short = np.ldexp(short, -exponent)
        found = np.ldexp(_roots(np.where(exponent == 0, long, mantissa), short), exponent)
        return np.where(lengths, found, a + b)
