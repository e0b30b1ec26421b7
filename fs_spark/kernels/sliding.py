"""State views: the rows of many groups, one at each instant at which what a window holds changes.

A feature is a statistic of a column over a window. What a window holds is found once (`sliding_walk`), each statistic
is a kernel of its own over that log, and a row is written where any column changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from fs_spark.kernels.exact import LARGEST
from fs_spark.kernels.sliding_columns import QUANTILES, GroupColumns, share_of
from fs_spark.kernels.sliding_history import Feature, Float64, History, Int64, StateRows, Window, check
from fs_spark.kernels.sliding_order import new_trees
from fs_spark.kernels.sliding_walk import NEVER, NONE, Log, mark_changes, states_at, walk

VERSIONS_AT_ONCE: Final = 1 << 17
"""Groups are computed together up to this many versions, so that what is between lies in the processor's cache."""


def state_rows(
    history: History, *, windows: Sequence[Window], features: Sequence[Feature], from_us: int, until_us: int
) -> StateRows:
    """The state rows of all groups with from_us <= instant <= until_us.

    A row is written at each instant u at which a column or the newest row changes: a version becomes known or ends, or
    a row leaves a window, at its event + span. Each holds what the rows with u - span < event <= u that are known by u
    give. Instants before `from_us` are walked without being written, so that rows which begin one window earlier give
    the same rows as all of them; the first row of a group that did not exist is written whatever it holds.

    Nulls are left out of all statistics but `rows`, and take their places among the last N. Counts of none are 0, all
    else is null; so are std under two values and slope under two distinct times.

    sum            correctly rounded; mean: that double / count
    std            sqrt(S / (n - 1)), S the exact sum of (x - mean)^2, rounded once; exactly 0 where all are equal
    quantile       type 7: x[k] + (h - k) (x[k + 1] - x[k]), h = (n - 1) q, k = floor h; min 0, median 0.5, max 1
    slope          of least squares over days: the exact one, rounded once
    ewm            weights 2^(-(t(last) - t) / half-life), t(last) that of the newest row whose value counts
    share          rows with the code / rows whose code is known

    Invariant to   where the computation began, what came and went, other groups, and where the times' origin is
    """
    found = list(state_row_parts(history, windows=windows, features=features, from_us=from_us, until_us=until_us))
    if len(found) == 1:
        return found[0]
    return StateRows(
        np.concatenate([part.group for part in found]),
        np.concatenate([part.instant_us for part in found]),
        np.concatenate([part.last_event_us for part in found]),
        tuple(np.concatenate([part.columns[k] for part in found]) for k in range(len(features))),
    )


def state_row_parts(
    history: History, *, windows: Sequence[Window], features: Sequence[Feature], from_us: int, until_us: int
) -> Iterator[StateRows]:
    """`state_rows` of some groups after the others, at least one part: less memory, and the copy is saved."""
    check(history, windows, features)
    values = np.where(np.abs(history.values) < LARGEST, history.values + 0.0, np.nan)
    version_edges = np.searchsorted(history.row, history.edges).astype(np.int64)
    for g0, g1 in _parts(version_edges):
        yield _some_rows(history, values, version_edges, g0, g1, windows, features, from_us, until_us)


def _parts(version_edges: Int64) -> Iterator[tuple[int, int]]:
    """Runs of groups of about as many versions as are computed at once; at least one."""
    groups = len(version_edges) - 1
    first = 0
    while True:
        least = version_edges[first] + VERSIONS_AT_ONCE
        last = min(max(int(np.searchsorted(version_edges, least, "right")) - 1, first + 1), groups)
        yield first, last
        first = last
        if first >= groups:
            return


def _by_group(times: Int64, versions: Int64, edges: Int64) -> tuple[Int64, Int64]:
    """Versions sorted by (group, time), and their bounds by group."""
    group = np.searchsorted(edges, versions, "right") - 1
    ahead = times[versions]
    if ((ahead[1:] < ahead[:-1]) & (group[1:] == group[:-1])).any():
        versions = versions[np.lexsort((ahead, group))]
    return versions, np.searchsorted(group, np.arange(len(edges))).astype(np.int64)


def _some_rows(
    history: History,
    all_values: Float64,
    version_edges: Int64,
    g0: int,
    g1: int,
    windows: Sequence[Window],
    features: Sequence[Feature],
    from_us: int,
    until_us: int,
) -> StateRows:
    """The rows of groups g0 to g1."""
    v0, v1 = int(version_edges[g0]), int(version_edges[g1])
    edges = version_edges[g0 : g1 + 1] - v0
    event_us = history.event_us[history.row[v0:v1]]
    start_us, end_us = (np.ascontiguousarray(a[v0:v1]) for a in (history.start_us, history.end_us))
    values = np.ascontiguousarray(all_values[:, v0:v1])
    codes = np.ascontiguousarray(history.codes[:, v0:v1])
    keep = np.ascontiguousarray(history.keep[:, v0:v1])
    count, groups, many = v1 - v0, g1 - g0, len(windows)
    by_start, _ = _by_group(start_us, np.arange(count), edges)
    by_end, end_edges = _by_group(end_us, np.flatnonzero((end_us != NEVER) & (end_us > start_us)), edges)
    where, span_us, most = (
        np.array(a, np.int64)
        for a in (
            [w.where for w in windows],
            [NEVER if w.span_us is None else w.span_us for w in windows],
            [w.last or 0 for w in windows],
        )
    )
    instants = count * (1 + int((span_us < NEVER).sum())) + len(by_end)
    each = 4 if (most > 0).any() else 2
    ops, begin, instant = (np.empty((many, n), np.int64) for n in (each * count, *2 * (instants + groups + 1,)))
    sizes = np.zeros((2, many), np.int64)
    rows, written = np.empty((3, instants), np.int64), np.empty(instants, np.bool_)
    made = walk(
        edges, event_us, start_us, end_us, keep, by_start, by_end, end_edges, where, span_us, most,
        np.ascontiguousarray(history.earlier_event_us[g0:g1]), from_us, until_us,
        new_trees(many + 1, edges), np.empty((4, many), np.int64), ops, begin, instant, sizes, rows, written,
    )  # fmt: skip
    rows, written = rows[:, :made], written[:made]
    logs = [Log(ops[w, :p], begin[w, : s + 1], instant[w, :s]) for w, (p, s) in enumerate(sizes.T.tolist())]
    asked: dict[tuple[int, int], frozenset[str]] = {}
    for f in features:
        if not f.coded:
            asked[f.window, f.column] = asked.get((f.window, f.column), frozenset()) | {f.statistic}
    some = GroupColumns(edges, event_us, values, codes, logs, asked)
    columns = []
    for f in features:
        like = [o for o in features if (o.window, o.column) == (f.window, f.column)]
        shares = sorted({share_of(o) for o in like if o.statistic in QUANTILES})
        columns.append(some.column(f, shares))
        mark_changes(some.bits(f, columns[-1]), logs[f.window].instant, written)
    at = np.flatnonzero(written)
    states = []
    for log in logs:
        states.append(np.empty(len(at), np.int64))
        states_at(log.instant, rows[0], written, states[-1])
    taken = [column[states[f.window]] for f, column in zip(features, columns, strict=True)]
    return StateRows(
        rows[0, at] + g0,
        rows[1, at],
        rows[2, at],
        tuple(
            np.where(column >= 0, column + v0, -1) if f.statistic in ("first", "last") else column
            for f, column in zip(features, taken, strict=True)
        ),
    )


__all__ = ["NEVER", "NONE", "Feature", "History", "StateRows", "Window", "state_row_parts", "state_rows"]
