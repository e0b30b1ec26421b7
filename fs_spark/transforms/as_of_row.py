"""A view's row on its way through the join: one struct, what orders it, and what is taken out of the newest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Final

from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from fs_spark.transforms.as_of_view import AsOfView
from fs_spark.transforms.ordering import comparable, is_binary, is_orderable

AT: Final = "__at"
WHICH: Final = "__which"
FEW: Final = 8
"""So many views of a shape have columns of their own."""
RANKS: Final = 4
"""`__at` is the usable time times four plus the rank, so that one long orders rows."""


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def micros(span: timedelta) -> int:
    """Times are added as microseconds: Spark adds the days of an interval in the session's zone (23 hours in March)."""
    return min(span // timedelta(microseconds=1), 2**58)


def _shape(kind: DataType) -> str:
    """The text of a type, whatever may be null in it."""
    if isinstance(kind, StructType):
        return f"struct<{','.join(f'{f.name!r}:{_shape(f.dataType)}' for f in kind.fields)}>"
    if isinstance(kind, ArrayType):
        return f"array<{_shape(kind.elementType)}>"
    if isinstance(kind, MapType):
        return f"map<{_shape(kind.keyType)},{_shape(kind.valueType)}>"
    return kind.json()


@dataclass(frozen=True)
class ViewRow:
    """The struct of a view's row: event `e`, available `a`, sequence `s`, then the columns by place, `c0`, `c1`, ...

    Rows are compared as whole structs, so that any tie is decided by content. Where a column is of a type that Spark
    does not order (a map, a variant), what orders it stands in a struct `o` of its own before the columns.
    """

    view: AsOfView

    @cached_property
    def _kinds(self) -> list[DataType]:
        return [self.view.frame.schema[source].dataType for source in self.view.outputs.values()]

    @cached_property
    def is_ordered(self) -> bool:
        return all(is_orderable(kind) and is_binary(kind) for kind in self._kinds)

    @property
    def shape(self) -> str:
        """Views whose rows are of one shape may share a column."""
        sequence = self.view.sequence and _shape(self.view.frame.schema[self.view.sequence].dataType)
        more = (self.view.last_event is not None, self.view.valid_to is not None)
        return repr((sequence, [_shape(kind) for kind in self._kinds], more))

    @property
    def struct(self) -> str:
        event, available = self.view.event_timestamp, self.view.available_timestamp or self.view.event_timestamp
        order = [f"{quoted(event)} AS e", f"{quoted(available)} AS a"]
        order += [f"{quoted(self.view.sequence)} AS s"] if self.view.sequence is not None else []
        columns = [f"{quoted(source)} AS c{i}" for i, source in enumerate(self.view.outputs.values())]
        columns += [f"{quoted(self.view.last_event)} AS l"] if self.view.last_event is not None else []
        columns += [f"{quoted(self.view.valid_to)} AS v"] if self.view.valid_to is not None else []
        if self.is_ordered:
            return f"struct({', '.join([*order, *columns])})"
        for i, (kind, source) in enumerate(zip(self._kinds, self.view.outputs.values(), strict=True)):
            order.append(f"{comparable(kind, quoted(source))} AS c{i}")
        return f"struct(struct({', '.join(order)}) AS o, {', '.join(columns)})"

    def event(self, row: str) -> str:
        return f"{row}.e" if self.is_ordered else f"{row}.o.e"

    def available(self, row: str) -> str:
        return f"{row}.a" if self.is_ordered else f"{row}.o.a"

    def newest(self, row: str) -> str:
        """The aggregate that gives the greatest row."""
        return f"max({row})" if self.is_ordered else f"max_by({row}, {row}.o)"


@dataclass(frozen=True)
class Numbered:
    """A view of the join, and the column that holds its rows, alone or with those of other views of its shape."""

    number: int
    row: ViewRow
    column: str
    is_alone: bool = True

    @property
    def view(self) -> AsOfView:
        return self.row.view

    @property
    def name(self) -> str:
        return f"__view_{self.number}"

    @property
    def _needs_static(self) -> bool:
        """Whether a static row must be kept beside the newest, which may turn out too old."""
        return self.view.is_checked and self.view.frame.schema[self.view.event_timestamp].nullable

    def newest(self) -> dict[str, str]:
        """Columns of the level's window: the newest row, and the newest static one where it may be needed."""
        event = self.row.event(self.column)
        own = "" if self.is_alone else f"{WHICH} = '{self.number}'"
        mine = f"IF({own}, {self.column}, NULL)" if own else self.column
        found = {self.name: self.row.newest(mine)}
        if self._needs_static:
            is_static = f"{own} AND {event} IS NULL" if own else f"{event} IS NULL"
            found[f"{self.name}_static"] = self.row.newest(f"IF({is_static}, {self.column}, NULL)")
        return found

    @property
    def _asked_us(self) -> str:
        """T in microseconds: the spine's time less the offset."""
        return f"(shiftright({AT}, 2) - {micros(self.view.offset)}L)"

    def winner(self) -> str:
        """The newest row, where it is neither too old nor past its end; else the static one."""
        view = self.view
        if not view.is_checked:
            return self.name
        event = self.row.event(self.name)
        usable = []
        if view.ttl is not None:
            last = f"{self.name}.l" if view.last_event is not None else event
            usable.append(f"unix_micros({last}) >= {self._asked_us} - {micros(view.ttl)}L")
        if view.valid_to is not None:
            usable.append(f"({self.name}.v IS NULL OR unix_micros({self.name}.v) > {self._asked_us})")
        other = f"{self.name}_static" if self._needs_static else "NULL"
        return f"IF({event} IS NULL OR ({' AND '.join(usable)}), {self.name}, {other})"

    @property
    def output_names(self) -> list[str]:
        return [f"{self.name}_{i}" for i in range(len(self.view.all_outputs))]

    def outputs(self) -> list[str]:
        """What is taken out of the winner, in the order of `all_outputs`."""
        found = [f"{self.name}.c{i}" for i in range(len(self.view.outputs))]
        event = self.row.event(self.name)
        found += [event] if self.view.event_as is not None else []
        last = f"unix_micros({self.name}.l)" if self.view.last_event is not None else None
        age = f"shiftright({AT}, 2) - unix_micros({event})" if last is None else f"{self._asked_us} - {last}"
        found += [f"({age}) / 1e6D"] if self.view.age_as is not None else []
        found += [f"({self._asked_us} - {last}) / 1e6D"] if self.view.since_as is not None else []
        return [f"{text} AS {name}" for text, name in zip(found, self.output_names, strict=True)]


def numbered(views: Sequence[AsOfView]) -> list[Numbered]:
    """Many views of one key set and one shape of rows share a column: a column for each of n views in each of their n
    branches is what made 60 views slow to plan. A few have their own, which saves a copy of each row before the sort.
    """
    alike: dict[tuple[frozenset[str], str], list[Numbered]] = {}
    for number, view in enumerate(views):
        row = ViewRow(view)
        alike.setdefault((frozenset(view.keys), row.shape), []).append(Numbered(number, row, f"__rows_{number}"))
    found = [
        replace(one, column=group[0].column, is_alone=False) if len(group) > FEW else one
        for group in alike.values()
        for one in group
    ]
    return sorted(found, key=lambda one: one.number)
