"""Labels of a question as they were known at `as_of`, and the splits of its rows. Times are integers, microseconds.

A spine comes from the events of a source or from a grid; a label is a column of the event's row, or the count or the
sum of a source's rows with T + after < event <= T + until. Where the text leaves a choice, these hold:
- only what was known by `as_of` exists: newest revisions by then, and the watermark that the source had by then;
- a count or a sum is known where T + until + lag <= that watermark; a column where its value is there and
  T + lag <= that watermark: no row without;
- `label_available` is that time (T + until + lag, or T + lag), or later where a delivered revision of a row in the
  window (of one that had the key and passed in any of them) came later, or another attempt pushed such a row out later;
- a grid has from <= T < to, and a key from the instant on at which a row of it first counted;
- the sum of no row is null, as in all statistics, and its row is kept: its label is known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .sources import Source, all_revisions, becomes_known, is_dated, known_rows, passes, watermark
from .spines import chance
from .window_statistics import is_known, statistic


@dataclass(frozen=True)
class Every:
    step: int
    start: int
    end: int


@dataclass(frozen=True)
class LabelRequest:
    """`keys`: key column of the spine -> column of a source; both sources have these columns.

    Without `every` each row of the spine's source is a question; `kind` is column, count or sum.
    """

    keys: Mapping[str, str]
    spine: Source
    label: str
    kind: str
    as_of: int
    column: str | None = None
    source: Source | None = None
    after: int = 0
    until: int = 0
    lag: int = 0
    every: Every | None = None


def labeled_spine(spine_delivered, label_delivered, request):
    """The questions whose label is known at `as_of`: keys, event_timestamp (T), label and label_available."""
    if request.kind == "column" and request.every is not None:
        raise ValueError("a grid has no row to take a column from")
    rows = []
    out = pushed_out(label_delivered, request.source, request.as_of) if request.source is not None else []
    for key, time, row in questions(spine_delivered, request):
        known = column_label(row, time, spine_delivered, request) if request.kind == "column" else None
        if request.kind != "column":
            known = window_label(key, time, label_delivered, request, out)
        if known is not None:
            keys = dict(zip(request.keys, key, strict=True))
            rows.append({**keys, "event_timestamp": time, request.label: known[0], "label_available": known[1]})
    return rows


def questions(delivered, request):
    """(key, T, row of the source or None), duplicates kept; a null key asks nothing."""
    if request.every is None:
        rows = known_rows(delivered, request.spine, request.as_of)
        asked = [(key_of(row, request), row["event"], row) for row in rows]
        return [each for each in asked if all(part is not None for part in each[0])]
    grid = []
    for key in dict.fromkeys(key_of(row, request) for row in delivered if is_dated(row)):
        begins = first_known(key, delivered, request)
        time = request.every.start
        while time < request.every.end:
            if begins is not None and begins <= time and all(part is not None for part in key):
                grid.append((key, time, None))
            time += request.every.step
    return grid


def first_known(key, delivered, request):
    """The first instant, up to `as_of`, at which a row of the key counted."""
    times = {becomes_known(row) for row in delivered if is_dated(row)}
    for u in sorted(time for time in times if time <= request.as_of):
        if any(key_of(row, request) == key for row in known_rows(delivered, request.spine, u)):
            return u
    return None


def key_of(row, request):
    return tuple(row[column] for column in request.keys.values())


def watermark_at(delivered, source, as_of):
    return watermark([row for row in delivered if is_dated(row) and row["available"] <= as_of], source)


def column_label(row, time, delivered, request):
    reached = watermark_at(delivered, request.spine, request.as_of)
    if not is_known(row[request.column]) or reached is None or time + request.lag > reached:
        return None
    return row[request.column], max(time + request.lag, row["available"])


def window_label(key, time, delivered, request, out):
    """(label, label_available), or None where it is not known."""
    known_from = time + request.until + request.lag
    reached = watermark_at(delivered, request.source, request.as_of)
    if reached is None or known_from > reached:
        return None
    counted = [
        row
        for row in known_rows(delivered, request.source, request.as_of)
        if key_of(row, request) == key and is_in_window(row, time, request)
    ]
    label: Any = len(counted)
    if request.kind == "sum":
        label = statistic("sum", counted, request.column)
    return label, max([known_from, *touched(key, time, delivered, request, out)])


def is_in_window(row, time, request):
    return time + request.after < row["event"] <= time + request.until


def touched(key, time, delivered, request, out):
    """When each revision came, by `as_of`, of the rows in the window of which any had the key and passed."""
    times = []
    for revisions in all_revisions(delivered, request.source):
        known = [row for row in revisions if row["available"] <= request.as_of and is_in_window(row, time, request)]
        if any(key_of(row, request) == key and passes(row, request.source) for row in known):
            times += [becomes_known(row) for row in known]
    for row, instant in out:
        if key_of(row, request) == key and is_in_window(row, time, request):
            times.append(instant)
    return times


def pushed_out(delivered, source, as_of):
    """Rows that counted, each with the instant up to `as_of` from which on another attempt of its die counted."""
    found: list[Any] = []
    if source.attempts == "all":
        return found
    before: list[Any] = []
    for u in sorted({becomes_known(row) for row in delivered if is_dated(row) and becomes_known(row) <= as_of}):
        now = known_rows(delivered, source, u)
        found += [(row, u) for row in before if not any(row is other for other in now)]
        before = now
    return found


def time_split(row, *, cuts, embargo=0, sides=("train", "validation", "test")):
    """The side of a row: T from the cut before it + embargo on, T and the label's availability before the cut after.

    Rows that no side takes are `embargo`.
    """
    for index, side in enumerate(sides):
        begun = index == 0 or row["event_timestamp"] >= cuts[index - 1] + embargo
        over = index == len(cuts) or max(row["event_timestamp"], row["label_available"]) < cuts[index]
        if begun and over:
            return side
    return "embargo"


def group_split(row, *, keys, fractions, seed):
    """The side of all rows with these keys, drawn from the keys alone; sides in the order of their names."""
    drawn = chance("split", seed, row, keys)
    names = sorted(fractions)
    below = 0.0
    for name in names[:-1]:
        below += fractions[name]
        if drawn < below:
            return name
    return names[-1]
