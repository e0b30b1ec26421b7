"""Which attempt of a die counts, against a loop over all of them."""

from __future__ import annotations

import numpy as np
import pytest

from fs_spark.kernels.attempts import Attempts


def of(rows: list[tuple[int, int, int, int]]) -> Attempts:
    """From (x, y, event, available), in order."""
    columns = np.array(rows, np.int64).reshape(-1, 4).T
    return Attempts.of(*columns)


def test_each_die_has_its_attempts_in_order() -> None:
    attempts = of([(5, 5, 1, 1), (2, 9, 2, 2), (5, 5, 3, 3), (2, 5, 4, 4), (5, 5, 5, 5)])
    assert attempts.dies.tolist() == [[2, 5], [2, 9], [5, 5]]
    assert attempts.die.tolist() == [2, 1, 2, 0, 2]
    assert attempts.table.tolist() == [[3, -1, -1], [1, -1, -1], [0, 2, 4]]


def test_find_tells_places_apart_that_share_a_text() -> None:
    attempts = of([(1, 11, 1, 1), (11, 1, 2, 2), (-3, 4, 3, 3)])
    x, y = np.array([[1, 11, -3, 1], [11, 111, 4, 0]]), np.array([[11, 1, 4, 1], [11, 0, -3, 12]])
    places = attempts.dies.tolist()
    expected = [
        [places.index([a, b]) if [a, b] in places else -1 for a, b in zip(xs, ys, strict=True)]
        for xs, ys in zip(x.tolist(), y.tolist(), strict=True)
    ]
    assert attempts.find(x, y).tolist() == expected
    assert attempts.find(x, y)[0].tolist() == [1, 2, 0, -1]


def test_find_does_not_wrap_from_one_column_into_the_next() -> None:
    attempts = of([(x, y, 1, 1) for x in range(3) for y in range(4)])
    outside = np.array([[(-1, 3), (0, -1), (1, -1), (1, 4), (2, -4), (0, 8), (3, 0)]])
    assert attempts.find(outside[..., 0], outside[..., 1]).tolist() == [[-1] * 7]


def test_find_on_a_wafer_without_dies() -> None:
    assert of([]).find(np.array([[0, 1]]), np.array([[0, 1]])).tolist() == [[-1, -1]]
    assert of([]).table.shape == (0, 0)


def test_latest_is_strictly_before_and_known_at_or_before() -> None:
    attempts = of([(0, 0, 10, 10), (0, 0, 20, 50), (0, 0, 30, 30)])
    die = np.array([[0, -1]])

    def latest(before: int, known: int) -> list[int]:
        return attempts.latest(die, np.array([before]), np.array([known]))[0].tolist()

    assert latest(10, 99) == [-1, -1]
    assert latest(11, 10) == [0, -1]
    assert latest(11, 9) == [-1, -1]
    assert latest(25, 49) == [0, -1]
    assert latest(25, 50) == [1, -1]
    assert latest(31, 30) == [2, -1]  # a later attempt may be known before an earlier one
    assert latest(31, 99) == [2, -1]


@pytest.mark.parametrize("seed", range(5))
def test_latest_equals_a_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    event = np.sort(rng.integers(0, 12, 40))
    rows = [(int(rng.integers(3)), int(rng.integers(3)), int(t), int(t + rng.integers(0, 6))) for t in event]
    attempts = of(rows)
    before, known = rng.integers(0, 14, 20), rng.integers(0, 18, 20)
    die = rng.integers(-1, len(attempts.dies), (20, 4))
    expected = [
        [
            max(
                (
                    k
                    for k, (x, y, t, a) in enumerate(rows)
                    if d >= 0 and [x, y] == attempts.dies[d].tolist() and t < before[i] and a <= known[i]
                ),
                default=-1,
            )
            for d in die[i]
        ]
        for i in range(20)
    ]
    assert attempts.latest(die, before, known).tolist() == expected
