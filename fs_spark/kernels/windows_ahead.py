"""Counts, sums and the latest of rows in a window of time behind each of many instants."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.exact import LARGEST
from fs_spark.kernels.sliding_digits import BIAS, SUM, parts, put, read, scaled

Int64 = NDArray[np.int64]

NONE: Final = -(2**63)
"""The latest of no rows."""
_HALF: Final = 1 << 32
_LEAST, _MOST = -(1 << 31), 1 << 31


class Windows(NamedTuple):
    """For each instant the rows from `low` up to `high`, and the latest `known_us` of them."""

    low: Int64
    high: Int64
    latest_us: Int64


@njit(cache=True)
def _windows(
    time: Any, known: Any, edges: Any, asked: Any, asked_edges: Any, after: Any, until: Any,
    low: Any, high: Any, latest: Any,
) -> None:  # fmt: skip
    queue = np.empty(max(len(time), 1), np.int64)  # rows of the window, each later than all that follow it
    for group in range(len(edges) - 1):
        begin = end = edges[group]
        stop = edges[group + 1]
        head = tail = 0
        for q in range(asked_edges[group], asked_edges[group + 1]):
            while end < stop and time[end] <= asked[q] + until:
                while tail > head and known[queue[tail - 1]] <= known[end]:
                    tail -= 1
                queue[tail] = end
                tail += 1
                end += 1
            while begin < end and time[begin] <= asked[q] + after:
                begin += 1
            while head < tail and queue[head] < begin:
                head += 1
            low[q], high[q] = begin, end
            latest[q] = known[queue[head]] if head < tail else NONE


def windows_ahead(
    time_us: Int64, known_us: Int64, edges: Int64, asked_us: Int64, asked_edges: Int64, *, after_us: int, until_us: int
) -> Windows:
    """The rows of each instant T's window: of its group, with T + after < time <= T + until, for after < until.

    Shapes     time_us, known_us (n,), edges (g + 1,); asked_us and the results (q,), asked_edges (g + 1,); both times
               are sorted inside of each group
    """
    found = Windows(*(np.empty(len(asked_us), np.int64) for _ in range(3)))
    _windows(time_us, known_us, edges, asked_us, asked_edges, after_us, until_us, *found)
    return found


def counts_ahead(counted: NDArray[np.bool_], windows: Windows) -> Int64:
    """How many rows of each window are counted."""
    before = np.concatenate([[0], np.cumsum(counted, dtype=np.int64)])
    found: Int64 = before[windows.high] - before[windows.low]
    return found


def whole_sums_ahead(values: Int64, counted: NDArray[np.bool_], windows: Windows) -> tuple[Int64, NDArray[np.bool_]]:
    """Sums of the counted integers of each window, and where there is none: of no row, or beyond 64 bits."""
    given = np.where(counted, values, 0)
    upper = np.concatenate([[0], np.cumsum(given >> 32)])
    lower = np.concatenate([[0], np.cumsum(given & (_HALF - 1))])
    high, low = upper[windows.high] - upper[windows.low], lower[windows.high] - lower[windows.low]
    high = high + (low >> 32)
    missing = (counts_ahead(counted, windows) == 0) | (high < _LEAST) | (high >= _MOST)
    return np.where(missing, 0, (np.where(missing, 0, high) << 32) | (low & (_HALF - 1))), missing


@njit(cache=True)
def _sums(values: Any, edges: Any, asked_edges: Any, low: Any, high: Any, out: Any) -> None:
    total, digits = np.zeros(SUM, np.int64), np.zeros(SUM + 1, np.int64)
    for group in range(len(edges) - 1):
        least, most = np.int64(1 << 20), np.int64(0)
        for v in range(edges[group], edges[group + 1]):
            if values[v] == values[v] and values[v] != 0.0:
                position = parts(values[v])[2]
                least, most = min(least, position), max(most, position)
        first, last = min(least, most) >> 5, (most >> 5) + 2
        total[:] = 0
        begin = end = edges[group]
        for q in range(asked_edges[group], asked_edges[group + 1]):
            while end < high[q]:
                if values[end] == values[end]:
                    side, whole, position = parts(values[end])
                    put(total, whole, position, side)
                end += 1
            while begin < low[q]:
                if values[begin] == values[begin]:
                    side, whole, position = parts(values[begin])
                    put(total, whole, position, -side)
                begin += 1
            high_part, _, exponent = read(total, first, last, digits)
            out[q] = scaled(high_part, exponent - BIAS) + 0.0


def sums_ahead(
    values: NDArray[np.float64], counted: NDArray[np.bool_], edges: Int64, asked_edges: Int64, windows: Windows
) -> NDArray[np.float64]:
    """Sums of the counted values of each window, correctly rounded as by `math.fsum`.

    Undefined    NaN where no value is known; one that is not finite, or has no square, counts as missing
    Invariant to the order of rows of one time, and to rows outside of the window, to the bit
    """
    given = np.where(counted & (np.abs(values) < LARGEST), values, np.nan)
    out = np.zeros(len(windows.low))
    _sums(given, edges, asked_edges, windows.low, windows.high, out)
    out[counts_ahead(~np.isnan(given), windows) == 0] = np.nan
    return out
