"""What is fitted of rows, group by group; and the values of rows beside what was fitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from fs_spark.features.kinds.fitted import TYPES, Fit, FittedFeature, FittedTransform, Measure
from fs_spark.features.types import ARROW
from fs_spark.kernels import fits
from fs_spark.schemas import column_type

GROUP: Final = "__group"
MEASURE: Final = "measure"
VALUES: Final = "values"
_FITTED: Final = f"{GROUP} string, {MEASURE} string, {VALUES} string"
Int64 = NDArray[np.int64]


def _group(by: Sequence[str]) -> Any:
    """A group's name: the JSON list of its values. Rows without one of them have none."""
    whole = F.lit(True)
    for column in by:
        whole = whole & F.col(f"`{column}`").isNotNull()
    named = F.to_json(F.struct(*(F.col(f"`{column}`").alias(f"g{k}") for k, column in enumerate(by))))
    return F.when(whole, named) if by else F.lit("{}")


def _measured(measures: Sequence[Measure]) -> Callable[[pa.Table], pa.Table]:
    """What gives the measures of one group's rows, as JSON; a plain function of one argument, as Spark asks for."""

    def of_group(table: pa.Table) -> pa.Table:
        found = []
        for one in measures:
            values = _values_of(one, table[one.column])
            if values is not None:
                found.append((table[GROUP][0].as_py(), one.key, json.dumps(values)))
        names = (GROUP, MEASURE, VALUES)
        return pa.table({name: pa.array([row[k] for row in found], pa.string()) for k, name in enumerate(names)})

    return of_group


def _values_of(one: Measure, column: pa.ChunkedArray) -> list[Any] | None:
    if one.of == "words":
        there = column.drop_null().to_pylist()
        return fits.words(there, one.size) if there else None
    numbers = fits.known(column.cast(pa.float64()).to_numpy())
    if not len(numbers):
        return None
    if one.of == "edges":
        return list(fits.edges(numbers, one.size))
    return fits.mean_std(numbers) if one.of == "mean_std" else fits.median_iqr(numbers)


def fitted_measures(rows: DataFrame, transform: FittedTransform) -> DataFrame:
    """Each measure in each group, by the rows that are fitted.

    Grain      one row per measure and group that has a value; group, measure and values as JSON
    """
    by_groups: dict[tuple[str, ...], list[Measure]] = {}
    for one in transform.measures:
        by_groups.setdefault(one.by, []).append(one)
    found: DataFrame | None = None
    for by, measures in by_groups.items():
        columns = list(dict.fromkeys(one.column for one in measures))
        grouped = rows.select(_group(by).alias(GROUP), *(F.col(f"`{column}`") for column in columns))
        task = _measured(measures)
        told = grouped.where(F.col(GROUP).isNotNull()).groupBy(GROUP).applyInArrow(task, _FITTED)
        found = told if found is None else found.unionByName(told)
    assert found is not None
    return found


def values_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[list[Any], list[Any]]]]:
    """By measure, for each group its values, as a fit keeps them."""
    found: dict[str, list[tuple[list[Any], list[Any]]]] = {}
    for row in sorted(rows, key=lambda row: (row[MEASURE], row[GROUP])):
        group = list(json.loads(row[GROUP]).values())
        found.setdefault(row[MEASURE], []).append((group, json.loads(row[VALUES])))
    return found


@dataclass(frozen=True)
class _Apply:
    """Batches with the values of a fit behind their columns."""

    kept: tuple[str, ...]
    features: tuple[FittedFeature, ...]
    fit: Fit

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        groups = {
            key: {json.dumps(group): values for group, values in listed} for key, listed in self.fit.values.items()
        }
        for batch in batches:
            places: dict[tuple[str, ...], tuple[list[str | None], Int64]] = {}
            arrays = [self._values(one, batch, groups, places).cast(ARROW[TYPES[one.result]]) for one in self.features]
            kept = [batch.schema.field(name) for name in self.kept]
            made = [pa.field(f"__out_{one.name}", ARROW[TYPES[one.result]]) for one in self.features]
            yield pa.RecordBatch.from_arrays(
                [*(batch.column(name) for name in self.kept), *arrays], schema=pa.schema([*kept, *made])
            )

    def _values(
        self, one: FittedFeature, batch: pa.RecordBatch, groups: Mapping[str, Mapping[str, list[Any]]],
        places: dict[tuple[str, ...], tuple[list[str | None], Int64]],
    ) -> pa.Array:  # fmt: skip
        def fitted(measure: Measure) -> tuple[list[list[Any] | None], Int64]:
            """What each group of the batch was fitted to, and each row's group."""
            if measure.by not in places:
                places[measure.by] = _groups_of(batch, measure.by)
            named, group = places[measure.by]
            of = groups.get(measure.key, {})
            return [None if name is None else of.get(name) for name in named], group

        if one.result == "code":
            return _codes(batch.column(one.column), *fitted(one.measures[0]))
        x = np.asarray(batch.column(one.column).cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
        x = np.where(np.isfinite(x), x, np.nan)
        if one.result == "part":
            return _parts(x, *fitted(one.measures[0]))
        first, second = (_spread(*fitted(one.measures[0]), at) for at in (0, 1))
        with np.errstate(all="ignore"):
            if one.result == "offset":
                return _double(first - _spread(*fitted(one.measures[1]), 0))
            if one.result == "zscore":
                return _double(np.where(second > 0, (x - first) / second, np.nan))
            sigma = second / fits.IQR_OF_SIGMA
            if one.result == "robust_z":
                return _double(np.where(sigma > 0, (x - first) / sigma, np.nan))
            low, high = first - one.sigmas * sigma, first + one.sigmas * sigma
        if one.result == "outside_pat":
            return pa.array((x < low) | (x > high), pa.bool_(), mask=np.isnan(x) | np.isnan(low))
        return _double(low if one.result == "pat_low" else high)


def _groups_of(batch: pa.RecordBatch, by: Sequence[str]) -> tuple[list[str | None], Int64]:
    """The groups that the rows of a batch are in, by name, None where a column of it is null; and each row's."""
    code = np.zeros(batch.num_rows, np.int64)
    parts: list[list[Any]] = []
    for column in by:
        encoded = batch.column(column).dictionary_encode()
        own = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
        values = [None, *encoded.dictionary.to_pylist()]
        code = code * len(values) + own
        parts.append(values)
    found, group = np.unique(code, return_inverse=True)
    named: list[str | None] = []
    for each in found.tolist():
        values = []
        for part in reversed(parts):
            each, at = divmod(each, len(part))
            values.append(part[at])
        named.append(None if None in values else json.dumps(values[::-1]))
    return named, group.astype(np.int64)


def _spread(of: Sequence[list[Any] | None], group: Int64, at: int) -> NDArray[np.float64]:
    """One value of each group, for each row; NaN where there is none."""
    values = [np.nan if one is None or one[at] is None else one[at] for one in of]
    return np.asarray(values, np.float64)[group]


def _double(values: NDArray[np.float64]) -> pa.Array:
    return pa.array(values + 0.0, pa.float64(), mask=~np.isfinite(values))


def _parts(x: NDArray[np.float64], of: Sequence[list[Any] | None], group: Int64) -> pa.Array:
    found, known = np.zeros(len(x), np.int32), np.zeros(len(x), np.bool_)
    for at, inner in enumerate(of):
        if inner is not None:
            here = (group == at) & ~np.isnan(x)
            found[here], known[here] = np.searchsorted(np.asarray(inner), x[here], side="right"), True
    return pa.array(found, pa.int32(), mask=~known)


def _codes(column: pa.Array, of: Sequence[list[Any] | None], group: Int64) -> pa.Array:
    found, known = np.full(len(column), -1, np.int32), np.zeros(len(column), np.bool_)
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    for at, words in enumerate(of):
        if words is not None:
            here = (group == at) & valid
            told = pc.index_in(column.filter(pa.array(here)), pa.array(words, column.type))
            found[here], known[here] = pc.fill_null(told, -1).to_numpy(zero_copy_only=False), True
    return pa.array(found, pa.int32(), mask=~known)


def with_fit(rows: DataFrame, transform: FittedTransform, kept: Sequence[str]) -> DataFrame:
    """`kept` columns and the features as `__out_<name>`. Needs a view that is fitted."""
    assert transform.fit is not None
    schema = StructType([rows.schema[name] for name in kept])
    for one in transform.features:
        schema = schema.add(f"__out_{one.name}", column_type(TYPES[one.result]))
    wanted = sorted({*kept, *(c for one in transform.features for c in (one.column, *one.by, *one.against))})
    task = _Apply(tuple(kept), transform.features, transform.fit)
    return rows.select(*(F.col(f"`{name}`") for name in wanted)).mapInArrow(task, schema)
