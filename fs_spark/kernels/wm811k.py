"""The 59 features of a wafer map with which WM-811K was first classified: regions, projections, the largest cluster."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.elementary import hypotenuse, sine_and_cosine
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


@njit(cache=True)
def _without_single_fails(picture: Any) -> Any:
    """A fail of which none of the eight neighbors fails becomes a pass."""
    out = picture.copy()
    for a in range(picture.shape[0]):
        for b in range(picture.shape[1]):
            fails = 0
            for i in range(max(a - 1, 0), min(a + 2, picture.shape[0])):
                for j in range(max(b - 1, 0), min(b + 2, picture.shape[1])):
                    fails += picture[i, j] == FAIL
            if picture[a, b] == FAIL and fails == 1:
                out[a, b] = PASS
    return out


@njit(cache=True)
def _projections(picture: Any, cosine: Any, sine: Any) -> Any:
    """The Radon transform of the fails, (lines, 180 degrees).

    The picture, in a square as wide as its diagonal, is turned about its center with bilinear interpolation, and its
    lines along the first axis are added up. Each fail is spread over the cells that it touches; a quarter turn more is
    the same turned picture along the other axis.
    """
    size = max(picture.shape[0], picture.shape[1])
    lines = int(np.ceil(np.sqrt(2.0) * size))
    center = lines // 2
    out = np.zeros((lines, 2 * _QUARTER))
    for a in range(picture.shape[0]):
        for b in range(picture.shape[1]):
            if picture[a, b] != FAIL:
                continue
            x, y = float(b - picture.shape[1] // 2), float(a - picture.shape[0] // 2)
            for k in range(_QUARTER):
                c, s = cosine[k], sine[k]
                at_x, at_y = c * x - s * y + center, s * x + c * y + center
                reach = c + s
                for i in range(int(np.ceil(at_x - reach)), int(np.floor(at_x + reach)) + 1):
                    for j in range(int(np.ceil(at_y - reach)), int(np.floor(at_y + reach)) + 1):
                        along, across = i - at_x, j - at_y
                        weight = 1.0 - abs(c * along + s * across)
                        other = 1.0 - abs(c * across - s * along)
                        if weight > 0.0 and other > 0.0 and 0 <= i < lines:
                            if 0 <= j < lines:
                                out[i, k] += weight * other
                            if 0 <= 2 * center - j < lines:
                                out[2 * center - j, k + _QUARTER] += weight * other
    return out


@njit(cache=True, error_model="numpy")
def _interpolated(y: Any, points: Any) -> Any:
    """A cubic spline through y at 0, 1, 2 ... (its third derivative goes through the second and the last but one), at
    evenly spaced points from the first to the last."""
    n = len(y)
    second, kept = np.zeros(n), np.zeros(n)
    for k in range(1, n - 1):
        second[k] = (y[k + 1] - y[k]) - (y[k] - y[k - 1])
    if n == 3:
        second[0] = second[2] = second[1]
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
    out = np.empty(points)
    for p in range(points):
        at = p * (n - 1) / (points - 1)
        k = min(int(at), n - 2)
        t, u = at - k, (k + 1) - at
        out[p] = u * y[k] + t * y[k + 1] + ((u * u * u - u) * second[k] + (t * t * t - t) * second[k + 1]) / 6.0
    return out


@njit(cache=True, error_model="numpy")
def _largest(picture: Any, out: Any) -> None:
    """Area, perimeter, axes, eccentricity and solidity of the largest 8-connected cluster of fails into `out`; of equal
    ones of that which comes first by x, then y. Lengths by the box's diagonal."""
    columns, rows = picture.shape
    label = np.zeros((columns + 2, rows + 2), np.int64)
    queue = np.empty((columns * rows, 2), np.int64)
    labels = most = largest = dies = 0
    for a in range(columns):
        for b in range(rows):
            dies += picture[a, b] != NO_DIE
            if picture[a, b] != FAIL or label[a + 1, b + 1] > 0:
                continue
            labels += 1
            label[a + 1, b + 1] = labels
            queue[0, 0], queue[0, 1] = a, b
            head, tail = 0, 1
            while head < tail:
                x, y = queue[head, 0], queue[head, 1]
                head += 1
                for i in range(max(x - 1, 0), min(x + 2, columns)):
                    for j in range(max(y - 1, 0), min(y + 2, rows)):
                        if picture[i, j] == FAIL and label[i + 1, j + 1] == 0:
                            label[i + 1, j + 1] = labels
                            queue[tail, 0], queue[tail, 1] = i, j
                            tail += 1
            if tail > most:
                most, largest = tail, labels
    for k in range(6):
        out[k] = 0.0
    if most == 0:
        return
    sides = sum_x = sum_y = sum_xx = sum_xy = sum_yy = 0
    # the lowest and highest corner of the cluster's dies on each line between two columns
    low, high = np.full(columns + 1, rows + 1), np.full(columns + 1, -1)
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
            for line in (a, a + 1):
                low[line], high[line] = min(low[line], b), max(high[line], b + 1)
    hull = 0  # twice its area: the upper less the lower chain of its corners
    chain = np.empty((columns + 1, 2), np.int64)
    for upper in (0, 1):
        count = 0
        for line in range(columns + 1):
            if high[line] < 0:
                continue
            y = high[line] if upper else low[line]
            while count > 1:
                dx, dy = chain[count - 1, 0] - chain[count - 2, 0], chain[count - 1, 1] - chain[count - 2, 1]
                turn = dx * (y - chain[count - 2, 1]) - dy * (line - chain[count - 2, 0])
                if turn > 0 if upper == 0 else turn < 0:
                    break
                count -= 1
            chain[count, 0], chain[count, 1] = line, y
            count += 1
        for k in range(1, count):
            strip = (chain[k, 0] - chain[k - 1, 0]) * (chain[k, 1] + chain[k - 1, 1])
            hull += strip if upper else -strip
    square = float(most) * float(most)
    xx = float(most * sum_xx - sum_x * sum_x) / square + 1 / 12
    yy = float(most * sum_yy - sum_y * sum_y) / square + 1 / 12
    xy = float(most * sum_xy - sum_x * sum_y) / square
    middle, half = (xx + yy) / 2, hypotenuse((xx - yy) / 2, xy)
    major, minor = np.sqrt(middle + half), np.sqrt(max(middle - half, 0.0))
    diagonal = hypotenuse(float(columns), float(rows))
    out[0] = most / dies
    out[1] = sides / diagonal
    out[2] = 4 * major / diagonal
    out[3] = 4 * minor / diagonal
    out[4] = np.sqrt(max(0.0, 1.0 - (minor / major) * (minor / major)))
    out[5] = 2 * most / hull


@njit(cache=True, error_model="numpy")
def _measured(picture: Any, cosine: Any, sine: Any, points: Any) -> Any:
    """Densities, means, deviations and the largest cluster, one after the other."""
    regions = 4 + (_BANDS - 2) * (_BANDS - 2)
    out = np.zeros(regions + 2 * points + 6)
    dies, fails = np.zeros(regions, np.int64), np.zeros(regions, np.int64)
    columns, rows = picture.shape
    any_fail = False
    for a in range(columns):
        for b in range(rows):
            if picture[a, b] == NO_DIE:
                continue
            band_x = band_y = 0  # bounds are rounded fifths
            for k in range(1, _BANDS):
                band_x += a >= (2 * k * columns + _BANDS) // (2 * _BANDS)
                band_y += b >= (2 * k * rows + _BANDS) // (2 * _BANDS)
            failed = picture[a, b] == FAIL
            any_fail |= failed
            for region in range(regions):
                inside = (
                    (region == 0 and band_x == 0)
                    or (region == 1 and band_x == _BANDS - 1)
                    or (region == 2 and band_y == 0)
                    or (region == 3 and band_y == _BANDS - 1)
                    or (
                        0 < band_x < _BANDS - 1
                        and 0 < band_y < _BANDS - 1
                        and region == 4 + (_BANDS - 2) * (band_x - 1) + band_y - 1
                    )
                )
                dies[region] += inside
                fails[region] += inside and failed
    if not any_fail:
        return out
    for region in range(regions):
        if dies[region] > 0:
            out[region] = fails[region] / dies[region]
    sinogram = _projections(picture, cosine, sine)
    angles = sinogram.shape[1]
    mean, std = np.empty(len(sinogram)), np.empty(len(sinogram))
    for line in range(len(sinogram)):
        first, total, squares = sinogram[line, 0], 0.0, 0.0
        for k in range(angles):
            total += sinogram[line, k] - first
        for k in range(angles):
            rest = (sinogram[line, k] - first) - total / angles
            squares += rest * rest
        mean[line], std[line] = first + total / angles, np.sqrt(squares / angles)
    out[regions : regions + points] = _interpolated(mean, points)
    out[regions + points : regions + 2 * points] = _interpolated(std, points)
    _largest(picture, out[regions + 2 * points :])
    return out


@cache
def _directions() -> tuple[Float64, Float64]:
    """Cosine and sine of 0, 1 ... 89 degrees."""
    turned = [sine_and_cosine(k * (np.pi / 180)) for k in range(_QUARTER)]
    return np.array([c for _, c in turned]), np.array([s for s, _ in turned])


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
    return dict(zip(NAMES, _measured(given, *_directions(), _POINTS).tolist(), strict=True))


KERNEL: Final = Kernel(revision=2, columns=NAMES)
