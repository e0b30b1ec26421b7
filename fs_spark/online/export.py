"""The newest offline rows of a service's views, at pinned Delta versions, into the online store.

A value holds the row that is seen at the export, and all rows that a later question finds newer: of events those that
were said beforehand, of states also those that become due, as windows empty, without any new row.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import TypeAdapter
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from fs_spark import names as n
from fs_spark.changes import changed_keys, steps
from fs_spark.errors import RequestError, TableConflictError, without_secrets
from fs_spark.features.definition import View
from fs_spark.features.service import FeatureService
from fs_spark.features.spans import micros
from fs_spark.features.table_view import TableView
from fs_spark.online.codec import DOUBLES, RowSchema
from fs_spark.online.due_rows import due_rows
from fs_spark.online.frame_rows import FrameRows
from fs_spark.online.held_rows import held_rows
from fs_spark.online.protocol import OnlineStore, open_store
from fs_spark.online.records import (
    DAY_US,
    LAST_EVENT,
    TIMES,
    DemandRecord,
    Published,
    PublishReport,
    ServiceRecord,
    ViewRecord,
)
from fs_spark.online.request import moment_us
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables
from fs_spark.training.chosen import ChosenView, choose_views, require_materialized
from fs_spark.transforms.ordering import in_order

log = logging.getLogger(__name__)

_AT_ONCE: Final = 1_000_000
"""Rows that the driver may hold."""
_TRIES: Final = 3
_STEPS: Final = 6
"""Versions of a table without a change feed, each of which is compared with the next."""
_STORED_TYPES: Final = {
    "boolean": "boolean",
    "int": "int",
    "bigint": "long",
    "double": "double",
    "string": "string",
    "date": "date",
    "timestamp": "timestamp",
    "array<double>": DOUBLES,
}
"""Type of a column -> the codec's name of it."""


@dataclass(frozen=True)
class ExportReport:
    """Keys written per view; `current` says that the same rows were published already and nothing was written.

    kind      "full", of all keys, "incremental", of those that changed since what was published, or "current"
    gone      keys per view that have no row any more
    checksum  of what was written, per view; `Loaded.checksum`
    """

    service: str
    url: str
    rows: dict[str, int]
    delta_versions: dict[str, int]
    current: bool
    kind: Literal["full", "incremental", "current"] = "current"
    generation: int | None = None
    gone: dict[str, int] = field(default_factory=dict)
    size_bytes: int = 0
    seconds: float = 0.0
    checksum: dict[str, str] = field(default_factory=dict)

    @property
    def keys_per_s(self) -> float:
        return sum((*self.rows.values(), *self.gone.values())) / self.seconds if self.seconds else 0.0

    def __repr__(self) -> str:
        if self.current:
            return f"ExportReport({self.service} is published as it is)"
        told = ", ".join(
            f"{view} {rows} rows at version {self.delta_versions[view]}" for view, rows in self.rows.items()
        )
        return f"ExportReport({self.service}: {self.kind}, generation {self.generation}, {told})"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"keys_per_s": round(self.keys_per_s)}


@dataclass(frozen=True)
class _Pinned:
    """A view of the service at a Delta version, and the records that its rows become."""

    view: View
    records: tuple[ViewRecord, ...]
    made_from: Mapping[str, Any]


def rows_of(tables: Tables, view: View, records: Sequence[ViewRecord], due: DataFrame | None) -> DataFrame:
    """All rows of the records' version, and of states those that become due behind its watermark too."""
    wanted = [*view.keys, *TIMES, n.SEQUENCE, *records[0].times]
    wanted += dict.fromkeys(column for one in records for column in one.schema.names)
    stored = tables.read(view.table, records[0].delta_version)
    if isinstance(view, TableView):
        stored = in_order(stored, view.order_columns)
    rows = stored.select(*wanted)
    return rows.unionByName(due.select(*wanted)) if due is not None else rows


def _due(tables: Tables, state: RegistryState, pinned: Sequence[_Pinned]) -> dict[str, DataFrame]:
    """By table, what becomes due in views of states: computed once, however many records hold it."""
    found: dict[str, DataFrame] = {}
    for one in pinned:
        until_us = one.records[0].until_us
        if until_us is not None and one.view.table not in found:
            assert isinstance(one.view, TableView)
            rows = due_rows(tables, state, one.view, one.made_from, until_us)
            found[one.view.table] = rows.persist(StorageLevel.DISK_ONLY)
    return found


def _sla_us(state: RegistryState, view: View) -> int | None:
    """How fresh a view should be: as its definition says, or what the registry keeps beside that."""
    told = json.loads(state.about.get((view.name, view.version)) or "{}").get("sla")
    sla = view.sla if told is None else TypeAdapter(timedelta).validate_python(told)
    return None if sla is None else micros(sla)


def _standing(tables: Tables, view: View) -> tuple[int, dict[str, Any]]:
    """The newest version of a view's table; of states also what it was made from."""
    if LAST_EVENT not in view.times:
        return tables.version(view.table), {}
    version, made_from = tables.standing(view.table)
    if "sources" not in made_from:
        raise RequestError(
            f"{view.qualified}: nobody says what version {version} of its table was made from, so that its rows cannot "
            f"be continued. Hint: run `fs-spark materialize {view.name}`"
        )
    return version, made_from


def _pinned(
    state: RegistryState, chosen: ChosenView, standing: tuple[int, dict[str, Any], str | None], at_us: int
) -> _Pinned:
    """A view at a version, in one role; columns of the newest known value are records of their own."""
    view, (version, made_from, table_id) = chosen.view, standing
    sla_us, from_us = _sla_us(state, view), at_us
    fresh_us: int | None = at_us
    until_us: int | None = None
    if LAST_EVENT in view.times:
        fresh_us = made_from.get("watermark")
        if fresh_us is not None:
            from_us = min(fresh_us, at_us)
            until_us = max(fresh_us, at_us) + (DAY_US if sla_us is None else sla_us)
    plain = ViewRecord(
        view=view.qualified,
        keys=view.keys,
        delta_version=version,
        features=(),
        schema=RowSchema((), ()),
        role=chosen.role,
        by=chosen.keys if chosen.keys != view.keys else (),
        boundary=None if view.is_static else view.boundary,
        times=view.times,
        ttl_us=micros(view.ttl) if view.ttl is not None and not view.is_static else None,
        since=chosen.since,
        sla_us=sla_us,
        from_us=None if view.is_static else from_us,
        fresh_us=None if view.is_static and sla_us is None else fresh_us,
        until_us=until_us,
        table=table_id,
    )
    kept = [pair for pair in chosen.columns.items() if pair[0] not in chosen.skipping]
    records = [_with_features(plain, view, kept)]
    for output, column in chosen.columns.items():
        if output in chosen.skipping:
            known = replace(plain, known=output, since=None)
            records.append(_with_features(known, view, [(output, column)]))
    return _Pinned(view, tuple(records), made_from)


def _with_features(record: ViewRecord, view: View, pairs: Sequence[tuple[str, str]]) -> ViewRecord:
    columns = tuple(dict.fromkeys(column for _, column in pairs))
    schema = RowSchema(columns, tuple(_STORED_TYPES[view.columns[name]] for name in columns))
    return replace(record, features=tuple(pairs), schema=schema)


def _check_keys(chosen: Sequence[ChosenView]) -> None:
    """Raises RequestError where one column of a request would be keys of two types."""
    kinds: dict[str, dict[str, str]] = {}
    for one in chosen:
        for column, kind in zip(one.keys, one.view.key_types.values(), strict=True):
            kinds.setdefault(column, {}).setdefault("integer" if kind in ("int", "bigint") else kind, one.label)
    faults = [
        f"{column!r} is " + " and ".join(f"{kind} in {label}" for kind, label in found.items())
        for column, found in kinds.items()
        if len(found) > 1
    ]
    if faults:
        raise RequestError(
            f"a request cannot give one key as two types: {'; '.join(faults)}.\n"
            "Hint: name another column for one of them by a role"
        )


def held_of(rows: DataFrame, record: ViewRecord, at_us: int, changed: DataFrame | None = None) -> DataFrame:
    """The rows that one record holds."""
    for column in record.schema.names if record.known is not None else ():
        rows = rows.where(F.col(column).isNotNull())
    return held_rows(
        rows,
        keys=record.keys,
        columns=record.schema.names,
        times=record.times,
        boundary=record.boundary or "at_or_before",
        cut_us=at_us if record.from_us is None else record.from_us,
        changed=changed,
    )


@dataclass(frozen=True)
class _Export:
    """What one export is to publish, and where its rows are."""

    tables: Tables
    record: ServiceRecord
    pinned: Sequence[_Pinned]
    at_us: int
    due: dict[str, DataFrame]

    def rows(self, since: ServiceRecord | None = None) -> Iterator[FrameRows]:
        """All rows of all views, or of the keys that changed since what was published under a record."""
        before = {view.label: view for view in since.views} if since is not None else {}
        for one in self.pinned:
            stored = rows_of(self.tables, one.view, one.records, self.due.get(one.view.table))
            count = self.tables.row_count(one.view.table, one.records[0].delta_version)
            is_small = count is not None and count <= _AT_ONCE
            changed = self._changed(one, before[one.records[0].label]) if since is not None else None
            for view in one.records:
                log.info("%s: reading the newest rows at Delta version %d", view.label, view.delta_version)
                held = held_of(stored, view, self.at_us, changed)
                yield FrameRows(view.label, view.keys, view.schema, view.delta_version, held, is_small)

    def _changed(self, one: _Pinned, before: ViewRecord) -> DataFrame:
        """Keys whose rows are others than at the version that was published, or that have more that become due."""
        view, now = one.view, one.records[0]
        keys = list(view.keys)
        found = changed_keys(self.tables, view.table, before.delta_version, now.delta_version, view.unit_keys, keys)
        if view.table in self.due:
            later = F.unix_micros(n.EVENT_TIMESTAMP) > F.lit(before.until_us)
            found = found.unionByName(self.due[view.table].where(later).select(*keys)).distinct()
        return found

    def _steps(self, table: str, since: int) -> list[int]:
        now = next(one.records[0] for one in self.pinned if one.view.table == table)
        return steps(self.tables, table, since, now.delta_version)

    def can_go_on_from(self, published: Published) -> bool:
        """Whether what changed since is still to be had."""
        if not published.record.grows_into(self.record):
            return False
        before = {view.view: view.delta_version for view in published.record.views}
        views = {one.records[0].view: one.view.table for one in self.pinned}
        for name, table in views.items():
            why = self.tables.unreadable(table, before[name])
            if why is not None:
                log.info("%s: all keys are exported, since version %d is gone: %s", name, before[name], why)
                return False
            if not self.tables.has_change_feed(table) and len(self._steps(table, before[name])) > _STEPS:
                log.info("%s: all keys are exported, since many commits came after version %d", name, before[name])
                return False
        return True


def _defaults(service: FeatureService, views: Sequence[ViewRecord]) -> tuple[tuple[str, Any], ...]:
    """What a service says in place of rows. Raises  RequestError where a default does not fit its feature"""
    kinds = {
        name: view.schema.types[view.schema.names.index(column)] for view in views for name, column in view.features
    }
    kinds |= {view.since: "double" for view in views if view.since is not None}
    fits: dict[str, Any] = {"double": (int, float), "long": int, "int": int, "boolean": bool, "string": str}
    faults, found = [], list[tuple[str, Any]]()
    for name, value in service.defaults.items():
        kind = kinds.get(name)
        if kind is None:
            faults.append(f"{name!r} is not a stored feature of it")
        elif not isinstance(value, fits.get(kind, ())) or (isinstance(value, bool) and kind != "boolean"):
            faults.append(f"{name!r} is {kind}, its default {value!r}")
        else:
            found.append((name, float(value) if kind == "double" else value))
    if faults:
        raise RequestError(
            f"service {service.name!r}, defaults: {'; '.join(faults)}.\n"
            f"Hint: its features are {', '.join(kinds)}; times, dates and arrays have no default"
        )
    return tuple(found)


def _record(
    tables: Tables, state: RegistryState, service: FeatureService, at_us: int
) -> tuple[ServiceRecord, Sequence[_Pinned]]:
    """What an export of now would publish. Raises  RequestError where it cannot"""
    asked = choose_views(service.features, state, roles=service.roles)
    chosen = asked.views
    require_materialized(tables, chosen)
    _check_keys(chosen)
    views = {one.view.table: one.view for one in chosen}
    standing = {table: (*_standing(tables, view), tables.table_id(table)) for table, view in views.items()}
    pinned = [_pinned(state, one, standing[one.view.table], at_us) for one in chosen]
    demanded = tuple(
        DemandRecord(
            view=one.label,
            values=tuple((output, one.values[name]) for output, name in one.columns.items()),
            reads=tuple(one.reads.items()), brought=tuple(one.brought.items()), types=tuple(one.types.items()),
        )
        for one in asked.on_demand
    )  # fmt: skip
    records = tuple(record for one in pinned for record in one.records)
    defaults = _defaults(service, records)
    return ServiceRecord(service.name, records, demanded, defaults, registry=state.table_version), pinned


def export_service(
    tables: Tables,
    state: RegistryState,
    service: FeatureService,
    url: str,
    *,
    mode: int = 0o600,
    at: datetime | None = None,
    full: bool = False,
) -> ExportReport:
    """Publishes what a service answers from a moment on; see `FeatureStore.export`."""
    start = time.monotonic()
    at_us = moment_us(at)
    record, pinned = _record(tables, state, service, at_us)
    versions = {view.label: view.delta_version for view in record.views}
    store, shown = open_store(url, mode=mode), without_secrets(url)
    found = store.published(service.name)
    if found is not None and not full and found.record.covers(record):
        return ExportReport(service.name, shown, {}, versions, current=True, generation=found.generation)
    export = _Export(tables, record, pinned, at_us, _due(tables, state, pinned))
    try:
        report, kind = _published(store, export, found, full=full)
    finally:
        for frame in export.due.values():
            frame.unpersist()
        store.close()
    if report.overtaken:
        log.info("%s: another export has published newer rows meanwhile, which stand", service.name)
        return ExportReport(service.name, shown, {}, versions, current=True)
    done = ExportReport(
        service.name, shown, report.rows, versions, current=False, kind=kind, generation=report.generation,
        gone={view: one.gone for view, one in report.loaded.items()},
        size_bytes=sum(one.size for one in report.loaded.values()), seconds=time.monotonic() - start,
        checksum={view: one.to_dict()["checksum"] for view, one in report.loaded.items()},
    )  # fmt: skip
    listed = ", ".join(f"{view} {rows}" for view, rows in report.rows.items())
    log.info("%s: published %s (%s, %.0f keys/s)", service.name, listed, kind, done.keys_per_s)
    return done


def _first_line(fault: Exception) -> str:
    return str(fault).strip().partition("\n")[0]


def _published(
    store: OnlineStore, export: _Export, found: Published | None, *, full: bool
) -> tuple[PublishReport, Literal["full", "incremental"]]:
    """Changes of what is published where that is possible, else all of it beside what is there."""
    name = export.record.service
    for _ in range(_TRIES):
        if found is not None and export.record.is_older_than(found.record):
            return PublishReport(name, overtaken=True), "full"
        if found is None or full or not export.can_go_on_from(found):
            seen = found.generation if found is not None else 0
            return store.publish(export.record, export.rows(), seen=seen), "full"
        try:
            report = store.update(export.record, export.rows(found.record), based_on=found)
        except PySparkException as fault:  # such as a file of the change feed that is gone
            log.warning("%s: what changed cannot be read, all keys are exported: %s", name, _first_line(fault))
            return store.publish(export.record, export.rows(), seen=found.generation), "full"
        if report is not None:
            return report, "incremental"
        found = store.published(name)
        if found is not None and found.record.covers(export.record):
            return PublishReport(name, overtaken=True), "incremental"
    raise TableConflictError(
        f"service {name!r} was published by others {_TRIES} times while this export ran.\n"
        "Hint: run it again when they are done"
    )
