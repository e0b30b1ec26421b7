"""The online store: loading, reading and what it takes, over what the same store does without us, in the same run.

Where a measurement has a `share`, that is the floor's time over ours (1 is as fast as the floor); `target` says what is
asked of the share, or else of the ratio. Reads tell the 99th percentile of single calls, which take turns.
"""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import redis
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.online import open_online
from fs_spark.online.batches import Chunk, ViewRows, chunks
from fs_spark.online.codec import RowSchema, encode_key
from fs_spark.online.frame_rows import FrameRows
from fs_spark.online.held_rows import held_rows
from fs_spark.online.records import Loaded, ServiceRecord, ViewRecord
from fs_spark.online.redis import open_store
from fs_spark.online.redis_address import RedisAddress, redis_address
from fs_spark.online.redis_keys import RedisKeys
from fs_spark.online.redis_writer import _Target
from fs_spark.online.sqlite import SqliteOnline
from fs_spark.online.sqlite_source import rows_table

Measurement = dict[str, Any]
Measured = Callable[[str, float, float, int], Measurement]

KEYS, FEATURES = 1_000_000, 20
BASE_US = 1_700_000_000_000_000
BASELINE_PART = 10
"""The baseline loads a tenth of the keys; rates are compared."""
AT_ONCE, CALLS, ROUNDS = 100, 2_000, 5
_PIECE, _IN_FLIGHT, _BLOCK = 1_000, 8, 50
_NAMES = tuple(f"feature_{i:02}" for i in range(FEATURES))
_SCHEMA = RowSchema(_NAMES, ("double",) * FEATURES)
_PAIRS = tuple((name, name) for name in _NAMES)
_VIEW = ViewRecord("customer__v1.0", ("customer_id",), 1, _PAIRS, _SCHEMA, boundary="at_or_before", ttl_us=10**17)
_SERVICE = ServiceRecord("spending", (_VIEW,))


def run(
    spark: SparkSession, folder: Path, best_of: Callable[..., list[float]], measured: Measured, scale: float
) -> Iterator[Measurement]:
    count = max(round(KEYS * scale), 1_000)
    batches = _batches(count)
    stored = list(chunks(_VIEW, batches))
    yield from _sqlite(folder, batches, stored, measured)
    with _server(folder) as client:
        yield from _redis_loads(client, folder, batches, stored, measured)
        yield from _redis_reads(client, folder, batches, measured)
        client.flushall()
        yield from _end_to_end(spark, folder, client, count, best_of, measured)


def _batches(count: int) -> list[pa.RecordBatch]:
    """Keys in no order, so that no table is filled from left to right."""
    random = np.random.default_rng(3)
    order = random.permutation(count)
    found = []
    for start in range(0, count, 50_000):
        some = order[start : start + 50_000]
        event = pa.array(BASE_US + some, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        columns = {name: pa.array(random.normal(size=len(some))) for name in _NAMES}
        times = {n.EVENT_TIMESTAMP: event, n.AVAILABLE_TIMESTAMP: event, n.SEQUENCE: pa.array(some)}
        keys = pa.array([_customer(i) for i in some])
        found.append(pa.RecordBatch.from_pydict({"customer_id": keys, **times, **columns}))
    return found


def _customer(i: int) -> str:
    return f"C{i:08}"


def _rows(batches: Sequence[pa.RecordBatch]) -> ViewRows:
    return ViewRows(_VIEW.label, _VIEW.keys, _SCHEMA, 1, batches)


def _told(line: Measurement, *, target: str, is_share: bool = False, **more: object) -> Measurement:
    share = {"share": round(line["floor_s"] / line["run_s"], 3)} if is_share else {}
    return {**line, **share, **more, "target": target}


def _turns(repeats: int, *actions: Callable[[], object], before: Callable[[], object] = lambda: None) -> list[float]:
    """Best seconds of each action; they take turns, each after `before`, which is not timed, and one warm-up."""
    best = [float("inf")] * len(actions)
    for repeat in range(repeats + 1):
        for i, action in enumerate(actions):
            before()
            start = time.perf_counter()
            action()
            if repeat:
                best[i] = min(best[i], time.perf_counter() - start)
    return best


def _p99(*calls: Callable[[int], object]) -> list[tuple[float, float]]:
    """The 99th percentile and the median of each call, in seconds, of the best round; blocks of calls take turns.

    Not single calls: after each of the baseline's, the processor's caches hold nothing of ours.
    """
    best = [(float("inf"), float("inf"))] * len(calls)
    for attempt in range(ROUNDS + 1):
        taken: list[list[float]] = [[] for _ in calls]
        for block in range(attempt * CALLS, (attempt + 1) * CALLS, _BLOCK):
            for call, seconds in zip(calls, taken, strict=True):
                for at in range(block, block + _BLOCK):
                    start = time.perf_counter()
                    call(at)
                    seconds.append(time.perf_counter() - start)
        for i, seconds in enumerate(taken if attempt else []):
            best[i] = min(best[i], (float(np.quantile(seconds, 0.99)), float(np.median(seconds))))
    return best


def _sqlite(
    folder: Path, batches: Sequence[pa.RecordBatch], stored: Sequence[Chunk], measured: Measured
) -> Iterator[Measurement]:
    pairs = [pair for chunk in stored for pair in chunk.rows]
    ours, bare = folder / "ours" / "online.sqlite", folder / "bare" / "online.sqlite"

    def before() -> None:
        for path in (ours, bare):
            shutil.rmtree(path.parent, ignore_errors=True)
            path.parent.mkdir()

    def load() -> None:
        SqliteOnline(ours).publish(_SERVICE, [_rows(batches)])

    def load_bare() -> None:
        with closing(sqlite3.connect(bare, isolation_level=None)) as connection:
            for pragma in ("page_size=16384", "cache_size=-65536", "synchronous=FULL", "journal_mode=WAL"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE bare(key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL)")
            connection.executemany("INSERT INTO bare VALUES (?, ?)", pairs)
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    floor_s, run_s = _turns(2, load_bare, load, before=before)
    line = measured("sqlite_load", floor_s, run_s, len(pairs))
    yield _told(line, target="share >= 0.7", is_share=True, keys_per_s=round(len(pairs) / run_s))
    random = np.random.default_rng(4)
    asked = [_customer(i) for i in random.integers(0, len(pairs), CALLS * (ROUNDS + 1))]
    keys = [encode_key([one]) for one in asked]
    table = rows_table(1, 0)
    with open_online(f"sqlite:///{ours}") as reader, closing(sqlite3.connect(ours)) as connection:
        select = f"SELECT value FROM {table} WHERE key = ?"
        floor, found = _p99(
            lambda at: connection.execute(select, (keys[at],)).fetchone(),
            lambda at: reader.get("spending", [{"customer_id": asked[-at]}]),
        )
    line = measured("sqlite_get", floor[0], found[0], len(keys))
    yield _told(line, target="ratio <= 4", **_micros(floor, found))


def _micros(floor: tuple[float, float], found: tuple[float, float]) -> dict[str, Any]:
    names = ("floor_p99_us", "floor_p50_us", "run_p99_us", "run_p50_us")
    return {name: round(seconds * 1e6, 1) for name, seconds in zip(names, (*floor, *found), strict=True)}


@contextmanager
def _server(folder: Path) -> Iterator[redis.Redis]:
    """A Redis of its own, on a socket in the folder."""
    path = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 10
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.05)
        client = redis.Redis(unix_socket_path=str(path), protocol=2)
        client.ping()
        yield client
        client.close()
    finally:
        server.terminate()
        server.wait()


def _address(folder: Path) -> RedisAddress:
    return redis_address(f"redis+unix://{folder}/redis.sock")


def _redis_loads(
    client: redis.Redis,
    folder: Path,
    batches: Sequence[pa.RecordBatch],
    stored: Sequence[Chunk],
    measured: Measured,
) -> Iterator[Measurement]:
    target = _Target(_address(folder), 1, 0, _VIEW.label, _VIEW.keys)
    before = RedisKeys("fs").rows(1, 0)
    pairs = [(before + key, value) for chunk in stored for key, value in chunk.rows]
    parts = [pairs[start : start + _PIECE] for start in range(0, len(pairs), _PIECE)]
    pieces = [(_set_commands(part), len(part)) for part in parts]
    few = max(len(pairs) // BASELINE_PART, 1_000)
    floor_s, run_s, encoded_s = _turns(
        2,
        lambda: _write_raw(folder, pieces),
        lambda: target.insert(stored),
        lambda: target.insert(chunks(_VIEW, batches)),
        before=client.flushall,
    )
    hashes = pa.Table.from_batches(batches).slice(0, few)
    columns = {name: hashes.column(name).to_pylist() for name in ("customer_id", *_NAMES)}
    (baseline_s,) = _turns(1, lambda: _write_hashes(client, columns), before=client.flushall)
    of_baseline = int(client.info("memory")["used_memory"])
    client.flushall()
    empty = int(client.info("memory")["used_memory"])
    told = target.insert(stored)
    held = int(client.info("memory")["used_memory"]) - empty
    for name, seconds in (("redis_load", run_s), ("redis_load_encoded", encoded_s)):
        yield _told(
            measured(name, floor_s, seconds, len(pairs)), target="share >= 0.7, or keys_per_s >= 400000",
            is_share=True, keys_per_s=round(len(pairs) / seconds), floor_keys_per_s=round(len(pairs) / floor_s),
        )  # fmt: skip
    line = measured("baseline_load", encoded_s * few / len(pairs), baseline_s, few)
    yield _told(line, target="ratio >= 8", baseline_keys_per_s=round(few / baseline_s))
    beyond = (held - told.size) / told.keys
    yield {
        "name": "redis_memory", "bytes_beyond_per_key": round(beyond, 1), "bytes_per_key": round(held / told.keys, 1),
        "bytes_of_key_and_value": round(told.size / told.keys, 1),
        "baseline_bytes_per_key": round((of_baseline - empty) / few, 1), "rows": told.keys,
        "target": "bytes_beyond_per_key <= 96",
    }  # fmt: skip
    floor_s, run_s = _turns(2, lambda: _write_raw(folder, pieces), lambda: target.upsert(stored))
    line = measured("redis_increment", floor_s, run_s, len(pairs))
    yield _told(line, target="share >= 0.25", is_share=True, keys_per_s=round(len(pairs) / run_s))


def _set_commands(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    form = b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
    return b"".join(form % (len(name), name, len(value), value) for name, value in pairs)


def _write_raw(folder: Path, pieces: Sequence[tuple[bytes, int]]) -> None:
    """Bytes that are there already, some pieces ahead of their replies, each of which is `+OK`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{folder}/redis.sock")
        due = [0] * _IN_FLIGHT + [5 * count for _, count in pieces]
        ahead = 0
        for piece, size in zip([*(piece for piece, _ in pieces), *[b""] * _IN_FLIGHT], due, strict=True):
            connection.sendall(piece)
            while ahead < size:
                ahead += len(connection.recv(65536))
            ahead -= size


def _write_hashes(client: redis.Redis, columns: dict[str, list[Any]]) -> None:
    """The baseline: a hash for each key, a field for each feature."""
    keys = columns["customer_id"]
    values = list(zip(*(columns[name] for name in _NAMES), strict=True))
    for start in range(0, len(keys), 1_000):
        pipe = client.pipeline(transaction=False)
        for key, row in zip(keys[start : start + 1_000], values[start : start + 1_000], strict=True):
            pipe.hset(f"customer:{key}", mapping=dict(zip(_NAMES, row, strict=True)))
        pipe.execute()


def _redis_reads(
    client: redis.Redis, folder: Path, batches: Sequence[pa.RecordBatch], measured: Measured
) -> Iterator[Measurement]:
    """A hundred keys at once; the baseline's hashes are those of the first tenth of the keys."""
    client.flushall()
    count = sum(batch.num_rows for batch in batches)
    few = max(count // BASELINE_PART, 1_000)
    hashes = pa.Table.from_batches(batches).slice(0, few)
    columns = {name: hashes.column(name).to_pylist() for name in ("customer_id", *_NAMES)}
    _write_hashes(client, columns)
    url = f"redis+unix://{folder}/redis.sock"
    store = open_store(url)
    published = store.publish(_SERVICE, [_rows(batches)])
    store.close()
    before = RedisKeys("fs").rows(published.generation or 0, 0)
    random = np.random.default_rng(5)
    asked = [[columns["customer_id"][i] for i in random.integers(0, few, AT_ONCE)] for _ in range(CALLS)]
    keys = [[{"customer_id": one} for one in some] for some in asked]
    names = [[before + (encode_key([one]) or b"") for one in some] for some in asked]

    def baseline(at: int) -> list[dict[str, float]]:
        pipe = client.pipeline(transaction=False)
        for one in asked[at % CALLS]:
            pipe.hgetall(f"customer:{one}")
        return [{name.decode(): float(value) for name, value in told.items()} for told in pipe.execute()]

    with open_online(url) as reader:
        floor, found = _p99(
            lambda at: client.mget(names[at % CALLS]), lambda at: reader.get("spending", keys[-at % CALLS])
        )
        yield _told(
            measured("redis_get_100", floor[0], found[0], AT_ONCE), target="ratio <= 2.5", **_micros(floor, found)
        )
        found, slow = _p99(lambda at: reader.get("spending", keys[-at % CALLS]), baseline)
    line = measured("redis_get_100_baseline", found[0], slow[0], AT_ONCE)
    yield _told(line, target="ratio >= 4", **_micros(found, slow))


def _end_to_end(
    spark: SparkSession,
    folder: Path,
    client: redis.Redis,
    count: int,
    best_of: Callable[..., list[float]],
    measured: Measured,
) -> Iterator[Measurement]:
    """From a Delta table to Redis by Spark's workers; floor: the same rows read, grouped and thrown away."""
    made = spark.range(count, numPartitions=8).select(
        F.format_string("C%08d", F.col("id")).alias("customer_id"),
        F.timestamp_micros(F.col("id") + F.lit(BASE_US)).alias(n.EVENT_TIMESTAMP),
        F.timestamp_micros(F.col("id") + F.lit(BASE_US)).alias(n.AVAILABLE_TIMESTAMP),
        F.col("id").alias(n.SEQUENCE),
        *(F.randn(number).alias(name) for number, name in enumerate(_NAMES)),
    )
    made.write.format("delta").save(str(folder / "delta"))

    def held() -> DataFrame:
        return held_rows(
            spark.read.format("delta").load(str(folder / "delta")), keys=_VIEW.keys, columns=_NAMES, times=(),
            boundary="at_or_before", cut_us=BASE_US + 2 * count,
        )  # fmt: skip

    generations = iter(range(1, 100))

    def load() -> Loaded:
        client.flushall()
        target = _Target(_address(folder), next(generations), 0, _VIEW.label, _VIEW.keys)
        rows = FrameRows(_VIEW.label, _VIEW.keys, _SCHEMA, 1, held())
        told = rows.load(_VIEW, target.insert)
        if told.keys != count:
            raise ValueError(f"{told.keys} of {count} keys were loaded")
        return told

    floor_s, run_s = best_of(2, lambda: held().write.format("noop").mode("overwrite").save(), load)
    line = measured("end_to_end", floor_s, run_s, count)
    yield _told(line, target="ratio <= 2.5", keys_per_s=round(count / run_s))
