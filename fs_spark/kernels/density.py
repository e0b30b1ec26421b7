"""Density of earlier fails around a die, in a square box and under a Gaussian, normalized by what was judged there."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.elementary import exponentials
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import Lattice

COLUMNS: Final = ("fail__density_box", "fail__density_gauss")


class DensityState(NamedTuple):
    """What is judged and failed, as two grids padded like the lattice's, and the windows.

    Shapes     judged, fails (nx, ny) of 0 and 1; box_x, box_y: half widths in cells, -1 = undefined; gauss_y (r,) by
               |cells on x|: half width on y; weight (r, s) by |cells on x| and |cells on y|
    """

    judged: NDArray[np.uint8]
    fails: NDArray[np.uint8]
    box_x: int
    box_y: int
    gauss_y: NDArray[np.int64]
    weight: NDArray[np.float64]


def new_state(lattice: Lattice, *, box_mm: float, sigma_mm: float) -> DensityState:
    """Nothing judged yet. The lattice must have been made with a reach of both windows."""
    cell = np.abs(lattice.mm_per_cell)
    known = bool(np.isfinite(cell).all())
    grid = (lattice.grid.shape[0], lattice.grid.shape[1])
    box_x, box_y = (int(box_mm / float(mm) + 1e-9) for mm in cell) if known else (-1, -1)
    reach = [int(3 * sigma_mm / float(mm) + 1e-9) for mm in cell] if known else [0, 0]
    dx = np.arange(reach[0] + 1) * (cell[0] if known else 0.0)
    dy = np.arange(reach[1] + 1) * (cell[1] if known else 0.0)
    square = (dx * dx)[:, None] + (dy * dy)[None, :]
    inside = square <= 9 * sigma_mm * sigma_mm * (1 + 1e-12)
    return DensityState(
        np.zeros(grid, np.uint8),
        np.zeros(grid, np.uint8),
        box_x,
        box_y,
        inside.sum(axis=1).astype(np.int64) - 1 if known else np.zeros(0, np.int64),
        np.where(inside, exponentials(-square / (2 * sigma_mm * sigma_mm)), 0.0),
    )


@njit(cache=True, error_model="numpy")
def query(lattice: Any, replay: Any, state: Any, first: Any, last: Any, out: Any) -> None:
    """Columns of the attempts [first, last) from what was pushed before, without the die itself.

    Shapes     out (2, n) by COLUMNS
    Undefined  NaN where nothing is judged in the window, or the die size is unknown
    Invariant to  order: both windows are summed by rising x, then y
    """
    far = len(state.gauss_y) - 1
    for i in range(first, last):
        out[0, i] = np.nan
        out[1, i] = np.nan
        if state.box_x < 0:
            continue
        die = replay.die[i]
        cx, cy = np.int64(lattice.cell_x[die]), np.int64(lattice.cell_y[die])
        own_judged, own_fails = state.judged[cx, cy], state.fails[cx, cy]
        judged = fails = 0
        for x in range(cx - state.box_x, cx + state.box_x + 1):
            judged_row = state.judged[x, cy - state.box_y : cy + state.box_y + 1]
            fails_row = state.fails[x, cy - state.box_y : cy + state.box_y + 1]
            for k in range(len(judged_row)):
                judged += judged_row[k]
                fails += fails_row[k]
        judged -= own_judged
        fails -= own_fails
        if judged > 0:
            out[0, i] = fails / judged
        mass = failed = 0.0
        for dx in range(-far, far + 1):
            half = state.gauss_y[abs(dx)]
            for dy in range(-half, half + 1):
                if state.judged[cx + dx, cy + dy] and (dx != 0 or dy != 0):
                    w = state.weight[abs(dx), abs(dy)]
                    mass += w
                    if state.fails[cx + dx, cy + dy]:
                        failed += w
        if mass > 0:
            out[1, i] = failed / mass


@njit(cache=True)
def push(lattice: Any, replay: Any, state: Any, first: Any, last: Any) -> None:
    """Takes the attempts [first, last) in."""
    for j in range(first, last):
        if replay.known[j]:
            cx, cy = lattice.cell_x[replay.die[j]], lattice.cell_y[replay.die[j]]
            state.judged[cx, cy] = replay.outcome[j] >= 0
            state.fails[cx, cy] = replay.outcome[j] == 0


@njit(cache=True, error_model="numpy")
def walk(lattice: Any, replay: Any, state: Any, out: Any) -> None:
    """The whole replay: each instant is asked, then told."""
    for k in range(len(replay.instants) - 1):
        query(lattice, replay, state, replay.instants[k], replay.instants[k + 1], out)
        push(lattice, replay, state, replay.instants[k], replay.instants[k + 1])


def _options(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {"box_mm": asked.settings.density_box_mm, "sigma_mm": asked.settings.density_sigma_mm}


def _reach_mm(asked: Asked) -> float:
    return float(max(asked.settings.density_box_mm, 3 * asked.settings.density_sigma_mm))


KERNEL: Final = Kernel(
    revision=2,
    columns=COLUMNS,
    new_state=new_state,
    query=query,
    push=push,
    walk=walk,
    options=_options,
    reach_mm=_reach_mm,
)
