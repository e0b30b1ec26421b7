"""The bytes of keys and rows: exact there and back, equal for equal keys only."""

from __future__ import annotations

import math
import struct
from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fs_spark.errors import RequestError, SchemaError
from fs_spark.online.codec import TYPES, RowSchema, Value, encode_key, join_key, key_column, key_part, row_codec

# hypothesis builds its table of Unicode in the first draw of a text, which takes seconds on a busy machine
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEY_VALUE = st.text() | st.integers()
VALUES: dict[str, st.SearchStrategy[Value]] = {
    "double": st.floats(allow_nan=True, allow_infinity=True),
    "float": st.floats(width=32),
    "long": st.integers(-(2**63), 2**63 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
    "boolean": st.booleans(),
    "string": st.text(),
    "timestamp": st.integers(-(2**63), 2**63 - 1),
    "date": st.integers(-(2**31), 2**31 - 1),
    "array<double>": st.lists(st.none() | st.floats(), max_size=9),
}


@st.composite
def schema_and_row(draw: st.DrawFn) -> tuple[RowSchema, list[Value]]:
    types = draw(st.lists(st.sampled_from(TYPES), max_size=20))
    return RowSchema(tuple(f"c{i}" for i in range(len(types))), tuple(types)), [
        draw(st.none() | VALUES[kind]) for kind in types
    ]


def same(found: Value, wanted: Value) -> bool:
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(same(f, w) for f, w in zip(found, wanted, strict=True))
    if isinstance(wanted, float) and isinstance(found, float):
        return struct.pack("d", found) == struct.pack("d", wanted) or (math.isnan(found) and math.isnan(wanted))
    return type(found) is type(wanted) and found == wanted


@patient
@given(schema_and_row())
def test_a_row_comes_back_as_it_was(case: tuple[RowSchema, list[Value]]) -> None:
    schema, row = case
    codec = row_codec(schema)
    found = codec.decode(codec.encode(row))
    assert len(found) == len(row)
    assert all(same(f, w) for f, w in zip(found, row, strict=True)), (found, row)


@patient
@given(schema_and_row())
def test_a_schema_comes_back_from_json(case: tuple[RowSchema, list[Value]]) -> None:
    assert RowSchema.from_json(case[0].to_json()) == case[0]


@patient
@given(st.lists(st.none() | st.floats(), min_size=1, max_size=20))
def test_one_row_of_fixed_width_is_decoded_as_rows_are(values: list[Value]) -> None:
    codec = row_codec(RowSchema(tuple(f"c{i}" for i in range(len(values))), ("double",) * len(values)))
    row = codec.encode(values)
    assert len(row) == codec.size_of_one
    assert all(same(f, w) for f, w in zip(codec.decode_one(b"head" + row, 4), values, strict=True))


def test_a_row_as_bytes_is_what_the_docstring_says() -> None:
    schema = RowSchema(("a", "note", "n", "ok"), ("double", "string", "int", "boolean"))
    wanted = bytes([0b0100]) + struct.pack("<d", -0.0) + b"\0\0\0\0" + b"\1" + b"\2\0\0\0" + "µ".encode()
    assert row_codec(schema).encode([-0.0, "µ", None, True]) == wanted


def test_dates_and_arrays_as_bytes() -> None:
    kinds = ("array<double>", "date", "string", "array<double>", "array<double>")
    row: list[Value] = [[1.5, None], -1, "x", None, []]
    wanted = bytes([0b1000]) + struct.pack("<i", -1)
    wanted += b"\2\0\0\0" + bytes([0b10]) + struct.pack("<dd", 1.5, 0.0) + b"\1\0\0\0x" + bytes(8)
    codec = row_codec(RowSchema(("p", "day", "note", "q", "empty"), kinds))
    assert codec.encode(row) == wanted
    assert codec.decode(wanted) == tuple(row)
    assert codec.decode_rows(wanted * 3) == [tuple(row)] * 3
    huge = wanted[:5] + b"\xff\xff\xff\xff" + wanted[9:]
    with pytest.raises(SchemaError, match="export the service again"):
        codec.decode(huge)


def test_a_date_is_a_key_and_no_other() -> None:
    days = [date(1, 1, 1), date(1969, 12, 31), date(1970, 1, 1), date(9999, 12, 31)]
    assert len({encode_key([day]) for day in days}) == len(days)
    assert encode_key([date(1970, 1, 2)]) not in (encode_key([1]), encode_key(["1970-01-02"]))
    with pytest.raises(RequestError, match="Hint: floats, bools and times"):
        encode_key([datetime(1970, 1, 2)])


def test_the_ninth_column_has_its_own_null_bit() -> None:
    codec = row_codec(RowSchema(tuple("abcdefghi"), ("int",) * 9))
    assert codec.decode(codec.encode([*range(8), None])) == (*range(8), None)
    assert codec.decode(codec.encode([None, *range(8)])) == (None, *range(8))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("float", 0.1),
        ("float", 1e300),
        ("int", 2**31),
        ("long", -(2**63) - 1),
        ("int", True),
        ("int", 1.0),
        ("double", 1),
        ("boolean", 1),
        ("string", 3),
        ("timestamp", 1.5),
        ("date", 2**31),
        ("date", "2025-03-03"),
        ("array<double>", 1.5),
        ("array<double>", [1]),
        ("double", [1.5]),
    ],
)
def test_a_value_that_the_type_cannot_hold_is_refused(kind: str, value: Value) -> None:
    with pytest.raises(SchemaError, match="column 'a'"):
        row_codec(RowSchema(("a",), (kind,))).encode([value])


@pytest.mark.parametrize("types", [("double",), ("double", "string"), ("string",)])
def test_bytes_of_another_schema_are_refused(types: tuple[str, ...]) -> None:
    schema = RowSchema(tuple("ab"[: len(types)]), types)
    row = row_codec(schema).encode([None if kind == "double" else "text" for kind in types])
    for wrong in (row[:-1], row + b"\0", b""):
        with pytest.raises(SchemaError, match="export the service again"):
            row_codec(schema).decode(wrong)


def test_a_schema_tells_all_its_faults() -> None:
    with pytest.raises(SchemaError) as fault:
        RowSchema(("a", "a", "b"), ("double", "decimal(10,2)"))
    text = str(fault.value)
    assert "'a' is there twice" in text
    assert "decimal(10,2)" in text
    assert "3 names for 2 types" in text
    assert "Hint: the types are double" in text


@patient
@given(st.lists(KEY_VALUE, min_size=1, max_size=4), st.lists(KEY_VALUE, min_size=1, max_size=4))
def test_only_equal_keys_have_equal_bytes(a: list[str | int], b: list[str | int]) -> None:
    assert (encode_key(a) == encode_key(b)) == (a == b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, 11), (11, 1)),
        (("a", "bc"), ("ab", "c")),
        (("as", "b"), ("a", "sb")),
        (("1",), (1,)),
        (("",), (0,)),
        ((-1,), (255,)),
        ((128,), (-128,)),
    ],
)
def test_keys_that_look_alike_differ(a: tuple[object, ...], b: tuple[object, ...]) -> None:
    assert encode_key(a) != encode_key(b)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.int64, np.uint8])
def test_an_integer_of_any_width_is_the_same_key(kind: type[np.integer]) -> None:
    assert encode_key(["L1", kind(7)]) == encode_key([np.str_("L1"), 7])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("string", ["L1", "", "µ" * 127, "µ" * 128, "x" * 70_000]),
        ("integer", [0, -1, 2**63 - 1, -(2**70)]),
        ("date", [date(1, 1, 1), date(2025, 3, 3)]),
    ],
)
def test_a_column_of_keys_is_what_its_values_are(kind: str, values: list[object]) -> None:
    assert key_column(kind, values) == list(map(key_part, values))
    for other in (None, 1.0, True, np.int64(1), "\ud800", datetime(2025, 3, 3)):
        assert key_column(kind, [*values, other]) is None
    assert key_column("", values) is None


def test_a_null_is_no_key() -> None:
    assert encode_key(["L1", None]) is None
    assert join_key([key_part("L1"), key_part(3)]) == encode_key(["L1", 3])


@pytest.mark.parametrize("value", [1.0, True, float("nan"), np.float64(1), np.bool_(True), b"L1", "\ud800", [1]])
def test_what_is_neither_text_nor_integer_is_no_key(value: object) -> None:
    with pytest.raises(RequestError, match="Hint"):
        encode_key([value])
    with pytest.raises(RequestError, match="Hint"):  # beside a null too
        encode_key([None, value])
