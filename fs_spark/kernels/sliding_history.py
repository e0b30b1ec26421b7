"""What state views are made of: the rows of groups in all their versions, windows, and features over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
Column = Float64 | Int64
Statistic = Literal[
    "rows", "count", "sum", "mean", "std", "min", "max", "median", "quantile", "slope", "ewm", "distinct", "first",
    "last", "share",
]  # fmt: skip

_OF_CODES: Final = frozenset({"count", "distinct", "first", "last", "share"})


@dataclass(frozen=True, slots=True)
class History:
    """Rows of groups, in all their versions.

    Shapes     edges (g + 1,): rows [edges[k], edges[k + 1]) are group k, sorted by (event, order); event_us (r,)
               row (v,): the row of a version; versions are sorted by row, then start; those of one row do not overlap
               start_us, end_us (v,): a version is known from the greater of event and availability on, until it is
               replaced, pushed out or withdrawn (`NEVER`: it is not)
               values (c, v): NaN = null, as is what is not below 1e150 in size; codes (k, v): -1 = null
               keep (m, v): for each `where`, the versions that pass it; 0 is all of them
               earlier_event_us (g,): the newest event among rows that are not given and were known before all that
               is; `NONE`: the group did not exist
    """

    edges: Int64
    event_us: Int64
    row: Int64
    start_us: Int64
    end_us: Int64
    values: Float64
    codes: Int64
    keep: Bool
    earlier_event_us: Int64


@dataclass(frozen=True, slots=True)
class Window:
    """The rows that pass a `where` and lie in (u - span, u]; with `last`, the newest so many of them by (event, order).

    Neither: all rows so far.
    """

    where: int = 0
    span_us: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Feature:
    """A statistic of a column of `History.values`, or with `coded` of `History.codes`, over a window.

    `parameter` is the q of a quantile (0 to 1), the half-life of `ewm` in microseconds, the code of a `share`. `rows`
    has no column.
    """

    window: int
    statistic: Statistic
    column: int = -1
    parameter: float | int | None = None
    coded: bool = False


@dataclass(frozen=True, slots=True)
class StateRows:
    """One row for each group and instant at which anything changes, by group and instant.

    Shapes     group, instant_us, last_event_us (o,): `last_event_us` `NONE` where no row is left; columns: of each
               feature (o,) float64, NaN = null; of `first` and `last` int64, the version whose value it is, -1 = null
    """

    group: Int64
    instant_us: Int64
    last_event_us: Int64
    columns: tuple[Column, ...]


def check(history: History, windows: Sequence[Window], features: Sequence[Feature]) -> None:
    """Raises ValueError where a history or a question is not what it has to be."""
    versions = len(history.row)
    if history.edges[0] != 0 or history.edges[-1] != len(history.event_us) or (np.diff(history.edges) < 0).any():
        raise ValueError("edges must rise from 0 to the number of rows")
    for name in ("start_us", "end_us", "values", "codes", "keep"):
        if getattr(history, name).shape[-1] != versions:
            raise ValueError(f"{name} must have one entry for each of {versions} versions")
    if len(history.earlier_event_us) != len(history.edges) - 1:
        raise ValueError("earlier_event_us must have one entry for each group")
    if len(history.keep) == 0 or not history.keep[0].all():
        raise ValueError("the first mask of keep must be true everywhere")
    group = np.repeat(np.arange(len(history.edges) - 1), np.diff(history.edges))
    if ((history.event_us[1:] < history.event_us[:-1]) & (group[1:] == group[:-1])).any():
        raise ValueError("rows must be sorted by event inside a group")
    same = history.row[1:] == history.row[:-1]
    late = history.start_us[1:] < history.start_us[:-1]
    if (np.diff(history.row) < 0).any() or (same & (history.start_us[1:] < history.end_us[:-1])).any():
        raise ValueError("versions must be sorted by row, and those of one row must not overlap")
    if (same & late).any() or (history.start_us < history.event_us[history.row]).any():
        raise ValueError("a version must not be known before its row's event")
    for w in windows:
        if not 0 <= w.where < len(history.keep):
            raise ValueError(f"where {w.where} is not among the {len(history.keep)} masks")
        if (w.span_us is not None and not 0 < w.span_us < 1 << 61) or (w.last is not None and w.last < 1):
            raise ValueError(f"{w} must have a positive span and a positive number of rows")
    for f in features:
        if not 0 <= f.window < len(windows):
            raise ValueError(f"{f} names a window that does not exist")
        columns = len(history.codes) if f.coded else len(history.values)
        if f.statistic != "rows" and not 0 <= f.column < columns:
            raise ValueError(f"{f} names a column that does not exist")
        if (f.coded and f.statistic not in _OF_CODES) or (f.statistic == "share" and not f.coded):
            raise ValueError(f"{f}: {f.statistic} is not a statistic of {'codes' if f.coded else 'values'}")
        if f.statistic == "quantile" and not 0 <= (-1 if f.parameter is None else f.parameter) <= 1:
            raise ValueError(f"{f} must have a share from 0 to 1")
        if f.statistic == "ewm" and not 1 <= (f.parameter or 0) < 1 << 53:
            raise ValueError(f"{f} must have a half-life in microseconds")
