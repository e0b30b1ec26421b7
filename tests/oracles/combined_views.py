"""Views of views: the first input gives the rows, the others are matched, joined or looked up (section 6).

Where the text leaves a choice, these hold:
- as in views of sources, an availability at which no value of the view itself changes gives no row;
- rows of one input with equal (keys, event, sequence, availability) are one for another view: the greatest content, so
  that nothing fans out;
- an optional input that comes later gives one more row when it is known;
- `valid_to` is the least of those of all input rows that are used, as_of rows too; it counts as a value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .as_of import sortable
from .event_views import Expression, evaluated
from .joins import Join, usable_row
from .sources import Row


def as_delivered(view_rows):
    """Rows of a view as rows of a source: their keys and `sequence` name them, availabilities are revisions."""
    return [{**row, "event": row["event_timestamp"], "available": row["available_timestamp"]} for row in view_rows]


@dataclass(frozen=True)
class Input:
    """A view that another one reads. `match`: event, static or as_of; `join` says how an as_of input is asked.

    `watermark` is said of an as_of input that is a state view; None is that of an empty one.
    """

    rows: Sequence[Row]
    features: tuple[str, ...]
    match: str = "event"
    optional: bool = False
    join: Join | None = None
    is_state: bool = False
    watermark: int | None = None


@dataclass(frozen=True)
class ViewOfViews:
    """`keys` of the entity; `order`: further columns that match rows of one source; the first input gives the rows."""

    keys: tuple[str, ...]
    inputs: tuple[Input, ...]
    order: tuple[str, ...] = ()
    compute: Mapping[str, Expression] = field(default_factory=dict)
    revisions: str = "all"


def combined_rows(view):
    """All rows of a view of views: the features of its inputs under their names, and what `compute` makes of them."""
    names = ("event_timestamp", "sequence", *view.order, *view.keys)
    first = view.inputs[0]
    identities = dict.fromkeys(tuple(row[name] for name in names) for row in first.rows)
    rows = []
    for identity in identities:
        base = dict(zip(names, identity, strict=True))
        if any(base[key] is None for key in view.keys) or not is_written(base["event_timestamp"], view.inputs):
            continue
        dated = [row for each in view.inputs if each.match == "event" for row in same_row(each, base, names)]
        times = [None] if first.match == "static" else sorted({row["available_timestamp"] for row in dated})
        newest = None
        for a in times:
            values = combined_at(view, base, names, a)
            if values is None or (newest is not None and (values == newest or view.revisions == "first")):
                continue
            newest = values
            rows.append({**base, "available_timestamp": a, **values})
    return rows


def is_written(event, inputs):
    """A row with a state input is written once that input's watermark has reached the row's event."""
    states = [each for each in inputs if each.match == "as_of" and each.is_state]
    return all(each.watermark is not None and event <= each.watermark for each in states)


def same_row(each, base, names):
    return [row for row in each.rows if all(row[name] == base[name] for name in names)]


def combined_at(view, base, names, a):
    """The values known at `a` for the row that `base` names; None where a required input has none."""
    found: dict[str, Any] = {}
    ends = []
    for each in view.inputs:
        row = input_row(each, view, base, names, a, found)
        if row is None and not each.optional and each.match != "as_of":
            return None
        for feature in each.features:
            found[feature] = None if row is None else row[feature]
        if row is not None and row.get("valid_to") is not None:
            ends.append(row["valid_to"])
    for name, expression in view.compute.items():
        found[name] = evaluated(expression, {**base, **found})
    if any("valid_to" in row for each in view.inputs for row in each.rows):
        found["valid_to"] = min(ends, default=None)
    return found


def input_row(each, view, base, names, a, found):
    if each.match == "as_of":
        return usable_row({**base, **found}, base["event_timestamp"], each.rows, each.join)
    if each.match == "static":
        rows = [row for row in each.rows if all(row[key] == base[key] for key in view.keys)]
    else:
        rows = [row for row in same_row(each, base, names) if row["available_timestamp"] <= a]
    return max(rows, key=lambda row: content_rank(row, each), default=None)


def content_rank(row, each):
    return [sortable(row["available_timestamp"]), [sortable(row[feature]) for feature in each.features]]
