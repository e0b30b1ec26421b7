"""Rows of views over other views: of each event what all inputs give, as it became known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from fs_spark import names as n
from fs_spark.features.kinds.columns import ColumnsTransform
from fs_spark.features.kinds.expressions import ExpressionsTransform
from fs_spark.features.kinds.fitted import FittedTransform
from fs_spark.features.table_view import ORDER_OF, TableView, ViewInput
from fs_spark.transforms.as_of import AsOfView, as_of_join
from fs_spark.transforms.kinds.event_rows import VALID_TO, as_rows_of, quoted, shown, visible_columns, with_values
from fs_spark.transforms.kinds.fitted import with_fit
from fs_spark.transforms.ordering import in_order

_THERE: Final = "__there"
_ORDER: Final = "__order"
_TIE: Final = "__tie"
_CONTENT: Final = "__content"
_AVAILABLE: Final = n.AVAILABLE_TIMESTAMP
_TIMES: Final = (n.EVENT_TIMESTAMP, _AVAILABLE)


def _changes(
    rows: DataFrame, identity: Sequence[str], values: Sequence[str], *, first_alone: bool, content: str | None
) -> DataFrame:
    """Of rows of one identity those whose values differ from the ones known before; of equal times by `content` one."""
    tied = [F.col(content).desc()] if content is not None else []
    order = Window.partitionBy(*(F.col(quoted(c)) for c in identity)).orderBy(_AVAILABLE, *tied)
    if content is not None:
        rows = rows.withColumn("__earlier", F.lag(_AVAILABLE).over(order))
        rows = rows.where(F.col("__earlier").isNull() | (F.col("__earlier") != F.col(_AVAILABLE))).drop("__earlier")
    now = F.struct(*(F.col(quoted(c)) for c in values))
    numbered = rows.withColumn("__number", F.row_number().over(order)).withColumn("__before", F.lag(now).over(order))
    first = F.col("__number") == 1
    kept = numbered.where(first if first_alone else first | ~now.eqNullSafe(F.col("__before")))
    return kept.drop("__before", "__number")


def joined_events(frames: Sequence[DataFrame], view: TableView) -> DataFrame:
    """Rows of a view over other views: the first gives the rows, others meet them at their event."""
    first, rest = view.inputs[0], view.inputs[1:]
    assert isinstance(first, ViewInput)
    transform = view.transform
    assert isinstance(transform, (ColumnsTransform, ExpressionsTransform, FittedTransform))
    identity = [*first.keys] if view.is_static else [*first.keys, n.EVENT_TIMESTAMP, n.SEQUENCE, *first.order]
    base = frames[0]
    tied = not (view.is_static or first.is_state or first.order)  # a source without an order has equal instants
    same = [(k, one) for k, one in enumerate(rest, 1) if isinstance(one, ViewInput) and one.match == "event"]
    if same:
        events = base.select(*map(quoted, identity)).distinct()
        tied = False
        base = _known_together(base, [(_of_events(frames[k], one, first, events), one) for k, one in same], identity)
    rows = base.select(
        *map(quoted, identity), *([] if view.is_static else [_AVAILABLE]), *([n.SEQUENCE] if view.is_static else []),
        *_called(base, first),
        *(F.col(f"`__{k}.{c}`").alias(shown(one, c)) for k, one in same for c in _given(one)),
        *_validity(base, first, same),
        *([F.struct(*(F.col(quoted(c)) for c in sorted(_given(first)))).alias(_CONTENT)] if tied else []),
    )  # fmt: skip
    if view.is_static:
        rows = rows.withColumns({name: F.lit(None).cast("timestamp_ltz") for name in _TIMES})
    later = [(k, one) for k, one in enumerate(rest, 1) if isinstance(one, ViewInput) and one.match != "event"]
    if later:
        rows = _as_of(rows, [(k, frames[k], one) for k, one in later], first)
    values = [f"__out_{name}" for name in view.columns]
    kept = [
        *identity,
        n.EVENT_TIMESTAMP,
        _AVAILABLE,
        n.SEQUENCE,
        *view.order_columns,
        *([_CONTENT] if tied else []),
        *([VALID_TO] if view.has_validity else []),
    ]
    by = {f"__key_{key}": column for key, column in first.by.items()}
    left = {
        name: key for key, name in first.key_order.items() if name in view.order_columns and name not in first.order
    }
    rows = rows.withColumns({name: F.col(quoted(key)) for name, key in left.items()}) if left else rows
    rows = rows.select("*", *(F.col(quoted(shown(first, column))).alias(name) for name, column in by.items()))
    found = _valued(rows, view, list(dict.fromkeys([*kept, *by])))
    if not view.is_static:
        compared = [*values, *([VALID_TO] if view.has_validity else [])]
        found = _changes(
            found, identity, compared, first_alone=transform.revisions == "first", content=_CONTENT if tied else None
        )
    return as_rows_of(view, found)


def _valued(rows: DataFrame, view: TableView, kept: Sequence[str]) -> DataFrame:
    """`kept` columns and the view's values, behind a mark so that they may be called like columns of the rows."""
    transform = view.transform
    if isinstance(transform, FittedTransform):
        return with_fit(rows, transform, kept)
    if isinstance(transform, ColumnsTransform):
        first = view.inputs[0]
        values = {f"__out_{name}": quoted(shown(first, column)) for name, column in transform.picks}
    else:
        assert isinstance(transform, ExpressionsTransform)
        values = {f"__out_{name}": text for name, text in transform.values}
    return with_values(rows, values, visible_columns(view), kept)


def _given(one: ViewInput) -> list[str]:
    return [c for c in one.columns if c not in (VALID_TO,)]


def _called(frame: DataFrame, one: ViewInput) -> list[Column]:
    return [F.col(quoted(c)).alias(f"{shown(one, c)}") for c in _given(one) if shown(one, c) not in _plain(one)]


def _plain(one: ViewInput) -> set[str]:
    """Columns that stand in the row under their own name already."""
    return {*one.keys, n.EVENT_TIMESTAMP, _AVAILABLE, n.SEQUENCE} if not one.called else set()


def _validity(base: DataFrame, first: ViewInput, same: Sequence[tuple[int, ViewInput]]) -> list[Column]:
    ends = [F.col(VALID_TO)] if VALID_TO in first.columns else []
    ends += [F.col(f"`__{k}.{VALID_TO}`") for k, one in same if VALID_TO in one.columns]
    if not ends:
        return []
    return [(F.least(*ends) if len(ends) > 1 else ends[0]).alias(VALID_TO)]


def _known_together(
    base: DataFrame, others: Sequence[tuple[DataFrame, ViewInput]], identity: Sequence[str]
) -> DataFrame:
    """For each availability from which on all inputs of a row are known, one row with what they give by then."""
    ordered = [c for c in identity if c.startswith(ORDER_OF)]
    identity = [c for c in identity if c not in ordered]
    if ordered:  # as one key that is there where they are null
        whole = F.struct(*map(quoted, ordered)).alias(_ORDER)
        base = base.select(whole, *(quoted(c) for c in base.columns if c not in ordered))
        others = [(frame.withColumn(_ORDER, whole), one) for frame, one in others]
        identity = [*identity, _ORDER]
    event = [c for c in identity if c not in others[0][1].by.values()]
    instants = base.select(*map(quoted, identity), _AVAILABLE)
    for frame, one in others:
        keys = [F.col(quoted(theirs)).alias(column) for theirs, column in one.by.items()]
        instants = instants.unionByName(frame.select(*keys, *map(quoted, event), _AVAILABLE))
    spine = instants.distinct()
    views = [
        AsOfView(
            name=f"input_{k}", frame=_at_availability(frame, by), keys=tuple(identity),
            columns={**{f"{prefix}{c}": f"__c_{c}" for c in columns}, f"{_THERE}{k}": _THERE},
            boundary="at_or_before", event_timestamp="__at", available_timestamp=None,
            sequence=f"__c_{_TIE}" if _TIE in frame.columns else None,
        )
        for k, (frame, by, columns, prefix) in enumerate(
            [
                (base, {c: c for c in identity}, [c for c in base.columns if c not in (*identity, _AVAILABLE)], ""),
                *(
                    (frame, {**one.by, **{c: c for c in event}}, list(one.columns), f"__{k}.")
                    for k, (frame, one) in enumerate(others, 1)
                ),
            ]
        )
    ]  # fmt: skip
    joined = as_of_join(spine.withColumnRenamed(_AVAILABLE, "__asked"), views, timestamp="__asked")
    needed = [0, *(k for k, (_, one) in enumerate(others, 1) if not one.optional)]
    for k in needed:
        joined = joined.where(F.col(f"{_THERE}{k}"))
    if ordered:
        joined = joined.withColumns({c: F.col(f"{_ORDER}.{quoted(c)}") for c in ordered}).drop(_ORDER)
    return joined.withColumnRenamed("__asked", _AVAILABLE)


def _of_events(frame: DataFrame, one: ViewInput, first: ViewInput, told: DataFrame) -> DataFrame:
    """An input's rows with all columns that tell the events of the first one apart.

    Views of one source have them; rows of another meet each of the first one's rows of their event and sequence.
    """
    if one.order == first.order:
        return frame
    ours = {theirs: f"__named_{theirs}" for theirs in one.by}
    events = told.select(
        *(F.col(quoted(column)).alias(ours[theirs]) for theirs, column in one.by.items()),
        F.col(n.EVENT_TIMESTAMP).alias("__named_event"), F.col(n.SEQUENCE).alias("__named_sequence"),
        *map(quoted, first.order),
    )  # fmt: skip
    matched = (F.col(n.EVENT_TIMESTAMP) == F.col("__named_event")) & (F.col(n.SEQUENCE) == F.col("__named_sequence"))
    for theirs, name in ours.items():
        matched = matched & (F.col(quoted(theirs)) == F.col(quoted(name)))
    if one.order:
        frame = frame.withColumn(_TIE, F.struct(*map(quoted, one.order))).drop(*one.order)
    rows = frame.join(events, matched)
    return rows.drop("__named_event", "__named_sequence", *ours.values())


def _at_availability(frame: DataFrame, by: Mapping[str, str]) -> DataFrame:
    """A view's rows keyed by the whole event, and ordered by when they were known."""
    keys = [F.col(quoted(theirs)).alias(ours) for theirs, ours in by.items()]
    content = [F.col(quoted(c)).alias(f"__c_{c}") for c in frame.columns]
    return frame.select(*keys, F.col(_AVAILABLE).alias("__at"), F.lit(True).alias(_THERE), *content)


def _as_of(rows: DataFrame, later: Sequence[tuple[int, DataFrame, ViewInput]], first: ViewInput) -> DataFrame:
    """Inputs joined at the row's event, by their own keys and boundary, and static ones by key."""
    views, dropped = [], []
    for k, given, one in later:
        frame = in_order(given, one.order)
        columns = {shown(one, c): c for c in one.columns if c not in one.keys and c != VALID_TO}
        keys = []
        for theirs, ours in one.by.items():
            name = f"__by_{k}_{theirs}"
            rows = rows.withColumn(name, F.col(quoted(shown(first, ours))))
            frame = frame.withColumnRenamed(theirs, name)
            keys.append(name)
        dropped += keys
        columns = {out: c for out, c in columns.items() if c not in _TIMES}
        if not one.optional or not columns:
            frame = frame.withColumn(_THERE, F.lit(True))
            columns[f"{_THERE}{k}"] = _THERE
        views.append(
            AsOfView(
                name=one.table,
                frame=frame,
                keys=tuple(keys),
                columns=columns,
                boundary=one.boundary,
                ttl=timedelta(seconds=one.ttl_s) if one.ttl_s is not None else None,
            )
        )
    joined = as_of_join(rows, views, timestamp=n.EVENT_TIMESTAMP)
    for k, _, one in later:
        if one.match == "static" and not one.optional:
            joined = joined.where(F.col(f"{_THERE}{k}"))
    return joined.drop(*dropped)
