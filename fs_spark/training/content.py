"""What a frame holds, as digests: of all of it, which sees every bit, and of each column, which tells where they
differ."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, NullType

from fs_spark.transforms.digest import combine_digests, partition_digests
from fs_spark.transforms.ordering import is_orderable


def unkept(types: Mapping[str, DataType]) -> list[str]:
    """Which columns no digest can be made of, as text: their values have no order, no equality, or no type."""
    return [
        f"{name} ({kind.simpleString()})"
        for name, kind in types.items()
        if not is_orderable(kind) or isinstance(kind, NullType)
    ]


def digest_of(frame: DataFrame) -> tuple[str, int]:
    """Content digest and row count of a frame; the same for any order and partitioning of its rows."""
    parts = [(row["digest"], row["rows"]) for row in partition_digests(frame).collect()]
    return combine_digests(parts, list(frame.dtypes))


def column_digests(frame: DataFrame) -> dict[str, str]:
    """Of each column the sum of its values' hashes, exact in any order: `sum:nulls`."""
    wanted = []
    for at, name in enumerate(frame.columns):
        column = F.col(f"`{name}`")
        wanted.append(F.sum(F.xxhash64(column).cast("decimal(38,0)")).alias(f"sum_{at}"))
        wanted.append(F.count_if(column.isNull()).alias(f"nulls_{at}"))
    row = frame.agg(*wanted).collect()[0]
    return {name: f"{int(row[f'sum_{at}'] or 0):x}:{row[f'nulls_{at}']}" for at, name in enumerate(frame.columns)}


def empty_shares(frame: DataFrame, outputs: dict[str, list[str]]) -> dict[str, float]:
    """By view, the share of rows in which all of its features are null."""
    wanted = [F.count(F.lit(1)).alias("rows")]
    for at, columns in enumerate(outputs.values()):
        none = F.lit(True)
        for name in columns:
            none = none & F.col(f"`{name}`").isNull()
        wanted.append(F.count_if(none).alias(f"empty_{at}"))
    row = frame.agg(*wanted).collect()[0]
    return {view: row[f"empty_{at}"] / row["rows"] if row["rows"] else 0.0 for at, view in enumerate(outputs)}
