"""Mean and standard deviation: worked by hand, independent of order and of the other rows of a batch."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from fs_spark.kernels.moments import exact_moments, row_moments

MANY = settings(max_examples=50, deadline=None, derandomize=True)
numbers = st.floats(-1e6, 1e6, width=32)


@pytest.mark.parametrize(
    ("values", "count", "mean", "std"),
    [
        ([], 0, math.nan, math.nan),
        ([math.nan, math.inf, -math.inf], 0, math.nan, math.nan),
        ([3.0], 1, 3.0, math.nan),
        ([3.0, math.nan], 1, 3.0, math.nan),
        ([1.0, 3.0], 2, 2.0, math.sqrt(2)),
        ([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 8, 5.0, math.sqrt(32 / 7)),
        ([7.0, 7.0, 7.0], 3, 7.0, 0.0),
        ([-1.0, 1.0, -2.0, 2.0], 4, 0.0, math.sqrt(10 / 3)),
    ],
)
def test_by_hand(values: list[float], count: int, mean: float, std: float) -> None:
    expected = pytest.approx((count, mean, std), nan_ok=True, rel=1e-15)
    assert exact_moments(values) == expected
    batch = np.array([values], np.float64).reshape(1, -1)
    assert tuple(column[0] for column in row_moments(batch)) == expected


@MANY
@given(st.lists(numbers, min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_exact_moments_are_the_standard_librarys_in_any_order(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    count, mean, std = exact_moments(values)
    assert (count, mean, std) == exact_moments(shuffled)
    exact = [Fraction(v) for v in values]
    assert mean == pytest.approx(float(sum(exact) / len(exact)), rel=1e-15, abs=1e-300)
    assert std == pytest.approx(statistics.stdev(exact), rel=1e-12, abs=1e-12 * max(map(abs, values)))


@MANY
@given(st.lists(st.lists(st.one_of(numbers, st.just(math.nan)), min_size=8, max_size=8), min_size=1, max_size=6))
def test_a_row_has_the_same_bits_in_any_batch(rows: list[list[float]]) -> None:
    batch = np.array(rows)
    together = row_moments(batch)
    for index in range(len(rows)):
        alone = row_moments(batch[index : index + 1].copy())
        for whole, single in zip(together, alone, strict=True):
            assert whole[index : index + 1].tobytes() == single.tobytes()
        count, mean, std = exact_moments(rows[index])
        scale = max((abs(v) for v in rows[index] if not math.isnan(v)), default=0.0)
        assert together[0][index] == count
        assert together[1][index] == pytest.approx(mean, nan_ok=True, rel=1e-13, abs=1e-13 * scale)
        assert together[2][index] == pytest.approx(std, nan_ok=True, rel=1e-12, abs=1e-12 * scale)


def test_sums_are_rounded_once() -> None:
    assert exact_moments([1e16, 1.0, -1e16])[1] == 1 / 3
    assert exact_moments([0.1] * 10)[1] == 0.1


def test_two_passes_hold_where_the_mean_is_large() -> None:
    values = [1e9 + v for v in (0.0, 1.0, 2.0)]
    assert exact_moments(values)[2] == 1.0
    assert row_moments(np.array([values]))[2][0] == 1.0


def test_no_rows_and_no_columns() -> None:
    assert [column.tolist() for column in row_moments(np.zeros((0, 8)))] == [[], [], []]
    count, mean, std = row_moments(np.zeros((2, 0)))
    assert count.tolist() == [0, 0]
    assert np.isnan(mean).all()
    assert np.isnan(std).all()


def test_the_callers_array_is_left_alone() -> None:
    values = np.array([[1.0, math.nan, 3.0]])
    before = values.tobytes()
    row_moments(values)
    assert values.tobytes() == before
