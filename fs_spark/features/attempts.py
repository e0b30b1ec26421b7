"""Attempts as Arrow gives them -> the arrays that the kernels take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fs_spark.errors import SchemaError
from fs_spark.features.feature import Input
from fs_spark.kernels.exact import LARGEST

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Float64 = NDArray[np.float64]

UTC_US: Final = pa.timestamp("us", tz="UTC")
ORDER: Final = ("event_timestamp", "available_timestamp", "run_id", "part_index", "touchdown")
OF_INPUT: Final[dict[Input, tuple[str, ...]]] = {
    "place": (),
    "map": (),
    "passed": ("passed",),
    "hard_bin": ("hard_bin",),
    "site": ("head", "site"),
    "value": (),
}
_PARTS_PER_TOUCHDOWN: Final = 1 << 32
_HEADS: Final = 1 << 16


@dataclass(frozen=True)
class UnitAttempts:
    """Attempts of one or several units.

    Shapes     all (n,); values (p, n), NaN = missing
    Units      outcome 1, 0 or -1 (not judged); hard_bin and site -1 = missing; run: equal numbers are one run, in the
               order of the run ids; times in microseconds
    """

    x: Int64
    y: Int64
    event_us: Int64
    available_us: Int64
    run: Int32
    part: Int64
    sequence: Int64
    outcome: NDArray[np.int8]
    hard_bin: Int32
    site: Int32
    values: Float64

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Int64 | slice) -> UnitAttempts:
        return UnitAttempts(
            **{name: getattr(self, name)[rows] for name in self.__dataclass_fields__ if name != "values"},
            values=self.values[:, rows],
        )

    def in_order(self) -> UnitAttempts:
        """Sorted by event time, run and part. Raises SchemaError where an attempt comes twice."""
        event, run, part = self.event_us, self.run, self.part
        ahead = event[1:] > event[:-1]
        if ahead.all():
            return self
        later = (run[1:] > run[:-1]) | ((run[1:] == run[:-1]) & (part[1:] > part[:-1]))
        if (ahead | ((event[1:] == event[:-1]) & later)).all():
            return self
        if later.all():  # as files list their parts
            return self.take(np.argsort(event, kind="stable"))
        ordered = self.take(np.lexsort((part, run, event)))
        same = (np.diff(ordered.event_us) == 0) & (np.diff(ordered.run) == 0) & (np.diff(ordered.part) == 0)
        if same.any():
            at = int(np.flatnonzero(same)[0])
            raise SchemaError(
                f"part {ordered.part[at]} at x {ordered.x[at]}, y {ordered.y[at]} is there twice with one time "
                "and one run. Hint: give each attempt once"
            )
        return ordered


def micros(column: pa.ChunkedArray) -> Int64:
    """Times as microseconds of UTC."""
    return np.asarray(column.cast(UTC_US).cast(pa.int64()), np.int64)


def integers(column: pa.ChunkedArray, missing: int | None = None) -> Int64:
    filled = column if missing is None or not column.null_count else pc.fill_null(column, missing)
    return np.asarray(filled.cast(pa.int64()), np.int64)


def floats(column: pa.ChunkedArray) -> Float64:
    """Numbers or booleans as float64; null is NaN, and so is a value that is not below 1e150 in size."""
    values = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    out = np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    usable = np.abs(out) < LARGEST
    return out if usable.all() else np.where(usable, out, np.nan)


def run_numbers(column: pa.ChunkedArray) -> Int32:
    """Dense numbers in the order of the ids."""
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    names = coded.dictionary.to_pylist()
    rank = np.empty(len(names), np.int32)
    rank[sorted(range(len(names)), key=lambda k: (names[k] is not None, names[k] or ""))] = np.arange(len(names))
    return rank[coded.indices.to_numpy(zero_copy_only=False)] if len(names) else np.zeros(0, np.int32)


def require_times(attempts: pa.Table) -> None:
    """Raises SchemaError where a time is null."""
    for name in ("event_timestamp", "available_timestamp"):
        if nulls := attempts[name].null_count:
            raise SchemaError(
                f"{name} is null in {nulls} of {attempts.num_rows} attempts. "
                "Hint: a file has UTC times when it is read with `testers`, which give its zone"
            )


def needed_columns(inputs: Collection[Input]) -> tuple[str, ...]:
    """Of a die's attempts, beside the parameters."""
    more = [column for name, columns in OF_INPUT.items() if name in inputs for column in columns]
    return ("die_x", "die_y", *ORDER, *more)


def read_attempts(table: pa.Table, parameters: Sequence[str], inputs: Collection[Input]) -> UnitAttempts:
    """Columns as arrays; what no feature needs is missing everywhere. Places and times must not be null."""
    rows = table.num_rows
    event = micros(table["event_timestamp"])
    part = integers(table["part_index"])
    outcome = np.full(rows, -1, np.int8)
    if "passed" in inputs:
        # a copy: Arrow's own cannot be written, and for such an array all kernels would be compiled once more
        outcome = np.asarray(pc.fill_null(table["passed"].cast(pa.int8()), -1)).astype(np.int8)
    hard_bin = np.full(rows, -1, np.int32)
    if "hard_bin" in inputs:
        hard_bin = integers(table["hard_bin"], -1).astype(np.int32)
    site = np.full(rows, -1, np.int32)
    if "site" in inputs:
        told = integers(table["site"], -1)
        site = np.where(told < 0, -1, integers(table["head"], 0) * _HEADS + told).astype(np.int32)
    values = np.empty((len(parameters), rows), np.float64)
    for k, name in enumerate(parameters):
        values[k] = floats(table[name])
    return UnitAttempts(
        x=integers(table["die_x"]),
        y=integers(table["die_y"]),
        event_us=event,
        available_us=np.maximum(event, micros(table["available_timestamp"])),
        run=run_numbers(table["run_id"]),
        part=part,
        sequence=integers(table["touchdown"]) * _PARTS_PER_TOUCHDOWN + part,
        outcome=outcome,
        hard_bin=hard_bin,
        site=site,
        values=values,
    )
