"""A parameter over the wafer so far: mean, spread, site bias, plane, bowl and Moran's I, from sums without rounding."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.exact import accumulators, add, add_product, covariation, read
from fs_spark.kernels.replay import Lattice

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

COLUMNS: Final = (
    "wafer_mean",
    "wafer_std",
    "site_bias",
    "moran_i",
    "plane_0",
    "plane_x",
    "plane_y",
    "bowl_0",
    "bowl_x",
    "bowl_y",
    "bowl_r2",
)
LARGEST: Final = 1e150
"""A value beyond has no square in a double and counts as missing here."""
_FARTHEST: Final = 2000
_SINGULAR: Final = 1e-10

_Z, _ZZ, _DEGREE, _PAIRS, _NEAR_Z, _UZ, _VZ, _UUZ, _VVZ = range(9)
_N, _JOINS, _AT, _U, _V, _UU, _UV, _VV, _UUU, _UUV, _UVV, _VVV, _UUUU, _UUVV, _VVVV = range(15)


class ValueState(NamedTuple):
    """Exact sums of the dies' latest values.

    Shapes     value (d, p), NaN = none; site (d,); u, v (d,): twice the coordinates from the center, rounded, or 0 with
               `near` False; sums (p, 9, 72); site_sums (p, s, 72); site_count (p, s); counts (p, 15): moments of places
    Units      half (2,): mm of u and v; shift (2,): what the rounding left, in u and v
    """

    value: Float64
    site: NDArray[np.int32]
    u: Int64
    v: Int64
    near: NDArray[np.bool_]
    sums: Int64
    site_sums: Int64
    site_count: Int64
    counts: Int64
    half: Float64
    shift: Float64
    surface: bool
    moran: bool


def new_state(
    lattice: Lattice, parameters: int, *, center: tuple[float, float], sites: int, surface: bool, moran: bool
) -> ValueState:
    """Nothing measured yet. Dies more than 1,000 coordinates off the center are in no plane and no bowl.

    Units      center in coordinates
    """
    doubled = [2.0 * c for c in center]
    u = 2 * lattice.x - int(np.rint(doubled[0]))
    v = 2 * lattice.y - int(np.rint(doubled[1]))
    near = (np.abs(u) <= _FARTHEST) & (np.abs(v) <= _FARTHEST)
    dies = len(lattice.x)
    return ValueState(
        np.full((dies, parameters), np.nan),
        np.full(dies, -1, np.int32),
        np.where(near, u, 0),
        np.where(near, v, 0),
        near,
        accumulators(parameters, 9),
        accumulators(parameters, max(sites, 1)),
        np.zeros((parameters, max(sites, 1)), np.int64),
        np.zeros((parameters, 15), np.int64),
        lattice.mm_per_cell / 2,
        np.array([c - np.rint(c) for c in doubled]),
        surface,
        moran,
    )


@njit(cache=True)
def _singular(uu: Any, uv: Any, vv: Any) -> Any:
    """Whether uu * vv == uv * uv: exact modulo 2^64, and by size."""
    return uu * vv - uv * uv == 0 and abs(float(uu) * float(vv) - float(uv) * float(uv)) < 4e18


@njit(cache=True, error_model="numpy")
def _surface(state: Any, p: Any, out: Any, i: Any) -> None:
    """Plane and bowl by least squares, from the moments about the means."""
    c = state.counts[p]
    sums = state.sums[p]
    n = c[_AT]
    for column in range(4, 11):
        out[column, i] = np.nan
    a, b = state.half[0], state.half[1]
    if n < 3 or not (np.isfinite(a) and np.isfinite(b)):
        return
    uu, uv, vv = n * c[_UU] - c[_U] * c[_U], n * c[_UV] - c[_U] * c[_V], n * c[_VV] - c[_V] * c[_V]
    if _singular(uu, uv, vv):
        return
    z, z_low = read(sums[_NEAR_Z])
    uz_sum, uz_low = read(sums[_UZ])
    vz_sum, vz_low = read(sums[_VZ])
    uz = covariation(float(n), uz_sum, uz_low, float(c[_U]), 0.0, z, z_low)
    vz = covariation(float(n), vz_sum, vz_low, float(c[_V]), 0.0, z, z_low)
    f_uu, f_uv, f_vv = float(uu), float(uv), float(vv)
    det = f_uu * f_vv - f_uv * f_uv
    slope_u = (f_vv * uz - f_uv * vz) / det
    slope_v = (f_uu * vz - f_uv * uz) / det
    mean, mean_u, mean_v = z / n, c[_U] / n, c[_V] / n
    du, dv = state.shift[0], state.shift[1]
    out[4, i] = mean - slope_u * (mean_u - du) - slope_v * (mean_v - dv)
    out[5, i] = slope_u / a
    out[6, i] = slope_v / b
    # the bowl: r2 = a2 u2 + b2 v2 beside u and v, each product with n and about the means
    a2, b2 = a * a, b * b
    fn = float(n)
    ur = a2 * covariation(fn, float(c[_UUU]), 0.0, float(c[_U]), 0.0, float(c[_UU]), 0.0) + b2 * covariation(
        fn, float(c[_UVV]), 0.0, float(c[_U]), 0.0, float(c[_VV]), 0.0
    )
    vr = a2 * covariation(fn, float(c[_UUV]), 0.0, float(c[_V]), 0.0, float(c[_UU]), 0.0) + b2 * covariation(
        fn, float(c[_VVV]), 0.0, float(c[_V]), 0.0, float(c[_VV]), 0.0
    )
    r_u4 = covariation(fn, float(c[_UUUU]), 0.0, float(c[_UU]), 0.0, float(c[_UU]), 0.0)
    r_uv = covariation(fn, float(c[_UUVV]), 0.0, float(c[_UU]), 0.0, float(c[_VV]), 0.0)
    r_v4 = covariation(fn, float(c[_VVVV]), 0.0, float(c[_VV]), 0.0, float(c[_VV]), 0.0)
    rr = a2 * a2 * r_u4 + 2 * a2 * b2 * r_uv + b2 * b2 * r_v4
    uuz, uuz_low = read(sums[_UUZ])
    vvz, vvz_low = read(sums[_VVZ])
    rz = a2 * covariation(fn, uuz, uuz_low, float(c[_UU]), 0.0, z, z_low) + b2 * covariation(
        fn, vvz, vvz_low, float(c[_VV]), 0.0, z, z_low
    )
    # what of r2 and of z is left beside the plane
    k_u = (f_vv * ur - f_uv * vr) / det
    k_v = (f_uu * vr - f_uv * ur) / det
    left = rr - k_u * ur - k_v * vr
    if n < 4 or not left > _SINGULAR * rr:
        return
    bowl = (rz - slope_u * ur - slope_v * vr) / left
    bowl_u, bowl_v = slope_u - bowl * k_u, slope_v - bowl * k_v
    mean_r = a2 * (c[_UU] / n) + b2 * (c[_VV] / n)
    base = mean - bowl_u * mean_u - bowl_v * mean_v - bowl * mean_r
    out[7, i] = base + bowl_u * du + bowl_v * dv + bowl * (a2 * du * du + b2 * dv * dv)
    out[8, i] = bowl_u / a + 2 * bowl * a * du
    out[9, i] = bowl_v / b + 2 * bowl * b * dv
    out[10, i] = bowl


@njit(cache=True, error_model="numpy")
def _moran(state: Any, p: Any) -> Any:
    n, joins = state.counts[p, _N], state.counts[p, _JOINS]
    if joins == 0:
        return np.nan
    z, z_low = read(state.sums[p, _Z])
    zz, zz_low = read(state.sums[p, _ZZ])
    spread = covariation(float(n), zz, zz_low, z, z_low, z, z_low) / n  # sum of squares about the mean
    if not spread > 0:
        return np.nan
    pairs, pairs_low = read(state.sums[p, _PAIRS])
    degree, degree_low = read(state.sums[p, _DEGREE])
    # sum over pairs of (zi - m)(zj - m) = pairs - m degree + joins m2, times n twice, as two covariations
    first = covariation(float(n), pairs, pairs_low, z, z_low, degree / 2, degree_low / 2)
    second = covariation(float(n), degree / 2, degree_low / 2, z, z_low, float(joins), 0.0)
    return (n / joins) * (first - (z / n) * second) / n / spread


@njit(cache=True, error_model="numpy")
def query(lattice: Any, replay: Any, state: Any, first: Any, last: Any, out: Any) -> None:
    """Columns of the attempts [first, last) from what was pushed before.

    Shapes     out (p, 11, n) by COLUMNS
    Units      slopes per mm and mm2 about the wafer's center
    Undefined  NaN: mean without a value, std under two, `site_bias` without one on the site, Moran's I without adjacent
               values or spread, planes under three places or on one line, bowls where the places give none
    Invariant to  order, and what came and was replaced
    """
    if last <= first:
        return
    for p in range(out.shape[0]):
        n = state.counts[p, _N]
        z, z_low = read(state.sums[p, _Z])
        zz, zz_low = read(state.sums[p, _ZZ])
        mean = z / n if n else np.nan
        out[p, 0, first] = mean
        out[p, 1, first] = np.nan
        if n > 1:
            out[p, 1, first] = np.sqrt(
                max(covariation(float(n), zz, zz_low, z, z_low, z, z_low), 0.0) / (float(n) * float(n - 1))
            )
        out[p, 3, first] = _moran(state, p) if state.moran else np.nan
        if state.surface:
            _surface(state, p, out[p], first)
        for i in range(first, last):
            for column in range(11):
                if i > first and column != 2:
                    out[p, column, i] = out[p, column, first]
            out[p, 2, i] = np.nan
            site = replay.site[i]
            if site >= 0 and state.site_count[p, site] > 0:
                here, _ = read(state.site_sums[p, site])
                out[p, 2, i] = here / state.site_count[p, site] - mean


@njit(cache=True)
def _take(lattice: Any, state: Any, p: Any, die: Any, value: Any, sign: Any) -> None:
    """Adds (1) or takes away (-1) a die's value."""
    sums, c = state.sums[p], state.counts[p]
    add(sums[_Z], value, sign)
    add_product(sums[_ZZ], value, value, sign)
    c[_N] += sign
    site = state.site[die]
    if site >= 0:
        add(state.site_sums[p, site], value, sign)
        state.site_count[p, site] += sign
    if state.moran:
        for k in range(8):
            other = lattice.king[die, k]
            if other >= 0:
                beside = state.value[other, p]
                if beside == beside:
                    c[_JOINS] += sign
                    add(sums[_DEGREE], value, sign)
                    add(sums[_DEGREE], beside, sign)
                    add_product(sums[_PAIRS], value, beside, sign)
    if state.surface and state.near[die]:
        u, v = state.u[die], state.v[die]
        add(sums[_NEAR_Z], value, sign)
        add_product(sums[_UZ], value, float(u), sign)
        add_product(sums[_VZ], value, float(v), sign)
        add_product(sums[_UUZ], value, float(u * u), sign)
        add_product(sums[_VVZ], value, float(v * v), sign)
        c[_AT] += sign
        c[_U] += sign * u
        c[_V] += sign * v
        c[_UU] += sign * u * u
        c[_UV] += sign * u * v
        c[_VV] += sign * v * v
        c[_UUU] += sign * u * u * u
        c[_UUV] += sign * u * u * v
        c[_UVV] += sign * u * v * v
        c[_VVV] += sign * v * v * v
        c[_UUUU] += sign * u * u * u * u
        c[_UUVV] += sign * u * u * v * v
        c[_VVVV] += sign * v * v * v * v


@njit(cache=True)
def push(lattice: Any, replay: Any, state: Any, first: Any, last: Any) -> None:
    """Takes the attempts [first, last) in; one on a die that was measured replaces the earlier value."""
    for j in range(first, last):
        if not replay.known[j]:
            continue
        die = replay.die[j]
        for p in range(replay.values.shape[0]):
            old = state.value[die, p]
            if old == old:
                _take(lattice, state, p, die, old, -1)
            state.value[die, p] = np.nan
        state.site[die] = replay.site[j]
        for p in range(replay.values.shape[0]):
            value = replay.values[p, j]
            if abs(value) < LARGEST:
                state.value[die, p] = value
                _take(lattice, state, p, die, value, 1)


@njit(cache=True, error_model="numpy")
def walk(lattice: Any, replay: Any, state: Any, out: Any) -> None:
    """The whole replay: each instant is asked, then told."""
    for k in range(len(replay.instants) - 1):
        query(lattice, replay, state, replay.instants[k], replay.instants[k + 1], out)
        push(lattice, replay, state, replay.instants[k], replay.instants[k + 1])
