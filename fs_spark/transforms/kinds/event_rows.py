"""Rows of `columns` and `expressions` over a source: what each event gives, and once more for each later knowledge."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from fs_spark.features.table_view import Input, SourceInput, TableView, ordering
from fs_spark.features.types import ARROW
from fs_spark.schemas import column_type, view_layout
from fs_spark.transforms.unit_columns import bucket_of, span_of

VALID_TO: Final = "valid_to"
END: Final = "__end"
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
    results: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parsed = [(name, parse_expression(text, columns=dict(self.columns))) for name, text in self.values]
        for batch in batches:
            given = {name: batch.column(name) for name, _ in self.columns if name in batch.schema.names}
            found = [expression.evaluate(given, rows=batch.num_rows) for _, expression in parsed]
            cast = [array.cast(field.type) for array, field in zip(found, self.results, strict=True)]
            kept = [batch.schema.field(name) for name in self.kept]
            arrays = [*(batch.column(name) for name in self.kept), *cast]
            yield pa.RecordBatch.from_arrays(arrays, schema=pa.schema([*kept, *self.results]))


def with_values(
    rows: DataFrame, values: Mapping[str, str], columns: Mapping[str, str], kept: Sequence[str]
) -> DataFrame:
    """`kept` columns and the values of expressions, in Spark where all of them have the same bits there."""
    parsed: dict[str, Expression] = {name: parse_expression(text, columns=columns) for name, text in values.items()}
    if not any(expression.needs_python for expression in parsed.values()):
        told = [f"{expression.spark_sql()} AS {quoted(name)}" for name, expression in parsed.items()]
        return _with_prefixes(rows, parsed.values()).selectExpr(*(quoted(name) for name in kept), *told)
    wanted = sorted({*kept, *(name for expression in parsed.values() for name in expression.columns)})
    schema = StructType([rows.schema[name] for name in kept])
    for name, expression in parsed.items():
        schema = schema.add(name, column_type(expression.dtype))
    results = pa.schema([(name, ARROW[expression.dtype]) for name, expression in parsed.items()])
    task = _Evaluate(tuple(kept), tuple(values.items()), tuple(columns.items()), results)
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
    return as_rows_of(view, called)


def as_rows_of(view: TableView, rows: DataFrame) -> DataFrame:
    """Keys, times, order and values of rows whose values are marked; rows without a key are left out."""
    keys = [F.col(f"__key_{key}").cast(column_type(kind)).alias(key) for key, kind in view.key_types.items()]
    names = (*_TIMES, n.SEQUENCE, *view.order_columns, *((VALID_TO,) if view.has_validity else ()))
    times = [F.col(quoted(c)) for c in names]
    values = [F.col(f"__out_{name}").alias(name) for name in view.columns]
    found = rows.select(*keys, *times, *values)
    whole = F.lit(True)
    for key in view.keys:
        whole = whole & F.col(quoted(key)).isNotNull()
    return found.where(whole)


def placed(rows: DataFrame, view: TableView, buckets: int) -> DataFrame:
    """With the unit of each row, in the order of the view's table."""
    found = rows.select(bucket_of(view.keys, buckets), span_of(F.col(n.EVENT_TIMESTAMP)), *rows.columns)
    return found.select(*view_layout(view).schema.fieldNames())
