"""`against`: rows of events, each compared with what was known of the other units of its population."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from fs_spark import names as n
from fs_spark.features.attempts import integers
from fs_spark.features.kinds.against import COMPARISONS, AgainstTransform
from fs_spark.features.shipped import SHIPPED_SOURCES
from fs_spark.features.table_view import SourceInput, TableView
from fs_spark.features.types import ARROW
from fs_spark.kernels.against import REVISION, compare
from fs_spark.schemas import column_type
from fs_spark.transforms.kept import only_units
from fs_spark.transforms.kinds.computation import Reach, Scope
from fs_spark.transforms.kinds.event_rows import END, placed, quoted
from fs_spark.transforms.kinds.events import only_in_scope, units_of
from fs_spark.transforms.kinds.state_kernel import START
from fs_spark.transforms.units import whole_units

Int64 = NDArray[np.int64]


def _ranks(column: pa.ChunkedArray) -> Int64:
    """Numbers in the order of a column's values, nulls first, (n,)."""
    encoded = column.combine_chunks().dictionary_encode()
    order = pc.array_sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order) + 1, np.int64)
    rank[order] = np.arange(len(order))
    rank[-1] = -1
    return rank[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]


def _codes(columns: Sequence[pa.ChunkedArray]) -> Int64:
    """Equal numbers where all columns are equal, from 0 on, (n,)."""
    found = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        ranks = _ranks(column) + 1
        found = np.unique(found * (ranks.max(initial=0) + 1) + ranks, return_inverse=True)[1].reshape(-1)
    return found


@dataclass(frozen=True)
class AgainstKernel:
    """Rows of whole groups, in any order within them -> what each gives, once for each time at which it changes."""

    group: str
    transform: AgainstTransform
    keys: Mapping[str, str]
    unit: tuple[str, ...]
    order: tuple[str, ...]
    schema: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        done: set[str] = set()
        for table, edges in whole_units(batches, (self.group,)):
            for group in table[self.group].take(pa.array(edges[:-1])).to_pylist():
                if group in done:
                    raise RuntimeError(f"the rows of one {self.group} came apart: {group!r}")
                done.add(group)
            yield from self._rows(table).combine_chunks().to_batches(max_chunksize=16_384)

    def _rows(self, table: pa.Table) -> pa.Table:
        whole = pc.is_valid(table[self.unit[0]])
        for name in self.unit[1:]:
            whole = pc.and_(whole, pc.is_valid(table[name]))
        table = table.filter(whole)
        if not table.num_rows:
            return self.schema.empty_table()
        population = _codes([table[name] for name in self.transform.population])
        event = integers(table[n.EVENT_TIMESTAMP])
        within = [_ranks(table[name]) for name in reversed(self.order)]
        order = np.lexsort((*within, event, population))
        table, population, event = table.take(pa.array(order)), population[order], event[order]
        unit = _codes([table[name] for name in self.unit])
        available = integers(table[n.AVAILABLE_TIMESTAMP])
        gives = integers(table[START]) < integers(table[END])
        columns = self.transform.columns
        values = np.stack([np.asarray(table[c].cast(pa.float64()).to_numpy(), np.float64) for c in columns])
        edges = np.concatenate([[0], np.flatnonzero(np.diff(population)) + 1, [len(population)]])
        rows, known, told = [], [], []
        for first, last in pairwise(edges):
            here = slice(first, last)
            found = compare(
                event[here], available[here], unit[here] - unit[here].min(), gives[here], values[:, here],
                all_revisions=self.transform.revisions == "all",
            )  # fmt: skip
            rows.append(found.row + first)
            known.append(found.known_us)
            told.append(found.values)
        return self._out(table, np.concatenate(rows), np.concatenate(known), np.concatenate(told, axis=2))

    def _out(self, table: pa.Table, rows: Int64, known: Int64, told: NDArray[np.float64]) -> pa.Table:
        of = pa.array(rows)
        arrays = [table[column].take(of) for column in self.keys.values()]
        arrays.append(table[n.EVENT_TIMESTAMP].take(of))
        arrays.append(pa.chunked_array([pa.array(known, pa.int64()).cast(ARROW["timestamp"])]))
        arrays.append(table[n.SEQUENCE].take(of))
        columns = self.transform.columns
        for one in self.transform.features:
            values = told[columns.index(one.column), COMPARISONS.index(one.comparison)]
            arrays.append(pa.chunked_array([pa.array(values, mask=np.isnan(values))]))
        cast = [array.cast(field.type) for array, field in zip(arrays, self.schema, strict=True)]
        return pa.Table.from_arrays(cast, schema=self.schema)


def _kernel(view: TableView) -> tuple[AgainstKernel, StructType]:
    one, transform = view.inputs[0], view.transform
    assert isinstance(one, SourceInput)
    assert isinstance(transform, AgainstTransform)
    kinds = {
        **view.key_types, n.EVENT_TIMESTAMP: "timestamp", n.AVAILABLE_TIMESTAMP: "timestamp", n.SEQUENCE: "bigint",
        **view.columns,
    }  # fmt: skip
    arrow = pa.schema([(name, ARROW[kind]) for name, kind in kinds.items()])
    source = SHIPPED_SOURCES[one.name]
    kernel = AgainstKernel(source.grouped_by, transform, dict(one.by), tuple(source.keys), one.order, arrow)
    return kernel, StructType([StructField(name, column_type(kind)) for name, kind in kinds.items()])


@dataclass(frozen=True)
class _Against:
    revision: int = REVISION

    def rows(
        self, frames: Sequence[DataFrame], view: TableView, *, reach: Reach, scope: Scope | None, buckets: int
    ) -> DataFrame:
        given, one = frames[0], view.inputs[0]
        kernel, schema = _kernel(view)
        if scope is not None:  # the groups of which rows lie in these units, and of what comes the rows that do
            groups = only_in_scope(given, one.by, view, scope, buckets).select(kernel.group).distinct()
            given = given.join(F.broadcast(groups), kernel.group, "left_semi").select(*map(quoted, given.columns))
        # who made the rows has brought each group to one task, one after the other
        found = placed(given.mapInArrow(kernel, schema), view, buckets)
        return found if scope is None else only_units(found, units=scope.units)

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
        changed = changes[0]  # all rows of the groups that changed, as they were and as they are
        if changed is None:
            return None
        return Scope(units_of(changed, view.inputs[0].by, view, buckets).distinct().persist())

    def within(self, stored: DataFrame, scope: Scope) -> DataFrame:
        return only_units(stored, units=scope.units)


AGAINST = _Against()
