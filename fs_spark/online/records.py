"""What a published service is: its views, their pinned Delta versions, its features; to and from JSON."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from fs_spark.errors import RequestError, SchemaError
from fs_spark.names import AVAILABLE_TIMESTAMP, EVENT_TIMESTAMP
from fs_spark.online.codec import RowSchema

TIMES = (EVENT_TIMESTAMP, AVAILABLE_TIMESTAMP)
LAST_EVENT: Final = "last_event_timestamp"
VALID_TO: Final = "valid_to"
DAY_US: Final = 86_400_000_000
LAYOUT: Final = 2
"""How values are stored (`values`); a record that says none is of 1, where rows stand without a head."""
_ALWAYS: Final = ("view", "keys", "delta_version", "features", "schema")
_PARTS: Final = 24
"""An export is repeated when a part of its reach has passed: after an hour of a day."""


@dataclass(frozen=True)
class ViewRecord:
    """One view of a service, in one role and of one kind of row.

    `view` is its table (``activity__v1.0``), `schema` the stored feature columns, and `features` the pairs
    (name in the service's answer, column of `schema`). A record of an older publication has no more than these: one
    row for each key, which is answered at any time.

    role      the role that the view is asked in; `by` are the request's columns for its keys, in their order
    known     a column: the rows are those that have a value there (`nulls: skip`)
    boundary  which rows a question at T sees; each key may then hold several, and the newest seen one answers
    times     stored times beside event and availability: `last_event_timestamp` of states, `valid_to` of rows that end
    ttl_us    how old the row that answers may be, by its last event or its event
    since     the name in the answer of the seconds since `last_event_timestamp`
    sla_us    how old what is published may be; None is without end
    from_us   from when on questions are answered as on the table itself
    fresh_us  how far the rows reach: the watermark of states, else the time of the export; the SLA counts from it
    until_us  of states: up to when what becomes due without a new row is held too
    table     Delta's identity of the table: versions of one that was dropped and made again cannot be compared

    Units     microseconds, times since 1970 in UTC
    Raises    SchemaError with every fault
    """

    view: str
    keys: tuple[str, ...]
    delta_version: int
    features: tuple[tuple[str, str], ...]
    schema: RowSchema
    role: str | None = None
    by: tuple[str, ...] = ()
    known: str | None = None
    boundary: str | None = None
    times: tuple[str, ...] = ()
    ttl_us: int | None = None
    since: str | None = None
    sla_us: int | None = None
    from_us: int | None = None
    fresh_us: int | None = None
    until_us: int | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        times = (*TIMES, *self.times)
        faults = [f"feature {name!r} has no column {c!r}" for name, c in self.features if c not in self.schema.names]
        faults += [f"column {c!r} is a key or a time" for c in self.schema.names if c in self.keys or c in times]
        faults += [f"key {key!r} is there twice" for key, n in Counter(self.keys).items() if n > 1]
        if not self.keys:
            faults.append("it has no key columns")
        if self.by and len(self.by) != len(self.keys):
            faults.append(f"{len(self.by)} columns of a request for {len(self.keys)} keys")
        faults += [f"{name!r} is not a time" for name in self.times if name not in (LAST_EVENT, VALID_TO)]
        if self.boundary not in (None, "at_or_before", "strictly_before"):
            faults.append(f"boundary {self.boundary!r}")
        if self.since is not None and LAST_EVENT not in self.times:
            faults.append(f"{self.since!r} needs {LAST_EVENT}")
        if faults:
            raise SchemaError(f"view {self.label!r}: {'; '.join(faults)}.\nHint: `schema` holds feature columns only.")

    @property
    def called(self) -> str:
        """The view in its role: `payer.customer_activity__v1.0`."""
        return f"{self.role}.{self.view}" if self.role else self.view

    @property
    def label(self) -> str:
        """What names the record in its service: `payer.customer_activity__v1.0:amount` for known values of a column."""
        return f"{self.called}:{self.known}" if self.known is not None else self.called

    @property
    def prefix(self) -> str:
        """How columns about the view begin in an answer: `payer__customer_activity__v1.0__`."""
        return f"{self.role}__{self.view}__" if self.role else f"{self.view}__"

    @property
    def asked_by(self) -> tuple[str, ...]:
        """The request's columns, one for each key."""
        return self.by or self.keys

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names in the service's answer."""
        return (*(name for name, _ in self.features), *((self.since,) if self.since is not None else ()))

    @property
    def is_state(self) -> bool:
        return LAST_EVENT in self.times

    @functools.cached_property
    def stored(self) -> RowSchema:
        """A stored row: event time, time of knowledge, further times, then the feature columns."""
        times = (*TIMES, *self.times)
        return RowSchema(times + self.schema.names, ("timestamp",) * len(times) + self.schema.types)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; what was not said is left out, so that older records stay as they were."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        told = {name: value for name, value in named.items() if name in _ALWAYS or value not in (None, ())}
        return told | {"schema": dataclasses.asdict(self.schema)}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> ViewRecord:
        schema = RowSchema(tuple(told["schema"]["names"]), tuple(told["schema"]["types"]))
        pairs = tuple((name, column) for name, column in told["features"])
        tuples = {name: tuple(told.get(name, ())) for name in ("keys", "by", "times")}
        return cls(**(told | tuples | {"schema": schema, "features": pairs}))

    def covers(self, other: ViewRecord) -> bool:
        """Whether its rows answer, for as long, what those of `other` would, which are of the same table."""
        if self._without_moments() != other._without_moments():
            return False
        if self.from_us is not None and other.from_us is not None and other.from_us < self.from_us:
            return False
        if other.until_us is not None:
            return _is_soon(self.until_us, other.until_us, self.sla_us)
        if self.is_state or self.sla_us is None or other.fresh_us is None:
            return True
        return _is_soon(self.fresh_us, other.fresh_us, self.sla_us)

    def goes_on_in(self, other: ViewRecord) -> bool:
        """Whether the other is of the same table, and of no earlier version or moment."""
        plain, theirs = (dataclasses.replace(one._without_moments(), delta_version=0) for one in (self, other))
        moments = ((self.from_us, other.from_us), (self.until_us, other.until_us))
        return (
            plain == theirs
            and self.table is not None
            and self.delta_version <= other.delta_version
            and all((a is None) == (b is None) and (a is None or b is None or a <= b) for a, b in moments)
        )

    def beside(self, other: ViewRecord) -> ViewRecord:
        """With the moments from and until which the rows of both answer."""
        from_us, until_us = self.from_us, self.until_us
        if from_us is not None and other.from_us is not None:
            from_us = max(from_us, other.from_us)
        if until_us is not None and other.until_us is not None and self.delta_version == other.delta_version:
            until_us = min(until_us, other.until_us)
        return dataclasses.replace(self, from_us=from_us, until_us=until_us)

    def _without_moments(self) -> ViewRecord:
        """Without what alone differs between two exports of the same rows."""
        return dataclasses.replace(self, from_us=None, fresh_us=None, until_us=None)


def _is_soon(mine: int | None, theirs: int, span_us: int | None) -> bool:
    """Whether a moment is at most a small part of a span (of a day) before another."""
    if mine is None:
        return False
    return mine >= theirs or theirs - mine < (DAY_US if span_us is None else span_us) // _PARTS


@dataclass(frozen=True)
class DemandRecord:
    """Features of a service that are computed when they are asked for: pairs (name in the answer, expression).

    reads    column as expressions call it -> name in the answers of views, hidden ones too
    brought  column as expressions call it -> column of the request or of the key; the time of the question is `at`
    types    column as expressions call it -> type
    """

    view: str
    values: tuple[tuple[str, str], ...]
    reads: tuple[tuple[str, str], ...]
    brought: tuple[tuple[str, str], ...]
    types: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        return {"view": self.view} | {name: list(map(list, getattr(self, name))) for name in self._pairs}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> DemandRecord:
        return cls(told["view"], *(tuple((a, b) for a, b in told[name]) for name in cls._pairs))

    _pairs: ClassVar = ("values", "reads", "brought", "types")


@dataclass(frozen=True)
class ServiceRecord:
    """A service as published. An export writes the same rows for records of which one covers the other.

    defaults  pairs (name in the answer, what is answered in place of a row that is missing, or of a store that is down)
    registry  the version of the registry that said which views and versions these are

    Raises  SchemaError for a view twice, a feature name twice or that is also a key, or a default of an unknown name
    """

    service: str
    views: tuple[ViewRecord, ...]
    on_demand: tuple[DemandRecord, ...] = ()
    defaults: tuple[tuple[str, Any], ...] = ()
    registry: int | None = None
    layout: int = LAYOUT

    def __post_init__(self) -> None:
        names = Counter(self.names)
        keys = {key for view in self.views for key in view.asked_by}
        faults = [f"feature {name!r} is there twice" for name, n in names.items() if n > 1]
        faults += [f"feature {name!r} is also a key" for name in names if name in keys]
        faults += [f"view {v!r} is there twice" for v, n in Counter(v.label for v in self.views).items() if n > 1]
        faults += [f"default of {name!r}, which is no feature" for name, _ in self.defaults if name not in names]
        if faults:
            raise SchemaError(f"service {self.service!r}: {'; '.join(faults)}.\nHint: give the feature another name.")

    @property
    def names(self) -> list[str]:
        """The names of all columns that views or expressions give, hidden ones too."""
        return [name for view in self.views for name in view.outputs] + [
            name for one in self.on_demand for name, _ in one.values
        ]

    def is_older_than(self, other: ServiceRecord) -> bool:
        """Whether it pins an older Delta version of a view that both have, and a newer one of none; of other views,
        whether an older registry chose them."""
        mine = {(view.view, view.table): view.delta_version for view in self.views}
        theirs = {(view.view, view.table): view.delta_version for view in other.views}
        if set(theirs) != set(mine) and None not in (self.registry, other.registry):
            return self.registry < other.registry  # type: ignore[operator]
        pairs = [(mine[one], theirs[one]) for one in mine if one in theirs]
        return any(own < their for own, their in pairs) and all(own <= their for own, their in pairs)

    def covers(self, other: ServiceRecord) -> bool:
        """Whether what is published under this record serves as well as an export under the other would.

        The same rows at the same Delta versions; and of states no more of what becomes due is missing at the end than
        a small part of their reach, nor has more than such a part of an SLA passed.
        """
        return (
            self._plain() == other._plain()
            and len(self.views) == len(other.views)
            and all(mine.covers(theirs) for mine, theirs in zip(self.views, other.views, strict=True))
        )

    def grows_into(self, other: ServiceRecord) -> bool:
        """Whether rows that are published under this record become those of the other by what changed in its tables."""
        return (
            self.layout == LAYOUT
            and self._plain() == other._plain()
            and len(self.views) == len(other.views)
            and all(mine.goes_on_in(theirs) for mine, theirs in zip(self.views, other.views, strict=True))
        )

    def beside(self, found: ServiceRecord) -> ServiceRecord:
        """The record of an update where another one came first: what both of them hold.

        Keys that only the other one wrote may lack what a question before its moment would see; keys that this one
        wrote over what the other held at the same version reach no further than this one.
        """
        there = {view.label: view for view in found.views}
        return dataclasses.replace(self, views=tuple(view.beside(there.get(view.label, view)) for view in self.views))

    def after(self, found: ServiceRecord, based_on: ServiceRecord) -> ServiceRecord:
        """The record under which rows stand once those of this one are written over what was found.

        It is this one where nobody came since `based_on`; the found one, with what both hold, where that is newer.
        """
        if self.is_older_than(found):
            return found.beside(self)
        return self if found == based_on else self.beside(found)

    def _plain(self) -> tuple[Any, ...]:
        return self.service, self.on_demand, self.defaults, self.layout

    def to_json(self) -> str:
        more: dict[str, Any] = {"layout": self.layout} if self.layout != 1 else {}
        if self.on_demand:
            more["on_demand"] = [one.to_dict() for one in self.on_demand]
        if self.defaults:
            more["defaults"] = list(map(list, self.defaults))
        if self.registry is not None:
            more["registry"] = self.registry
        views = [view.to_dict() for view in self.views]
        return json.dumps({"service": self.service, "views": views, **more}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ServiceRecord:
        """Raises  RequestError for a record of a newer version of fs_spark"""
        fields = json.loads(text)
        layout = fields.get("layout", 1)
        if layout > LAYOUT:
            raise RequestError(
                f"service {fields['service']!r} was published by a newer fs_spark: its values have layout {layout}, "
                f"this one reads up to {LAYOUT}.\nHint: install that version here."
            )
        return cls(
            fields["service"],
            tuple(map(ViewRecord.from_dict, fields["views"])),
            tuple(map(DemandRecord.from_dict, fields.get("on_demand", ()))),
            tuple((name, value) for name, value in fields.get("defaults", ())),
            fields.get("registry"),
            layout,
        )


@dataclass(frozen=True, eq=False)
class Published:
    """A service as a store holds it: its record, the number of its publication, and its views' key types.

    `serial` counts the records under which these rows stood, `pushed` says that rows were pushed for it, and `report`
    is what the export said.
    """

    record: ServiceRecord
    generation: int
    key_types: tuple[tuple[str, ...], ...]
    """Per view, per key column: a type of `codec.KEY_TAGS`; empty when no batch told them."""
    serial: int = 0
    pushed: bool = False
    report: Mapping[str, Any] = field(default_factory=dict)
    schemas: tuple[RowSchema, ...] = ()
    """Those of rows that may still be pushed under an earlier record."""


@dataclass(frozen=True)
class Loaded:
    """What was written of a view: keys with rows, tombstones, rows left out since a key was null, bytes.

    `checksum` is the sum of the CRC-32 of each key and its value, modulo 2^64: the same in any order.
    """

    keys: int = 0
    gone: int = 0
    without_key: int = 0
    size: int = 0
    checksum: int = 0
    key_types: tuple[str, ...] = ()

    def __add__(self, other: Loaded) -> Loaded:
        return Loaded(
            self.keys + other.keys,
            self.gone + other.gone,
            self.without_key + other.without_key,
            self.size + other.size,
            (self.checksum + other.checksum) % 2**64,
            self.key_types or other.key_types,
        )

    def to_dict(self) -> dict[str, Any]:
        return {"keys": self.keys, "gone": self.gone, "bytes": self.size, "checksum": f"{self.checksum:016x}"}


@dataclass(frozen=True)
class PublishReport:
    """What a publication wrote, by view; rows with a null key are left out, because no request can find them.

    `overtaken` says that a newer publication came meanwhile, which stands: of all rows nothing was written, of
    an update no value in place of a later one.
    """

    service: str
    loaded: dict[str, Loaded] = field(default_factory=dict)
    generation: int | None = None
    overtaken: bool = False

    @property
    def rows(self) -> dict[str, int]:
        return {view: one.keys for view, one in self.loaded.items()}

    @property
    def without_key(self) -> dict[str, int]:
        return {view: one.without_key for view, one in self.loaded.items()}

    def told(self) -> dict[str, Any]:
        """What the store keeps of it."""
        return {view: one.to_dict() for view, one in self.loaded.items()}
