"""Digests of a frame's rows that do not depend on their order or partitioning, and see every bit.

Each row is hashed with BLAKE2b over its columns' exact bits (nulls marked, texts by length), and the 128-bit hashes
are added up; so duplicates count, and any order of addition gives the same sum [Bellare, Micciancio, A New Paradigm
for Collision-free Hashing, 1997: AdHash].
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_MODULUS = 1 << 128
_SCHEMA = "digest string, rows bigint, seen string"
MOST_VALUES = 1000
"""So many different values of a key are worth to be told."""


def _marked(raw: NDArray[np.uint8]) -> pa.Array:
    """Rows of bytes as binary values."""
    rows, width = raw.shape
    fixed = pa.Array.from_buffers(pa.binary(width), rows, [None, pa.py_buffer(np.ascontiguousarray(raw))])
    return fixed.cast(pa.binary())


def _cells(column: pa.Array) -> pa.Array:
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
        return _marked(raw)
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        texts = column.cast(pa.binary())
    else:
        told = (None if v is None else (v if isinstance(v, bytes) else str(v).encode()) for v in column.to_pylist())
        texts = pa.array(list(told), pa.binary())
    texts = texts.fill_null(b"")
    raw = np.ones((len(column), 5), np.uint8)
    raw[:, 1:] = pc.binary_length(texts).to_numpy().astype("<u4").view(np.uint8).reshape(-1, 4)
    cells = pc.binary_join_element_wise(_marked(raw), texts, b"")
    return cells if there.all() else pc.if_else(column.is_valid(), cells, pa.scalar(b"\0", pa.binary()))


def _sum_of_rows(batch: pa.RecordBatch) -> int:
    """The hashes of a batch's rows, added up."""
    if not batch.num_rows:
        return 0
    rows = pc.binary_join_element_wise(*(_cells(column) for column in batch.columns), b"")
    offsets = np.frombuffer(rows.buffers()[1], np.int32)[rows.offset :][: len(rows) + 1].tolist()
    data, blake2b = memoryview(rows.buffers()[2] or b""), hashlib.blake2b
    hashes = b"".join([blake2b(data[a:b], digest_size=16).digest() for a, b in pairwise(offsets)])
    words = np.frombuffer(hashes, "<u4").reshape(-1, 4).astype(np.uint64).sum(axis=0)
    return sum(int(word) << (32 * at) for at, word in enumerate(words))


class Seen:
    """Least and greatest time of a column, and the values of some keys where they are few: texts and integers."""

    def __init__(self, time: str | None, keys: Sequence[str]) -> None:
        self.time = time
        self.times: tuple[int, int] | None = None
        self.keys: dict[str, set[str | int] | None] = {key: set() for key in keys}

    def look(self, batch: pa.RecordBatch) -> None:
        if self.time is not None:
            micros = batch.column(self.time).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
            self._widen(*(value.as_py() for value in pc.min_max(micros).values()))
        for key in self.keys:
            column = batch.column(key)
            if not (pa.types.is_string(column.type) or pa.types.is_integer(column.type)):
                self.keys[key] = None
            elif self.keys[key] is not None:
                self._add(key, pc.drop_null(pc.unique(column)).to_pylist())

    def _widen(self, least: int | None, greatest: int | None) -> None:
        if least is not None and greatest is not None:
            before = self.times or (least, greatest)
            self.times = min(before[0], least), max(before[1], greatest)

    def _add(self, key: str, values: Sequence[str | int]) -> None:
        known = self.keys[key]
        joined = None if known is None else known.union(values)
        self.keys[key] = joined if joined is not None and len(joined) <= MOST_VALUES else None

    def to_json(self) -> str:
        keys = {key: values if values is None else sorted(values) for key, values in self.keys.items()}
        return json.dumps({"times": self.times, "keys": keys})

    def add(self, text: str) -> None:
        """What another part of the rows has shown."""
        other = json.loads(text)
        self._widen(*(other["times"] or (None, None)))
        for key, values in other["keys"].items():
            if values is None:
                self.keys[key] = None
            else:
                self._add(key, values)


def _partition_digest(
    time: str | None, keys: Sequence[str]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def digest(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total, rows, seen = 0, 0, Seen(time, keys)
        for batch in batches:
            total += _sum_of_rows(batch)
            rows += batch.num_rows
            seen.look(batch)
        out = {"digest": [f"{total % _MODULUS:032x}"], "rows": [rows], "seen": [seen.to_json()]}
        schema = pa.schema([("digest", pa.string()), ("rows", pa.int64()), ("seen", pa.string())])
        yield pa.RecordBatch.from_pydict(out, schema=schema)

    return digest


def partition_digests(frame: DataFrame, *, time: str | None = None, keys: Sequence[str] = ()) -> DataFrame:
    """One (digest, rows, seen) per partition; `combine_digests` and `Seen` add them up."""
    return frame.mapInArrow(_partition_digest(time, keys), _SCHEMA)


def combine_digests(parts: list[tuple[str, int]], columns: list[tuple[str, str]]) -> tuple[str, int]:
    """The frame's digest (hex) and row count from its partitions' sums and its (column, type) list."""
    total = sum(int(digest, 16) for digest, _ in parts) % _MODULUS
    rows = sum(count for _, count in parts)
    text = repr((columns, rows, total))
    return hashlib.sha256(text.encode()).hexdigest(), rows


def hash_sums(hashes: Column, name: str) -> list[Column]:
    """The sum of 64-bit hashes, exact for 2 ** 31 rows, as that of their upper and that of their lower halves."""
    upper, lower = F.shiftright(hashes, 32), hashes.bitwiseAND(F.lit(0xFFFF_FFFF))
    return [F.sum(upper).alias(f"{name}_upper"), F.sum(lower).alias(f"{name}_lower")]


def sum_of(told: Mapping[str, Any], name: str) -> int:
    """The number that `hash_sums` stand for; 0 without rows."""
    return ((told[f"{name}_upper"] or 0) << 32) + (told[f"{name}_lower"] or 0)


def row_hash(columns: Sequence[str]) -> Column:
    """A hash of a row that tells null from what hashes alike."""
    cells = ", ".join(f"`{c}`, `{c}` IS NULL" for c in columns)
    return F.expr(f"xxhash64({cells})")


def unit_checksum(columns: Sequence[str]) -> Column:
    """Sum of row hashes inside a group, exact in any order: tells whether a recomputed unit differs from the stored."""
    return F.struct(*hash_sums(row_hash(columns), "sum"))
