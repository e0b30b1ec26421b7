"""State views: what was known of a group at every instant at which it changed (semantics, section 6).

Everything is computed afresh at each instant, from the rows alone. Times are integers, microseconds in UTC.

Where the text leaves a choice, these hold:
- a group begins at the first instant at which a row of it counts; when all its rows have left it (a revision, a filter)
  it goes on with empty windows and `last_event_timestamp` None;
- `last_event_timestamp` is of the rows that count after filter and where, in any window or none;
- under `step` nothing of a row counts, not even as a later attempt that pushes another out, before an end of its finer
  entity that is not before the row's event is known; rows known later, and revisions, count when they are known; a
  window's rows leave it as ever. For wafers an entity is a run: the state is that of the runs that ended;
- a close is asked anew: see `complete_rows`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .sources import DAY, Row, Source, becomes_known, in_order, is_dated, known_rows
from .window_statistics import statistic


@dataclass(frozen=True)
class Window:
    """A span in time, the last N rows, or, with neither, the whole group so far."""

    length: int | None = None
    last: int | None = None
    max_age: int = 365 * DAY


@dataclass(frozen=True)
class Statistic:
    name: str
    kind: str
    column: str | None = None
    window: Window = Window()
    option: Any = None


@dataclass(frozen=True)
class StateView:
    """`group`: entity column -> source column. `ends`: rows with the columns of `step`, event and available."""

    source: Source
    group: dict[str, str]
    statistics: tuple[Statistic, ...]
    step: tuple[str, ...] = ()
    ends: Sequence[Row] = ()


def instants(delivered, view, watermark):
    """Every instant up to the watermark at which a row may become known, be replaced, be pushed out or leave."""
    found = {becomes_known(end) for end in view.ends}
    for row in delivered:
        if not is_dated(row):
            continue
        found.add(becomes_known(row))
        for window in {each.window for each in view.statistics}:
            if window.length is not None:
                found.add(row["event"] + window.length)
            elif window.last is not None:
                found.add(row["event"] + window.max_age)
    return [] if watermark is None else sorted(u for u in found if u <= watermark)


def counted_rows(delivered, view, u):
    """The rows that count at u, of any group, in their order: known, chosen, filtered, and under `step` ended."""
    known = known_rows(delivered, view.source, u, known_at=lambda row: counts_from(row, view))
    rows = [row for row in known if all(part is not None for part in key_of(row, view))]
    return sorted(rows, key=lambda row: in_order(row, view.source))


def counts_from(row, view):
    """When a row is known, and under `step` an end of its finer entity too; infinity where there is none."""
    if not view.step:
        return becomes_known(row)
    ends = [
        becomes_known(end)
        for end in view.ends
        if all(row[column] is not None and end[column] == row[column] for column in view.step)
        and row["event"] <= end["event"]
    ]
    return max(becomes_known(row), min(ends, default=math.inf))


def in_window(rows, u, window):
    """Of rows known by u, in their order, those that a window holds at u."""
    if window.length is not None:
        return [row for row in rows if u - window.length < row["event"] <= u]
    if window.last is not None:
        young = [row for row in rows if u - window.max_age < row["event"] <= u]
        return young[-window.last :]
    return [row for row in rows if row["event"] <= u]


def window_at(delivered, u, view, key, window):
    """The rows of one group in one window at any instant u, computed directly."""
    return in_window(rows_of(counted_rows(delivered, view, u), view, key), u, window)


def rows_of(rows, view, key):
    return [row for row in rows if key_of(row, view) == key]


def key_of(row, view):
    return tuple(row[column] for column in view.group.values())


def group_keys(delivered, view):
    """The groups that any delivered revision names, each once, in the order of delivery."""
    keys = [key_of(row, view) for row in delivered if is_dated(row)]
    return list(dict.fromkeys(key for key in keys if all(part is not None for part in key)))


def values_at(of_group, u, view):
    """The columns of a group's state row at u."""
    values = {"last_event_timestamp": max((row["event"] for row in of_group), default=None)}
    for each in view.statistics:
        values[each.name] = statistic(each.kind, in_window(of_group, u, each.window), each.column, each.option)
    return values


def state_row(key, u, values, view):
    keys = dict(zip(view.group, key, strict=True))
    return {**keys, "event_timestamp": u, "available_timestamp": u, "sequence": 0, **values}


def state_rows(delivered, view, watermark):
    """All rows of the view, by group and then by time: one at each instant that changes a column, and the first."""
    newest: dict[Any, Any] = {}
    rows: dict[Any, Any] = {key: [] for key in group_keys(delivered, view)}
    for u in instants(delivered, view, watermark):
        counted = counted_rows(delivered, view, u)
        for key in rows:
            of_group = rows_of(counted, view, key)
            if not of_group and key not in newest:
                continue
            values = values_at(of_group, u, view)
            if key not in newest or values != newest[key]:
                newest[key] = values
                rows[key].append(state_row(key, u, values, view))
    return [row for of_key in rows.values() for row in of_key]


def run_ends(delivered, unit):
    """The end of each run (or other finer entity) that `unit` names: its last event, known when all of it is."""
    runs: dict[Any, Any] = {}
    for row in delivered:
        runs.setdefault(tuple(row[column] for column in unit), []).append(row)
    return [
        {
            **{column: rows[0][column] for column in unit},
            "event": max(row["event"] for row in rows),
            "available": max(row["available"] for row in rows),
        }
        for rows in runs.values()
        if all(is_dated(row) for row in rows)
    ]
