"""Outcomes of the eight neighbors and of the 5x5 block around a die, as far as they were tested earlier."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import IS_SIDE, Lattice

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
    """Shapes: latest, outcome, hard_bin (d,) by die, of its latest attempt; weights (8,) by king move."""

    latest: NDArray[np.int32]
    outcome: NDArray[np.int8]
    hard_bin: NDArray[np.int32]
    weights: NDArray[np.float64]
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
        bins,
        block,
    )


@njit(cache=True, error_model="numpy")
def query(lattice: Any, replay: Any, state: Any, first: Any, last: Any, out: Any) -> None:
    """Columns of the attempts [first, last) from what was pushed before.

    Shapes     out (9, n) by COLUMNS
    Undefined  counts are 0 where nothing was tested; fractions NaN where nothing was judged, `neighbor_same_bin` NaN
               where the attempt has no bin
    """
    bins = np.empty(8, np.int32)
    for i in range(first, last):
        die = replay.die[i]
        own_bin = replay.hard_bin[i]
        tested = judged = fails = same = most = there = 0
        weight = failed_weight = 0.0
        for k in range(8):
            other = lattice.king[die, k]
            if other < 0 or state.latest[other] < 0:
                continue
            tested += 1
            outcome = state.outcome[other]
            hard_bin = state.hard_bin[other] if state.bins else -1
            if hard_bin >= 0 and hard_bin == own_bin:
                same += 1
            if outcome < 0:
                continue
            judged += 1
            weight += state.weights[k]
            if outcome == 0:
                fails += 1
                failed_weight += state.weights[k]
                if hard_bin >= 0:
                    bins[there] = hard_bin
                    there += 1
        for a in range(there):
            equal = 0
            for b in range(there):
                equal += bins[a] == bins[b]
            most = max(most, equal)
        out[0, i] = tested
        out[1, i] = fails
        out[2, i] = fails / judged if judged else np.nan
        out[3, i] = failed_weight / weight if weight > 0 else np.nan
        out[4, i] = most
        out[5, i] = same if own_bin >= 0 else np.nan
        if state.block:
            tested = judged = fails = 0
            for k in range(16):
                other = lattice.block[die, k]
                if other >= 0 and state.latest[other] >= 0:
                    tested += 1
                    judged += state.outcome[other] >= 0
                    fails += state.outcome[other] == 0
            out[6, i] = tested
            out[7, i] = fails
            out[8, i] = fails / judged if judged else np.nan


@njit(cache=True)
def push(lattice: Any, replay: Any, state: Any, first: Any, last: Any) -> None:
    """Takes the attempts [first, last) in."""
    for j in range(first, last):
        if replay.known[j]:
            die = replay.die[j]
            state.latest[die] = j
            state.outcome[die] = replay.outcome[j]
            state.hard_bin[die] = replay.hard_bin[j]


@njit(cache=True, error_model="numpy")
def walk(lattice: Any, replay: Any, state: Any, out: Any) -> None:
    """The whole replay: each instant is asked, then told."""
    for k in range(len(replay.instants) - 1):
        query(lattice, replay, state, replay.instants[k], replay.instants[k + 1], out)
        push(lattice, replay, state, replay.instants[k], replay.instants[k + 1])


def _options(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {
        "side_weight": asked.settings.gdbn_side_weight,
        "corner_weight": asked.settings.gdbn_corner_weight,
        "bins": asked.wants("fail__neighbor_same_bin", "neighbor_same_bin"),
        "block": asked.wants("ring5", "fail__ring5"),
    }


KERNEL: Final = Kernel(
    revision=1, columns=COLUMNS, new_state=new_state, query=query, push=push, walk=walk, options=_options
)
