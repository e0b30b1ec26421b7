"""A parameter around a die, as far as it was tested earlier: moments, order and slope."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from fs_spark.compiled import njit
from fs_spark.kernels.elementary import arctangent, hypotenuse
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import KING_MOVES, Float64, Int64, Lattice, Replay

COLUMNS: Final = (
    "neighbor_count",
    "neighbor_mean",
    "neighbor_std",
    "neighbor_min",
    "neighbor_max",
    "neighbor_median",
    "neighbor_range",
    "gradient_x",
    "gradient_y",
    "gradient",
    "gradient_rad",
    "gradient_r2",
    "gradient_value",
    "radius_gradient_x",
    "radius_gradient_y",
    "radius_gradient",
    "radius_gradient_rad",
    "radius_gradient_r2",
)
_COUNT, _MEAN, _STD, _MIN, _MAX, _MEDIAN, _RANGE = range(7)
_GRADIENT: Final = COLUMNS.index("gradient_x")
_SURFACE: Final = COLUMNS.index("radius_gradient_x")
_X, _Y, _LENGTH, _ANGLE, _R2, _VALUE = range(6)
"""Of a plane, from its first column."""


class LocalState(NamedTuple):
    """Shapes: value (d, p) by die, NaN = none; grid (p, nx, ny) the same by cell, with `surface`; window (w, 2); offset
    (w or 8, 2), z (w or 8,), ranked (8,): room."""

    value: Float64
    grid: Float64
    moves: Int64
    window: Int64
    unit_mm: Float64
    ranks: bool
    gradient: bool
    surface: bool
    offset: Int64
    z: Float64
    ranked: Float64


def new_state(
    lattice: Lattice,
    parameters: int,
    *,
    ranks: bool = True,
    gradient: bool = True,
    surface: bool = True,
    radius_mm: float = 0.0,
) -> LocalState:
    """Nothing measured yet. Without `ranks` (min, max, median, range), `gradient` or `surface` theirs are undefined."""
    cell = np.abs(lattice.mm_per_cell)
    window = np.zeros((0, 2), np.int64)
    if surface and np.isfinite(cell).all():
        far = [int(radius_mm / float(mm) + 1e-9) for mm in cell]
        dx, dy = (a.ravel() for a in np.mgrid[-far[0] : far[0] + 1, -far[1] : far[1] + 1])
        square = (dx * cell[0]) * (dx * cell[0]) + (dy * cell[1]) * (dy * cell[1])
        near = square <= radius_mm * radius_mm * (1 + 1e-12)
        near &= (dx != 0) | (dy != 0)
        window = np.stack([dx[near], dy[near]], axis=1).astype(np.int64)
    shape = (parameters, *lattice.grid.shape) if surface else (0, 0, 0)
    return LocalState(
        np.full((len(lattice.x), parameters), np.nan),
        np.full(shape, np.nan),
        np.ascontiguousarray(KING_MOVES * lattice.step),
        window,
        lattice.mm_per_cell,
        ranks,
        gradient,
        surface,
        np.zeros((max(8, len(window)), 2), np.int64),
        np.zeros(max(8, len(window))),
        np.zeros(8),
    )


@njit(inner=True, error_model="numpy")
def _slope(offset: Any, z: Any, count: Any, unit_mm: Any, out: Any, p: Any, at: Any, with_value: Any, i: Any) -> None:
    """A least-squares plane through z at the offsets (count, 2) in cells, into out[p, at : at + 5 (or 6), i].

    Whether three places are not on one line is decided in integers. Values count from the first of them, so that equal
    ones have exactly no slope.
    """
    for column in range(at, at + (_VALUE + 1 if with_value else _VALUE)):
        out[p, column, i] = np.nan
    if count < 3 or not (abs(unit_mm[0]) < np.inf and abs(unit_mm[1]) < np.inf):
        return
    flat = True
    for k in range(2, count):
        du, dv = offset[1, 0] - offset[0, 0], offset[1, 1] - offset[0, 1]
        if du * (offset[k, 1] - offset[0, 1]) != dv * (offset[k, 0] - offset[0, 0]):
            flat = False
            break
    if flat:
        return
    sum_u = sum_v = sum_uu = sum_uv = sum_vv = 0
    total = 0.0
    for k in range(count):
        u, v = offset[k, 0], offset[k, 1]
        sum_u += u
        sum_v += v
        sum_uu += u * u
        sum_uv += u * v
        sum_vv += v * v
        total += z[k] - z[0]
    mean = total / count
    mean_u, mean_v = sum_u / count, sum_v / count
    uz = vz = zz = 0.0
    for k in range(count):
        rest = (z[k] - z[0]) - mean
        uz += (offset[k, 0] - mean_u) * rest
        vz += (offset[k, 1] - mean_v) * rest
        zz += rest * rest
    uu = float(count * sum_uu - sum_u * sum_u) / count
    uv = float(count * sum_uv - sum_u * sum_v) / count
    vv = float(count * sum_vv - sum_v * sum_v) / count
    det = uu * vv - uv * uv
    slope_u = (vv * uz - uv * vz) / det
    slope_v = (uu * vz - uv * uz) / det
    x, y = slope_u / unit_mm[0] + 0.0, slope_v / unit_mm[1] + 0.0  # no -0.0: it would turn the angle
    out[p, at + _X, i] = x
    out[p, at + _Y, i] = y
    out[p, at + _LENGTH, i] = hypotenuse(x, y)
    if x != 0 or y != 0:
        out[p, at + _ANGLE, i] = arctangent(y, x)
    if zz > 0:
        share = (slope_u * uz + slope_v * vz) / zz
        out[p, at + _R2, i] = 0.0 if share < 0.0 else 1.0 if share > 1.0 else share
    if with_value:
        out[p, at + _VALUE, i] = z[0] + (mean - slope_u * mean_u - slope_v * mean_v)


@njit(cache=True, error_model="numpy")
def _run(
    king: Any, cell_x: Any, cell_y: Any, die_of: Any, known: Any, values: Any, by_die: Any, by_cell: Any, moves: Any,
    window: Any, unit_mm: Any, with_ranks: Any, with_gradient: Any, with_surface: Any, offset: Any, z: Any, ranked: Any,
    bounds: Any, ask: Any, tell: Any, out: Any,
) -> None:  # fmt: skip
    for instant in range(len(bounds) - 1):
        first, last = bounds[instant], bounds[instant + 1]
        for i in range(first, last if ask else first):
            die = die_of[i]
            cx, cy = np.int64(cell_x[die]), np.int64(cell_y[die])
            for p in range(out.shape[0]):
                count = np.int64(0)
                total = 0.0
                for k in range(8):
                    other = king[die, k]
                    if other >= 0:
                        value = by_die[other, p]
                        if value == value:
                            z[count] = value
                            offset[count, 0] = moves[k, 0]
                            offset[count, 1] = moves[k, 1]
                            total += value - z[0]
                            count += 1
                mean = squares = 0.0  # the mean above the first value, so that equal ones have exactly no spread
                if count > 0:
                    mean = total / count
                for k in range(count):
                    rest = (z[k] - z[0]) - mean
                    squares += rest * rest
                    at = k
                    while with_ranks and at > 0 and ranked[at - 1] > z[k]:
                        ranked[at] = ranked[at - 1]
                        at -= 1
                    ranked[at] = z[k]
                out[p, _COUNT, i] = count
                for column in range(_MEAN, _RANGE + 1):
                    out[p, column, i] = np.nan
                if count > 0:
                    out[p, _MEAN, i] = z[0] + mean
                    half = count // 2
                    out[p, _MIN, i] = ranked[0]
                    out[p, _MAX, i] = ranked[count - 1]
                    out[p, _MEDIAN, i] = ranked[half] if count % 2 else (ranked[half - 1] + ranked[half]) / 2
                    out[p, _RANGE, i] = ranked[count - 1] - ranked[0]
                if count > 1:
                    out[p, _STD, i] = math.sqrt(squares / (count - 1))
                for turn in range(2):
                    if turn == 1 and with_surface:
                        count = np.int64(0)  # not a literal, for which `_slope` would be compiled once more
                        for k in range(len(window)):
                            value = by_cell[p, cx + window[k, 0], cy + window[k, 1]]
                            if value == value:
                                z[count] = value
                                offset[count, 0] = window[k, 0]
                                offset[count, 1] = window[k, 1]
                                count += 1
                    if with_surface if turn else with_gradient:
                        _slope(offset, z, count, unit_mm, out, p, _SURFACE if turn else _GRADIENT, turn == 0, i)
        for j in range(first, last if tell else first):
            if known[j]:
                die = die_of[j]
                for p in range(values.shape[0]):
                    by_die[die, p] = values[p, j]
                    if with_surface:
                        by_cell[p, cell_x[die], cell_y[die]] = values[p, j]


def run(
    lattice: Lattice, replay: Replay, state: LocalState, bounds: Int64, ask: bool, tell: bool, out: Float64
) -> None:
    """As `Kernel.run`, without the die itself.

    Shapes     out (p, 18, n) by COLUMNS
    Units      slopes per mm, x to the right and y up as x_mm and y_mm
    Undefined  NaN without a value; std under two; planes under three values, on one line, or where the die size is
               unknown; `gradient_rad` without a slope; `gradient_r2` where all values are equal
    Invariant to  order: sums run over the neighbors by y, then x
    """
    places = lattice.king, lattice.cell_x, lattice.cell_y
    _run(*places, replay.die, replay.known, replay.values, *state, bounds, ask, tell, out)


def _options(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {
        "parameters": len(asked.parameters),
        "ranks": asked.wants("neighbor_min", "neighbor_max", "neighbor_median", "neighbor_range"),
        "gradient": asked.wants("gradient"),
        "surface": asked.wants("radius_gradient"),
        "radius_mm": asked.settings.gradient_radius_mm,
    }


def _reach_mm(asked: Asked) -> float:
    return float(asked.settings.gradient_radius_mm) if asked.wants("radius_gradient") else 0.0


KERNEL: Final = Kernel(
    revision=2,
    columns=COLUMNS,
    new_state=new_state,
    run=run,
    options=_options,
    reach_mm=_reach_mm,
    of_values=True,
)
