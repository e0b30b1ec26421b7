"""Rows of a view in a Spark frame, encoded by the workers: to a store that they write to, or packed for this side."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import DataFrame

from fs_spark import errors
from fs_spark.errors import FsSparkError
from fs_spark.online.batches import Chunk, chunks
from fs_spark.online.codec import RowSchema
from fs_spark.online.records import Loaded, ViewRecord

_PACKED: Final = 65536
"""Rows that come to this side at once."""
Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class FrameRows:
    """As `batches.ViewRows`; rows of one key are in one partition and follow each other.

    `is_small` says that all of them together may be held on this side.
    """

    view: str
    keys: tuple[str, ...]
    schema: RowSchema
    delta_version: int
    frame: DataFrame
    is_small: bool = False

    def load(self, view: ViewRecord, write: Callable[[Iterable[Chunk]], Loaded]) -> Loaded:
        """Written by the workers, who say how much. Raises  what they met"""
        total = Loaded()
        for row in self.frame.mapInArrow(_writer(view, write), "told string").collect():
            total += _loaded(json.loads(row["told"]))
        return total

    def chunks(self, view: ViewRecord) -> Iterator[Chunk]:
        """Encoded by the workers, on this side a part at a time."""
        packed = self.frame.mapInArrow(_packer(view), "packed binary, told string")
        for row in packed.collect() if self.is_small else packed.toLocalIterator(prefetchPartitions=True):
            told = _loaded(json.loads(row["told"]))
            with pa.ipc.open_stream(row["packed"]) as stream:
                for batch in stream:
                    yield Chunk(batch.column(0), batch.column(1), told.without_key, told.key_types)
                    told = replace(told, without_key=0)


def _writer(view: ViewRecord, write: Callable[[Iterable[Chunk]], Loaded]) -> Callable[[Batches], Batches]:
    def written(batches: Batches) -> Batches:
        yield _told(_said(lambda: write(chunks(view, batches))))

    return written


def _packer(view: ViewRecord) -> Callable[[Batches], Batches]:
    def packed(batches: Batches) -> Batches:
        found = chunks(view, batches)
        is_more = True
        while is_more:
            parts: list[pa.RecordBatch] = []
            told = Loaded()
            fault: dict[str, Any] | None = None
            while sum(part.num_rows for part in parts) < _PACKED:
                try:
                    chunk = next(found, None)
                except FsSparkError as met:
                    fault, chunk = _fault(met), None
                if chunk is None:
                    is_more = False
                    break
                parts.append(pa.record_batch([chunk.keys, chunk.values], names=["key", "value"]))
                told += Loaded(without_key=chunk.without_key, key_types=chunk.key_types)
            if not parts and not told.without_key and fault is None:
                continue
            sink = pa.BufferOutputStream()
            schema = pa.schema([("key", pa.binary()), ("value", pa.binary())])
            with pa.ipc.new_stream(sink, schema) as stream:
                for part in parts or [pa.record_batch([[], []], schema)]:
                    stream.write_batch(part)
            told_text = json.dumps(fault if fault is not None else _plain(told))
            yield pa.record_batch(
                [pa.array([sink.getvalue().to_pybytes()], pa.binary()), pa.array([told_text])], names=["packed", "told"]
            )

    return packed


def _said(action: Callable[[], Loaded]) -> dict[str, Any]:
    """What an action says, or its fault: Spark would try it again, and tell it under its own traces."""
    try:
        return _plain(action())
    except FsSparkError as fault:
        return _fault(fault)


def _fault(fault: FsSparkError) -> dict[str, Any]:
    return {"fault": type(fault).__name__, "text": str(fault)}


def _plain(loaded: Loaded) -> dict[str, Any]:
    return {**vars(loaded), "key_types": list(loaded.key_types)}


def _told(said: dict[str, Any]) -> pa.RecordBatch:
    return pa.record_batch([pa.array([json.dumps(said)])], names=["told"])


def _loaded(told: dict[str, Any]) -> Loaded:
    if "fault" in told:
        raise getattr(errors, told["fault"])(told["text"])
    return Loaded(**{**told, "key_types": tuple(told["key_types"])})
