"""Arrow in bulk gives the bytes that the codec gives row by row."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fs_spark.errors import SchemaError
from fs_spark.online import batches
from fs_spark.online.batches import chunks, row_schema
from fs_spark.online.codec import RowSchema, Value, encode_key, row_codec
from fs_spark.online.records import ViewRecord
from fs_spark.online.values import head

UTC_MICROS = pa.timestamp("us", "UTC")
ARROW = {
    "double": pa.float64(),
    "float": pa.float32(),
    "long": pa.int64(),
    "int": pa.int32(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "timestamp": UTC_MICROS,
    "date": pa.date32(),
    "array<double>": pa.list_(pa.field("element", pa.float64())),
}
VALUES: dict[str, st.SearchStrategy[Value]] = {
    "double": st.floats(allow_nan=False),
    "float": st.floats(width=32, allow_nan=False),
    "long": st.integers(-(2**63), 2**63 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(),
    "string": st.text(max_size=5),
    "timestamp": st.integers(0, 2**51),
    "date": st.integers(-719162, 2932896),
    "array<double>": st.lists(st.none() | st.floats(allow_nan=False), max_size=9),
}


def view_of(schema: RowSchema, keys: tuple[str, ...] = ("lot_id", "die_x")) -> ViewRecord:
    return ViewRecord("dies__v1.0", keys, 1, tuple((name, name) for name in schema.names), schema)


@st.composite
def tables(draw: st.DrawFn) -> tuple[RowSchema, list[list[Value]]]:
    """A schema, and columns: lot_id, die_x, event_timestamp, available_timestamp, features."""
    types = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=10))
    n = draw(st.integers(1, 12))
    kinds = ["string", "int", "timestamp", "timestamp", *types]
    columns = [draw(st.lists(st.none() | VALUES[kind], min_size=n, max_size=n)) for kind in kinds]
    return RowSchema(tuple(f"c{i}" for i in range(len(types))), tuple(types)), columns


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), st.integers(0, 3))
def test_in_bulk_as_one_by_one(case: tuple[RowSchema, list[list[Value]]], start: int) -> None:
    schema, columns = case
    view = view_of(schema)
    names = ("lot_id", "die_x", *view.stored.names)
    types = [pa.string(), pa.int32(), *(ARROW[kind] for kind in view.stored.types)]
    arrays = [pa.array(c, type=t) for c, t in zip(columns, types, strict=True)]
    batch = pa.record_batch(dict(zip(names, arrays, strict=True))).slice(start)  # a slice has an offset

    found = list(chunks(view, [batch]))

    rows = list(zip(*columns, strict=True))[start:]
    codec = row_codec(view.stored)
    wanted = [(encode_key(row[:2]), head(1) + codec.encode(row[2:])) for row in rows if None not in row[:2]]
    assert [pair for chunk in found for pair in chunk.rows] == wanted
    assert sum(chunk.without_key for chunk in found) == len(rows) - len(wanted)


def batch_of(**columns: pa.Array) -> pa.RecordBatch:
    n = len(next(iter(columns.values())))
    times = dict.fromkeys(("event_timestamp", "available_timestamp"), pa.nulls(n, UTC_MICROS))
    return pa.record_batch({**times, **columns})


def test_chunks_are_small_and_lose_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CHUNK_ROWS", 3)
    batch = batch_of(die_x=pa.array(range(8)), f=pa.array(range(8), pa.int64()))
    view = view_of(RowSchema(("f",), ("long",)), ("die_x",))
    found = list(chunks(view, [batch, batch.slice(0, 0)]))
    assert [len(chunk.rows) for chunk in found] == [3, 3, 2]
    assert [key for chunk in found for key, _ in chunk.rows] == [encode_key([i]) for i in range(8)]


def test_texts_of_any_arrow_kind_and_narrow_integers_are_the_same() -> None:
    view = view_of(RowSchema(("bin", "note"), ("int", "string")))
    texts = pa.array(["L1", "L2", "L1"])
    plain = batch_of(
        lot_id=texts, die_x=pa.array([1, 2, 3], pa.int64()), bin=pa.array([1, None, 3], pa.int32()), note=texts
    )
    other = batch_of(
        lot_id=texts.cast(pa.dictionary(pa.int8(), pa.string())),
        die_x=pa.array([1, 2, 3], pa.int8()),
        bin=pa.array([1, None, 3], pa.int16()),
        note=texts.cast(pa.large_string()),
    )
    (a,), (b,) = chunks(view, [plain]), chunks(view, [other])
    assert a.rows == b.rows
    assert a.key_types == ("string", "integer")


def test_static_times_may_be_untyped_nulls() -> None:
    batch = pa.record_batch(
        {"die_x": pa.array([1]), "event_timestamp": pa.nulls(1), "available_timestamp": pa.nulls(1)}
    )
    (chunk,) = chunks(view_of(RowSchema((), ()), ("die_x",)), [batch])
    assert row_codec(view_of(RowSchema((), ())).stored).decode(chunk.rows[0][1][16:]) == (None, None)


def test_rows_that_do_not_fit_are_told_all_at_once() -> None:
    view = view_of(RowSchema(("f", "g"), ("double", "double")))
    batch = pa.record_batch(
        {
            "die_x": pa.array([1.0]),
            "event_timestamp": pa.nulls(1, pa.timestamp("us")),
            "available_timestamp": pa.nulls(1, UTC_MICROS),
            "f": pa.array([1.0], pa.float32()),
        }
    )
    with pytest.raises(SchemaError) as fault:
        list(chunks(view, [batch]))
    text = str(fault.value)
    for part in (
        "no column 'lot_id'",
        "no column 'g'",
        "key 'die_x' is double",
        "'event_timestamp' is timestamp[us], not timestamp",
        "'f' is float, not double",
    ):
        assert part in text


def test_the_schema_of_a_frame() -> None:
    frame = pa.schema(
        [("a", pa.float64()), ("b", pa.int16()), ("c", pa.int8()), ("t", UTC_MICROS), ("d", pa.decimal128(10, 2))]
    )
    assert row_schema(frame, ["t", "a", "b", "c"]) == RowSchema(tuple("tabc"), ("timestamp", "double", "int", "int"))
    with pytest.raises(SchemaError, match=r"decimal128\(10, 2\)"):
        row_schema(frame, ["d"])
    with pytest.raises(SchemaError, match="no column 'x'"):
        row_schema(frame, ["a", "x"])


@pytest.mark.parametrize(
    ("kind", "value", "is_served"),
    [
        ("date", -719162, True),
        ("date", 2932896, True),
        ("date", -719163, False),
        ("date", 2932897, False),
        ("timestamp", 253402300799999999, True),
        ("timestamp", 253402300800000000, False),
    ],
)
def test_times_that_no_reader_could_give_back_are_refused(kind: str, value: int, is_served: bool) -> None:
    whole = pa.int32() if kind == "date" else pa.int64()
    batch = batch_of(die_x=pa.array([1, 2]), f=pa.array([None, value], whole).cast(ARROW[kind]))
    found = chunks(view_of(RowSchema(("f",), (kind,)), ("die_x",)), [batch])
    if is_served:
        assert len(next(found).rows) == 2
    else:
        with pytest.raises(SchemaError, match="outside of the years 1 to 9999"):
            next(found)


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()], ids=str
)
def test_integer_keys_have_the_codecs_bytes_at_every_width(kind: pa.DataType) -> None:
    signed = pa.types.is_signed_integer(kind)
    low, high = (-(2 ** (kind.bit_width - 1)), 2 ** (kind.bit_width - 1) - 1) if signed else (0, 2**kind.bit_width - 1)
    edges = {sign * 2**bits + more for bits in range(65) for sign in (-1, 1) for more in (-1, 0, 1)}
    keys = sorted(edge for edge in edges if low <= edge <= high)
    batch = batch_of(id=pa.array(keys, kind), f=pa.array([1] * len(keys), pa.int64()))
    (chunk,) = chunks(view_of(RowSchema(("f",), ("long",)), ("id",)), [batch])
    assert [key for key, _ in chunk.rows] == [encode_key([key]) for key in keys]


def test_dates_are_keys() -> None:
    batch = batch_of(day=pa.array([date(2025, 3, 3), date(1, 1, 1), None]), f=pa.array([1, 2, 3], pa.int64()))
    (chunk,) = chunks(view_of(RowSchema(("f",), ("long",)), ("day",)), [batch])
    assert [key for key, _ in chunk.rows] == [encode_key([date(2025, 3, 3)]), encode_key([date(1, 1, 1)])]
    assert (chunk.key_types, chunk.without_key) == (("date",), 1)
