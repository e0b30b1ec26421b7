"""Ingested rows -> feature rows: each input shuffled once by lot, then the numpy kernels over whole wafers.

Die tests and test results travel in one union, so that both cross the shuffle and the border to Python once; the
values of a part are put beside it inside the kernel's group, where that is an array lookup and no second shuffle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from fs_spark import names as n
from fs_spark.features.compute import input_columns
from fs_spark.features.engine import Plan
from fs_spark.features.view import FeatureView
from fs_spark.schemas import require_columns, view_layout
from fs_spark.transforms.units import SLOT, UNIT, VALUE, MeasuredTest, ProductBinding, UnitKernel, plan_of_view

__all__ = ["MeasuredTest", "ProductBinding", "per_unit_features", "wide_features"]

_RESULT_COLUMNS: Final = (
    n.LOT_ID, n.WAFER_ID, n.RUN_ID, n.PART_INDEX, n.TEST_NUM, n.TEST_NAME, n.OCCURRENCE, n.RESULT,
)  # fmt: skip


@dataclass(frozen=True)
class FileUnits:
    """Tests whose file gives them another unit than a parameter is in: (file_id, test_num, test_name, unit_of_file),
    where the last is the place of the unit in `names`."""

    tests: DataFrame
    names: tuple[str, ...]


def slots_of(bindings: Mapping[str, ProductBinding], parameters: Sequence[str]) -> list[tuple[int, str, int]]:
    """The tests of these parameters; results name them by place."""
    tests = {
        test.identity
        for binding in bindings.values()
        for name, test in binding.parameters.items()
        if name in parameters
    }
    return sorted(tests)


def _slot_of(slots: Sequence[tuple[int, str, int]], element: Column) -> Column:
    chosen = F.lit(None).cast("int")
    for index, (number, name, place) in enumerate(slots):
        here = (F.col(n.TEST_NUM) == number) & (F.col(n.TEST_NAME) == name) & (element == place)
        chosen = F.when(here, F.lit(index)).otherwise(chosen)
    return chosen


def _part_columns(plan: Plan, *, keys: Sequence[str]) -> list[str]:
    """The columns of die tests that the plan reads, each once."""
    measured = set(plan.parameters)
    wanted = [name for name in input_columns(plan) if name not in measured]
    if plan.measures:
        wanted += [n.RUN_ID, n.PART_INDEX]
    return list(dict.fromkeys([*keys, *wanted, n.PRODUCT_ID]))


def _product_number(bindings: Mapping[str, ProductBinding]) -> Column:
    """A product's place among the bound ones, null where it has none: a number crosses to Python at half the price."""
    number = F.lit(None).cast("int")
    for at, product in enumerate(sorted(bindings)):
        number = F.when(F.col(n.PRODUCT_ID) == product, F.lit(at)).otherwise(number)
    return number.alias(n.PRODUCT_ID)


def _selected(columns: Sequence[str], bindings: Mapping[str, ProductBinding]) -> list[Column]:
    return [_product_number(bindings) if name == n.PRODUCT_ID else F.col(name) for name in columns]


def _keyed(view: FeatureView) -> Column:
    keyed = F.lit(True)
    for key in n.WAFER_KEYS if view.entity in ("lot", "wafer") else n.DIE_KEYS:
        keyed = keyed & F.col(key).isNotNull()
    if view.knowledge != "static":  # a run whose times are missing has no place in any order
        keyed = keyed & F.col(n.EVENT_TIMESTAMP).isNotNull() & F.col(n.AVAILABLE_TIMESTAMP).isNotNull()
    return keyed


def _by_unit(rows: DataFrame, unit: UnitKernel) -> DataFrame:
    """Rows -> feature rows: one shuffle by lot, then whole units in Python."""
    layout = view_layout(unit.view).schema
    return (
        rows.repartition(F.col(n.LOT_ID))
        .sortWithinPartitions(*unit.view.unit_keys)
        .mapInArrow(unit, StructType(layout.fields))
    )


def per_unit_features(
    die_tests: DataFrame,
    test_results: DataFrame | None,
    *,
    view: FeatureView,
    bindings: Mapping[str, ProductBinding],
    units: FileUnits | None = None,
) -> DataFrame:
    """Feature rows of a view from die tests of its insertion and the results that its parameters name.

    `units` says of which tests of which files the results are scaled: double(result) * 10**k, where 10**k is the
    double nearest to it.

    Grain      one row per attempt -> the view's grain, see `compute_features`; rows with a null key are left out
    Needs      the columns of `die_tests` that the features read, and those of `test_results`
    Invariant to  partitioning and order of the input
    """
    plan = plan_of_view(view)
    columns = _part_columns(plan, keys=view.unit_keys)
    require_columns(die_tests, columns, what="die_tests")
    slots = slots_of(bindings, plan.parameters)
    parts = die_tests.where(_keyed(view)).select(*_selected(columns, bindings))
    long = test_results is not None and bool(slots)
    if test_results is not None and slots:
        placed = test_results.where(F.col(n.LOT_ID).isNotNull() & F.col(n.WAFER_ID).isNotNull())
        shared = [*view.unit_keys, n.RUN_ID, n.PART_INDEX]
        parts = result_rows(placed, parts, slots, shared=shared, units=units)
    found = units.names if units is not None and long else ()
    return _by_unit(parts, UnitKernel(view, dict(bindings), tuple(slots), "long" if long else "none", found))


def result_rows(
    test_results: DataFrame,
    parts: DataFrame,
    slots: Sequence[tuple[int, str, int]],
    *,
    shared: Sequence[str],
    units: FileUnits | None,
) -> DataFrame:
    """Parts and the results of these tests in one union: a result's `slot` is the place of its test, a part has none.

    `shared` are the columns by which a result finds its part.
    """
    require_columns(test_results, _RESULT_COLUMNS, what="test_results")
    element = F.coalesce(F.col(n.ELEMENT), F.lit(-1)) if n.ELEMENT in test_results.columns else F.lit(-1)
    wanted = test_results.where(F.col(n.TEST_NUM).isin(sorted({number for number, _, _ in slots})))
    if units is not None:
        require_columns(test_results, (n.FILE_ID,), what="test_results")
        wanted = wanted.join(F.broadcast(units.tests), [n.FILE_ID, n.TEST_NUM, n.TEST_NAME], "left")
    results = wanted.select(
        *shared,
        *[F.lit(None).cast(parts.schema[c].dataType).alias(c) for c in parts.columns if c not in shared],
        _slot_of(slots, element).alias(SLOT),
        F.col(n.OCCURRENCE),
        F.col(n.RESULT).alias(VALUE),
        *([] if units is None else [F.col(UNIT)]),
    ).where(F.col(SLOT).isNotNull())
    return parts.select(
        "*",
        F.lit(None).cast("int").alias(SLOT),
        F.lit(None).cast("int").alias(n.OCCURRENCE),
        F.lit(None).cast("float").alias(VALUE),
        *([] if units is None else [F.lit(None).cast("int").alias(UNIT)]),
    ).unionByName(results)


def wide_features(dies: DataFrame, *, view: FeatureView, bindings: Mapping[str, ProductBinding]) -> DataFrame:
    """Feature rows of a view from a ready table of attempts with one column per parameter.

    Grain      one row per attempt -> the view's grain, see `compute_features`; rows with a null key are left out
    Needs      the columns of `die_tests` that the features read, and the parameters as numbers
    Invariant to  partitioning and order of the input
    """
    plan = plan_of_view(view)
    columns = [*_part_columns(plan, keys=view.unit_keys), *plan.parameters]
    require_columns(dies, columns, what="dies")
    parts = dies.where(_keyed(view)).select(*_selected(columns, bindings))
    return _by_unit(parts, UnitKernel(view, dict(bindings), (), "wide"))
