"""Median, interquartile range and rank over the wafer so far, from a sorted list in blocks."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from fs_spark.compiled import njit
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import Float64, Int64, Lattice, Replay

COLUMNS: Final = ("wafer_median", "wafer_iqr", "rank")
BLOCK: Final = 256
_USED, _TOTAL = range(2)


class OrderState(NamedTuple):
    """Shapes: value (d, p) by die, NaN = none; block (p, b, 256), sorted; size (p, b); order (p, b): the blocks in use
    by rising values, then the free ones; counts (p, 2): blocks in use, values; room (d,)."""

    value: Float64
    block: Float64
    size: Int64
    order: Int64
    counts: Int64
    room: Float64


def new_state(lattice: Lattice, parameters: int) -> OrderState:
    """Nothing measured yet."""
    dies = len(lattice.x)
    blocks = 4 * dies // BLOCK + 4
    return OrderState(
        np.full((dies, parameters), np.nan),
        np.empty((parameters, blocks, BLOCK)),
        np.zeros((parameters, blocks), np.int64),
        np.tile(np.arange(blocks), (parameters, 1)),
        np.tile(np.array([1, 0]), (parameters, 1)),
        np.empty(dies),
    )


@njit(inner=True)
def _place(order: Any, used: Any, block: Any, size: Any, value: Any, after_equals: Any) -> Any:
    """The block (by its place in the order) and the place in it where `value` belongs, of one parameter."""
    low, high = 0, used - 1
    while low < high:
        middle = (low + high) // 2
        top = block[order[middle], size[order[middle]] - 1]
        if top < value or (after_equals and top == value):
            low = middle + 1
        else:
            high = middle
    at = order[low]
    first, last = 0, size[at]
    while first < last:
        middle = (first + last) // 2
        there = block[at, middle]
        if there < value or (after_equals and there == value):
            first = middle + 1
        else:
            last = middle
    return low, first


@njit(inner=True)
def _spread_anew(order: Any, block: Any, size: Any, used: Any, room: Any) -> Any:
    """All values into blocks filled half, when the blocks ran out; how many are in use then."""
    total = 0
    for k in range(used):
        for j in range(size[order[k]]):
            room[total] = block[order[k], j]
            total += 1
    half = BLOCK // 2
    in_use = (total + half - 1) // half
    for k in range(len(order)):
        order[k] = k
        size[k] = 0
        if k < in_use:
            size[k] = total - k * half if total - k * half < half else half
        for j in range(size[k]):
            block[k, j] = room[k * half + j]
    return in_use if in_use > 0 else 1


@njit(inner=True)
def _replace(order: Any, block: Any, size: Any, counts: Any, room: Any, old: Any, new: Any) -> None:
    """Takes one value out that is there, and puts another in; NaN: none."""
    for turn in range(2):
        value = new if turn else old
        if value != value:
            continue
        if turn and counts[_USED] == len(order):
            counts[_USED] = _spread_anew(order, block, size, counts[_USED], room)
        k, at = _place(order, counts[_USED], block, size, value, turn > 0)
        here = order[k]
        if not turn:
            size[here] -= 1
            counts[_TOTAL] -= 1
            for j in range(at, size[here]):
                block[here, j] = block[here, j + 1]
            if size[here] == 0 and counts[_USED] > 1:
                counts[_USED] -= 1
                for j in range(k, counts[_USED]):
                    order[j] = order[j + 1]
                order[counts[_USED]] = here
            continue
        for j in range(size[here], at, -1):
            block[here, j] = block[here, j - 1]
        block[here, at] = value
        size[here] += 1
        counts[_TOTAL] += 1
        if size[here] == BLOCK:  # the upper half goes into a free block
            half = BLOCK // 2
            fresh = order[counts[_USED]]
            for j in range(half):
                block[fresh, j] = block[here, half + j]
            size[fresh] = half
            size[here] = half
            for j in range(counts[_USED], k + 1, -1):
                order[j] = order[j - 1]
            order[k + 1] = fresh
            counts[_USED] += 1


@njit(cache=True, error_model="numpy")
def _run(
    die_of: Any, known: Any, values: Any, value: Any, blocks: Any, sizes: Any, orders: Any, counts: Any, room: Any,
    bounds: Any, ask: Any, tell: Any, out: Any,
) -> None:  # fmt: skip
    for instant in range(len(bounds) - 1):
        first, last = bounds[instant], bounds[instant + 1]
        for p in range(values.shape[0]):
            block, size, order = blocks[p], sizes[p], orders[p]
            used, total = counts[p, _USED], counts[p, _TOTAL]
            if ask and last > first:
                # quartiles, linear between the closest ranks (type 7 of Hyndman and Fan, 1996)
                low = median = high = np.nan
                for quarter in range(1, 4 if total > 0 else 1):
                    at = (total - 1) * (0.25 * quarter)
                    k = int(at)
                    rest = at - k
                    j = 0
                    while k >= size[order[j]]:
                        k -= size[order[j]]
                        j += 1
                    found = block[order[j], k]
                    if rest != 0:
                        above = block[order[j], k + 1] if k + 1 < size[order[j]] else block[order[j + 1], 0]
                        found = found + rest * (above - found)
                    if quarter == 1:
                        low = found
                    elif quarter == 2:
                        median = found
                    else:
                        high = found
                for i in range(first, last):
                    out[p, 0, i] = median
                    out[p, 1, i] = high - low
                    out[p, 2, i] = np.nan
                    own = values[p, i]
                    if own == own and total > 0:
                        less = upto = 0
                        for side in range(2):
                            k, upto = _place(order, used, block, size, own, side > 0)
                            for j in range(k):
                                upto += size[order[j]]
                            if side == 0:
                                less = upto
                        out[p, 2, i] = (less + 0.5 * (upto - less)) / total
            for j in range(first, last if tell else first):
                if known[j]:
                    die = die_of[j]
                    now = values[p, j] + 0.0  # one zero only
                    _replace(order, block, size, counts[p], room, value[die, p], now)
                    value[die, p] = now


def run(
    lattice: Lattice, replay: Replay, state: OrderState, bounds: Int64, ask: bool, tell: bool, out: Float64
) -> None:
    """As `Kernel.run`; `rank` also from the attempts' own values.

    Shapes     out (p, 3, n) by COLUMNS
    Undefined  NaN without a value so far; `rank` also without an own value
    """
    _run(replay.die, replay.known, replay.values, *state, bounds, ask, tell, out)


def _options(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {"parameters": len(asked.parameters)}


KERNEL: Final = Kernel(
    revision=2,
    columns=COLUMNS,
    new_state=new_state,
    run=run,
    options=_options,
    of_values=True,
)
