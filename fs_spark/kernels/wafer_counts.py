"""Outcomes of a wafer so far: yields by zone and site, rates of bins, join counts, Moran's I, fails in a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.kernel import Asked, Kernel, Places
from fs_spark.kernels.replay import Float64, Int32, Int64, Lattice, Replay

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
    """Shapes: latest, outcome, hard_bin, site, before, after, in_run (d,) by die; totals (10,); zones (4, z, 2): judged
    and passed of each ring, sector, place in the shot and site; bins (b,) asked for and bin_count (b,)."""

    latest: Int32
    outcome: NDArray[np.int8]
    hard_bin: Int32
    site: Int32
    before: Int32
    after: Int32
    in_run: Int64
    totals: Int64
    zones: Int64
    bins: Int32
    bin_count: Int64


def new_state(lattice: Lattice, *, zones: int, bins: Sequence[int] = ()) -> CountState:
    """Nothing tested yet; `zones`: how many there are at most of a kind, places in a shot and sites too."""
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
        np.zeros((4, max(zones, 1), 2), np.int64),
        np.array(bins, np.int32),
        np.zeros(len(bins), np.int64),
    )


@njit(inner=True)
def _leave(outcome: Any, before_of: Any, after_of: Any, in_run: Any, totals: Any, die: Any) -> None:
    """Takes a judged die out of the order of tests, and out of the fails in a row at its end."""
    before, after = before_of[die], after_of[die]
    if before >= 0:
        after_of[before] = after
    if after >= 0:
        before_of[after] = before
    else:
        totals[_TAIL] = before
    if totals[_LAST_PASS] == die:  # the fails before it now are in the row
        while before >= 0 and outcome[before] == 0:
            in_run[before] = totals[_EPOCH]
            totals[_RUN] += 1
            before = before_of[before]
        totals[_LAST_PASS] = before
    elif outcome[die] == 0 and in_run[die] == totals[_EPOCH]:
        totals[_RUN] -= 1


@njit(cache=True, error_model="numpy")
def _run(
    king: Any, zones_of: Any, die_of: Any, known: Any, outcome_of: Any, bin_of: Any, site_of: Any, latest: Any,
    outcome: Any, hard_bin: Any, site: Any, before_of: Any, after_of: Any, in_run: Any, totals: Any, zones: Any,
    bins: Any, bin_count: Any, bounds: Any, ask: Any, tell: Any, out: Any,
) -> None:  # fmt: skip
    for instant in range(len(bounds) - 1):
        first, last = bounds[instant], bounds[instant + 1]
        if ask:
            tested, judged, fails = totals[_TESTED], totals[_JUDGED], totals[_FAILS]
            passes = judged - fails
            bb, bw, ww = totals[_BB], totals[_BW], totals[_WW]
            joins = bb + bw + ww
            pairs = judged * (judged - 1)
            moran = np.nan
            if joins > 0 and fails > 0 and passes > 0:
                product = bb * passes * passes - bw * fails * passes + ww * fails * fails
                moran = float(product) / (float(joins) * float(fails * passes))
            for i in range(first, last):
                die = die_of[i]
                out[0, i] = tested
                out[1, i] = passes / judged if judged else np.nan
                for kind in range(4):
                    zone = zones_of[kind, die] if kind < 3 else site_of[i]
                    share = np.nan
                    if zone >= 0 and zones[kind, zone, 0] > 0:
                        share = zones[kind, zone, 1] / zones[kind, zone, 0]
                    out[2 + kind, i] = share
                out[6, i] = bb
                out[7, i] = bw
                out[8, i] = ww
                out[9, i] = joins * fails * (fails - 1) / pairs if pairs else np.nan
                out[10, i] = 2 * joins * fails * passes / pairs if pairs else np.nan
                out[11, i] = joins * passes * (passes - 1) / pairs if pairs else np.nan
                out[12, i] = moran
                out[13, i] = totals[_RUN]
                for b in range(len(bins)):
                    out[14 + b, i] = bin_count[b] / tested if tested else np.nan
        for j in range(first, last if tell else first):
            if not known[j]:
                continue
            die = die_of[j]
            for turn in range(2):  # what the die was goes, what it is comes
                sign = 2 * turn - 1
                if turn == 1:
                    totals[_TESTED] += latest[die] < 0
                    latest[die] = j
                    outcome[die] = outcome_of[j]
                    hard_bin[die] = bin_of[j]
                    site[die] = site_of[j]
                elif latest[die] < 0:
                    continue
                for b in range(len(bins)):
                    if hard_bin[die] == bins[b]:
                        bin_count[b] += sign
                if outcome[die] < 0:
                    continue
                passed = sign if outcome[die] == 1 else 0
                totals[_JUDGED] += sign
                totals[_FAILS] += sign - passed
                for kind in range(4):
                    zone = zones_of[kind, die] if kind < 3 else site[die]
                    if zone >= 0:
                        zones[kind, zone, 0] += sign
                        zones[kind, zone, 1] += passed
                for k in range(8):
                    other = king[die, k]
                    if other >= 0 and outcome[other] >= 0:
                        both = (outcome[die] == 0) + (outcome[other] == 0)
                        totals[_BB if both == 2 else _BW if both == 1 else _WW] += sign
                if turn == 0:
                    _leave(outcome, before_of, after_of, in_run, totals, die)
                    continue
                tail = totals[_TAIL]  # to the end of the order of tests
                before_of[die] = tail
                after_of[die] = -1
                if tail >= 0:
                    after_of[tail] = die
                totals[_TAIL] = die
                if outcome[die] == 0:
                    totals[_RUN] += 1
                    in_run[die] = totals[_EPOCH]
                else:
                    totals[_RUN] = 0
                    totals[_EPOCH] += 1
                    totals[_LAST_PASS] = die


def run(
    lattice: Lattice, replay: Replay, state: CountState, bounds: Int64, ask: bool, tell: bool, out: Float64
) -> None:
    """As `Kernel.run`.

    Joins are pairs of adjacent judged dies; expected without replacement. Moran's I of the fail indicator with binary
    weights follows from the counts: (bb (n-f)^2 - bw f (n-f) + ww f^2) / (joins f (n-f)).

    Shapes     out (14 + bins, n) by COLUMNS
    Undefined  NaN: yields where none is judged there, expectations under two judged dies, Moran's I without a join or
               where all are alike, rates where none is tested
    Source     Cliff and Ord, Spatial Processes, 1981
    """
    attempts = replay.die, replay.known, replay.outcome, replay.hard_bin, replay.site
    _run(lattice.king, replay.zones, *attempts, *state, bounds, ask, tell, out)


def _options(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {"zones": max(int(wafer.zones.max(initial=-1)) + 1, sites), "bins": asked.bins}


KERNEL: Final = Kernel(
    revision=2,  # the angles that sectors are made of
    columns=COLUMNS,
    new_state=new_state,
    run=run,
    options=_options,
    of_bins=True,
)
