"""Spines from the store's own tests: keys, the time T of the question, its label, and the side of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.errors import LeakageError, RequestError
from fs_spark.features.expressions import parse_expression
from fs_spark.features.label_plan import check_columns
from fs_spark.features.labels import column_texts
from fs_spark.features.shipped import ATTEMPTS
from fs_spark.features.spine import DRAWS, GroupSplit, SpineRequest, Split, TimeSplit
from fs_spark.schemas import require_columns
from fs_spark.transforms.kinds.event_rows import with_values
from fs_spark.transforms.splits import all_of, draw, side_of_keys, side_of_span

_START: Final = "__start"
_FIRST: Final = "__first"
_LAST: Final = "__last"
_RUN: Final = "__first_run"
_EARLIER_END: Final = "__earlier_end"


def _given(columns: Sequence[str]) -> Column:
    return all_of([F.col(name).isNotNull() for name in columns])


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
    return all_of(judged)


def _of_products(request: SpineRequest) -> Column:
    return F.lit(True) if request.products is None else F.col(n.PRODUCT_ID).isin(list(request.products))


def _started() -> Column:
    """A run starts no later than its first touchdown ends: a clock that the tester logs may run behind the header's."""
    return F.least(n.RUN_START, n.EVENT_TIMESTAMP)


def _first_run(request: SpineRequest) -> Column:
    """Aggregate: the run that starts first at the insertion."""
    run = F.struct(_started().alias("started"), F.col(n.RUN_ID))
    return F.min(F.when(F.col(n.INSERTION) == request.insertion, run))[n.RUN_ID].alias(_RUN)


def _times(request: SpineRequest) -> list[Column]:
    """Aggregates over a wafer or a lot: the start of its first run, the span of its labels, its earlier end."""
    start = F.min(F.when(F.col(n.INSERTION) == request.insertion, _started()))
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
        return side_of_keys(split, n.LOT_KEYS if split.by == "lot" else n.WAFER_KEYS)
    return side_of_span(split, F.col(_FIRST), F.col(_LAST))


def _finished(
    rows: DataFrame, request: SpineRequest, columns: Sequence[Column], more: Sequence[Column] = ()
) -> DataFrame:
    """The rows that are asked for, with the columns of every question after `columns`, and `more` after these."""
    added = list(columns)
    if request.earlier_insertion is not None:
        ended = F.coalesce(F.col(_EARLIER_END) < F.col(_START), F.lit(False))
        if request.unended == "left_out":
            rows = rows.where(ended)
        else:
            added.append(ended.alias("earlier_ended"))
    if request.negatives is not None:
        fraction = request.negatives.fraction
        kept = draw("negatives", request.negatives.seed, n.DIE_KEYS) < round(fraction * DRAWS)
        rows = rows.where(~F.col(n.PASSED) | kept)
        added.append(F.when(F.col(n.PASSED), F.lit(1 / fraction)).otherwise(F.lit(1.0)).alias("weight"))
    if request.split is not None:
        added.append(_side(request.split).alias("split"))
    return rows.select(*added, *more)


def _visible() -> dict[str, str]:
    """What columns may name: T, the keys, and what is known of an attempt before its test."""
    known = {name: kind for name, kind in ATTEMPTS.columns.items() if name in {*ATTEMPTS.known_before, *n.DIE_KEYS}}
    return {n.EVENT_TIMESTAMP: "timestamp", **known}


def _check_texts(texts: Mapping[str, str], request: SpineRequest) -> None:
    if not texts:
        return
    if request.of_lots:
        raise RequestError(
            "a row of a question on lots stands for many attempts, which differ in such columns.\n"
            "Hint: leave columns out, or ask question='die_test' or 'next_insertion'"
        )
    if request.question == "next_insertion" and request.label_attempts != "first":
        raise LeakageError(
            "before an insertion nobody knows which attempt of a die will be its final one, so that its columns tell "
            "the future.\nHint: attempts='first'"
        )
    taken = {*n.DIE_KEYS, n.EVENT_TIMESTAMP, request.label_column, "earlier_ended", "weight", "split"} & set(texts)
    if taken:
        raise RequestError(f"{', '.join(sorted(taken))} would be in the spine twice.\nHint: give columns other names")
    later = {name: kind for name, kind in ATTEMPTS.columns.items() if name not in ATTEMPTS.known_before}
    check_columns(texts, _visible(), later, of="an attempt")


def _read_by(texts: Mapping[str, str]) -> list[str]:
    """The columns of attempts that expressions read beside T and the keys."""
    visible = _visible()
    named = {name for text in texts.values() for name in parse_expression(text, columns=visible).columns}
    return sorted(named - {n.EVENT_TIMESTAMP, *n.DIE_KEYS})


def _dies(die_tests: DataFrame, request: SpineRequest, texts: Mapping[str, str]) -> DataFrame:
    rows = die_tests.where(_labeled(request))
    own_times = request.question == "die_test"
    if not own_times or isinstance(request.split, TimeSplit):
        times = [*_times(request), *([_first_run(request)] if texts else [])]
        wafers = die_tests.where(_given(n.WAFER_KEYS)).groupBy(*n.WAFER_KEYS).agg(*times)
        rows = rows.join(wafers, list(n.WAFER_KEYS))
    label = request.label_column
    value = ~F.col(n.PASSED) if label == "fails" else F.col(label)
    time = F.col(n.EVENT_TIMESTAMP if own_times else _START)
    columns = [*(F.col(key) for key in n.DIE_KEYS), time.alias(n.EVENT_TIMESTAMP), value.alias(label)]
    rows = rows.where(_of_products(request) & value.isNotNull())
    if not texts:
        return _finished(rows, request, columns)
    visible, read = _visible(), _read_by(texts)
    known = [F.col(name) if own_times else F.when(F.col(n.RUN_ID) == F.col(_RUN), F.col(name)) for name in read]
    found = _finished(rows, request, columns, [one.alias(name) for one, name in zip(known, read, strict=True)])
    return with_values(found, texts, visible, [name for name in found.columns if name not in read])


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


def _needed(request: SpineRequest, texts: Mapping[str, str]) -> list[str]:
    needed = [*n.DIE_KEYS, n.INSERTION, n.PASSED, n.RUN_START, n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP]
    needed += {"first": [n.IS_FIRST], "final": [n.IS_FINAL], "all": []}[request.label_attempts]
    needed += [] if request.products is None else [n.PRODUCT_ID]
    if texts:
        needed += [name for name in (*_read_by(texts), n.RUN_ID) if name not in needed]
    return [*needed, *({request.label_column} & {n.HARD_BIN, n.SOFT_BIN})]


def spine_of(
    die_tests: DataFrame, request: SpineRequest, *, columns: Sequence[str] | Mapping[str, str] = ()
) -> DataFrame:
    """The rows of a usual question: keys, `event_timestamp` (its time T), the label, and `weight` and `split` if asked.

    A row of a lot also has `die_count`, `fail_count` and `wafer_count`, of the dies in its yield: they belong to the
    label, and tell a lot that is not yet complete. Columns of features are joined by `as_of_join` or `training_set`.

    `columns` are what is known of the attempt before its test: names, or name -> row expression of these, of T and of
    the keys. Before an insertion they are the first attempt's, and null where the die was not in the wafer's first run.

    Grain      one row per attempt -> one row per (attempt | die | lot) of the insertion, see `SpineRequest`
    Needs      `die_tests` with `is_first`, `is_final` as `store.table("die_tests")` gives it
    Undefined  no row for a die without a judgment or without a label, and none for a null key; such parts still begin
               and end their runs. A part without wafer or place is in no yield, since its retests cannot be told from
               other parts
    Invariant to  partitioning and order of the input; rows of other lots; filters, which leave rows out alone (of a
               lot's yield, the dies of other products)
    Raises     SchemaError when a needed column is absent, RequestError for a column that does not exist, LeakageError
               for one that is known at the test or later
    """
    texts = column_texts(columns)
    _check_texts(texts, request)
    require_columns(die_tests, _needed(request, texts), what="die_tests")
    insertions = [name for name in (request.insertion, request.earlier_insertion) if name is not None]
    asked = F.col(n.INSERTION).isin(insertions)
    if request.lots is not None:
        asked = asked & F.col(n.LOT_ID).isin(list(request.lots))
    rows = die_tests.where(asked)
    if request.of_lots:
        return _lots(rows, request)
    return _dies(rows, request, texts)
