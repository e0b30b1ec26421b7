"""What is joined point in time: a view's rows, columns and rules; and the check that a join can be made."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DoubleType, IntegralType, NullType, TimestampNTZType, TimestampType

from fs_spark import names as n
from fs_spark.errors import LeakageError, RequestError, SchemaError, zone_hint
from fs_spark.features.definition import Boundary
from fs_spark.transforms.ordering import comparable, is_orderable

RESERVED: Final = (
    "__spine", "__at", "__event", "__available", "__sequence", "__cut", "__pieces", "__hash", "__key_", "__view_",
)  # fmt: skip
"""What columns between the inputs and the output are called, in any case; the spine's own names do not matter."""
_RENAME: Final = "Hint: rename all but one (by place, with toDF), or select the one that is meant"


@dataclass(frozen=True)
class AsOfView:
    """One view of the join: its rows, its keys, and which of its columns are wanted under which names.

    `columns` maps output name -> column of `frame`, or lists columns that keep their names; `prefix` stands before
    every output name. Rows whose event time is null are static: joined by key alone, where no dated row of the key is
    usable.

    A row counts from the later of its `event_timestamp` and `available_timestamp` columns;
    `available_timestamp=None` switches availability off: each row counts from its event. `sequence` breaks ties of
    time, `None` where there is no such column. `ttl` is inclusive and counted from T, which `offset` moves back.

    `event_as` and `age_as` name two more outputs: the event time of the row that was chosen, and its age at the
    spine's time in seconds.

    Rows of states say by `last_event` which column stands for the event in `ttl`, age and `since_as`, which names one
    more output: seconds from that event to T. Rows that end say by `valid_to` when: such a row is usable before it
    alone. Both are checked on the row that was chosen. With `nulls="skip"` each column is of the newest row whose
    value is known; the other outputs stay those of the newest row.
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
    last_event: str | None = None
    since_as: str | None = None
    valid_to: str | None = None
    nulls: Literal["keep", "skip"] = "keep"

    @property
    def outputs(self) -> dict[str, str]:
        """Output column -> column of `frame`."""
        if isinstance(self.columns, Mapping):
            named = dict(self.columns)
        else:
            named = {name: name for name in ([self.columns] if isinstance(self.columns, str) else self.columns)}
        return {self.prefix + output: source for output, source in named.items()}

    @property
    def all_outputs(self) -> list[str]:
        """Every column that the view adds, in order."""
        more = (self.event_as, self.age_as, self.since_as)
        return [*self.outputs, *(name for name in more if name is not None)]

    @property
    def is_checked(self) -> bool:
        """Whether the row that was chosen may turn out unusable."""
        return self.ttl is not None or self.valid_to is not None

    def by_column(self) -> list[AsOfView]:
        """With `nulls="skip"`, a view for each column over the rows that have a value there, and one for the rest."""
        if self.nulls == "keep":
            return [self]
        plain: dict[str, Any] = {"nulls": "keep", "event_as": None, "age_as": None, "since_as": None, "prefix": ""}
        found = [
            replace(self, name=f"{self.name}:{output}", columns={output: source},
                    frame=self.frame.where(F.col("`" + source.replace("`", "``") + "`").isNotNull()), **plain)
            for output, source in self.outputs.items()
        ]  # fmt: skip
        if self.event_as is not None or self.age_as is not None or self.since_as is not None:
            found.append(replace(self, columns={}, nulls="keep", prefix=""))
        return found


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


@dataclass(frozen=True)
class _Named:
    """The columns of a frame by name, as Spark finds them: in any case, unless `spark.sql.caseSensitive` is set."""

    frame: DataFrame
    what: str
    is_cased: bool

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for column in self.frame.columns:
            found.setdefault(_folded(column, self.is_cased), []).append(column)
        return found

    def _same(self, name: str) -> list[str]:
        return self._by_name.get(_folded(name, self.is_cased), [])

    def faults(self, name: str, role: str) -> list[str]:
        """What is wrong with a column that is needed."""
        same = self._same(name)
        if len(same) > 1:
            return [self._twice(same)]
        if name in same:
            return []
        near = same or difflib.get_close_matches(name, self.frame.columns, n=1)
        hint = f"rename {near[0]!r} to {name!r}" if same else f"did you mean {near[0]!r}?" if near else None
        if hint is None:
            hint = "add it, or choose views with other keys" if role == "key" else "add it, or name the column to take"
        return [f"{self.what} lacks the {role} {name!r}. Hint: {hint}"]

    def doubles(self) -> list[str]:
        """Columns that nobody can choose from others of their name."""
        return [self._twice(same) for same in self._by_name.values() if len(same) > 1]

    def _twice(self, same: Sequence[str]) -> str:
        differing = f" ({', '.join(same)}: their case does not count)" if len(set(same)) > 1 else ""
        return f"{self.what} has {len(same)} columns called {same[0]!r}{differing}. {_RENAME}"

    def kind(self, name: str) -> DataType | None:
        """The type of a column, None where it is absent or not alone."""
        return self.frame.schema[name].dataType if self._same(name) == [name] else None


def _key_faults(spine: _Named, view: AsOfView, frame: _Named) -> list[str]:
    faults: list[str] = []
    keys: object = view.keys
    if isinstance(keys, str):
        return [f"view {view.name}: keys are one text, {view.keys!r}. Hint: write ({view.keys!r},)"]
    for key in dict.fromkeys(view.keys):
        faults += [] if spine.doubles() else spine.faults(key, "key")
        faults += frame.faults(key, "key")
        ours, theirs = spine.kind(key), frame.kind(key)
        if ours is None or theirs is None:
            continue
        both_integers = isinstance(ours, IntegralType) and isinstance(theirs, IntegralType)
        if ours != theirs and not both_integers:
            faults.append(
                f"key {key!r} is {ours.simpleString()} in the spine and {theirs.simpleString()} in view {view.name}"
                ". Hint: cast it; in pandas, integers with missing values become floats: use the dtype Int64"
            )
        elif not is_orderable(ours):
            faults.append(
                f"key {key!r} is {ours.simpleString()}, whose values Spark does not compare. Hint: take a part of it "
                "that is a text or a number, or to_json of it"
            )
    if not view.keys:
        faults.append(f"view {view.name} has no key. Hint: name the columns by which its rows meet the spine")
    if len({_folded(key, frame.is_cased) for key in view.keys}) < len(view.keys):
        faults.append(f"view {view.name} names a key twice: {', '.join(view.keys)}. Hint: name each once")
    return faults


def _time_faults(frame: _Named, name: str, what: str) -> list[str]:
    kind = frame.kind(name)
    if isinstance(kind, TimestampNTZType):
        text = f"F.col({name!r}).cast('string')"  # a cast to timestamp would take the session's zone
        hint = zone_hint(
            f"F.concat({text}, F.lit(' UTC')).cast('timestamp')",
            f"F.concat({text}, F.lit(' ' + zone)).cast('timestamp')",
        )
        return [f"{what} {name!r} is a timestamp without a zone. {hint}"]
    if kind is not None and not isinstance(kind, TimestampType):
        return [f"{what} {name!r} is {kind.simpleString()}. Hint: cast it to a timestamp in UTC"]
    return []


def _view_faults(view: AsOfView, frame: _Named) -> list[str]:
    named = (view.event_timestamp, view.available_timestamp, view.last_event, view.valid_to)
    times = [name for name in named if name is not None]
    wanted = [*times, *([view.sequence] if view.sequence is not None else []), *view.outputs.values()]
    faults = [fault for name in dict.fromkeys(wanted) for fault in frame.faults(name, "column")]
    for name in times:
        faults += _time_faults(frame, name, f"view {view.name}:")
    order = frame.kind(view.sequence) if view.sequence is not None else None
    if order is not None and not is_orderable(order):
        faults.append(
            f"view {view.name}: the sequence {view.sequence!r} is {order.simpleString()}, which has no order. "
            "Hint: name an integer column, or sequence=None"
        )
    for output, source in view.outputs.items():
        kind = frame.kind(source)
        if kind is not None and comparable(kind, "x") is None:
            faults.append(
                f"view {view.name}: column {source!r} is {kind.simpleString()}, which cannot be compared where rows "
                f"tie. Hint: leave {output!r} out, or cast it"
            )
    if view.since_as is not None and view.last_event is None:
        faults.append(
            f"view {view.name}: {view.since_as!r} needs `last_event`. Hint: name the column of the last event"
        )
    if view.nulls not in ("keep", "skip"):
        faults.append(f"view {view.name}: nulls {view.nulls!r} is not known. Hint: 'keep' or 'skip'")
    if not view.all_outputs:
        faults.append(f"view {view.name}: no column is asked for. Hint: name some in `columns`")
    if "" in view.all_outputs:
        faults.append(f"view {view.name}: a column is asked for under an empty name. Hint: give it a name")
    if view.ttl is not None and view.ttl < timedelta(0):
        faults.append(f"view {view.name}: a ttl of {view.ttl} is negative. Hint: give it positive")
    return faults


def _folded(name: str, is_cased: bool) -> str:
    return name if is_cased else name.lower()


def _name_faults(spine: DataFrame, views: Sequence[AsOfView], is_cased: bool) -> list[str]:
    faults = []
    taken = {_folded(name, is_cased): "the spine" for name in spine.columns}
    for view in views:
        for output in view.all_outputs:
            name = _folded(output, is_cased)
            if name in taken:
                faults.append(
                    f"column {output!r} of view {view.name} is also in {taken[name]}. "
                    f"Hint: ask for it with a prefix, for example {view.name}__{output}"
                )
            taken[name] = f"view {view.name}"
            if name.startswith(RESERVED):
                faults.append(f"the column name {output!r} is reserved. Hint: rename it")
    return faults


def is_case_sensitive(frame: DataFrame) -> bool:
    """Whether the frame's session tells names of columns apart by their case."""
    return str(frame.sparkSession.conf.get("spark.sql.caseSensitive", "false")).lower() == "true"


def check_join(
    spine: DataFrame, views: Sequence[AsOfView], timestamp: str, heavy: Sequence[HeavyKey]
) -> dict[str, DataType]:
    """Raises SchemaError with every fault of keys, times, names and types; LeakageError for an offset that looks ahead.

    Gives the type of each column that the join adds, in their order.
    """
    is_cased = is_case_sensitive(spine)
    asked = _Named(spine, "the spine", is_cased)
    faults = asked.doubles()
    if not faults and asked.faults(timestamp, "time"):
        faults.append(
            f"the spine lacks its time column {timestamp!r}; it has {', '.join(spine.columns)}. "
            "Hint: name it by `timestamp`"
        )
    faults += _time_faults(asked, timestamp, "the spine's")
    types: dict[str, DataType] = {}
    for view in views:
        frame = _Named(view.frame, f"view {view.name}", is_cased)
        faults += _key_faults(asked, view, frame) + _view_faults(view, frame)
        if _folded(timestamp, is_cased) in [_folded(key, is_cased) for key in view.keys]:
            faults.append(
                f"view {view.name}: the spine's time {timestamp!r} cannot be a key. Hint: leave it out of the keys"
            )
        if view.offset < timedelta(0):
            raise LeakageError(f"view {view.name}: an offset of {view.offset} would look ahead. Hint: give it positive")
        types |= {output: frame.kind(source) or NullType() for output, source in view.outputs.items()}
        types |= {view.event_as: TimestampType()} if view.event_as is not None else {}
        types |= {view.age_as: DoubleType()} if view.age_as is not None else {}
        types |= {view.since_as: DoubleType()} if view.since_as is not None else {}
    faults += _name_faults(spine, views, is_cased)
    if faults:
        raise SchemaError("the join cannot be made:\n" + "\n".join(f"- {fault}" for fault in faults))
    for one in heavy:
        if not any(set(one.values) == set(view.keys) for view in views):
            raise RequestError(
                f"heavy key {dict(one.values)} is of no view. Hint: give a value for each key of the view with the "
                "fewest keys"
            )
    return types
