"""The online SQLite file as readers see it: its marks, its tables, and consistent reads of it."""

from __future__ import annotations

import functools
import json
import os
import sqlite3
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fs_spark.errors import OnlineStoreError, RequestError
from fs_spark.online.codec import RowSchema
from fs_spark.online.protocol import Found, Wanted
from fs_spark.online.records import Published, ServiceRecord
from fs_spark.online.threaded import ThreadedSource

APPLICATION_ID: Final = 0x66735F31
FORMAT: Final = 2
KEYS_PER_STATEMENT: Final = 500
_EXPORT_HINT: Final = "Hint: run `fs-spark export` first, or check the online URL."
_CHECK: Final = -1
"""Where the place of a view stands: the row says which publication is in force."""


def sqlite_path(url: str) -> Path:
    """The file that a ``sqlite:///`` URL names, as an absolute path. Raises  RequestError"""
    scheme, _, rest = url.partition("://")
    if scheme != "sqlite":
        raise RequestError(f"{url!r} is no SQLite URL.\nHint: it looks like sqlite:///online.db.")
    if len(rest) < 2 or not rest.startswith("/") or rest == "/:memory:":
        raise RequestError(
            f"'sqlite://{rest}' names no file.\n"
            f"Hint: three slashes before a relative path (sqlite:///online.db), four before an absolute one."
        )
    return Path(rest[1:]).absolute()


def rows_table(generation: int, position: int) -> str:
    """The table with the rows of one view (by its place in the service) of one publication."""
    return f"rows_{generation}_{position}"


def format_of(connection: sqlite3.Connection, path: Path) -> int:
    """The format of an online store; 0 for an empty database.

    Raises  RequestError for a file of something else, or of a newer format
    """
    try:
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as fault:
        if isinstance(fault, sqlite3.OperationalError):
            raise
        raise RequestError(f"{path} is not a SQLite file: {fault}.\nHint: check the online URL.") from fault
    if mark == APPLICATION_ID and 1 <= version <= FORMAT:
        return int(version)
    if mark == APPLICATION_ID:
        raise RequestError(
            f"{path} has format {version}, this fs_spark reads up to {FORMAT}.\n"
            f"Hint: install the newer fs_spark here too, or remove the file and export again."
        )
    if tables:
        raise RequestError(f"{path} is a SQLite file, but not an online store.\nHint: check the online URL.")
    return 0


def open_read_only(path: Path, *, timeout_s: float = 5.0) -> sqlite3.Connection:
    """A connection that can write nothing and makes no file. Raises  RequestError"""
    if not path.is_file():
        raise RequestError(f"there is no online store at {path}.\n{_EXPORT_HINT}")
    uri = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        found = format_of(connection, path)
    except sqlite3.OperationalError as fault:
        connection.close()
        raise RequestError(
            f"{path} cannot be opened: {fault}.\n"
            f"Hint: the reader needs the right to write in its folder, where SQLite keeps the index of the WAL."
        ) from fault
    except RequestError:
        connection.close()
        raise
    if not found:
        connection.close()
        raise RequestError(f"{path} holds no published service yet.\n{_EXPORT_HINT}")
    return connection


def load_published(connection: sqlite3.Connection, service: str) -> Published | None:
    """What is published under a name now."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(services)")}
    if not columns:
        return None
    told = "serial, pushed, report, schemas" if "serial" in columns else "0, 0, '{}', '[]'"  # a file of format 1
    select = f"SELECT generation, record, {told} FROM services WHERE service = ?"
    row = connection.execute(select, (service,)).fetchone()
    if row is None:
        return None
    generation, record, serial, pushed, report, schemas = row
    select = "SELECT key_types FROM views WHERE service = ? ORDER BY position"
    key_types = tuple(tuple(row[0].split()) for row in connection.execute(select, (service,)))
    found = ServiceRecord.from_json(record)
    told_schemas = tuple(RowSchema.from_json(text) for text in json.loads(schemas))
    return Published(found, generation, key_types, serial, bool(pushed), json.loads(report), told_schemas)


@functools.lru_cache(maxsize=256)
def _statement(published: Published, wanted: tuple[tuple[int, int], ...]) -> str:
    """One statement, and so one state of the file: which publication is in force, and the rows."""
    serial = "serial" if published.serial else "0"
    parts = [f"SELECT {_CHECK}, generation, {serial} FROM services WHERE service = ?"]
    for position, count in wanted:
        if count:
            table = rows_table(published.generation, position)
            parts.append(f"SELECT {position}, key, value FROM {table} WHERE key IN ({','.join('?' * count)})")
    return " UNION ALL ".join(parts)


@dataclass
class SqliteSource:
    """Snapshots for any number of threads: each takes an idle connection, or opens one, and puts it back.

    Connections must not be used across a fork (sqlite.org/howtocorrupt.html, 2.6): a child sets its parent's aside.
    """

    path: Path
    _idle: deque[sqlite3.Connection] = field(default_factory=deque)
    _set_aside: list[sqlite3.Connection] = field(default_factory=list)
    _known: dict[str, Published] = field(default_factory=dict)
    _pid: int = field(default_factory=os.getpid)
    _closed: bool = False
    _opened: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self._idle.append(open_read_only(self.path))  # a missing file is told here, not at the first request
        self._opened = self._file()

    def services(self) -> list[str]:
        with self._connection() as connection:
            return [row[0] for row in connection.execute("SELECT service FROM services ORDER BY service")]

    def published(self, service: str) -> Published | None:
        """What is published under a name; what was found before, until `rows` says that it is not in force."""
        known = self._known.get(service)
        if known is None:
            with self._connection() as connection:
                try:
                    known = load_published(connection, service)
                except sqlite3.OperationalError as fault:
                    raise self._refused(fault) from fault
            if known is not None:
                self._known[service] = known
        return known

    def rows(self, published: Published, wanted: Wanted) -> list[Found] | None:
        """For each wanted view what is stored; None where the publication is not in force any more."""
        asked: list[object] = [published.record.service]
        for _, keys in wanted:
            asked += keys
        connection = self._taken()  # `_connection` takes two microseconds, of twenty
        try:
            if len(asked) <= KEYS_PER_STATEMENT and not published.pushed:
                found = self._at_once(connection, published, wanted, asked)
            else:
                found = self._in_transaction(connection, published, wanted)
        except sqlite3.OperationalError as fault:
            if "no such table" not in str(fault):
                raise self._refused(fault) from fault
            found = None
        finally:
            self._given_back(connection)
        if found is None:
            self._known.pop(published.record.service, None)
        return found

    def _at_once(
        self, connection: sqlite3.Connection, published: Published, wanted: Wanted, asked: Sequence[object]
    ) -> list[Found] | None:
        """By one statement, whose parameters are the service and all keys."""
        statement = _statement(published, tuple([(position, len(keys)) for position, keys in wanted]))
        told = connection.execute(statement, asked).fetchall()
        if not told or told[0] != (_CHECK, published.generation, published.serial):
            return None
        rows: dict[int, dict[bytes, bytes]] = {position: {} for position, _ in wanted}
        for position, key, value in told[1:]:
            rows[position][key] = value
        return [Found(rows[position], {}) for position, _ in wanted]

    def _in_transaction(
        self, connection: sqlite3.Connection, published: Published, wanted: Wanted
    ) -> list[Found] | None:
        connection.execute("BEGIN")
        try:
            if self._at_once(connection, published, (), [published.record.service]) is None:
                return None
            return [self._found(connection, published, position, keys) for position, keys in wanted]
        finally:
            connection.execute("ROLLBACK")

    def _found(
        self, connection: sqlite3.Connection, published: Published, position: int, keys: Sequence[bytes]
    ) -> Found:
        found = Found({}, {})
        table, label = rows_table(published.generation, position), published.record.views[position].label
        for start in range(0, len(keys), KEYS_PER_STATEMENT):
            some = keys[start : start + KEYS_PER_STATEMENT]
            marks = ",".join("?" * len(some))
            found.rows.update(  # type: ignore[attr-defined]
                connection.execute(f"SELECT key, value FROM {table} WHERE key IN ({marks})", some).fetchall()
            )
            if published.pushed:
                select = f"SELECT key, value FROM pushed WHERE service = ? AND label = ? AND key IN ({marks}) "
                asked = (published.record.service, label, *some, time.time_ns() // 1000)
                found.pushed.update(  # type: ignore[attr-defined]
                    connection.execute(select + "AND expires_us > ?", asked).fetchall()
                )
        return found

    def _refused(self, fault: sqlite3.OperationalError) -> OnlineStoreError:
        return OnlineStoreError(f"{self.path} cannot be read: {fault}.\nHint: is its disk there, and sound?")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = self._taken()
        try:
            yield connection
        finally:
            self._given_back(connection)

    def _taken(self) -> sqlite3.Connection:
        if self._closed:
            raise RequestError("this reader is closed.\nHint: open another with `open_online`.")
        if self._pid != os.getpid():
            self._pid, self._set_aside, self._idle = os.getpid(), [*self._set_aside, *self._idle], deque()
        file = self._file()
        if file != self._opened:  # it was removed and made again
            self._opened, self._idle = file, deque()
            self._known.clear()
        try:
            return self._idle.pop()
        except IndexError:
            return open_read_only(self.path)

    def _file(self) -> tuple[int, int]:
        """Which file it is. Raises  OnlineStoreError"""
        try:
            found = os.stat(self.path)
        except OSError as fault:
            raise OnlineStoreError(f"{self.path} cannot be read: {fault.strerror}.\n{_EXPORT_HINT}") from fault
        return found.st_dev, found.st_ino

    def _given_back(self, connection: sqlite3.Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self._close_idle_if_closed()

    def close(self) -> None:
        self._closed = True
        self._close_idle_if_closed()

    def _close_idle_if_closed(self) -> None:  # also for a connection that came back after `close`
        while self._closed:
            try:
                self._idle.pop().close()
            except IndexError:
                return


def open_source(url: str) -> SqliteSource:
    return SqliteSource(sqlite_path(url))


def open_async_source(url: str) -> ThreadedSource:
    return ThreadedSource(open_source(url))


def is_published(url: str) -> bool:
    """Whether there is a file with something in it."""
    path = sqlite_path(url)
    return path.is_file() and path.stat().st_size > 0
