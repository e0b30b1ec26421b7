"""What the mapping of a die table makes of its columns: one value per row and thing, or all faults at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fs_spark.errors import StdfError
from fs_spark.inputs import layout, naming, run_clock
from fs_spark.inputs.columns import SourceColumns, Times
from fs_spark.inputs.rules import DieTableEntry

Int64 = NDArray[np.int64]

WORDS: Final = ("lot_id", "wafer_id", "insertion", "product_id", "test_program", "tester")
_INTEGERS: Final = ("die_x", "die_y", "head", "site", "hard_bin", "soft_bin")


@dataclass(frozen=True, slots=True)
class DieRows:
    """What the mapping made of a table, (rows,): the columns that are kept as they are, and what times come from.

    `sequence` are the touchdowns or the order, `values` and `measured` (rows, parameters).
    """

    plain: dict[str, pa.Array]
    event: Times | None
    start: Times
    finish: Times
    sequence: Int64 | None
    test_time_ms: Int64
    values: NDArray[np.float32]
    measured: NDArray[np.bool_]


def _whole_file_time(
    name: str, entry: DieTableEntry, said: naming.Said, rows: int, faults: list[str], not_before: Times | None = None
) -> Times:
    """A start or finish that is one for all rows, by the file's name or a constant."""
    nothing = Times(np.zeros(rows, np.int64), np.zeros(rows, bool))
    try:
        wall = naming.moment(getattr(entry, name), said)
        if wall is None or entry.zone is None or not rows:
            return nothing
        local = np.full(rows, run_clock.microseconds(wall))
        utc = run_clock.to_utc(local, entry.zone, not_before_us=not_before.us if not_before else None)
    except StdfError as fault:
        faults.append(f"{name}: {fault}")
        return nothing
    return Times(utc, np.ones(rows, bool))


def read_rows(table: pa.Table, entry: DieTableEntry, said: naming.Said) -> DieRows:
    """Raises StdfError with all faults of all columns."""
    faults: list[str] = []
    read, columns, rows = SourceColumns(table, faults), entry.columns, table.num_rows
    plain: dict[str, pa.Array] = {}
    for name in WORDS:
        column = getattr(columns, name)
        constant = pa.scalar(naming.word(getattr(entry, name), said) or layout.USUAL.get(name), pa.string())
        plain[name] = read.words(column, name) if column else pa.repeat(constant, rows)
    for name in _INTEGERS:
        column = getattr(columns, name)
        plain[name] = read.integers(column, name, pa.int32()) if column else pa.nulls(rows, pa.int32())
    plain["part_id"] = read.words(columns.part_id, "part_id") if columns.part_id else pa.nulls(rows, pa.string())
    if columns.passed:
        plain["passed"] = read.passes(columns.passed, "passed", entry.pass_values)
    else:
        bins = plain["hard_bin"]
        good = np.isin(bins.fill_null(0).to_numpy(zero_copy_only=False), list(entry.passing_bins))
        plain["passed"] = pa.array(good, mask=bins.is_null().to_numpy(zero_copy_only=False))

    def times(name: str, not_before: Times | None = None) -> Times | None:
        column, zone, form = getattr(columns, name), entry.zone, entry.time_format
        return read.moments(column, name, zone=zone, form=form, not_before=not_before) if column else None

    start = times("run_start") or _whole_file_time("start", entry, said, rows, faults)
    finish = times("run_finish", start) or _whole_file_time("finish", entry, said, rows, faults, start)
    event = times("event_timestamp", start)
    tested = read.integers(columns.test_time_ms, "test_time_ms", pa.int64()) if columns.test_time_ms else None
    test_time_ms = (
        tested.fill_null(0).to_numpy(zero_copy_only=False) if tested is not None else np.zeros(rows, np.int64)
    )
    plain["test_time_ms"] = pa.array(test_time_ms, mask=test_time_ms <= 0)
    sequence = None
    for name in ("touchdown", "order"):
        if getattr(columns, name):
            numbers = read.integers(getattr(columns, name), name, pa.int64())
            if numbers.null_count and not faults:
                faults.append(f"{name}: {numbers.null_count} of {rows} rows have none")
            sequence = numbers.fill_null(0).to_numpy(zero_copy_only=False)
    measured = [read.reals(column, f"parameters.{column}") for column in entry.parameters]
    if not faults:
        timed = event.known if event is not None else start.known | finish.known
        if not timed.all():
            what = "event_timestamp" if event is not None else "start and no finish"
            faults.append(f"{(~timed).sum()} of {rows} rows have no {what}, the first is row {np.argmin(timed)}")
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise StdfError(
            f"{count} in the die table:\n"
            + "\n".join(f"- {f}" for f in faults)
            + "\nHint: mend the entry in inputs.yaml"
        )
    empty = np.empty((rows, 0))
    return DieRows(
        plain=plain,
        event=event,
        start=start,
        finish=finish,
        sequence=sequence,
        test_time_ms=np.maximum(test_time_ms, 0),
        values=np.stack([values for values, _ in measured], axis=1) if measured else empty.astype(np.float32),
        measured=np.stack([there for _, there in measured], axis=1) if measured else empty.astype(bool),
    )
