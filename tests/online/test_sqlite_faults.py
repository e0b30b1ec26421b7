"""A disk that is full, and files that an earlier fs_spark wrote."""

from __future__ import annotations

import dataclasses
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fs_spark.errors import OnlineStoreError, RequestError
from fs_spark.online import open_online
from fs_spark.online.batches import chunks
from fs_spark.online.protocol import Pushed
from fs_spark.online.sqlite import SqliteOnline
from fs_spark.online.values import HEAD
from tests.online.contract.kinds import SERVICE, at_version, many, pushed, reading, readings, xs
from tests.online.samples import DEVICE, few_rows

ONE = {"lot_id": "L1", "wafer_id": "W1", "die_x": 0, "die_y": 0}


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """As on a disk that is full: what would make a file larger fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_keeps_what_was_published(tmp_path: Path) -> None:
    store = SqliteOnline(tmp_path / "online.db")
    store.publish(SERVICE, many(SERVICE, 1000, 1.0))
    record = at_version(SERVICE, 2)
    with (
        no_file_beyond(store.path.stat().st_size + 200_000),
        pytest.raises(OnlineStoreError, match=r"cannot be written: .* What was published stands") as fault,
    ):
        store.publish(record, many(record, 40_000, 2.0))
    assert "Hint: an export needs room" in str(fault.value)
    url = f"sqlite:///{store.path}"
    assert xs(url, ["k0", "k999", "k1000"]) == [1.0, 1.0, None]
    store.publish(record, many(record, 1200, 3.0))
    assert xs(url, ["k0", "k1199"]) == [3.0, 3.0]


def test_a_disk_that_is_full_at_any_moment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log was committed and the file itself has no room: then the new rows are in force, and it is no fault."""
    store = SqliteOnline(tmp_path / "online.db")
    url = f"sqlite:///{store.path}"
    outcomes = set()
    for version, size in enumerate(range(150_000, 900_000, 25_000)):
        for path in tmp_path.iterdir():
            path.unlink()
        store.publish(SERVICE, many(SERVICE, 1000, -1.0))
        record = at_version(SERVICE, version)
        caplog.clear()
        with no_file_beyond(size):
            try:
                store.publish(record, many(record, 4000, float(version)))
                outcome = "published, log kept" if "the WAL stays" in caplog.text else "published"
            except OnlineStoreError:
                outcome = "refused"
        outcomes.add(outcome)
        assert xs(url, ["k0", "k3999"]) == ([-1.0, None] if outcome == "refused" else [float(version)] * 2), size
    assert outcomes == {"refused", "published, log kept", "published"}


def test_a_file_that_may_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteOnline(tmp_path / "online.db")
    store.publish(SERVICE, many(SERVICE, 100, 1.0))
    based_on = store.published(SERVICE.service)
    assert based_on is not None
    prepare = SqliteOnline._prepare

    def small(self: SqliteOnline, connection: sqlite3.Connection) -> None:
        prepare(self, connection)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages + 2}")

    monkeypatch.setattr(SqliteOnline, "_prepare", small)
    record = at_version(SERVICE, 2)
    rows: list[Pushed] = [pushed(f"p{i}", 1.0, event=1) for i in range(5000)]
    with pytest.raises(OnlineStoreError, match="full") as fault:
        store.publish(record, many(record, 5000, 2.0))
    assert "Hint: an export needs room" in str(fault.value)
    with pytest.raises(OnlineStoreError, match="full"):
        store.update(record, many(record, 5000, 2.0), based_on=based_on)
    with pytest.raises(OnlineStoreError, match="full"):
        store.push(based_on, rows, expires_s=60)
    monkeypatch.undo()
    assert xs(f"sqlite:///{store.path}", ["k0", "k100", "p0"]) == [1.0, None, None]
    assert store.published(SERVICE.service).record == SERVICE  # type: ignore[union-attr]


def format_1(path: Path) -> None:
    """A file as the code before layouts wrote it: values without heads, records that name no layout."""
    record = dataclasses.replace(DEVICE, layout=1)
    assert "layout" not in record.to_json()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size=16384")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in (
            "CREATE TABLE services(service TEXT PRIMARY KEY, generation INTEGER NOT NULL, record TEXT NOT NULL)",
            "CREATE TABLE views(service TEXT NOT NULL, position INTEGER NOT NULL, key_types TEXT NOT NULL, "
            "PRIMARY KEY(service, position))",
            "PRAGMA application_id=1718837041",
            "PRAGMA user_version=1",
        ):
            connection.execute(statement)
        for at, (view, table) in enumerate(zip(record.views, few_rows(record), strict=True)):
            connection.execute(f"CREATE TABLE rows_1_{at}(key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL)")
            for chunk in chunks(view, table.batches):
                plain = [(key, value[HEAD.size :]) for key, value in chunk.rows]
                connection.executemany(f"INSERT INTO rows_1_{at} VALUES (?, ?)", plain)
            types = " ".join(chunk.key_types)
            connection.execute("INSERT INTO views VALUES (?, ?, ?)", (record.service, at, types))
        connection.execute("INSERT INTO services VALUES (?, 1, ?)", (record.service, record.to_json()))
        connection.execute("COMMIT")


def test_a_file_of_format_1_is_read_and_becomes_one_of_format_2(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    format_1(path)
    store = SqliteOnline(path)
    url = f"sqlite:///{path}"
    keys: list[dict[str, Any]] = [ONE, {**ONE, "die_x": 1, "die_y": 11}, {**ONE, "lot_id": "L2"}]
    expected = [(1, 4), (None, 4), (None, None)]

    with open_online(url) as reader:

        def answers() -> list[tuple[object, object]]:
            return [(one["bin"], one["wafers_done"]) for one in reader.get(DEVICE.service, keys)]

        assert answers() == expected
        found = store.published(DEVICE.service)
        assert found is not None
        assert (found.record.layout, found.generation, found.serial, found.pushed) == (1, 1, 0, False)
        assert {key for some in store.keys_of(found, 1) for key in some} == {b"s\x02\0\0\0L1"}
        assert not found.record.grows_into(DEVICE)
        store.publish(
            SERVICE, readings(SERVICE, [reading("a", 1.0)])
        )  # of another service: the file is of format 2 now
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert answers() == expected
        assert xs(url, ["a"]) == [1.0]
        store.publish(DEVICE, few_rows(DEVICE, wafers_done=5))
        assert answers() == [(1, 5), (None, 5), (None, None)]
    assert store.published(DEVICE.service).record.layout == 2  # type: ignore[union-attr]
    with closing(sqlite3.connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'rows%'")}
    assert tables == {"rows_2_0", "rows_3_0", "rows_3_1"}


def test_a_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    store = SqliteOnline(tmp_path / "online.db")
    store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0)]))
    with closing(sqlite3.connect(store.path)) as connection:
        connection.execute("PRAGMA user_version=3")
    for action in (lambda: open_online(f"sqlite:///{store.path}"), lambda: store.publish(SERVICE, [])):
        with pytest.raises(RequestError, match="has format 3") as fault:
            action()
        assert "Hint: install the newer fs_spark" in str(fault.value)
