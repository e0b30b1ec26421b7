"""The join at a time T with all its words (semantics, sections 4 and 6). Times are integers, microseconds in UTC.

Where the text leaves a choice, these hold, T' being T less the offset:
- boundary, TTL, end of validity, age and `since_last` all use T';
- TTL and validity are asked of the one row that the boundary leaves newest: where that fails, no older row steps in;
- `nulls: skip` takes per column the newest visible row whose value is known, and then asks TTL and validity of it; a
  column that finds none takes the static row's value;
- a state row without a `last_event_timestamp` is past any TTL;
- `since_last` is of the row that is chosen without `nulls: skip`; it is null where only a static row stands in.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .as_of import rank, sortable


@dataclass(frozen=True)
class Join:
    """How a view is read. `keys`: key of the view -> column of the spine, which is what a role sets.

    `content`: all features of the view in its order, for the last ties; without it those that are asked.
    """

    keys: Mapping[str, str]
    features: tuple[str, ...]
    boundary: str
    ttl: int | None = None
    offset: int = 0
    is_state: bool = False
    skip_nulls: bool = False
    role: str | None = None
    since_last: str | None = None
    content: tuple[str, ...] = ()


def joined(spine, view_rows, join, *, timestamp="event_timestamp"):
    """One dict per spine row, in order: its own columns, then each feature, `payer__` before those of a role."""
    return [{**row, **features_at(row, row[timestamp], view_rows, join)} for row in spine]


def features_at(asked, time, view_rows, join):
    """The features of one question: keys in the columns of `asked`, and the time T."""
    before = "" if join.role is None else f"{join.role}__"
    row = usable_row(asked, time, view_rows, join)
    answer = {}
    for feature in join.features:
        if join.skip_nulls:
            answer[before + feature] = newest_known(asked, time, view_rows, join, feature)
        else:
            answer[before + feature] = None if row is None else row[feature]
    if join.since_last is not None:
        stands = None if row is None else event_of(row, join)
        answer[before + join.since_last] = None if stands is None else time - join.offset - stands
    return answer


def usable_row(asked, time, view_rows, join):
    """The one row that is read, or None: the newest visible one if it still holds, else the static row of the key."""
    visible = visible_rows(asked, time, view_rows, join)
    if visible and holds(visible[-1], time, join):
        return visible[-1]
    return static_row(asked, view_rows, join)


def newest_known(asked, time, view_rows, join, feature):
    known = [row for row in visible_rows(asked, time, view_rows, join) if row[feature] is not None]
    if known and holds(known[-1], time, join):
        return known[-1][feature]
    static = static_row(asked, view_rows, join)
    return None if static is None else static[feature]


def visible_rows(asked, time, view_rows, join):
    """The dated rows of the key that the boundary lets through, oldest first; content decides the last ties."""
    if join.boundary not in ("at_or_before", "strictly_before"):
        raise ValueError(f"unknown boundary {join.boundary!r}")
    if time is None:
        return []
    moved = time - join.offset
    rows = []
    for row in view_rows:
        if row["event_timestamp"] is None or row["available_timestamp"] is None or not has_key(asked, row, join):
            continue
        latest = max(row["event_timestamp"], row["available_timestamp"])
        if latest < moved or (latest == moved and join.boundary == "at_or_before"):
            rows.append(row)
    return sorted(rows, key=lambda row: [*rank(row, join.content or join.features), sortable(row.get("valid_to"))])


def static_row(asked, view_rows, join):
    rows = [row for row in view_rows if row["event_timestamp"] is None and has_key(asked, row, join)]
    return max(
        rows, key=lambda row: [sortable(row[feature]) for feature in join.content or join.features], default=None
    )


def has_key(asked, row, join):
    return all(asked[column] is not None and asked[column] == row[key] for key, column in join.keys.items())


def event_of(row, join):
    """What stands for a row's event in TTL, age and since_last."""
    return row["last_event_timestamp"] if join.is_state else row["event_timestamp"]


def holds(row, time, join):
    moved = time - join.offset
    if join.ttl is not None:
        stands = event_of(row, join)
        if stands is None or stands < moved - join.ttl:
            return False
    valid_to = None if join.is_state else row.get("valid_to")
    return valid_to is None or moved < valid_to


def rows_beyond(spine, watermark, join, *, timestamp="event_timestamp"):
    """How many spine rows ask beyond a view's watermark; all with a time do where it has none."""
    times = [row[timestamp] - join.offset for row in spine if row[timestamp] is not None]
    return sum(1 for time in times if watermark is None or time > watermark)
