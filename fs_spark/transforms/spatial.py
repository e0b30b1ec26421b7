"""Ingested rows -> feature rows: each input shuffled once by lot, then the numpy kernels over whole wafers.

Die tests and test results travel in one union, so that both cross the shuffle and the border to Python once; the
values of a part are put beside it inside the kernel's group, where that is an array lookup and no second shuffle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from fs_spark import names as n
from fs_spark.features.compute import compute_features
from fs_spark.features.view import FeatureView
from fs_spark.schemas import require_columns, view_layout
from fs_spark.wafer import WaferGeometry

_PART_COLUMNS: Final = (
    n.LOT_ID, n.WAFER_ID, n.RUN_ID, n.PART_INDEX, n.DIE_X, n.DIE_Y, n.TOUCHDOWN, n.PASSED,
    n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP, n.PRODUCT_ID,
)  # fmt: skip
_RESULT_COLUMNS: Final = (*_PART_COLUMNS[:4], n.TEST_NUM, n.TEST_NAME, n.OCCURRENCE, n.RESULT)
_SLOT: Final = "slot"
_VALUE: Final = "value"
_NO_MAP: Final = WaferGeometry(center_x=0.0, center_y=0.0)


@dataclass(frozen=True)
class MeasuredTest:
    """The test behind a parameter, and which of its occurrences in a part counts."""

    test_num: int
    test_name: str
    occurrence: Literal["first", "last"] = "first"
    element: int | None = None

    @property
    def identity(self) -> tuple[int, str, int]:
        """Number, name and element of an MPR, -1 for a PTR."""
        return self.test_num, self.test_name, -1 if self.element is None else self.element


@dataclass(frozen=True)
class ProductBinding:
    """What a view version uses for one product, fixed when the product first came."""

    geometry: WaferGeometry = _NO_MAP
    parameters: Mapping[str, MeasuredTest] = field(default_factory=dict)


def _slots(bindings: Mapping[str, ProductBinding], parameters: Sequence[str]) -> list[tuple[int, str, int]]:
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


def per_unit_features(
    die_tests: DataFrame,
    test_results: DataFrame | None,
    *,
    view: FeatureView,
    bindings: Mapping[str, ProductBinding],
) -> DataFrame:
    """Feature rows of a view from die tests of its insertion and the results that its parameters name.

    Grain      one row per attempt -> the view's grain, see `compute_features`; rows with a null key are left out
    Needs      the columns of `die_tests` and `test_results`
    Invariant to  partitioning and order of the input
    """
    require_columns(die_tests, _PART_COLUMNS, what="die_tests")
    slots = _slots(bindings, view.parameters)
    keyed = F.lit(True)
    for key in n.WAFER_KEYS if view.entity == "lot" else n.DIE_KEYS:
        keyed = keyed & F.col(key).isNotNull()
    rows = die_tests.where(keyed).select(
        *_PART_COLUMNS,
        F.lit(None).cast("int").alias(_SLOT),
        F.lit(None).cast("int").alias(n.OCCURRENCE),
        F.lit(None).cast("float").alias(_VALUE),
    )
    if test_results is not None and slots:
        require_columns(test_results, _RESULT_COLUMNS, what="test_results")
        numbers = sorted({number for number, _, _ in slots})
        element = F.coalesce(F.col(n.ELEMENT), F.lit(-1)) if n.ELEMENT in test_results.columns else F.lit(-1)
        empty = [F.lit(None).cast(die_tests.schema[c].dataType).alias(c) for c in _PART_COLUMNS[4:]]
        wanted = test_results.where(
            F.col(n.TEST_NUM).isin(numbers) & F.col(n.LOT_ID).isNotNull() & F.col(n.WAFER_ID).isNotNull()
        )
        results = wanted.select(
            *_PART_COLUMNS[:4],
            *empty,
            _slot_of(slots, element).alias(_SLOT),
            F.col(n.OCCURRENCE),
            F.col(n.RESULT).alias(_VALUE),
        ).where(F.col(_SLOT).isNotNull())
        rows = rows.unionByName(results)
    layout = view_layout(view).schema
    unit = _UnitKernel(view=view, bindings=dict(bindings), slots=tuple(slots))
    return (
        rows.repartition(F.col(n.LOT_ID))
        .sortWithinPartitions(*view.unit_keys)
        .mapInArrow(unit, StructType(layout.fields))
    )


def split_units(batches: Iterator[pa.RecordBatch], keys: Sequence[str]) -> Iterator[pa.Table]:
    """Whole groups from batches that are sorted by `keys`; holds one group (and one batch) at a time."""
    pending: list[pa.RecordBatch] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        edges = _edges(batch, keys)
        if pending and not _same_unit(pending[-1], batch, keys):
            yield pa.Table.from_batches(pending)
            pending = []
        for start, stop in pairwise(edges):
            pending.append(batch.slice(start, stop - start))
            if stop < batch.num_rows:
                yield pa.Table.from_batches(pending)
                pending = []
    if pending:
        yield pa.Table.from_batches(pending)


def _edges(batch: pa.RecordBatch, keys: Sequence[str]) -> list[int]:
    changed = np.zeros(max(batch.num_rows - 1, 0), bool)
    for key in keys:
        column = batch.column(key)
        changed |= pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)).to_numpy(zero_copy_only=False)
    return [0, *(np.flatnonzero(changed) + 1).tolist(), batch.num_rows]


def _same_unit(before: pa.RecordBatch, after: pa.RecordBatch, keys: Sequence[str]) -> bool:
    return all(before.column(k)[before.num_rows - 1] == after.column(k)[0] for k in keys)


@dataclass(frozen=True)
class _UnitKernel:
    """What a Spark task runs: Arrow batches sorted by unit in, feature rows out."""

    view: FeatureView
    bindings: dict[str, ProductBinding]
    slots: tuple[tuple[int, str, int], ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for unit in split_units(batches, self.view.unit_keys):
            rows = self.one_unit(unit)
            if rows is not None:
                yield from rows.to_batches()

    def one_unit(self, unit: pa.Table) -> pa.Table | None:
        is_part = pc.is_null(unit[_SLOT])
        parts = unit.filter(is_part)
        if not parts.num_rows:
            return None
        # a wafer is of one product; where files disagree, the first in name order, so that the choice is fixed
        product = pc.min(parts[n.PRODUCT_ID]).as_py()
        binding = self.bindings.get(product, ProductBinding())
        parts = self._with_values(parts, unit.filter(pc.invert(is_part)), binding)
        found = compute_features(
            parts,
            binding.geometry,
            features=self.view.features,
            parameters=self.view.parameters,
            known="all",
        )
        for key in reversed(self.view.unit_keys):
            found = found.add_column(0, key, pa.repeat(parts[key][0], found.num_rows))
        return found.select([*self.view.keys, n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP, n.SEQUENCE, *self.view.columns])

    def _with_values(self, parts: pa.Table, results: pa.Table, binding: ProductBinding) -> pa.Table:
        """Adds one column per parameter: the value of the part's first or last occurrence of the test."""
        if not self.view.parameters:
            return parts
        runs = pa.chunked_array([*parts[n.RUN_ID].chunks, *results[n.RUN_ID].chunks])
        codes = runs.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
        key = (codes[: parts.num_rows] << 32) | _ints(parts[n.PART_INDEX])
        order = np.argsort(key, kind="stable")
        wanted = (codes[parts.num_rows :] << 32) | _ints(results[n.PART_INDEX])
        at = np.clip(np.searchsorted(key, wanted, sorter=order), 0, len(key) - 1)
        part = order[at]
        matched = key[part] == wanted
        slot, occurrence = _ints(results[_SLOT]), _ints(results[n.OCCURRENCE])
        value = results[_VALUE].to_numpy(zero_copy_only=False).astype(np.float64)
        slot_of = {test: index for index, test in enumerate(self.slots)}
        for name in self.view.parameters:
            column = np.full(parts.num_rows, np.nan)
            test = binding.parameters.get(name)
            if test is not None and len(slot):
                rows = np.flatnonzero(matched & (slot == slot_of[test.identity]))
                rows = rows[np.argsort(occurrence[rows], kind="stable")]
                if test.occurrence == "first":
                    rows = rows[::-1]
                column[part[rows]] = value[rows]  # the last write stands
            parts = parts.append_column(name, pa.array(column, pa.float64()))
        return parts


def _ints(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.int64()).to_numpy(zero_copy_only=False)
