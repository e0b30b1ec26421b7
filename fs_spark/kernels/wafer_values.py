"""A parameter over the wafer so far: mean, spread, site bias, plane, bowl and Moran's I, from sums without rounding."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from fs_spark.compiled import njit
from fs_spark.kernels.exact import (
    LARGEST,
    PRODUCT_WIDTH,
    accumulators,
    add,
    add_digits,
    add_product,
    covariation,
    dd_times,
    difference,
    digits_of,
    product_sums,
    quotient,
    read,
    take,
    times,
    two_sum,
    whole_digits,
)
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import Float64, Int32, Int64, Lattice, Replay

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
_FARTHEST: Final = 2000
_SINGULAR: Final = 1e-10
_SURE: Final = 2.0**-42
_WRAPS: Final = 4e18

_MEAN, _STD, _SITE_BIAS, _MORAN_I, _PLANE_0, _PLANE_X, _PLANE_Y, _BOWL_0, _BOWL_X, _BOWL_Y, _BOWL_R2 = range(
    len(COLUMNS)
)
_Z, _ZZ, _DEGREE, _PAIRS, _NEAR_Z, _UZ, _VZ, _UUZ, _VVZ = range(9)
_N, _JOINS, _AT, _U, _V, _UU, _UV, _VV, _UUU, _UUV, _UVV, _VVV, _UUUU, _UUVV, _VVVV = range(15)


class ValueState(NamedTuple):
    """Exact sums of the dies' latest values.

    Shapes     value (d, p), NaN = none; site (d,); of u and v, twice the coordinates from the center, rounded: factors
               (d, 4) u, v, u2, v2 and moments (d, 13) as in `counts`, 0 of a die too far; sums (p, 9, 108); site_sums
               (p, s, 108); site_count (p, s); counts (p, 15): moments of places; digits (3, 216), products (216,): room
               for exact products
    Units      half (2,): mm of u and v; shift (2,): what the rounding left, in u and v
    """

    value: Float64
    site: Int32
    factors: Float64
    moments: Int64
    sums: Int64
    site_sums: Int64
    site_count: Int64
    counts: Int64
    half: Float64
    shift: Float64
    surface: bool
    spread: bool
    moran: bool
    digits: Int64
    products: Int64


def new_state(
    lattice: Lattice,
    parameters: int,
    *,
    center: tuple[float, float],
    sites: int,
    surface: bool,
    spread: bool,
    moran: bool,
) -> ValueState:
    """Nothing measured yet. Dies more than 1,000 coordinates off the center are in no plane and no bowl.

    Units      center in coordinates
    """
    doubled = [2.0 * c for c in center]
    u = 2 * lattice.x - int(np.rint(doubled[0]))
    v = 2 * lattice.y - int(np.rint(doubled[1]))
    near = (np.abs(u) <= _FARTHEST) & (np.abs(v) <= _FARTHEST)
    u, v = (np.where(near, w, 0) if surface else w[:0] for w in (u, v))
    one, uu, vv = near[: len(u)].astype(np.int64), u * u, v * v
    moments = one, u, v, uu, u * v, vv, uu * u, uu * v, u * vv, vv * v, uu * uu, uu * vv, vv * vv
    dies = len(lattice.x)
    return ValueState(
        np.full((dies, parameters), np.nan),
        np.full(dies, -1, np.int32),
        np.stack([u, v, uu, vv], axis=1).astype(np.float64, order="C"),
        np.ascontiguousarray(np.stack(moments, axis=1)),
        accumulators(parameters, 9),
        accumulators(parameters, max(sites, 1)),
        np.zeros((parameters, max(sites, 1)), np.int64),
        np.zeros((parameters, 15), np.int64),
        lattice.mm_per_cell / 2,
        np.array([c - np.rint(c) for c in doubled]),
        surface,
        spread or moran,
        moran,
        np.zeros((3, PRODUCT_WIDTH), np.int64),
        product_sums(),
    )


@njit(inner=True)
def _with_places(digits: Any, total: Any, n: Any, uz: Any, u: Any, near_z: Any, z: Any, z_low: Any) -> Any:
    """n * sum(u z) - sum(u) * sum(z): where little is left of it by digits, and so exactly 0 where all z are equal."""
    high, low = read(uz, digits[0])
    found, sure = difference(float(n), high, low, float(u), 0.0, z, z_low)
    if sure:
        return found
    for turn in range(2):
        sign, first, last = digits_of(near_z if turn else uz, digits[0])
        other, low_digit, high_digit = whole_digits(u if turn else n, digits[1])
        add_digits(
            total, -sign * other if turn else sign * other, digits[0], first, last, digits[1], low_digit, high_digit
        )
    value, exponent = take(total, digits[0])
    return math.ldexp(value, exponent)


@njit(inner=True, error_model="numpy")
def _surface(sums: Any, c: Any, half: Any, shift: Any, digits: Any, total: Any, out: Any, p: Any, i: Any) -> None:
    """Plane and bowl of a parameter by least squares, from the moments about the means."""
    n = c[_AT]
    for column in range(_PLANE_0, _BOWL_R2 + 1):
        out[p, column, i] = np.nan
    a, b = half[0], half[1]
    if n < 3 or not (abs(a) < np.inf and abs(b) < np.inf):
        return
    uu, uv, vv = n * c[_UU] - c[_U] * c[_U], n * c[_UV] - c[_U] * c[_V], n * c[_VV] - c[_V] * c[_V]
    f_uu, f_uv, f_vv = float(uu), float(uv), float(vv)
    det = f_uu * f_vv - f_uv * f_uv
    if uu * vv - uv * uv == 0 and abs(det) < _WRAPS:  # exact modulo 2^64, and by size
        return
    z, z_low = read(sums[_NEAR_Z], digits[0])
    uz = _with_places(digits, total, n, sums[_UZ], c[_U], sums[_NEAR_Z], z, z_low)
    vz = _with_places(digits, total, n, sums[_VZ], c[_V], sums[_NEAR_Z], z, z_low)
    slope_u = (f_vv * uz - f_uv * vz) / det
    slope_v = (f_uu * vz - f_uv * uz) / det
    mean, mean_u, mean_v = quotient(z, z_low, n), c[_U] / n, c[_V] / n
    du, dv = shift[0], shift[1]
    out[p, _PLANE_0, i] = mean - slope_u * (mean_u - du) - slope_v * (mean_v - dv)
    out[p, _PLANE_X, i] = slope_u / a + 0.0  # one zero only
    out[p, _PLANE_Y, i] = slope_v / b + 0.0
    # the bowl: r2 = a2 u2 + b2 v2 beside u and v, each product with n and about the means
    a2, b2 = a * a, b * b
    fn = float(n)
    ur = a2 * covariation(fn, float(c[_UUU]), float(c[_U]), float(c[_UU]))
    ur += b2 * covariation(fn, float(c[_UVV]), float(c[_U]), float(c[_VV]))
    vr = a2 * covariation(fn, float(c[_UUV]), float(c[_V]), float(c[_UU]))
    vr += b2 * covariation(fn, float(c[_VVV]), float(c[_V]), float(c[_VV]))
    r_u4 = covariation(fn, float(c[_UUUU]), float(c[_UU]), float(c[_UU]))
    r_uv = covariation(fn, float(c[_UUVV]), float(c[_UU]), float(c[_VV]))
    r_v4 = covariation(fn, float(c[_VVVV]), float(c[_VV]), float(c[_VV]))
    rr = a2 * a2 * r_u4 + 2 * a2 * b2 * r_uv + b2 * b2 * r_v4
    rz = a2 * _with_places(digits, total, n, sums[_UUZ], c[_UU], sums[_NEAR_Z], z, z_low)
    rz += b2 * _with_places(digits, total, n, sums[_VVZ], c[_VV], sums[_NEAR_Z], z, z_low)
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
    out[p, _BOWL_0, i] = base + bowl_u * du + bowl_v * dv + bowl * (a2 * du * du + b2 * dv * dv)
    out[p, _BOWL_X, i] = bowl_u / a + 2 * bowl * a * du + 0.0
    out[p, _BOWL_Y, i] = bowl_v / b + 2 * bowl * b * dv + 0.0
    out[p, _BOWL_R2, i] = bowl + 0.0


@njit(inner=True)
def _exact_spread(digits: Any, total: Any, sums: Any, n: Any) -> Any:
    """n * sum(z^2) - sum(z)^2 as value * 2^exponent: 0 where all values are equal, and there alone."""
    sign, first, last = digits_of(sums[_ZZ], digits[0])
    _, low, high = whole_digits(n, digits[1])
    add_digits(total, sign, digits[0], first, last, digits[1], low, high)
    sign, first, last = digits_of(sums[_Z], digits[0])
    add_digits(total, -abs(sign), digits[0], first, last, digits[0], first, last)
    return take(total, digits[0])


@njit(inner=True)
def _exact_cross(digits: Any, total: Any, sums: Any, n: Any, joins: Any) -> Any:
    """n^2 sum(zi zj) - n sum(z) sum(zi + zj) + joins sum(z)^2 as value * 2^exponent."""
    sign, first, last = digits_of(sums[_PAIRS], digits[0])
    _, low, high = whole_digits(n * n, digits[1])
    add_digits(total, sign, digits[0], first, last, digits[1], low, high)
    z_sign, z_first, z_last = digits_of(sums[_Z], digits[0])
    sign, first, last = digits_of(sums[_Z], digits[1])
    last = times(digits[1], first, last, joins)
    add_digits(total, abs(z_sign), digits[0], z_first, z_last, digits[1], first, last)
    z_last = times(digits[0], z_first, z_last, n)
    sign, first, last = digits_of(sums[_DEGREE], digits[1])
    add_digits(total, -sign * z_sign, digits[0], z_first, z_last, digits[1], first, last)
    return take(total, digits[0])


@njit(inner=True, error_model="numpy")
def _spread(
    digits: Any, total: Any, sums: Any, n: Any, joins: Any, z: Any, z_low: Any, moran: Any, out: Any, p: Any, i: Any
) -> None:
    """Standard deviation, and Moran's I with binary weights, of two and more values of a parameter.

    n^2 times the variance is s = n sum(z^2) - sum(z)^2; over the pairs of adjacent dies n^2 times the sum of products
    about the mean is m = n^2 sum(zi zj) - n sum(z) sum(zi + zj) + joins sum(z)^2; Moran's I is m / (joins s). Both to
    about 100 bits first, and where little is left of these by digits.
    """
    fn, exponent = float(n), 0
    zz, zz_low = read(sums[_ZZ], digits[0])
    spread, sure = difference(fn, zz, zz_low, z, z_low, z, z_low)
    if not sure:
        spread, exponent = _exact_spread(digits, total, sums, n)
    out[p, _STD, i] = math.ldexp(math.sqrt(spread / (fn * (fn - 1.0))), exponent >> 1)
    if not moran or joins == 0 or spread == 0.0:
        return
    pairs, pairs_low = read(sums[_PAIRS], digits[0])
    degree, degree_low = read(sums[_DEGREE], digits[0])
    square, square_low = dd_times(z, z_low, z, z_low)
    square, square_low = dd_times(square, square_low, float(joins), 0.0)
    a, a_low = dd_times(pairs, pairs_low, fn, 0.0)
    b, b_low = dd_times(z, z_low, degree, degree_low)
    high, low = two_sum(a, -b)
    high, low = dd_times(high, low + (a_low - b_low), fn, 0.0)
    cross, error = two_sum(high, square)
    cross, more = cross + (error + (low + square_low)), 0
    largest = abs(a) * fn
    largest = largest if largest > square else square
    if not (sure and abs(cross) > _SURE * largest):
        cross, more = _exact_cross(digits, total, sums, n, joins)
    out[p, _MORAN_I, i] = math.ldexp(cross / (float(joins) * spread), more - exponent)


@njit(inner=True)
def _take(
    king: Any, by_die: Any, site: Any, factors: Any, moments: Any, sums: Any, site_sums: Any, site_count: Any, c: Any,
    surface: Any, moran: Any, p: Any, die: Any, value: Any, sign: Any,
) -> None:  # fmt: skip
    """Adds (1) or takes away (-1) a die's value of a parameter."""
    c[_N] += sign
    add(sums[_Z], value, sign)
    add_product(sums[_ZZ], value, value, sign)
    if site[die] >= 0:
        add(site_sums[p, site[die]], value, sign)
        site_count[p, site[die]] += sign
    if moran:
        for k in range(8):
            other = king[die, k]
            if other >= 0:
                beside = by_die[other, p]
                if beside == beside:
                    c[_JOINS] += sign
                    add(sums[_DEGREE], value, sign)
                    add(sums[_DEGREE], beside, sign)
                    add_product(sums[_PAIRS], value, beside, sign)
    if surface and moments[die, 0] > 0:
        add(sums[_NEAR_Z], value, sign)
        for k in range(4):
            add_product(sums[_UZ + k], value, factors[die, k], sign)
        for k in range(13):
            c[_AT + k] += sign * moments[die, k]


@njit(cache=True, error_model="numpy")
def _run(
    king: Any, die_of: Any, known: Any, site_of: Any, values: Any, by_die: Any, site: Any, factors: Any, moments: Any,
    sums: Any, site_sums: Any, site_count: Any, counts: Any, half: Any, shift: Any, surface: Any, spread: Any,
    moran: Any, digits: Any, products: Any, bounds: Any, ask: Any, tell: Any, out: Any,
) -> None:  # fmt: skip
    for instant in range(len(bounds) - 1):
        first, last = bounds[instant], bounds[instant + 1]
        for p in range(values.shape[0] if ask and last > first else 0):
            n = counts[p, _N]
            mean = z = z_low = np.nan
            if n > 0:
                z, z_low = read(sums[p, _Z], digits[0])
                mean = quotient(z, z_low, n)
            out[p, _MEAN, first] = mean
            out[p, _STD, first] = np.nan
            out[p, _MORAN_I, first] = np.nan
            if n > 1 and spread:
                _spread(digits, products, sums[p], n, counts[p, _JOINS], z, z_low, moran, out, p, first)
            if surface:
                _surface(sums[p], counts[p], half, shift, digits, products, out, p, first)
            for i in range(first, last):
                for column in range(out.shape[1]):
                    if i > first and column != _SITE_BIAS:
                        out[p, column, i] = out[p, column, first]
                out[p, _SITE_BIAS, i] = np.nan
                here = site_of[i]
                if here >= 0 and site_count[p, here] > 0:
                    z, z_low = read(site_sums[p, here], digits[0])
                    out[p, _SITE_BIAS, i] = quotient(z, z_low, site_count[p, here]) - mean
        for j in range(first, last if tell else first):
            if not known[j]:
                continue
            die = die_of[j]
            for turn in range(2):  # all that the die was goes, then comes what it is
                if turn == 1:
                    site[die] = site_of[j]
                for p in range(values.shape[0]):
                    value = by_die[die, p]
                    if turn == 1:
                        value = values[p, j]
                        if not abs(value) < LARGEST:
                            continue
                        by_die[die, p] = value
                    elif value != value:
                        continue
                    _take(
                        king, by_die, site, factors, moments, sums[p], site_sums, site_count, counts[p], surface,
                        moran, p, die, value, 2 * turn - 1,
                    )  # fmt: skip
                    if turn == 0:
                        by_die[die, p] = np.nan


def run(
    lattice: Lattice, replay: Replay, state: ValueState, bounds: Int64, ask: bool, tell: bool, out: Float64
) -> None:
    """As `Kernel.run`.

    Shapes     out (p, 11, n) by COLUMNS
    Units      slopes per mm and mm2 about the wafer's center
    Undefined  NaN: mean without a value, std under two, `site_bias` without one on the site, Moran's I without adjacent
               values or spread, planes under three places or on one line, bowls where the places give none
    Invariant to  order, and what came and was replaced
    """
    attempts = replay.die, replay.known, replay.site, replay.values
    _run(lattice.king, *attempts, *state, bounds, ask, tell, out)


def _options(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {
        "parameters": len(asked.parameters),
        "center": wafer.center,
        "sites": sites,
        "surface": asked.wants("plane_", "bowl_"),
        "spread": "wafer_std" in asked.columns,
        "moran": "moran_i" in asked.columns,
    }


KERNEL: Final = Kernel(
    revision=2,
    columns=COLUMNS,
    new_state=new_state,
    run=run,
    options=_options,
    of_values=True,
)
