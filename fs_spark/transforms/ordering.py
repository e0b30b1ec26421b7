"""Which types Spark can order, for values of the others something that it can, and what orders rows of one event."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    AtomicType,
    CalendarIntervalType,
    DataType,
    MapType,
    NullType,
    StringType,
    StructType,
    UserDefinedType,
    VariantType,
)

from fs_spark import names as n

_SPATIAL = ("geometry", "geography")


def in_order(rows: DataFrame, columns: Iterable[str]) -> DataFrame:
    """Rows of a view whose `sequence` holds what else orders rows of one event; as they are where that was not kept."""
    there = ["`" + c.replace("`", "``") + "`" for c in columns if c in rows.columns]
    return rows.withColumn(n.SEQUENCE, F.struct(n.SEQUENCE, *there)) if there else rows


def is_orderable(kind: DataType) -> bool:
    """Whether Spark orders values of a type, and so compares them for equality, groups and sorts by them."""
    if isinstance(kind, ArrayType):
        return is_orderable(kind.elementType)
    if isinstance(kind, StructType):
        return all(is_orderable(field.dataType) for field in kind.fields)
    if isinstance(kind, UserDefinedType):
        return is_orderable(kind.sqlType())
    if isinstance(kind, VariantType) or _is_spatial(kind):
        return False
    return isinstance(kind, (AtomicType, NullType))


def is_binary(kind: DataType) -> bool:
    """Whether equal values have equal bytes: not so for texts of a collation such as UTF8_LCASE."""
    if isinstance(kind, ArrayType):
        return is_binary(kind.elementType)
    if isinstance(kind, StructType):
        return all(is_binary(field.dataType) for field in kind.fields)
    return not isinstance(kind, StringType) or kind.collation == "UTF8_BINARY"


def _is_spatial(kind: DataType) -> bool:
    return kind.simpleString().startswith(_SPATIAL)  # these types came with Spark 4.1


def _field(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def comparable(kind: DataType, value: str, depth: int = 0) -> str | None:
    """SQL text of what orders values of a type: equal where these are equal, another where they are not.

    A map counts by its entries in the order of their keys, a variant by its JSON text and schema, an interval by its
    text, a text by its bytes whatever its collation; inside of arrays and structs too. None for an unknown type.
    """
    if is_orderable(kind) and is_binary(kind):
        return value
    if isinstance(kind, StringType):
        return f"({value} COLLATE UTF8_BINARY)"
    entry = f"e{depth}"
    if isinstance(kind, MapType):
        key = comparable(kind.keyType, f"{entry}.key", depth + 1)
        held = comparable(kind.valueType, f"{entry}.value", depth + 1)
        if key is None or held is None:
            return None
        return f"array_sort(transform(map_entries({value}), {entry} -> struct({key} AS k, {held} AS v)))"
    if isinstance(kind, ArrayType):
        element = comparable(kind.elementType, entry, depth + 1)
        return None if element is None else f"transform({value}, {entry} -> {element})"
    if isinstance(kind, StructType):
        fields = [comparable(f.dataType, f"{value}.{_field(f.name)}", depth) for f in kind.fields]
        if len({f.name.lower() for f in kind.fields}) < len(fields) or None in fields:
            return None
        named = ", ".join(f"{text} AS f{i}" for i, text in enumerate(fields))
        return f"IF({value} IS NULL, NULL, struct({named}))"
    if isinstance(kind, VariantType):
        return f"struct(to_json({value}) AS j, schema_of_variant({value}) AS s)"
    if isinstance(kind, CalendarIntervalType):
        return f"CAST({value} AS STRING)"
    if _is_spatial(kind):
        return f"struct(st_asbinary({value}) AS b, st_srid({value}) AS s)"
    return None
