"""The kinds of online store that the contract holds for, and the rows that it publishes.

A third store is one more entry of `KINDS`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest
import redis

from fs_spark.online import open_online, open_online_async
from fs_spark.online.batches import ViewRows
from fs_spark.online.codec import RowSchema, encode_key, row_codec
from fs_spark.online.protocol import OnlineStore, Pushed, open_store
from fs_spark.online.records import ServiceRecord, ViewRecord
from fs_spark.online.redis_address import redis_address
from fs_spark.online.redis_writer import RedisOnline
from fs_spark.online.sqlite_source import open_read_only
from fs_spark.online.values import order_of, pushed_value

UTC = pa.timestamp("us", "UTC")
GRACE_S: Final = 0.15


@dataclass(frozen=True)
class Place:
    """An empty online store."""

    url: str
    open: Callable[[], OnlineStore]
    generations: Callable[[], set[int]]
    """The generations that anything is stored of, in force or not."""


def sqlite_place(request: pytest.FixtureRequest) -> Place:
    path: Path = request.getfixturevalue("tmp_path") / "online.db"

    def generations() -> set[int]:
        with open_read_only(path) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'rows_%'").fetchall()
        connection.close()
        return {int(name.split("_")[1]) for (name,) in names}

    url = f"sqlite:///{path}"
    return Place(url, lambda: open_store(url), generations)


def redis_place(request: pytest.FixtureRequest) -> Place:
    url: str = request.getfixturevalue("redis_url")
    return place_of_redis(url, [request.getfixturevalue("redis_server").client()])


def place_of_redis(url: str, clients: Sequence[redis.Redis]) -> Place:
    """A Redis whose keys these clients list."""
    address = redis_address(url)

    def generations() -> set[int]:
        before = address.prefix.encode() + b":"
        found = (name for client in clients for name in client.scan_iter(match=before + b"[0-9]*", count=5000))
        return {int(name[len(before) :].partition(b":")[0]) for name in found}

    return Place(url, lambda: RedisOnline(address, grace_s=GRACE_S), generations)


KINDS: Final[Mapping[str, Callable[[pytest.FixtureRequest], Place]]] = {"sqlite": sqlite_place, "redis": redis_place}


READINGS = ViewRecord(
    "readings__v1.0",
    ("k",),
    1,
    (("x", "x"), ("n", "n")),
    RowSchema(("x", "n"), ("double", "long")),
    boundary="at_or_before",
    table="t1",
)
SERVICE = ServiceRecord("readings_v1", (READINGS,))
Row = tuple[Any, ...]
"""Key, event, availability, sequence, x, n; None for x says that the key has no row any more."""


def at_version(record: ServiceRecord, version: int) -> ServiceRecord:
    views = tuple(dataclasses.replace(view, delta_version=version) for view in record.views)
    return dataclasses.replace(record, views=views)


def readings(record: ServiceRecord, rows: Iterable[Row]) -> list[ViewRows]:
    """The rows of the one view, which is at the record's version."""
    view = record.views[0]
    names = [*view.keys, "event_timestamp", "available_timestamp", "sequence", "x", "n", "__held"]
    types = [pa.string(), UTC, UTC, pa.int64(), pa.float64(), pa.int64(), pa.bool_()]
    held = [(*row[:6], row[4] is not None) for row in rows]
    columns = list(zip(*held, strict=True)) or [()] * len(names)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return [ViewRows(view.label, view.keys, view.schema, view.delta_version, [pa.record_batch(arrays, names=names)])]


def reading(key: str, x: float | None, *, event: int = 10, sequence: int = 0, n: int = 0) -> Row:
    return key, event, event, sequence, x, n


def pushed(key: str, x: float, *, event: int, sequence: int = 0, view: ViewRecord = READINGS, **more: int) -> Pushed:
    values = {"x": x, "n": 0, **more}
    row = row_codec(view.stored).encode([event, event, *(values[name] for name in view.schema.names)])
    code = encode_key([key])
    assert code is not None
    return Pushed(view.label, code, pushed_value(order_of(event, event, sequence), view.stored, row))


def ask(url: str, service: str, keys: Sequence[Mapping[str, Any]], **more: Any) -> list[dict[str, Any]]:
    """What a new reader and a new one for asyncio say, which is the same to the bit."""
    with open_online(url) as reader:
        found = reader.get(service, keys, **more)

    async def awaited() -> list[dict[str, Any]]:
        async with open_online_async(url) as reader:
            return await reader.get(service, keys, **more)

    theirs = asyncio.run(awaited())
    assert [bits(one) for one in theirs] == [bits(one) for one in found]
    return found


def xs(url: str, keys: Iterable[str], service: str = SERVICE.service) -> list[Any]:
    return [one["x"] for one in ask(url, service, [{"k": key} for key in keys], features=["x"])]


def bits(value: Any) -> Any:
    """A value that equals another where each of its bits does."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, dict):
        return {name: bits(one) for name, one in value.items()}
    if isinstance(value, list):
        return [bits(one) for one in value]
    return type(value), value


def stored_keys(store: OnlineStore, service: str = SERVICE.service, position: int = 0) -> set[bytes]:
    published = store.published(service)
    assert published is not None
    return {key for some in store.keys_of(published, position) for key in some}


def many(record: ServiceRecord, count: int, x: float, *, batch: int = 2000) -> list[ViewRows]:
    """Keys k0 and so on, each with the same x."""
    view = record.views[0]

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, count, batch):
            names = range(start, min(start + batch, count))
            yield from readings(record, [reading(f"k{i}", x, n=int(x)) for i in names])[0].batches

    return [ViewRows(view.label, view.keys, view.schema, view.delta_version, batches())]
