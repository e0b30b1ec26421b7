"""An export of what changed answers as an export of everything, on both kinds of stores."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from fs_spark.cli import main
from fs_spark.online import open_online
from tests.online.stores import NOON, open_payments, reading, write_readings
from tests.views.histories import us, write_parquet

KEYS = [{"customer_id": one, "payer_id": one} for one in ("c1", "c2", "c3", "c4", None)]
PLACES = [{"day": "2025-03-03", "site": site, "line": 2**40, "name": "µ"} for site in (1, 2, 3, 4)]
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is needed: apt-get install redis-server"
    folder = tmp_path_factory.mktemp("redis")
    path = f"/tmp/fs_spark_{os.getpid()}_incremental.sock"
    words = [program, "--port", "0", "--unixsocket", path, "--save", "", "--dir", str(folder)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as server:
        while not Path(path).exists():
            time.sleep(0.02)
        yield f"redis+unix://{path}"
        server.terminate()


def paid(row: int, customer: str, hours: float, amount: float, known: float | None = None) -> dict[str, Any]:
    event = us(NOON + hours * HOUR)
    return {
        "row_id": row, "number": row, "customer_id": customer, "merchant": "m", "amount": amount, "kind": "card",
        "ok": True, "event": event, "available": event if known is None else us(NOON + known * HOUR),
    }  # fmt: skip


def answers(url: str) -> list[Any]:
    """What is said at some moments, from the last export on."""
    found: list[Any] = []
    with open_online(url) as online:
        for hours in (40, 41, 47, 60):
            moment = NOON + hours * HOUR
            found.append(online.get("spending", KEYS, at=moment, status=True, with_times=True))
            found.append(online.get("places", PLACES, at=moment, status=True))
    return found


def test_what_changed_is_as_good_as_everything(
    spark: SparkSession, tmp_path: Path, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = {"sqlite": f"sqlite:///{tmp_path}/online.sqlite", "redis": redis_url}
    conf = {f"{kind}.yaml": {"root": "../store", "online": url} for kind, url in urls.items()}
    payments = [paid(1, "c1", 0, 5.0), paid(2, "c2", 1, 7.0), paid(3, "c3", 2, 9.0), paid(4, "c3", 30, 1.0)]
    readings = [reading(0, ratio=1.0), reading(1, site=2, ratio=2.0), reading(1, site=3, ratio=3.0, known=45)]
    store = open_payments(tmp_path, spark, payments, readings, conf)
    stores = {kind: FeatureStore.open(tmp_path / "conf" / f"{kind}.yaml", spark) for kind in urls}
    at = NOON + 31 * HOUR
    for one in stores.values():
        assert [one.export(name, at=at).kind for name in ("spending", "places")] == ["full", "full"]

    # c1 is retracted, c2 gets an earlier event, c4 is new, c3 stays as it is; site 1 goes, site 2 gets an earlier event
    write_parquet(tmp_path / "payments", "one.parquet", [
        paid(2, "c2", 0.5, 8.0), paid(3, "c3", 2, 9.0), paid(4, "c3", 30, 1.0), paid(5, "c4", 3, 2.0),
    ])  # fmt: skip
    write_readings(tmp_path / "readings", [
        reading(0, site=2, ratio=-2.0), reading(1, site=3, ratio=3.0, known=45), reading(2, site=4, ratio=4.0),
    ])  # fmt: skip
    store.materialize()
    at = NOON + 39 * HOUR
    changed = {}
    for kind, one in stores.items():
        reports = {name: one.export(name, at=at) for name in ("spending", "places")}
        assert {report.kind for report in reports.values()} == {"incremental"}
        places = reports["places"]
        assert (places.rows, places.gone) == ({"readings__v1.0": 2}, {"readings__v1.0": 1})
        changed[kind] = answers(urls[kind])
        assert all(one.verify_online(name).is_equal for name in reports)
        assert one.export("places", at=at).kind == "current"

    assert changed["sqlite"] == changed["redis"]
    whole = stores["sqlite"]
    assert {whole.export(name, at=at, full=True).kind for name in ("spending", "places")} == {"full"}
    assert answers(urls["sqlite"]) == changed["sqlite"]
    assert [one["ratio"] for one in changed["sqlite"][1]] == [None, -2.0, None, 4.0]
    assert [one["ratio"] for one in changed["sqlite"][5]] == [None, -2.0, 3.0, 4.0]
    with open_online(urls["sqlite"]) as online:
        assert online.published("places").report["readings__v1.0"]["keys"] == 3

    for kind, url in urls.items():
        _spoil(url, kind)
        found = stores[kind].verify_online("places")
        assert [one.counts["different"] for one in found.views] == [1]
    words = ["verify-online", "places", "--sample", "10", "--conf", str(tmp_path / "conf" / "sqlite.yaml")]
    capsys.readouterr()
    assert main(words) == 4
    assert "1 different" in capsys.readouterr().out


def _spoil(url: str, kind: str) -> None:
    """Changes one byte of one value."""
    with open_online(url) as online:
        generation = online.published("places").generation
        source: Any = online._source
        if kind == "redis":
            client = source.client
            names = client.scan_iter(match=f"fs:{generation}:0:*")
            name = max(names, key=client.strlen)  # not a tombstone
            value = client.get(name)
            client.set(name, value[:-9] + bytes([value[-9] ^ 1]) + value[-8:])
            return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        table = f"rows_{generation}_0"
        ((key, value),) = connection.execute(f"SELECT key, value FROM {table} LIMIT 1").fetchall()
        spoiled = value[:-9] + bytes([value[-9] ^ 1]) + value[-8:]
        connection.execute(f"UPDATE {table} SET value = ? WHERE key = ?", (spoiled, key))


def test_a_table_that_was_made_again_is_exported_whole(spark: SparkSession, tmp_path: Path) -> None:
    store = open_payments(tmp_path, spark, [paid(1, "c1", 0, 5.0)], [reading(0, ratio=1.0)])
    assert store.export("places").kind == "full"
    for ratio in (3.0, 1.0):  # changed and changed back: another exporter may have been between the two
        write_readings(tmp_path / "readings", [reading(0, ratio=ratio)])
        store.materialize()
    report = store.export("places")
    assert (report.kind, report.rows) == ("incremental", {"readings__v1.0": 1})
    shutil.rmtree(store._tables.path("readings__v1_0"))
    write_readings(tmp_path / "readings", [reading(0, ratio=2.0)])
    again = FeatureStore.open(tmp_path / "conf" / "store.yaml", spark)
    again.materialize()
    assert again.export("places").kind == "full"  # versions of the two tables cannot be compared
    with again.online() as online:
        assert online.get("places", PLACES[:1])[0]["ratio"] is None  # the row is past its TTL
        assert online.get("places", PLACES[:1], at=NOON + HOUR)[0]["ratio"] == 2.0
