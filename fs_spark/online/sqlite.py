"""The online store in one SQLite file, the writer's side: a service is replaced at once.

`services` holds each service's record as JSON, its generation, its serial and what the export said; `views` what its
rows taught about the keys; a table of rows belongs to one view of one generation of one service, so that two services
may pin different versions of a view; `pushed` holds rows that are newer than what was exported, until they expire.
A publication writes new tables beside the old, drops the old and commits: readers (WAL) see the old or the new, and a
killed writer leaves the old. An update changes single rows in one transaction too.

Rows lie in tables with a rowid and pages of 16 KiB: of with and without rowid, 4 and 16 KiB, the only one above 100,000
inserts/s for rows of 120 doubles in random key order (the others 32,000 to 67,000) [400,000 rows].
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fs_spark.errors import OnlineStoreError, RequestError, SchemaError, SetupError, TableConflictError
from fs_spark.online.progress import Progress
from fs_spark.online.protocol import Pushed, TableRows, is_overtaken, load_all
from fs_spark.online.records import Loaded, Published, PublishReport, ServiceRecord, ViewRecord
from fs_spark.online.sqlite_source import (
    APPLICATION_ID,
    FORMAT,
    format_of,
    is_published,
    load_published,
    open_async_source,
    open_read_only,
    open_source,
    rows_table,
    sqlite_path,
)
from fs_spark.online.values import HEAD, ORDER

if TYPE_CHECKING:
    from fs_spark.online.batches import Chunk

log = logging.getLogger(__name__)

__all__ = ["SqliteOnline", "is_published", "open_async_source", "open_source", "open_store"]

_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS services(service TEXT PRIMARY KEY, generation INTEGER NOT NULL, record TEXT NOT NULL, "
    "serial INTEGER NOT NULL DEFAULT 0, pushed INTEGER NOT NULL DEFAULT 0, report TEXT NOT NULL DEFAULT '{}', "
    "schemas TEXT NOT NULL DEFAULT '[]')",
    "CREATE TABLE IF NOT EXISTS views(service TEXT NOT NULL, position INTEGER NOT NULL, key_types TEXT NOT NULL, "
    "PRIMARY KEY(service, position))",
    "CREATE TABLE IF NOT EXISTS pushed(service TEXT NOT NULL, label TEXT NOT NULL, key BLOB NOT NULL, "
    "value BLOB NOT NULL, expires_us INTEGER NOT NULL, PRIMARY KEY(service, label, key))",
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={FORMAT}",
)
_SINCE_1: Final = (
    "ALTER TABLE services ADD COLUMN serial INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE services ADD COLUMN pushed INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE services ADD COLUMN report TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE services ADD COLUMN schemas TEXT NOT NULL DEFAULT '[]'",
)
"""What a file of format 1 lacks."""


def open_store(url: str, *, mode: int = 0o600) -> SqliteOnline:
    return SqliteOnline(sqlite_path(url), mode=mode)


class SqliteOnline:
    """Publishes services into one file. Each call opens it anew and holds nothing between calls."""

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout_s: float = 300.0, mode: int = 0o600) -> None:
        self.path = Path(path).absolute()
        self._mode = mode
        self._busy_timeout_s = busy_timeout_s

    def published(self, service: str) -> Published | None:
        """What readers get now."""
        try:
            connection = open_read_only(self.path, timeout_s=self._busy_timeout_s)
        except RequestError:  # no file or nothing in it; `publish` tells what is wrong with any other
            return None
        with closing(connection):
            return load_published(connection, service)

    def is_current(self, record: ServiceRecord) -> bool:
        """Whether readers get what an export under this record would give them, Delta versions included."""
        found = self.published(record.service)
        return found is not None and found.record.covers(record)

    def publish(self, record: ServiceRecord, tables: Iterable[TableRows], *, seen: int | None = None) -> PublishReport:
        """Replaces a service and the rows of all its views in one transaction.

        `seen` is the number of the publication that was there when this one began (0: none). Where another came since
        and is newer, it stands.

        Needs   one `ViewRows` for each view of the record, in any order; read one after the other, a chunk at a time
        Raises  SchemaError when one is missing or does not fit its record, or two rows have one key;
                TableConflictError when another writer holds the file; OnlineStoreError when the disk is full. Readers
                then keep what they had
        """
        with self._writing() as connection:
            if is_overtaken(load_published(connection, record.service), record, seen):
                return PublishReport(record.service, overtaken=True)
            return _replace(connection, record, tables)

    def update(
        self, record: ServiceRecord, tables: Iterable[TableRows], *, based_on: Published
    ) -> PublishReport | None:
        """Changes single keys of a publication, in one transaction; None where another generation came meanwhile."""
        with self._writing() as connection:
            found = load_published(connection, record.service)
            if found is None or found.generation != based_on.generation:
                return None

            def load(position: int, table: TableRows) -> Loaded:
                rows = rows_table(found.generation, position)
                return _upsert(connection, rows, table.chunks(record.views[position]))

            loaded = load_all(record, tables, load, all_of=False)
            said = record.after(found.record, based_on.record)
            if said != found.record:
                _record(connection, said, found, found.generation, loaded)
            return PublishReport(record.service, loaded, found.generation, record.is_older_than(found.record))

    def push(self, published: Published, rows: Sequence[Pushed], *, expires_s: float) -> int:
        """Adds rows that stand until they expire, where no later one of their key does; gives how many stood."""
        now_us = time.time_ns() // 1000
        expires_us, service = now_us + round(expires_s * 1e6), published.record.service
        upsert = (
            "INSERT INTO pushed VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value, "
            "expires_us = excluded.expires_us WHERE pushed.expires_us <= ? "
            f"OR substr(excluded.value, 1, {ORDER.size}) > substr(pushed.value, 1, {ORDER.size})"
        )
        with self._writing() as connection:
            connection.execute("DELETE FROM pushed WHERE expires_us <= ?", (now_us,))
            counted = connection.executemany(
                upsert, [(service, one.label, one.key, one.value, expires_us, now_us) for one in rows]
            ).rowcount
            connection.execute(
                "UPDATE services SET pushed = 1, serial = serial + 1 WHERE service = ? AND pushed = 0", (service,)
            )
        return counted

    def keys_of(self, published: Published, position: int) -> Iterator[Sequence[bytes]]:
        """All keys of a view that are stored with rows."""
        with closing(open_read_only(self.path, timeout_s=self._busy_timeout_s)) as connection:
            head = HEAD.size if published.record.layout > 1 else -1
            table = rows_table(published.generation, position)
            try:
                cursor = connection.execute(f"SELECT key FROM {table} WHERE length(value) > {head}")
            except sqlite3.OperationalError as fault:
                raise TableConflictError(
                    f"service {published.record.service!r} was published anew meanwhile.\nHint: run it again"
                ) from fault
            while some := cursor.fetchmany(8192):
                yield [row[0] for row in some]

    def close(self) -> None:
        """Nothing is held."""

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which is undone where anything fails."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._create()
        try:
            with closing(sqlite3.connect(self.path, timeout=self._busy_timeout_s, isolation_level=None)) as connection:
                self._prepare(connection)
                connection.execute("BEGIN IMMEDIATE")  # closing without COMMIT undoes everything
                if connection.execute("PRAGMA user_version").fetchone()[0] == 1:
                    for statement in _SINCE_1:
                        connection.execute(statement)
                for statement in _TABLES:
                    connection.execute(statement)
                yield connection
                connection.execute("COMMIT")
                _checkpoint(connection)
        except sqlite3.OperationalError as fault:
            code = fault.sqlite_errorcode & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                raise TableConflictError(
                    f"{self.path} was held by another writer for {self._busy_timeout_s:g} s.\n"
                    f"Hint: one export at a time; try again when the other has ended."
                ) from fault
            if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
                raise OnlineStoreError(
                    f"{self.path} cannot be written: {fault}. What was published stands.\n"
                    f"Hint: an export needs room for the rows of before and for the new ones, twice; make room, or "
                    f"name another file in `online`."
                ) from fault
            raise

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
        format_of(connection, self.path)
        connection.execute("PRAGMA page_size=16384")
        connection.execute("PRAGMA cache_size=-65536")  # 64 MiB; what a publication needs beyond it spills to the WAL
        connection.execute("PRAGMA synchronous=FULL")
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise SetupError(f"{self.path} cannot have a WAL.\nHint: put the online store on a local disk.")


def _checkpoint(connection: sqlite3.Connection) -> None:
    """Moves what was committed out of the WAL. What cannot be now, the next publication moves."""
    try:
        connection.execute("PRAGMA busy_timeout=200")  # readers that hold the WAL longer leave it to the next
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError as fault:
        log.warning("the WAL stays as large as it is until the next publication: %s", fault)


def _replace(connection: sqlite3.Connection, service: ServiceRecord, tables: Iterable[TableRows]) -> PublishReport:
    name = service.service
    (generation,) = connection.execute("SELECT coalesce(max(generation), 0) + 1 FROM services").fetchone()
    found = load_published(connection, name)
    loaded = load_all(
        service, tables, lambda at, table: _write(connection, service.views[at], generation, at, table), all_of=True
    )
    connection.execute("DELETE FROM views WHERE service = ?", (name,))
    for position, _ in enumerate(found.record.views if found is not None else ()):
        connection.execute(f"DROP TABLE {rows_table(found.generation, position)}")  # type: ignore[union-attr]
    _record(connection, service, found, generation, loaded)
    return PublishReport(name, loaded, generation)


def _record(
    connection: sqlite3.Connection,
    service: ServiceRecord,
    found: Published | None,
    generation: int,
    loaded: dict[str, Loaded],
) -> None:
    """Says under which record the rows of a generation stand, after what was found."""
    report = json.dumps({view: one.to_dict() for view, one in loaded.items()}, sort_keys=True)
    known = (*found.record.views, *service.views) if found is not None else service.views
    schemas = dict.fromkeys((*(found.schemas if found is not None else ()), *(view.stored for view in known)))
    select = "SELECT EXISTS(SELECT 1 FROM pushed WHERE service = ?)"
    (pushed,) = connection.execute(select, (service.service,)).fetchone()
    connection.execute(
        "INSERT OR REPLACE INTO services(service, generation, record, serial, pushed, report, schemas) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            service.service,
            generation,
            service.to_json(),
            found.serial + 1 if found is not None else 1,
            pushed,
            report,
            json.dumps([schema.to_json() for schema in schemas]),
        ),
    )
    for position, view in enumerate(service.views):
        types = " ".join(loaded[view.label].key_types) if view.label in loaded else ""
        connection.execute(
            "INSERT INTO views VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET key_types = excluded.key_types "
            "WHERE excluded.key_types != ''",
            (service.service, position, types),
        )


def _write(
    connection: sqlite3.Connection, view: ViewRecord, generation: int, position: int, table: TableRows
) -> Loaded:
    rows = rows_table(generation, position)
    connection.execute(f"CREATE TABLE {rows}(key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL)")
    loaded = Loaded()
    for chunk in Progress(view.label).over(table.chunks(view)):
        try:
            connection.executemany(f"INSERT INTO {rows} VALUES (?, ?)", chunk.rows)
        except sqlite3.IntegrityError as fault:
            raise SchemaError(
                f"view {view.label!r}: two rows have the same {', '.join(view.keys)}.\n"
                f"Hint: publish the newest row of each key only, or rows of one key one behind the other."
            ) from fault
        loaded += chunk.counted()
    return loaded


def _upsert(connection: sqlite3.Connection, rows: str, chunks: Iterable[Chunk]) -> Loaded:
    """Values of later Delta versions in place of earlier ones; the first eight bytes are that version."""
    statement = (
        f"INSERT INTO {rows} VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value "
        f"WHERE substr(excluded.value, 1, 8) >= substr({rows}.value, 1, 8)"
    )
    loaded = Loaded()
    for chunk in Progress(rows).over(chunks):
        connection.executemany(statement, chunk.rows)
        loaded += chunk.counted()
    return loaded
