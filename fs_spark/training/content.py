"""What a frame holds, as digests: of all of it, which sees every bit, and of each column, which tells where they
differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, NullType

from fs_spark.transforms.digest import Seen, combine_digests, hash_sums, partition_digests, row_hash, sum_of
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


def digest_and_seen(frame: DataFrame, *, time: str, keys: Sequence[str]) -> tuple[str, int, Seen]:
    """Digest and row count, and in the same pass the range of a time and the values of keys that have few."""
    rows = partition_digests(frame, time=time, keys=keys).collect()
    seen = Seen(time, keys)
    for row in rows:
        seen.add(row["seen"])
    return *combine_digests([(row["digest"], row["rows"]) for row in rows], list(frame.dtypes)), seen


@dataclass(frozen=True)
class Content:
    """What a frame holds; `columns` are digests by column, `empty` shares of rows without any feature by view."""

    digest: str
    rows: int
    columns: dict[str, str]
    empty: dict[str, float]


@dataclass(frozen=True)
class Watched:
    """A frame whose rows are counted and added up, as hashes, in the pass in which they are first read."""

    rows: DataFrame
    _told: Observation

    @classmethod
    def of(cls, frame: DataFrame) -> Watched:
        told = Observation()
        counted = F.count(F.lit(1)).alias("rows")
        return cls(frame.observe(told, counted, *hash_sums(row_hash(frame.columns), "sum")), told)

    @property
    def seen(self) -> tuple[int, int]:
        """The number of rows, and the sum of their hashes, when they have been read."""
        return int(self._told.get["rows"]), sum_of(self._told.get, "sum")


def content_of(frame: DataFrame, outputs: Mapping[str, Sequence[str]]) -> Content:
    """All that a manifest says of a frame's rows, in one pass."""
    told = Observation()
    hashed = frame.select("*", *_hashes(frame.columns))
    seen = hashed.observe(told, *_column_sums(frame.columns), *_empty_counts(outputs))
    digest, rows = digest_of(seen.select(*(F.col(f"`{name}`") for name in frame.columns)))
    found = told.get
    return Content(digest, rows, _as_digests(frame.columns, found), _as_shares(outputs, found, rows))


def column_digests(frame: DataFrame) -> dict[str, str]:
    """Of each column the sum of its values' hashes, exact in any order: `sum:nulls`."""
    hashed = frame.select("*", *_hashes(frame.columns))
    return _as_digests(frame.columns, hashed.agg(*_column_sums(frame.columns)).collect()[0].asDict())


def _hashes(columns: Sequence[str]) -> list[Column]:
    return [F.xxhash64(F.col(f"`{name}`")).alias(f"__hash_{at}") for at, name in enumerate(columns)]


def _column_sums(columns: Sequence[str]) -> list[Column]:
    wanted = []
    for at, name in enumerate(columns):
        wanted += hash_sums(F.col(f"__hash_{at}"), f"sum_{at}")
        wanted.append(F.count_if(F.col(f"`{name}`").isNull()).alias(f"nulls_{at}"))
    return wanted


def _as_digests(columns: Sequence[str], found: Mapping[str, Any]) -> dict[str, str]:
    return {name: f"{sum_of(found, f'sum_{at}'):x}:{found[f'nulls_{at}']}" for at, name in enumerate(columns)}


def _empty_counts(outputs: Mapping[str, Sequence[str]]) -> list[Column]:
    """By view, in how many rows all of its features are null."""
    wanted = []
    for at, columns in enumerate(outputs.values()):
        none = F.lit(True)
        for name in columns:
            none = none & F.col(f"`{name}`").isNull()
        wanted.append(F.count_if(none).alias(f"empty_{at}"))
    return wanted


def _as_shares(outputs: Mapping[str, Sequence[str]], found: Mapping[str, Any], rows: int) -> dict[str, float]:
    return {view: (found[f"empty_{at}"] or 0) / rows if rows else 0.0 for at, view in enumerate(outputs)}
