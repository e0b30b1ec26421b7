"""Median, interquartile range and rank over the wafer so far, from a sorted list in blocks."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import Lattice

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

COLUMNS: Final = ("wafer_median", "wafer_iqr", "rank")
BLOCK: Final = 256


class OrderState(NamedTuple):
    """Shapes: value (d, p) by die, NaN = none; block (p, b, 256), sorted; size (p, b); order (p, b): the blocks in use
    by rising values, then the free ones; used, total (p,)."""

    value: Float64
    block: Float64
    size: Int64
    order: Int64
    used: Int64
    total: Int64


def new_state(lattice: Lattice, parameters: int) -> OrderState:
    """Nothing measured yet."""
    dies = len(lattice.x)
    blocks = 4 * dies // BLOCK + 4
    return OrderState(
        np.full((dies, parameters), np.nan),
        np.empty((parameters, blocks, BLOCK)),
        np.zeros((parameters, blocks), np.int64),
        np.tile(np.arange(blocks), (parameters, 1)),
        np.ones(parameters, np.int64),
        np.zeros(parameters, np.int64),
    )


@njit(cache=True)
def _place(state: Any, p: Any, value: Any, after_equals: Any) -> Any:
    """The block (by its place in the order) and the place in it where `value` belongs."""
    low, high = 0, state.used[p] - 1
    while low < high:
        middle = (low + high) // 2
        block = state.order[p, middle]
        top = state.block[p, block, state.size[p, block] - 1]
        if top < value or (after_equals and top == value):
            low = middle + 1
        else:
            high = middle
    block = state.order[p, low]
    first, last = 0, state.size[p, block]
    while first < last:
        middle = (first + last) // 2
        there = state.block[p, block, middle]
        if there < value or (after_equals and there == value):
            first = middle + 1
        else:
            last = middle
    return low, first


@njit(cache=True)
def _spread_anew(state: Any, p: Any) -> None:
    """All values into blocks filled half, when the blocks ran out."""
    values = np.empty(state.total[p])
    at = 0
    for k in range(state.used[p]):
        block = state.order[p, k]
        for j in range(state.size[p, block]):
            values[at] = state.block[p, block, j]
            at += 1
    half = BLOCK // 2
    state.used[p] = max((at + half - 1) // half, 1)
    for k in range(state.order.shape[1]):
        state.order[p, k] = k
        state.size[p, k] = min(max(at - k * half, 0), half) if k < state.used[p] else 0
        for j in range(state.size[p, k]):
            state.block[p, k, j] = values[k * half + j]


@njit(cache=True)
def _insert(state: Any, p: Any, value: Any) -> None:
    if state.used[p] == state.order.shape[1]:
        _spread_anew(state, p)
    k, at = _place(state, p, value, True)
    block = state.order[p, k]
    size = state.size[p, block]
    for j in range(size, at, -1):
        state.block[p, block, j] = state.block[p, block, j - 1]
    state.block[p, block, at] = value
    state.size[p, block] = size + 1
    state.total[p] += 1
    if size + 1 == BLOCK:  # the upper half goes into a free block
        half = BLOCK // 2
        fresh = state.order[p, state.used[p]]
        for j in range(half):
            state.block[p, fresh, j] = state.block[p, block, half + j]
        state.size[p, fresh] = half
        state.size[p, block] = half
        for j in range(state.used[p], k + 1, -1):
            state.order[p, j] = state.order[p, j - 1]
        state.order[p, k + 1] = fresh
        state.used[p] += 1


@njit(cache=True)
def _remove(state: Any, p: Any, value: Any) -> None:
    """Takes one value out that is there."""
    k, at = _place(state, p, value, False)
    block = state.order[p, k]
    for j in range(at, state.size[p, block] - 1):
        state.block[p, block, j] = state.block[p, block, j + 1]
    state.size[p, block] -= 1
    state.total[p] -= 1
    if state.size[p, block] == 0 and state.used[p] > 1:
        for j in range(k, state.used[p] - 1):
            state.order[p, j] = state.order[p, j + 1]
        state.used[p] -= 1
        state.order[p, state.used[p]] = block


@njit(cache=True)
def _kth(state: Any, p: Any, k: Any) -> Any:
    for j in range(state.used[p]):
        block = state.order[p, j]
        if k < state.size[p, block]:
            return state.block[p, block, k]
        k -= state.size[p, block]
    return np.nan


@njit(cache=True)
def _quantile(state: Any, p: Any, share: Any) -> Any:
    """Linear between the closest ranks (type 7 of Hyndman and Fan, 1996)."""
    at = (state.total[p] - 1) * share
    k = int(at)
    below = _kth(state, p, k)
    if at == k:
        return below
    return below + (at - k) * (_kth(state, p, k + 1) - below)


@njit(cache=True)
def _before(state: Any, p: Any, k: Any, at: Any) -> Any:
    for j in range(k):
        at += state.size[p, state.order[p, j]]
    return at


@njit(cache=True, error_model="numpy")
def query(lattice: Any, replay: Any, state: Any, first: Any, last: Any, out: Any) -> None:
    """Columns of the attempts [first, last) from what was pushed before; `rank` also from their own values.

    Shapes     out (p, 3, n) by COLUMNS
    Undefined  NaN without a value so far; `rank` also without an own value
    """
    for p in range(out.shape[0]):
        median = spread = np.nan
        if state.total[p] > 0 and last > first:
            median = _quantile(state, p, 0.5)
            spread = _quantile(state, p, 0.75) - _quantile(state, p, 0.25)
        for i in range(first, last):
            out[p, 0, i] = median
            out[p, 1, i] = spread
            out[p, 2, i] = np.nan
            own = replay.values[p, i]
            if own == own and state.total[p] > 0:
                k, at = _place(state, p, own, False)
                less = _before(state, p, k, at)
                k, at = _place(state, p, own, True)
                equal = _before(state, p, k, at) - less
                out[p, 2, i] = (less + 0.5 * equal) / state.total[p]


@njit(cache=True)
def push(lattice: Any, replay: Any, state: Any, first: Any, last: Any) -> None:
    """Takes the attempts [first, last) in; one on a die that was measured replaces the earlier value."""
    for j in range(first, last):
        if not replay.known[j]:
            continue
        die = replay.die[j]
        for p in range(replay.values.shape[0]):
            old, value = state.value[die, p], replay.values[p, j] + 0.0  # one zero only
            if old == old:
                _remove(state, p, old)
            if value == value:
                _insert(state, p, value)
            state.value[die, p] = value


@njit(cache=True, error_model="numpy")
def walk(lattice: Any, replay: Any, state: Any, out: Any) -> None:
    """The whole replay: each instant is asked, then told."""
    for k in range(len(replay.instants) - 1):
        query(lattice, replay, state, replay.instants[k], replay.instants[k + 1], out)
        push(lattice, replay, state, replay.instants[k], replay.instants[k + 1])


def _options(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {"parameters": len(asked.parameters)}


KERNEL: Final = Kernel(
    revision=2,
    columns=COLUMNS,
    new_state=new_state,
    query=query,
    push=push,
    walk=walk,
    options=_options,
    of_values=True,
)
