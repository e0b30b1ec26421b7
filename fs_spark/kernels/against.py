"""A row's value against the latest ones of the other units of its population, as far as these were known.

Rows of one population come in the order of their events. A row i is compared with the values of the other units j whose
latest attempt with event(j) < event(i), among those known by then, has one: percentile rank (smaller + half of the
equal) / n, robust z-score (x - median) / (IQR / 1.35), and x - median; quartiles of type 7 (Hyndman, Fan, Sample
quantiles in statistical packages, 1996).

What becomes known later changes the past of rows behind it: each such delivery is one more sweep, so that rows which
come in the order of their events cost O(n log n) together.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.sliding_order import count_in, find, power_of_two

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

REVISION: Final = 1
RANK, ROBUST_Z, MEDIAN_DIFF = range(3)


class Compared(NamedTuple):
    """What rows give, once for each time from which on they give other values.

    Shapes     row (m,), places in the rows given; known_us (m,), from when on; values (p, 3, m) by RANK, ROBUST_Z,
               MEDIAN_DIFF, NaN = null
    """

    row: Int64
    known_us: Int64
    values: Float64


@njit(cache=True, error_model="numpy")
def _sweep(event: Any, unit: Any, known: Any, asks: Any, level: Any, levels: Any, values: Any, tree: Any, here: Any,
           counted: Any, out: Any) -> None:  # fmt: skip
    """Values of the rows that ask, of what is known; rows by event.

    Shapes     event, unit, known, asks (n,); level (n,), the place of a row's value among `levels` (l,), -1 = none;
               values (n,); tree, here (2 l + 3,) zeros; counted (u,) -1: room; out (3, n)
    """
    size = power_of_two(len(levels) + 1)
    n = 0
    first = 0
    while first < len(event):
        last = first
        while last < len(event) and event[last] == event[first]:
            last += 1
        for i in range(first, last):
            if not asks[i] or level[i] < 0:
                continue
            own = counted[unit[i]]
            if own >= 0:
                count_in(tree, own, size, -1)
                here[own] -= 1
                n -= 1
            if n > 0:
                smaller = 0
                k = level[i]
                while k > 0:
                    smaller += tree[k]
                    k -= k & -k
                out[0, i] = (smaller + 0.5 * here[level[i]]) / n
                low = middle = high = 0.0
                for quarter in range(1, 4):
                    rank = (n - 1) * (0.25 * quarter)
                    lower = np.int64(rank)
                    place, before = find(tree, size, lower)
                    below = levels[place]
                    if rank != lower and before + 1 == here[place]:
                        place, before = find(tree, size, lower + 1)
                        below += (rank - lower) * (levels[place] - below)
                    if quarter == 1:
                        low = below
                    elif quarter == 2:
                        middle = below
                    else:
                        high = below
                out[2, i] = values[i] - middle
                if high - low != 0:
                    out[1, i] = (values[i] - middle) / ((high - low) / 1.35)
            if own >= 0:
                count_in(tree, own, size, 1)
                here[own] += 1
                n += 1
        for i in range(first, last):
            if not known[i]:
                continue
            own = counted[unit[i]]
            if own >= 0:
                count_in(tree, own, size, -1)
                here[own] -= 1
                n -= 1
            counted[unit[i]] = level[i]
            if level[i] >= 0:
                count_in(tree, level[i], size, 1)
                here[level[i]] += 1
                n += 1
        first = last


def _segments(event_us: Int64, available_us: Int64) -> list[tuple[int, int, int]]:
    """What one sweep can answer: (from, to, earliest event) by availability, in the order of availability.

    The first delivery of a segment may reach behind events that are known; no other one of it does.
    """
    order = np.argsort(available_us, kind="stable")
    event, available = event_us[order], available_us[order]
    starts = np.flatnonzero(np.concatenate([[True], available[1:] != available[:-1]])) if len(order) else order
    earliest = np.minimum.reduceat(event, starts) if len(starts) else starts
    latest = np.maximum.accumulate(np.maximum.reduceat(event, starts)) if len(starts) else starts
    behind = np.ones(len(starts), np.bool_)
    behind[1:] = earliest[1:] < latest[:-1]
    firsts = np.flatnonzero(behind)
    ends = [*starts[firsts[1:]], len(order)] if len(firsts) else []
    return [(int(starts[k]), int(end), int(earliest[k])) for k, end in zip(firsts, ends, strict=True)]


def compare(
    event_us: Int64, available_us: Int64, unit: Int64, gives: NDArray[np.bool_], values: Float64, *, all_revisions: bool
) -> Compared:
    """The rows of one population against each other.

    Shapes     event_us, available_us, unit (0 to u), gives (n,): rows in the order of events, attempts of one unit and
               event in their own; rows that do not give are part of the population alone; values (p, n), NaN = null
    Units      microseconds
    Undefined  NaN for a row without a value, without others, for `robust_z` where the quartiles are equal
    """
    rows, parameters = len(event_us), len(values)
    order = np.argsort(available_us, kind="stable")
    current = np.full((parameters, 3, rows), np.nan)
    found: list[tuple[Int64, Int64, Float64]] = []
    units = int(unit.max()) + 1 if rows else 0
    coded = [np.unique(column[~np.isnan(column)] + 0.0) for column in values]
    level = np.full((parameters, rows), -1, np.int64)
    for p, column in enumerate(values):
        there = ~np.isnan(column)
        level[p, there] = np.searchsorted(coded[p], column[there] + 0.0)
    for first, end, earliest in _segments(event_us, available_us):
        known, asks = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
        known[order[:end]] = True
        asks[order[first:end]] = True
        old = np.zeros(rows, np.bool_)
        if all_revisions and first:
            old[order[:first]] = event_us[order[:first]] > earliest
        asks = (asks | old) & gives
        now = np.full((parameters, 3, rows), np.nan)
        for p in range(parameters):
            room = 2 * len(coded[p]) + 3
            _sweep(
                event_us, unit, known, asks, level[p], coded[p], values[p] + 0.0, np.zeros(room, np.int64),
                np.zeros(room, np.int64), np.full(units, -1, np.int64), now[p],
            )  # fmt: skip
        now[~np.isfinite(now)] = np.nan
        now += 0.0
        moved = (now.view(np.int64) != current.view(np.int64)).any(axis=(0, 1)) if parameters else old
        told = np.flatnonzero(asks & (~old | moved))
        since = np.where(old[told], available_us[order[first]] if first < rows else 0, available_us[told])
        found.append((told, since, now[:, :, told]))
        current[:, :, told] = now[:, :, told]
    if not found:
        return Compared(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((parameters, 3, 0)))
    row, known_us, told_values = (np.concatenate(parts, axis=-1) for parts in zip(*found, strict=True))
    return Compared(row, known_us, told_values)
