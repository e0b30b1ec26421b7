"""Which rows of a table changed between two of its versions."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark.tables import Tables
from fs_spark.transforms.digest import unit_checksum
from fs_spark.transforms.kept import only_units

_ADDED = "__added"
_COMMIT = "_commit_version"
_SAME_ROWS = frozenset({"OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES"})


def changed_rows(tables: Tables, name: str, since: int, until: int, units: Sequence[str]) -> DataFrame:
    """Rows that are in one of two versions and not in the other, with the table's columns; a row may come twice.

    From the table's change feed where it has one for these commits, else by comparing its `units`.
    """
    if since <= until and tables.has_change_feed(name):
        feed = tables.change_feed(name, since, until)
        columns = tables.columns(name, until)
        sign = F.when(F.col("_change_type").isin("insert", "update_postimage"), 1).otherwise(-1)
        told = feed.select(*(F.col(f"`{c}`") for c in columns), sign.alias(_ADDED))
        net = told.groupBy(*(F.col(f"`{c}`") for c in columns)).agg(F.sum(_ADDED).alias(_ADDED))
        return net.where(F.col(_ADDED) != 0).drop(_ADDED)
    then, now = _alike(tables.read(name, since), tables.read(name, until))
    moved = _moved(then, now, units)
    return only_units(then, units=moved).unionByName(only_units(now, units=moved))


def changed_keys(
    tables: Tables, name: str, since: int, until: int, units: Sequence[str], keys: Sequence[str]
) -> DataFrame:
    """The keys whose rows, all of them together, were changed to the bit by any commit between two versions; each once.

    Also where a later commit changed them back: somebody may hold what they were in between.
    """
    if since == until:
        return tables.read(name, until).select(*keys).where("false")
    if since < until and tables.has_change_feed(name):
        feed = tables.change_feed(name, since, until)
        columns = [F.col(f"`{c}`") for c in [*tables.columns(name, until), _COMMIT]]
        is_added = F.col("_change_type").isin("insert", "update_postimage")
        moved = _moved(feed.where(~is_added).select(*columns), feed.where(is_added).select(*columns), [*keys, _COMMIT])
        return moved.select(*keys).distinct()
    pairs = itertools.pairwise(steps(tables, name, since, until))
    found = [_changed_keys(tables, name, a, b, units, keys) for a, b in pairs]
    return functools.reduce(DataFrame.unionByName, found).distinct()


def steps(tables: Tables, name: str, since: int, until: int) -> list[int]:
    """Versions of a table from one to another; of those between, the ones whose commit may have changed rows."""
    commits = {commit.version: commit.operation for commit in tables.history(name)}
    return [since, *(at for at in range(since + 1, until) if commits.get(at) not in _SAME_ROWS), until]


def _changed_keys(
    tables: Tables, name: str, since: int, until: int, units: Sequence[str], keys: Sequence[str]
) -> DataFrame:
    then, now = _alike(tables.read(name, since), tables.read(name, until))
    moved = _moved(then, now, units)
    return _moved(only_units(then, units=moved), only_units(now, units=moved), keys)


def _moved(then: DataFrame, now: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Keys whose rows in two frames are not the same."""

    def sums(frame: DataFrame, called: str) -> DataFrame:
        return frame.groupBy(*keys).agg(F.struct(F.count(F.lit(1)), unit_checksum(frame.columns)).alias(called))

    found = sums(then, "then").join(sums(now, "now"), list(keys), "full")
    return found.where(~F.col("then").eqNullSafe(F.col("now"))).select(*keys)


def _alike(then: DataFrame, now: DataFrame) -> tuple[DataFrame, DataFrame]:
    """Both with the columns of the second: some may have come since, or gone by a restore."""
    kinds = {f.name: f.dataType for f in now.schema.fields}
    lacking = {c: F.lit(None).cast(kind) for c, kind in kinds.items() if c not in then.columns}
    then = then.withColumns(lacking) if lacking else then
    return then.select(*(F.col(f"`{c}`") for c in now.columns)), now
