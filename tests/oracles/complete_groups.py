"""`complete`: one row of a group at its close (semantics, section 6). Times are integers, microseconds in UTC.

Where the text leaves a choice, these hold:
- an instant is a close only where the rows that count are others than at the last close: more, fewer or revised;
- a count closes when so many distinct `of` (or rows) are there; behind a close they are counted anew, so that the next
  close needs as many again among the rows that were not there at the last one;
- an explicit close acts at max(event, available) of its row, and gives no row for a group of which nothing is known;
- a grace time closes at the newest event + grace, or at the instant of the change where that is later;
- as in all state views, a close that changes no column gives no row.
"""

from typing import Any

from .sources import becomes_known, is_dated
from .state_views import counted_rows, group_keys, instants, key_of, rows_of, state_row, values_at


def complete_rows(delivered, view, watermark, *, count=None, of=(), closes=None, grace=None):
    """The rows of a view that states groups at their close; exactly one of `count`, `closes`, `grace` is said.

    Needs    closes: rows with the group's entity columns, event and available
    """
    if sum(said is not None for said in (count, closes, grace)) != 1:
        raise ValueError("a close is a count, rows of closes or a grace time")
    rows = []
    for key in group_keys(delivered, view):
        before: list[Any] = []
        newest = None
        for u in close_candidates(delivered, view, watermark, closes=closes, grace=grace):
            of_group = rows_of(counted_rows(delivered, view, u), view, key)
            if not of_group or same_rows(of_group, before):
                continue
            if count is not None:
                behind = [row for row in of_group if not any(row is other for other in before)]
                units = {tuple(row[column] for column in of) for row in behind} if of else behind
                is_close = len(units) >= count
            elif closes is not None:
                is_close = any(becomes_known(close) == u and close_key(close, view) == key for close in closes)
            else:
                is_close = max(row["event"] for row in of_group) + grace <= u
            if is_close:
                before = of_group
                values = values_at(of_group, u, view)
                if values != newest:
                    newest = values
                    rows.append(state_row(key, u, values, view))
    return rows


def close_candidates(delivered, view, watermark, *, closes, grace):
    if watermark is None:
        return []
    found = set(instants(delivered, view, watermark))
    if closes is not None:
        found |= {becomes_known(close) for close in closes if is_dated(close)}
    if grace is not None:
        found |= {row["event"] + grace for row in delivered if is_dated(row)}
    return sorted(u for u in found if u <= watermark)


def close_key(close, view):
    return tuple(close[column] for column in view.group)


def same_rows(some, others):
    return len(some) == len(others) and all(any(row is other for other in others) for row in some)


def rows_behind(delivered, view, watermark, closed_at):
    """The rows of each group that became known behind its last close: what the report counts.

    Needs    closed_at: group key -> instant of its last close
    """
    behind: dict[Any, Any] = {}
    for row in counted_rows(delivered, view, watermark):
        key = key_of(row, view)
        if key in closed_at and becomes_known(row) > closed_at[key]:
            behind.setdefault(key, []).append(row)
    return behind
