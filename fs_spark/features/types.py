"""The types of keys and features, everywhere alike: in configuration, tables, digests, the online store and pandas."""

from __future__ import annotations

from typing import Final, Literal

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
