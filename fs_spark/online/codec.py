"""Keys and rows as bytes, exactly: what an online store holds.

Key    per column: tag ``s``, ``i`` or ``d``, a length of four bytes, the text in UTF-8, or the integer or a date's days
       since 1970 in their fewest bytes (big endian, signed), so that equal keys and only equal keys have equal bytes.
Row    null bits (column i is bit ``i % 8`` of byte ``i // 8``), the columns of fixed width in the schema's order
       (little endian), then per column of other width, in the schema's order: of a text a length of four bytes and its
       UTF-8; of an array a count of four bytes, null bits of its elements and eight bytes for each. A null keeps its
       place, as zeros.
Value  of a key: its rows one behind the other, the oldest first.
"""

from __future__ import annotations

import functools
import json
import math
import operator
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, TypeAlias

from fs_spark.errors import RequestError, SchemaError

Value: TypeAlias = float | int | bool | str | Sequence[float | None] | None

STRING: Final = "string"
DOUBLES: Final = "array<double>"
CODES: Final = {"double": "d", "float": "f", "long": "q", "int": "i", "boolean": "?", "timestamp": "q", "date": "i"}
"""Types of fixed width and their `struct` codes; a timestamp is whole microseconds since 1970 in UTC, a date days."""
TYPES: Final = (*CODES, STRING, DOUBLES)
_PYTHON: Final = {"double": float, "float": float, "boolean": bool, STRING: str, DOUBLES: list}  # the others are int
_LENGTH: Final = struct.Struct("<I")
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class RowSchema:
    """Names and types of a row's columns, in their order.

    Raises  SchemaError with every fault: a name twice, a type that is none of `TYPES`

    >>> RowSchema(("vdd", "visits"), ("double", "int")).to_json()
    '{"names": ["vdd", "visits"], "types": ["double", "int"]}'
    """

    names: tuple[str, ...]
    types: tuple[str, ...]

    def __post_init__(self) -> None:
        faults = [f"column {name!r} is there twice" for name, n in Counter(self.names).items() if n > 1]
        if len(self.names) != len(self.types):
            faults.append(f"{len(self.names)} names for {len(self.types)} types")
        for name, kind in zip(self.names, self.types, strict=False):
            if kind not in TYPES:
                faults.append(f"column {name!r} has type {kind!r}")
        if faults:
            raise SchemaError(f"row schema: {'; '.join(faults)}.\nHint: the types are {', '.join(TYPES)}.")

    def to_json(self) -> str:
        return json.dumps({"names": self.names, "types": self.types})

    @classmethod
    def from_json(cls, text: str) -> RowSchema:
        fields = json.loads(text)
        return cls(tuple(fields["names"]), tuple(fields["types"]))


KEY_TAGS: Final = {"string": b"s", "integer": b"i", "date": b"d"}
"""Types of key columns, and how the bytes of a value of that type begin."""
_KEY_PYTHON: Final = {"string": str, "integer": int, "date": date}


def key_part(value: object) -> bytes:
    """One column of a key. Any integer will do, of any width (numpy's too); a bool, a float or a time will not.

    Raises  RequestError
    """
    if isinstance(value, str):
        body = _utf8(value)
        return KEY_TAGS["string"] + _LENGTH.pack(len(body)) + body
    if isinstance(value, date) and not isinstance(value, datetime):
        return day_part(value.toordinal() - _FIRST_DAY)
    return KEY_TAGS["integer"] + _counted(_integer(value))


def key_column(kind: str, values: Sequence[object]) -> list[bytes] | None:
    """A column of many keys; None where a value is not just of the column's type: `key_part` takes it or says why."""
    if kind not in _KEY_PYTHON or set(map(type, values)) != {_KEY_PYTHON[kind]}:
        return None
    if kind == "string":
        tag, pack = KEY_TAGS["string"], _LENGTH.pack
        try:
            return [tag + pack(len(body)) + body for body in map(str.encode, values)]  # type: ignore[arg-type]
        except UnicodeEncodeError:
            return None
    return list(map(key_part, values))


def day_part(days: int) -> bytes:
    """A date as a column of a key, from its days since 1970."""
    return KEY_TAGS["date"] + _counted(days)


def _counted(number: int) -> bytes:
    body = number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)
    return _LENGTH.pack(len(body)) + body


def join_key(parts: Sequence[bytes | None]) -> bytes | None:
    """A key from its columns' parts; None where one is None, because a null equals nothing."""
    return None if None in parts else b"".join(parts)  # type: ignore[arg-type]


def encode_key(values: Sequence[object]) -> bytes | None:
    """A key of several columns, None where a column is None. Raises  RequestError as `key_part` does"""
    return join_key([None if value is None else key_part(value) for value in values])


def decode_key(key: bytes) -> tuple[str | int | date, ...]:
    """The values of a key's columns. Raises  SchemaError for bytes that are not a key"""
    found: list[str | int | date] = []
    at = 0
    while at < len(key):
        tag, (length,) = key[at : at + 1], _LENGTH.unpack_from(key.ljust(at + 5, b"\0"), at + 1)
        body = key[at + 5 : at + 5 + length]
        if tag not in KEY_TAGS.values() or len(body) != length:
            raise SchemaError(f"{key!r} is not a key.\nHint: export the service again.")
        if tag == KEY_TAGS["string"]:
            found.append(body.decode())
        else:
            number = int.from_bytes(body, "big", signed=True)
            found.append(number if tag == KEY_TAGS["integer"] else date.fromordinal(number + _FIRST_DAY))
        at += 5 + length
    return tuple(found)


class RowCodec:
    """Encodes and decodes the rows of one schema. `row_codec` keeps one per schema."""

    def __init__(self, schema: RowSchema) -> None:
        self.schema = schema
        self.null_bytes = (len(schema.names) + 7) // 8
        self.fixed = [i for i, kind in enumerate(schema.types) if kind in CODES]
        self.variable = [i for i, kind in enumerate(schema.types) if kind not in CODES]
        self.head = struct.Struct(f"<{self.null_bytes}s" + "".join(CODES[schema.types[i]] for i in self.fixed))
        self.size_of_one = 0 if self.variable else self.head.size
        """Of every row, where all columns are of fixed width."""
        self._unpack, self._no_nulls = self.head.unpack_from, bytes(self.null_bytes)
        stored = [*self.fixed, *self.variable]
        self._in_order = operator.itemgetter(*map(stored.index, range(len(stored)))) if len(stored) > 1 else tuple

    def encode(self, values: Sequence[Value]) -> bytes:
        """One row. Raises  SchemaError for a value that its column's type cannot hold exactly"""
        if len(values) != len(self.schema.names):
            raise SchemaError(f"a row of {len(self.schema.names)} columns, found {len(values)} values.")
        for name, kind, value in zip(self.schema.names, self.schema.types, values, strict=True):
            _check_value(name, kind, value)
        bits = sum(1 << i for i, value in enumerate(values) if value is None)
        fixed = (0 if values[i] is None else values[i] for i in self.fixed)
        head = self.head.pack(bits.to_bytes(self.null_bytes, "little"), *fixed)
        return head + b"".join(_part(values[i]) for i in self.variable)

    def decode(self, row: bytes) -> tuple[Value, ...]:
        """The values of one row. Raises  SchemaError for bytes that this schema did not write"""
        rows = self.decode_rows(row)
        if len(rows) > 1:
            raise self._misfit(f"{len(rows)} rows instead of one")
        return rows[0]

    def decode_one(self, value: bytes, at: int) -> tuple[Value, ...]:
        """The row at a place where `size_of_one` bytes are left: faster than `decode_rows`."""
        parts = self._unpack(value, at)
        return parts[1:] if parts[0] == self._no_nulls else _with_nulls(parts[1:], parts[0])

    def decode_rows(self, value: bytes, at: int = 0) -> list[tuple[Value, ...]]:
        """The values of each row that a key holds, oldest first, from a place on. Raises  SchemaError as `decode`"""
        rows: list[tuple[Value, ...]] = []
        unpack, size, end = self._unpack, self.head.size, len(value)
        try:
            if not size and end > at:
                raise ValueError(f"{end} bytes instead of {at}")
            while at < end or not rows:
                parts = unpack(value, at)
                at += size
                nulls, found = parts[0], parts[1:]
                if self.variable:
                    found, at = self._with_variable(found, value, at)
                rows.append(found if nulls == self._no_nulls else _with_nulls(found, nulls))
        except (struct.error, ValueError) as fault:
            raise self._misfit(str(fault)) from fault
        return rows

    def _with_variable(self, fixed: tuple[Value, ...], row: bytes, at: int) -> tuple[tuple[Value, ...], int]:
        values = [*fixed]
        for i in self.variable:
            (length,) = _LENGTH.unpack_from(row, at)
            at += _LENGTH.size
            value: Value
            if self.schema.types[i] == STRING:
                value, at = row[at : at + length].decode(), at + length
            else:
                value, at = _doubles(row, at, length)
            values.append(value)
        if at > len(row):
            raise ValueError(f"{len(row)} bytes instead of {at}")
        return self._in_order(values), at

    def _misfit(self, fault: str) -> SchemaError:
        return SchemaError(
            f"a stored row does not fit its schema {self.schema.names}: {fault}.\nHint: export the service again."
        )


def _with_nulls(values: tuple[Value, ...], nulls: bytes) -> tuple[Value, ...]:
    """The values, None where a bit is set."""
    found = list(values)
    bits = int.from_bytes(nulls, "little") & ((1 << len(found)) - 1)
    while bits:
        lowest = bits & -bits
        found[lowest.bit_length() - 1] = None
        bits ^= lowest
    return tuple(found)


def _doubles(row: bytes, at: int, count: int) -> tuple[list[float | None], int]:
    """The elements of an array, and where the next column begins."""
    marks, at = row[at : at + (count + 7) // 8], at + (count + 7) // 8
    if at + 8 * count > len(row):  # before anything of that size is made
        raise ValueError(f"{len(row)} bytes instead of {at + 8 * count}")
    found: list[float | None] = list(struct.unpack_from(f"<{count}d", row, at))
    if any(marks):
        found = [None if marks[i >> 3] >> (i & 7) & 1 else one for i, one in enumerate(found)]
    return found, at + 8 * count


@functools.lru_cache(maxsize=256)
def row_codec(schema: RowSchema) -> RowCodec:
    return RowCodec(schema)


def text_part(value: object) -> bytes:
    """One text column of a row; a null is empty."""
    body = b"" if value is None else _utf8(str(value))
    return _LENGTH.pack(len(body)) + body


def doubles_part(values: Sequence[float | None]) -> bytes:
    """One column of arrays of a row."""
    bits = sum(1 << i for i, value in enumerate(values) if value is None)
    marks = bits.to_bytes((len(values) + 7) // 8, "little")
    plain = [0.0 if value is None else value for value in values]
    return _LENGTH.pack(len(plain)) + marks + struct.pack(f"<{len(plain)}d", *plain)


def _part(value: Value) -> bytes:
    return doubles_part(value) if isinstance(value, list) else text_part(value)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as fault:
        raise RequestError(f"text {text!r} is not valid Unicode.\nHint: decode it before, as UTF-8.") from fault


def _integer(value: object) -> int:
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise RequestError(
        f"a key is text or an integer, found {value!r} ({type(value).__name__}).\n"
        f"Hint: floats, bools and times never match a stored key; pass int(...), str(...) or a datetime.date."
    )


def _check_value(name: str, kind: str, value: Value) -> None:
    if value is None:
        return
    right = isinstance(value, _PYTHON.get(kind, int)) and (kind == "boolean" or not isinstance(value, bool))
    if isinstance(value, list):
        right = kind == DOUBLES and all(one is None or isinstance(one, float) for one in value)
    if right and kind in CODES:
        try:
            (back,) = struct.unpack("<" + CODES[kind], struct.pack("<" + CODES[kind], value))
            right = back == value or (isinstance(value, float) and math.isnan(value))
        except (struct.error, OverflowError):
            right = False
    if not right:
        raise SchemaError(f"column {name!r} is {kind}, which cannot hold {value!r} exactly.")
