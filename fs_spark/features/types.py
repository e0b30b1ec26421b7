"""The types of keys and features, everywhere alike: in configuration, tables, digests, the online store and pandas."""

from __future__ import annotations

from typing import Any, Final, Literal

import pyarrow as pa

ColumnType = Literal["boolean", "int", "bigint", "double", "string", "date", "timestamp", "array<double>"]
KeyType = Literal["string", "int", "bigint", "date"]

ARROW: Final[dict[str, pa.DataType]] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "array<double>": pa.list_(pa.float64()),
}
"""Name, which is Spark's own, -> type in Arrow."""
NUMBERS: Final = frozenset({"int", "bigint", "double"})


def type_name(kind: Any) -> str | None:
    """The name of an Arrow type, None where no column may have it; a whole number or float of few bits is widened."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "string"
    if pa.types.is_int8(kind) or pa.types.is_int16(kind):
        return "int"
    if pa.types.is_float32(kind):
        return "double"
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return "timestamp"
    return next((name for name, arrow in ARROW.items() if arrow == kind), None)
