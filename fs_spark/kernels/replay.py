"""One wafer as it was tested: a lattice of dies, and the attempts on it, instant after instant."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.errors import GeometryError
from fs_spark.wafer import WaferGeometry, place_codes

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

MOST_CELLS: Final = 1 << 24
"""Of a grid: 64 MB. A wafer of 70,000 dies has about 90,000."""

KING_MOVES: Final = np.array([(dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dx or dy], np.int64)
IS_SIDE: Final = np.abs(KING_MOVES).sum(axis=1) == 1
_BLOCK_MOVES: Final = np.array(
    [(dx, dy) for dy in range(-2, 3) for dx in range(-2, 3) if max(abs(dx), abs(dy)) == 2], np.int64
)


class Lattice(NamedTuple):
    """Where the dies are: a grid of die numbers, one cell per coordinate unit, `pad` empty cells on every side.

    Gaps that no window reaches over are shortened, so that a stray die does not blow up the grid: differences of cells
    are true up to `pad`, longer distances come from x, y, x_mm, y_mm.

    Shapes     grid (nx, ny): die or -1; cell_x, cell_y, x, y, x_mm, y_mm (d,); step, size_mm, direction (2,);
               king (d, 8): the die at each king move, -1 = none; block (d, 16): the outer dies of the 5x5 block
    Units      `step`: cells from a die to the next; `size_mm`: that step in mm, NaN when unknown; `direction`: 1 where
               mm grow with the coordinate, else -1
    """

    grid: Int32
    cell_x: Int32
    cell_y: Int32
    x: Int64
    y: Int64
    x_mm: Float64
    y_mm: Float64
    step: Int64
    size_mm: Float64
    direction: Float64
    king: Int32
    block: Int32
    pad: int

    @property
    def mm_per_cell(self) -> Float64:
        return self.size_mm / self.step * self.direction


class Replay(NamedTuple):
    """Attempts of one wafer and insertion in their one order (event, run, part).

    Shapes     die, known, outcome, hard_bin, site (n,); instants (m + 1,): attempts [instants[k], instants[k + 1]) have
               one event time; values (p, n), NaN = missing; zones (3, d): ring, sector and place in the shot of a die,
               -1 = unknown
    Units      outcome 1 pass, 0 fail, -1 not judged; hard_bin and site -1 = missing; `known` False: asked, never told
    """

    die: Int32
    instants: Int64
    known: NDArray[np.bool_]
    outcome: NDArray[np.int8]
    hard_bin: Int32
    site: Int32
    values: Float64
    zones: Int32


def _cells(values: Int64, pad: int) -> tuple[Int64, Int64, int]:
    """Distinct coordinates, the cell of each, and the number of cells; gaps above `pad` are shortened to pad + 1."""
    distinct = np.unique(values)
    gaps = np.minimum(np.diff(distinct), pad + 1)
    cells = np.concatenate([[pad], pad + np.cumsum(gaps)]).astype(np.int64)
    return distinct, cells, int(cells[-1]) + pad + 1


def make_lattice(x: Int64, y: Int64, *, geometry: WaferGeometry, reach_mm: float = 0.0) -> Lattice:
    """A lattice of distinct dies (n, 2) >= 1, on which windows of `reach_mm` and the 5x5 block stay inside the grid.

    Raises     GeometryError where the dies are strewn so far that they are no wafer
    """
    step = np.array([geometry.pitch_x, geometry.pitch_y], np.int64)
    size = np.array(
        [
            np.nan if geometry.die_width_mm is None else geometry.die_width_mm,
            np.nan if geometry.die_height_mm is None else geometry.die_height_mm,
        ]
    )
    reach = [2, 2]
    if np.isfinite(size).all():
        reach = [max(2, int(reach_mm / float(mm)) + 1) for mm in size]
    pad = int(max(reach[0] * step[0], reach[1] * step[1]))
    xs, cells_x, nx = _cells(x, pad)
    ys, cells_y, ny = _cells(y, pad)
    if nx * ny > MOST_CELLS:
        raise GeometryError(
            f"{len(x)} dies from x {xs[0]} to {xs[-1]} and y {ys[0]} to {ys[-1]} are strewn too far for a wafer. "
            "Hint: check the coordinates of the file, or make radius and sigma smaller"
        )
    cell_x = cells_x[np.searchsorted(xs, x)].astype(np.int32)
    cell_y = cells_y[np.searchsorted(ys, y)].astype(np.int32)
    grid = np.full((nx, ny), -1, np.int32)
    grid[cell_x, cell_y] = np.arange(len(x), dtype=np.int32)

    def around(moves: Int64) -> Int32:
        at_x = cell_x[:, None] + (moves[:, 0] * step[0]).astype(np.int32)
        return np.ascontiguousarray(grid[at_x, cell_y[:, None] + (moves[:, 1] * step[1]).astype(np.int32)])

    x_mm, y_mm = geometry.to_millimeters(x, y)
    direction = np.array([-1.0 if geometry.pos_x == "L" else 1.0, -1.0 if geometry.pos_y == "D" else 1.0])
    return Lattice(
        grid,
        cell_x,
        cell_y,
        np.ascontiguousarray(x, np.int64),
        np.ascontiguousarray(y, np.int64),
        np.ascontiguousarray(x_mm, np.float64),
        np.ascontiguousarray(y_mm, np.float64),
        step,
        size,
        direction,
        around(KING_MOVES),
        around(_BLOCK_MOVES),
        pad,
    )


def distinct_places(x: Int64, y: Int64) -> tuple[Int64, Int64, Int32]:
    """Distinct places and the number of each row's, sorted by (x, y)."""
    codes, number = np.unique(place_codes(x, y), return_inverse=True)
    return codes >> 32, (codes & 0xFFFF_FFFF) - (1 << 31), number.reshape(-1).astype(np.int32)


def instants_of(event_us: Int64) -> Int64:
    """Bounds of the runs of equal times in sorted times: (n,) -> (m + 1,)."""
    if not len(event_us):
        return np.zeros(1, np.int64)
    edges = np.flatnonzero(np.diff(event_us)) + 1
    return np.concatenate([[0], edges, [len(event_us)]]).astype(np.int64)
