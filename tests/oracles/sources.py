"""Which rows of a source count at a time of knowledge (semantics, section 6). Times are integers, microseconds in UTC.

A delivered row is a dict of columns with `event` and `available`. A row without either, or without a key, is never
known. Functions give back the delivered dicts themselves, so that `is` tells two equal rows apart.

Where the text leaves a choice, these hold:
- "known by a" is max(event, available) <= a for state views and what reads like them, available <= a for event views;
- content is compared over the columns that the view reads, in the order of their names, null smallest, NaN greatest;
- rows of one event and order in one group, but of other keys, are ordered by content;
- equal rows of a `unique` source are known from the least of their availabilities on;
- a null order value is a value: it names a row and sorts below all others;
- `insertion` chooses after revisions and before `attempts`; a filter that gives null does not pass.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from .as_of import sortable

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DIE = ("lot_id", "wafer_id", "insertion", "die_x", "die_y")

Row = Mapping[str, Any]
Test = Callable[[Row], bool | None]


@dataclass(frozen=True)
class Source:
    """What a view says of the rows that it reads: `keys`, event and `order` name a row, `reads` is its content."""

    keys: tuple[str, ...]
    reads: tuple[str, ...]
    order: tuple[str, ...] = ()
    unique: bool = False
    attempts: str = "all"
    insertion: str | None = None
    filter: Test | None = None
    where: Test | None = None


def as_instant(value, *, at="end", zone=None):
    """Microseconds of an event: a date at its next midnight in UTC (`at="start"`: its first), an instant as it is.

    A time without a zone takes `zone`. A local time that a clock shows twice is the later instant, since nothing may
    be known too early; one that no clock shows is refused. A date of availability ends its day whatever `at` says of
    the event, and a date in `valid_to` counts at its start: the caller says so.
    """
    if value is None or isinstance(value, int):
        return value
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            raise TypeError(f"{value!r} is not a time")
        midnight = microseconds(datetime(value.year, value.month, value.day, tzinfo=UTC))
        return midnight + DAY if at == "end" else midnight
    if value.tzinfo is not None:
        return microseconds(value)
    if zone is None:
        raise ValueError(f"{value} needs a zone")
    local = value.replace(tzinfo=ZoneInfo(zone), fold=1)
    if local.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != value:
        raise ValueError(f"{value} does not exist in {zone}")
    return microseconds(local)


def microseconds(instant):
    since = instant.astimezone(UTC) - EPOCH
    return since.days * DAY + since.seconds * SECOND + since.microseconds


def is_dated(row):
    return row["event"] is not None and row["available"] is not None


def becomes_known(row):
    """The instant at which a row acts on what is known: an event said beforehand acts when it comes."""
    return max(row["event"], row["available"])


def content(row, source):
    return [sortable(row[name]) for name in sorted(source.reads)]


def in_order(row, source):
    """The place of a row among those of its group."""
    names = [*source.order, *(source.keys if source.order else ())]  # keys, event and order name a row
    return (row["event"], [sortable(row[name]) for name in names], content(row, source))


def all_revisions(delivered, source):
    """The rows, as lists of revisions of one row each, the one that counts last at the end of its list.

    Without `order` each delivered row is a row of its own; with `unique` equal ones are one, known from the first on.
    """
    of_row: dict[Any, Any] = {}
    for index, row in enumerate(delivered):
        if not is_dated(row) or any(row[key] is None for key in source.keys):
            continue
        keys = tuple(row[key] for key in source.keys)
        name: Any = index
        if source.order:
            name = (keys, row["event"], tuple(sortable(row[column]) for column in source.order))
        elif source.unique:
            name = (keys, row["event"], tuple(content(row, source)))
        of_row.setdefault(name, []).append(row)
    if source.unique and not source.order:
        return [[min(equal, key=lambda row: row["available"])] for equal in of_row.values()]
    return [sorted(rows, key=lambda row: (row["available"], content(row, source))) for rows in of_row.values()]


def known_rows(delivered, source, a, *, known_at=becomes_known):
    """The rows that count at `a`: newest known revisions, then attempts, then filter and where. Not yet grouped."""
    newest = []
    for revisions in all_revisions(delivered, source):
        known = [row for row in revisions if known_at(row) <= a]
        if known:
            newest.append(known[-1])
    if source.insertion is not None:
        newest = [row for row in newest if row["insertion"] == source.insertion]
    return [row for row in only_attempts(newest, source) if passes(row, source)]


def only_attempts(rows, source):
    """Each die's first or latest row of those given, or all; a part without a full name is a die of its own."""
    if source.attempts == "all":
        return rows
    chosen: dict[Any, Any] = {}
    for index, row in enumerate(rows):
        unnamed = any(row[column] is None for column in DIE)
        die = index if unnamed else tuple(row[column] for column in DIE)
        other = chosen.get(die)
        is_earlier = other is None or in_order(row, source) < in_order(other, source)
        if other is None or is_earlier == (source.attempts == "first"):
            chosen[die] = row
    return list(chosen.values())


def passes(row, source):
    return all(test is None or test(row) is True for test in (source.filter, source.where))


def watermark(delivered, source):
    """The greatest availability of the source's rows after its own filter, whatever view, group or insertion.

    Every delivered revision is judged by itself. None where there is no row.
    """
    times = [
        row["available"] for row in delivered if is_dated(row) and (source.filter is None or source.filter(row) is True)
    ]
    return max(times, default=None)


def view_watermark(row_giving, state_inputs=()):
    """The greatest of the row-giving inputs', lowered to that of every state view read; None where one has none."""
    greatest = max((time for time in row_giving if time is not None), default=None)
    if greatest is None or any(time is None for time in state_inputs):
        return None
    return min([greatest, *state_inputs])
