"""Event views: a row of its own for each row of the input, and one more when what is known changes (section 6).

Where the text leaves a choice, these hold:
- a `before_event` row is made at t(i) only from what the question itself brings (`knowledge="question"`), and then from
  its earliest revision; a row that "holds from its own instant" (`valid_to`, `effective: from`) and comes late is made
  at max(t(i), available(i)) (`"before_event"`), since it was not known earlier;
- a row that leaves (filtered away by a revision, pushed out by another attempt, given another key) has one more row of
  nulls at that instant: the table has no other word for "no longer", and the old values must not stay the newest;
- `valid_to` counts as a value where a change is looked for; -0.0 becomes 0.0 here as in statistics, so that rows of
  equal content are equal to the bit; a bare column keeps an infinity, an expression does not.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .sources import Row, Source, all_revisions, becomes_known, is_dated, known_rows
from .window_statistics import is_known, positive_zero

Expression = str | Callable[[Row], Any]
"""The name of a column, or a function of the row's columns."""


@dataclass(frozen=True)
class EventView:
    """`keys`: entity column -> source column. `knowledge`: question, before_event or at_event (see above)."""

    source: Source
    keys: Mapping[str, str]
    compute: Mapping[str, Expression]
    knowledge: str = "at_event"
    revisions: str = "all"
    valid_to: str | None = None


def event_rows(delivered, view):
    """All rows of the view over a source, by row of the source and then by availability."""
    known_at = when_known(delivered, view)
    times = sorted({known_at(row) for row in delivered if is_dated(row)})
    known_by = {a: known_rows(delivered, view.source, a, known_at=known_at) for a in times}
    rows = []
    for revisions in all_revisions(delivered, view.source):
        for key in dict.fromkeys(entity_of(row, view) for row in revisions):
            if any(part is None for part in key):
                continue
            newest = None
            for a in times:
                here = [row for row in known_by[a] if is_among(row, revisions) and entity_of(row, view) == key]
                if not here and newest is None:
                    continue
                values = values_of(here[0] if here else None, view)
                if newest is None or (values != newest and view.revisions == "all"):
                    newest = values
                    rows.append(feature_row(key, revisions[0], a, values, view))
    return rows


def when_known(delivered, view):
    """From which time of knowledge on a delivered row may count for the view."""
    if view.knowledge == "at_event":
        return lambda row: row["available"]
    if view.knowledge == "before_event":
        return becomes_known
    brought = []
    for revisions in all_revisions(delivered, view.source):
        brought += [row for row in revisions if row["available"] == revisions[0]["available"]]
    return lambda row: row["event"] if is_among(row, brought) else becomes_known(row)


def is_among(row, rows):
    return any(row is other for other in rows)


def entity_of(row, view):
    return tuple(row[column] for column in view.keys.values())


def values_of(row, view):
    values = {name: None if row is None else evaluated(view.compute[name], row) for name in view.compute}
    if view.valid_to is not None:
        values["valid_to"] = None if row is None else row[view.valid_to]
    return values


def evaluated(expression, row):
    """The value, or None for NaN; for an expression also where it fails, lacks an operand or is infinite."""
    if isinstance(expression, str):
        value = row[expression]
        return positive_zero(value) if is_known(value) else None
    try:
        value = expression(row)
    except (ArithmeticError, TypeError, ValueError):
        return None
    is_odd = isinstance(value, float) and not math.isfinite(value)
    return None if is_odd else positive_zero(value)


def feature_row(key, source_row, a, values, view):
    order = view.source.order
    named = source_row[order[0]] if len(order) == 1 else None
    sequence = named if isinstance(named, int) else 0
    keys = dict(zip(view.keys, key, strict=True))
    times = {"event_timestamp": source_row["event"], "available_timestamp": a, "sequence": sequence}
    return {**keys, **times, **{column: source_row[column] for column in order}, **values}
