"""Spines of any entity from the rows of sources: keys, the time T of the question, and a label that is known later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType
from pyspark.sql.window import Window

from fs_spark import names as n
from fs_spark.features.attempts import integers
from fs_spark.features.label_plan import LabelPlan, LabelSource, condition_of_label, expressible
from fs_spark.features.labels import LABEL_AVAILABLE, SPLIT, WEIGHT, ColumnLabel, CountLabel, Every, SumLabel
from fs_spark.features.spine import DRAWS, GroupSplit, TimeSplit
from fs_spark.features.types import ARROW
from fs_spark.kernels.windows_ahead import counts_ahead, sums_ahead, whole_sums_ahead, windows_ahead
from fs_spark.schemas import column_type
from fs_spark.transforms.attempt_rows import END, START
from fs_spark.transforms.kinds.event_rows import quoted, with_values
from fs_spark.transforms.source_rows import passes
from fs_spark.transforms.splits import all_of, draw, side_of_keys, side_of_span
from fs_spark.transforms.units import whole_units

_START: Final = START
_END: Final = END
_LAST: Final = "__last"
_PASSES: Final = "__passes"
_WHERE: Final = "__where"
_KEY: Final = "__key_"
_TIME: Final = "__time"
_ASKS: Final = "__asks"
_KNOWN: Final = "__known"
_COUNTED: Final = "__counted"
_VALUE: Final = "__value"
_LABEL: Final = "__label"
_FOREVER: Final = 2**63 - 1
_ROWS_AT_ONCE: Final = 65_536


def known_until(rows: DataFrame, source: LabelSource, as_of_us: int) -> DataFrame:
    """One row: `watermark`, the greatest availability of the rows that pass the filter and were there at `as_of_us`."""
    available = F.unix_micros(n.AVAILABLE_TIMESTAMP)
    there = _passes(source) & (available <= F.lit(as_of_us))
    return rows.agg(F.max(F.when(there, available)).alias("watermark"))


def labeled_spine(
    asked: DataFrame, counted: DataFrame | None, plan: LabelPlan, *, as_of_us: int, watermark_us: int
) -> DataFrame:
    """The questions of a request whose label was known at a time, with that label and when it was known.

    `asked` and `counted` are the rows of the plan's sources as the store has them (`counted` may be left out where the
    label is a column of the asked row); `watermark_us` is how far the label's source reached at `as_of_us`.

    Grain      one row per row of the asked source | per key and time of the grid, less those not known yet
    Adds       keys, `event_timestamp`, the label, `label_available`, `weight` and `split` where asked, columns
    Undefined  a sum of no row is null; a null key asks nothing
    Invariant to  partitioning and order of the rows, to the bit; what is known only after `as_of_us`
    """
    request = plan.request
    if isinstance(request.label, ColumnLabel):
        known = _of_own_row(_newest(asked, plan.asked, as_of_us), plan, watermark_us)
    else:
        last_us = watermark_us - request.label.until_us - request.label.lag_us
        questions = _grid(asked, plan, as_of_us, last_us)
        if questions is None:
            questions = _newest(asked, plan.asked, as_of_us).where(F.unix_micros(n.EVENT_TIMESTAMP) <= F.lit(last_us))
            questions = _questions(questions, plan)
        known = _of_windows(questions, _counted_rows(asked if counted is None else counted, plan, as_of_us), plan)
    return _finished(known, plan)


def _passes(source: LabelSource) -> Column:
    return F.lit(True) if source.text is None else passes(source.text)


def _revisions(rows: DataFrame, source: LabelSource) -> DataFrame:
    """With `__start` and `__end`, from when until when a row counts as its revisions become known, and `__passes`."""
    if _START in rows.columns:  # who made the rows knows
        return rows.withColumn(_PASSES, F.lit(True))
    given = [F.col(quoted(c)).isNotNull() for c in (*source.keys, n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP)]
    known = F.greatest(F.unix_micros(n.EVENT_TIMESTAMP), F.unix_micros(n.AVAILABLE_TIMESTAMP))
    rows = rows.where(all_of(given)).withColumn(_START, known)
    end = F.lit(_FOREVER)
    if source.order:
        # the newest known counts, and of those known together the greatest by content
        content = [F.col(quoted(c)) for c in sorted(source.columns)]
        newest = Window.partitionBy(*_identity(source)).orderBy(n.AVAILABLE_TIMESTAMP, *content)
        end = F.coalesce(F.lead(_START).over(newest), end)
    return rows.withColumns({_END: end, _PASSES: F.coalesce(_passes(source), F.lit(False))})


def _identity(source: LabelSource) -> list[Column]:
    return [F.col(quoted(c)) for c in (*source.keys, n.EVENT_TIMESTAMP, *source.order)]


def _newest(rows: DataFrame, source: LabelSource, as_of_us: int) -> DataFrame:
    """The rows that count at a time, as they were known then."""
    at = F.lit(as_of_us)
    return _revisions(rows, source).where((F.col(_START) <= at) & (F.col(_END) > at) & F.col(_PASSES))


def _keys(plan: LabelPlan) -> list[Column]:
    return [F.col(quoted(c)).cast(plan.key_types[k]).alias(k) for k, c in plan.request.key_columns.items()]


def _whole(keys: Mapping[str, str]) -> Column:
    return all_of([F.col(quoted(key)).isNotNull() for key in keys])


def _questions(rows: DataFrame, plan: LabelPlan, *more: Column) -> DataFrame:
    """Keys, T and the values of columns, of rows with whole keys."""
    own = [F.col(quoted(name)) for name in plan.own_columns]
    found = rows.select(*_keys(plan), n.EVENT_TIMESTAMP, *own, *more).where(_whole(plan.key_types))
    kept = [name for name in found.columns if name not in plan.own_columns]
    return _with_columns(found, plan, kept)


def _with_columns(rows: DataFrame, plan: LabelPlan, kept: list[str]) -> DataFrame:
    texts = plan.request.column_texts
    return with_values(rows, texts, plan.visible, kept) if texts else rows.select(*map(quoted, kept))


def _grid(rows: DataFrame, plan: LabelPlan, as_of_us: int, last_us: int) -> DataFrame | None:
    """The times of a grid up to `last_us`, for each key from the first instant on at which a row of it counted."""
    every = plan.request.at
    if not isinstance(every, Every):
        return None
    start, step = every.begin_us, every.step_us
    count = min(every.instants, max((last_us - start) // step + 1, 0))
    counted = _revisions(rows, plan.asked).where(F.col(_PASSES) & (F.col(_START) < F.col(_END)))
    counted = counted.where(F.col(_START) <= F.lit(as_of_us))
    begun = counted.select(*_keys(plan), _START).where(_whole(plan.key_types))
    begun = begun.groupBy(*map(quoted, plan.key_types)).agg(F.min(_START).alias(_START))
    first = F.greatest(F.expr(f"({_START} - {start}L + {step - 1}L) div {step}L"), F.lit(0))
    numbered = begun.withColumn(_TIME, first).where(F.col(_TIME) < F.lit(count))
    number = F.explode(F.sequence(F.col(_TIME), F.lit(count - 1).cast("bigint")))
    asked = numbered.select(*map(quoted, plan.key_types), number.alias(_TIME))
    time = F.timestamp_micros(F.col(_TIME) * F.lit(step) + F.lit(start)).alias(n.EVENT_TIMESTAMP)
    asked = asked.select(*map(quoted, plan.key_types), time)
    return _with_columns(asked, plan, asked.columns)


def _of_own_row(rows: DataFrame, plan: LabelPlan, watermark_us: int) -> DataFrame:
    """Questions with a column of their own row as the label, where its value is known and final by the watermark."""
    label = plan.request.label
    assert isinstance(label, ColumnLabel)
    value = F.col(quoted(label.column))
    if plan.label_type == "double":
        value = F.when(~F.isnan(value), value + F.lit(0.0))
    event, lag = F.unix_micros(n.EVENT_TIMESTAMP), F.lit(label.lag_us)
    rows = rows.where(value.isNotNull() & (event + lag <= F.lit(watermark_us)))
    available = F.timestamp_micros(F.greatest(event + lag, F.unix_micros(n.AVAILABLE_TIMESTAMP)))
    return _questions(rows, plan, value.alias(_LABEL), available.alias(LABEL_AVAILABLE))


def _counted_rows(rows: DataFrame, plan: LabelPlan, as_of_us: int) -> DataFrame:
    """Of each row of the label's source, for each key that it ever passed with: whether it counts, and since when.

    A row that left a key, or does not pass any more, is no part of its labels, but decides when they were known.
    """
    request, source = plan.request, plan.counted
    assert isinstance(request.label, (CountLabel, SumLabel))
    known = _revisions(rows, source).where(F.col(_START) <= F.lit(as_of_us))
    last = F.col(_START)
    if _START in rows.columns:  # a row that another has pushed out
        last = F.when(F.col(_END) <= F.lit(as_of_us), F.col(_END)).otherwise(last)
    elif source.order:
        last = F.max(_START).over(Window.partitionBy(*_identity(source)))
    known = known.withColumn(_LAST, last).where(F.col(_PASSES))
    condition = condition_of_label(request, source)
    if condition is not None and condition.needs_python:
        known = with_values(known, {_WHERE: condition.text}, expressible(source), known.columns).where(F.col(_WHERE))
    elif condition is not None:
        known = known.where(F.expr(condition.spark_sql()))
    keys = [F.col(quoted(c)).cast(plan.key_types[k]).alias(f"{_KEY}{k}") for k, c in request.label_keys.items()]
    value = F.lit(None).cast("bigint")
    if isinstance(request.label, SumLabel):
        value = F.col(quoted(request.label.column)).cast(plan.label_type)
    found = known.select(
        *keys,
        F.unix_micros(n.EVENT_TIMESTAMP).alias(_TIME),
        F.col(_LAST).alias(_KNOWN),
        (F.col(_END) > F.lit(as_of_us)).alias(_COUNTED),
        value.alias(_VALUE),
    )
    return found.where(_whole({f"{_KEY}{k}": k for k in request.label_keys}))


def _of_windows(questions: DataFrame, counted: DataFrame, plan: LabelPlan) -> DataFrame:
    """Questions with what the rows behind them give: both are brought to their keys once, and walked in order."""
    keys = [f"{_KEY}{key}" for key in plan.request.label_keys]
    given = questions.columns
    asked = questions.select(
        *(F.col(quoted(key)).alias(f"{_KEY}{key}") for key in plan.request.label_keys),
        F.unix_micros(n.EVENT_TIMESTAMP).alias(_TIME),
        F.lit(True).alias(_ASKS),
        *(F.lit(None).cast(counted.schema[c].dataType).alias(c) for c in (_KNOWN, _COUNTED, _VALUE)),
        *map(quoted, given),
    )
    empty = [F.lit(None).cast(questions.schema[c].dataType).alias(c) for c in given]
    both = asked.unionByName(counted.withColumn(_ASKS, F.lit(False)).select("*", *empty))
    types = [questions.schema[c] for c in given]
    schema = StructType(
        [
            *types,
            StructField(_LABEL, column_type(plan.label_type)),
            StructField(LABEL_AVAILABLE, column_type("timestamp")),
        ]
    )
    arrow = pa.schema([(f.name, ARROW[f.dataType.simpleString()]) for f in schema.fields])
    label = plan.request.label
    assert isinstance(label, (CountLabel, SumLabel))
    kind = "count" if isinstance(label, CountLabel) else plan.label_type
    task = _Ahead(tuple(keys), tuple(given), kind, label.after_us, label.until_us, label.lag_us, arrow)
    return both.repartition(*map(quoted, keys)).sortWithinPartitions(*map(quoted, keys), _TIME).mapInArrow(task, schema)


@dataclass(frozen=True)
class _Ahead:
    """Labels of whole groups: rows sorted by keys and time in, the questions among them out."""

    keys: tuple[str, ...]
    kept: tuple[str, ...]
    kind: str
    after_us: int
    until_us: int
    lag_us: int
    schema: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table, edges in whole_units(batches, self.keys, rows=_ROWS_AT_ONCE):
            asks = np.asarray(table[_ASKS].to_numpy(), np.bool_)
            if asks.any():
                found = self._labels(table, asks, np.asarray(edges, np.int64))
                yield from found.combine_chunks().to_batches(max_chunksize=16_384)

    def _labels(self, table: pa.Table, asks: np.ndarray, edges: np.ndarray) -> pa.Table:  # type: ignore[type-arg]
        before = np.concatenate([[0], np.cumsum(asks)])
        asked_edges = before[edges]
        edges = edges - asked_edges
        asked, rows = table.filter(pa.array(asks)), table.filter(pa.array(~asks))
        asked_us = integers(asked[_TIME])
        windows = windows_ahead(
            integers(rows[_TIME]), integers(rows[_KNOWN]), edges, asked_us, asked_edges,
            after_us=self.after_us, until_us=self.until_us,
        )  # fmt: skip
        counted = np.asarray(rows[_COUNTED].to_numpy(), np.bool_)
        if self.kind == "count":
            label = pa.array(counts_ahead(counted, windows))
        elif self.kind == "bigint":
            there = counted & np.asarray(pc.is_valid(rows[_VALUE]))
            sums, missing = whole_sums_ahead(integers(rows[_VALUE], 0), there, windows)
            label = pa.array(sums, mask=missing)
        else:
            values = np.asarray(rows[_VALUE].to_numpy(), np.float64)  # null is NaN
            total = sums_ahead(values, counted, edges, asked_edges, windows)
            label = pa.array(total, mask=np.isnan(total))
        available = np.maximum(asked_us + self.until_us + self.lag_us, windows.latest_us)
        arrays = [*(asked[name] for name in self.kept), label, pa.array(available).cast(ARROW["timestamp"])]
        return pa.table(
            [array.cast(field.type) for array, field in zip(arrays, self.schema, strict=True)], schema=self.schema
        )


def _finished(rows: DataFrame, plan: LabelPlan) -> DataFrame:
    """The columns of the spine in order, of the rows that are asked for."""
    request, label = plan.request, F.col(_LABEL)
    added: list[Column] = []
    if request.negatives is not None:
        fraction, keys = request.negatives.fraction, list(plan.key_types)
        is_positive = label if plan.label_type == "boolean" else label > 0
        rows = rows.where(is_positive | (draw("negatives", request.negatives.seed, keys) < round(fraction * DRAWS)))
        added.append(F.when(is_positive, F.lit(1.0)).otherwise(F.lit(1 / fraction)).alias(WEIGHT))
    if isinstance(request.split, GroupSplit):
        added.append(side_of_keys(request.split, request.split_keys).alias(SPLIT))
    if isinstance(request.split, TimeSplit):
        added.append(side_of_span(request.split, F.col(n.EVENT_TIMESTAMP), F.col(LABEL_AVAILABLE)).alias(SPLIT))
    return rows.select(
        *map(quoted, plan.key_types),
        n.EVENT_TIMESTAMP,
        label.alias(request.name),
        LABEL_AVAILABLE,
        *added,
        *map(quoted, request.column_texts),
    )


__all__ = ["known_until", "labeled_spine"]
