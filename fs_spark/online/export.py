"""The newest offline rows of a service's views, at pinned Delta versions, into the online store.

A value holds the row that is seen at the export, and all rows that a later question finds newer: of events those that
were said beforehand, of states also those that become due, as windows empty, without any new row.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import pyarrow as pa
from pydantic import TypeAdapter
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from fs_spark import names as n
from fs_spark.errors import RequestError, without_secrets
from fs_spark.features.definition import View
from fs_spark.features.service import FeatureService
from fs_spark.features.spans import micros
from fs_spark.features.table_view import TableView
from fs_spark.online.batches import ViewRows
from fs_spark.online.codec import DOUBLES, RowSchema
from fs_spark.online.due_rows import due_rows
from fs_spark.online.held_rows import held_rows
from fs_spark.online.reader import sqlite_path
from fs_spark.online.records import DAY_US, LAST_EVENT, TIMES, DemandRecord, ServiceRecord, ViewRecord
from fs_spark.online.request import moment_us
from fs_spark.online.sqlite import SqliteOnline
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables
from fs_spark.training.chosen import ChosenView, choose_views, require_materialized
from fs_spark.training.outputs import arrow_batches
from fs_spark.transforms.ordering import in_order

log = logging.getLogger(__name__)

_CHUNK: Final = 8192
_AT_ONCE: Final = 1_000_000
"""Rows that the driver may hold."""
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
    """Keys written per view; `current` says that the same rows were published already and nothing was written."""

    service: str
    url: str
    rows: dict[str, int]
    delta_versions: dict[str, int]
    current: bool

    def __repr__(self) -> str:
        if self.current:
            return f"ExportReport({self.service} is published as it is)"
        told = ", ".join(
            f"{view} {rows} rows at version {self.delta_versions[view]}" for view, rows in self.rows.items()
        )
        return f"ExportReport({self.service}: {told})"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def _arrow(rows: DataFrame, count: int | None) -> Iterator[pa.RecordBatch]:
    """A frame as Arrow batches on this side: all at once where its source is small, else by partitions."""
    if count is None or count > _AT_ONCE:
        yield from arrow_batches(rows, rows=_CHUNK)
    else:
        yield from rows.toArrow().to_batches(_CHUNK)


@dataclass(frozen=True)
class _Pinned:
    """A view of the service at a Delta version, and the records that its rows become."""

    view: View
    records: tuple[ViewRecord, ...]
    made_from: Mapping[str, Any]

    def rows(self, tables: Tables, due: Mapping[str, DataFrame]) -> DataFrame:
        """All rows of the version, and of states those that become due behind its watermark too."""
        record = self.records[0]
        wanted = [*self.view.keys, *TIMES, n.SEQUENCE, *record.times]
        wanted += dict.fromkeys(column for one in self.records for column in one.schema.names)
        stored = tables.read(self.view.table, record.delta_version)
        if isinstance(self.view, TableView):
            stored = in_order(stored, self.view.order_columns)
        rows = stored.select(*wanted)
        return rows.unionByName(due[self.view.table].select(*wanted)) if self.view.table in due else rows


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


def _pinned(state: RegistryState, chosen: ChosenView, standing: tuple[int, dict[str, Any]], at_us: int) -> _Pinned:
    """A view at a version, in one role; columns of the newest known value are records of their own."""
    view, (version, made_from) = chosen.view, standing
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


def _held(rows: DataFrame, record: ViewRecord, at_us: int) -> DataFrame:
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
    )


def export_service(
    tables: Tables,
    state: RegistryState,
    service: FeatureService,
    url: str,
    *,
    mode: int = 0o600,
    at: datetime | None = None,
) -> ExportReport:
    """Publishes what a service answers from a moment on; see `FeatureStore.export`."""
    at_us = moment_us(at)
    asked = choose_views(service.features, state, roles=service.roles)
    chosen = asked.views
    require_materialized(tables, chosen)
    _check_keys(chosen)
    standing = {view.table: _standing(tables, view) for view in {one.view.table: one.view for one in chosen}.values()}
    pinned = [_pinned(state, one, standing[one.view.table], at_us) for one in chosen]
    demanded = tuple(
        DemandRecord(
            view=one.label,
            values=tuple((output, one.values[name]) for output, name in one.columns.items()),
            reads=tuple(one.reads.items()), brought=tuple(one.brought.items()), types=tuple(one.types.items()),
        )
        for one in asked.on_demand
    )  # fmt: skip
    record = ServiceRecord(service.name, tuple(record for one in pinned for record in one.records), demanded)
    versions = {view.label: view.delta_version for view in record.views}
    if not url.startswith("sqlite:///"):
        raise RequestError(f"online store {url!r} is not supported yet. Hint: use sqlite:///path")
    writer, url = SqliteOnline(sqlite_path(url), mode=mode), without_secrets(url)
    found = writer.published(service.name)
    if found is not None and ServiceRecord.from_json(found[1]).covers(record):
        return ExportReport(service.name, url, {}, versions, current=True)

    due = _due(tables, state, pinned)

    def rows() -> Iterator[ViewRows]:
        for one in pinned:
            stored = one.rows(tables, due)
            count = tables.row_count(one.view.table, one.records[0].delta_version)
            for view in one.records:
                log.info("%s: reading the newest rows at Delta version %d", view.label, view.delta_version)
                held = _held(stored, view, at_us)
                yield ViewRows(view.label, view.keys, view.schema, view.delta_version, _arrow(held, count))

    try:
        report = writer.publish(record, rows(), seen=found[0] if found is not None else 0)
    finally:
        for frame in due.values():
            frame.unpersist()
    if report.overtaken:
        log.info("%s: another export has published newer rows meanwhile, which stand", service.name)
    else:
        log.info("%s: published %s", service.name, ", ".join(f"{v} {rows}" for v, rows in report.rows.items()))
    return ExportReport(service.name, url, dict(report.rows), versions, current=report.overtaken)
