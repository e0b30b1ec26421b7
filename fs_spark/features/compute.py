"""One wafer's (or lot's) attempts -> feature rows, without Spark: what the Spark transform and a notebook both call."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fs_spark.errors import GeometryError, RequestError, SchemaError
from fs_spark.features.attempts import (
    UTC_US,
    UnitAttempts,
    floats,
    integers,
    micros,
    needed_columns,
    read_attempts,
    require_times,
)
from fs_spark.features.catalogue import find_feature
from fs_spark.features.engine import Plan
from fs_spark.features.feature import Feature
from fs_spark.features.known import Known, Rows
from fs_spark.features.mapped import MappedWafers
from fs_spark.features.settings import SpatialSettings
from fs_spark.features.units import wafer_rows
from fs_spark.kernels.lots import lot_so_far
from fs_spark.kernels.radial import radial_features
from fs_spark.kernels.replay import distinct_places
from fs_spark.wafer import WaferGeometry

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

_DIES_OF_A_WAFER: Final = 50
_ARROW: Final = {"double": pa.float64(), "int": pa.int32(), "boolean": pa.bool_()}


def as_arrow(values: Float64, dtype: str) -> pa.Array:
    """NaN in kernels becomes null in tables, and so does what overflowed; the one place where it does."""
    missing = ~np.isfinite(values)
    if dtype == "double":
        return pa.array(values, pa.float64(), mask=missing)
    kind = np.int32 if dtype == "int" else np.bool_
    return pa.array(np.where(missing, 0, values).astype(kind), _ARROW[dtype], mask=missing)


def row_arrays(rows: Rows, attempts: UnitAttempts, plan: Plan) -> tuple[NDArray[Any], ...]:
    """Places, times, sequence (n,) and values (c, n) of rows."""
    whole = plan.features[0].knowledge == "after_wafer"
    return (
        attempts.x[rows.of].astype(np.int32),
        attempts.y[rows.of].astype(np.int32),
        attempts.event_us[rows.of] if rows.event_us is None else rows.event_us,
        rows.available_us,
        np.zeros(len(rows.of), np.int64) if whole else attempts.sequence[rows.of],
        rows.values,
    )


def rows_table(arrays: Sequence[NDArray[Any]], plan: Plan) -> pa.Table:
    """What `row_arrays` gives, as a table."""
    x, y, event, available, sequence, values = arrays
    place = {"die_x": pa.array(x), "die_y": pa.array(y)} if plan.features[0].entity == "die" else {}
    return pa.table(
        {
            **place,
            "event_timestamp": pa.array(event, pa.int64()).cast(UTC_US),
            "available_timestamp": pa.array(available, pa.int64()).cast(UTC_US),
            "sequence": pa.array(sequence, pa.int64()),
            **{name: as_arrow(v, t) for (name, t), v in zip(plan.columns.items(), values, strict=True)},
        }
    )


def static_table(dies: pa.Table, geometry: WaferGeometry, plan: Plan) -> pa.Table:
    """One row per distinct place."""
    x, y, _ = distinct_places(integers(dies["die_x"]), integers(dies["die_y"]))
    chosen = plan.settings
    values = radial_features(
        x,
        y,
        geometry=geometry,
        rings=chosen.rings,
        sectors=chosen.sectors,
        edge_exclusion_mm=chosen.edge_exclusion_mm,
    )
    none = pa.nulls(len(x), UTC_US)
    return pa.table(
        {
            "die_x": pa.array(x, pa.int32()),
            "die_y": pa.array(y, pa.int32()),
            "event_timestamp": none,
            "available_timestamp": none,
            "sequence": pa.array(np.zeros(len(x), np.int64)),
            **{f.key: as_arrow(values[f.shown], f.dtype) for f in plan.features},
        }
    )


def _codes(*columns: pa.ChunkedArray) -> Int64:
    """Equal rows of the columns get equal numbers, (n,)."""
    coded = [c.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False) for c in columns]
    codes = np.zeros(len(coded[0]), np.int64)
    for column in coded:
        codes = codes * (int(column.max(initial=0)) + 1) + column
        codes = np.unique(codes, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return codes


def in_order(attempts: pa.Table) -> pa.Table:
    """Attempts in their one order: event time, run, part."""
    return attempts.sort_by([("event_timestamp", "ascending"), ("run_id", "ascending"), ("part_index", "ascending")])


def lot_table(dies: pa.Table, plan: Plan) -> pa.Table:
    """The rows of one lot. A part without a place is in no statistic, but its touchdown may end the run."""
    dies = in_order(dies.filter(pc.is_valid(dies["wafer_id"])))
    event = micros(dies["event_timestamp"])
    placed = pc.and_(pc.is_valid(dies["die_x"]), pc.is_valid(dies["die_y"])).to_numpy(zero_copy_only=False)
    place = [dies[axis].fill_null(0) for axis in ("die_x", "die_y")]
    states = lot_so_far(
        wafer=_codes(dies["wafer_id"]),
        run=_codes(dies["run_id"]),
        die=np.where(placed, _codes(dies["wafer_id"], *place), -1),
        event_us=event,
        available_us=np.maximum(event, micros(dies["available_timestamp"])),
        passed=floats(dies["passed"]) if "passed" in dies.column_names else np.full(dies.num_rows, np.nan),
        values={p: floats(dies[p]) for p in plan.parameters} if plan.measures else {},
    )
    named = {c: told for f in plan.features for c, told in f.by_kernel(plan.parameters).items()}
    return pa.table(
        {
            "event_timestamp": pa.array([s.event_us for s in states], pa.int64()).cast(UTC_US),
            "available_timestamp": pa.array([s.available_us for s in states], pa.int64()).cast(UTC_US),
            "sequence": pa.array([0] * len(states), pa.int64()),
            **{
                c: as_arrow(np.array([s.features[named[c]] for s in states], np.float64), t)
                for c, t in plan.columns.items()
            },
        }
    )


def plan_of(
    features: Sequence[str], parameters: Sequence[str], bins: Sequence[int], settings: SpatialSettings | None
) -> Plan:
    """Raises ValueError for a feature that there is not, RequestError where they are not of one class and entity."""
    found: tuple[Feature, ...] = tuple(find_feature(key) for key in features)
    for what, groups in (
        ("knowledge class", sorted({f.knowledge for f in found})),
        ("entity", sorted({f.entity for f in found})),
    ):
        if len(groups) != 1:
            raise RequestError(
                f"features of {' and '.join(groups) or 'no'} {what} asked for. "
                "Hint: ask for those of one view at a time"
            )
    measured = tuple(parameters) if any(f.of_parameters for f in found) else ()
    return Plan(found, measured, tuple(bins), settings or SpatialSettings())


def input_columns(plan: Plan) -> tuple[str, ...]:
    """The columns of attempts that a plan reads, beside its unit's keys."""
    kind = plan.features[0]
    if kind.knowledge == "static":
        return ("die_x", "die_y")
    wanted = (*needed_columns(plan.inputs), *plan.parameters)
    return (*wanted, "wafer_id") if kind.entity == "lot" else wanted


def _require(dies: pa.Table, plan: Plan) -> None:
    missing = [name for name in input_columns(plan) if name not in dies.column_names]
    if missing:
        near = difflib.get_close_matches(missing[0], dies.column_names, n=1, cutoff=0.6)
        hint = f"\nHint: did you mean {near[0]!r} for {missing[0]!r}?" if near else ""
        raise SchemaError(f"attempts lack {', '.join(missing)}; they have {', '.join(dies.column_names)}{hint}")


def compute_features(
    dies: pa.Table,
    geometry: WaferGeometry,
    *,
    features: Sequence[str],
    parameters: Sequence[str] = (),
    bins: Sequence[int] = (),
    settings: SpatialSettings | None = None,
    known: Known = "at_event",
) -> pa.Table:
    """Feature rows of one wafer (of one lot for lot features) from its attempts of one insertion.

    Grain      one row per attempt, with `known="all"` also a row for each later time of knowledge at which it changes;
               one per die for geometry; of the whole wafer one per die (or wafer) and end of a run, and one for each
               later knowledge of it that changes it; one per distinct end of the lot's wafer runs for lot features
    Needs      die_x, die_y, event_timestamp, available_timestamp, run_id, part_index, touchdown; passed, hard_bin,
               head and site where a feature asks for them; the parameters as numbers; wafer_id for lot features.
               Geometry needs the places alone
    Undefined  null by each feature's `undefined_when`
    Raises     SchemaError when a column is absent, a time is null or an attempt comes twice; ValueError when a feature
               is not in the catalogue; RequestError when there is none or they are of more than one knowledge class;
               GeometryError when most dies (of 50 or more) are not on the wafer map
    """
    plan = plan_of(features, parameters, bins, settings)
    _require(dies, plan)
    kind = plan.features[0]
    if kind.entity == "lot":
        require_times(dies)
        return lot_table(dies, plan)
    placed = dies.filter(pc.and_(pc.is_valid(dies["die_x"]), pc.is_valid(dies["die_y"])))
    _on_the_map(placed, geometry)
    if kind.knowledge == "static":
        return static_table(placed, geometry, plan)
    require_times(placed)
    attempts = read_attempts(placed, plan.parameters, plan.inputs).in_order()
    rows = wafer_rows(plan, attempts, geometry, MappedWafers(plan.settings, plan.reach_mm), known)
    return rows_table(row_arrays(rows, attempts, plan), plan)


def _on_the_map(dies: pa.Table, geometry: WaferGeometry) -> None:
    if not geometry.rows or not dies.num_rows:
        return
    x, y, _ = distinct_places(integers(dies["die_x"]), integers(dies["die_y"]))
    outside = int(geometry.outside(x, y).sum())
    if len(x) >= _DIES_OF_A_WAFER and 2 * outside > len(x):
        box: Any = geometry.dies
        raise GeometryError(
            f"{outside} of {len(x)} dies (x {x.min()} to {x.max()}, y {y.min()} to {y.max()}) are not on the wafer map "
            f"(x {box[:, 0].min()} to {box[:, 0].max()}, y {box[:, 1].min()} to {box[:, 1].max()}). "
            "Hint: check that the map is that of the product, and its pitch and directions"
        )
