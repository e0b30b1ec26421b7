"""Outcomes of the eight neighbors and of the 5x5 block around a die, as far as they were tested earlier."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import IS_SIDE, Float64, Int64, Lattice, Replay

COLUMNS: Final = (
    "neighbor_count",
    "fail__neighbor_count",
    "fail__neighbor_frac",
    "fail__neighbor_score",
    "fail__neighbor_same_bin",
    "neighbor_same_bin",
    "ring5_count",
    "fail__ring5_count",
    "fail__ring5_frac",
)


class NeighborhoodState(NamedTuple):
    """Shapes: latest, outcome, hard_bin (d,) by die, of its latest attempt; weights (8,) by king move;
    room (8,) for bins."""

    latest: NDArray[np.int32]
    outcome: NDArray[np.int8]
    hard_bin: NDArray[np.int32]
    weights: NDArray[np.float64]
    room: NDArray[np.int32]
    bins: bool
    block: bool


def new_state(
    lattice: Lattice, *, side_weight: float, corner_weight: float, bins: bool = True, block: bool = True
) -> NeighborhoodState:
    """Nothing tested yet. Without `bins` (same bin) or `block` (the 5x5 block) their columns stay undefined."""
    dies = len(lattice.x)
    return NeighborhoodState(
        np.full(dies, -1, np.int32),
        np.full(dies, -1, np.int8),
        np.full(dies, -1, np.int32),
        np.where(IS_SIDE, side_weight, corner_weight).astype(np.float64),
        np.empty(8, np.int32),
        bins,
        block,
    )


@njit(cache=True, error_model="numpy")
def _run(
    king: Any, around: Any, die_of: Any, known: Any, outcome_of: Any, bin_of: Any, latest: Any, outcome: Any,
    hard_bin: Any, weights: Any, room: Any, with_bins: Any, with_block: Any, bounds: Any, ask: Any, tell: Any, out: Any,
) -> None:  # fmt: skip
    for instant in range(len(bounds) - 1):
        first, last = bounds[instant], bounds[instant + 1]
        for i in range(first, last if ask else first):
            die = die_of[i]
            own_bin = bin_of[i]
            tested = judged = fails = same = most = there = 0
            weight = failed_weight = 0.0
            for k in range(8):
                other = king[die, k]
                if other < 0 or latest[other] < 0:
                    continue
                tested += 1
                its_bin = hard_bin[other] if with_bins else -1
                if its_bin >= 0 and its_bin == own_bin:
                    same += 1
                if outcome[other] < 0:
                    continue
                judged += 1
                weight += weights[k]
                if outcome[other] == 0:
                    fails += 1
                    failed_weight += weights[k]
                    if its_bin >= 0:
                        room[there] = its_bin
                        there += 1
            for a in range(there):
                equal = 0
                for b in range(there):
                    equal += room[a] == room[b]
                if equal > most:
                    most = equal
            out[0, i] = tested
            out[1, i] = fails
            out[2, i] = fails / judged if judged else np.nan
            out[3, i] = failed_weight / weight if weight > 0 else np.nan
            out[4, i] = most
            out[5, i] = same if own_bin >= 0 else np.nan
            if with_block:
                tested = judged = fails = 0
                for k in range(16):
                    other = around[die, k]
                    if other >= 0 and latest[other] >= 0:
                        tested += 1
                        judged += outcome[other] >= 0
                        fails += outcome[other] == 0
                out[6, i] = tested
                out[7, i] = fails
                out[8, i] = fails / judged if judged else np.nan
        for j in range(first, last if tell else first):
            if known[j]:
                die = die_of[j]
                latest[die] = j
                outcome[die] = outcome_of[j]
                hard_bin[die] = bin_of[j]


def run(
    lattice: Lattice, replay: Replay, state: NeighborhoodState, bounds: Int64, ask: bool, tell: bool, out: Float64
) -> None:
    """As `Kernel.run`.

    Shapes     out (9, n) by COLUMNS
    Undefined  counts are 0 where nothing was tested; fractions NaN where nothing was judged, `neighbor_same_bin` NaN
               where the attempt has no bin
    """
    attempts = replay.die, replay.known, replay.outcome, replay.hard_bin
    _run(lattice.king, lattice.block, *attempts, *state, bounds, ask, tell, out)


def _options(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {
        "side_weight": asked.settings.gdbn_side_weight,
        "corner_weight": asked.settings.gdbn_corner_weight,
        "bins": asked.wants("fail__neighbor_same_bin", "neighbor_same_bin"),
        "block": asked.wants("ring5", "fail__ring5"),
    }


KERNEL: Final = Kernel(revision=1, columns=COLUMNS, new_state=new_state, run=run, options=_options)
