"""`columns` and `expressions`: rows of events, whose unit is that of the event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.features.table_view import Input, SourceInput, TableView, ViewInput
from fs_spark.transforms.kept import only_units
from fs_spark.transforms.kinds.computation import Reach, Scope
from fs_spark.transforms.kinds.event_rows import placed, quoted, source_events
from fs_spark.transforms.kinds.joined_rows import joined_events
from fs_spark.transforms.unit_columns import UNIT_BUCKET, UNIT_FROM, bucket_of, span_of

_FROM = "__from_us"


def units_of(rows: DataFrame, by: Mapping[str, str], view: TableView, buckets: int) -> DataFrame:
    """The units of the view that rows with these columns as keys lie in."""
    keys = [F.col(quoted(column)).cast(_kind(view, key)).alias(key) for key, column in by.items()]
    event = F.col(n.EVENT_TIMESTAMP) if n.EVENT_TIMESTAMP in rows.columns else F.lit(None).cast("timestamp_ltz")
    found = rows.select(*keys, event.alias(n.EVENT_TIMESTAMP))
    return found.select(bucket_of(view.keys, buckets), span_of(F.col(n.EVENT_TIMESTAMP)))


def _kind(view: TableView, key: str) -> str:
    return view.key_types[key]


def _by(view: TableView, one: Input) -> dict[str, str]:
    """View key -> column of an input with the same events as the rows."""
    first = view.inputs[0]
    if one is first or isinstance(one, SourceInput):
        return dict(first.by)
    assert isinstance(one, ViewInput)
    theirs = {ours: key for key, ours in one.by.items()}
    return {key: theirs[column] for key, column in first.by.items() if column in theirs}


@dataclass(frozen=True)
class _Events:
    revision: int = 2

    def rows(
        self, frames: Sequence[DataFrame], view: TableView, *, reach: Reach, scope: Scope | None, buckets: int
    ) -> DataFrame:
        first = frames[0]
        if reach.bound_us is not None and not view.is_static:
            first = first.where(F.unix_micros(n.EVENT_TIMESTAMP) <= F.lit(reach.bound_us))
        if scope is not None:
            first = only_in_scope(first, view.inputs[0].by, view, scope, buckets)
        frames = [first, *frames[1:]]
        if isinstance(view.inputs[0], SourceInput) and len(view.inputs) == 1:
            return placed(source_events(first, view), view, buckets)
        return placed(joined_events(frames, view), view, buckets)

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
        first = view.inputs[0]
        found: list[DataFrame] = []
        for one, changed in zip(view.inputs, changes, strict=True):
            if changed is None:
                continue
            if one is first or (isinstance(one, ViewInput) and one.match == "event"):
                found.append(units_of(changed, _by(view, one), view, buckets))
            else:
                assert isinstance(one, ViewInput)
                found.append(units_of(_met(frames[0], changed, one), first.by, view, buckets))
        if before.bound_us != reach.bound_us and not view.is_static:
            event = F.unix_micros(n.EVENT_TIMESTAMP)
            low, high = sorted((before.bound_us or -(2**62), reach.bound_us or -(2**62)))
            moved = frames[0].where((event > F.lit(low)) & (event <= F.lit(high)))
            found.append(units_of(moved, first.by, view, buckets))
        if not found:
            return None
        units = found[0]
        for other in found[1:]:
            units = units.unionByName(other)
        return Scope(units.distinct().persist())

    def within(self, stored: DataFrame, scope: Scope) -> DataFrame:
        return only_units(stored, units=scope.units)


def only_in_scope(rows: DataFrame, by: Mapping[str, str], view: TableView, scope: Scope, buckets: int) -> DataFrame:
    """The rows of the first input that lie in the scope's units."""
    keys = [F.col(quoted(column)).cast(_kind(view, key)).alias(f"__unit_{key}") for key, column in by.items()]
    event = F.col(n.EVENT_TIMESTAMP) if not view.is_static else F.lit(None).cast("timestamp_ltz")
    marked = rows.select("*", *keys)
    marked = marked.select("*", bucket_of([f"__unit_{key}" for key in by], buckets), span_of(event))
    kept = marked.join(F.broadcast(scope.units), [UNIT_BUCKET, UNIT_FROM], "left_semi")
    return kept.select(*(F.col(quoted(c)) for c in rows.columns))


def _met(rows: DataFrame, changed: DataFrame, one: ViewInput) -> DataFrame:
    """The rows that a changed row of a joined input may be met by: of its key, from when it is known on."""
    names = {theirs: f"__met_{theirs}" for theirs in one.by}
    keys = [F.col(quoted(theirs)).alias(name) for theirs, name in names.items()]
    if one.match == "static":
        told = changed.select(*keys).distinct()
    else:
        known = F.greatest(F.unix_micros(n.EVENT_TIMESTAMP), F.unix_micros(n.AVAILABLE_TIMESTAMP))
        told = changed.select(*keys, known.alias(_FROM)).groupBy(*names.values()).agg(F.min(_FROM).alias(_FROM))
    condition = F.lit(True)
    for theirs, ours in one.by.items():
        condition = condition & (F.col(quoted(ours)) == F.col(names[theirs]))
    if one.match != "static":
        condition = condition & (F.unix_micros(n.EVENT_TIMESTAMP) >= F.col(_FROM))
    return rows.join(told, condition, "left_semi")


EVENTS = _Events()
