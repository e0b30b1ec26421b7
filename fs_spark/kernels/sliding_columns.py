"""The statistics of some groups in each state of their windows: which kernel gives what, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from fs_spark.kernels.sliding_doubts import settle_doubts
from fs_spark.kernels.sliding_ewm import weighted_mean
from fs_spark.kernels.sliding_history import Bool, Column, Feature, Float64, Int64
from fs_spark.kernels.sliding_moments import moments, sums
from fs_spark.kernels.sliding_order import distinct_values, ends, levels_of, new_trees, quantiles
from fs_spark.kernels.sliding_walk import Log

_SHARES: Final = {"min": 0.0, "median": 0.5, "max": 1.0}
QUANTILES: Final = frozenset({*_SHARES, "quantile"})
_MOMENTS: Final = frozenset({"count", "sum", "mean", "std", "slope"})


@dataclass
class GroupColumns:
    """Some groups of a history, versions and instants numbered from 0, and the logs of the windows."""

    edges: Int64
    event_us: Int64
    values: Float64
    codes: Int64
    logs: list[Log]
    asked: dict[tuple[int, int], frozenset[str]]
    done: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self.done:
            self.done[key] = make()
        return self.done[key]

    def _running(self, window: int, weight: Bool) -> Int64:
        """How many of the rows have a property in each state."""
        log = self.logs[window]
        comes = log.ops >= 0
        change = np.where(comes, 1, -1) * weight[np.where(comes, log.ops, ~log.ops)]
        total = np.concatenate([np.zeros(1, np.int64), np.cumsum(change)])
        first = np.maximum.accumulate(np.where(log.instant < 0, np.arange(len(log.instant)), 0))
        return np.asarray(total[log.begin[1:]] - total[log.begin[first]], np.int64)

    def _known(self, f: Feature) -> Bool:
        known = self.codes[f.column] >= 0 if f.coded else ~np.isnan(self.values[f.column])
        return np.asarray(known, np.bool_)

    def _counts(self, f: Feature) -> Int64:
        if not f.coded and (self.asked[f.window, f.column] & _MOMENTS) - {"count"}:
            return np.asarray(self._moments(f)["count"], np.int64)
        return np.asarray(
            self._once(("count", f.window, f.column, f.coded), lambda: self._running(f.window, self._known(f))),
            np.int64,
        )

    def _moments(self, f: Feature) -> dict[str, Column]:
        def make() -> dict[str, Column]:
            log, values = self.logs[f.window], self.values[f.column]
            asked = self.asked[f.window, f.column]
            if not any({"std", "slope"} & statistics for statistics in self.asked.values()):
                count, total = np.empty(len(log.instant), np.int64), np.empty(len(log.instant))
                sums(values, *log, self.edges, count, total)
                return {"count": count, "sum": total}
            count, out = np.empty(len(log.instant), np.int64), np.full((3, len(log.instant)), np.nan)
            moments(values, self.event_us, *log, self.edges, "std" in asked, "slope" in asked, count, out)
            total, std, trend = out
            settle_doubts(values, self.event_us, self.edges, log, std, trend)
            return {"count": count, "sum": total, "std": std, "slope": trend}

        found: dict[str, Column] = self._once(("moments", f.window, f.column), make)
        return found

    def _levels(self, f: Feature) -> tuple[Int64, Column, Int64]:
        def make() -> tuple[Int64, Column, Int64]:
            return levels_of((self.codes if f.coded else self.values)[f.column], self._known(f), self.edges)

        found: tuple[Int64, Column, Int64] = self._once(("levels", f.column, f.coded), make)
        return found

    def _quantiles(self, f: Feature, shares: Sequence[float]) -> dict[float, Float64]:
        def make() -> dict[float, Float64]:
            log = self.logs[f.window]
            out = np.empty((len(shares), len(log.instant)))
            level, levels, level_edges = self._levels(f)
            here = new_trees(1, level_edges)[0]
            quantiles(level, levels, level_edges, np.array(shares), *log, new_trees(1, level_edges)[0], here, out)
            return dict(zip(shares, out, strict=True))

        found: dict[float, Float64] = self._once(("quantiles", f.window, f.column), make)
        return found

    def _ends(self, f: Feature) -> Int64:
        found: Int64 = self._once(
            ("ends", f.window, f.column, f.coded),
            lambda: self._found_ends(self._known(f), self.logs[f.window]),
        )
        return found

    def _found_ends(self, known: Bool, log: Log) -> Int64:
        out = np.full((2, len(log.instant)), -1, np.int64)
        ends(known, self.edges, *log, new_trees(1, self.edges)[0], out)
        return out

    def column(self, f: Feature, shares: Sequence[float]) -> Column:
        """A feature in each state of its window; `shares`: all quantiles asked of its column and window."""
        log = self.logs[f.window]
        if f.statistic == "rows":
            return self._running(f.window, np.ones(len(self.event_us), np.bool_)).astype(np.float64)
        if f.statistic == "count":
            return self._counts(f).astype(np.float64)
        if f.statistic in ("first", "last"):
            at = int(f.statistic == "last")
            return np.asarray(self._ends(f)[at], np.int64)
        if f.statistic == "share":
            known = self._counts(f)
            these = self._running(f.window, self.codes[f.column] == f.parameter)
            return np.where(known > 0, these / np.maximum(known, 1), np.nan)
        if f.statistic == "distinct":
            level, _, level_edges = self._levels(f)
            found = distinct_values(level, level_edges, log)
            return np.where(found > 0, found, np.nan)
        if f.statistic == "ewm":
            half_life = int(f.parameter or 0)
            return weighted_mean(self.values[f.column], self.event_us, half_life, self.edges, *log) + 0.0
        if f.statistic in ("sum", "mean"):
            count, total = self._counts(f), self._moments(f)["sum"]
            if f.statistic == "mean":
                total = total / np.maximum(count, 1)
            return np.where(count > 0, total + 0.0, np.nan)
        if f.statistic in ("std", "slope"):
            return np.asarray(self._moments(f)[f.statistic] + 0.0, np.float64)
        return self._quantiles(f, shares)[share_of(f)]

    def bits(self, f: Feature, column: Column) -> Int64:
        """What says whether a column is as before: of a version, the bits of its value."""
        if f.statistic not in ("first", "last"):
            return column.view(np.int64)
        of = self.codes[f.column] if f.coded else self.values[f.column].view(np.int64)
        null = np.array(-1 if f.coded else np.nan).view(np.int64)
        return np.append(of, null)[column]


def share_of(f: Feature) -> float:
    return _SHARES[f.statistic] if f.statistic in _SHARES else float(f.parameter or 0)
