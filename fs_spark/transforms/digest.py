"""Digests of a frame's rows that do not depend on their order or partitioning, and see every bit.

Each row is hashed with BLAKE2b over its columns' exact bits (nulls marked, texts by length), and the 128-bit hashes
are added up; so duplicates count, and any order of addition gives the same sum [Bellare, Micciancio, A New Paradigm
for Collision-free Hashing, 1997: AdHash].
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_MODULUS = 1 << 128
_SCHEMA = "digest string, rows bigint"


def _cells(column: pa.Array) -> list[bytes]:
    """Each value's exact bytes with a mark before it: 0 for null."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", tz=kind.tz)).cast(pa.int64())
    elif pa.types.is_date(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    there = column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        width = np.dtype(column.type.to_pandas_dtype()).itemsize
        values = column.fill_null(0).to_numpy(zero_copy_only=False)
        raw = np.zeros((len(column), width + 1), np.uint8)
        raw[:, 0] = there
        raw[:, 1:] = np.where(there[:, None], np.ascontiguousarray(values).view(np.uint8).reshape(-1, width), 0)
        flat = raw.tobytes()
        return [flat[i : i + width + 1] for i in range(0, len(flat), width + 1)]
    texts = (None if v is None else (v if isinstance(v, bytes) else str(v).encode()) for v in column.to_pylist())
    return [b"\0" if t is None else b"\1" + len(t).to_bytes(4, "little") + t for t in texts]


def _partition_digest(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    total, rows = 0, 0
    for batch in batches:
        for row in zip(*(_cells(column) for column in batch.columns), strict=True):
            total += int.from_bytes(hashlib.blake2b(b"".join(row), digest_size=16).digest(), "little")
        rows += batch.num_rows
    out = {"digest": [f"{total % _MODULUS:032x}"], "rows": [rows]}
    yield pa.RecordBatch.from_pydict(out, schema=pa.schema([("digest", pa.string()), ("rows", pa.int64())]))


def partition_digests(frame: DataFrame) -> DataFrame:
    """One (digest, rows) per partition; `combine_digests` adds them up."""
    return frame.mapInArrow(_partition_digest, _SCHEMA)


def combine_digests(parts: list[tuple[str, int]], columns: list[tuple[str, str]]) -> tuple[str, int]:
    """The frame's digest (hex) and row count from its partitions' sums and its (column, type) list."""
    total = sum(int(digest, 16) for digest, _ in parts) % _MODULUS
    rows = sum(count for _, count in parts)
    text = repr((columns, rows, total))
    return hashlib.sha256(text.encode()).hexdigest(), rows


def unit_checksum(columns: list[str]) -> Column:
    """Sum of row hashes inside a group, exact in any order: tells whether a recomputed unit differs from the stored."""
    cells = [cell for c in columns for cell in (F.col(c), F.col(c).isNull())]
    return F.sum(F.xxhash64(*cells).cast("decimal(38,0)"))
