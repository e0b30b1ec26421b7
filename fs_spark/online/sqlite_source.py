"""The online SQLite file as readers see it: its marks, its tables, and consistent snapshots of it."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fs_spark.errors import RequestError
from fs_spark.online.records import Published, ServiceRecord

APPLICATION_ID: Final = 0x66735F31
FORMAT: Final = 1
KEYS_PER_STATEMENT: Final = 500
_EXPORT_HINT: Final = "Hint: run `fs-spark export` first, or check the online URL."


def rows_table(generation: int, position: int) -> str:
    """The table with the rows of one view (by its place in the service) of one publication."""
    return f"rows_{generation}_{position}"


def is_marked(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the file is an online store; False for an empty database.

    Raises  RequestError for a file of something else, or of another format
    """
    try:
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as fault:
        if isinstance(fault, sqlite3.OperationalError):
            raise
        raise RequestError(f"{path} is not a SQLite file: {fault}.\nHint: check the online URL.") from fault
    if mark == APPLICATION_ID and version == FORMAT:
        return True
    if mark == APPLICATION_ID:
        raise RequestError(
            f"{path} has format {version}, this fs_spark reads {FORMAT}.\nHint: remove the file and export again."
        )
    if tables:
        raise RequestError(f"{path} is a SQLite file, but not an online store.\nHint: check the online URL.")
    return False


def open_read_only(path: Path, *, timeout_s: float = 5.0) -> sqlite3.Connection:
    """A connection that can write nothing and makes no file. Raises  RequestError"""
    if not path.is_file():
        raise RequestError(f"there is no online store at {path}.\n{_EXPORT_HINT}")
    uri = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    try:
        marked = is_marked(connection, path)
    except sqlite3.OperationalError as fault:
        connection.close()
        raise RequestError(
            f"{path} cannot be opened: {fault}.\n"
            f"Hint: the reader needs the right to write in its folder, where SQLite keeps the index of the WAL."
        ) from fault
    except RequestError:
        connection.close()
        raise
    if not marked:
        connection.close()
        raise RequestError(f"{path} holds no published service yet.\n{_EXPORT_HINT}")
    return connection


@dataclass
class SqliteSnapshot:
    """One state of the file, whatever is published meanwhile."""

    _connection: sqlite3.Connection
    _known: dict[str, Published]

    def published(self, service: str) -> Published | None:
        select = "SELECT generation FROM services WHERE service = ?"
        row = self._connection.execute(select, (service,)).fetchone()
        if row is None:
            return None
        known = self._known.get(service)
        if known is None or known.generation != row[0]:
            known = self._known[service] = self._load(service)
        return known

    def _load(self, service: str) -> Published:
        select = "SELECT generation, record FROM services WHERE service = ?"
        generation, record = self._connection.execute(select, (service,)).fetchone()
        select = "SELECT key_types FROM views WHERE service = ? ORDER BY position"
        key_types = tuple(tuple(row[0].split()) for row in self._connection.execute(select, (service,)))
        return Published(ServiceRecord.from_json(record), generation, key_types)

    def rows(self, published: Published, position: int, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The stored rows of those keys that the view has."""
        found: dict[bytes, bytes] = {}
        table = rows_table(published.generation, position)
        for start in range(0, len(keys), KEYS_PER_STATEMENT):
            some = keys[start : start + KEYS_PER_STATEMENT]
            select = f"SELECT key, value FROM {table} WHERE key IN ({','.join('?' * len(some))})"
            found.update(self._connection.execute(select, some).fetchall())
        return found


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

    def __post_init__(self) -> None:
        self._idle.append(open_read_only(self.path))  # a missing file is told here, not at the first request

    def services(self) -> list[str]:
        with self._connection() as connection:
            return [row[0] for row in connection.execute("SELECT service FROM services ORDER BY service")]

    @contextmanager
    def snapshot(self) -> Iterator[SqliteSnapshot]:
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield SqliteSnapshot(connection, self._known)
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if self._closed:
            raise RequestError("this reader is closed.\nHint: open another with `open_online`.")
        if self._pid != os.getpid():
            self._pid, self._set_aside, self._idle = os.getpid(), [*self._set_aside, *self._idle], deque()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = open_read_only(self.path)
        try:
            yield connection
        finally:
            self._idle.append(connection)
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
