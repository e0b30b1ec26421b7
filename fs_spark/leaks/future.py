"""Another future at the join: the views' rows after each sampled time are changed, more are added, and all is joined
anew. What the set holds must come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession

from fs_spark.leaks.oracle import ViewHistory, usable
from fs_spark.leaks.report import Findings, Leak, Ran
from fs_spark.leaks.rows import Sample, all_same, micros_of, plain, same
from fs_spark.transforms.as_of import AsOfView, as_of_join

ROW: Final = "__row"
"""Each sampled row has a key of its own, so that each has its own future."""
_TIME: Final = pa.timestamp("us", tz="UTC")
_HOUR: Final = 3_600_000_000
_EXTREME: Final = 1e30


def later_moments(view: AsOfView, time: int | None) -> list[tuple[int, int]]:
    """(event, available) of rows that a label at `time` must not see: a moment and an hour too late, made before but
    known after, known before but made after; at the very time where the boundary is strict."""
    at = (time or 0) - micros_of(view.offset)
    first = at if view.boundary == "strictly_before" else at + 1
    moments = [(first, first), (at + _HOUR, at + _HOUR), (first, at - _HOUR)]
    if view.available_timestamp is not None:
        moments += [(at - 1, first), (at - 1, at + _HOUR)]
    return moments


def changed(column: pa.ChunkedArray, where: NDArray[np.bool_]) -> pa.ChunkedArray:
    """A column with other values where asked: the greatest there are, and null where its type has none."""
    kind = column.type
    if pa.types.is_boolean(kind):
        other: Any = pc.invert(pc.fill_null(column, False))
    elif pa.types.is_integer(kind):
        other = pa.scalar(np.iinfo(kind.to_pandas_dtype()).max, kind)
    elif pa.types.is_floating(kind):
        other = pa.scalar(_EXTREME, kind)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        other = pa.scalar("later", kind)
    else:
        other = pa.scalar(None, kind)
    return pc.if_else(pa.array(where), other, column)


def other_future(history: ViewHistory, sample: Sample, spark: SparkSession) -> AsOfView:
    """The view over rows whose future is another one for each sampled row."""
    view = history.view
    taken: list[int | None] = []
    row_of: list[int] = []
    later: list[bool] = []
    event: list[int | None] = []
    available: list[int | None] = []
    for place, indices in history.of.items():
        time = sample.rows[place][sample.timestamp]
        for at in indices:
            row = history.rows[at]
            stale = row.event is not None and not usable(view, row, time)
            taken.append(at)
            later.append(stale)
            event.append(row.event)
            available.append(row.available)
        for made, known in later_moments(view, time):
            taken.append(None)
            later.append(True)
            event.append(made)
            available.append(known)
        row_of += [place] * (len(taken) - len(row_of))
    where = np.array(later, np.bool_)
    table = history.table.take(pa.array(taken, pa.int64()))
    columns = {f"value_{k}": changed(table[f"value_{k}"], where) for k in range(len(view.outputs))}
    frame = spark.createDataFrame(
        pa.table(
            {
                ROW: pa.array(row_of, pa.int64()),
                "event": pa.array(event, pa.int64()).cast(_TIME),
                "available": pa.array(available, pa.int64()).cast(_TIME),
                "sequence": changed(table["sequence"], np.array([at is None for at in taken], np.bool_)),
                "last": _filled(table["last"], taken, event),
                "ends": table["ends"].cast(_TIME),
                **columns,
            }
        )
    )
    return AsOfView(
        name=view.name,
        frame=frame,
        keys=(ROW,),
        columns={output: f"value_{k}" for k, output in enumerate(view.outputs)},
        boundary=view.boundary,
        ttl=view.ttl,
        offset=view.offset,
        event_timestamp="event",
        available_timestamp=None if view.available_timestamp is None else "available",
        sequence="sequence" if view.sequence is not None else None,
        event_as=view.event_as,
        age_as=view.age_as,
        last_event="last" if view.last_event is not None else None,
        since_as=view.since_as,
        valid_to="ends" if view.valid_to is not None else None,
    )


def _filled(last: pa.ChunkedArray, taken: Sequence[int | None], event: Sequence[int | None]) -> pa.ChunkedArray:
    """The last events of states; of rows that were added, their own."""
    own = pa.array([moment if at is None else None for at, moment in zip(taken, event, strict=True)], pa.int64())
    return pc.coalesce(last.cast(_TIME), own.cast(_TIME))


def spine_of_rows(sample: Sample, spark: SparkSession) -> DataFrame:
    """The place of each sampled row and its time."""
    times = pa.array([row[sample.timestamp] for row in sample.rows], pa.int64()).cast(_TIME)
    return spark.createDataFrame(
        pa.table({ROW: pa.array(range(len(sample.rows)), pa.int64()), sample.timestamp: times})
    )


def check_future(
    histories: Sequence[ViewHistory],
    right: Sequence[Mapping[int, list[tuple[Any, ...]]]],
    sample: Sample,
    spark: SparkSession,
    findings: Findings,
) -> None:
    """Joins the sample to views whose later rows are others; `right` are by view and row the values of its past."""
    views = [other_future(history, sample, spark) for history in histories]
    joined = as_of_join(spine_of_rows(sample, spark), views, timestamp=sample.timestamp)
    given = {row[ROW]: row for row in plain(joined.toArrow()).to_pylist()}
    for history, of_past in zip(histories, right, strict=True):
        view = history.view
        outputs = view.all_outputs
        for place in history.of:
            found = [sample.rows[place][name] for name in outputs]
            now = [sample.kept(name, given[place][name]) for name in outputs]
            past = of_past[place]
            tied = any(all_same(found, one) for one in past) and any(all_same(now, one) for one in past)
            if tied or all_same(found, now):
                continue
            for name, value, other in zip(outputs, found, now, strict=True):
                if not same(value, other):
                    detail = (
                        f"found {sample.shown(name, value)!r}; {sample.shown(name, other)!r} where the view's "
                        "later rows are others"
                    )
                    findings.add(Leak("future", view.name, name, sample.named(place, view.keys), detail))
        findings.ran.append(Ran("future at the join", view.name, len(history.of)))
