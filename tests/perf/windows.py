"""State rows of sliding windows, beside a sort of the same rows by numpy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fs_spark.kernels.sliding import NEVER, NONE, Feature, History, Window, state_row_parts

Measurement = dict[str, Any]
DAY_US = 86_400_000_000
STATISTICS = ("mean", "std", "median", "slope")


def streamed(groups: int, rows: int) -> History:
    """Groups of as many rows, spread over a year and known at once."""
    rng = np.random.default_rng(1)
    count = groups * rows
    event = np.sort(rng.integers(0, 365 * DAY_US, (groups, rows)), axis=1).ravel()
    return History(
        np.arange(0, count + 1, rows), event, np.arange(count), event, np.full(count, NEVER),
        rng.normal(10, 1, (1, count)), np.zeros((0, count), np.int64), np.ones((1, count), bool),
        np.full(groups, NONE),
    )  # fmt: skip


def _rows(history: History, windows: list[Window]) -> int:
    features = [Feature(w, s, 0) for w in range(len(windows)) for s in STATISTICS]  # type: ignore[arg-type]
    parts = state_row_parts(history, windows=windows, features=features, from_us=0, until_us=365 * DAY_US)
    return sum(len(part.group) for part in parts)


def _best(action: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return best


def kernel(measured: Callable[..., Measurement], scale: float = 1.0) -> list[Measurement]:
    """`state_rows`: four statistics over three windows; `window_length`: 365 days against 7, by row."""
    history = streamed(max(round(2000 * scale), 20), 500)
    three = [Window(span_us=365 * DAY_US, last=100), Window(span_us=7 * DAY_US), Window(span_us=90 * DAY_US)]
    rows = _rows(history, three)
    floor_s = _best(lambda: np.lexsort((history.values[0], history.event_us)))
    per_row = []
    for days in (7, 365):
        window = [Window(span_us=days * DAY_US)]
        count = _rows(history, window)
        per_row.append(_best(lambda window=window: _rows(history, window)) / count)  # type: ignore[misc]
    return [
        measured("state_rows", floor_s, _best(lambda: _rows(history, three)), rows),
        measured("window_length", per_row[0], per_row[1], rows),
    ]
