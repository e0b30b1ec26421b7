"""Sources: tables that are not made here, as `conf/sources.yaml` says where they are and what their rows mean."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fs_spark.errors import ExpressionError
from fs_spark.features.entity import RESERVED_COLUMNS
from fs_spark.features.expectations import Expectation
from fs_spark.features.expressions import parse_condition
from fs_spark.features.one_or_more import Names
from fs_spark.features.spans import Span
from fs_spark.features.types import ColumnType, KeyType

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as fault:
        raise ValueError(f"{value!r} is not a time zone. Hint: use an IANA name such as 'Europe/Berlin'") from fault
    return value


class Event(Frozen):
    """The column of an event's time; an event that is a date counts at its end, unless `at: start`."""

    column: str
    at: Literal["end", "start"] = "end"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}


class Availability(Frozen):
    """When a row could be known: a column, or the event and a margin."""

    column: str | None = None
    after_event: Span | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return {"column": given} if isinstance(given, str) else given

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}

    @model_validator(mode="after")
    def _one(self) -> Availability:
        if (self.column is None) == (self.after_event is None):
            raise ValueError("an availability is a column or `after_event`. Hint: write available: {after_event: 2 h}")
        if self.after_event is not None and self.after_event < timedelta(0):
            raise ValueError("`after_event` is negative. Hint: a row is known after its event, or at it")
        return self


class SourceText(Frozen):
    """A table that is read, and what its rows mean. Exactly one place: `delta`, `parquet`, `csv` or `table`.

    Relative paths count from the configuration folder. `columns` are all that are read, with their types; `rename`
    gives the name in the table where it is another. Without `event` rows are static: one for each key.
    """

    name: str = Field(pattern=_NAME.pattern)
    delta: str | None = None
    """Folder or URI of a Delta table."""
    parquet: str | None = None
    """Folder, file or glob of parquet files."""
    csv: str | None = None
    """Folder, file or glob of CSV files with a header."""
    table: str | None = None
    """A table of the session's catalog, `catalog.schema.table`."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    keys: Names = Field(min_length=1)
    columns: dict[str, ColumnType] = Field(min_length=1)
    rename: dict[str, str] = {}
    event: Event | None = None
    available: Availability | None = None
    """Absent: a row is known at its event."""
    order: Names = ()
    """Tell rows of one key and event apart; rows that agree in them are revisions of one row."""
    unique: bool = False
    """Without an order: equal rows count once."""
    filter: str | None = None
    zone: Annotated[str | None, AfterValidator(lambda v: v if v is None else _zone(v))] = None
    """Of times without a zone."""
    valid_to: str | None = None
    effective: Literal["from"] | None = None
    """`from`: a row holds from its event on, as a price list does, so that it is known before what meets it."""
    known_before: Names = ()
    """Columns that the question itself brings: the amount and merchant of a payment."""
    expectations: tuple[Expectation, ...] = ()
    description: str = ""
    owner: str = ""

    @property
    def place(self) -> tuple[str, str]:
        """Kind of place and where it is."""
        given = {kind: getattr(self, kind) for kind in ("delta", "parquet", "csv", "table")}
        return next((kind, where) for kind, where in given.items() if where is not None)

    @property
    def key_types(self) -> dict[str, KeyType]:
        return {key: self.columns[key] for key in self.keys}  # type: ignore[misc]

    @property
    def times(self) -> list[str]:
        """The columns that are times of the row and no values."""
        named = [self.event.column if self.event else None, self.available.column if self.available else None]
        return [name for name in (*named, self.valid_to) if name is not None]

    @property
    def is_static(self) -> bool:
        return self.event is None

    @model_validator(mode="after")
    def _whole(self) -> SourceText:
        faults = []
        places = [kind for kind in ("delta", "parquet", "csv", "table") if getattr(self, kind) is not None]
        if len(places) != 1:
            found = ", ".join(places) or "none"
            faults.append(f"exactly one of delta, parquet, csv, table says where the rows are; found {found}")
        for what, named in (
            ("keys", self.keys),
            ("order", self.order),
            ("event and times", self.times),
            ("known_before", self.known_before),
            ("rename", tuple(self.rename)),
        ):
            missing = [name for name in named if name not in self.columns]
            if missing:
                faults.append(f"{what}: {', '.join(missing)} not among `columns`. Hint: give each a type there")
        for key in self.keys:
            if self.columns.get(key) not in (None, "string", "int", "bigint", "date"):
                faults.append(f"key {key} is {self.columns[key]}. Hint: keys are string, int, bigint or date")
        kinds = {"timestamp", "date"}
        odd = [name for name in self.times if self.columns.get(name, "date") not in kinds]
        if odd:
            faults.append(f"{', '.join(odd)} must be timestamp or date")
        taken = sorted(RESERVED_COLUMNS & (set(self.columns) - set(self.times)))
        if taken:
            faults.append(f"{', '.join(taken)} are names of the store's own. Hint: use rename")
        if self.event is None and (self.available or self.order or self.valid_to or self.effective):
            faults.append(
                "a source without an event is static. Hint: leave available, order, valid_to out, or name one"
            )
        faults += self._filter_faults()
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _filter_faults(self) -> list[str]:
        if self.filter is None:
            return []
        try:
            parse_condition(self.filter, columns=dict(self.columns))
        except ExpressionError as fault:
            return [f"filter: {fault}"]
        return []

    @cached_property
    def reading(self) -> str:
        """A digest of what decides the rows that are read, whatever their place."""
        told = self.model_dump(
            mode="json",
            include={
                "keys",
                "columns",
                "rename",
                "event",
                "available",
                "order",
                "unique",
                "filter",
                "zone",
                "valid_to",
            },
        )
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def meaning(self, columns: list[str]) -> dict[str, Any]:
        """What a view that reads these columns depends on; the place is not part of it."""
        used = {*columns, *self.keys, *self.order, *self.times}
        told = self.model_dump(
            mode="json", include={"keys", "event", "available", "order", "unique", "zone", "valid_to", "effective"}
        )
        condition = None
        if self.filter is not None:
            parsed = parse_condition(self.filter, columns=dict(self.columns))
            condition, used = parsed.text, used | parsed.columns
        types = {name: kind for name, kind in sorted(self.columns.items()) if name in used}
        return {**told, "filter": condition, "columns": types}

    @property
    def table_name(self) -> str:
        """The store's table of its rows."""
        return f"source__{self.name}"
