"""`function`: rows of a user's own function, whose times and keys are those of the rows that it was given.

A unit is a group of the text's `unit` (the entity's own keys by default): all rows of a group are given in one call.
Its place in the table is a bucket, and in place of a span a number of the group.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from fs_spark import names as n
from fs_spark.errors import RequestError
from fs_spark.features.kinds.function import FunctionTransform
from fs_spark.features.table_view import TableView, ViewInput
from fs_spark.functions import REFUSED
from fs_spark.schemas import column_type, view_layout
from fs_spark.transforms.kept import only_units
from fs_spark.transforms.kinds.computation import Reach, Scope
from fs_spark.transforms.unit_columns import UNIT_BUCKET, UNIT_FROM, bucket_of

_GIVEN: Final = "__given"
_MADE: Final = "__made"
_GROUP_BITS: Final = 50

Load = Callable[[FunctionTransform], Callable[..., Any]]


def _group_of(columns: Sequence[str]) -> Column:
    """In place of the span of a unit: a number of its group, as a time."""
    hashed = F.xxhash64(F.lit("group"), *(F.col(f"`{column}`") for column in columns))
    return F.timestamp_micros(F.pmod(hashed, F.lit(1 << _GROUP_BITS))).alias(UNIT_FROM)


def _function(view: TableView) -> FunctionTransform:
    assert isinstance(view.transform, FunctionTransform)
    return view.transform


def _units(rows: DataFrame, view: TableView, buckets: int) -> DataFrame:
    """Rows of the first input with the unit that each lies in."""
    by = view.inputs[0].by
    named = rows.select(
        "*",
        *(F.col(f"`{by[key]}`").cast(column_type(view.key_types[key])).alias(f"__unit_{key}")
          for key in _function(view).group),
    )  # fmt: skip
    group = [f"__unit_{key}" for key in _function(view).group]
    placed = named.select("*", bucket_of(group, buckets), _group_of(group))
    return placed.drop(*group)


@dataclass(frozen=True)
class _Functions:
    load: Load
    revision: int = 1

    def rows(
        self, frames: Sequence[DataFrame], view: TableView, *, reach: Reach, scope: Scope | None, buckets: int
    ) -> DataFrame:
        first = view.inputs[0]
        assert isinstance(first, ViewInput)
        identity = [*first.keys, *([] if view.is_static else [n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP, n.SEQUENCE]),
                    *first.order]  # fmt: skip
        base = frames[0]
        if reach.bound_us is not None and not view.is_static:
            base = base.where(F.unix_micros(n.EVENT_TIMESTAMP) <= F.lit(reach.bound_us))
        base = _units(_once(base, first, identity), view, buckets)
        if scope is not None:
            base = only_units(base, units=scope.units)
        given = base.drop(UNIT_BUCKET, UNIT_FROM)
        inputs = {_function(view).names[0]: given}
        for name, one, frame in zip(_function(view).names[1:], view.inputs[1:], frames[1:], strict=True):
            assert isinstance(one, ViewInput)
            keys = [F.col(f"`{ours}`").alias(theirs) for theirs, ours in one.by.items()]
            inputs[name] = frame.join(given.select(*keys).distinct(), list(one.by), "left_semi")
        made = self._called(view, inputs, identity)
        return _placed(base, made, view, identity)

    def _called(self, view: TableView, inputs: Mapping[str, DataFrame], identity: Sequence[str]) -> DataFrame:
        transform = _function(view)
        function = self.load(transform)
        try:
            made = function(dict(inputs), **copy.deepcopy(transform.parameters))
        except Exception as fault:
            raise RequestError(
                f"{view.qualified}: {transform.function} raised {type(fault).__name__}: {fault}. "
                "Hint: its rows of before stay in force; mend it in a new version"
            ) from fault
        if not isinstance(made, DataFrame):
            raise RequestError(
                f"{view.qualified}: {transform.function} gave a {type(made).__name__}. Hint: return a Spark DataFrame"
            )
        wanted = _types(inputs[transform.names[0]], identity)
        wanted |= {name: column_type(kind).simpleString() for name, kind in view.columns.items()}
        found = {field.name: field.dataType.simpleString() for field in made.schema.fields}
        faults = [f"it lacks {name} ({kind})" for name, kind in wanted.items() if name not in found]
        faults += [
            f"{name} is {found[name]}, not {kind}" for name, kind in wanted.items() if found.get(name, kind) != kind
        ]
        faults += [f"it has {name}, which the text does not" for name in found if name not in wanted]
        if faults:
            raise RequestError(
                f"{view.qualified}: the rows of {transform.function} are not those of the text: {'; '.join(faults)}. "
                f"Hint: return {', '.join(wanted)}"
            )
        return made.select(*(f"`{name}`" for name in wanted))

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
        units: DataFrame | None = None
        for one, changed in zip(view.inputs, changes, strict=True):
            if changed is None:
                continue
            if one is view.inputs[0]:
                found = _units(changed, view, buckets)
            else:
                assert isinstance(one, ViewInput)
                met = [F.col(f"`{theirs}`").alias(ours) for theirs, ours in one.by.items()]
                found = _units(
                    frames[0].join(changed.select(*met).distinct(), list(one.by.values()), "left_semi"), view, buckets
                )
            chosen = found.select(UNIT_BUCKET, UNIT_FROM)
            units = chosen if units is None else units.unionByName(chosen)
        if before.bound_us != reach.bound_us and not view.is_static:
            event = F.unix_micros(n.EVENT_TIMESTAMP)
            low, high = sorted((before.bound_us or -(2**62), reach.bound_us or -(2**62)))
            moved = _units(frames[0].where((event > F.lit(low)) & (event <= F.lit(high))), view, buckets)
            chosen = moved.select(UNIT_BUCKET, UNIT_FROM)
            units = chosen if units is None else units.unionByName(chosen)
        return None if units is None else Scope(units.distinct().persist())

    def within(self, stored: DataFrame, scope: Scope) -> DataFrame:
        return only_units(stored, units=scope.units)


def _types(frame: DataFrame, names: Sequence[str]) -> dict[str, str]:
    return {name: frame.schema[name].dataType.simpleString() for name in names}


def _placed(base: DataFrame, made: DataFrame, view: TableView, identity: Sequence[str]) -> DataFrame:
    """The function's values at the keys and times of the rows that it was given; others are refused as they come.

    Nothing is looked at twice: a row that it may not give ends the job that writes.
    """
    first = view.inputs[0]
    assert isinstance(first, ViewInput)
    ours = base.withColumn(_GIVEN, F.lit(True))
    theirs = made.select(
        *(F.col(f"`{name}`").alias(f"__their_{k}") for k, name in enumerate(identity)),
        *(F.col(f"`{name}`").alias(f"__out_{name}") for name in view.columns), F.lit(True).alias(_MADE),
    )  # fmt: skip
    same = F.lit(True)
    for k, name in enumerate(identity):
        same = same & F.col(f"`{name}`").eqNullSafe(F.col(f"__their_{k}"))
    joined = ours.join(theirs, same, "right")
    of_row = Window.partitionBy(*(F.col(f"__their_{k}") for k in range(len(identity)))).orderBy(F.lit(1))
    nth = F.row_number().over(of_row)
    label = f"{REFUSED}: {view.qualified}: {_function(view).function} gave"
    refused = (
        F.when(F.col(_GIVEN).isNull(), F.raise_error(F.lit(f"{label} keys or times that it was not given")))
        .when(nth > 1, F.raise_error(F.lit(f"{label} two rows of one key and time")))
        .otherwise(F.lit(True))
    )
    checked = joined.withColumn("__checked", refused).where("__checked")
    known = {
        n.EVENT_TIMESTAMP: F.col(n.EVENT_TIMESTAMP), n.AVAILABLE_TIMESTAMP: F.col(n.AVAILABLE_TIMESTAMP),
    }  # fmt: skip
    keys = [F.col(f"`{column}`").cast(column_type(view.key_types[key])).alias(f"__key_{key}")
            for key, column in first.by.items()]  # fmt: skip
    left = {
        name: key for key, name in first.key_order.items() if name in view.order_columns and name not in first.order
    }
    rows = checked.select(
        UNIT_BUCKET, UNIT_FROM, *keys, *(column.alias(name) for name, column in known.items()), n.SEQUENCE,
        *(F.col(f"`{left.get(name, name)}`").alias(name) for name in view.order_columns),
        *([_end_of(base)] if view.has_validity else []), *(_missing(view, name).alias(name) for name in view.columns),
    )  # fmt: skip
    rows = rows.select(*(F.col(f"`{c}`").alias(c.removeprefix("__key_")) for c in rows.columns))
    whole = F.lit(True)
    for key in view.keys:
        whole = whole & F.col(f"`{key}`").isNotNull()
    return rows.where(whole).select(*view_layout(view).schema.fieldNames())


def _missing(view: TableView, name: str) -> Column:
    """A function's value as tables have it: a NaN is null, and -0.0 is 0.0."""
    value = F.col(f"__out_{name}")

    def plain(one: Column) -> Column:
        return F.nanvl(one, F.lit(None).cast("double")) + F.lit(0.0)

    if view.columns[name] == "double":
        return plain(value)
    return F.transform(value, plain) if view.columns[name] == "array<double>" else value


def _once(base: DataFrame, first: ViewInput, identity: Sequence[str]) -> DataFrame:
    """Of rows that nothing tells apart the one of the greatest content, as for every view of views."""
    content = sorted(c for c in first.columns if c not in identity and c in base.columns)
    if first.order or first.is_state or not content:
        return base
    of_row = Window.partitionBy(*(F.col(f"`{c}`") for c in identity))
    nth = F.row_number().over(of_row.orderBy(F.struct(*(F.col(f"`{c}`") for c in content)).desc()))
    return base.withColumn("__nth", nth).where("__nth = 1").drop("__nth")


def _end_of(base: DataFrame) -> Column:
    """The end of validity of the first input's rows; what others have, the function alone knows of."""
    return F.col("valid_to") if "valid_to" in base.columns else F.lit(None).cast("timestamp_ltz").alias("valid_to")


def functions(load: Load) -> _Functions:
    """Views of a user's function, which `load` finds."""
    return _Functions(load)
