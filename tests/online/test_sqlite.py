"""Publishing replaces a service as one step, or not at all."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from fs_spark.errors import FeatureNotFoundError, RequestError, SchemaError, TableConflictError
from fs_spark.online import open_online
from fs_spark.online.batches import ViewRows
from fs_spark.online.records import ServiceRecord
from fs_spark.online.sqlite import SqliteOnline
from tests.online.samples import DEVICE, DIES, LOTS, at_version, die_batch, few_rows, lot_batch, many_dies, rows_of

ONE = {"lot_id": "L1", "wafer_id": "W1", "die_x": 0, "die_y": 0}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> SqliteOnline:
    return SqliteOnline(tmp_path / "online.db")


def answer(store: SqliteOnline, service: str = "device_v1") -> dict[str, object]:
    with open_online(f"sqlite:///{store.path}") as reader:
        return reader.get(service, [ONE])[0]


def test_the_report_counts_rows_and_keys_that_are_null(store: SqliteOnline) -> None:
    batch = die_batch([("L1", "W1", 0, 0, None, None, 1.0, 1, None), ("L1", "W1", None, 0, None, None, 2.0, 1, None)])
    report = store.publish(DEVICE, [rows_of(LOTS, []), rows_of(DIES, [batch])])
    assert report.rows == {"dies__v1.0": 1, "lots__v2.1": 0}
    assert report.without_key == {"dies__v1.0": 1, "lots__v2.1": 0}


def test_a_second_publication_replaces_the_first(store: SqliteOnline) -> None:
    store.publish(DEVICE, few_rows(DEVICE))
    newer = at_version(DEVICE, 9)
    store.publish(newer, [rows_of(newer.views[0], [die_batch([])]), *list(few_rows(newer, wafers_done=5))[1:]])
    assert answer(store)["wafers_done"] == 5
    assert answer(store)["bin"] is None
    with closing(sqlite3.connect(store.path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"services", "views", "pushed", "rows_2_0", "rows_2_1"}


def test_two_services_pin_two_versions_of_one_view(store: SqliteOnline) -> None:
    other = at_version(DEVICE, 8, "device_v2")
    store.publish(DEVICE, few_rows(DEVICE, wafers_done=1))
    store.publish(other, few_rows(other, wafers_done=2))
    store.publish(DEVICE, few_rows(DEVICE, wafers_done=3))
    assert answer(store)["wafers_done"] == 3
    assert answer(store, "device_v2")["wafers_done"] == 2


def test_only_the_same_record_is_current(store: SqliteOnline) -> None:
    assert not store.is_current(DEVICE)
    assert not store.path.exists()
    store.publish(DEVICE, few_rows(DEVICE))
    assert store.is_current(DEVICE)
    assert not store.is_current(at_version(DEVICE, 9))
    assert not store.is_current(at_version(DEVICE, 3, "device_v2"))
    assert not store.is_current(ServiceRecord("device_v1", DEVICE.views[:1]))


def interrupted() -> Iterator[pa.RecordBatch]:
    yield die_batch([("L1", "W1", 0, 0, 0, 0, 99.0, 99, None)])
    raise OSError("the table went away")


def dies_only() -> Iterator[ViewRows]:
    yield rows_of(DIES, [die_batch([("L1", "W1", 0, 0, 0, 0, 99.0, 99, None)])])


@pytest.mark.parametrize(
    ("tables", "error", "text"),
    [
        (lambda: [rows_of(DIES, interrupted())], OSError, "went away"),
        (dies_only, SchemaError, "no rows were given for lots__v2.1"),
        (lambda: [*dies_only(), *dies_only()], SchemaError, "given twice"),
        (lambda: [rows_of(at_version(DEVICE, 9).views[0], [])], SchemaError, "delta_version 3, the rows have 9"),
        (lambda: [ViewRows("other", ("lot_id",), LOTS.schema, 5, [])], SchemaError, "has no view 'other'"),
        (
            lambda: [rows_of(LOTS, [lot_batch([("L1", 0, 0, 1, "a")]), lot_batch([("L1", 0, 0, 2, "b")])])],
            SchemaError,
            "two rows have the same lot_id",
        ),
    ],
    ids=["source fails", "view missing", "view twice", "other version", "other view", "key twice"],
)
def test_a_publication_that_fails_changes_nothing(
    store: SqliteOnline, tables: Callable[[], list[ViewRows]], error: type[Exception], text: str
) -> None:
    store.publish(DEVICE, few_rows(DEVICE))
    before = answer(store)
    with pytest.raises(error, match=text):
        store.publish(DEVICE, tables())
    assert answer(store) == before
    assert before["bin"] == 1


KILLED_CHILD = """
import sys, time
from fs_spark.online.sqlite import SqliteOnline
from tests.online.samples import DEVICE, at_version, many_dies, rows_of, few_rows
record = at_version(DEVICE, 9)
def batches():
    yield from many_dies(20_000, value=99.0)
    print("middle", flush=True)
    time.sleep(60)
from fs_spark.online import sqlite
prepare = SqliteOnline._prepare
def small_cache(self, connection):
    prepare(self, connection)
    connection.execute("PRAGMA cache_size=-100")  # so that rows reach the disk before the kill
SqliteOnline._prepare = small_cache
SqliteOnline(sys.argv[1]).publish(record, [rows_of(record.views[0], batches())])
"""


def test_a_writer_killed_in_the_middle_leaves_the_old_rows(store: SqliteOnline) -> None:
    store.publish(DEVICE, few_rows(DEVICE))
    before = answer(store)
    command = [sys.executable, "-c", KILLED_CHILD, str(store.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "middle\n"
        assert answer(store) == before  # while it writes, too
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert Path(f"{store.path}-wal").stat().st_size > 500_000  # the rows of the dead writer
    assert answer(store) == before
    assert store.is_current(DEVICE)
    newer = at_version(DEVICE, 10)
    store.publish(newer, few_rows(newer, wafers_done=6))
    assert answer(store)["wafers_done"] == 6


def test_a_first_writer_killed_in_the_middle_leaves_nothing_published(store: SqliteOnline) -> None:
    command = [sys.executable, "-c", KILLED_CHILD, str(store.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "middle\n"
        child.send_signal(signal.SIGKILL)
    with pytest.raises(RequestError, match="no published service yet"):
        open_online(f"sqlite:///{store.path}")
    store.publish(DEVICE, few_rows(DEVICE))
    assert answer(store)["bin"] == 1


def test_an_open_reader_sees_whole_publications_only(store: SqliteOnline) -> None:
    """The rows of both views carry the publication's number; an answer never mixes two."""

    def tables(number: int) -> Iterator[ViewRows]:
        yield rows_of(DIES, many_dies(2_000, value=float(number), rows=500))
        yield rows_of(LOTS, [lot_batch([("L1", 0, 0, number, None)])])

    store.publish(DEVICE, tables(0))
    mixed: list[object] = []
    seen: set[object] = set()
    stop = threading.Event()

    def read() -> None:
        with open_online(f"sqlite:///{store.path}") as reader:
            while not stop.is_set():
                for one in reader.get("device_v1", [ONE, {**ONE, "die_x": 1999, "die_y": -1999}]):
                    seen.add(one["wafers_done"])
                    if one["wafers_done"] != one["fail__neighbor_frac"]:
                        mixed.append(one)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(1, 15):
        store.publish(DEVICE, tables(number))
    stop.set()
    for reader in readers:
        reader.join()
    assert not mixed
    assert len(seen) > 2


def test_a_second_writer_waits_then_gives_up(store: SqliteOnline) -> None:
    store.publish(DEVICE, few_rows(DEVICE))
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TableConflictError, match="another writer"):
            SqliteOnline(store.path, busy_timeout_s=0.1).publish(DEVICE, few_rows(DEVICE))
    assert answer(store)["bin"] == 1


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine(a)")
    before = path.read_bytes()
    with pytest.raises(RequestError, match="not an online store"):
        SqliteOnline(path).publish(DEVICE, few_rows(DEVICE))
    assert path.read_bytes() == before
    assert not SqliteOnline(path).is_current(DEVICE)
    path.write_bytes(b"this is text, and no database at all" * 100)
    with pytest.raises(RequestError, match="not a SQLite file"):
        SqliteOnline(path).publish(DEVICE, few_rows(DEVICE))


def test_rows_are_streamed(store: SqliteOnline) -> None:
    """A batch is asked for only after the one before it is stored and let go."""
    alive_before = pa.total_allocated_bytes()
    most = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal most
        for batch in many_dies(60_000, value=1.0, rows=3_000):
            yield batch
            most = max(most, pa.total_allocated_bytes() - alive_before)

    store.publish(DEVICE, [rows_of(DIES, batches()), rows_of(LOTS, [])])
    assert most < 3 * die_batch([("L1", "W1", 0, 0, 0, 0, 1.0, 1, None)] * 3_000).nbytes


def test_a_folder_is_made_and_a_path_is_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteOnline(os.path.join("a", "b", "online.db"))
    monkeypatch.chdir("/")
    store.publish(DEVICE, few_rows(DEVICE))
    assert (tmp_path / "a" / "b" / "online.db").exists()
    with pytest.raises(FeatureNotFoundError):
        answer(store, "device_v9")
