"""The naive rebuild: for each sampled row, every row of the view with its keys is looked at.

Written from the rule of the join (semantics, section 4), not from the join's code: of the rows with the same keys
whose event and available time are at or before (strictly before) T, the one with the greatest (event, available,
sequence), where it is not older than the time to live nor past its end; else a static row. Rows that tie in all three
are all right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType
from pyspark.sql.window import Window

from fs_spark import names as n
from fs_spark.leaks.report import Findings, Leak, NotRun, Ran
from fs_spark.leaks.rows import Sample, all_same, micros_of, plain, same, shown
from fs_spark.leaks.rules import LeakLimits
from fs_spark.transforms.as_of import AsOfView

_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class ViewRow:
    """A view's row, times in microseconds: `available` as the join looks at it, `known` as the view tells it."""

    event: int | None
    available: int | None
    known: int | None
    sequence: int | None
    values: tuple[Any, ...]
    last: int | None = None
    """Of states, the last event."""
    ends: int | None = None
    """Where its validity ends."""


@dataclass(frozen=True)
class ViewHistory:
    """The rows of a view for the keys of a sample.

    `table` has them as Arrow, with the columns event, available, known, sequence, value_0, ...; `of` names by place
    in the sample the rows of its keys. Sample rows that are not in `of` have keys with too many rows.
    """

    view: AsOfView
    table: pa.Table
    rows: list[ViewRow]
    of: dict[int, list[int]]


def _is_seen(view: AsOfView, row: ViewRow, time: int | None) -> bool:
    """Whether a label at `time` sees a dated row."""
    if time is None:
        return False
    at = time - micros_of(view.offset)
    moments = [row.event] if view.available_timestamp is None else [row.event, row.available]
    for moment in moments:
        if moment is None or moment > at:
            return False
        if moment == at and view.boundary == "strictly_before":
            return False
    return True


def _holds(view: AsOfView, row: ViewRow, time: int) -> bool:
    """Whether a row that is seen is neither too old, by its last event where it has one, nor past its end."""
    at = time - micros_of(view.offset)
    stands = row.event if view.last_event is None else row.last
    if view.ttl is not None and (stands is None or stands < at - micros_of(view.ttl)):
        return False
    return view.valid_to is None or row.ends is None or at < row.ends


def usable(view: AsOfView, row: ViewRow, time: int | None) -> bool:
    """Whether a label at `time` may see the row."""
    if row.event is None:  # static: by key alone
        return True
    return time is not None and _is_seen(view, row, time) and _holds(view, row, time)


def newest(view: AsOfView, rows: Sequence[ViewRow], time: int | None) -> list[ViewRow]:
    """The row that counts: the newest dated one that is seen, where it holds, else a static one; all that tie."""
    seen = _greatest([row for row in rows if row.event is not None and _is_seen(view, row, time)])
    held = [row for row in seen if time is not None and _holds(view, row, time)]
    return held or _greatest([row for row in rows if row.event is None])


def _greatest(rows: Sequence[ViewRow]) -> list[ViewRow]:
    best: list[ViewRow] = []
    for row in rows:
        if not best or _rank(row) > _rank(best[0]):
            best = [row]
        elif _rank(row) == _rank(best[0]):
            best.append(row)
    return best


def _rank(row: ViewRow) -> list[tuple[bool, int]]:
    return [(moment is not None, moment or 0) for moment in (row.event, row.available, row.sequence)]


def outputs_of(view: AsOfView, row: ViewRow | None, time: int | None) -> tuple[Any, ...]:
    """What the row gives under `view.all_outputs`; nulls where there is no row."""
    values = list(row.values) if row is not None else [None] * len(view.outputs)
    event = row.event if row is not None else None
    if view.event_as is not None:
        values.append(event)
    last = row.last if row is not None else None
    at = None if time is None else time - micros_of(view.offset)
    if view.age_as is not None and view.last_event is None:
        values.append(None if event is None or time is None else (time - event) / 1e6)
    elif view.age_as is not None:
        values.append(None if last is None or at is None else (at - last) / 1e6)
    if view.since_as is not None:
        values.append(None if last is None or at is None else (at - last) / 1e6)
    return tuple(values)


def spine_frame(sample: Sample, columns: Sequence[str], spark: SparkSession) -> DataFrame:
    """Columns of the sample as a Spark frame."""
    return spark.createDataFrame(_zoned(sample.table.select(list(dict.fromkeys(columns)))))


def _zoned(table: pa.Table) -> pa.Table:
    """Times in microseconds of UTC, texts as texts: what Spark takes from Arrow."""
    for index, field in enumerate(table.schema):
        column = table[field.name]
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            column = column.cast(_TIME, safe=False)
        elif pa.types.is_dictionary(field.type):
            column = column.cast(field.type.value_type)
        table = table.set_column(index, field.name, column)
    return table


def history_of(view: AsOfView, sample: Sample, limits: LeakLimits) -> ViewHistory:
    """Collects the rows of the sample's keys, at most `limits.view_rows` of them."""
    named = [f"key_{k}" for k in range(len(view.keys))]
    keys: list[tuple[Any, ...] | None] = [tuple(row[key] for key in view.keys) for row in sample.rows]
    wanted = spine_frame(sample, view.keys, view.frame.sparkSession).toDF(*named)
    matched = _rows_of(view, named)
    if not pa.types.is_timestamp(sample.table.schema.field(view.keys[0]).type):  # so that files are skipped
        values = sorted({row[view.keys[0]] for row in sample.rows} - {None})
        matched = matched.where(F.col(named[0]).isin(values))
    rows = matched.join(F.broadcast(wanted.distinct()), named, "left_semi")
    counts = plain(rows.groupBy(*named).count().toArrow()).to_pylist()
    counted = {tuple(row[name] for name in named): row["count"] for row in counts}
    held, total = set(), 0
    for key in dict.fromkeys(keys):
        if key is not None and total + counted.get(key, 0) <= limits.view_rows:
            held.add(key)
            total += counted.get(key, 0)
    if total < sum(counted.values()):
        keys = [key if key in held else None for key in keys]
        kept = Sample(sample.table.filter(pa.array([key is not None for key in keys])), [], sample.timestamp, False)
        wanted = spine_frame(kept, view.keys, view.frame.sparkSession).toDF(*named)
        rows = matched.join(F.broadcast(wanted.distinct()), named, "left_semi")
    return _history(view, rows.toArrow(), named, keys)


def _rows_of(view: AsOfView, named: Sequence[str]) -> DataFrame:
    """What is wanted of the view, under names of our own."""
    columns = view.frame.columns
    sequence = F.lit(None).cast("bigint")
    if view.sequence:
        sequence = F.col(f"`{view.sequence}`")
        if isinstance(view.frame.schema[view.sequence].dataType, StructType):  # a number in the same order
            event = [F.col(f"`{name}`") for name in (*view.keys, view.event_timestamp)]
            sequence = F.dense_rank().over(Window.partitionBy(*event).orderBy(sequence)).cast("bigint")
    known = view.available_timestamp or (n.AVAILABLE_TIMESTAMP if n.AVAILABLE_TIMESTAMP in columns else None)
    return view.frame.select(
        *(F.col(f"`{key}`").alias(name) for key, name in zip(view.keys, named, strict=True)),
        F.col(f"`{view.event_timestamp}`").alias("event"),
        F.col(f"`{view.available_timestamp or view.event_timestamp}`").alias("available"),
        (F.col(f"`{known}`") if known else F.lit(None).cast("timestamp")).alias("known"),
        sequence.alias("sequence"),
        *(
            (F.col(f"`{column}`") if column is not None else F.lit(None).cast("timestamp")).alias(name)
            for name, column in (("last", view.last_event), ("ends", view.valid_to))
        ),
        *(F.col(f"`{source}`").alias(f"value_{k}") for k, source in enumerate(view.outputs.values())),
    )


def _history(
    view: AsOfView, table: pa.Table, named: Sequence[str], keys: Sequence[tuple[Any, ...] | None]
) -> ViewHistory:
    columns = {name: plain(table)[name].to_pylist() for name in table.column_names}
    values = [columns[f"value_{k}"] for k in range(len(view.outputs))]
    times = ("event", "available", "known", "sequence", "last", "ends")
    rows = []
    for at in range(len(table)):
        event, available, known, sequence, last, ends = (columns[name][at] for name in times)
        rows.append(ViewRow(event, available, known, sequence, tuple(column[at] for column in values), last, ends))
    by_key: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for at in range(len(table)):
        by_key[tuple(columns[name][at] for name in named)].append(at)
    of = {}
    for place, key in enumerate(keys):
        if key is not None:
            of[place] = [] if None in key else by_key.get(key, [])
    return ViewHistory(view, table.drop_columns(list(named)), rows, of)


def check_oracle(history: ViewHistory, sample: Sample, findings: Findings) -> dict[int, list[tuple[Any, ...]]]:
    """Compares the sample with the rebuild, and says where a later row's values stand in it.

    Gives by place in the sample all values that are right.
    """
    view = history.view
    outputs = view.all_outputs
    right: dict[int, list[tuple[Any, ...]]] = {}
    for place, indices in history.of.items():
        time = sample.rows[place][sample.timestamp]
        rows = [history.rows[at] for at in indices]
        found = tuple(sample.rows[place][name] for name in outputs)
        chosen: list[ViewRow | None] = [*newest(view, rows, time)] or [None]
        right[place] = [
            tuple(sample.kept(name, v) for name, v in zip(outputs, outputs_of(view, row, time), strict=True))
            for row in chosen
        ]
        row = sample.named(place, view.keys)
        fitting = [k for k, expected in enumerate(right[place]) if all_same(expected, found)]
        if fitting:
            _check_known(view, chosen[fitting[0]], time, row, findings)
            continue
        for name, expected, value in zip(outputs, right[place][0], found, strict=True):
            if not same(expected, value):
                told = f"expected {sample.shown(name, expected)!r}, found {sample.shown(name, value)!r}"
                findings.add(Leak("oracle", view.name, name, row, told))
        _check_origin(view, rows, (found, time), row, sample, findings)
    findings.ran.append(Ran("oracle", view.name, len(history.of)))
    findings.ran.append(Ran("times of the sample", view.name, len(history.of)))
    if beyond := len(sample.rows) - len(history.of):
        reason = f"{beyond} of {len(sample.rows)} sampled rows have keys with too many rows in the view"
        findings.not_run.append(NotRun("oracle", view.name, f"{reason}. Hint: raise LeakLimits.view_rows"))
    return right


def _check_known(
    view: AsOfView, row: ViewRow | None, time: int | None, named: dict[str, Any], findings: Findings
) -> None:
    """Of a right row, whether it could be known: a join that ignores availability may choose one that could not."""
    if row is None or row.event is None or row.known is None or time is None:
        return
    at = time - micros_of(view.offset)
    if row.known > at or (row.known == at and view.boundary == "strictly_before"):
        detail = f"its row of {shown(row.event, _TIME)} was not available before {shown(row.known, _TIME)}"
        findings.add(Leak("times", view.name, None, named, detail))


def _check_origin(
    view: AsOfView, rows: Sequence[ViewRow], found: tuple[tuple[Any, ...], int | None], named: dict[str, Any],
    sample: Sample, findings: Findings,
) -> None:  # fmt: skip
    """Of wrong values, whether they are those of a row that the label may not see."""
    values, time = found
    held = values[: len(view.outputs)]
    if all(value is None for value in held):
        return
    origins = [
        r for r in rows if all_same([sample.kept(o, v) for o, v in zip(view.outputs, r.values, strict=True)], held)
    ]
    if not origins or any(usable(view, row, time) for row in origins):
        return
    origin = min(origins, key=_rank)
    at = (time or 0) - micros_of(view.offset)
    if time is None or origin.event is None or max(origin.event, origin.available or origin.event) >= at:
        detail = (
            f"the values are those of the row of {shown(origin.event, _TIME)}, available "
            f"{shown(origin.available, _TIME)}: not {view.boundary.replace('_', ' ')} {shown(at, _TIME)}"
        )
        findings.add(Leak("times", view.name, None, named, detail))
