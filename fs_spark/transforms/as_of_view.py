"""What is joined point in time: a view's rows, columns and rules; and the check that a join can be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql.types import IntegralType, TimestampNTZType, TimestampType

from fs_spark import names as n
from fs_spark.errors import LeakageError, RequestError, SchemaError
from fs_spark.features.feature import Boundary

RESERVED: Final = (
    "__spine", "__at", "__event", "__available", "__sequence", "__cut", "__pieces", "__hash", "__key_", "__view_",
)  # fmt: skip
"""What columns between the inputs and the output are called; the spine's own names do not matter."""


@dataclass(frozen=True)
class AsOfView:
    """One view of the join: its rows, its keys, and which of its columns are wanted under which names.

    `columns` maps output name -> column of `frame`, or lists columns that keep their names; `prefix` stands before
    every output name. Rows whose event time is null are static: joined by key alone.

    A row counts from the later of its `event_timestamp` and `available_timestamp` columns;
    `available_timestamp=None` switches availability off: each row counts from its event. `sequence` breaks ties of
    time, `None` where there is no such column. `ttl` is inclusive and counted from T, which `offset` moves back.

    `event_as` and `age_as` name two more outputs: the event time of the row that was chosen, and its age at the
    spine's time in seconds.
    """

    name: str
    frame: DataFrame
    keys: tuple[str, ...]
    columns: Mapping[str, str] | Sequence[str]
    boundary: Boundary = "strictly_before"
    ttl: timedelta | None = None
    offset: timedelta = timedelta(0)
    prefix: str = ""
    event_timestamp: str = n.EVENT_TIMESTAMP
    available_timestamp: str | None = n.AVAILABLE_TIMESTAMP
    sequence: str | None = n.SEQUENCE
    event_as: str | None = None
    age_as: str | None = None

    @property
    def outputs(self) -> dict[str, str]:
        """Output column -> column of `frame`."""
        named = self.columns if isinstance(self.columns, Mapping) else {name: name for name in self.columns}
        return {self.prefix + output: source for output, source in named.items()}

    @property
    def all_outputs(self) -> list[str]:
        """Every column that the view adds, in order."""
        return [*self.outputs, *(name for name in (self.event_as, self.age_as) if name is not None)]


@dataclass(frozen=True)
class Pruning:
    """What is known of a spine: rows of views that none of its rows may see are not read.

    It is believed: a spine row outside of it may miss a feature row.

    Units      keys: all values that a key has in the spine; earliest, latest: its least and greatest time
    """

    keys: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    earliest: datetime | None = None
    latest: datetime | None = None


@dataclass(frozen=True)
class HeavyKey:
    """A value of a view's (shortest) key with very many rows, and the times at which its rows are cut into pieces."""

    values: Mapping[str, Any]
    cuts: tuple[datetime, ...]


def _key_faults(spine: DataFrame, view: AsOfView) -> list[str]:
    faults = []
    for key in view.keys:
        for what, frame in (("the spine", spine), (f"view {view.name}", view.frame)):
            if key not in frame.columns:
                faults.append(f"{what} lacks the key {key!r}. Hint: add it, or choose views with other keys")
        if key in spine.columns and key in view.frame.columns:
            ours, theirs = spine.schema[key].dataType, view.frame.schema[key].dataType
            both_integers = isinstance(ours, IntegralType) and isinstance(theirs, IntegralType)
            if ours != theirs and not both_integers:
                faults.append(
                    f"key {key!r} is {ours.simpleString()} in the spine and {theirs.simpleString()} in view {view.name}"
                    ". Hint: cast it; in pandas, integers with missing values become floats: use the dtype Int64"
                )
    if not view.keys:
        faults.append(f"view {view.name} has no key")
    return faults


def _time_faults(frame: DataFrame, name: str, what: str) -> list[str]:
    kind = frame.schema[name].dataType
    if isinstance(kind, TimestampNTZType):
        return [
            f"{what} {name!r} is a timestamp without a zone. Hint: say which zone it is in, for example "
            f"F.to_utc_timestamp({name!r}, 'Europe/Berlin') cast to timestamp"
        ]
    if not isinstance(kind, TimestampType):
        return [f"{what} {name!r} is {kind.simpleString()}. Hint: cast it to a timestamp in UTC"]
    return []


def _view_faults(view: AsOfView) -> list[str]:
    times = [name for name in (view.event_timestamp, view.available_timestamp) if name is not None]
    wanted = [*times, *([view.sequence] if view.sequence is not None else []), *view.outputs.values()]
    faults = [f"view {view.name} lacks the column {name!r}" for name in wanted if name not in view.frame.columns]
    for name in times:
        if name in view.frame.columns:
            faults += _time_faults(view.frame, name, f"view {view.name}:")
    if not view.all_outputs:
        faults.append(f"view {view.name}: no column is asked for")
    if view.ttl is not None and view.ttl < timedelta(0):
        faults.append(f"view {view.name}: a ttl of {view.ttl} is negative")
    return faults


def _name_faults(spine: DataFrame, views: Sequence[AsOfView]) -> list[str]:
    faults = []
    taken = {name.lower(): "the spine" for name in spine.columns}  # Spark and Delta ignore case
    for view in views:
        for output in view.all_outputs:
            if output.lower() in taken:
                faults.append(
                    f"column {output!r} of view {view.name} is also in {taken[output.lower()]}. "
                    f"Hint: ask for it with a prefix, for example {view.name}__{output}"
                )
            taken[output.lower()] = f"view {view.name}"
    outputs = [output for view in views for output in view.all_outputs]
    return faults + [f"the column name {c!r} is reserved. Hint: rename it" for c in outputs if c.startswith(RESERVED)]


def check_join(spine: DataFrame, views: Sequence[AsOfView], timestamp: str, heavy: Sequence[HeavyKey]) -> None:
    """Raises SchemaError with every fault of keys, times and names; LeakageError for an offset that looks ahead."""
    faults: list[str] = []
    if timestamp not in spine.columns:
        faults.append(f"the spine lacks its time column {timestamp!r}; it has {', '.join(spine.columns)}")
    else:
        faults += _time_faults(spine, timestamp, "the spine's")
    for view in views:
        faults += _key_faults(spine, view) + _view_faults(view)
        if timestamp in view.keys:
            faults.append(f"view {view.name}: the spine's time {timestamp!r} is no key")
        if view.offset < timedelta(0):
            raise LeakageError(f"view {view.name}: an offset of {view.offset} would look ahead. Hint: give it positive")
    faults += _name_faults(spine, views)
    if faults:
        raise SchemaError("the join cannot be made:\n" + "\n".join(f"- {fault}" for fault in faults))
    for one in heavy:
        if not any(set(one.values) == set(view.keys) for view in views):
            raise RequestError(
                f"heavy key {dict(one.values)} is of no view. Hint: give a value for each key of the view with the "
                "fewest keys"
            )
