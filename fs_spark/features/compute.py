"""One wafer's (or lot's) attempts -> feature rows, without Spark: what the Spark transform and a notebook both call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fs_spark.errors import RequestError, SchemaError
from fs_spark.features.catalogue import find_feature
from fs_spark.features.feature import Feature
from fs_spark.kernels.attempts import Attempts
from fs_spark.kernels.lots import lot_so_far
from fs_spark.kernels.neighbors import neighbor_features, possible_neighbors
from fs_spark.kernels.radial import radial_features
from fs_spark.wafer import WaferGeometry

Known = Literal["at_event", "all"]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

UTC_US: Final = pa.timestamp("us", tz="UTC")
_ARROW: Final = {"double": pa.float64(), "int": pa.int32(), "boolean": pa.bool_()}
_PARTS_PER_TOUCHDOWN: Final = 1 << 32


def as_arrow(values: Float64, dtype: str) -> pa.Array:
    """NaN in kernels becomes null in tables; the one place where it does."""
    missing = np.isnan(values)
    if dtype == "double":
        return pa.array(values, pa.float64(), mask=missing)
    return pa.array(np.where(missing, 0, values).astype(np.int64), pa.int64(), mask=missing).cast(_ARROW[dtype])


def _micros(column: pa.ChunkedArray) -> Int64:
    return np.asarray(column.cast(UTC_US).cast(pa.int64()), np.int64)


def _floats(column: pa.ChunkedArray) -> Float64:
    """Numbers or booleans as float64; null and NaN are NaN, and so is a value that is not finite."""
    values = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    out = values.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(out), out, np.nan)


def in_order(attempts: pa.Table) -> pa.Table:
    """Attempts in their one order: event time, run, part."""
    return attempts.sort_by([("event_timestamp", "ascending"), ("run_id", "ascending"), ("part_index", "ascending")])


def _timed(attempts: pa.Table) -> pa.Table:
    for name in ("event_timestamp", "available_timestamp"):
        if nulls := attempts[name].null_count:
            raise SchemaError(
                f"{name} is null in {nulls} of {attempts.num_rows} attempts. "
                "Hint: a file has UTC times when it is read with `testers`, which give its zone"
            )
    return attempts


def _needed(features: Sequence[Feature], parameters: Sequence[str]) -> list[str]:
    columns = ["die_x", "die_y"]
    if features[0].knowledge != "static":
        columns += ["event_timestamp", "available_timestamp", "run_id", "part_index", "touchdown"]
    if any(f.kernel in ("neighbors", "lots") for f in features):
        columns.append("passed")
    if features[0].entity == "lot":
        columns.append("wafer_id")
    if any(f.per == "parameter" for f in features):
        columns += parameters
    return columns


def _static(dies: pa.Table, geometry: WaferGeometry, features: Sequence[Feature]) -> pa.Table:
    places = np.unique(np.stack([_ints(dies["die_x"]), _ints(dies["die_y"])], axis=1), axis=0)
    values = radial_features(places[:, 0], places[:, 1], geometry=geometry)
    none = pa.nulls(len(places), UTC_US)
    return pa.table(
        {
            "die_x": pa.array(places[:, 0], pa.int32()),
            "die_y": pa.array(places[:, 1], pa.int32()),
            "event_timestamp": none,
            "available_timestamp": none,
            "sequence": pa.array(np.zeros(len(places)), pa.int64()),
            **{f.key: as_arrow(values[f.key], f.dtype) for f in features},
        }
    )


def _ints(column: pa.ChunkedArray) -> Int64:
    return np.asarray(column.cast(pa.int64()), np.int64)


def _rows(
    dies: pa.Table, rows: Int64, available: Int64, features: Sequence[Feature], parameters: Sequence[str], values: Any
) -> pa.Table:
    taken = dies.select(["die_x", "die_y", "event_timestamp"]).take(pa.array(rows))
    sequence = _ints(dies["touchdown"]) * _PARTS_PER_TOUCHDOWN + _ints(dies["part_index"])
    return pa.table(
        {
            "die_x": taken["die_x"].cast(pa.int32()),
            "die_y": taken["die_y"].cast(pa.int32()),
            "event_timestamp": taken["event_timestamp"].cast(UTC_US),
            "available_timestamp": pa.array(available, pa.int64()).cast(UTC_US),
            "sequence": pa.array(sequence[rows], pa.int64()),
            **{c: as_arrow(values[c], f.dtype) for f in features for c in f.columns(tuple(parameters))},
        }
    )


def _by_knowledge(
    compute: Callable[[Int64, Int64], dict[str, Float64]], event: Int64, available: Int64, known: Known
) -> list[tuple[Int64, Int64, dict[str, Float64]]]:
    """Rows as known at their own event, then again at each later time of knowledge at which they change.

    The streaming mode (available = event) and `known="at_event"` have the first alone.
    """
    everything = np.arange(len(event))
    first = compute(everything, event)
    pieces = [(everything, event, first)]
    late = available > event
    if known == "at_event" or not late.any():
        return pieces
    last = {name: column.copy() for name, column in first.items()}
    for moment in np.unique(available[late]):
        rows = np.flatnonzero(event < moment)
        again = compute(rows, np.full(len(rows), moment))
        changed = np.zeros(len(rows), bool)
        for name, column in again.items():
            before = last[name][rows]
            changed |= (column != before) & ~(np.isnan(column) & np.isnan(before))
        rows = rows[changed]
        if len(rows):
            fresh = {name: column[changed] for name, column in again.items()}
            for name, column in fresh.items():
                last[name][rows] = column
            pieces.append((rows, np.full(len(rows), moment), fresh))
    return pieces


def _neighborhood(
    dies: pa.Table, geometry: WaferGeometry, features: Sequence[Feature], parameters: Sequence[str], known: Known
) -> pa.Table:
    x, y = _ints(dies["die_x"]), _ints(dies["die_y"])
    event = _micros(dies["event_timestamp"])
    available = np.maximum(event, _micros(dies["available_timestamp"]))
    attempts = Attempts.of(x, y, event, available)
    pitch = (geometry.pitch_x, geometry.pitch_y)
    passed = _floats(dies["passed"])
    wanted = {c for f in features for c in f.columns(tuple(parameters))}
    values = {p: _floats(dies[p]) for p in parameters} if any(f.per == "parameter" for f in features) else {}

    def compute(rows: Int64, known_us: Int64) -> dict[str, Float64]:
        found = neighbor_features(attempts, rows=rows, known_us=known_us, passed=passed, values=values, pitch=pitch)
        return {name: column for name, column in found.items() if name in wanted}

    possible = possible_neighbors(x, y, dies=geometry.dies, pitch=pitch)
    pieces = [
        _rows(dies, rows, moment, features, parameters, {**found, "neighbor_possible": possible[rows]})
        for rows, moment, found in _by_knowledge(compute, event, available, known)
    ]
    return pa.concat_tables(pieces)


def _measured(dies: pa.Table, features: Sequence[Feature], parameters: Sequence[str]) -> pa.Table:
    event = _micros(dies["event_timestamp"])
    available = np.maximum(event, _micros(dies["available_timestamp"]))
    values = {p: _floats(dies[p]) for p in parameters}
    return _rows(dies, np.arange(len(event)), available, features, parameters, values)


def _codes(*columns: pa.ChunkedArray) -> Int64:
    """Equal rows of the columns get equal numbers, (n,)."""
    coded = [c.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False) for c in columns]
    return np.unique(np.stack(coded, axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _lot(dies: pa.Table, features: Sequence[Feature], parameters: Sequence[str]) -> pa.Table:
    event = _micros(dies["event_timestamp"])
    placed = pc.and_(pc.is_valid(dies["die_x"]), pc.is_valid(dies["die_y"])).to_numpy(zero_copy_only=False)
    place = [dies[axis].fill_null(0) for axis in ("die_x", "die_y")]
    states = lot_so_far(
        wafer=_codes(dies["wafer_id"]),
        run=_codes(dies["run_id"]),
        die=np.where(placed, _codes(dies["wafer_id"], *place), -1),
        event_us=event,
        available_us=np.maximum(event, _micros(dies["available_timestamp"])),
        passed=_floats(dies["passed"]),
        values={p: _floats(dies[p]) for p in parameters} if any(f.per == "parameter" for f in features) else {},
    )
    columns = {c: f.dtype for f in features for c in f.columns(tuple(parameters))}
    return pa.table(
        {
            "event_timestamp": pa.array([s.event_us for s in states], pa.int64()).cast(UTC_US),
            "available_timestamp": pa.array([s.available_us for s in states], pa.int64()).cast(UTC_US),
            "sequence": pa.array([0] * len(states), pa.int64()),
            **{c: as_arrow(np.array([s.features[c] for s in states], np.float64), t) for c, t in columns.items()},
        }
    )


def compute_features(
    dies: pa.Table,
    geometry: WaferGeometry,
    *,
    features: Sequence[str],
    parameters: Sequence[str] = (),
    known: Known = "at_event",
) -> pa.Table:
    """Feature rows of one wafer (of one lot for lot features) from its attempts of one insertion.

    Grain      one row per attempt, with `known="all"` also a row for each later time of knowledge at which it changes;
               one per die for geometry; one per distinct end of the lot's wafer runs for lot features
    Needs      die_x, die_y, event_timestamp, available_timestamp, run_id, part_index, touchdown, passed, the
               parameters as numbers; wafer_id for lot features. Geometry needs the places alone
    Undefined  null by each feature's `undefined_when`
    Raises     SchemaError when a column is absent or a time is null, ValueError when a feature is not in the
               catalogue, RequestError when there is none or they are of more than one kernel
    """
    found = [find_feature(key) for key in features]
    kernels = sorted({f.kernel for f in found})
    if len(kernels) != 1:
        raise RequestError(f"features of {kernels or 'no kernel'} asked for. Hint: ask for those of one view at a time")
    missing = [name for name in _needed(found, parameters) if name not in dies.column_names]
    if missing:
        raise SchemaError(f"attempts lack {', '.join(missing)}; they have {', '.join(dies.column_names)}")
    kernel = found[0].kernel
    if kernel == "lots":  # a part without a place is in no statistic, but its touchdown may end the run
        dies = dies.filter(pc.is_valid(dies["wafer_id"]))
        return _lot(in_order(_timed(dies)), found, parameters)
    placed = dies.filter(pc.and_(pc.is_valid(dies["die_x"]), pc.is_valid(dies["die_y"])))
    if kernel == "radial":
        return _static(placed, geometry, found)
    placed = in_order(_timed(placed))
    if kernel == "neighbors":
        return _neighborhood(placed, geometry, found, parameters, known)
    return _measured(placed, found, parameters)
