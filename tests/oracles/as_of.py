"""Point-in-time join by looking at every view row for every spine row (semantics, section 4)."""

import math


def as_of(spine, view_rows, *, keys, boundary, ttl=None, offset=None, timestamp="event_timestamp", features):
    """For each spine row the one view row that it may see, or None.

    A static row, one without an event, is seen by key alone; it ranks below every dated one, and so stands in where no
    dated row is visible.

    Grain        one dict per spine row -> one dict or None per spine row, same order
    Needs        spine: keys and `timestamp`; view: keys, event_timestamp, available_timestamp, sequence, features
    Boundary     `at_or_before` or `strictly_before`; event and available time must both meet it
    Ties         greatest (event_timestamp, available_timestamp, sequence), then the features in their order,
                 where null is smallest and NaN greatest, as in Spark
    """
    if boundary not in ("at_or_before", "strictly_before"):
        raise ValueError(f"unknown boundary {boundary!r}")
    chosen_rows = []
    for spine_row in spine:
        chosen = None
        for row in view_rows:
            if not same_keys(spine_row, row, keys):
                continue
            is_static = row["event_timestamp"] is None
            if not is_static and not is_visible(row, spine_row[timestamp], boundary, ttl, offset):
                continue
            if chosen is None or rank(row, features) > rank(chosen, features):
                chosen = row
        chosen_rows.append(chosen)
    return chosen_rows


def same_keys(spine_row, row, keys):
    """Column by column; a null key matches nothing, not even another null."""
    return all(spine_row[key] is not None and spine_row[key] == row[key] for key in keys)


def is_visible(row, time, boundary, ttl, offset):
    event, available = row["event_timestamp"], row["available_timestamp"]
    if time is None or available is None:
        return False
    if offset is not None:
        time = time - offset
    if boundary == "strictly_before":
        in_time = event < time and available < time
    else:
        in_time = event <= time and available <= time
    is_fresh = ttl is None or event >= time - ttl
    return in_time and is_fresh


def rank(row, features):
    names = ("event_timestamp", "available_timestamp", "sequence", *features)
    return [sortable(row[name]) for name in names]


def sortable(value):
    """Null below every value, NaN above every value."""
    if value is None:
        return (0,)
    if isinstance(value, float) and math.isnan(value):
        return (2,)
    return (1, value)
