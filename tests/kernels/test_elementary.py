"""exp, sin, cos, atan2 and hypot of our own arithmetic: their error against a library of many digits, and corners."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest

from fs_spark.compiled import njit
from fs_spark.kernels.elementary import (
    arctangent,
    arctangents,
    exponentials,
    hypotenuse,
    hypotenuses,
    logarithms,
    sines_and_cosines,
)

LEAST = 2.3e-308


def ulps(found: float, exact: Any) -> float:
    """The error in units of the last place of the exact value."""
    nearest = float(exact)
    return abs(float((mpmath.mpf(found) - exact) / mpmath.mpf(math.ulp(nearest))))


def numbers(*ranges: Callable[[random.Random], float], count: int = 3000) -> Iterator[float]:
    rng = random.Random(7)
    for _ in range(count):
        yield rng.choice(ranges)(rng)


def dies(rng: random.Random) -> float:
    return rng.randrange(-60, 61) * 3.0


def near_one(rng: random.Random) -> float:
    return rng.uniform(-5, 5)


def any_size(rng: random.Random) -> float:
    return float(rng.choice([-1, 1]) * 10.0 ** rng.uniform(-300, 300))


@pytest.fixture(autouse=True)
def many_digits() -> Iterator[None]:
    with mpmath.workprec(2400):  # of exact squares of 1e-300 beside 1e300
        yield


def test_exp() -> None:
    given = numbers(lambda r: r.uniform(-700, 700), near_one, lambda r: -r.uniform(0, 4.5), any_size)
    given_small = [x for x in given if -708 < x < 709]
    with mpmath.workprec(200):
        found = zip(exponentials(given_small).tolist(), given_small, strict=True)
        assert max(ulps(one, mpmath.exp(mpmath.mpf(x))) for one, x in found) <= 0.51
    corners = [0.0, -1e9, 710.0, -745.0, 709.7, math.inf, -math.inf]
    assert exponentials(corners).tolist() == [1.0, 0.0, math.inf, 5e-324, math.exp(709.7), math.inf, 0.0]
    assert np.isnan(exponentials(math.nan))


def test_logarithms() -> None:
    near = [1 + sign * 2.0**-k for k in range(1, 53) for sign in (-1, 1)]
    roots = [0.7071067811865475, 0.7071067811865476, 1.4142135623730951, 5e-324, 2.2e-308, 1.7976931348623157e308]
    given = [*near, *roots, *(abs(x) for x in numbers(near_one, any_size, lambda r: r.uniform(0.4, 2.5)))]
    natural, decimal = logarithms(given).tolist(), logarithms(given, base_10=True).tolist()
    with mpmath.workprec(300):
        ten = mpmath.log(10)
        for x, one, other in zip(given, natural, decimal, strict=True):
            exact = mpmath.log(mpmath.mpf(x))
            assert ulps(one, exact) <= 0.51, x
            assert ulps(other, exact / ten) <= 0.51, x
    assert logarithms([10.0**k for k in range(23)], base_10=True).tolist() == list(range(23))
    assert logarithms([1.0, 0.0, -0.0, math.inf]).tolist() == [0.0, -math.inf, -math.inf, math.inf]
    assert np.isnan(logarithms([-1.0, -math.inf, math.nan, -5e-324])).all()


def test_sine_and_cosine() -> None:
    degrees = [k * (math.pi / 180) for k in range(-720, 721)]
    tiny = [10.0**-k for k in range(1, 300, 7)]
    every = [*degrees, *tiny, *numbers(near_one, lambda r: r.uniform(-1000, 1000))]
    for x, sine, cosine in zip(every, *(one.tolist() for one in sines_and_cosines(every)), strict=True):
        assert ulps(sine, mpmath.sin(mpmath.mpf(x))) <= 0.51, x
        assert ulps(cosine, mpmath.cos(mpmath.mpf(x))) <= 0.51, x


def test_angles() -> None:
    ys, xs = list(numbers(dies, near_one, any_size)), list(numbers(any_size, dies, near_one))
    for y, x, found in zip(ys, xs, arctangents(ys, xs).tolist(), strict=True):
        with mpmath.workprec(300):
            exact = mpmath.atan2(mpmath.mpf(y), mpmath.mpf(x))
            if x and abs(exact) >= LEAST:
                assert ulps(found, exact) <= 0.51, (y, x)


def test_angles_of_the_axes_and_diagonals() -> None:
    y, x = [0, 1, 1, 1, 0, -1, -1, -1, 0.0, -0.0], [1, 1, 0, -1, -1, -1, 0, 1, 0.0, -0.0]
    assert arctangents(y, x).tolist() == [math.atan2(a, b) for a, b in zip(y[:8], x[:8], strict=True)] + [0.0, 0.0]
    assert np.isnan(arctangents([math.nan, 1.0], [1.0, math.nan])).all()


def test_lengths() -> None:
    xs, ys = list(numbers(dies, near_one, any_size)), list(numbers(any_size, dies, near_one))
    for x, y, found in zip(xs, ys, hypotenuses(xs, ys).tolist(), strict=True):
        exact = mpmath.sqrt(mpmath.mpf(x) ** 2 + mpmath.mpf(y) ** 2)
        if exact >= LEAST:
            assert ulps(found, exact) <= 0.51, (x, y)
    assert hypotenuses([3, 0, math.inf, 1e300], [-4, 0, 1, 1e300]).tolist() == [
        5.0,
        0.0,
        math.inf,
        math.sqrt(2) * 1e300,
    ]
    assert np.isnan(hypotenuses(math.nan, 1.0))


def test_arrays_have_the_shape_that_was_given() -> None:
    assert exponentials(np.zeros((2, 3))).tolist() == [[1.0] * 3] * 2
    assert hypotenuses([[3.0], [6.0]], [4.0, 8.0]).shape == (2, 2)


@njit(cache=False)
def one_by_one(y: Any, x: Any, angles: Any, lengths: Any) -> None:
    for k in range(len(x)):
        angles[k] = arctangent(y[k], x[k])
        lengths[k] = hypotenuse(x[k], y[k])


def test_compiled_code_gives_the_same_bits_as_arrays() -> None:
    corners = [0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 2.2e-308, 1e-131, 1e140, -1e300, 1.7e308, math.nan]
    tiny = [k * 5e-324 for k in range(-2000, 2001, 7)]
    every = [*numbers(dies, near_one, any_size), *tiny]
    x = np.array([a for a in corners for _ in corners] + every)
    y = np.array([b for _ in corners for b in corners] + every[::-1])
    angles, lengths = np.empty(len(x)), np.empty(len(x))
    one_by_one(y, x, angles, lengths)
    for found, compiled in ((arctangents(y, x), angles), (hypotenuses(x, y), lengths)):
        assert np.array_equal(found, compiled, equal_nan=True)
        assert np.array_equal(np.signbit(found), np.signbit(compiled))
