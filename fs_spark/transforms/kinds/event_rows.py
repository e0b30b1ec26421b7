"""Rows of `columns` and `expressions` views: what each event gives, and once more for each later knowledge of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType
from pyspark.sql.window import Window

from fs_spark import names as n
from fs_spark.features.expressions import Expression, parse_condition, parse_expression
from fs_spark.features.kinds.columns import ColumnsTransform
from fs_spark.features.kinds.expressions import ExpressionsTransform
from fs_spark.features.table_view import ORDER_OF, Input, SourceInput, TableView, ViewInput, ordering
from fs_spark.features.types import ARROW
from fs_spark.schemas import column_type, view_layout
from fs_spark.transforms.as_of import AsOfView, as_of_join
from fs_spark.transforms.ordering import in_order
from fs_spark.transforms.unit_columns import bucket_of, span_of

VALID_TO: Final = "valid_to"
END: Final = "__end"
_THERE: Final = "__there"
_ORDER: Final = "__order"
_TIE: Final = "__tie"
_AVAILABLE: Final = n.AVAILABLE_TIMESTAMP
_TIMES: Final = (n.EVENT_TIMESTAMP, _AVAILABLE)


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def shown(one: Input, column: str) -> str:
    """How expressions call a column of an input."""
    return f"{one.called}.{column}" if one.called else column


@dataclass(frozen=True)
class _Evaluate:
    """Batches with the values of expressions behind their columns."""

    kept: tuple[str, ...]
    values: tuple[tuple[str, str], ...]
    columns: tuple[tuple[str, str], ...]
    schema: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parsed = [(name, parse_expression(text, columns=dict(self.columns))) for name, text in self.values]
        for batch in batches:
            given = {name: batch.column(name) for name, _ in self.columns if name in batch.schema.names}
            found = [expression.evaluate(given, rows=batch.num_rows) for _, expression in parsed]
            arrays = [*(batch.column(name) for name in self.kept), *found]
            cast = [array.cast(field.type) for array, field in zip(arrays, self.schema, strict=True)]
            yield pa.RecordBatch.from_arrays(cast, schema=self.schema)


def with_values(
    rows: DataFrame, values: Mapping[str, str], columns: Mapping[str, str], kept: Sequence[str]
) -> DataFrame:
    """`kept` columns and the values of expressions, in Spark where all of them have the same bits there."""
    parsed: dict[str, Expression] = {name: parse_expression(text, columns=columns) for name, text in values.items()}
    if not any(expression.needs_python for expression in parsed.values()):
        told = [f"{expression.spark_sql()} AS {quoted(name)}" for name, expression in parsed.items()]
        return _with_prefixes(rows, parsed.values()).selectExpr(*(quoted(name) for name in kept), *told)
    wanted = sorted({*kept, *(name for expression in parsed.values() for name in expression.columns)})
    fields = [rows.schema[name] for name in kept]
    schema = StructType(fields)
    for name, expression in parsed.items():
        schema = schema.add(name, column_type(expression.dtype))
    arrow = pa.schema([(f.name, ARROW[f.dataType.simpleString()]) for f in schema.fields])
    task = _Evaluate(tuple(kept), tuple(values.items()), tuple(columns.items()), arrow)
    return rows.select(*(F.col(quoted(name)) for name in wanted)).mapInArrow(task, schema)


def _with_prefixes(rows: DataFrame, expressions: Iterable[Expression]) -> DataFrame:
    """Columns called `m.vdd` also as fields of a struct `m`, as expressions in SQL name them."""
    by_prefix: dict[str, list[str]] = {}
    for name in sorted({name for expression in expressions for name in expression.columns}):
        prefix, _, bare = name.rpartition(".")
        if prefix:
            by_prefix.setdefault(prefix, []).append(bare)
    for prefix, names in by_prefix.items():
        fields = [F.col(quoted(f"{prefix}.{bare}")).alias(bare) for bare in names]
        rows = rows.withColumn(prefix, F.struct(*fields))
    return rows


def visible_columns(view: TableView) -> dict[str, str]:
    """Columns as the view's expressions call them, with their types."""
    found: dict[str, str] = {}
    for one in view.inputs:
        for column, kind in one.columns.items():
            found.setdefault(shown(one, column), kind)
    return found


def plain(one: Input, column: str) -> Column:
    """A column's own value: a NaN is null, and -0.0 is 0.0."""
    value = F.col(quoted(column))
    if one.columns[column] != "double":
        return value
    return F.nanvl(value, F.lit(None).cast("double")) + F.lit(0.0)


def condition_of(one: Input) -> str | None:
    """The filter of a source in SQL."""
    if not isinstance(one, SourceInput) or one.meaning.get("filter") is None:
        return None
    return parse_condition(one.meaning["filter"], columns=one.meaning["columns"]).spark_sql()


def filtered(rows: DataFrame, one: Input) -> DataFrame:
    """The rows that pass the filter of their source, after their revisions were told apart."""
    condition = condition_of(one)
    return rows if condition is None else rows.where(condition)


def _last_of_equal(rows: DataFrame, identity: Sequence[str]) -> DataFrame:
    """Of the revisions of a row that became known together, the greatest by content: the columns in order of names."""
    content = sorted(c for c in rows.columns if c not in identity and c != _AVAILABLE)
    group = rows.groupBy(*map(quoted, identity), _AVAILABLE)
    newest = group.agg(F.max(F.struct(*(F.col(quoted(c)) for c in content))).alias("__content"))
    return newest.select(
        *(F.col(quoted(c)) for c in identity), _AVAILABLE, *(F.col(f"__content.{quoted(c)}").alias(c) for c in content)
    )


def _source_rows(rows: DataFrame, one: SourceInput) -> tuple[DataFrame, list[str]]:
    """A source's rows with `sequence`, and the columns that name a row beside its revisions."""
    order = [name for name in one.order if name in rows.columns]
    if n.SEQUENCE in rows.columns:
        sequence = F.col(n.SEQUENCE)
    elif one.is_numbered:
        sequence = F.coalesce(F.col(quoted(order[0])).cast("bigint"), F.lit(-(2**63)).cast("bigint"))
    else:
        sequence = F.lit(0).cast("bigint")
    return rows.withColumn(n.SEQUENCE, sequence), [*one.keys, n.EVENT_TIMESTAMP, *order]


def _changes(rows: DataFrame, identity: Sequence[str], values: Sequence[str], *, first_alone: bool) -> DataFrame:
    """Of rows of one identity those whose values differ from the ones known before."""
    order = Window.partitionBy(*(F.col(quoted(c)) for c in identity)).orderBy(_AVAILABLE)
    now = F.struct(*(F.col(quoted(c)) for c in values))
    numbered = rows.withColumn("__number", F.row_number().over(order)).withColumn("__before", F.lag(now).over(order))
    first = F.col("__number") == 1
    kept = numbered.where(first if first_alone else first | ~now.eqNullSafe(F.col("__before")))
    return kept.drop("__before")


def _revised(
    rows: DataFrame, identity: Sequence[str], keys: Sequence[str], values: Sequence[str], *, first_alone: bool
) -> DataFrame:
    """What each revision of a row changes, for each key that it ever had; one that does not pass leaves nulls.

    Adds       `__is_base`: whether it is the first that was known
    """
    here = F.col(_PASSES)
    if set(keys) - set(identity):  # a revision may move the row to another key
        of_row = Window.partitionBy(*(F.col(quoted(c)) for c in identity))
        own = F.struct(*(F.col(quoted(key)) for key in keys))
        rows = rows.withColumn("__own", own).withColumn("__keys", F.collect_set(own).over(of_row))
        rows = rows.withColumn("__key", F.explode("__keys"))
        rows = rows.withColumn("__here", F.col(_PASSES) & F.col("__own").eqNullSafe(F.col("__key")))
        rows = rows.withColumns({key: F.col(f"__key.{quoted(key)}") for key in keys}).drop("__own", "__keys", "__key")
        here = F.col("__here")
    order = Window.partitionBy(*(F.col(quoted(c)) for c in (*identity, *keys))).orderBy(_AVAILABLE)
    nulls = {c: F.when(here, F.col(quoted(c))) for c in values}
    told = rows.withColumn("__there", here).withColumns(nulls)
    now = F.struct(*(F.col(quoted(c)) for c in values))
    seen = F.max(F.col("__there")).over(order.rowsBetween(Window.unboundedPreceding, -1))
    told = told.withColumn("__is_base", F.col("__there") & ~F.coalesce(seen, F.lit(False)))
    told = told.withColumn("__started", F.coalesce(seen, F.lit(False))).withColumn("__before", F.lag(now).over(order))
    moved = F.col("__started") & ~now.eqNullSafe(F.col("__before"))
    kept = told.where(F.col("__is_base") if first_alone else F.col("__is_base") | moved)
    return kept.drop("__there", "__started", "__before", "__here")


_PASSES: Final = "__passes"


def source_events(rows: DataFrame, view: TableView) -> DataFrame:
    """Rows of a view over one source: keys, times, sequence, values, before they are placed."""
    one = view.inputs[0]
    assert isinstance(one, SourceInput)
    transform = view.transform
    assert isinstance(transform, (ColumnsTransform, ExpressionsTransform))
    found, identity = _source_rows(rows, one)
    revised = bool(one.order) and not view.is_static and END not in rows.columns
    if revised:
        found = _last_of_equal(found, identity)
    condition = condition_of(one)
    found = found.withColumn(_PASSES, F.coalesce(F.expr(condition), F.lit(False)) if condition else F.lit(True))
    if not revised:
        found = found.where(_PASSES)
    validity = [VALID_TO] if view.has_validity else []
    keys = {f"__key_{key}": column for key, column in one.by.items()}
    ordered = {name: name.removeprefix(ordering(one.name, "")) for name in view.order_columns}
    found = found.withColumns({name: F.col(quoted(column)) for name, column in {**keys, **ordered}.items()})
    kept = list(dict.fromkeys([*identity, *_TIMES, n.SEQUENCE, *validity, _PASSES, *keys, *ordered]))
    names = list(view.columns)  # values stand behind a mark, so that they may be called like columns of the source
    if isinstance(transform, ColumnsTransform):
        picked = [plain(one, column).alias(f"__out_{name}") for name, column in transform.picks]
        called = found.select(*(F.col(quoted(c)) for c in kept), *picked)
    else:
        seen = {shown(one, column): kind for column, kind in one.columns.items()}
        if one.called:
            found = found.select(
                "*", *(F.col(quoted(c)).alias(shown(one, c)) for c in one.columns if c in found.columns)
            )
        called = with_values(found, {f"__out_{name}": text for name, text in transform.values}, seen, kept)
    values = [f"__out_{name}" for name in names] + validity
    base = F.lit(True)
    if revised:
        called = _revised(called, identity, list(keys), values, first_alone=transform.revisions == "first")
        base = F.col("__is_base")
    if view.knowledge == "before_event":
        known = F.greatest(F.col(n.EVENT_TIMESTAMP), F.col(_AVAILABLE))
        if one.knowledge == "at_event":  # the question itself brings the columns
            known = F.when(base, F.col(n.EVENT_TIMESTAMP)).otherwise(known)
        called = called.withColumn(_AVAILABLE, known)
    return _named(called, view)


def _named(rows: DataFrame, view: TableView) -> DataFrame:
    keys = [F.col(f"__key_{key}").cast(column_type(kind)).alias(key) for key, kind in view.key_types.items()]
    names = (*_TIMES, n.SEQUENCE, *view.order_columns, *((VALID_TO,) if view.has_validity else ()))
    times = [F.col(quoted(c)) for c in names]
    values = [F.col(f"__out_{name}").alias(name) for name in view.columns]
    found = rows.select(*keys, *times, *values)
    whole = F.lit(True)
    for key in view.keys:
        whole = whole & F.col(quoted(key)).isNotNull()
    return found.where(whole)


def joined_events(frames: Sequence[DataFrame], view: TableView) -> DataFrame:
    """Rows of a view over other views: the first gives the rows, others meet them at their event."""
    first, rest = view.inputs[0], view.inputs[1:]
    assert isinstance(first, ViewInput)
    transform = view.transform
    assert isinstance(transform, (ColumnsTransform, ExpressionsTransform))
    identity = [*first.keys] if view.is_static else [*first.keys, n.EVENT_TIMESTAMP, n.SEQUENCE, *first.order]
    base = frames[0]
    same = [(k, one) for k, one in enumerate(rest, 1) if isinstance(one, ViewInput) and one.match == "event"]
    if same:
        named = base.select(*map(quoted, identity)).distinct()
        base = _known_together(base, [(_of_events(frames[k], one, first, named), one) for k, one in same], identity)
    rows = base.select(
        *map(quoted, identity), *([] if view.is_static else [_AVAILABLE]), *([n.SEQUENCE] if view.is_static else []),
        *_called(base, first),
        *(F.col(f"`__{k}.{c}`").alias(shown(one, c)) for k, one in same for c in _given(one)),
        *_validity(base, first, same),
    )  # fmt: skip
    if view.is_static:
        rows = rows.withColumns({name: F.lit(None).cast("timestamp_ltz") for name in _TIMES})
    later = [(k, one) for k, one in enumerate(rest, 1) if isinstance(one, ViewInput) and one.match != "event"]
    if later:
        rows = _as_of(rows, [(k, frames[k], one) for k, one in later], first)
    values = (
        {f"__out_{name}": quoted(shown(first, column)) for name, column in transform.picks}
        if isinstance(transform, ColumnsTransform)
        else {f"__out_{name}": text for name, text in transform.values}
    )
    kept = [
        *identity,
        n.EVENT_TIMESTAMP,
        _AVAILABLE,
        n.SEQUENCE,
        *view.order_columns,
        *([VALID_TO] if view.has_validity else []),
    ]
    by = {f"__key_{key}": column for key, column in first.by.items()}
    left = {
        name: key for key, name in first.key_order.items() if name in view.order_columns and name not in first.order
    }
    rows = rows.withColumns({name: F.col(quoted(key)) for name, key in left.items()}) if left else rows
    rows = rows.select("*", *(F.col(quoted(shown(first, column))).alias(name) for name, column in by.items()))
    found = with_values(rows, values, visible_columns(view), list(dict.fromkeys([*kept, *by])))
    if not view.is_static:
        compared = [*values, *([VALID_TO] if view.has_validity else [])]
        found = _changes(found, identity, compared, first_alone=transform.revisions == "first").drop("__number")
    return _named(found, view)


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


def _of_events(frame: DataFrame, one: ViewInput, first: ViewInput, named: DataFrame) -> DataFrame:
    """An input's rows with all columns that tell the events of the first one apart.

    Views of one source have them; rows of another meet each of the first one's rows of their event and sequence.
    """
    if one.order == first.order:
        return frame
    ours = {theirs: f"__named_{theirs}" for theirs in one.by}
    events = named.select(
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


def placed(rows: DataFrame, view: TableView, buckets: int) -> DataFrame:
    """With the unit of each row, in the order of the view's table."""
    found = rows.select(bucket_of(view.keys, buckets), span_of(F.col(n.EVENT_TIMESTAMP)), *rows.columns)
    return found.select(*view_layout(view).schema.fieldNames())
