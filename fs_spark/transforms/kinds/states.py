"""`rolling` and `aggregate`: a row of a group at each instant at which what is known of it changes.

A unit is the keys of a bucket in a span of time. A bucket is computed from an instant on: the rows of one window before
it are read too, and of all rows before these only the newest event of each group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType
from pyspark.sql.window import Window

from fs_spark import names as n
from fs_spark.features.kinds.aggregate import AggregateTransform
from fs_spark.features.kinds.rolling import RollingTransform
from fs_spark.features.table_view import Input, SourceInput, TableView
from fs_spark.schemas import view_layout
from fs_spark.transforms.kinds.computation import Reach, Scope
from fs_spark.transforms.kinds.event_rows import filtered, quoted
from fs_spark.transforms.kinds.state_kernel import (
    EARLIER,
    END,
    EVENT,
    FROM,
    IDENTITY,
    KEY,
    ORDER,
    START,
    VALUE,
    StateKernel,
    statistics_of,
)
from fs_spark.transforms.unit_columns import UNIT_BUCKET, UNIT_FROM, bucket_of, span_start, span_us

_BEGINNING: Final = -(2**61)
_FOREVER: Final = 2**63 - 1


def _reach_us(view: TableView) -> int | None:
    """How long a row can count; None for ever."""
    return view.transform.reach_us if isinstance(view.transform, RollingTransform) else None


def _order(one: Input) -> list[str]:
    if isinstance(one, SourceInput):
        return list(one.order)
    return [n.SEQUENCE, *one.order]


def _versions(rows: DataFrame, one: Input) -> DataFrame:
    """With `__start` and `__end`: from when and until when a row counts, as its revisions become known."""
    if START in rows.columns:  # who made the rows knows
        return rows
    known = F.greatest(F.unix_micros(n.EVENT_TIMESTAMP), F.unix_micros(n.AVAILABLE_TIMESTAMP))
    rows = rows.withColumn(START, known)
    order = _order(one)
    if not order:
        return filtered(rows.withColumn(END, F.lit(_FOREVER)), one)
    identity = [F.col(quoted(c)) for c in (*one.keys, n.EVENT_TIMESTAMP, *order)]
    content = [F.col(quoted(c)) for c in sorted(rows.columns) if c not in (*one.keys, *order, START)]
    # the newest known counts, and of those known together the greatest by content
    revisions = Window.partitionBy(*identity).orderBy(F.col(n.AVAILABLE_TIMESTAMP), *content)
    return filtered(rows.withColumn(END, F.coalesce(F.lead(START).over(revisions), F.lit(_FOREVER))), one)


def _prepared(rows: DataFrame, views: Sequence[TableView], buckets: int) -> DataFrame:
    """What the kernel reads: keys, times, what orders and names a row, and the columns of the views' statistics."""
    view = views[0]
    one = view.inputs[0]
    versions = _versions(rows, one)
    needed = sorted({column for each in views for column in statistics_of(each)})
    order = [c for c in _order(one) if c in versions.columns]
    keys = [F.col(quoted(column)).cast(view.key_types[key]).alias(f"{KEY}{key}") for key, column in one.by.items()]
    found = versions.select(
        *keys,
        F.unix_micros(n.EVENT_TIMESTAMP).alias(EVENT),
        START,
        END,
        *(F.col(quoted(c)).alias(f"{ORDER}{at}") for at, c in enumerate(order)),
        *(F.col(quoted(c)).alias(f"{IDENTITY}{at}") for at, c in enumerate(one.keys if order else ())),
        *(F.col(quoted(c)).alias(f"{VALUE}{c}") for c in needed),
    ).where(F.col(START) < F.col(END))
    whole = F.lit(True)
    for key in view.keys:
        whole = whole & F.col(f"{KEY}{key}").isNotNull()
    return found.where(whole).select("*", bucket_of([f"{KEY}{key}" for key in view.keys], buckets))


def _within_reach(rows: DataFrame, view: TableView, scope: Scope) -> DataFrame:
    """Rows that a bucket needs from its instant on, and the newest event before these."""
    rows = rows.join(F.broadcast(scope.units), UNIT_BUCKET)
    reach = _reach_us(view)
    if reach is None:
        return rows.withColumn(EARLIER, F.lit(False))
    begin, ended = F.col(FROM), F.col(END) < F.lit(_FOREVER)
    counts = (F.col(EVENT) > begin - F.lit(reach)) | (F.col(START) >= begin) | (ended & (F.col(END) >= begin))
    keys = [f"{KEY}{key}" for key in view.keys]
    given = rows.where(counts).withColumn(EARLIER, F.lit(False))
    before = rows.where(~counts & ~ended).groupBy(UNIT_BUCKET, FROM, *keys).agg(F.max(EVENT).alias(EVENT))
    filled = [F.col(c) if c in before.columns else F.lit(None).cast(given.schema[c].dataType).alias(c)
              for c in given.columns if c != EARLIER]  # fmt: skip
    return given.unionByName(before.select(*filled, F.lit(True).alias(EARLIER)))


def _sorting(rows: DataFrame, view: TableView) -> list[str]:
    """What the kernel's rows are sorted by: groups, then rows as they follow each other."""
    values = [f"{VALUE}{column}" for column in statistics_of(view)]
    order = [c for c in rows.columns if c.startswith((ORDER, IDENTITY))] or values
    return [quoted(c) for c in (*(f"{KEY}{key}" for key in view.keys), EVENT, *order, START)]


@dataclass(frozen=True)
class _States:
    revision: int = 1

    def rows(
        self, frames: Sequence[DataFrame], view: TableView, *, reach: Reach, scope: Scope | None, buckets: int
    ) -> DataFrame:
        if scope is None:
            return self.of_moved(self.moved(frames, [view], buckets), view, reach=reach)
        given = _within_reach(_prepared(frames[0], [view], buckets), view, scope)
        return self.of_moved(given.repartition(F.col(UNIT_BUCKET)), view, reach=reach)

    def moved(self, frames: Sequence[DataFrame], views: Sequence[TableView], buckets: int) -> DataFrame:
        prepared = _prepared(frames[0], views, buckets)
        whole = prepared.withColumns({FROM: F.lit(_BEGINNING).cast("bigint"), EARLIER: F.lit(False)})
        placed = whole.repartition(F.col(UNIT_BUCKET))
        return placed.sortWithinPartitions(*_sorting(placed, view=views[0])) if len(views) > 1 else placed

    def of_moved(self, moved: DataFrame, view: TableView, *, reach: Reach) -> DataFrame:
        until = reach.watermark_us if reach.watermark_us is not None else _BEGINNING
        kernel = StateKernel.of(view, until)
        schema = StructType(view_layout(view).schema.fields)
        values = [f"{VALUE}{column}" for column in statistics_of(view)]
        given = moved.select(*(quoted(c) for c in moved.columns if not c.startswith(VALUE) or c in values))
        # rows that several views share lie sorted, which Spark knows
        return given.sortWithinPartitions(*_sorting(given, view)).mapInArrow(kernel, schema)

    def affected(
        self,
        frames: Sequence[DataFrame],
        changes: Sequence[DataFrame | None],
        view: TableView,
        *,
        before: Reach,
        reach: Reach,
        buckets: int,
    ) -> Scope | None:
        one, changed = view.inputs[0], changes[0]
        begins: DataFrame | None = None
        if changed is not None:
            if START in changed.columns:
                known = F.least(F.col(START), F.col(END))
            else:
                known = F.greatest(F.unix_micros(n.EVENT_TIMESTAMP), F.unix_micros(n.AVAILABLE_TIMESTAMP))
            keys = [F.col(quoted(column)).cast(view.key_types[key]).alias(key) for key, column in one.by.items()]
            touched = changed.select(*keys, known.alias("__known"))
            touched = touched.select(bucket_of(view.keys, buckets), "__known")
            begins = touched.groupBy(UNIT_BUCKET).agg(span_us(F.min("__known")).alias(FROM))
        moves = before.watermark_us != reach.watermark_us
        leaves = not (isinstance(view.transform, AggregateTransform) and not _waits(view.transform))
        falls = (before.watermark_us or _BEGINNING) > (reach.watermark_us or _BEGINNING)
        if moves and (leaves or falls):
            least = min(before.watermark_us or _BEGINNING, reach.watermark_us or _BEGINNING)
            begin = _BEGINNING if least == _BEGINNING else span_start(least)
            all_buckets = (
                frames[0]
                .sparkSession.range(buckets)
                .select(F.col("id").cast("int").alias(UNIT_BUCKET), F.lit(begin).cast("bigint").alias(FROM))
            )
            begins = all_buckets if begins is None else begins.unionByName(all_buckets)
            begins = begins.groupBy(UNIT_BUCKET).agg(F.min(FROM).alias(FROM))
        if begins is None:
            begins = (
                frames[0]
                .sparkSession.range(0)
                .select(F.col("id").cast("int").alias(UNIT_BUCKET), F.lit(0).cast("bigint").alias(FROM))
            )
        return Scope(begins.persist())

    def within(self, stored: DataFrame, scope: Scope) -> DataFrame:
        joined = stored.join(F.broadcast(scope.units), UNIT_BUCKET)
        return joined.where(F.unix_micros(UNIT_FROM) >= F.col(FROM)).select(*stored.columns)


def _waits(transform: AggregateTransform) -> bool:
    """Whether rows become due by the watermark alone."""
    return transform.close is not None and transform.close.grace_us is not None


STATES = _States()
