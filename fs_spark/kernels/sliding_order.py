"""Quantiles, distinct values, first and last of the rows of a window, as rows come and go.

Shapes     ops (p,), begin (s + 1,), instant (s,): a window's log (`fs_spark.kernels.sliding_walk.Log`); edges (g + 1,)
           over versions; level (v,): the place of a version's value among the distinct ones of its group, -1 = null;
           levels and level_edges (g + 1,): these values
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@njit(cache=True)
def count_in(tree: Any, at: Any, size: Any, sign: Any) -> None:
    """Adds `sign` at a place of a Fenwick tree of `size` places, a power of two."""
    k = at + 1
    while k <= size:
        tree[k] += sign
        k += k & -k


@njit(cache=True)
def find(tree: Any, size: Any, k: Any) -> Any:
    """The place of the k-th (from 0) of what a tree counts, and how many of one place are before it."""
    at, step = 0, size >> 1
    while step > 0:
        there = tree[at + step]
        further = np.int64(there <= k)  # without a branch, which could not be foreseen
        at += step * further
        k -= there * further
        step >>= 1
    return at, k


@njit(cache=True)
def power_of_two(least: Any) -> Any:
    """The least power of two that is not below."""
    size = np.int64(1)
    while size < least:
        size *= 2
    return size


@njit(cache=True)
def quantiles(
    level: Any, levels: Any, level_edges: Any, shares: Any, ops: Any, begin: Any, instant: Any,
    tree: Any, here: Any, out: Any,
) -> None:  # fmt: skip
    """Linear between the closest ranks (type 7 of Hyndman and Fan, 1996).

    Shapes     shares (q,) from 0 to 1, out (q, s); tree, here: room, `new_trees` of the levels
    Undefined  NaN without a value
    """
    group = n = size = base = 0
    for s in range(len(instant)):
        if instant[s] < 0:
            base = level_edges[group]
            size = power_of_two(level_edges[group + 1] - base + 1)
            for k in range(size + 1):
                tree[k] = 0
                here[k] = 0
            group += 1
            n = 0
        for k in range(begin[s], begin[s + 1]):
            v, sign = ops[k], 1
            if v < 0:
                v, sign = ~v, -1
            at = level[v]
            if at >= 0:
                count_in(tree, at, size, sign)
                here[at] += sign
                n += sign
        for q in range(len(shares)):
            if n == 0:
                out[q, s] = np.nan
                continue
            rank = (n - 1) * shares[q]
            lower = np.int64(rank)
            place, before = find(tree, size, lower)
            below = levels[base + place]
            if rank != lower and before + 1 == here[place]:
                place, before = find(tree, size, lower + 1)
                below += (rank - lower) * (levels[base + place] - below)
            out[q, s] = below


@njit(cache=True)
def distinct(level: Any, ops: Any, begin: Any, instant: Any, here: Any, out: Any) -> None:
    """How many distinct values there are.

    Shapes     here: zeros, more than there are levels; out (s,)
    """
    n = first = 0
    for s in range(len(instant)):
        if instant[s] < 0:
            for k in range(first, begin[s]):
                v = ops[k] if ops[k] >= 0 else ~ops[k]
                if level[v] >= 0:
                    here[level[v]] = 0
            first, n = begin[s], 0
        for k in range(begin[s], begin[s + 1]):
            v = ops[k] if ops[k] >= 0 else ~ops[k]
            at = level[v]
            if at >= 0:
                if ops[k] >= 0:
                    n += here[at] == 0
                    here[at] += 1
                else:
                    here[at] -= 1
                    n -= here[at] == 0
        out[s] = n


@njit(cache=True)
def ends(known: Any, edges: Any, ops: Any, begin: Any, instant: Any, tree: Any, out: Any) -> None:
    """The first and the last version that is known, -1 = none.

    Shapes     known (v,) bool; tree: room, `new_trees` of the versions; out (2, s), -1 everywhere
    """
    group = n = size = base = 0
    for s in range(len(instant)):
        if instant[s] < 0:
            base = edges[group]
            size = power_of_two(edges[group + 1] - base + 1)
            for k in range(size + 1):
                tree[k] = 0
            group += 1
            n = 0
        for k in range(begin[s], begin[s + 1]):
            v, sign = ops[k], 1
            if v < 0:
                v, sign = ~v, -1
            if known[v]:
                count_in(tree, v - base, size, sign)
                n += sign
        if n > 0:
            place, _ = find(tree, size, 0)
            out[0, s] = base + place
            place, _ = find(tree, size, n - 1)
            out[1, s] = base + place


def new_trees(count: int, edges: Int64) -> NDArray[np.int32]:
    """Room for trees over any of the groups: (count, t)."""
    return np.empty((count, 2 * int(np.diff(edges).max(initial=0)) + 3), np.int32)


def distinct_values(level: Int64, level_edges: Int64, log: tuple[Int64, Int64, Int64]) -> Float64:
    """`distinct` in each state of a log: (s,)."""
    out = np.empty(len(log[2]))
    distinct(level, *log, np.zeros(int(np.diff(level_edges).max(initial=0)) + 1, np.int32), out)
    return out


def levels_of(values: Float64 | Int64, known: NDArray[np.bool_], edges: Int64) -> tuple[Int64, Float64 | Int64, Int64]:
    """Each version's place among the distinct values of its group, these values by group, and their bounds.

    Shapes     values, known (v,), edges (g + 1,)  ->  (v,), -1 where not known; (m,); (g + 1,)

    >>> levels_of(np.array([3, 1, 3, 9]), np.array([True, True, True, False]), np.array([0, 3, 4]))[0].tolist()
    [1, 0, 1, -1]
    """
    group = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    if len(edges) <= 1 << 16:
        group = group.astype(np.uint16)  # sorted by its digits, in one pass
    order = np.flatnonzero(known)
    order = order[np.argsort(values[order])]
    order = order[np.argsort(group[order], kind="stable")]
    ranked, groups = values[order], group[order]
    new = np.ones(len(order), bool)
    new[1:] = (ranked[1:] != ranked[:-1]) | (groups[1:] != groups[:-1])
    number = np.cumsum(new) - 1
    level_edges = np.searchsorted(groups[new], np.arange(len(edges))).astype(np.int64)
    level = np.full(len(values), -1, np.int64)
    level[order] = number - level_edges[groups]
    return level, ranked[new], level_edges
