"""Sums without rounding, of terms of any size, and differences of their products: against fractions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fs_spark.compiled import njit
from fs_spark.kernels import exact as sums
from fs_spark.kernels.exact import PRODUCT_WIDTH, accumulators, product_sums


def from_python(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled functions alone call these."""

    @njit(cache=False)
    def entry(*given: Any) -> Any:
        return inner(*given)

    return entry


add, add_digits, add_product, digits_of, quotient, read, take, times, whole_digits = (
    from_python(getattr(sums, name))
    for name in ("add", "add_digits", "add_product", "digits_of", "quotient", "read", "take", "times", "whole_digits")
)

ROOM = np.zeros((3, PRODUCT_WIDTH), np.int64)


def terms(seed: int, count: int = 40) -> list[float]:
    rng = random.Random(seed)
    size = rng.choice([lambda: 1.0, lambda: 10.0 ** rng.uniform(-150, 149), lambda: 10.0 ** rng.uniform(-323, -140)])
    return [rng.uniform(-1, 1) * size() for _ in range(count)]


@pytest.mark.parametrize("seed", range(30))
def test_sums_of_terms_and_of_products(seed: int) -> None:
    values, others = terms(seed), terms(seed + 100)
    plain, products = accumulators(), accumulators()
    for x, y in zip(values, others, strict=True):
        add(plain, x, 1)
        add_product(products, x, y, 1)
    exact = sum(map(Fraction, values))
    assert read(plain, ROOM[0])[0] == float(exact)
    product = sum(Fraction(x) * Fraction(y) for x, y in zip(values, others, strict=True))
    sign, first, last = digits_of(products, ROOM[0])
    found = sign * sum(Fraction(int(ROOM[0, k])) * Fraction(2) ** (32 * (k - 72)) for k in range(first, last + 1))
    assert found == product
    for x, y in zip(values, others, strict=True):
        add(plain, x, -1)
        add_product(products, x, y, -1)
    assert read(plain, ROOM[0]) == (0.0, 0.0)
    assert digits_of(products, ROOM[0])[0] == 0


@pytest.mark.parametrize("seed", range(30))
def test_differences_of_products(seed: int) -> None:
    """n * sum(z^2) - sum(z)^2 and, through `times`, 5 * sum(z) * sum(z)."""
    values = terms(seed)
    z, squares, total = accumulators(), accumulators(), product_sums()
    for value in values:
        add(z, value, 1)
        add_product(squares, value, value, 1)
    sign, first, last = digits_of(squares, ROOM[0])
    _, low, high = whole_digits(len(values), ROOM[1])
    add_digits(total, sign, ROOM[0], first, last, ROOM[1], low, high)
    sign, first, last = digits_of(z, ROOM[0])
    add_digits(total, -abs(sign), ROOM[0], first, last, ROOM[0], first, last)
    value, exponent = take(total, ROOM[2])
    exact = len(values) * sum(Fraction(v) ** 2 for v in values) - sum(map(Fraction, values)) ** 2
    assert abs(Fraction(value) * Fraction(2) ** exponent / exact - 1) < Fraction(1, 2**52)
    ROOM[1, first : last + 1] = ROOM[0, first : last + 1]
    add_digits(total, 1, ROOM[0], first, last, ROOM[1], first, times(ROOM[1], first, last, 5))
    value, exponent = take(total, ROOM[2])
    exact = 5 * sum(map(Fraction, values)) ** 2
    assert abs(Fraction(value) * Fraction(2) ** exponent / exact - 1) < Fraction(1, 2**52)


@pytest.mark.parametrize("value", [0.1, -0.7, 1 / 3, 1e9 + 0.1, 9.9e149, 1e-160, 5e-324])
@pytest.mark.parametrize("count", [2, 3, 7, 49, 1000])
def test_of_equal_values_nothing_is_left_and_their_mean_is_the_value(value: float, count: int) -> None:
    z, squares, total = accumulators(), accumulators(), product_sums()
    for _ in range(count):
        add(z, value, 1)
        add_product(squares, value, value, 1)
    sign, first, last = digits_of(squares, ROOM[0])
    _, low, high = whole_digits(count, ROOM[1])
    add_digits(total, sign, ROOM[0], first, last, ROOM[1], low, high)
    sign, first, last = digits_of(z, ROOM[0])
    add_digits(total, -abs(sign), ROOM[0], first, last, ROOM[0], first, last)
    assert take(total, ROOM[2])[0] == 0.0
    high, low = read(z, ROOM[0])
    assert quotient(high, low, count) == value


def test_whole_numbers_of_any_sign() -> None:
    for number in (0, 1, -5, 2**31, -(2**40) - 3):
        sign, first, last = whole_digits(number, ROOM[0])
        assert sign * sum(int(ROOM[0, k]) << (32 * (k - 72)) for k in range(first, last + 1)) == number
    assert math.isclose(quotient(1.0, 0.0, 3), 1 / 3)
