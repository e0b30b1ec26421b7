"""Arrow batches to stored keys and rows, column by column; equal, byte for byte, to the codec's own encoding."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fs_spark.errors import SchemaError
from fs_spark.online.codec import (
    CODES,
    DOUBLES,
    KEY_TAGS,
    STRING,
    RowCodec,
    RowSchema,
    day_part,
    doubles_part,
    key_part,
    row_codec,
    text_part,
)
from fs_spark.online.records import ViewRecord

CHUNK_ROWS: Final = 8192
_ARROW: Final = {
    "double": pa.float64(),
    "float": pa.float32(),
    "long": pa.int64(),
    "int": pa.int32(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    STRING: pa.string(),
    DOUBLES: pa.list_(pa.float64()),
}
_DAY_US: Final = 86_400_000_000
_FIRST_DAY: Final = date.min.toordinal() - date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date.max.toordinal() - date(1970, 1, 1).toordinal()
_RANGES: Final = {
    "date": (_FIRST_DAY, _LAST_DAY),
    "timestamp": (_FIRST_DAY * _DAY_US, (_LAST_DAY + 1) * _DAY_US - 1),
}
"""What readers can say of times: Python knows the years 1 to 9999."""


@dataclass(frozen=True)
class ViewRows:
    """The rows that a view record holds, in batches that are read once: one for each key, or where the record has a
    `boundary` any number, one behind the other, the oldest first.

    `view` is the record's `label`. A batch holds the keys, `event_timestamp`, `available_timestamp` (both null in a
    static view), the record's `times` and the columns of `schema`, in any order; other columns are ignored.
    """

    view: str
    keys: tuple[str, ...]
    schema: RowSchema
    delta_version: int
    batches: Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class Chunk:
    """Some keys and what is stored for them; `without_key` more rows had a null key."""

    rows: list[tuple[bytes, bytes]]
    without_key: int
    key_types: tuple[str, ...]


def row_schema(arrow: pa.Schema, columns: Sequence[str]) -> RowSchema:
    """The codec's schema of some columns of an Arrow schema. Raises  SchemaError with every fault"""
    missing = [name for name in columns if name not in arrow.names]
    if missing:
        raise SchemaError(
            f"no column {', '.join(map(repr, missing))}.\nHint: the columns are {', '.join(arrow.names)}."
        )
    return RowSchema(tuple(columns), tuple(_type_name(arrow.field(name).type) for name in columns))


def chunks(view: ViewRecord, batches: Iterable[pa.RecordBatch]) -> Iterator[Chunk]:
    """The batches of a view as stored keys and values, of at most `CHUNK_ROWS` rows at once. Raises  SchemaError"""
    found = _chunks(view, batches)
    return _joined(found) if view.boundary is not None else found


def _chunks(view: ViewRecord, batches: Iterable[pa.RecordBatch]) -> Iterator[Chunk]:
    codec = row_codec(view.stored)
    for batch in batches:
        key_types = _require(view, batch.schema)
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            piece = batch.slice(start, CHUNK_ROWS)
            kept = _with_keys(piece, view.keys)
            keys = map(b"".join, zip(*(_key_parts(kept.column(k)) for k in view.keys), strict=True))
            yield Chunk(list(zip(keys, _rows(codec, kept), strict=True)), piece.num_rows - kept.num_rows, key_types)


def _joined(found: Iterable[Chunk]) -> Iterator[Chunk]:
    """Rows of one key that follow each other as one value; the last key waits for the next chunk."""
    key: bytes | None = None
    parts: list[bytes] = []
    key_types: tuple[str, ...] = ()
    for chunk in found:
        rows: list[tuple[bytes, bytes]] = []
        key_types = chunk.key_types
        for its, row in chunk.rows:
            if its == key:
                parts.append(row)
                continue
            if key is not None:
                rows.append((key, b"".join(parts)))
            key, parts = its, [row]
        yield Chunk(rows, chunk.without_key, key_types)
    if key is not None:
        yield Chunk([(key, b"".join(parts))], 0, key_types)


def _with_keys(batch: pa.RecordBatch, keys: Sequence[str]) -> pa.RecordBatch:
    if not any(batch.column(key).null_count for key in keys):
        return batch
    present = [pc.is_valid(batch.column(key)) for key in keys]
    keep = present[0]
    for column in present[1:]:
        keep = pc.and_(keep, column)
    return batch.filter(keep)


def _rows(codec: RowCodec, batch: pa.RecordBatch) -> Iterable[bytes]:
    schema = codec.schema
    columns = [batch.column(n).cast(_ARROW[t]) for n, t in zip(schema.names, schema.types, strict=True)]
    fixed = [_numbers(columns[i], schema.types[i]) for i in codec.fixed]
    for i, numbers in zip(codec.fixed, fixed, strict=True):
        _require_range(schema.names[i], schema.types[i], numbers)
    heads = map(codec.head.pack, *_null_bytes(columns), *fixed)
    if not codec.variable:
        return heads
    parts = [
        _parts(columns[i], text_part) if schema.types[i] == STRING else _double_parts(columns[i])
        for i in codec.variable
    ]
    return map(b"".join, zip(heads, *parts, strict=True))


def _null_bytes(columns: Sequence[pa.Array]) -> Iterator[Iterable[Any]]:
    for start in range(0, len(columns), 8):
        bits = [
            pc.multiply(pc.is_null(column).cast(pa.uint8()), pa.scalar(1 << i, pa.uint8()))
            for i, column in enumerate(columns[start : start + 8])
            if column.null_count
        ]
        yield _listed(functools.reduce(pc.add, bits), "B") if bits else itertools.repeat(0)


def _numbers(column: pa.Array, kind: str) -> list[Any]:
    """A column of fixed width as Python numbers, nulls as 0; 15 times as fast as `to_pylist`."""
    if kind == "boolean":
        column = column.cast(pa.uint8())
    elif kind == "timestamp":
        column = column.cast(pa.int64())
    elif kind == "date":
        column = column.cast(pa.int32())
    return _listed(column.fill_null(0), "B" if kind == "boolean" else CODES[kind])


def _require_range(name: str, kind: str, numbers: Sequence[int]) -> None:
    """Raises SchemaError for a time that no reader could give back."""
    if kind in _RANGES and numbers and not _RANGES[kind][0] <= min(numbers) <= max(numbers) <= _RANGES[kind][1]:
        raise SchemaError(
            f"column {name!r} holds a {kind} outside of the years 1 to 9999, which cannot be served.\n"
            f"Hint: leave such rows out of the view, or make them null."
        )


def _listed(column: pa.Array, code: Any) -> list[Any]:
    width = column.type.bit_width // 8
    start = column.offset * width
    cells = memoryview(column.buffers()[1]).cast("B")[start : start + len(column) * width]
    return list(cells.cast(code))


def _parts(column: pa.Array, encode: Callable[[Any], bytes]) -> Iterable[bytes]:
    """Each value encoded; each distinct value only once."""
    coded = _plain(column).dictionary_encode()
    parts = [encode(value) for value in coded.dictionary.to_pylist()]
    if coded.null_count:
        parts.append(encode(None))
    places = _listed(coded.indices.fill_null(len(parts) - 1), "i")
    return [parts[place] for place in places]


def _key_parts(column: pa.Array) -> Iterable[bytes]:
    if pa.types.is_date32(column.type):
        return _parts(column.cast(pa.int32()), day_part)
    return _parts(column, key_part)


def _double_parts(column: pa.Array) -> Iterator[bytes]:
    """Each array of doubles encoded."""
    edges = _listed(column.offsets, "i")
    values = column.values
    if values.null_count:
        for given in column.to_pylist():
            yield doubles_part(given or ())
        return
    cells = memoryview(values.buffers()[1] or b"").cast("B") if len(values) else memoryview(b"")
    first = values.offset
    is_null = column.is_null().to_pylist() if column.null_count else itertools.repeat(False)
    for start, end, missing in zip(edges, edges[1:], is_null):  # noqa: B905  repeat has no end
        count, at = 0 if missing else end - start, 8 * (first + start)
        yield count.to_bytes(4, "little") + bytes((count + 7) // 8) + cells[at : at + 8 * count]


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _type_name(kind: pa.DataType) -> str:
    """The codec's name of an Arrow type, or Arrow's own where the codec has none."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return STRING
    if pa.types.is_int8(kind) or pa.types.is_int16(kind):
        return "int"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz is not None else "timestamp without time zone"
    return next((name for name, arrow in _ARROW.items() if arrow == kind), str(kind))


def _require(view: ViewRecord, arrow: pa.Schema) -> tuple[str, ...]:
    """The key types of a batch that fits the view. Raises  SchemaError with every fault"""
    wanted = dict(zip(view.stored.names, view.stored.types, strict=True))
    faults = [f"no column {name!r}" for name in (*view.keys, *wanted) if name not in arrow.names]
    key_types = []
    for name in (key for key in view.keys if key in arrow.names):
        found = arrow.field(name).type
        key_types.append("integer" if pa.types.is_integer(found) else _type_name(found))
        if key_types[-1] not in KEY_TAGS:
            faults.append(f"key {name!r} is {found}, not text, an integer or a date")
    for name in (name for name in wanted if name in arrow.names):
        found = arrow.field(name).type
        if not pa.types.is_null(found) and _type_name(found) != wanted[name]:
            faults.append(f"column {name!r} is {found}, not {wanted[name]}")
    if faults:
        raise SchemaError(
            f"the rows of view {view.label!r} do not fit: {'; '.join(faults)}.\n"
            f"Hint: the columns are {', '.join(arrow.names)}; `row_schema` gives the types of a frame."
        )
    return tuple(key_types)
