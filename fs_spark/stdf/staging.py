"""What a Spark task makes of one file: rows of five kinds in one schema, a part with its results as arrays.

Rows cost, not bytes: a part with its results is one row in flight (4,057 for a wafer, not 1.45 million), and becomes
the long table on the way to disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fs_spark.errors import StdfError
from fs_spark.names import DIE_KEYS, INGESTED, TRUNCATED, UNREADABLE
from fs_spark.stdf.arrow import LOCAL_US, PART_RESULT, UTC_US
from fs_spark.stdf.container import Delivered, read_delivered
from fs_spark.stdf.reader import StdfFile, decode
from fs_spark.stdf.rules import Availability, ProductConfig, TesterConfig

_BATCH: Final = 1024
_TEXT, _INT, _LONG = pa.string(), pa.int32(), pa.int64()

_FILE: Final = pa.struct(
    {
        "file_id": _TEXT,
        "path": _TEXT,
        "status": _TEXT,
        "reason": _TEXT,
        "position": _LONG,
        "delivered_at": UTC_US,
        "delivered_bytes": _LONG,
        "decompressed_bytes": _LONG,
        "byte_order": _TEXT,
        "lot_id": _TEXT,
        "tester": _TEXT,
        "test_program": _TEXT,
        "parts": _INT,
        "parts_without_key": _INT,
        "dropped": _TEXT,
        "faults": _TEXT,
        "warnings": _TEXT,
        "run_keys": _TEXT,
    }.items()
)
_RUN: Final = pa.struct(
    {
        **dict.fromkeys(("file_id", "run_id", "run_key", "lot_id", "wafer_id"), _TEXT),
        "head": _INT,
        **dict.fromkeys(("insertion", "product_id", "test_program", "tester"), _TEXT),
        "run_start": UTC_US,
        "run_start_local": LOCAL_US,
        "run_finish": UTC_US,
        "run_end": UTC_US,
        "time_quality": _TEXT,
        "touchdowns": _INT,
        "parts": _INT,
        **{name: pa.float64() for name in ("wafer_diameter_mm", "die_width_mm", "die_height_mm")},
        "center_x": _INT,
        "center_y": _INT,
        **dict.fromkeys(("flat", "pos_x", "pos_y"), _TEXT),
    }.items()
)
_TEST: Final = pa.struct(
    {
        "file_id": _TEXT,
        "test_index": _INT,
        "test_num": _LONG,
        "test_name": _TEXT,
        "record": _TEXT,
        "unit": _TEXT,
        "low_limit": pa.float32(),
        "high_limit": pa.float32(),
        "low_inclusive": pa.bool_(),
        "high_inclusive": pa.bool_(),
        "low_spec": pa.float32(),
        "high_spec": pa.float32(),
        "result_scale": _INT,
        "opt_flag": _INT,
    }.items()
)
_RESULTS: Final = pa.list_(PART_RESULT)
_PART: Final = pa.struct(
    {
        **dict.fromkeys(("file_id", "run_id", "lot_id", "wafer_id"), _TEXT),
        **dict.fromkeys(("die_x", "die_y", "head", "site", "touchdown", "part_index"), _INT),
        "part_id": _TEXT,
        "passed": pa.bool_(),
        "hard_bin": _INT,
        "soft_bin": _INT,
        "test_time_ms": _LONG,
        "run_start": UTC_US,
        "event_timestamp": UTC_US,
        "time_quality": _TEXT,
        "available_timestamp": UTC_US,
        **dict.fromkeys(("insertion", "product_id", "test_program", "tester"), _TEXT),
        "results": _RESULTS,
    }.items()
)
_COUNTS: Final = pa.struct(dict.fromkeys(("tests", "runs", "parts", "results"), _LONG).items())
_STAGING: Final = pa.schema(
    {
        "source": _LONG,
        "kind": _TEXT,
        "file": _FILE,
        "extends": pa.list_(_TEXT),
        "counts": _COUNTS,
        "run": _RUN,
        "test": _TEST,
        "part": _PART,
    }.items()
)


def _ddl(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "struct<" + ", ".join(f"{f.name}: {_ddl(f.type)}" for f in kind) + ">"
    if pa.types.is_list(kind):
        return f"array<{_ddl(kind.value_type)}>"
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz else "timestamp_ntz"
    return {_TEXT: "string", _INT: "int", _LONG: "bigint", pa.float32(): "float", pa.float64(): "double"}.get(
        kind, "boolean"
    )


STAGING_DDL: Final = ", ".join(f"{field.name} {_ddl(field.type)}" for field in _STAGING)


def _batch(source: int, kind: str, rows: int, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    given = {"source": pa.repeat(pa.scalar(source, _LONG), rows), "kind": pa.repeat(pa.scalar(kind), rows), **columns}
    return pa.RecordBatch.from_arrays([given.get(f.name, pa.nulls(rows, f.type)) for f in _STAGING], schema=_STAGING)


def _structs(table: pa.Table, kind: pa.StructType) -> pa.Array:
    columns = [table[field.name].cast(field.type).combine_chunks() for field in kind]
    return pa.StructArray.from_arrays(columns, fields=list(kind))


@dataclass(frozen=True)
class FileTask:
    """Maps batches of file numbers to staged rows; one file after the other, nothing of a bad one but its row."""

    paths: tuple[str, ...]
    testers: tuple[TesterConfig, ...]
    products: tuple[ProductConfig, ...]
    availability: Availability
    margin_us: int
    delivered_us: int
    known: frozenset[str]
    stored_runs: dict[str, tuple[str, int]]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for source in batch.column(0).to_pylist():
                yield from self._one(source)

    def _one(self, source: int) -> Iterator[pa.RecordBatch]:
        path = self.paths[source]
        try:
            delivered = read_delivered(path)
        except StdfError as fault:
            unnamed = hashlib.sha256(f"unreadable:{path}".encode()).hexdigest()
            yield self._file(source, {"file_id": unnamed, "status": UNREADABLE, "reason": str(fault)})
            return
        row: dict[str, Any] = {
            "file_id": delivered.file_id,
            "delivered_bytes": delivered.delivered_bytes,
            "decompressed_bytes": len(delivered.data),
        }
        if delivered.file_id in self.known:
            yield self._file(source, {**row, "status": INGESTED, "run_keys": "[]"})
            return
        try:
            found = self._decode(delivered, path)
        except StdfError as fault:
            yield self._file(source, {**row, "status": UNREADABLE, "reason": str(fault), "position": 0})
            return
        yield from self._rows(source, delivered, found, row)

    def _decode(self, delivered: Delivered, path: str) -> StdfFile:
        found = decode(
            delivered,
            file_name=path.replace("\\", "/").rsplit("/", 1)[-1],
            testers=self.testers,
            products=self.products,
            availability=self.availability,
            margin_us=self.margin_us,
            delivered_us=self.delivered_us,
        )
        if found.report.damage and not found.report.parts:
            raise StdfError(f"{found.report.damage}, before any complete part")
        return found

    def _file(self, source: int, row: dict[str, Any], counts: dict[str, int] | None = None, extends: Any = ()) -> Any:
        whole = {"path": self.paths[source], "delivered_at": self.delivered_us, **row}
        file = pa.array([{f.name: whole.get(f.name) for f in _FILE}], _FILE)
        none = {"tests": 0, "runs": 0, "parts": 0, "results": 0}
        return _batch(
            source,
            "file",
            1,
            {
                "file": file,
                "extends": pa.array([list(extends)], pa.list_(_TEXT)),
                "counts": pa.array([counts or none], _COUNTS),
            },
        )

    def _rows(
        self, source: int, delivered: Delivered, found: StdfFile, row: dict[str, Any]
    ) -> Iterator[pa.RecordBatch]:
        report, parts = found.report, found.parts
        keyless = pc.is_null(parts[DIE_KEYS[0]])
        for key in DIE_KEYS[1:]:
            keyless = pc.or_(keyless, pc.is_null(parts[key]))
        run_keys = found.runs["run_key"].to_pylist()
        earlier = {self.stored_runs[key] for key in run_keys if key in self.stored_runs}
        extends = [
            file_id
            for file_id, length in earlier
            if length < len(delivered.data) and hashlib.sha256(delivered.data[:length]).hexdigest() == file_id
        ]
        row |= {
            "status": TRUNCATED if report.damage else INGESTED,
            "reason": report.damage,
            "position": report.position if report.damage else None,
            "byte_order": report.byte_order,
            "lot_id": parts["lot_id"][0].as_py() if parts.num_rows else found.header["lot_id"],
            "tester": found.header["node_nam"],
            "test_program": found.header["job_nam"],
            "parts": report.parts,
            "parts_without_key": pc.sum(keyless).as_py() or 0,
            "dropped": json.dumps(report.dropped, sort_keys=True),
            "faults": json.dumps(report.faults, sort_keys=True),
            "warnings": json.dumps(report.warnings),
            "run_keys": json.dumps(run_keys),
        }
        counts = {
            "tests": found.tests.num_rows,
            "runs": found.runs.num_rows,
            "parts": parts.num_rows,
            "results": len(found.part_results.values),
        }
        yield self._file(source, row, counts, extends)
        if found.runs.num_rows:
            yield _batch(source, "run", found.runs.num_rows, {"run": _structs(found.runs, _RUN)})
        if found.tests.num_rows:
            yield _batch(source, "test", found.tests.num_rows, {"test": _structs(found.tests, _TEST)})
        whole = parts.append_column("results", found.part_results)
        for start in range(0, parts.num_rows, _BATCH):
            piece = whole.slice(start, _BATCH)
            yield _batch(source, "part", piece.num_rows, {"part": _structs(piece, _PART)})
