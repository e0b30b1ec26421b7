"""Spines from the store's own tests: keys, the time T of the question, its label, and the side of a split."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.features.spine import DRAWS, EMBARGO, GroupSplit, SpineRequest, Split, TimeSplit
from fs_spark.schemas import require_columns

_START: Final = "__start"
_FIRST: Final = "__first"
_LAST: Final = "__last"
_EARLIER_END: Final = "__earlier_end"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def _all_of(conditions: Sequence[Column]) -> Column:
    return reduce(lambda a, b: a & b, conditions, F.lit(True))


def _given(columns: Sequence[str]) -> Column:
    return _all_of([F.col(name).isNotNull() for name in columns])


def _draw(purpose: str, seed: int, keys: Sequence[str]) -> Column:
    """A whole number from 0 to 2^52 by the keys and the seed; `fs_spark.features.spine` says how it is made."""
    texts = [F.col(key).cast("string") for key in keys]
    told = [part for text in texts for part in (F.length(text).cast("string"), text)]
    digest = F.sha2(F.concat_ws(":", F.lit(f"{purpose}:{seed}"), *told), 256)
    return F.conv(F.substring(digest, 1, 13), 16, 10).cast("bigint")


def _known() -> Column:
    """When a test's outcome was known: null where it never was, which Spark's `greatest` would pass over."""
    event, available = F.col(n.EVENT_TIMESTAMP), F.col(n.AVAILABLE_TIMESTAMP)
    return F.when(event.isNotNull() & available.isNotNull(), F.greatest(event, available))


def _all_known(rows: Column) -> Column:
    """Aggregate: when the last outcome of the group's `rows` was known, null where one of them never was."""
    unknown = F.count(F.when(rows & _known().isNull(), 1))
    return F.when(unknown == 0, F.max(F.when(rows, _known())))


def _labeled(request: SpineRequest) -> Column:
    """Attempts that may give a label: whole keys, a time, a judgment, of the insertion, and the attempt asked for."""
    judged = [F.col(n.INSERTION) == request.insertion, _given([*n.DIE_KEYS, n.EVENT_TIMESTAMP, n.PASSED])]
    if request.label_attempts != "all":
        judged.append(F.col(n.IS_FIRST if request.label_attempts == "first" else n.IS_FINAL))
    return _all_of(judged)


def _of_products(request: SpineRequest) -> Column:
    return F.lit(True) if request.products is None else F.col(n.PRODUCT_ID).isin(list(request.products))


def _times(request: SpineRequest) -> list[Column]:
    """Aggregates over a wafer or a lot: the start of its first run, the span of its labels, its earlier end.

    A run starts no later than its first touchdown ends: a clock that the tester logs may run behind the header's.
    """
    started = F.least(n.RUN_START, n.EVENT_TIMESTAMP)
    start = F.min(F.when(F.col(n.INSERTION) == request.insertion, started))
    labeled = _labeled(request)
    own_times = request.question == "die_test"
    found = [
        start.alias(_START),
        (F.min(F.when(labeled, F.col(n.EVENT_TIMESTAMP))) if own_times else start).alias(_FIRST),
        _all_known(labeled).alias(_LAST),
    ]
    if request.earlier_insertion is not None:
        found.append(_all_known(F.col(n.INSERTION) == request.earlier_insertion).alias(_EARLIER_END))
    return found


def _side(split: Split) -> Column:
    if isinstance(split, GroupSplit):
        draw = _draw("split", split.seed, n.LOT_KEYS if split.by == "lot" else n.WAFER_KEYS)
        side = F.lit(split.bounds[-1][0])
        for name, bound in reversed(split.bounds[:-1]):
            side = F.when(draw < bound, F.lit(name)).otherwise(side)
        return side
    return _side_of_time(split)


def _side_of_time(split: TimeSplit) -> Column:
    cuts = [_micros(cut - _EPOCH) for cut in split.cuts]
    first, last = F.unix_micros(F.col(_FIRST)), F.unix_micros(F.col(_LAST))
    side = F.lit(EMBARGO)
    for name, begin, end in zip(split.sides, [None, *cuts], [*cuts, None], strict=True):
        after = [] if begin is None else [first >= F.lit(begin + _micros(split.embargo))]
        before = [] if end is None else [last < F.lit(end)]  # null, a label never known: not before
        side = F.when(_all_of([*after, *before]), F.lit(name)).otherwise(side)
    return side


def _finished(rows: DataFrame, request: SpineRequest, columns: Sequence[Column]) -> DataFrame:
    """The rows that are asked for, with the columns of every question after `columns`."""
    added = list(columns)
    if request.earlier_insertion is not None:
        ended = F.coalesce(F.col(_EARLIER_END) < F.col(_START), F.lit(False))
        if request.unended == "left_out":
            rows = rows.where(ended)
        else:
            added.append(ended.alias("earlier_ended"))
    if request.negatives is not None:
        fraction = request.negatives.fraction
        kept = _draw("negatives", request.negatives.seed, n.DIE_KEYS) < round(fraction * DRAWS)
        rows = rows.where(~F.col(n.PASSED) | kept)
        added.append(F.when(F.col(n.PASSED), F.lit(1 / fraction)).otherwise(F.lit(1.0)).alias("weight"))
    if request.split is not None:
        added.append(_side(request.split).alias("split"))
    return rows.select(*added)


def _dies(die_tests: DataFrame, request: SpineRequest) -> DataFrame:
    rows = die_tests.where(_labeled(request))
    own_times = request.question == "die_test"
    if not own_times or isinstance(request.split, TimeSplit):
        wafers = die_tests.where(_given(n.WAFER_KEYS)).groupBy(*n.WAFER_KEYS).agg(*_times(request))
        rows = rows.join(wafers, list(n.WAFER_KEYS))
    label = request.label_column
    value = ~F.col(n.PASSED) if label == "fails" else F.col(label)
    time = F.col(n.EVENT_TIMESTAMP if own_times else _START)
    columns = [*(F.col(key) for key in n.DIE_KEYS), time.alias(n.EVENT_TIMESTAMP), value.alias(label)]
    return _finished(rows.where(_of_products(request) & value.isNotNull()), request, columns)


def _lots(die_tests: DataFrame, request: SpineRequest) -> DataFrame:
    counted = _labeled(request) & _of_products(request)
    lots = (
        die_tests.where(_given(n.LOT_KEYS))
        .groupBy(*n.LOT_KEYS)
        .agg(
            *_times(request),
            F.count(F.when(counted, 1)).alias("die_count"),
            F.count(F.when(counted & ~F.col(n.PASSED), 1)).alias("fail_count"),
            F.count_distinct(F.when(counted, F.col(n.WAFER_ID))).alias("wafer_count"),
        )
        .where(F.col("die_count") > 0)
    )
    passed = (F.col("die_count") - F.col("fail_count")).cast("double") / F.col("die_count")
    columns = [
        F.col(n.LOT_ID),
        F.col(_START).alias(n.EVENT_TIMESTAMP),
        passed.alias(request.label_column),
        *(F.col(name) for name in ("die_count", "fail_count", "wafer_count")),
    ]
    return _finished(lots, request, columns)


def _needed(request: SpineRequest) -> list[str]:
    needed = [*n.DIE_KEYS, n.INSERTION, n.PASSED, n.RUN_START, n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP]
    needed += {"first": [n.IS_FIRST], "final": [n.IS_FINAL], "all": []}[request.label_attempts]
    needed += [] if request.products is None else [n.PRODUCT_ID]
    return [*needed, *({request.label_column} & {n.HARD_BIN, n.SOFT_BIN})]


def spine_of(die_tests: DataFrame, request: SpineRequest) -> DataFrame:
    """The rows of a usual question: keys, `event_timestamp` (its time T), the label, and `weight` and `split` if asked.

    A row of a lot also has `die_count`, `fail_count` and `wafer_count`, of the dies in its yield: they belong to the
    label, and tell a lot that is not yet complete. Columns of features are joined by `as_of_join` or `training_set`.

    Grain      one row per attempt -> one row per (attempt | die | lot) of the insertion, see `SpineRequest`
    Needs      `die_tests` with `is_first`, `is_final` as `store.table("die_tests")` gives it
    Undefined  no row for a die without a judgment or without a label, and none for a null key; such parts still begin
               and end their runs. A part without wafer or place is in no yield, since its retests cannot be told from
               other parts
    Invariant to  partitioning and order of the input; rows of other lots; filters, which leave rows out alone (of a
               lot's yield, the dies of other products)
    Raises     SchemaError when a needed column is absent
    """
    require_columns(die_tests, _needed(request), what="die_tests")
    insertions = [name for name in (request.insertion, request.earlier_insertion) if name is not None]
    asked = F.col(n.INSERTION).isin(insertions)
    if request.lots is not None:
        asked = asked & F.col(n.LOT_ID).isin(list(request.lots))
    rows = die_tests.where(asked)
    return _lots(rows, request) if request.of_lots else _dies(rows, request)
