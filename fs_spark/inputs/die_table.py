"""A table with a row for each test of a die: Parquet, CSV, or Arrow rows from anywhere, by a mapping of its columns."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from fs_spark.errors import StdfError
from fs_spark.inputs import layout, naming, run_clock
from fs_spark.inputs.die_rows import WORDS, DieRows, read_rows
from fs_spark.inputs.die_runs import DieRun, read_runs, warnings_of
from fs_spark.inputs.layout import InputFile
from fs_spark.inputs.lot_report import decoded
from fs_spark.inputs.rules import DieTableEntry
from fs_spark.inputs.run_clock import Delivery
from fs_spark.stdf.arrow import LOCAL_US, UTC_US
from fs_spark.stdf.container import Delivered
from fs_spark.stdf.reader import ReadReport

Int64 = NDArray[np.int64]

_NULLS: Final = ["", "NULL", "null", "NaN", "nan"]


def read_die_table(
    table: pa.Table, entry: DieTableEntry, *, name: str, file_id: str, delivery: Delivery | None = None
) -> InputFile:
    """Parts, runs, tests and results of a table of dies; `part_index` is the order of its rows.

    Rows with the same lot, wafer, insertion, head, run start, tester, product and program are one run. Each row needs
    the time at which its test ended, or its run's start or finish: then `order` tells which dies came first, and
    without it all dies of a run are one touchdown. Rows of one time are one touchdown, where none is given. A null
    measured value is not measured; NaN is measured and null.

    Raises     StdfError that lists every column which is missing or does not fit
    """
    dies = read_rows(table, entry, naming.FileName.of(name).said)
    runs = read_runs(dies, entry, file_id=file_id, delivery=delivery or Delivery())
    begins = np.concatenate([[0], np.cumsum(dies.measured.sum(axis=1))])
    found = runs[0].names if runs else {}
    return InputFile(
        header={"node_nam": found.get("tester"), "job_nam": found.get("test_program"), "lot_id": found.get("lot_id")},
        parts=_parts(dies, runs, entry, file_id),
        runs=_runs(runs, entry, file_id),
        tests=_tests(entry, file_id),
        report=ReadReport(
            file_id=file_id,
            byte_order="",
            damage=None,
            position=0,
            decompressed_bytes=0,
            parts=table.num_rows,
            warnings=warnings_of(runs),
        ),
        part_results=layout.part_results(
            begins, np.nonzero(dies.measured)[1].astype(np.int32), dies.values[dies.measured]
        ),
    )


def _local(values_us: Int64, known: NDArray[np.bool_], zone: str | None) -> pa.Array:
    """On the wall clock of the entry; null where it has no zone."""
    out = np.zeros(len(values_us), np.int64)
    if zone is None:
        return pa.nulls(len(values_us), LOCAL_US)
    out[known] = run_clock.to_wall(values_us[known], zone)
    return pa.array(out, mask=~known).cast(LOCAL_US)


def _parts(dies: DieRows, runs: list[DieRun], entry: DieTableEntry, file_id: str) -> pa.Table:
    n = len(dies.test_time_ms)
    run_of, touchdown, event, available = (np.zeros(n, np.int64) for _ in range(4))
    for k, run in enumerate(runs):
        run_of[run.rows], touchdown[run.rows] = k, run.touchdown
        event[run.rows], available[run.rows] = run.event_us, run.available_us
    run_id, quality = (pa.array([getattr(run, name) for run in runs], pa.string()) for name in ("run_id", "quality"))
    return layout.table_of(
        layout.PARTS,
        n,
        {
            **dies.plain,
            "file_id": file_id,
            "run_id": run_id.take(pa.array(run_of)),
            "part_index": pa.array(np.arange(n)),
            "touchdown": pa.array(touchdown),
            "run_start": pa.array(dies.start.us, mask=~dies.start.known).cast(UTC_US),
            "run_start_local": _local(dies.start.us, dies.start.known, entry.zone),
            "event_timestamp": layout.times_of(event, UTC_US),
            "event_local": _local(event, np.ones(n, bool), entry.zone),
            "time_quality": quality.take(pa.array(run_of)),
            "available_timestamp": layout.times_of(available, UTC_US),
        },
    )


def _runs(runs: list[DieRun], entry: DieTableEntry, file_id: str) -> pa.Table:
    columns: dict[str, Any] = {
        name: pa.array([run.names[name] for run in runs], layout.RUNS.field(name).type) for name in (*WORDS, "head")
    }
    for name, own in (("run_id", "run_id"), ("run_key", "run_key"), ("time_quality", "quality")):
        columns[name] = pa.array([getattr(run, own) for run in runs], pa.string())
    for name, own in (("run_start", "start_us"), ("run_finish", "finish_us"), ("run_end", "end_us")):
        columns[name] = layout.times_of([getattr(run, own) for run in runs], UTC_US)
    started = np.array([run.start_us is not None for run in runs], bool)
    starts = np.array([run.start_us or 0 for run in runs], np.int64)
    columns["run_start_local"] = _local(starts, started, entry.zone)
    columns["touchdowns"] = pa.array([run.touchdowns for run in runs], pa.int32())
    columns["parts"] = pa.array([len(run.rows) for run in runs], pa.int32())
    return layout.table_of(layout.RUNS, len(runs), {"file_id": file_id, **columns})


def _tests(entry: DieTableEntry, file_id: str) -> pa.Table:
    tests = list(entry.parameters.values())
    columns = {
        name: pa.array([getattr(test, name) for test in tests], layout.TESTS.field(name).type)
        for name in ("test_num", "test_name", "unit", "low_limit", "high_limit")
    }
    index = pa.array(range(len(tests)), pa.int32())
    return layout.table_of(
        layout.TESTS, len(tests), {"file_id": file_id, "test_index": index, "record": "PTR", **columns}
    )


def _read_csv(text: str, entry: DieTableEntry) -> pa.Table:
    columns = entry.columns
    as_text = [getattr(columns, name) for name in (*WORDS, "part_id")]
    if entry.time_format is not None:
        as_text += [columns.event_timestamp, columns.run_start, columns.run_finish]
    if any(isinstance(value, str) for value in entry.pass_values):
        as_text.append(columns.passed)
    return csv.read_csv(
        pa.BufferReader(text.encode()),
        parse_options=csv.ParseOptions(delimiter=entry.delimiter),
        convert_options=csv.ConvertOptions(
            column_types={column: pa.string() for column in as_text if column},
            null_values=_NULLS,
            strings_can_be_null=True,
        ),
    )


def _read_parquet(data: bytes, entry: DieTableEntry) -> pa.Table:
    source = pa.BufferReader(data)
    wanted = {*entry.columns.model_dump(exclude_none=True).values(), *entry.parameters}
    there = [column for column in parquet.read_schema(source).names if column in wanted]
    return parquet.read_table(pa.BufferReader(data), columns=there)


def read_die_file(
    delivered: Delivered, entry: DieTableEntry, *, name: str, delivery: Delivery | None = None
) -> InputFile:
    """A die table in a file, Parquet or CSV. Of a cut CSV the whole lines are read.

    Raises     StdfError as `read_die_table`, and where the file is neither
    """
    data = delivered.data
    form = entry.format or ("parquet" if data.startswith(b"PAR1") else "csv")
    try:
        if form == "parquet":
            table = _read_parquet(data, entry)
        else:
            text = decoded(data, entry.encoding, "the file")
            if delivered.damage:
                text = text[: text.rfind("\n") + 1]
            table = _read_csv(text, entry)
    except (pa.ArrowInvalid, OSError) as fault:
        raise StdfError(f"not readable as {form}: {fault}. Hint: name the `format` in inputs.yaml") from fault
    found = read_die_table(table, entry, name=name, file_id=delivered.file_id, delivery=delivery)
    found.report.damage = delivered.damage
    found.report.position = found.report.decompressed_bytes = len(data)
    return found
