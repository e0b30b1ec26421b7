"""The attempts of dies as the rows of a source: bound parameters as columns, and when each of them counts.

Which attempt of a die counts changes as more of them are known: `first` is the first attempt known, `latest` the
latest one. `__start` and `__end` are the instants, in microseconds, from which and until which an attempt counts; one
that never counts is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StructField, StructType

from fs_spark import names as n
from fs_spark.features.attempts import integers, micros, run_numbers
from fs_spark.features.shipped import ATTEMPTS
from fs_spark.features.types import ARROW
from fs_spark.schemas import column_type
from fs_spark.transforms.spatial import FileUnits, result_rows, slots_of
from fs_spark.transforms.units import SLOT, MeasuredTest, PartValues, ProductBinding, whole_units

__all__ = ["MeasuredTest", "attempt_rows"]

START: Final = "__start"
END: Final = "__end"
FOREVER: Final = np.iinfo(np.int64).max
_PARTS_PER_TOUCHDOWN: Final = 1 << 32
_UNIT: Final = "unit"
_NAMES: Final = tuple(name for name in ATTEMPTS.columns if name not in (n.LOT_ID, n.WAFER_ID, n.DIE_X, n.DIE_Y))
_TIMES: Final = (n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP)


@dataclass(frozen=True)
class AttemptKernel:
    """Rows of whole lots -> attempts with their parameters."""

    columns: tuple[str, ...]
    parameters: tuple[str, ...]
    counted: Literal["first", "latest", "all"]
    step: tuple[str, ...]
    others: bool
    bindings: Mapping[str, ProductBinding]
    values: PartValues
    schema: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table, edges in whole_units(batches, (n.LOT_ID,)):
            yield from self._lots(table, edges).combine_chunks().to_batches(max_chunksize=8192)

    def _lots(self, table: pa.Table, edges: list[int]) -> pa.Table:
        results: pa.Table | None = None
        parts = table
        if SLOT in table.column_names:
            unit = pa.array(np.repeat(np.arange(len(edges) - 1), np.diff(edges)))
            table = table.append_column(_UNIT, unit)
            is_part = pc.is_null(table[SLOT])
            parts, results = table.filter(is_part), table.filter(pc.invert(is_part))
        parts = self._with_values(parts, results)
        start, end = self._counts(parts)
        parts = parts.append_column(START, pa.array(start)).append_column(END, pa.array(end))
        touchdown = pc.multiply(pc.fill_null(parts[n.TOUCHDOWN].cast(pa.int64()), 0), _PARTS_PER_TOUCHDOWN)
        parts = parts.append_column(n.SEQUENCE, pc.add(touchdown, parts[n.PART_INDEX].cast(pa.int64())))
        parts = parts.select(self.schema.names).cast(self.schema)
        return parts if self.others else parts.filter(pa.array(start < end))

    def _with_values(self, parts: pa.Table, results: pa.Table | None) -> pa.Table:
        """A part's tests are those of its own product."""
        if not self.parameters:
            return parts
        products = parts[n.PRODUCT_ID].combine_chunks().dictionary_encode()
        codes = pc.fill_null(products.indices, -1).to_numpy(zero_copy_only=False)
        names = products.dictionary.to_pylist()
        columns = np.full((len(self.parameters), parts.num_rows), np.nan)
        whole = parts.select([n.RUN_ID, n.PART_INDEX, *([_UNIT] if _UNIT in parts.column_names else [])])
        for code in np.unique(codes):
            binding = self.bindings.get(names[code]) if code >= 0 else None
            if binding is None or results is None:
                continue
            here = np.flatnonzero(codes == code)
            edges = [0, parts.num_rows]
            found = self.values.put_beside(
                whole.drop_columns([_UNIT]).append_column(_UNIT, pa.array(np.zeros(parts.num_rows, np.int64))),
                results.drop_columns([_UNIT]).append_column(_UNIT, pa.array(np.zeros(results.num_rows, np.int64))),
                edges, [binding], self.parameters,
            )  # fmt: skip
            for k, name in enumerate(self.parameters):
                columns[k, here] = found[name].to_numpy()[here]
        for name, column in zip(self.parameters, columns, strict=True):
            parts = parts.append_column(name, pa.array(column, pa.float64(), mask=np.isnan(column)))
        return parts

    def _counts(self, parts: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """From when and until when each attempt counts, (n,) each."""
        known = np.maximum(micros(parts[n.EVENT_TIMESTAMP]), micros(parts[n.AVAILABLE_TIMESTAMP]))
        end = np.full(len(known), FOREVER, np.int64)
        if self.step and len(known):
            known = _latest_of(parts, self.step, known)
        if self.counted == "all" or not len(known):
            return known, end
        keys = [parts[key].combine_chunks() for key in n.DIE_KEYS]
        whole = np.ones(len(known), bool)
        for key in keys:
            whole &= key.is_valid().to_numpy(zero_copy_only=False)
        codes = [pc.fill_null(key.dictionary_encode().indices, -1).to_numpy(zero_copy_only=False) for key in keys]
        run = run_numbers(parts[n.RUN_ID])
        order = np.lexsort((integers(parts[n.PART_INDEX]), run, micros(parts[n.EVENT_TIMESTAMP]), *reversed(codes)))
        same = np.ones(len(order) + 1, bool)
        for code in codes:
            same[1:-1] &= code[order][1:] == code[order][:-1]
        same[0] = same[-1] = False
        same[:-1] &= whole[order]  # a part without a place is a die of its own
        starts = np.flatnonzero(~same)
        for first, last in pairwise(starts):
            if last - first < 2:
                continue
            rows = order[first:last]
            times = known[rows]
            if self.counted == "first":
                earlier = np.minimum.accumulate(times)
                end[rows[1:]] = earlier[:-1]
            else:
                later = np.minimum.accumulate(times[::-1])[::-1]
                end[rows[:-1]] = later[1:]
        return known, end


def _latest_of(parts: pa.Table, columns: Sequence[str], known: np.ndarray) -> np.ndarray:
    """The greatest instant of the rows that are alike in some columns, at each of them, (n,)."""
    group = np.zeros(len(known), np.int64)
    for name in columns:
        codes = pc.fill_null(parts[name].combine_chunks().dictionary_encode().indices, -1)
        group = np.unique(np.stack([group, codes.to_numpy(zero_copy_only=False)]), axis=1, return_inverse=True)[1]
        group = group.reshape(-1)
    latest = np.full(int(group.max()) + 1, np.iinfo(np.int64).min)
    np.maximum.at(latest, group, known)
    return np.asarray(latest[group])


def columns_of(columns: Sequence[str], parameters: Sequence[str]) -> list[str]:
    """The columns of attempts that a view with these columns and parameters reads, in their order."""
    wanted = [name for name in _NAMES if name in columns and name not in parameters]
    return [*n.DIE_KEYS, *wanted, *parameters, *_TIMES, n.SEQUENCE, START, END]


def attempt_rows(
    die_tests: DataFrame,
    test_results: DataFrame | None,
    *,
    parameters: Sequence[str],
    columns: Sequence[str],
    counted: Literal["first", "latest", "all"],
    bindings: Mapping[str, ProductBinding],
    units: FileUnits | None = None,
    step: Sequence[str] = (),
    others: bool = False,
) -> DataFrame:
    """Attempts of one insertion with their parameters as columns.

    With `step`, an attempt counts once the last one of the same values in these columns is known: a run ended.

    Grain      one row per attempt that counts at some time, with `others` also of those that do not; none where its lot
               or its times are missing
    Adds       `__start`, `__end`: from when and until when it counts; `sequence`, as in views of single dies
    Invariant to  partitioning and order of the input
    """
    wanted = [name for name in _NAMES if name in columns and name not in parameters]
    needed = list(dict.fromkeys(
        [*n.DIE_KEYS, n.RUN_ID, n.PART_INDEX, n.TOUCHDOWN, *_TIMES, *([n.PRODUCT_ID] if parameters else []), *wanted]
    ))  # fmt: skip
    placed = F.col(n.LOT_ID).isNotNull()
    timed = F.col(n.EVENT_TIMESTAMP).isNotNull() & F.col(n.AVAILABLE_TIMESTAMP).isNotNull()
    parts = die_tests.where(placed & timed).select(*needed)
    slots = slots_of(bindings, parameters)
    found: tuple[str, ...] = ()
    if test_results is not None and slots:
        rows = result_rows(test_results, parts, slots, shared=(n.LOT_ID, n.RUN_ID, n.PART_INDEX), units=units)
        parts, found = rows, units.names if units is not None else ()
    given = [*n.DIE_KEYS, *wanted, *parameters]
    kinds = {**ATTEMPTS.columns, **dict.fromkeys(parameters, "double")}
    fields = [StructField(name, column_type(kinds[name])) for name in given]
    fields += [StructField(name, column_type("timestamp")) for name in _TIMES]
    fields += [StructField(name, LongType()) for name in (n.SEQUENCE, START, END)]
    schema = StructType(fields)
    kernel = AttemptKernel(
        tuple(wanted),
        tuple(parameters),
        counted,
        tuple(step),
        others,
        dict(bindings),
        PartValues(tuple(slots), found),
        _arrow(schema),
    )
    return parts.repartition(F.col(n.LOT_ID)).sortWithinPartitions(n.LOT_ID).mapInArrow(kernel, schema)


def _arrow(schema: StructType) -> pa.Schema:
    return pa.schema([(f.name, ARROW[f.dataType.simpleString()]) for f in schema.fields])
