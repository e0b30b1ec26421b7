"""What the values of a table's columns look like: one pass over them, in batches of Arrow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

SAMPLE: Final = 20_000
_BARS: Final = 24
_WORDS: Final = 8
_CHOSEN: Final = "__chosen"
_AT_ONCE: Final = 65_536
"""Spark gives batches of ten thousand rows; numbers of more at once are added up faster."""
_SCHEMA: Final = "column string, rows bigint, present bigint, total double, least double, most double, sample binary"


@dataclass(frozen=True)
class Distribution:
    """A column's values. Counts, extremes and mean are of all rows; quantiles and bars of a sample by keys.

    missing    nulls and NaN
    quantiles  5, 25, 50, 75 and 95 %; None of what is no number
    bars       (from, to, share of the sample), from the first to the last hundredth; of words (word, word, share)
    """

    rows: int
    missing: int
    least: float | None = None
    most: float | None = None
    mean: float | None = None
    quantiles: tuple[float, ...] | None = None
    bars: tuple[tuple[Any, Any, float], ...] = ()

    @property
    def missing_share(self) -> float:
        return self.missing / self.rows if self.rows else 0.0


def distributions(
    rows: DataFrame, columns: Mapping[str, str], keys: Sequence[str], *, count: int | None, sample: int = SAMPLE
) -> dict[str, Distribution]:
    """Each column's distribution; lists are left out.

    keys   columns that tell rows apart, by which the sample is chosen
    count  how many rows there are, about; counted where it is None
    """
    wanted = {name: kind for name, kind in columns.items() if not kind.startswith("array")}
    if not wanted:
        return {}
    one_in = max(1, (count if count is not None else rows.count()) // sample)
    chosen = F.pmod(F.xxhash64(*(F.col(f"`{name}`") for name in keys)), F.lit(one_in)) == 0
    frame = rows.select(*(F.col(f"`{name}`") for name in wanted), chosen.alias(_CHOSEN))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    for part in frame.mapInArrow(_summaries, _SCHEMA).toArrow().to_pylist():
        found[part["column"]].append(part)
    return {name: _merged(parts, wanted[name]) for name, parts in found.items()}


def _summaries(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One row a column and task: sums, and the sampled values as an Arrow stream."""
    sums: dict[str, list[Any]] = {}
    sampled: list[pa.RecordBatch] = []
    waiting: list[pa.RecordBatch] = []
    types: dict[str, pa.DataType] = {}
    rows = 0
    for batch in batches:
        types = {field.name: field.type for field in batch.schema}
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= _AT_ONCE:
            _add(sums, sampled, waiting)
            waiting, rows = [], 0
    if waiting:
        _add(sums, sampled, waiting)
    told = [(name, *sums[name], _stream(name, types[name], [one.column(name) for one in sampled])) for name in sums]
    schema = pa.schema([("column", pa.string()), ("rows", pa.int64()), ("present", pa.int64()), ("total", pa.float64()),
                        ("least", pa.float64()), ("most", pa.float64()), ("sample", pa.binary())])  # fmt: skip
    yield pa.RecordBatch.from_arrays(
        [pa.array([row[at] for row in told], field.type) for at, field in enumerate(schema)], schema=schema
    )


def _add(sums: dict[str, list[Any]], sampled: list[pa.RecordBatch], batches: Sequence[pa.RecordBatch]) -> None:
    """Adds some batches to the sums of each column (rows, present, total, least, most) and to the sample."""
    table = pa.Table.from_batches(batches).combine_chunks()
    sampled += table.filter(table.column(_CHOSEN)).drop_columns([_CHOSEN]).to_batches()
    for name in table.column_names:
        if name == _CHOSEN:
            continue
        values = table.column(name)
        told = sums.setdefault(name, [0, 0, 0.0, None, None])
        told[0] += len(values)
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            _add_numbers(told, values)
        else:
            told[1] += len(values) - values.null_count


def _add_numbers(told: list[Any], values: pa.ChunkedArray) -> None:
    there = values.drop_null() if values.null_count else values
    numbers = there.to_numpy().astype(float, copy=False)
    total = float(numbers.sum())
    if math.isnan(total):  # NaN among them, or infinities of both signs
        numbers = numbers[~np.isnan(numbers)]
        total = float(numbers.sum())
    told[1] += len(numbers)
    if len(numbers):
        told[2] += total
        least, most = float(numbers.min()), float(numbers.max())
        told[3] = least if told[3] is None else min(told[3], least)
        told[4] = most if told[4] is None else max(told[4], most)


def _stream(name: str, kind: pa.DataType, arrays: Sequence[pa.Array]) -> bytes:
    table = pa.table({name: pa.chunked_array(arrays, kind)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _merged(parts: Sequence[Mapping[str, Any]], kind: str) -> Distribution:
    rows, present = sum(part["rows"] for part in parts), sum(part["present"] for part in parts)
    streams = [pa.ipc.open_stream(part["sample"]).read_all().column(0) for part in parts]
    sampled = (
        pa.chunked_array([c for one in streams for c in one.chunks], streams[0].type).drop_null() if streams else None
    )
    if kind not in ("int", "bigint", "double"):
        return Distribution(rows, rows - present, bars=_words(sampled))
    least = min((part["least"] for part in parts if part["least"] is not None), default=None)
    most = max((part["most"] for part in parts if part["most"] is not None), default=None)
    mean = sum(part["total"] for part in parts) / present if present else None
    numbers = np.sort(sampled.to_numpy().astype(float)) if sampled is not None and len(sampled) else np.empty(0)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return Distribution(rows, rows - present, least, most, mean)
    quantiles = tuple(float(numbers[round(share * (len(numbers) - 1))]) for share in (0.05, 0.25, 0.5, 0.75, 0.95))
    return Distribution(rows, rows - present, least, most, mean, quantiles, _bars(numbers, kind))


def _bars(numbers: np.ndarray, kind: str) -> tuple[tuple[float, float, float], ...]:
    low, high = numbers[round(0.01 * (len(numbers) - 1))], numbers[round(0.99 * (len(numbers) - 1))]
    with np.errstate(over="ignore"):
        width = high - low
    if not np.isfinite(width) or width <= _BARS * np.spacing(max(abs(low), abs(high))):  # too wide or narrow to divide
        return ((float(low), float(high), 1.0),)
    bars = _BARS
    if kind != "double" and high - low < _BARS:
        low, high, bars = low - 0.5, high + 0.5, int(high - low) + 1
    counts, edges = np.histogram(numbers, bins=bars, range=(low, high))
    return tuple((float(a), float(b), float(count) / len(numbers)) for a, b, count in zip(edges, edges[1:], counts,
                                                                                        strict=False))  # fmt: skip


def _words(sampled: pa.ChunkedArray | None) -> tuple[tuple[str, str, float], ...]:
    if sampled is None or not len(sampled):
        return ()
    counted = pc.value_counts(sampled.combine_chunks()).to_pylist()
    first = sorted(counted, key=lambda one: (-one["counts"], str(one["values"])))[:_WORDS]
    return tuple((str(one["values"]), str(one["values"]), one["counts"] / len(sampled)) for one in first)
