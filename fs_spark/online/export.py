"""The newest offline rows of a service's views, at pinned Delta versions, into the online store."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.errors import RequestError, without_secrets
from fs_spark.features.service import FeatureService
from fs_spark.online.batches import ViewRows
from fs_spark.online.codec import RowSchema
from fs_spark.online.reader import sqlite_path
from fs_spark.online.records import ServiceRecord, ViewRecord
from fs_spark.online.sqlite import SqliteOnline
from fs_spark.registry import RegistryState
from fs_spark.tables import Tables
from fs_spark.training.chosen import ChosenView, choose_views, require_materialized
from fs_spark.training.outputs import arrow_batches

log = logging.getLogger(__name__)

_CHUNK: Final = 8192
_AT_ONCE: Final = 1_000_000
"""Rows that the driver may hold."""
_STORED_TYPES: Final = {"double": "double", "int": "int", "boolean": "boolean"}


@dataclass(frozen=True)
class ExportReport:
    """Rows written per view; `current` says that the very same was published already and nothing was written."""

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


def newest_rows(rows: DataFrame, *, keys: Sequence[str], columns: Sequence[str]) -> DataFrame:
    """One row per key: the greatest by (event_timestamp, available_timestamp, sequence), a tie decided by content."""
    content = F.struct(n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP, n.SEQUENCE, *columns)
    newest = rows.groupBy(*keys).agg(F.max(content).alias("newest"))
    wanted = (n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP, *columns)
    return newest.select(*keys, *(F.col(f"newest.{column}").alias(column) for column in wanted))


def _arrow(rows: DataFrame, count: int | None) -> Iterator[pa.RecordBatch]:
    """A frame as Arrow batches on this side: all at once where its source is small, else by partitions."""
    if count is None or count > _AT_ONCE:
        yield from arrow_batches(rows, rows=_CHUNK)
    else:
        yield from rows.toArrow().to_batches(_CHUNK)


def _record(service: str, chosen: Sequence[ChosenView], tables: Tables) -> ServiceRecord:
    require_materialized(tables, chosen)
    views = []
    for c in chosen:
        columns = tuple(dict.fromkeys(c.columns.values()))
        views.append(
            ViewRecord(
                view=c.view.qualified,
                keys=c.view.keys,
                delta_version=tables.version(c.view.table),
                features=tuple(c.columns.items()),
                schema=RowSchema(columns, tuple(_STORED_TYPES[c.view.columns[name]] for name in columns)),
            )
        )
    return ServiceRecord(service, tuple(views))


def export_service(
    tables: Tables, state: RegistryState, service: FeatureService, url: str, *, mode: int = 0o600
) -> ExportReport:
    """Publishes a service's newest rows; see `FeatureStore.export`."""
    chosen = choose_views(service.features, state, roles=service.roles)
    record = _record(service.name, chosen, tables)
    versions = {view.view: view.delta_version for view in record.views}
    if not url.startswith("sqlite:///"):
        raise RequestError(f"online store {url!r} is not supported yet. Hint: use sqlite:///path")
    writer, url = SqliteOnline(sqlite_path(url), mode=mode), without_secrets(url)
    found = writer.published(service.name)
    if found is not None and found[1] == record.to_json():
        return ExportReport(service.name, url, {}, versions, current=True)

    def rows() -> Iterator[ViewRows]:
        for c, view in zip(chosen, record.views, strict=True):
            log.info("%s: reading the newest rows at Delta version %d", view.view, view.delta_version)
            stored = tables.read(c.view.table, view.delta_version)
            newest = newest_rows(stored, keys=view.keys, columns=view.schema.names)
            count = tables.row_count(c.view.table, view.delta_version)
            yield ViewRows(view.view, view.keys, view.schema, view.delta_version, _arrow(newest, count))

    report = writer.publish(record, rows(), seen=found[0] if found is not None else 0)
    if report.overtaken:
        log.info("%s: another export has published newer rows meanwhile, which stand", service.name)
    else:
        log.info("%s: published %s", service.name, ", ".join(f"{v} {rows}" for v, rows in report.rows.items()))
    return ExportReport(service.name, url, dict(report.rows), versions, current=report.overtaken)
