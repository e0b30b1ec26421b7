"""A small service of a die view and a lot view, to publish in tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from fs_spark.online.batches import ViewRows
from fs_spark.online.codec import RowSchema
from fs_spark.online.records import ServiceRecord, ViewRecord

UTC_MICROS = pa.timestamp("us", "UTC")
DIES = ViewRecord(
    "dies__v1.0",
    ("lot_id", "wafer_id", "die_x", "die_y"),
    3,
    (("fail__neighbor_frac", "fail__neighbor_frac"), ("bin", "hard_bin"), ("seen_at", "seen_at")),
    RowSchema(("fail__neighbor_frac", "hard_bin", "seen_at"), ("double", "int", "timestamp")),
)
LOTS = ViewRecord(
    "lots__v2.1",
    ("lot_id",),
    5,
    (("wafers_done", "wafers_done"), ("tester", "tester")),
    RowSchema(("wafers_done", "tester"), ("long", "string")),
)
DEVICE = ServiceRecord("device_v1", (DIES, LOTS))


def at_version(record: ServiceRecord, delta_version: int, name: str | None = None) -> ServiceRecord:
    views = tuple(dataclasses.replace(view, delta_version=delta_version) for view in record.views)
    return ServiceRecord(name or record.service, views)


def rows_of(view: ViewRecord, batches: Iterable[pa.RecordBatch]) -> ViewRows:
    return ViewRows(view.view, view.keys, view.schema, view.delta_version, batches)


def die_batch(rows: Sequence[tuple[object, ...]]) -> pa.RecordBatch:
    """lot, wafer, x, y, event, available, fail__neighbor_frac, hard_bin, seen_at"""
    names = [*DIES.keys, *DIES.stored.names]
    types = [pa.string(), pa.string(), pa.int32(), pa.int32(), UTC_MICROS, UTC_MICROS]
    types += [pa.float64(), pa.int32(), UTC_MICROS]
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.record_batch([pa.array(c, type=t) for c, t in zip(columns, types, strict=True)], names=names)


def lot_batch(rows: Sequence[tuple[object, ...]]) -> pa.RecordBatch:
    """lot, event, available, wafers_done, tester"""
    names = [*LOTS.keys, *LOTS.stored.names]
    types = [pa.string(), UTC_MICROS, UTC_MICROS, pa.int64(), pa.string()]
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.record_batch([pa.array(c, type=t) for c, t in zip(columns, types, strict=True)], names=names)


def few_rows(record: ServiceRecord, *, wafers_done: int = 4) -> Iterator[ViewRows]:
    dies, lots = record.views
    yield rows_of(
        dies,
        [
            die_batch([("L1", "W1", 0, 0, 1_000_000, 2_000_000, -0.0, 1, 1_700_000_000_123_456)]),
            die_batch(
                [
                    ("L1", "W1", 1, 11, 3_000_000, 3_000_000, 0.25, None, None),
                    ("L1", "W1", 11, 1, 4_000_000, 4_000_000, None, 7, None),
                ]
            ),
        ],
    )
    yield rows_of(lots, [lot_batch([("L1", 5_000_000, 5_000_000, wafers_done, "µFlex")])])


def many_dies(n: int, *, value: float, rows: int = 5_000) -> Iterator[pa.RecordBatch]:
    for start in range(0, n, rows):
        yield die_batch([("L1", "W1", i, -i, i, i, value, i % 7, None) for i in range(start, min(n, start + rows))])
