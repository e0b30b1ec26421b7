"""Windows behind instants: against loops over all rows, on random groups and at their edges."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from fs_spark.kernels.windows_ahead import (
    NONE,
    Windows,
    counts_ahead,
    sums_ahead,
    whole_sums_ahead,
    windows_ahead,
)

VALUES = [math.nan, 1e16, -1e16, 0.1, 1e-300, -0.0, 0.7, 1e149, -1e149]
WHOLE = [2**63 - 1, -(2**63), 5, -7, 99]


@pytest.mark.parametrize("seed", range(30))
def test_windows_equal_loops_over_all_rows(seed: int) -> None:
    rng = random.Random(seed)
    time: list[int] = []
    asked: list[int] = []
    edges, asked_edges = [0], [0]
    for _ in range(rng.randrange(1, 4)):
        time += sorted(rng.randrange(60) for _ in range(rng.randrange(40)))
        asked += sorted(rng.randrange(-10, 60) for _ in range(rng.randrange(20)))
        edges.append(len(time))
        asked_edges.append(len(asked))
    known = [rng.randrange(100) for _ in time]
    values, whole = [rng.choice(VALUES) for _ in time], [rng.choice(WHOLE) for _ in time]
    counted = [rng.random() < 0.7 for _ in time]
    after, until = rng.choice([(0, 7), (3, 9), (0, 1), (0, 100)])
    windows = windows_ahead(
        np.array(time, np.int64), np.array(known, np.int64), np.array(edges), np.array(asked, np.int64),
        np.array(asked_edges), after_us=after, until_us=until,
    )  # fmt: skip
    marks = np.array(counted, bool)
    counts = counts_ahead(marks, windows)
    sums, missing = whole_sums_ahead(np.array(whole, np.int64), marks, windows)
    totals = sums_ahead(np.array(values, float), marks, np.array(edges), np.array(asked_edges), windows)
    for group in range(len(edges) - 1):
        for q in range(asked_edges[group], asked_edges[group + 1]):
            rows = [k for k in range(edges[group], edges[group + 1]) if asked[q] + after < time[k] <= asked[q] + until]
            assert windows.latest_us[q] == max((known[k] for k in rows), default=NONE)
            rows = [k for k in rows if counted[k]]
            assert counts[q] == len(rows)
            exact = sum(whole[k] for k in rows)
            assert missing[q] == (not rows or not -(2**63) <= exact < 2**63)
            assert missing[q] or sums[q] == exact
            numbers = [values[k] for k in rows if not math.isnan(values[k])]
            if numbers:
                assert totals[q] == math.fsum(numbers)
                assert math.copysign(1, totals[q]) == 1 or totals[q] != 0
            else:
                assert math.isnan(totals[q])


def test_values_that_are_not_finite_or_have_no_square_count_as_missing() -> None:
    values = np.array([math.inf, 1e150, 2.5, -math.inf])
    all_of, last = np.array([0, 3]), np.array([4, 4])
    windows = Windows(all_of, last, np.zeros(2, np.int64))
    found = sums_ahead(values, np.ones(4, bool), np.array([0, 4]), np.array([0, 2]), windows)
    np.testing.assert_array_equal(found, [2.5, math.nan])
