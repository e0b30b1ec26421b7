"""The 59 features of a wafer map with which WM-811K was first classified: regions, projections, the largest cluster."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.elementary import hypotenuses, sines_and_cosines
from fs_spark.kernels.kernel import Kernel

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Map = NDArray[np.int8]

NO_DIE, PASS, FAIL = 0, 1, 2
_BANDS: Final = 5
_QUARTER: Final = 90
_POINTS: Final = 20
COMPONENT: Final = ("area", "perimeter", "major", "minor", "eccentricity", "solidity")
_CELLS: Final = 4096
_CELLS_PER_DIE: Final = 16
"""A box of more than `_CELLS` and so many cells per die is no wafer's: a round one has 1.3."""


def _box(x: Int64, y: Int64, pitch: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Least x and y, columns and rows of the box of some dies; None where it is no wafer's."""
    if not len(x):
        return None
    low = int(x.min()), int(y.min())
    columns, rows = (int(x.max()) - low[0]) // pitch[0] + 1, (int(y.max()) - low[1]) // pitch[1] + 1
    return (*low, columns, rows) if columns * rows <= _CELLS + _CELLS_PER_DIE * len(x) else None


def map_array(
    x: ArrayLike, y: ArrayLike, outcome: ArrayLike, *, pitch: tuple[int, int] = (1, 1), dies: ArrayLike = ()
) -> Map | None:
    """A picture of a wafer map: 0 no die, 1 passed or not judged, 2 failed.

    Its box is that of the product's `dies`, what lies outside it is left out; without them, or where they are strewn
    too far for a wafer, it is that of the tested dies.

    Shapes     x, y, outcome (d,) with 1, 0 or -1 (not judged); dies (n, 2) of (x, y)  ->  (columns on x, rows on y)
    Undefined  None where the tested dies are strewn too far for a wafer too, or none lies in the box
    """
    xs, ys = np.asarray(x, np.int64), np.asarray(y, np.int64)
    places = np.asarray(dies, np.int64).reshape(-1, 2)
    box = _box(places[:, 0], places[:, 1], pitch) or _box(xs, ys, pitch)
    if box is None:
        return None
    a, b = (xs - box[0]) // pitch[0], (ys - box[1]) // pitch[1]
    inside = (a >= 0) & (a < box[2]) & (b >= 0) & (b < box[3])
    if not inside.any():
        return None
    out = np.zeros(box[2:], np.int8)
    judged = np.where(np.asarray(outcome)[inside] == 0, FAIL, PASS).astype(np.int8)
    np.maximum.at(out, (a[inside], b[inside]), judged)
    return out


def _without_single_fails(picture: Map) -> Map:
    """A fail of which none of the eight neighbors fails becomes a pass."""
    columns, rows = picture.shape
    fails = np.pad(picture == FAIL, 1).astype(np.int64)
    around = sum(fails[i : i + columns, j : j + rows] for i in range(3) for j in range(3))
    return np.where((picture == FAIL) & (around == 1), PASS, picture).astype(np.int8)


def _densities(picture: Map) -> Float64:
    """Fails by dies in 13 regions, (13,)."""
    bands = []
    for size in picture.shape:  # bounds are rounded fifths
        bounds = [(2 * k * size + _BANDS) // (2 * _BANDS) for k in range(1, _BANDS)]
        bands.append(np.searchsorted(bounds, np.arange(size), side="right"))
    square = _BANDS * bands[0][:, None] + bands[1]
    counts = []
    for there in (picture == FAIL, picture != NO_DIE):
        table = np.bincount(square[there], minlength=_BANDS * _BANDS).reshape(_BANDS, _BANDS)
        outer = table[0].sum(), table[-1].sum(), table[:, 0].sum(), table[:, -1].sum()
        counts.append(np.append(outer, table[1:-1, 1:-1].ravel()))
    return np.where(counts[1] > 0, counts[0] / np.maximum(counts[1], 1), 0.0)


@njit(cache=True, error_model="numpy")
def _projections(picture: Any, cosine: Any, sine: Any, sinogram: Any, levels: Any) -> None:
    """The Radon transform of the fails, (lines, 180 degrees), and the mean and deviation of each line, (2, lines).

    The picture, in a square as wide as its diagonal, is turned about its center with bilinear interpolation, and its
    lines along the first axis are added up. Each fail is spread over the cells that it touches; a quarter turn more is
    the same turned picture along the other axis.
    """
    lines, angles = sinogram.shape
    center = lines // 2
    for a in range(picture.shape[0]):
        for b in range(picture.shape[1]):
            if picture[a, b] != FAIL:
                continue
            x, y = float(b - picture.shape[1] // 2), float(a - picture.shape[0] // 2)
            for k in range(_QUARTER):
                c, s = cosine[k], sine[k]
                at_x, at_y = c * x - s * y + center, s * x + c * y + center
                reach = c + s
                for i in range(math.ceil(at_x - reach), math.floor(at_x + reach) + 1):
                    for j in range(math.ceil(at_y - reach), math.floor(at_y + reach) + 1):
                        along, across = i - at_x, j - at_y
                        weight = 1.0 - abs(c * along + s * across)
                        other = 1.0 - abs(c * across - s * along)
                        if weight > 0.0 and other > 0.0 and 0 <= i < lines:
                            if 0 <= j < lines:
                                sinogram[i, k] += weight * other
                            if 0 <= 2 * center - j < lines:
                                sinogram[2 * center - j, k + _QUARTER] += weight * other
    for line in range(lines):
        first, total, squares = sinogram[line, 0], 0.0, 0.0
        for k in range(angles):
            total += sinogram[line, k] - first
        for k in range(angles):
            rest = (sinogram[line, k] - first) - total / angles
            squares += rest * rest
        levels[0, line] = first + total / angles
        levels[1, line] = math.sqrt(squares / angles)


@njit(cache=True, error_model="numpy")
def _interpolated(y: Any, room: Any, out: Any) -> None:
    """A cubic spline through y at 0, 1, 2 ... (its third derivative goes through the second and the last but one), at
    evenly spaced points from the first to the last. Shapes: y (n,), room (2, n) zeros -> out (points,)"""
    n, points = len(y), len(out)
    second, kept = room[0], room[1]
    for k in range(1, n - 1):
        second[k] = (y[k + 1] - y[k]) - (y[k] - y[k - 1])
    if n == 3:
        second[0] = second[1]
        second[2] = second[1]
    if n > 3:
        # (second[k-1] + 4 second[k] + second[k+1]) / 6 is the difference, the outermost two being the differences
        for k in range(2, n - 2):
            below = 4.0 - kept[k - 1]
            kept[k] = 1.0 / below
            second[k] = (6.0 * second[k] - second[k - 1]) / below
        for k in range(n - 3, 1, -1):
            second[k] -= kept[k] * second[k + 1]
        second[0] = 2.0 * second[1] - second[2]
        second[n - 1] = 2.0 * second[n - 2] - second[n - 3]
    for p in range(points):
        at = p * (n - 1) / (points - 1)
        k = int(at)
        k = k if k < n - 2 else n - 2
        t, u = at - k, (k + 1) - at
        out[p] = u * y[k] + t * y[k + 1] + ((u * u * u - u) * second[k] + (t * t * t - t) * second[k + 1]) / 6.0


@njit(cache=True, error_model="numpy")
def _largest(picture: Any, label: Any, queue: Any, chain: Any, out: Any) -> None:
    """The largest 8-connected cluster of fails, of equal ones that which comes first by x, then y: its share of the
    dies, its sides, the second moments xx, yy, xy of its area, and its share of its convex hull.

    Shapes     picture (c, r), with a fail; room: label (c + 2, r + 2) zeros, queue (c r, 2), chain (c + 1, 4); out (6,)
    """
    columns, rows = picture.shape
    labels = most = largest = dies = 0
    for a in range(columns):
        for b in range(rows):
            dies += picture[a, b] != NO_DIE
            if picture[a, b] == FAIL:
                label[a + 1, b + 1] = -1
    for a in range(1, columns + 1):
        for b in range(1, rows + 1):
            if label[a, b] >= 0:
                continue
            labels += 1
            label[a, b] = labels
            queue[0, 0] = a
            queue[0, 1] = b
            head, tail = 0, 1
            while head < tail:
                x, y = queue[head, 0], queue[head, 1]
                head += 1
                for i in range(x - 1, x + 2):
                    for j in range(y - 1, y + 2):
                        if label[i, j] < 0:
                            label[i, j] = labels
                            queue[tail, 0] = i
                            queue[tail, 1] = j
                            tail += 1
            if tail > most:
                most, largest = tail, labels
    sides = sum_x = sum_y = sum_xx = sum_xy = sum_yy = 0
    # the lowest and highest corner of the cluster's dies on each line between two columns
    for line in range(columns + 1):
        chain[line, 2] = rows + 1
        chain[line, 3] = -1
    for a in range(columns):
        for b in range(rows):
            if label[a + 1, b + 1] != largest:
                continue
            sides += label[a, b + 1] != largest
            sides += label[a + 2, b + 1] != largest
            sides += label[a + 1, b] != largest
            sides += label[a + 1, b + 2] != largest
            sum_x += a
            sum_y += b
            sum_xx += a * a
            sum_xy += a * b
            sum_yy += b * b
            for line in range(a, a + 2):
                if b < chain[line, 2]:
                    chain[line, 2] = b
                if b + 1 > chain[line, 3]:
                    chain[line, 3] = b + 1
    hull = 0  # twice its area: the upper less the lower chain of its corners
    for upper in range(2):
        sign = 2 * upper - 1
        count = 0
        for line in range(columns + 1):
            if chain[line, 3] < 0:
                continue
            y = chain[line, 2 + upper]
            while count > 1:
                x, below = chain[count - 2, 0], chain[count - 2, 1]
                turn = (chain[count - 1, 0] - x) * (y - below) - (chain[count - 1, 1] - below) * (line - x)
                if sign * turn < 0:
                    break
                count -= 1
            chain[count, 0] = line
            chain[count, 1] = y
            count += 1
        for k in range(1, count):
            hull += sign * (chain[k, 0] - chain[k - 1, 0]) * (chain[k, 1] + chain[k - 1, 1])
    square = float(most) * float(most)
    xx = float(most * sum_xx - sum_x * sum_x) / square + 1 / 12
    yy = float(most * sum_yy - sum_y * sum_y) / square + 1 / 12
    xy = float(most * sum_xy - sum_x * sum_y) / square
    out[0] = most / dies
    out[1] = sides
    out[2] = xx
    out[3] = yy
    out[4] = xy
    out[5] = 2 * most / hull


def _component(picture: Map) -> list[float]:
    """Area, perimeter, axes, eccentricity and solidity of the largest cluster; lengths by the box's diagonal."""
    columns, rows = picture.shape
    out = np.empty(6)
    label, queue = np.zeros((columns + 2, rows + 2), np.int64), np.empty((columns * rows, 2), np.int64)
    _largest(picture, label, queue, np.empty((columns + 1, 4), np.int64), out)
    area, sides, xx, yy, xy, solidity = out.tolist()
    half, diagonal = hypotenuses([(xx - yy) / 2, float(columns)], [xy, float(rows)]).tolist()
    middle = (xx + yy) / 2
    major, minor = math.sqrt(middle + half), math.sqrt(max(middle - half, 0.0))
    eccentricity = math.sqrt(max(1.0 - (minor / major) * (minor / major), 0.0))
    return [area, sides / diagonal, 4 * major / diagonal, 4 * minor / diagonal, eccentricity, solidity]


def _measured(picture: Map) -> Float64:
    """Densities, means, deviations and the largest cluster, one after the other; 0 without a fail."""
    out = np.zeros(len(NAMES))
    if not (picture == FAIL).any():
        return out
    columns, rows = picture.shape
    regions, lines = 4 + (_BANDS - 2) * (_BANDS - 2), math.ceil(math.sqrt(2.0) * max(columns, rows))
    out[:regions] = _densities(picture)
    levels = np.empty((2, lines))
    _projections(picture, *_directions(), np.zeros((lines, 2 * _QUARTER)), levels)
    for k in range(2):
        _interpolated(levels[k], np.zeros((2, lines)), out[regions + k * _POINTS : regions + (k + 1) * _POINTS])
    out[-len(COMPONENT) :] = _component(picture)
    return out


@cache
def _directions() -> tuple[Float64, Float64]:
    """Cosine and sine of 0, 1 ... 89 degrees."""
    sine, cosine = sines_and_cosines(np.arange(_QUARTER) * (np.pi / 180))
    return cosine, sine


NAMES: Final = (
    *(f"wm_density_{k:02}" for k in range(13)),
    *(f"wm_radon_mean_{k:02}" for k in range(_POINTS)),
    *(f"wm_radon_std_{k:02}" for k in range(_POINTS)),
    *(f"wm_component_{name}" for name in COMPONENT),
)


def wm811k_features(picture: Map | None, *, remove_single_fails: bool = False) -> dict[str, float]:
    """The 59 features: 13 densities, 20 means and 20 deviations of projections, 6 of the largest cluster.

    Densities are fails by dies in 13 regions: the four outer fifths of the box, and the nine inner squares by x, then
    y. Projections are the Radon transform of the fails at 0, 1 ... 179 degrees, as scikit-image's `radon` without a
    circle gives it; the mean and the deviation over the angles are taken for each line, and both are interpolated by a
    cubic spline at 20 points. The largest cluster is 8-connected; its area counts by the dies of the map, its lengths
    by the box's diagonal; the axes are those of the ellipse with the same second moments, the perimeter counts sides
    of dies, solidity is the area by that of the convex hull.

    Shapes     (columns on x, rows on y) of 0 no die, 1 pass, 2 fail  ->  name -> value
    Units      all are pure numbers
    Undefined  NaN without a picture; without a fail all are 0
    Source     M.-J. Wu, J.-S. R. Jang, J.-L. Chen, IEEE Trans. Semicond. Manuf. 28(1), 2015; `remove_single_fails`, its
               removal of noise: fails without a failing neighbor count as passes
    """
    if picture is None:
        return dict.fromkeys(NAMES, float("nan"))
    given = np.ascontiguousarray(picture, np.int8)
    if remove_single_fails:
        given = _without_single_fails(given)
    return dict(zip(NAMES, _measured(given).tolist(), strict=True))


KERNEL: Final = Kernel(revision=2, columns=NAMES)
