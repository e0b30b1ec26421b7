"""Tables whose rows are replaced unit by unit: which units came out different, and their replacement in one commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from fs_spark.features.table_view import UNIT_KEYS
from fs_spark.tables import Tables
from fs_spark.transforms.digest import unit_checksum
from fs_spark.transforms.kept import only_units
from fs_spark.transforms.unit_columns import UNIT_BUCKET, UNIT_FROM

_CHANGED = "__changed"
_GONE = "__gone"
_NEW = "__new"


@dataclass(frozen=True)
class Written:
    """What one write of a table did: units with other rows, units without rows, and the version afterwards."""

    changed: int
    removed: int
    version: int


def _sums(frame: DataFrame, keys: Sequence[str], name: str) -> DataFrame:
    return frame.groupBy(*keys).agg(F.struct(F.count(F.lit(1)), unit_checksum(sorted(frame.columns))).alias(name))


def differing_units(rows: DataFrame, stored: DataFrame) -> DataFrame:
    """Units whose rows are others, with `__gone` where none are left and `__new` where there were none."""
    keys = list(UNIT_KEYS)
    found = _sums(rows, keys, "new").join(_sums(stored, keys, "old"), keys, "full")
    differing = found.where(~F.col("new").eqNullSafe(F.col("old")))
    return differing.select(*keys, F.col("new").isNull().alias(_GONE), F.col("old").isNull().alias(_NEW))


def replace_units(
    tables: Tables,
    name: str,
    rows: DataFrame,
    stored: DataFrame,
    *,
    based_on: int,
    made_from: dict[str, Any],
    must_commit: bool,
) -> Written | None:
    """Writes the units of `rows` that differ from the `stored` ones, and takes out those that are gone.

    `rows` must come out the same at each reading; `stored` are the rows of the same units. With `must_commit` a commit
    without rows says what the table is up to where no row changes.

    None where another job wrote the table since `based_on`: look again.
    """
    keys = list(UNIT_KEYS)
    if tables.is_empty(name, based_on) and (changed := rows.select(*keys).distinct().count()):
        version = tables.swap(name, rows, based_on=based_on, made_from=made_from)
        return None if version is None else Written(changed, 0, version)
    differing = differing_units(rows, stored).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        gone, new = F.col(_GONE), F.col(_NEW)
        counts = differing.agg(
            F.count(F.when(~gone, 1)), F.count(F.when(gone, 1)), F.count(F.when(~gone & ~new, 1))
        ).collect()[0]
        changed, removed, replaced = int(counts[0]), int(counts[1]), int(counts[2])
        if not changed and not removed:
            if not must_commit:
                return Written(0, 0, based_on)
            version = tables.swap(name, rows.where("false"), based_on=based_on, made_from=made_from)
            return None if version is None else Written(0, 0, version)
        chosen = only_units(rows, units=differing.select(*keys))
        replacing: str | Sequence[str] | None = None
        if removed:  # a unit without rows has no row to replace it by
            replacing = _condition(differing)
        elif replaced:
            replacing = keys
        version = tables.swap(name, chosen, based_on=based_on, replacing=replacing, made_from=made_from)
        return None if version is None else Written(changed, removed, version)
    finally:
        differing.unpersist()


def write_first_rows(
    tables: Tables, name: str, rows: DataFrame, *, based_on: int, units: Sequence[str], made_from: dict[str, Any]
) -> Written | None:
    """Writes rows where the table has none yet: nothing to compare them with, so that they are computed only once.

    None where another job wrote the table since `based_on`: look again.
    """
    version = tables.swap(name, rows, based_on=based_on, made_from=made_from)
    if version is None:
        return None
    return Written(tables.read(name, version).select(*units).distinct().count(), 0, version)


def _condition(units: DataFrame) -> str:
    """Names these units in SQL, span by span; a span has at most as many as there are buckets."""
    told = units.groupBy(UNIT_FROM).agg(F.sort_array(F.collect_list(UNIT_BUCKET)).alias("buckets"))
    rows = told.select(F.unix_micros(UNIT_FROM).alias("at"), "buckets").collect()
    parts = [
        f"({UNIT_FROM} = timestamp_micros({row['at']}) AND {UNIT_BUCKET} IN ({', '.join(map(str, row['buckets']))}))"
        for row in sorted(rows, key=lambda row: row["at"])
    ]
    return " OR ".join(parts)
