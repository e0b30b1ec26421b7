"""A lot as far as its wafers have ended: yields and parameter levels, each wafer once in its latest state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.kernels.kernel import Kernel
from fs_spark.kernels.moments import exact_moments

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LotState:
    """One row: the lot at the end `event_us`, as known at `available_us`."""

    event_us: int
    available_us: int
    features: dict[str, float]


def _state(
    latest: Int64, wafer: Int64, passed: Float64, values: Mapping[str, Float64], wafers_done: int
) -> dict[str, float]:
    """Features of the dies' latest attempts (indices into the attempts)."""
    groups = [latest[wafer[latest] == w] for w in np.unique(wafer[latest])]
    yields = []
    for group in groups:
        outcome = passed[group]
        judged = int((~np.isnan(outcome)).sum())
        if judged:
            yields.append(int((outcome == 1).sum()) / judged)
    _, yield_mean, yield_std = exact_moments(yields)
    features = {"wafers_done": float(wafers_done), "yield_mean": yield_mean, "yield_std": yield_std}
    for name, measured in values.items():
        means = [mean for n, mean, _ in (exact_moments(measured[group]) for group in groups) if n]
        _, features[f"{name}__lot_mean"], features[f"{name}__lot_std"] = exact_moments(means)
        _, features[f"{name}__lot_die_mean"], features[f"{name}__lot_die_std"] = exact_moments(measured[latest])
    return features


def lot_so_far(
    *,
    wafer: Int64,
    run: Int64,
    die: Int64,
    event_us: Int64,
    available_us: Int64,
    passed: Float64,
    values: Mapping[str, Float64],
) -> list[LotState]:
    """One row per distinct end of the lot's wafer runs, and one more for each later time of knowledge that changes it.

    A wafer's state is the latest attempt of each die over its runs ended and known by then. Sums are correctly
    rounded, so that a row does not depend on the order of its dies.

    Shapes     all (n,), attempts of one lot and insertion in their one order (event, run, part); `wafer`, `run` and
               `die` number the wafers, runs and (wafer, x, y) dies; die -1 is a part without a place, which counts
               for its run's end alone
    Undefined  NaN: `yield_mean` when no die was judged, standard deviations under two wafers (or values)
    """
    runs = np.unique(run[die >= 0])
    end = {int(r): int(event_us[run == r].max()) for r in runs}
    known = {int(r): int(available_us[run == r].max()) for r in runs}
    wafer_of = {int(r): int(wafer[run == r][0]) for r in runs}
    rows: list[LotState] = []
    for event in sorted(set(end.values())):
        ended = [r for r in end if end[r] <= event]
        first = min(known[r] for r in ended if end[r] == event)
        last: dict[str, float] | None = None
        for moment in sorted({first} | {known[r] for r in ended if known[r] > first}):
            counted = [r for r in ended if known[r] <= moment]
            mine = np.flatnonzero(np.isin(run, counted) & (die >= 0))
            latest_of = np.full(int(die.max(initial=-1)) + 1, -1, np.int64)
            latest_of[die[mine]] = mine  # in order, so the last write is the latest attempt
            features = _state(latest_of[latest_of >= 0], wafer, passed, values, len({wafer_of[r] for r in counted}))
            if last is None or not _same(features, last):
                rows.append(LotState(event, max(moment, event), features))
                last = features
    return rows


def _same(a: dict[str, float], b: dict[str, float]) -> bool:
    return np.array_equal(np.array(list(a.values())), np.array(list(b.values())), equal_nan=True)


KERNEL: Final = Kernel(
    revision=2,
    columns=("wafers_done", "yield_mean", "yield_std", "lot_mean", "lot_std", "lot_die_mean", "lot_die_std"),
)
