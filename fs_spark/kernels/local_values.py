"""A parameter around a die, as far as it was tested earlier: moments, order and slope."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.elementary import arctangent, hypotenuse
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import KING_MOVES, Lattice

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
    """Shapes: value (d, p) by die, NaN = none; grid (p, nx, ny) the same by cell, with `surface`; window (w, 2)."""

    value: NDArray[np.float64]
    grid: NDArray[np.float64]
    moves: NDArray[np.int64]
    window: NDArray[np.int64]
    unit_mm: NDArray[np.float64]
    ranks: bool
    gradient: bool
    surface: bool


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
    )


@njit(cache=True, error_model="numpy")
def _slope(u: Any, v: Any, z: Any, count: Any, unit_mm: Any, out: Any, at: Any, i: Any, with_value: Any) -> None:
    """A least-squares plane through z at the offsets (u, v) in cells, into out[at : at + 5 (or 6), i].

    Whether three places are not on one line is decided in integers. Values count from the first of them, so that equal
    ones have exactly no slope.
    """
    for column in range(at, at + _VALUE + with_value):
        out[column, i] = np.nan
    if count < 3 or not (np.isfinite(unit_mm[0]) and np.isfinite(unit_mm[1])):
        return
    flat = True
    for k in range(2, count):
        du, dv = u[1] - u[0], v[1] - v[0]
        if du * (v[k] - v[0]) != dv * (u[k] - u[0]):
            flat = False
            break
    if flat:
        return
    sum_u = sum_v = sum_uu = sum_uv = sum_vv = 0
    total = 0.0
    for k in range(count):
        sum_u += u[k]
        sum_v += v[k]
        sum_uu += u[k] * u[k]
        sum_uv += u[k] * v[k]
        sum_vv += v[k] * v[k]
        total += z[k] - z[0]
    mean = total / count
    mean_u, mean_v = sum_u / count, sum_v / count
    uz = vz = zz = 0.0
    for k in range(count):
        rest = (z[k] - z[0]) - mean
        uz += (u[k] - mean_u) * rest
        vz += (v[k] - mean_v) * rest
        zz += rest * rest
    uu = float(count * sum_uu - sum_u * sum_u) / count
    uv = float(count * sum_uv - sum_u * sum_v) / count
    vv = float(count * sum_vv - sum_v * sum_v) / count
    det = uu * vv - uv * uv
    slope_u = (vv * uz - uv * vz) / det
    slope_v = (uu * vz - uv * uz) / det
    x, y = slope_u / unit_mm[0] + 0.0, slope_v / unit_mm[1] + 0.0  # no -0.0: it would turn the angle
    out[at + _X, i] = x
    out[at + _Y, i] = y
    out[at + _LENGTH, i] = hypotenuse(x, y)
    if x != 0 or y != 0:
        out[at + _ANGLE, i] = arctangent(y, x)
    if zz > 0:
        out[at + _R2, i] = min(max((slope_u * uz + slope_v * vz) / zz, 0.0), 1.0)
    if with_value:
        out[at + _VALUE, i] = z[0] + (mean - slope_u * mean_u - slope_v * mean_v)


@njit(cache=True, error_model="numpy")
def _ranks(z: Any, count: Any, ranked: Any, out: Any, i: Any) -> None:
    """Min, max, median and range of z[:count] into `out`; `ranked` is room for eight."""
    for k in range(count):
        at = k
        while at > 0 and ranked[at - 1] > z[k]:
            ranked[at] = ranked[at - 1]
            at -= 1
        ranked[at] = z[k]
    if count > 0:
        out[_MIN, i] = ranked[0]
        out[_MAX, i] = ranked[count - 1]
        out[_MEDIAN, i] = ranked[count // 2] if count % 2 else (ranked[count // 2 - 1] + ranked[count // 2]) / 2
        out[_RANGE, i] = ranked[count - 1] - ranked[0]
    else:
        for column in range(_MIN, _RANGE + 1):
            out[column, i] = np.nan


@njit(cache=True, error_model="numpy")
def query(lattice: Any, replay: Any, state: Any, first: Any, last: Any, out: Any) -> None:
    """Columns of the attempts [first, last) from what was pushed before, without the die itself.

    Shapes     out (p, 18, n) by COLUMNS
    Units      slopes per mm, x to the right and y up as x_mm and y_mm
    Undefined  NaN without a value; std under two; planes under three values, on one line, or where the die size is
               unknown; `gradient_rad` without a slope; `gradient_r2` where all values are equal
    Invariant to  order: sums run over the neighbors by y, then x
    """
    size = max(8, len(state.window))
    u, v = np.empty(size, np.int64), np.empty(size, np.int64)
    z, ranked = np.empty(size), np.empty(8)
    for i in range(first, last):
        die = replay.die[i]
        for p in range(out.shape[0]):
            count = 0
            total = 0.0
            for k in range(8):
                other = lattice.king[die, k]
                if other >= 0:
                    value = state.value[other, p]
                    if value == value:
                        z[count] = value
                        u[count], v[count] = state.moves[k, 0], state.moves[k, 1]
                        total += value - z[0]
                        count += 1
            out[p, _COUNT, i] = count
            if count > 0:
                mean = total / count  # above the first value, so that equal ones have exactly no spread
                squares = 0.0
                for k in range(count):
                    rest = (z[k] - z[0]) - mean
                    squares += rest * rest
                out[p, _MEAN, i] = z[0] + mean
                out[p, _STD, i] = np.sqrt(squares / (count - 1)) if count > 1 else np.nan
            else:
                out[p, _MEAN, i] = np.nan
                out[p, _STD, i] = np.nan
            if state.ranks:
                _ranks(z, count, ranked, out[p], i)
            if state.gradient:
                _slope(u, v, z, count, state.unit_mm, out[p], _GRADIENT, i, True)
            if state.surface:
                cx, cy = np.int64(lattice.cell_x[die]), np.int64(lattice.cell_y[die])
                count = 0
                for k in range(len(state.window)):
                    value = state.grid[p, cx + state.window[k, 0], cy + state.window[k, 1]]
                    if value == value:
                        z[count], u[count], v[count] = value, state.window[k, 0], state.window[k, 1]
                        count += 1
                _slope(u, v, z, count, state.unit_mm, out[p], _SURFACE, i, False)


@njit(cache=True)
def push(lattice: Any, replay: Any, state: Any, first: Any, last: Any) -> None:
    """Takes the attempts [first, last) in."""
    for j in range(first, last):
        if replay.known[j]:
            die = replay.die[j]
            for p in range(replay.values.shape[0]):
                state.value[die, p] = replay.values[p, j]
                if state.surface:
                    state.grid[p, lattice.cell_x[die], lattice.cell_y[die]] = replay.values[p, j]


@njit(cache=True, error_model="numpy")
def walk(lattice: Any, replay: Any, state: Any, out: Any) -> None:
    """The whole replay: each instant is asked, then told."""
    for k in range(len(replay.instants) - 1):
        query(lattice, replay, state, replay.instants[k], replay.instants[k + 1], out)
        push(lattice, replay, state, replay.instants[k], replay.instants[k + 1])


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
    query=query,
    push=push,
    walk=walk,
    options=_options,
    reach_mm=_reach_mm,
    of_values=True,
)
