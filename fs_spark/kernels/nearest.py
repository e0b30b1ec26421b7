"""Distance to the nearest earlier fail: branch and bound over a pyramid of fail counts."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.kernel import Kernel
from fs_spark.kernels.replay import Lattice

Int64 = NDArray[np.int64]

COLUMNS: Final = ("fail__nearest_mm", "fail__nearest_dies")


class NearestState(NamedTuple):
    """Fails per block of 1, 2, 4 ... cells, and the true coordinates within a range of cells.

    Shapes     fails: all levels one after the other; start, height (levels,): where a level begins, its blocks on y;
               low_x, high_x, low_y, high_y by cell: the first die at or after it, the last at or before it;
               stack (4 levels + 4, 3); unit_mm (2,)
    """

    fails: NDArray[np.int32]
    start: Int64
    height: Int64
    low_x: Int64
    high_x: Int64
    low_y: Int64
    high_y: Int64
    stack: Int64
    unit_mm: NDArray[np.float64]


def _bounds(cells: Int64, values: Int64, length: int) -> tuple[Int64, Int64]:
    distinct, at = np.unique(cells, return_index=True)
    coordinates = values[at]
    every = np.arange(length)
    after = np.clip(np.searchsorted(distinct, every), 0, len(distinct) - 1)
    before = np.clip(np.searchsorted(distinct, every, side="right") - 1, 0, len(distinct) - 1)
    return coordinates[after], coordinates[before]


def new_state(lattice: Lattice) -> NearestState:
    """No fail yet."""
    width, height = lattice.grid.shape
    starts, heights, total = [], [], 0
    while True:
        starts.append(total)
        heights.append(height)
        total += width * height
        if width == 1 and height == 1:
            break
        width, height = (width + 1) // 2, (height + 1) // 2
    low_x, high_x = _bounds(lattice.cell_x.astype(np.int64), lattice.x, lattice.grid.shape[0])
    low_y, high_y = _bounds(lattice.cell_y.astype(np.int64), lattice.y, lattice.grid.shape[1])
    return NearestState(
        np.zeros(total, np.int32),
        np.array(starts, np.int64),
        np.array(heights, np.int64),
        low_x,
        high_x,
        low_y,
        high_y,
        np.zeros((4 * len(starts) + 4, 3), np.int64),
        np.abs(lattice.mm_per_cell),
    )


@njit(cache=True)
def _gap(value: Any, low: Any, high: Any) -> Any:
    if value < low:
        return low - value
    return value - high if value > high else 0


@njit(cache=True)
def _distance(dx: Any, dy: Any, in_mm: Any, scale: Any) -> Any:
    """Squared mm, or king moves."""
    a, b = dx * scale[0], dy * scale[1]
    return a * a + b * b if in_mm else max(a, b)


@njit(cache=True)
def _search(lattice: Any, state: Any, die: Any, in_mm: Any, scale: Any) -> Any:
    """The least distance from a die to another that fails, infinite without one."""
    x, y = lattice.x[die], lattice.y[die]
    own_x, own_y = np.int64(lattice.cell_x[die]), np.int64(lattice.cell_y[die])
    last_x, last_y = len(state.low_x) - 1, len(state.low_y) - 1
    best = np.inf
    stack = state.stack
    stack[0, 0], stack[0, 1], stack[0, 2] = len(state.start) - 1, 0, 0
    depth = 1 if state.fails[state.start[-1]] > 0 else 0
    bound = np.empty(4)
    child = np.empty((4, 2), np.int64)
    while depth > 0:
        depth -= 1
        level, bx, by = stack[depth, 0], stack[depth, 1], stack[depth, 2]
        size = 1 << level
        dx = _gap(x, state.low_x[bx * size], state.high_x[min(bx * size + size - 1, last_x)])
        dy = _gap(y, state.low_y[by * size], state.high_y[min(by * size + size - 1, last_y)])
        if _distance(dx, dy, in_mm, scale) >= best:
            continue
        if level == 0:
            if bx != own_x or by != own_y:
                best = _distance(dx, dy, in_mm, scale)
            continue
        below = level - 1
        half = size >> 1
        height = state.height[below]
        width = (last_x + half) // half
        found = 0
        for cx in range(2 * bx, min(2 * bx + 2, width)):
            for cy in range(2 * by, min(2 * by + 2, height)):
                if state.fails[state.start[below] + cx * height + cy] > 0:
                    dx = _gap(x, state.low_x[cx * half], state.high_x[min(cx * half + half - 1, last_x)])
                    dy = _gap(y, state.low_y[cy * half], state.high_y[min(cy * half + half - 1, last_y)])
                    at = found  # sorted by falling distance, so that the nearest comes off the stack first
                    far = _distance(dx, dy, in_mm, scale)
                    while at > 0 and bound[at - 1] < far:
                        bound[at], child[at, 0], child[at, 1] = bound[at - 1], child[at - 1, 0], child[at - 1, 1]
                        at -= 1
                    bound[at], child[at, 0], child[at, 1] = far, cx, cy
                    found += 1
        for k in range(found):
            if bound[k] < best:
                stack[depth, 0], stack[depth, 1], stack[depth, 2] = below, child[k, 0], child[k, 1]
                depth += 1
    return best


@njit(cache=True, error_model="numpy")
def query(lattice: Any, replay: Any, state: Any, first: Any, last: Any, out: Any) -> None:
    """Columns of the attempts [first, last) from what was pushed before, without the die itself.

    Shapes     out (2, n) by COLUMNS
    Units      mm from center to center; king moves of one pitch
    Undefined  NaN without a fail; mm also where the die size is unknown
    """
    moves = 1.0 / lattice.step
    for i in range(first, last):
        die = replay.die[i]
        steps = _search(lattice, state, die, False, moves)
        out[0, i] = np.nan
        out[1, i] = np.nan
        if np.isfinite(steps):
            out[1, i] = steps
            if np.isfinite(state.unit_mm[0]) and np.isfinite(state.unit_mm[1]):
                out[0, i] = np.sqrt(_search(lattice, state, die, True, state.unit_mm))


@njit(cache=True)
def push(lattice: Any, replay: Any, state: Any, first: Any, last: Any) -> None:
    """Takes the attempts [first, last) in."""
    for j in range(first, last):
        if not replay.known[j]:
            continue
        cx, cy = np.int64(lattice.cell_x[replay.die[j]]), np.int64(lattice.cell_y[replay.die[j]])
        was = state.fails[cx * state.height[0] + cy]
        change = (1 if replay.outcome[j] == 0 else 0) - was
        if change != 0:
            for level in range(len(state.start)):
                state.fails[state.start[level] + (cx >> level) * state.height[level] + (cy >> level)] += change


@njit(cache=True, error_model="numpy")
def walk(lattice: Any, replay: Any, state: Any, out: Any) -> None:
    """The whole replay: each instant is asked, then told."""
    for k in range(len(replay.instants) - 1):
        query(lattice, replay, state, replay.instants[k], replay.instants[k + 1], out)
        push(lattice, replay, state, replay.instants[k], replay.instants[k + 1])


KERNEL: Final = Kernel(revision=1, columns=COLUMNS, new_state=new_state, query=query, push=push, walk=walk)
