"""Statistics of the eight neighbors of a die, restricted to what was tested and known earlier."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fs_spark.kernels.attempts import Attempts
from fs_spark.kernels.moments import row_moments

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

KING_MOVES = np.array([(dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dx or dy], np.int64)


def possible_neighbors(x: Int64, y: Int64, *, dies: Int64, pitch: tuple[int, int]) -> Float64:
    """How many of the eight neighbors the wafer map has.

    Shapes     x, y (n,); dies (d, 2)  ->  (n,)
    Undefined  NaN everywhere when the map is empty
    """
    if not len(dies):
        return np.full(len(x), np.nan)
    never = np.zeros(len(dies), np.int64)
    lattice = Attempts.of(dies[:, 0], dies[:, 1], never, never)
    found = lattice.find(x[:, None] + KING_MOVES[:, 0] * pitch[0], y[:, None] + KING_MOVES[:, 1] * pitch[1])
    return np.asarray((found >= 0).sum(axis=1), np.float64)


def neighbor_features(
    attempts: Attempts,
    *,
    rows: Int64,
    known_us: Int64,
    passed: Float64,
    values: Mapping[str, Float64],
    pitch: tuple[int, int] = (1, 1),
) -> dict[str, Float64]:
    """Counts, fails and moments over the neighbors' latest attempts that ended before and were known by then.

    Parts of one touchdown share an end, so they never see each other.

    Shapes     rows (n,): attempts to compute for; known_us (n,): the time of knowledge of each;
               passed (a,): 1, 0 or NaN; values: parameter -> (a,)  ->  feature -> (n,)
    Undefined  counts are 0 where nothing was tested earlier; `fail__neighbor_frac` NaN when no neighbor was judged;
               means NaN without a value, standard deviations NaN under two values
    Invariant to  attempts later than the row, other rows of the batch
    """
    place = attempts.dies[attempts.die[rows]]
    die = attempts.find(
        place[:, :1] + KING_MOVES[:, 0] * pitch[0],
        place[:, 1:] + KING_MOVES[:, 1] * pitch[1],
    )
    latest = attempts.latest(die, attempts.event_us[rows], known_us)
    there = latest >= 0
    outcome = np.where(there, passed[latest], np.nan)
    judged = (~np.isnan(outcome)).sum(axis=1)
    fails = (outcome == 0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.where(judged > 0, fails / judged, np.nan)
    features = {
        "neighbor_count": there.sum(axis=1).astype(np.float64),
        "fail__neighbor_count": fails.astype(np.float64),
        "fail__neighbor_frac": fraction,
    }
    for name, measured in values.items():
        _, mean, std = row_moments(np.where(there, measured[latest], np.nan))
        features[f"{name}__neighbor_mean"] = mean
        features[f"{name}__neighbor_std"] = std
    return features
