"""Density of earlier fails around a die, in a square box and under a Gaussian, normalized by what was judged there."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.elementary import exponentials
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import Float64, Int64, Lattice, Replay

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
def _run(
    cell_x: Any, cell_y: Any, die_of: Any, known: Any, outcome_of: Any, judged: Any, fails: Any, box_x: Any, box_y: Any,
    gauss_y: Any, weight: Any, bounds: Any, ask: Any, tell: Any, out: Any,
) -> None:  # fmt: skip
    far = len(gauss_y) - 1
    for instant in range(len(bounds) - 1):
        first, last = bounds[instant], bounds[instant + 1]
        for i in range(first, last if ask else first):
            out[0, i] = np.nan
            out[1, i] = np.nan
            if box_x < 0:
                continue
            die = die_of[i]
            cx, cy = np.int64(cell_x[die]), np.int64(cell_y[die])
            there = failed = 0
            for x in range(cx - box_x, cx + box_x + 1):
                judged_row = judged[x, cy - box_y : cy + box_y + 1]
                fails_row = fails[x, cy - box_y : cy + box_y + 1]
                for k in range(len(judged_row)):
                    there += judged_row[k]
                    failed += fails_row[k]
            there -= judged[cx, cy]
            failed -= fails[cx, cy]
            if there > 0:
                out[0, i] = failed / there
            mass = failed_mass = 0.0
            for dx in range(-far, far + 1):
                half = gauss_y[abs(dx)]
                for dy in range(-half, half + 1):
                    if judged[cx + dx, cy + dy] and (dx != 0 or dy != 0):
                        w = weight[abs(dx), abs(dy)]
                        mass += w
                        if fails[cx + dx, cy + dy]:
                            failed_mass += w
            if mass > 0:
                out[1, i] = failed_mass / mass
        for j in range(first, last if tell else first):
            if known[j]:
                die = die_of[j]
                judged[cell_x[die], cell_y[die]] = outcome_of[j] >= 0
                fails[cell_x[die], cell_y[die]] = outcome_of[j] == 0


def run(
    lattice: Lattice, replay: Replay, state: DensityState, bounds: Int64, ask: bool, tell: bool, out: Float64
) -> None:
    """As `Kernel.run`, without the die itself.

    Shapes     out (2, n) by COLUMNS
    Undefined  NaN where nothing is judged in the window, or the die size is unknown
    Invariant to  order: both windows are summed by rising x, then y
    """
    attempts = replay.die, replay.known, replay.outcome
    _run(lattice.cell_x, lattice.cell_y, *attempts, *state, bounds, ask, tell, out)


def _options(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {"box_mm": asked.settings.density_box_mm, "sigma_mm": asked.settings.density_sigma_mm}


def _reach_mm(asked: Asked) -> float:
    return float(max(asked.settings.density_box_mm, 3 * asked.settings.density_sigma_mm))


KERNEL: Final = Kernel(
    revision=2,
    columns=COLUMNS,
    new_state=new_state,
    run=run,
    options=_options,
    reach_mm=_reach_mm,
)
