"""Features by key, from a published file."""

from __future__ import annotations

import dataclasses
import math
import os
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fs_spark.errors import FeatureNotFoundError, OnlineStoreError, RequestError, SchemaError
from fs_spark.online import OnlineReader, open_online
from fs_spark.online.codec import RowSchema
from fs_spark.online.records import ServiceRecord, ViewRecord
from fs_spark.online.sqlite import SqliteOnline
from fs_spark.online.sqlite_source import sqlite_path
from tests.online.samples import DEVICE, DIES, LOTS, at_version, few_rows, lot_batch, many_dies, rows_of

ONE = {"lot_id": "L1", "wafer_id": "W1", "die_x": 0, "die_y": 0}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = SqliteOnline(tmp_path / "online.db")
    store.publish(DEVICE, few_rows(DEVICE))
    return store.path


@pytest.fixture
def reader(path: Path) -> Iterator[OnlineReader]:
    with open_online(f"sqlite:///{path}") as reader:
        yield reader


def test_answers_come_in_order_with_keys_and_features(reader: OnlineReader) -> None:
    keys = [{**ONE, "die_x": 11, "die_y": 1}, {**ONE, "die_x": 1, "die_y": 11}, ONE, {**ONE, "lot_id": "L2"}, ONE]
    found = reader.get("device_v1", keys)
    lot = {"wafers_done": 4, "tester": "µFlex"}
    first = {**ONE, "fail__neighbor_frac": -0.0, "bin": 1, **lot}
    first["seen_at"] = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    nothing = dict.fromkeys(["fail__neighbor_frac", "bin", "seen_at", "wafers_done", "tester"])
    assert found == [
        {**keys[0], "fail__neighbor_frac": None, "bin": 7, "seen_at": None, **lot},
        {**keys[1], "fail__neighbor_frac": 0.25, "bin": None, "seen_at": None, **lot},
        first,
        {**keys[3], **nothing},
        first,
    ]
    assert math.copysign(1.0, found[2]["fail__neighbor_frac"]) == -1.0  # type: ignore[arg-type]
    assert reader.get("device_v1", []) == []


def test_some_features_in_the_order_asked(reader: OnlineReader) -> None:
    (found,) = reader.get("device_v1", [ONE], ["wafers_done", "bin"])
    assert list(found) == [*ONE, "wafers_done", "bin"]
    assert reader.get("device_v1", [ONE], []) == [ONE]


def test_times_are_aware_utc(reader: OnlineReader) -> None:
    (found,) = reader.get("device_v1", [ONE], with_times=True)
    assert found["dies__v1.0__event_timestamp"] == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert found["lots__v2.1__event_timestamp"] == datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)
    (found,) = reader.get("device_v1", [{**ONE, "lot_id": "L2"}], ["tester"], with_times=True)
    assert found == {**ONE, "lot_id": "L2", "tester": None, "lots__v2.1__event_timestamp": None}


def test_null_keys_match_nothing_but_their_other_views(reader: OnlineReader) -> None:
    (found,) = reader.get("device_v1", [{**ONE, "die_x": None}], ["bin", "wafers_done"])
    assert (found["bin"], found["wafers_done"]) == (None, 4)


def test_own_columns_are_kept_and_the_key_untouched(reader: OnlineReader) -> None:
    key = {**ONE, "note": "mine"}
    (found,) = reader.get("device_v1", [key], ["bin"])
    assert found == {**ONE, "note": "mine", "bin": 1}
    assert key == {**ONE, "note": "mine"}


def test_answers_do_not_depend_on_what_else_is_asked(reader: OnlineReader) -> None:
    more = {**ONE, "die_x": 1, "die_y": 11}
    turned = dict(reversed(more.items()))
    keys = [ONE, more, turned, {**ONE, "note": "µ"}, {**ONE, "wafer_id": None}, {**more, "die_x": np.int16(1)}]
    for some in (keys, keys[:2], keys[:3], keys[3:], tuple(keys)):
        found = reader.get("device_v1", some)
        assert found == [reader.get("device_v1", [key])[0] for key in some]
        assert [list(answer)[: len(key)] for key, answer in zip(some, found, strict=True)] == [list(k) for k in some]


def test_names_may_hold_what_python_reads_otherwise(tmp_path: Path) -> None:
    names = ["it's", 'a "b"', "back\\slash", "two\nlines", "µ", "{x}", "]"]
    view = dataclasses.replace(LOTS, features=tuple((name, LOTS.schema.names[i % 2]) for i, name in enumerate(names)))
    record = ServiceRecord("odd", (view,))
    batch = lot_batch([("L1", 5_000_000, 5_000_000, 4, "µFlex")])
    SqliteOnline(tmp_path / "odd.db").publish(record, [rows_of(view, [batch])])
    with open_online(f"sqlite:///{tmp_path / 'odd.db'}") as odd:
        values = {name: (4, "µFlex")[i % 2] for i, name in enumerate(names)}
        assert odd.get("odd", [{"lot_id": "L1"}]) == [{"lot_id": "L1", **values}]
        assert odd.get("odd", [{"lot_id": "L1"}], names[:1]) == [{"lot_id": "L1", "it's": 4}]


def test_numpy_integers_are_keys(reader: OnlineReader) -> None:
    (found,) = reader.get("device_v1", [{**ONE, "die_x": np.int16(11), "die_y": np.int64(1)}], ["bin"])
    assert found["bin"] == 7


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ([ONE, {"lot_id": "L1", "die_x": 0, "die_y": 0}], "key 1 lacks wafer_id; found lot_id, die_x, die_y"),
        ([{}], "found nothing"),
        ([{**ONE, "die_x": 0.0}], "key 0, column 'die_x': a key is text or an integer, found 0.0"),
        ([{**ONE, "die_y": False}], "column 'die_y': .* found False"),
        ([{**ONE, "die_x": "0"}], "column 'die_x' is integer, found '0'"),
        ([{**ONE, "lot_id": 1}], "column 'lot_id' is string, found 1"),
        ([{**ONE, "bin": 3}], "has bin, as the answer has"),
        (["L1"], "key 0 is 'L1'"),
        (ONE, "list of dicts"),
        ("L1", "list of dicts"),
    ],
)
def test_a_key_that_cannot_be_looked_up_is_refused(reader: OnlineReader, keys: Any, text: str) -> None:
    with pytest.raises(RequestError, match=text) as fault:
        reader.get("device_v1", keys)
    assert "Hint: " in str(fault.value)


def test_a_missing_column_is_refused_for_features_of_other_views_too(reader: OnlineReader) -> None:
    with pytest.raises(RequestError, match="lacks wafer_id, die_x, die_y"):
        reader.get("device_v1", [{"lot_id": "L1"}], ["wafers_done"])


def test_unknown_names_come_with_the_nearest(reader: OnlineReader) -> None:
    with pytest.raises(FeatureNotFoundError, match="did you mean 'device_v1'"):
        reader.get("device_v2", [ONE])
    with pytest.raises(FeatureNotFoundError, match="did you mean 'device_v1'"):
        reader.describe("devicev1")
    with pytest.raises(FeatureNotFoundError, match="did you mean 'wafers_done'"):
        reader.get("device_v1", [ONE], ["wafer_done"])
    with pytest.raises(RequestError, match=r"pass \['bin'\]"):
        reader.get("device_v1", [ONE], "bin")


def test_services_and_their_records(reader: OnlineReader, path: Path) -> None:
    SqliteOnline(path).publish(at_version(DEVICE, 8, "a_device"), few_rows(at_version(DEVICE, 8)))
    assert reader.services() == ["a_device", "device_v1"]
    assert reader.describe("device_v1") == DEVICE
    assert reader.describe("a_device") == at_version(DEVICE, 8, "a_device")


def test_an_open_reader_follows_the_next_publication(reader: OnlineReader, path: Path) -> None:
    assert reader.get("device_v1", [ONE])[0]["wafers_done"] == 4
    slim = ServiceRecord("device_v1", (LOTS,))
    SqliteOnline(path).publish(slim, [rows_of(LOTS, [lot_batch([("L1", 0, 0, 5, None)])])])
    assert reader.get("device_v1", [{"lot_id": "L1"}]) == [{"lot_id": "L1", "wafers_done": 5, "tester": None}]


def test_many_keys_take_few_statements(path: Path) -> None:
    SqliteOnline(path).publish(DEVICE, [rows_of(DIES, many_dies(3_000, value=1.0)), rows_of(LOTS, [])])
    statements: list[str] = []
    with open_online(f"sqlite:///{path}") as reader:
        reader.services()
        reader._source._idle[0].set_trace_callback(statements.append)  # type: ignore[attr-defined]
        found = reader.get("device_v1", [{**ONE, "die_x": i, "die_y": -i} for i in range(3_001)], ["bin"])
    assert [one["bin"] for one in found] == [*(i % 7 for i in range(3_000)), None]
    assert len([s for s in statements if "FROM rows_" in s]) == 7
    assert len(statements) < 15


def test_threads_may_share_a_reader(reader: OnlineReader) -> None:
    wrong: list[object] = []
    keys = [{**ONE, "die_x": 11, "die_y": 1}, {**ONE, "die_x": 0, "die_y": 0}]

    def read(place: int) -> None:
        for _ in range(200):
            if reader.get("device_v1", [keys[place]], ["bin"])[0]["bin"] != (7, 1)[place]:
                wrong.append(place)

    threads = [threading.Thread(target=read, args=(i % 2,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(reader._source._idle) <= 8  # type: ignore[attr-defined]


def test_a_closed_reader_says_so(path: Path) -> None:
    reader = open_online(f"sqlite:///{path}")
    reader.close()
    reader.close()
    with pytest.raises(RequestError, match="closed"):
        reader.services()


def test_a_missing_file_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no online store at .*\nHint: run `fs-spark export`"):
        open_online(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_format_is_refused(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=3")
    with pytest.raises(RequestError, match="has format 3, this fs_spark reads up to 2"):
        open_online(f"sqlite:///{path}")
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(RequestError, match="not a SQLite file"):
        open_online(f"sqlite:///{tmp_path}/text.db")


def test_three_slashes_are_relative_and_four_absolute(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "100% a?b#c.db"
    os.rename(path, odd)
    monkeypatch.chdir(tmp_path)
    for url in (f"sqlite:///{odd.name}", f"sqlite:///{odd}"):
        assert sqlite_path(url) == odd
        with open_online(url) as reader:
            assert reader.services() == ["device_v1"]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://online.db", "sqlite:///:memory:", "online.db"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match=r"Hint: .*sqlite:///online\.db"):
        open_online(url)


def test_the_reader_cannot_write(reader: OnlineReader) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._source._idle[0].execute("DELETE FROM services")  # type: ignore[attr-defined]


def test_records_tell_their_faults() -> None:
    schema = RowSchema(("a", "event_timestamp"), ("double", "timestamp"))
    with pytest.raises(SchemaError) as fault:
        ViewRecord("v", ("k", "k"), 1, (("a", "b"),), schema)
    for part in ("feature 'a' has no column 'b'", "'event_timestamp' is a key or a time", "key 'k' is there twice"):
        assert part in str(fault.value)
    with pytest.raises(SchemaError, match="no key columns"):
        ViewRecord("v", (), 1, (), RowSchema((), ()))
    one = ViewRecord("v", ("k",), 1, (("a", "a"),), RowSchema(("a",), ("double",)))
    two = ViewRecord("w", ("a",), 1, (), RowSchema((), ()))
    with pytest.raises(SchemaError) as fault:
        ServiceRecord("s", (one, one, two))
    for part in ("feature 'a' is there twice", "feature 'a' is also a key", "view 'v' is there twice"):
        assert part in str(fault.value)


LEAN = """
import sys
from fs_spark.online import open_online
with open_online("sqlite:///" + sys.argv[1]) as reader:
    key = {"lot_id": "L1", "wafer_id": "W1", "die_x": 11, "die_y": 1}
    assert reader.get("device_v1", [key], with_times=True)[0]["bin"] == 7
    assert reader.describe("device_v1").views[0].delta_version == 3
heavy = [name for name in ("pyspark", "pandas", "pyarrow", "numpy", "delta", "pydantic") if name in sys.modules]
assert not heavy, heavy
print("lean")
"""


def test_reading_needs_neither_java_nor_spark_pandas_or_arrow(path: Path) -> None:
    env = {"PATH": "/nonexistent", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", LEAN, str(path)], env=env, capture_output=True, text=True, cwd="/")
    assert done.stdout == "lean\n", done.stderr


FORKED = """
import os, sys
from fs_spark.online import open_online
reader = open_online("sqlite:///" + sys.argv[1])
idle = reader._source._idle[0]
if os.fork() == 0:
    found = reader.services()
    os._exit(0 if found == ["device_v1"] and idle not in reader._source._idle else 1)
_, status = os.wait()
assert status == 0
assert reader.services() == ["device_v1"] and reader._source._idle[0] is idle
print("both")
"""


def test_a_forked_child_opens_its_own_connection(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKED, str(path)], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "both\n", done.stderr


def test_one_key_takes_well_under_a_millisecond(reader: OnlineReader) -> None:
    """60 us on the machine it was written on; the bound leaves room for a busy one."""
    times = []
    for _ in range(500):
        start = time.perf_counter()
        reader.get("device_v1", [ONE])
        times.append(time.perf_counter() - start)
    assert statistics.median(times) < 1e-3


def test_a_file_that_was_made_again_is_read_anew(reader: OnlineReader, path: Path) -> None:
    assert reader.get("device_v1", [ONE])[0]["wafers_done"] == 4
    for left in path.parent.glob(f"{path.name}*"):
        left.unlink()
    with pytest.raises(OnlineStoreError, match="cannot be read"):
        reader.get("device_v1", [ONE])
    SqliteOnline(path).publish(DEVICE, few_rows(DEVICE, wafers_done=9))
    assert reader.get("device_v1", [ONE])[0]["wafers_done"] == 9


def test_defaults_are_said_in_the_status(path: Path, tmp_path: Path) -> None:
    record = dataclasses.replace(DEVICE, defaults=(("wafers_done", -1), ("tester", "none")))
    SqliteOnline(path).publish(record, few_rows(record))
    with open_online(f"sqlite:///{path}") as online:
        key = {**ONE, "lot_id": "L9"}
        (found,) = online.get("device_v1", [key], ["wafers_done", "tester"], status=True)
        assert (found["wafers_done"], found["tester"], found["lots__v2.1__status"]) == (-1, "none", "default")
        os.rename(path, tmp_path / "away.db")
        (found,) = online.get("device_v1", [key], ["wafers_done"], status=True)
        assert (found["wafers_done"], found["lots__v2.1__status"]) == (-1, "down")
        with pytest.raises(OnlineStoreError, match="cannot be read"):
            online.get("device_v1", [key], ["wafers_done", "bin"])
