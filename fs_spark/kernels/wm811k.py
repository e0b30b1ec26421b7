"""The 59 features of a wafer map with which WM-811K was first classified: regions, projections, the largest cluster."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, ndimage, spatial

Float64 = NDArray[np.float64]
Map = NDArray[np.int8]

NO_DIE, PASS, FAIL = 0, 1, 2
_BANDS: Final = 5
_ANGLES: Final = 180
_POINTS: Final = 20
COMPONENT: Final = ("area", "perimeter", "major", "minor", "eccentricity", "solidity")


def map_array(x: ArrayLike, y: ArrayLike, outcome: ArrayLike, *, pitch: tuple[int, int] = (1, 1)) -> Map:
    """A picture of the dies' box: 0 no die, 1 passed or not judged, 2 failed.

    Shapes     x, y, outcome (d,) with 1, 0 or -1 (not judged)  ->  (columns on x, rows on y)
    """
    xs, ys = np.asarray(x, np.int64), np.asarray(y, np.int64)
    a, b = (xs - xs.min()) // pitch[0], (ys - ys.min()) // pitch[1]
    out = np.zeros((int(a.max()) + 1, int(b.max()) + 1), np.int8)
    np.maximum.at(out, (a, b), np.where(np.asarray(outcome) == 0, FAIL, PASS).astype(np.int8))
    return out


def _densities(picture: Map) -> Float64:
    """Fails by dies in 13 regions: the four outer fifths of the box, and the nine inner squares by x, then y."""
    bounds = [np.linspace(0, size, _BANDS + 1).round().astype(int) for size in picture.shape]
    a, b = bounds
    regions = [picture[: a[1]], picture[a[4] :], picture[:, : b[1]], picture[:, b[4] :]]
    regions += [picture[a[i] : a[i + 1], b[j] : b[j + 1]] for i in (1, 2, 3) for j in (1, 2, 3)]
    dies = np.array([np.count_nonzero(region) for region in regions])
    fails = np.array([np.count_nonzero(region == FAIL) for region in regions])
    return np.where(dies > 0, fails / np.maximum(dies, 1), 0.0)


def _projections(picture: Map) -> tuple[Float64, Float64]:
    """Mean and standard deviation over 180 angles of the fails on each line, at 20 points across the box's diagonal.

    A fail is shared linearly between the two lines beside its center.
    """
    lines = int(np.ceil(np.hypot(*picture.shape))) + 2
    at = np.argwhere(picture == FAIL) - (np.array(picture.shape) - 1) / 2
    theta = np.arange(_ANGLES) * (np.pi / _ANGLES)
    place = at @ np.stack([np.cos(theta), np.sin(theta)]) + (lines - 1) / 2
    low = np.floor(place).astype(np.int64)
    share = place - low
    line_of = low * _ANGLES + np.arange(_ANGLES)
    size = (lines + 1) * _ANGLES
    total = np.bincount(line_of.ravel(), weights=(1 - share).ravel(), minlength=size)
    total += np.bincount((line_of + _ANGLES).ravel(), weights=share.ravel(), minlength=size)
    sinogram = total.reshape(-1, _ANGLES)[:lines]
    points = np.linspace(0, lines - 1, _POINTS)
    mean, std = (
        interpolate.CubicSpline(np.arange(lines), of)(points) for of in (sinogram.mean(axis=1), sinogram.std(axis=1))
    )
    return mean, std


def _component(picture: Map) -> Float64:
    """Of the largest 8-connected cluster of fails; of equal ones that which comes first by x, then y. 0 without a fail.

    Area by the dies of the map, lengths by the box's diagonal; the axes are those of the ellipse with the same second
    moments, the perimeter counts sides of dies, solidity is the area by that of the convex hull.
    """
    labels, count = ndimage.label(picture == FAIL, structure=np.ones((3, 3)))
    if not count:
        return np.zeros(len(COMPONENT))
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    mask = labels == largest
    area = int(mask.sum())
    diagonal = float(np.hypot(*picture.shape))
    padded = np.pad(mask, 1)
    sides = sum(int(np.count_nonzero(np.diff(padded.astype(np.int8), axis=axis))) for axis in (0, 1))
    at = np.argwhere(mask).astype(np.float64)
    centered = at - at.mean(axis=0)
    moments = centered.T @ centered / area + np.eye(2) / 12
    minor, major = np.sqrt(np.maximum(np.linalg.eigvalsh(moments), 0))
    corners = (at[:, None, :] + np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)])).reshape(-1, 2)
    hull = float(spatial.ConvexHull(corners).volume)
    return np.array(
        [
            area / np.count_nonzero(picture),
            sides / diagonal,
            4 * major / diagonal,
            4 * minor / diagonal,
            np.sqrt(max(0.0, 1 - (minor / major) ** 2)),
            area / hull,
        ]
    )


def wm811k_features(picture: Map) -> dict[str, float]:
    """The 59 features: 13 densities, 20 means and 20 deviations of projections, 6 of the largest cluster.

    Shapes     (columns on x, rows on y) of 0 no die, 1 pass, 2 fail  ->  name -> value
    Units      all are pure numbers
    Undefined  never; without a fail all are 0
    Source     M.-J. Wu, J.-S. R. Jang, J.-L. Chen, IEEE Trans. Semicond. Manuf. 28(1), 2015; regions, lines and lengths
               as said above, without its removal of single fails
    """
    mean, std = _projections(picture)
    return {
        **{f"wm_density_{k:02}": float(v) for k, v in enumerate(_densities(picture))},
        **{f"wm_radon_mean_{k:02}": float(v) for k, v in enumerate(mean)},
        **{f"wm_radon_std_{k:02}": float(v) for k, v in enumerate(std)},
        **{f"wm_component_{name}": float(v) for name, v in zip(COMPONENT, _component(picture), strict=True)},
    }
