"""Distance to the nearest earlier fail: branch and bound over a pyramid of fail counts."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.kernel import Kernel
from fs_spark.kernels.replay import Float64, Int64, Lattice, Replay

COLUMNS: Final = ("fail__nearest_mm", "fail__nearest_dies")


class NearestState(NamedTuple):
    """Fails per block of 1, 2, 4 ... cells, and the true coordinates within a range of cells.

    Shapes     fails: all levels one after the other; start, height (levels,): where a level begins, its blocks on y;
               low_x, high_x, low_y, high_y by cell: the first die at or after it, the last at or before it;
               stack (4 levels + 4, 3), bound (4 levels + 4,): room for a search; scale (2, 2): king moves and mm of a
               coordinate on x and y
    """

    fails: NDArray[np.int32]
    start: Int64
    height: Int64
    low_x: Int64
    high_x: Int64
    low_y: Int64
    high_y: Int64
    stack: Int64
    bound: Float64
    scale: Float64


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
        np.zeros(4 * len(starts) + 4),
        np.stack([1.0 / lattice.step, np.abs(lattice.mm_per_cell)]),
    )


@njit(cache=True, error_model="numpy")
def _run(
    x_of: Any, y_of: Any, cell_x: Any, cell_y: Any, die_of: Any, known: Any, outcome_of: Any, fails: Any, start: Any,
    height: Any, low_x: Any, high_x: Any, low_y: Any, high_y: Any, stack: Any, bound: Any, scale: Any, bounds: Any,
    ask: Any, tell: Any, out: Any,
) -> None:  # fmt: skip
    last_x, last_y = len(low_x) - 1, len(low_y) - 1
    levels = len(start)
    for instant in range(len(bounds) - 1):
        first, last = bounds[instant], bounds[instant + 1]
        for i in range(first, last if ask else first):
            die = die_of[i]
            x, y = x_of[die], y_of[die]
            for turn in range(2):  # king moves, then mm
                scale_x, scale_y = scale[turn, 0], scale[turn, 1]
                best = np.inf
                # the blocks yet to be searched, the nearest on top: level, place on x and on y, and how far it is
                depth = 0
                if fails[start[levels - 1]] > 0 and scale_x == scale_x and scale_y == scale_y:
                    stack[0, 0], stack[0, 1], stack[0, 2], bound[0] = levels - 1, 0, 0, 0.0
                    depth = 1
                while depth > 0:
                    depth -= 1
                    if bound[depth] >= best:
                        continue
                    level, bx, by = stack[depth, 0], stack[depth, 1], stack[depth, 2]
                    if level == 0:
                        if bx != cell_x[die] or by != cell_y[die]:
                            best = bound[depth]
                        continue
                    base = depth
                    level -= 1
                    size = 1 << level
                    for child in range(4):
                        cx, cy = 2 * bx + (child >> 1), 2 * by + (child & 1)
                        begin_x, begin_y = cx * size, cy * size
                        if begin_x > last_x or begin_y > last_y or fails[start[level] + cx * height[level] + cy] == 0:
                            continue
                        end_x, end_y = begin_x + size - 1, begin_y + size - 1
                        end_x = end_x if end_x < last_x else last_x
                        end_y = end_y if end_y < last_y else last_y
                        dx = dy = 0
                        if x < low_x[begin_x]:
                            dx = low_x[begin_x] - x
                        elif x > high_x[end_x]:
                            dx = x - high_x[end_x]
                        if y < low_y[begin_y]:
                            dy = low_y[begin_y] - y
                        elif y > high_y[end_y]:
                            dy = y - high_y[end_y]
                        far_x, far_y = dx * scale_x, dy * scale_y
                        far = far_x if far_x > far_y else far_y
                        if turn == 1:  # squared
                            far = far_x * far_x + far_y * far_y
                        if far >= best:
                            continue
                        at = depth
                        while at > base and bound[at - 1] < far:
                            bound[at], stack[at, 0] = bound[at - 1], stack[at - 1, 0]
                            stack[at, 1], stack[at, 2] = stack[at - 1, 1], stack[at - 1, 2]
                            at -= 1
                        bound[at], stack[at, 0], stack[at, 1], stack[at, 2] = far, level, cx, cy
                        depth += 1
                if best == np.inf:
                    best = np.nan
                out[1 - turn, i] = math.sqrt(best) if turn == 1 else best
        for j in range(first, last if tell else first):
            if known[j]:
                die = die_of[j]
                bx, by = np.int64(cell_x[die]), np.int64(cell_y[die])
                change = (outcome_of[j] == 0) - fails[bx * height[0] + by]
                if change != 0:
                    for level in range(levels):
                        fails[start[level] + (bx >> level) * height[level] + (by >> level)] += change


def run(
    lattice: Lattice, replay: Replay, state: NearestState, bounds: Int64, ask: bool, tell: bool, out: Float64
) -> None:
    """As `Kernel.run`, without the die itself.

    Shapes     out (2, n) by COLUMNS
    Units      mm from center to center; king moves of one pitch
    Undefined  NaN without a fail; mm also where the die size is unknown
    """
    places = lattice.x, lattice.y, lattice.cell_x, lattice.cell_y
    _run(*places, replay.die, replay.known, replay.outcome, *state, bounds, ask, tell, out)


KERNEL: Final = Kernel(revision=1, columns=COLUMNS, new_state=new_state, run=run)
