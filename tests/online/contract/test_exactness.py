"""What was published is answered bit for bit, under the key that it was published under and no other."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fs_spark.errors import RequestError
from fs_spark.online import open_online
from fs_spark.online.batches import ViewRows
from fs_spark.online.codec import RowSchema, encode_key
from fs_spark.online.protocol import OnlineStore
from fs_spark.online.records import ServiceRecord, ViewRecord
from tests.online.contract.kinds import Place, ask, bits, stored_keys


def double(pattern: int) -> float:
    (found,) = struct.unpack("<d", struct.pack("<Q", pattern))
    assert isinstance(found, float)
    return found


DOUBLES = [
    0.0, -0.0, 5e-324, -2.2250738585072014e-308, 1.7976931348623157e308, float("inf"), float("-inf"),
    double(0x7FF8000000000001), double(0xFFF8DEADBEEF0001), double(0x7FF8000000000000), 0.1, None,
]  # fmt: skip
LONGS = [0, -1, 2**63 - 1, -(2**63), 255, 256, -256, None]
INTS = [0, -1, 2**31 - 1, -(2**31), None]
TEXTS = ["", "\0", "µ", "\r\n", "$5\r\nhello\r\n", "\U0001f600", "a" * 70_000, "\ufeff", None]
ARRAYS = [
    [], None, [1.5], [None], [None] * 9, [-0.0, None, float("inf")], [double(0xFFF8000000000005)], [0.5] * 1000,
]  # fmt: skip
TIMES = [0, -1, -62135596800000000, 253402300799999999, None]
DATES = [date(1, 1, 1), date(9999, 12, 31), date(1969, 12, 31), None]
COLUMNS: dict[str, tuple[str, pa.DataType, list[Any]]] = {
    "double": ("double", pa.float64(), DOUBLES),
    "float": ("float", pa.float32(), [1.5, -0.0, float("inf"), None]),
    "long": ("long", pa.int64(), LONGS),
    "int": ("int", pa.int32(), INTS),
    "boolean": ("boolean", pa.bool_(), [True, False, None]),
    "string": ("string", pa.string(), TEXTS),
    "timestamp": ("timestamp", pa.timestamp("us", "UTC"), TIMES),
    "date": ("date", pa.date32(), DATES),
    "array": ("array<double>", pa.list_(pa.float64()), ARRAYS),
}
TYPES = ViewRecord(
    "types__v1.0",
    ("i",),
    1,
    tuple((name, name) for name in COLUMNS),
    RowSchema(tuple(COLUMNS), tuple(kind for kind, _, _ in COLUMNS.values())),
)
KEYED = ViewRecord("keyed__v1.0", ("a", "b", "n"), 1, (("x", "x"),), RowSchema(("x",), ("long",)))


def told(name: str, value: Any) -> Any:
    if name == "timestamp" and value is not None:
        return datetime.fromtimestamp(0, UTC) + (datetime.resolution * value)
    return value


def test_values_come_back_bit_for_bit(place: Place, store: OnlineStore) -> None:
    count = max(len(values) for _, _, values in COLUMNS.values())
    service = ServiceRecord("types_v1", (TYPES,))
    nulls = pa.array([None] * count, pa.timestamp("us", "UTC"))
    arrays = [pa.array(range(count), pa.int64()), nulls, nulls]
    names = ["i", "event_timestamp", "available_timestamp"]
    rows = {name: [values[i % len(values)] for i in range(count)] for name, (_, _, values) in COLUMNS.items()}
    for name, (_, kind, _) in COLUMNS.items():
        names.append(name)
        arrays.append(pa.array(rows[name], kind))
    batch = pa.record_batch(arrays, names=names)
    store.publish(service, [ViewRows(TYPES.label, TYPES.keys, TYPES.schema, 1, [batch])])
    found = ask(place.url, "types_v1", [{"i": i} for i in range(count)])
    for i, one in enumerate(found):
        for name in COLUMNS:
            assert bits(one[name]) == bits(told(name, rows[name][i])), (i, name)


Key = tuple[str, str, int]
KEYS = st.tuples(st.text(max_size=6), st.text(max_size=6), st.integers(-(2**63), 2**63 - 1))


def keyed(service: ServiceRecord, keys: list[Key]) -> Iterator[ViewRows]:
    nulls = pa.array([None] * len(keys), pa.timestamp("us", "UTC"))
    columns = [
        pa.array([key[i] for key in keys], kind) for i, kind in enumerate((pa.string(), pa.string(), pa.int64()))
    ]
    numbers = pa.array(range(len(keys)), pa.int64())
    names = [*KEYED.keys, "event_timestamp", "available_timestamp", "x"]
    batch = pa.record_batch([*columns, nulls, nulls, numbers], names=names)
    yield ViewRows(KEYED.label, KEYED.keys, KEYED.schema, 1, [batch])


def asked(key: Key) -> dict[str, Any]:
    return dict(zip(KEYED.keys, key, strict=True))


COLLIDING: list[Key] = [
    ("asb", "", 0), ("a", "bs", 0),
    ("ab", "c", 0), ("a", "bc", 0), ("abc", "", 0), ("", "abc", 0), ("a", "b", -1), ("a", "b", 255), ("a", "b", 256),
    ("a", "b", -256), ("a", "b", -(2**63)), ("é", "", 0), ("e\u0301", "", 0), ("\0", "", 0), ("", "\0", 0), ("", "", 0),
    ("*", "?", 0), ("[a-z]", "\\", 0), ("{1}", "}:", 0), ("fs:1:0:", "\r\n", 0), ("1", "1", 1), ("a" * 5000, "", 0),
]  # fmt: skip


def test_keys_that_look_alike_are_apart(place: Place, store: OnlineStore) -> None:
    service = ServiceRecord("keyed_v1", (KEYED,))
    store.publish(service, keyed(service, COLLIDING))
    assert [one["x"] for one in ask(place.url, "keyed_v1", [asked(key) for key in COLLIDING])] == [
        *range(len(COLLIDING))
    ]
    assert stored_keys(store, "keyed_v1") == {encode_key(key) for key in COLLIDING}
    others: list[Key] = [("ab", "", 0), ("b", "a", -1), ("a", "b", 0), ("E", "", 0), ("1", "11", 1)]
    assert [one["x"] for one in ask(place.url, "keyed_v1", [asked(key) for key in others])] == [None] * len(others)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.lists(KEYS, unique=True, max_size=30), others=st.lists(KEYS, max_size=10))
def test_any_key_finds_its_own_row_and_no_other(
    place: Place, store: OnlineStore, keys: list[Key], others: list[Key]
) -> None:
    service = ServiceRecord("keyed_v1", (KEYED,))
    store.publish(service, keyed(service, keys))
    numbers = {key: i for i, key in enumerate(keys)}
    with open_online(place.url) as reader:
        found = reader.get("keyed_v1", [asked(key) for key in (*keys, *others)])
    assert [one["x"] for one in found] == [numbers.get(key) for key in (*keys, *others)]
    assert stored_keys(store, "keyed_v1") == {encode_key(key) for key in keys}


def test_text_that_is_not_unicode_is_refused(place: Place, store: OnlineStore) -> None:
    service = ServiceRecord("keyed_v1", (KEYED,))
    store.publish(service, keyed(service, COLLIDING))
    with open_online(place.url) as reader, pytest.raises(RequestError, match="not valid Unicode"):
        reader.get("keyed_v1", [asked(("\ud800", "", 0))])
