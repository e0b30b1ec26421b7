"""The online store in one SQLite file, the writer's side: a service is replaced at once.

`services` holds each service's record as JSON and its generation, `views` what its rows taught about the keys; a table
of rows belongs to one view of one generation of one service, so that two services may pin different versions of a view.
A publication writes new tables beside the old, drops the old and commits: readers (WAL) see the old or the new, and a
killed writer leaves the old.

Rows lie in tables with a rowid and pages of 16 KiB: of with and without rowid, 4 and 16 KiB, the only one above 100,000
inserts/s for rows of 120 doubles in random key order (the others 32,000 to 67,000) [400,000 rows].
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from fs_spark.errors import RequestError, SchemaError, SetupError, TableConflictError
from fs_spark.online.batches import ViewRows, chunks
from fs_spark.online.records import PublishReport, ServiceRecord, ViewRecord
from fs_spark.online.sqlite_source import APPLICATION_ID, FORMAT, is_marked, open_read_only, rows_table

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS services(service TEXT PRIMARY KEY, generation INTEGER NOT NULL, record TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS views(service TEXT NOT NULL, position INTEGER NOT NULL, key_types TEXT NOT NULL, "
    "PRIMARY KEY(service, position))",
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={FORMAT}",
)


class SqliteOnline:
    """Publishes services into one file. Each call opens it anew and holds nothing between calls."""

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout_s: float = 300.0, mode: int = 0o600) -> None:
        self.path = Path(path).absolute()
        self._mode = mode
        self._busy_timeout_s = busy_timeout_s

    def published(self, service: str) -> tuple[int, str] | None:
        """The number and the record of the publication that readers get now."""
        try:
            connection = open_read_only(self.path, timeout_s=self._busy_timeout_s)
        except RequestError:  # no file or nothing in it; `publish` tells what is wrong with any other
            return None
        with closing(connection):
            return _published(connection, service)

    def is_current(self, record: ServiceRecord) -> bool:
        """Whether readers get what an export under this record would give them, Delta versions included."""
        found = self.published(record.service)
        return found is not None and ServiceRecord.from_json(found[1]).covers(record)

    def publish(self, service: ServiceRecord, tables: Iterable[ViewRows], *, seen: int | None = None) -> PublishReport:
        """Replaces a service and the rows of all its views in one transaction.

        `seen` is the number of the publication that was there when this one began (0: none). Where another came since
        and is newer, it stands.

        Needs   one `ViewRows` for each view of the record, in any order; read one after the other, a chunk at a time
        Raises  SchemaError when one is missing or does not fit its record, or two rows have one key;
                TableConflictError when another writer holds the file. Readers then keep what they had
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._create()
        try:
            with closing(sqlite3.connect(self.path, timeout=self._busy_timeout_s, isolation_level=None)) as connection:
                self._prepare(connection)
                connection.execute("BEGIN IMMEDIATE")  # closing without COMMIT undoes everything
                if seen is not None and _is_overtaken(connection, service, seen):
                    return PublishReport(service.service, {}, {}, overtaken=True)
                report = _replace(connection, service, tables)
                connection.execute("COMMIT")
                connection.execute("PRAGMA busy_timeout=200")  # readers that hold the WAL longer leave it to the next
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError as fault:
            if fault.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise TableConflictError(
                f"{self.path} was held by another writer for {self._busy_timeout_s:g} s.\n"
                f"Hint: one export at a time; try again when the other has ended."
            ) from fault
        return report

    def _create(self) -> None:
        """Makes the file for its owner alone, or for whom `mode` says; SQLite's files beside it get the same mode."""
        try:
            new = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return
        except OSError as fault:
            raise RequestError(
                f"{self.path} cannot be made: {fault.strerror}. Hint: choose another `online`"
            ) from fault
        try:
            os.fchmod(new, self._mode)
        finally:
            os.close(new)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        is_marked(connection, self.path)
        connection.execute("PRAGMA page_size=16384")
        connection.execute("PRAGMA cache_size=-65536")  # 64 MiB; what a publication needs beyond it spills to the WAL
        connection.execute("PRAGMA synchronous=FULL")
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise SetupError(f"{self.path} cannot have a WAL.\nHint: put the online store on a local disk.")


def _published(connection: sqlite3.Connection, service: str) -> tuple[int, str] | None:
    select = "SELECT generation, record FROM services WHERE service = ?"
    found: tuple[int, str] | None = connection.execute(select, (service,)).fetchone()
    return found


def _is_overtaken(connection: sqlite3.Connection, service: ServiceRecord, seen: int) -> bool:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'services'").fetchone() is None:
        return False
    found = _published(connection, service.service)
    if found is None or found[0] == seen:
        return False
    record = ServiceRecord.from_json(found[1])
    return record.covers(service) or service.is_older_than(record)


def _replace(connection: sqlite3.Connection, service: ServiceRecord, tables: Iterable[ViewRows]) -> PublishReport:
    for statement in _TABLES:
        connection.execute(statement)
    name = service.service
    (generation,) = connection.execute("SELECT coalesce(max(generation), 0) + 1 FROM services").fetchone()
    select = "SELECT generation, position FROM services JOIN views USING (service) WHERE service = ?"
    old = connection.execute(select, (name,)).fetchall()
    connection.execute("DELETE FROM views WHERE service = ?", (name,))
    report = PublishReport(name, {}, {})
    for table in tables:
        position = _position(service, table)
        if table.view in report.rows:
            raise SchemaError(f"service {name!r}: the rows of view {table.view!r} were given twice.")
        key_types = _write(connection, rows_table(generation, position), service.views[position], table, report)
        connection.execute("INSERT INTO views VALUES (?, ?, ?)", (name, position, " ".join(key_types)))
    missing = [view.label for view in service.views if view.label not in report.rows]
    if missing:
        raise SchemaError(f"service {name!r}: no rows were given for {', '.join(missing)}.")
    for place in old:
        connection.execute(f"DROP TABLE {rows_table(*place)}")
    connection.execute("INSERT OR REPLACE INTO services VALUES (?, ?, ?)", (name, generation, service.to_json()))
    return report


def _write(
    connection: sqlite3.Connection, rows: str, view: ViewRecord, table: ViewRows, report: PublishReport
) -> tuple[str, ...]:
    connection.execute(f"CREATE TABLE {rows}(key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL)")
    report.rows[view.label] = report.without_key[view.label] = 0
    key_types: tuple[str, ...] = ()
    for chunk in chunks(view, table.batches):
        try:
            connection.executemany(f"INSERT INTO {rows} VALUES (?, ?)", chunk.rows)
        except sqlite3.IntegrityError as fault:
            raise SchemaError(
                f"view {view.label!r}: two rows have the same {', '.join(view.keys)}.\n"
                f"Hint: publish the newest row of each key only, or rows of one key one behind the other."
            ) from fault
        report.rows[view.label] += len(chunk.rows)
        report.without_key[view.label] += chunk.without_key
        key_types = chunk.key_types
    return key_types


def _position(service: ServiceRecord, table: ViewRows) -> int:
    """The place in the service of the view that these rows are of. Raises  SchemaError when they are of none"""
    for position, view in enumerate(service.views):
        if view.label == table.view:
            for what in ("keys", "schema", "delta_version"):
                recorded, found = getattr(view, what), getattr(table, what)
                if recorded != found:
                    raise SchemaError(
                        f"service {service.service!r}, view {view.label!r}: the record has {what} {recorded}, "
                        f"the rows have {found}.\nHint: make the record and the rows from one plan."
                    )
            return position
    raise SchemaError(f"service {service.service!r} has no view {table.view!r}.")
