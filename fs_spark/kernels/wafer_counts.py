"""Outcomes of a wafer so far: yields by zone and site, rates of bins, join counts, Moran's I, fails in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import Lattice

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

COLUMNS: Final = (
    "tested_count",
    "yield",
    "ring_yield",
    "sector_yield",
    "reticle_yield",
    "site_yield",
    "fail__join_bb",
    "fail__join_bw",
    "fail__join_ww",
    "fail__join_bb_expected",
    "fail__join_bw_expected",
    "fail__join_ww_expected",
    "fail__moran_i",
    "fail__run_length",
)
"""Then the rate of each bin."""

_TESTED, _JUDGED, _FAILS, _BB, _BW, _WW, _RUN, _LAST_PASS, _TAIL, _EPOCH = range(10)


class CountState(NamedTuple):
    """Shapes: outcome, hard_bin, site, before, after, in_run (d,) by die; totals (10,); ring, sector, reticle (z, 2),
    sites (s, 2): judged and passed; bins (b,) asked for and bin_count (b,); latest (d,)."""

    latest: Int32
    outcome: NDArray[np.int8]
    hard_bin: Int32
    site: Int32
    before: Int32
    after: Int32
    in_run: Int64
    totals: Int64
    ring: Int64
    sector: Int64
    reticle: Int64
    sites: Int64
    bins: Int32
    bin_count: Int64


def new_state(
    lattice: Lattice, *, rings: int, sectors: int, reticle: int, sites: int, bins: Sequence[int] = ()
) -> CountState:
    """Nothing tested yet; how many zones of each kind, places in a shot and sites there are."""
    dies = len(lattice.x)
    totals = np.zeros(10, np.int64)
    totals[[_LAST_PASS, _TAIL]] = -1
    return CountState(
        np.full(dies, -1, np.int32),
        np.full(dies, -1, np.int8),
        np.full(dies, -1, np.int32),
        np.full(dies, -1, np.int32),
        np.full(dies, -1, np.int32),
        np.full(dies, -1, np.int32),
        np.full(dies, -1, np.int64),
        totals,
        np.zeros((max(rings, 1), 2), np.int64),
        np.zeros((max(sectors, 1), 2), np.int64),
        np.zeros((max(reticle, 1), 2), np.int64),
        np.zeros((max(sites, 1), 2), np.int64),
        np.array(bins, np.int32),
        np.zeros(len(bins), np.int64),
    )


@njit(cache=True, error_model="numpy")
def _yield(zones: Any, zone: Any) -> Any:
    if zone < 0 or zones[zone, 0] == 0:
        return np.nan
    return zones[zone, 1] / zones[zone, 0]


@njit(cache=True, error_model="numpy")
def query(lattice: Any, replay: Any, state: Any, first: Any, last: Any, out: Any) -> None:
    """Columns of the attempts [first, last) from what was pushed before.

    Joins are pairs of adjacent judged dies; expected without replacement. Moran's I of the fail indicator with binary
    weights follows from the counts: (bb (n-f)^2 - bw f (n-f) + ww f^2) / (joins f (n-f)).

    Shapes     out (14 + bins, n) by COLUMNS
    Undefined  NaN: yields where none is judged there, expectations under two judged dies, Moran's I without a join or
               where all are alike, rates where none is tested
    Source     Cliff and Ord, Spatial Processes, 1981
    """
    judged, fails = state.totals[_JUDGED], state.totals[_FAILS]
    passes = judged - fails
    bb, bw, ww = state.totals[_BB], state.totals[_BW], state.totals[_WW]
    joins = bb + bw + ww
    pairs = judged * (judged - 1)
    moran = np.nan
    if joins > 0 and fails > 0 and passes > 0:
        product = bb * passes * passes - bw * fails * passes + ww * fails * fails
        moran = float(product) / (float(joins) * float(fails * passes))
    for i in range(first, last):
        die = replay.die[i]
        out[0, i] = state.totals[_TESTED]
        out[1, i] = passes / judged if judged else np.nan
        out[2, i] = _yield(state.ring, replay.zone_ring[die])
        out[3, i] = _yield(state.sector, replay.zone_sector[die])
        out[4, i] = _yield(state.reticle, replay.zone_reticle[die])
        out[5, i] = _yield(state.sites, replay.site[i])
        out[6, i] = bb
        out[7, i] = bw
        out[8, i] = ww
        out[9, i] = joins * fails * (fails - 1) / pairs if pairs else np.nan
        out[10, i] = 2 * joins * fails * passes / pairs if pairs else np.nan
        out[11, i] = joins * passes * (passes - 1) / pairs if pairs else np.nan
        out[12, i] = moran
        out[13, i] = state.totals[_RUN]
        for b in range(len(state.bins)):
            out[14 + b, i] = state.bin_count[b] / state.totals[_TESTED] if state.totals[_TESTED] else np.nan


@njit(cache=True)
def _count(replay: Any, state: Any, die: Any, sign: Any) -> None:
    """Adds or takes away what a judged die is in the yields."""
    passed = sign if state.outcome[die] == 1 else 0
    state.totals[_JUDGED] += sign
    state.totals[_FAILS] += sign - passed
    if replay.zone_ring[die] >= 0:
        state.ring[replay.zone_ring[die], 0] += sign
        state.ring[replay.zone_ring[die], 1] += passed
    if replay.zone_sector[die] >= 0:
        state.sector[replay.zone_sector[die], 0] += sign
        state.sector[replay.zone_sector[die], 1] += passed
    if replay.zone_reticle[die] >= 0:
        state.reticle[replay.zone_reticle[die], 0] += sign
        state.reticle[replay.zone_reticle[die], 1] += passed
    if state.site[die] >= 0:
        state.sites[state.site[die], 0] += sign
        state.sites[state.site[die], 1] += passed


@njit(cache=True)
def _join(lattice: Any, state: Any, die: Any, sign: Any) -> None:
    """Adds or takes away the joins of a judged die."""
    for k in range(8):
        other = lattice.king[die, k]
        if other >= 0 and state.outcome[other] >= 0:
            fails = (state.outcome[die] == 0) + (state.outcome[other] == 0)
            state.totals[_BB if fails == 2 else _BW if fails == 1 else _WW] += sign


@njit(cache=True)
def _leave(state: Any, die: Any) -> None:
    """Takes a judged die out of the order of tests, and out of the fails in a row at its end."""
    before, after = state.before[die], state.after[die]
    if before >= 0:
        state.after[before] = after
    if after >= 0:
        state.before[after] = before
    else:
        state.totals[_TAIL] = before
    if state.totals[_LAST_PASS] == die:  # the fails before it now are in the row
        while before >= 0 and state.outcome[before] == 0:
            state.in_run[before] = state.totals[_EPOCH]
            state.totals[_RUN] += 1
            before = state.before[before]
        state.totals[_LAST_PASS] = before
    elif state.outcome[die] == 0 and state.in_run[die] == state.totals[_EPOCH]:
        state.totals[_RUN] -= 1


@njit(cache=True)
def _append(state: Any, die: Any) -> None:
    """Puts a judged die at the end of the order of tests."""
    tail = state.totals[_TAIL]
    state.before[die] = tail
    state.after[die] = -1
    if tail >= 0:
        state.after[tail] = die
    state.totals[_TAIL] = die
    if state.outcome[die] == 0:
        state.totals[_RUN] += 1
        state.in_run[die] = state.totals[_EPOCH]
    else:
        state.totals[_RUN] = 0
        state.totals[_EPOCH] += 1
        state.totals[_LAST_PASS] = die


@njit(cache=True)
def push(lattice: Any, replay: Any, state: Any, first: Any, last: Any) -> None:
    """Takes the attempts [first, last) in; one on a die that was tested replaces the earlier."""
    for j in range(first, last):
        if not replay.known[j]:
            continue
        die = replay.die[j]
        if state.latest[die] < 0:
            state.totals[_TESTED] += 1
        elif state.outcome[die] >= 0:
            _join(lattice, state, die, -1)
            _count(replay, state, die, -1)
            _leave(state, die)
        for b in range(len(state.bins)):
            was = state.latest[die] >= 0 and state.hard_bin[die] == state.bins[b]
            state.bin_count[b] += (replay.hard_bin[j] == state.bins[b]) - was
        state.latest[die] = j
        state.outcome[die] = replay.outcome[j]
        state.hard_bin[die] = replay.hard_bin[j]
        state.site[die] = replay.site[j]
        if replay.outcome[j] >= 0:
            _count(replay, state, die, 1)
            _join(lattice, state, die, 1)
            _append(state, die)


@njit(cache=True, error_model="numpy")
def walk(lattice: Any, replay: Any, state: Any, out: Any) -> None:
    """The whole replay: each instant is asked, then told."""
    for k in range(len(replay.instants) - 1):
        query(lattice, replay, state, replay.instants[k], replay.instants[k + 1], out)
        push(lattice, replay, state, replay.instants[k], replay.instants[k + 1])


def _options(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {
        "rings": int(wafer.ring.max(initial=-1)) + 1,
        "sectors": int(wafer.sector.max(initial=-1)) + 1,
        "reticle": int(wafer.reticle.max(initial=-1)) + 1,
        "sites": sites,
        "bins": asked.bins,
    }


KERNEL: Final = Kernel(
    revision=2,  # the angles that sectors are made of
    columns=COLUMNS,
    new_state=new_state,
    query=query,
    push=push,
    walk=walk,
    options=_options,
    of_bins=True,
)
