"""What a Spark task runs on whole units: Arrow batches sorted by wafer or lot in, feature rows out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fs_spark import names as n
from fs_spark.features.attempts import integers, read_attempts, require_times, run_numbers
from fs_spark.features.compute import lot_table, plan_of, row_arrays, rows_table, static_table
from fs_spark.features.engine import Plan
from fs_spark.features.mapped import MappedWafers
from fs_spark.features.units import wafer_rows
from fs_spark.features.view import FeatureView
from fs_spark.stdf.quantity import powers_between
from fs_spark.wafer import WaferGeometry

Int64 = NDArray[np.int64]

SLOT: Final = "slot"
VALUE: Final = "value"
UNIT: Final = "unit_of_file"
_UNIT: Final = "unit"
_NO_MAP: Final = WaferGeometry(center_x=0.0, center_y=0.0)
_ROWS_AT_ONCE: Final = 8192


@dataclass(frozen=True)
class MeasuredTest:
    """The test behind a parameter, which of its occurrences in a part counts, and the unit that the parameter is in.

    Results of files in another unit of the same quantity are scaled to `unit`; "" takes them as they are.
    """

    test_num: int
    test_name: str
    occurrence: Literal["first", "last"] = "first"
    element: int | None = None
    unit: str = ""

    @property
    def identity(self) -> tuple[int, str, int]:
        """Number, name and element of an MPR, -1 for a PTR."""
        return self.test_num, self.test_name, -1 if self.element is None else self.element


@dataclass(frozen=True)
class ProductBinding:
    """What a view version uses for one product, fixed when the product first came."""

    geometry: WaferGeometry = _NO_MAP
    parameters: Mapping[str, MeasuredTest] = field(default_factory=dict)


def plan_of_view(view: FeatureView) -> Plan:
    return plan_of(view.features, view.parameters, view.bins, view.settings)


def whole_units(
    batches: Iterator[pa.RecordBatch], keys: Sequence[str], *, rows: int = _ROWS_AT_ONCE
) -> Iterator[tuple[pa.Table, list[int]]]:
    """Tables of whole groups, and where each begins and the last ends, from batches that are sorted by `keys`.

    Holds about `rows` rows, or one group where that has more.
    """
    pending: list[pa.RecordBatch] = []
    held, enough = 0, rows
    for batch in batches:
        if not batch.num_rows:
            continue
        pending.append(batch)
        held += batch.num_rows
        if held < enough:
            continue
        table = pa.Table.from_batches(pending)
        edges = _edges(table, keys)
        if len(edges) > 2:
            yield table.slice(0, edges[-2]), edges[:-1]
            table = table.slice(edges[-2])
        pending, held = table.to_batches(), table.num_rows
        enough = max(rows, 2 * held)
    if pending:
        table = pa.Table.from_batches(pending)
        yield table, _edges(table, keys)


def _edges(table: pa.Table, keys: Sequence[str]) -> list[int]:
    changed = np.zeros(max(table.num_rows - 1, 0), bool)
    for key in keys:
        column = table[key].combine_chunks()
        changed |= np.asarray(pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)))
    return [0, *(np.flatnonzero(changed) + 1).tolist(), table.num_rows]


@dataclass(frozen=True)
class UnitKernel:
    """Feature rows of a view, unit by unit.

    `values` says where parameters come from: `long`, rows of results among the parts; `wide`, columns; or `none`.
    """

    view: FeatureView
    bindings: dict[str, ProductBinding]
    slots: tuple[tuple[int, str, int], ...]
    values: Literal["long", "wide", "none"]
    file_units: tuple[str, ...] = ()
    """Units of files that are not those of a parameter; results name them by place in the column `unit_of_file`."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        plan = plan_of_view(self.view)
        wafers = MappedWafers(plan.settings, plan.reach_mm)
        for table, edges in whole_units(batches, self.view.unit_keys):
            found = self.units(table, edges, plan, wafers)
            if found is not None:
                yield from found.combine_chunks().to_batches()

    def units(self, table: pa.Table, edges: list[int], plan: Plan, wafers: MappedWafers) -> pa.Table | None:
        """Feature rows of whole units, with the columns of the view's table."""
        results: pa.Table | None = None
        parts = table
        if self.values == "long":
            unit = pa.array(np.repeat(np.arange(len(edges) - 1), np.diff(edges)))
            table = table.append_column(_UNIT, unit)
            is_part = pc.is_null(table[SLOT])
            count = np.concatenate([[0], np.cumsum(np.asarray(is_part))])
            edges = sorted(set(count[edges].tolist()))
            parts, results = table.filter(is_part), table.filter(pc.invert(is_part))
        if not parts.num_rows:
            return None
        bindings = self._bindings_of(parts[n.PRODUCT_ID], edges)
        parts = self._with_values(parts, results, edges, bindings, plan.parameters)
        if self.view.knowledge == "static" or self.view.entity == "lot":
            tables = [
                self._simple(parts.slice(start, stop - start), plan, binding.geometry)
                for (start, stop), binding in zip(pairwise(edges), bindings, strict=True)
            ]
            counts = [t.num_rows for t in tables]
            found = pa.concat_tables(tables)
        else:
            require_times(parts)
            attempts = read_attempts(parts, plan.parameters, plan.inputs)
            pieces = []
            for (start, stop), binding in zip(pairwise(edges), bindings, strict=True):
                unit = attempts.take(slice(start, stop)).in_order()
                pieces.append(row_arrays(wafer_rows(plan, unit, binding.geometry, wafers, "all"), unit, plan))
            counts = [len(piece[0]) for piece in pieces]
            found = rows_table([np.concatenate(column, axis=-1) for column in zip(*pieces, strict=True)], plan)
        unit_of = pa.array(np.repeat(np.arange(len(counts)), counts))
        for key in reversed(self.view.unit_keys):
            names = parts[key].take(pa.array(edges[:-1]))
            found = found.add_column(0, key, names.take(unit_of))
        wanted = [*self.view.keys, n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP, n.SEQUENCE, *self.view.columns]
        return found.select(wanted)

    def _simple(self, parts: pa.Table, plan: Plan, geometry: WaferGeometry) -> pa.Table:
        if self.view.entity == "lot":
            require_times(parts)
            return lot_table(parts, plan)
        return static_table(parts, geometry, plan)

    def _bindings_of(self, product: pa.ChunkedArray, edges: list[int]) -> list[ProductBinding]:
        """A wafer is of one product; where files disagree, the first in name order, so that the choice is fixed."""
        bound = [self.bindings[name] for name in sorted(self.bindings)]
        first = np.minimum.reduceat(integers(product, len(bound)), edges[:-1])
        return [bound[k] if k < len(bound) else ProductBinding() for k in first]

    def _with_values(
        self,
        parts: pa.Table,
        results: pa.Table | None,
        edges: list[int],
        bindings: Sequence[ProductBinding],
        parameters: Sequence[str],
    ) -> pa.Table:
        if self.values == "wide" or not parameters:
            return parts
        return PartValues(self.slots, self.file_units).put_beside(parts, results, edges, bindings, parameters)


@dataclass(frozen=True)
class PartValues:
    """Puts the results of parts beside them, a column for each parameter.

    `slots` are the tests that results name by place, `file_units` the units that they name by place.
    """

    slots: tuple[tuple[int, str, int], ...]
    file_units: tuple[str, ...] = ()

    def put_beside(
        self,
        parts: pa.Table,
        results: pa.Table | None,
        edges: list[int],
        bindings: Sequence[ProductBinding],
        parameters: Sequence[str],
    ) -> pa.Table:
        """The parts with the value of each parameter's test, its first or last occurrence in the part.

        `edges` are where units of parts begin and the last one ends; results and parts name their unit.
        """
        columns = np.full((len(parameters), parts.num_rows), np.nan)
        if results is not None and results.num_rows:
            self._fill(columns, parts, results, edges, bindings, parameters)
        for name, column in zip(parameters, columns, strict=True):
            parts = parts.append_column(name, pa.array(column, pa.float64()))
        return parts

    def _fill(
        self,
        columns: NDArray[np.float64],
        parts: pa.Table,
        results: pa.Table,
        edges: list[int],
        bindings: Sequence[ProductBinding],
        parameters: Sequence[str],
    ) -> None:
        runs = run_numbers(pa.chunked_array([*parts[n.RUN_ID].chunks, *results[n.RUN_ID].chunks])).astype(np.int64)
        key = (runs[: parts.num_rows] << 32) | integers(parts[n.PART_INDEX])
        wanted = (runs[parts.num_rows :] << 32) | integers(results[n.PART_INDEX])
        order = np.argsort(key, kind="stable")
        at = np.clip(np.searchsorted(key, wanted, sorter=order), 0, len(key) - 1)
        part = order[at]
        matched = (key[part] == wanted) & (integers(parts[_UNIT])[part] == integers(results[_UNIT]))
        slot, occurrence = integers(results[SLOT]), integers(results[n.OCCURRENCE])
        value = results[VALUE].to_numpy().astype(np.float64)
        unit = integers(results[UNIT], len(self.file_units)) if self.file_units else slot
        slot_of = {test: index for index, test in enumerate(self.slots)}
        unit_of = np.repeat(np.arange(len(bindings)), np.diff(edges))[part]
        for p, name in enumerate(parameters):
            tests = [binding.parameters.get(name) for binding in bindings]
            slots = np.array([-1 if test is None else slot_of[test.identity] for test in tests])
            last = np.array([test is not None and test.occurrence == "last" for test in tests])
            rows = np.flatnonzero(matched & (slot == slots[unit_of]))
            rank = np.where(last[unit_of[rows]], occurrence[rows], -occurrence[rows])
            rows = rows[np.argsort(rank, kind="stable")]
            found = value[rows]
            if self.file_units:
                wanted_units = [test.unit if test else "" for test in tests]
                found = found * self._factors(wanted_units, unit_of[rows], unit[rows])
            columns[p, part[rows]] = found  # the last write stands

    def _factors(self, wanted: Sequence[str], of_unit: Int64, unit: Int64) -> NDArray[np.float64]:
        """Per result the power of ten from its file's unit to its parameter's, as the double nearest to it."""
        factors = np.ones((len(wanted), len(self.file_units) + 1))  # the last for results in the parameter's own unit
        for row, configured in enumerate(wanted):
            for column, given in enumerate(self.file_units):
                powers = powers_between(given, configured)
                if powers is not None:  # other quantities were refused before
                    factors[row, column] = float(f"1e{powers}")
        return np.asarray(factors[of_unit, unit], np.float64)
