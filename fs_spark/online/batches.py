"""Arrow batches to stored keys and values, column by column; equal, byte for byte, to the codec's own encoding.

Rows of fixed width are laid out by numpy in one array, texts and keys are joined by Arrow: no Python object for each
row.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_spark.errors import SchemaError
from fs_spark.names import SEQUENCE
from fs_spark.online.codec import (
    CODES,
    DOUBLES,
    KEY_TAGS,
    STRING,
    RowCodec,
    RowSchema,
    doubles_part,
    key_part,
    row_codec,
)
from fs_spark.online.records import Loaded, ViewRecord
from fs_spark.online.values import HEAD

CHUNK_ROWS: Final = 8192
HELD: Final = "__held"
"""A column of a batch: false for a key that has no row any more."""
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
_NUMPY: Final = {kind: "u1" if code == "?" else f"<{np.dtype(code).str[1:]}" for kind, code in CODES.items()}
_DAY_US: Final = 86_400_000_000
_FIRST_DAY: Final = date.min.toordinal() - date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date.max.toordinal() - date(1970, 1, 1).toordinal()
_RANGES: Final = {
    "date": (_FIRST_DAY, _LAST_DAY),
    "timestamp": (_FIRST_DAY * _DAY_US, (_LAST_DAY + 1) * _DAY_US - 1),
}
"""What readers can say of times: Python knows the years 1 to 9999."""
_NOTHING: Final = pa.scalar(b"", pa.binary())


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

    def chunks(self, view: ViewRecord) -> Iterator[Chunk]:
        """Keys and values on this side, a chunk at a time. Raises  SchemaError"""
        return chunks(view, self.batches)

    def load(self, view: ViewRecord, write: Callable[[Iterable[Chunk]], Loaded]) -> Loaded:
        """Hands all chunks to `write`, wherever they are made, and gives the sum of what it says."""
        return write(self.chunks(view))


@dataclass(frozen=True)
class Chunk:
    """Some keys and what is stored for them (arrays of binary); `without_key` more rows had a null key."""

    keys: pa.Array
    values: pa.Array
    without_key: int
    key_types: tuple[str, ...]

    @property
    def rows(self) -> list[tuple[bytes, bytes]]:
        return list(zip(self.keys.to_pylist(), self.values.to_pylist(), strict=True))

    def counted(self) -> Loaded:
        """How much is in it: rows without a value behind the head are tombstones."""
        keys, values = (pc.binary_length(column).to_numpy(zero_copy_only=False) for column in (self.keys, self.values))
        gone = int((values == HEAD.size).sum())
        size = int(keys.sum() + values.sum())
        checksum = sum(map(zlib.crc32, self.values.to_pylist(), map(zlib.crc32, self.keys.to_pylist())))
        return Loaded(len(keys) - gone, gone, self.without_key, size, checksum, self.key_types)


def row_schema(arrow: pa.Schema, columns: Sequence[str]) -> RowSchema:
    """The codec's schema of some columns of an Arrow schema. Raises  SchemaError with every fault"""
    missing = [name for name in columns if name not in arrow.names]
    if missing:
        raise SchemaError(
            f"no column {', '.join(map(repr, missing))}.\nHint: the columns are {', '.join(arrow.names)}."
        )
    return RowSchema(tuple(columns), tuple(_type_name(arrow.field(name).type) for name in columns))


def chunks(view: ViewRecord, batches: Iterable[pa.RecordBatch]) -> Iterator[Chunk]:
    """The batches of a view as stored keys and values, of at most `CHUNK_ROWS` rows at once.

    Where the record has a boundary, rows of one key that follow each other become one value.

    Raises  SchemaError
    """
    codec = row_codec(view.stored)
    held: tuple[pa.Array, ...] | None = None  # the last key's rows, which may go on in the next piece
    key_types: tuple[str, ...] = ()
    for batch in batches:
        key_types = _require(view, batch.schema)
        for start in range(0, batch.num_rows, CHUNK_ROWS):
            piece = batch.slice(start, CHUNK_ROWS)
            kept = _with_keys(piece, view.keys)
            without_key = piece.num_rows - kept.num_rows
            found = (_keys(view, kept), _rows(codec, kept), _sequences(kept))
            if view.boundary is None:
                yield _chunk(view, found, None, without_key, key_types)
                continue
            if held is not None:
                found = tuple(pa.concat_arrays(pair) for pair in zip(held, found, strict=True))
            starts = _starts(found[0])
            last = int(starts[-1]) if len(starts) else 0
            held = tuple(array.slice(last) for array in found) if len(starts) else None
            whole = tuple(array.slice(0, last) for array in found)
            yield _chunk(view, whole, starts[:-1], without_key, key_types)
    if held is not None:
        yield _chunk(view, held, np.zeros(1, np.int64), 0, key_types)


def _chunk(
    view: ViewRecord, found: Sequence[pa.Array], starts: np.ndarray | None, without_key: int, key_types: tuple[str, ...]
) -> Chunk:
    """Rows with their heads; `starts` are the places where another key begins."""
    keys, rows, sequences = found
    if starts is not None and len(starts) < len(keys):
        ends = np.append(starts[1:], len(keys))
        keys, sequences = keys.take(pa.array(starts)), sequences.take(pa.array(ends - 1))
        rows = _rejoined(rows, np.append(starts, len(rows)))
    heads = np.empty(len(keys), [("version", ">u8"), ("sequence", ">i8")])
    heads["version"], heads["sequence"] = view.delta_version, sequences.to_numpy(zero_copy_only=False)
    return Chunk(keys, _joined(_cells(heads), rows), without_key, key_types)


def _starts(keys: pa.Array) -> np.ndarray:
    if not len(keys):
        return np.zeros(0, np.int64)
    other = pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1)).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.append(True, other))


def _rejoined(rows: pa.Array, edges: np.ndarray) -> pa.Array:
    """Runs of rows, which lie one behind the other, as one value each."""
    rows = pa.concat_arrays([rows])
    offsets = np.frombuffer(rows.buffers()[1], np.int32, len(rows) + 1, 4 * rows.offset)
    return pa.Array.from_buffers(
        pa.binary(), len(edges) - 1, [None, pa.py_buffer(offsets[edges].tobytes()), rows.buffers()[2]]
    )


def _joined(*parts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(*parts, _NOTHING) if len(parts) > 1 else parts[0]


def _cells(array: np.ndarray) -> pa.Array:
    """The items of an array, of any fixed width, as binary."""
    offsets = np.arange(len(array) + 1, dtype=np.int32) * np.int32(array.dtype.itemsize)
    data = pa.py_buffer(array.tobytes())
    return pa.Array.from_buffers(pa.binary(), len(array), [None, pa.py_buffer(offsets.tobytes()), data])


def _with_keys(batch: pa.RecordBatch, keys: Sequence[str]) -> pa.RecordBatch:
    if not any(batch.column(key).null_count for key in keys):
        return batch
    present = [pc.is_valid(batch.column(key)) for key in keys]
    keep = present[0]
    for column in present[1:]:
        keep = pc.and_(keep, column)
    return batch.filter(keep)


def _sequences(batch: pa.RecordBatch) -> pa.Array:
    if SEQUENCE not in batch.schema.names:
        return pa.array(np.zeros(batch.num_rows, np.int64))
    found = batch.column(SEQUENCE)
    if pa.types.is_struct(found.type):  # with the columns that order rows of one event
        found = pc.struct_field(found, SEQUENCE)
    return found.cast(pa.int64()).fill_null(0)


def _rows(codec: RowCodec, batch: pa.RecordBatch) -> pa.Array:
    """Each row encoded; nothing for a key that has none any more."""
    schema = codec.schema
    columns = [batch.column(n).cast(_ARROW[t]) for n, t in zip(schema.names, schema.types, strict=True)]
    marks = [f"null{i}" for i in range(codec.null_bytes)]
    fields = [(mark, "u1") for mark in marks] + [(f"c{i}", _NUMPY[schema.types[i]]) for i in codec.fixed]
    cells = np.zeros(batch.num_rows, np.dtype(fields))
    for i, column in enumerate(columns):
        if column.null_count:
            cells[marks[i >> 3]] |= column.is_null().to_numpy(zero_copy_only=False).astype("u1") << (i & 7)
    for i in codec.fixed:
        cells[f"c{i}"] = _numbers(schema.names[i], schema.types[i], columns[i])
    parts = [_cells(cells)] if cells.dtype.itemsize else []
    for i in codec.variable:
        parts += _texts(columns[i]) if schema.types[i] == STRING else [_double_arrays(columns[i])]
    rows = _joined(*parts)
    if HELD not in batch.schema.names:
        return rows
    return pc.if_else(batch.column(HELD), rows, _NOTHING)


def _numbers(name: str, kind: str, column: pa.Array) -> np.ndarray:
    """A column of fixed width, nulls as 0. Raises  SchemaError for a time that no reader could give back"""
    if kind == "boolean":
        column = column.cast(pa.uint8())
    elif kind in _RANGES:
        column = column.cast(pa.int64() if kind == "timestamp" else pa.int32())
    if column.null_count:
        column = column.fill_null(0)
    found: np.ndarray = column.to_numpy(zero_copy_only=False)
    if kind in _RANGES and len(found) and not _RANGES[kind][0] <= found.min() <= found.max() <= _RANGES[kind][1]:
        raise SchemaError(
            f"column {name!r} holds a {kind} outside of the years 1 to 9999, which cannot be served.\n"
            f"Hint: leave such rows out of the view, or make them null."
        )
    return found


def _texts(column: pa.Array) -> list[pa.Array]:
    """Lengths and bytes of texts; a null is empty."""
    body = _plain(column).cast(pa.binary())
    body = body.fill_null(b"") if body.null_count else body
    return [_cells(pc.binary_length(body).to_numpy(zero_copy_only=False).astype("<u4")), body]


def _keys(view: ViewRecord, batch: pa.RecordBatch) -> pa.Array:
    return _joined(*(_key_parts(batch.column(key)) for key in view.keys))


def _key_parts(column: pa.Array) -> pa.Array:
    """A key column encoded."""
    plain = _plain(column)
    if pa.types.is_string(plain.type) or pa.types.is_large_string(plain.type):
        body = plain.cast(pa.binary()).cast(pa.string()).cast(pa.binary())  # the way back refuses what is not Unicode
        lengths = pc.binary_length(body).to_numpy(zero_copy_only=False)
        return _joined(_tags(KEY_TAGS["string"], lengths), body)
    is_day = pa.types.is_date32(plain.type)
    if pa.types.is_uint64(plain.type):
        return pa.array(map(key_part, plain.to_pylist()), pa.binary(), size=len(plain))
    numbers = plain.cast(pa.int32()) if is_day else plain
    return _integer_keys(KEY_TAGS["date" if is_day else "integer"], numbers.cast(pa.int64()).to_numpy())


def _integer_keys(tag: bytes, numbers: np.ndarray) -> pa.Array:
    """Integers in their fewest bytes, as `codec.key_part` has them."""
    size = np.abs(numbers).view(np.uint64)
    lengths = np.ones(len(numbers), np.int32)
    for bits in range(7, 64, 8):
        lengths += size >= np.uint64(1 << bits)
    longest = np.empty((len(numbers), 9), np.uint8)  # -2^63 takes nine
    longest[:, 0] = np.where(numbers < 0, 255, 0)
    longest[:, 1:] = numbers.astype(">i8").view(np.uint8).reshape(-1, 8)
    data = longest[np.arange(9) >= 9 - lengths[:, None]]
    offsets = np.zeros(len(numbers) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(data.tobytes())]
    return _joined(_tags(tag, lengths), pa.Array.from_buffers(pa.binary(), len(numbers), buffers))


def _tags(tag: bytes, lengths: np.ndarray) -> pa.Array:
    """What stands before the bytes of a column of a key."""
    cells = np.empty(len(lengths), [("tag", "S1"), ("length", "<u4")])
    cells["tag"], cells["length"] = tag, lengths
    return _cells(cells)


def _double_arrays(column: pa.Array) -> pa.Array:
    """Each array of doubles encoded."""
    return pa.array([doubles_part(given or ()) for given in column.to_pylist()], pa.binary())


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
