"""A service with every type, and readers that do what stores rarely do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from fs_spark.online import AsyncOnlineReader, open_online_async
from fs_spark.online.codec import RowSchema
from fs_spark.online.records import Published, ServiceRecord, ViewRecord
from fs_spark.online.request import Answer
from fs_spark.online.sqlite import SqliteOnline
from tests.online.samples import DEVICE, UTC_MICROS, few_rows, rows_of

KINDS = {
    "d": ("double", pa.float64()),
    "f": ("float", pa.float32()),
    "l": ("long", pa.int64()),
    "i": ("int", pa.int32()),
    "b": ("boolean", pa.bool_()),
    "t": ("timestamp", UTC_MICROS),
    "day": ("date", pa.date32()),
    "s": ("string", pa.string()),
    "a": ("array<double>", pa.list_(pa.float64())),
}
KEY = {"name": pa.string(), "number": pa.int64(), "since": pa.date32()}
NAN, INF = math.nan, math.inf
MOMENT = datetime(2025, 3, 3, 12, tzinfo=UTC)
ROWS = [
    (NAN, 0.5, 2**63 - 1, -(2**31), True, MOMENT, date(2025, 3, 3), "µ", [1.0, NAN, None, -INF]),
    (INF, NAN, -(2**63), 2**31 - 1, False, MOMENT.replace(microsecond=1), date(1, 1, 1), "", []),
    (-0.0, -INF, 0, 0, None, None, None, None, None),
    (5e-324, 1.5, 1, 1, True, MOMENT, date(9999, 12, 31), '"\\\n\x00', [-0.0]),
    (None,) * len(KINDS),
]
VIEW = ViewRecord(
    "every__v1.0", tuple(KEY), 7, tuple((name, name) for name in KINDS),
    RowSchema(tuple(KINDS), tuple(kind for kind, _ in KINDS.values())),
)  # fmt: skip
EVERY = ServiceRecord("every", (VIEW,))
KEYS = [{"name": "k", "number": i, "since": "2025-01-01"} for i in range(len(ROWS))]
ONE = {"lot_id": "L1", "wafer_id": "W1", "die_x": 0, "die_y": 0}


def publish_device(path: Path, *, wafers_done: int = 4) -> str:
    SqliteOnline(path).publish(DEVICE, few_rows(DEVICE, wafers_done=wafers_done))
    return f"sqlite:///{path}"


def publish_every(path: Path) -> str:
    stamps = pa.array([MOMENT] * len(ROWS), UTC_MICROS)
    keys = [pa.array([key[name] for key in KEYS]) for name in ("name", "number")]
    keys.append(pa.array([date(2025, 1, 1)] * len(ROWS)))
    columns = [
        pa.array(column, kind) for column, (_, kind) in zip(zip(*ROWS, strict=True), KINDS.values(), strict=True)
    ]
    names = [*KEY, "event_timestamp", "available_timestamp", *KINDS]
    batch = pa.record_batch([*keys, stamps, stamps, *columns], names=names)
    SqliteOnline(path).publish(EVERY, [rows_of(VIEW, [batch])])
    return f"sqlite:///{path}"


class Reader:
    """The reader of a store, but `before` runs ahead of each `get`, and may raise."""

    def __init__(self, url: str, before: Callable[[], Any] = lambda: None) -> None:
        self._reader: AsyncOnlineReader = open_online_async(url)
        self.before = before
        self.closed = False

    async def services(self) -> list[str]:
        return await self._reader.services()

    async def published(self, service: str) -> Published:
        return await self._reader.published(service)

    async def get(self, service: str, keys: Sequence[Any], features: Any = None, **named: Any) -> list[Answer]:
        done = self.before()
        if asyncio.iscoroutine(done):
            await done
        return await self._reader.get(service, keys, features, **named)

    async def close(self) -> None:
        self.closed = True
        await self._reader.close()
