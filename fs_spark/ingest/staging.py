"""What a Spark task makes of one file: a row that tells of it, with its runs and tests, and a row for each part.

Rows cost, not bytes: a part with its results is one row in flight (4,057 for a wafer, not 1.45 million), and becomes
the long table on the way to disk. What tells of the file is a list of one, or null: a null list is empty in flight,
where a null struct takes the place of all its fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import StructType

from fs_spark.errors import StdfError
from fs_spark.ingest.decide import UNANCHORED
from fs_spark.inputs import Beside, Delivery, InputFile, files_beside, find_entry, read_die_table, read_input
from fs_spark.inputs.rules import DieTableEntry, InputEntry
from fs_spark.names import DIE_KEYS, DUPLICATE, INGESTED, TRUNCATED, UNREADABLE
from fs_spark.stdf.arrow import LOCAL_US, PART_RESULT, UTC_US
from fs_spark.stdf.container import DEFAULT_LIMITS, Delivered, Limits, read_delivered
from fs_spark.stdf.identity import find_product, find_tester
from fs_spark.stdf.notes import parameter_notes
from fs_spark.stdf.reader import ReadReport, StdfFile, decode
from fs_spark.stdf.rules import Availability, ProductConfig, TesterConfig

_MOST_PARTS: Final = 8192
_MOST_RESULTS: Final = 400_000
"""So many go to Spark at once."""
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
        "settings": _TEXT,
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
_RESULTS: Final = {
    "result_test": pa.list_(_INT),
    "result_occurrence": pa.list_(_INT),
    "result_element": pa.list_(_INT),
    "result_value": pa.list_(pa.float32()),
    "result_passed": pa.list_(pa.int8()),
}
"""Results of a part side by side, without nulls, since flat arrays are what crosses to the JVM fastest: a value that
is NaN, an element of -1 and a `passed` of -1 are null; no elements at all is a null list."""
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
        **_RESULTS,
    }.items()
)
_COUNTS: Final = pa.struct(dict.fromkeys(("tests", "runs", "parts", "results"), _LONG).items())
_NAMED: Final = pa.struct(
    {"test_num": pa.list_(_LONG), "test_name": pa.list_(_TEXT), "record": pa.list_(_TEXT)}.items()
)
_TOLD: Final = pa.struct(
    {
        "file": _FILE,
        "extends": pa.list_(_TEXT),
        "counts": _COUNTS,
        "named": _NAMED,
        "runs": pa.list_(_RUN),
        "tests": pa.list_(_TEST),
    }.items()
)
_STAGING: Final = pa.schema({"source": _LONG, "kind": _TEXT, "told": pa.list_(_TOLD), "part": _PART}.items())


def _ddl(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "struct<" + ", ".join(f"{f.name}: {_ddl(f.type)}" for f in kind) + ">"
    if pa.types.is_list(kind):
        return f"array<{_ddl(kind.value_type)}>"
    if pa.types.is_timestamp(kind):
        return "timestamp_ltz" if kind.tz else "timestamp_ntz"
    names = {_TEXT: "string", _INT: "int", _LONG: "bigint", pa.float32(): "float", pa.float64(): "double"}
    return {**names, pa.int8(): "tinyint"}.get(kind, "boolean")


STAGING_DDL: Final = ", ".join(f"{field.name} {_ddl(field.type)}" for field in _STAGING)


def staging_schema() -> StructType:
    """The staged rows' schema in Spark."""
    schema = StructType.fromDDL(STAGING_DDL)
    assert isinstance(schema, StructType)
    return schema


def _batch(source: int, kind: str, rows: int, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    given = {"source": pa.repeat(pa.scalar(source, _LONG), rows), "kind": pa.repeat(pa.scalar(kind), rows), **columns}
    return pa.RecordBatch.from_arrays([given.get(f.name, pa.nulls(rows, f.type)) for f in _STAGING], schema=_STAGING)


def _structs(table: pa.Table, kind: pa.StructType) -> pa.Array:
    columns = [table[field.name].cast(field.type).combine_chunks() for field in kind]
    return pa.StructArray.from_arrays(columns, fields=list(kind))


def _list_of_all(table: pa.Table | None, kind: pa.StructType) -> pa.Array:
    """One list with all rows."""
    rows = table.num_rows if table is not None else 0
    values = _structs(table, kind) if table is not None else pa.nulls(0, kind)
    return pa.ListArray.from_arrays(pa.array([0, rows], pa.int32()), values, type=pa.list_(kind))


def side_by_side(part_results: pa.ListArray) -> dict[str, pa.ListArray]:
    """The results of parts (lists of structs) as one list per field."""
    offsets, values = part_results.offsets, part_results.values
    fields = {name: pc.struct_field(values, name) for name in PART_RESULT.names}
    element = fields["element"]
    flat = {
        "result_test": fields["test_index"],
        "result_occurrence": fields["occurrence"],
        "result_value": pc.fill_null(fields["result"], float("nan")),
        "result_passed": pc.fill_null(fields["passed"].cast(pa.int8()), -1),
    }
    lists = {name: pa.ListArray.from_arrays(offsets, column) for name, column in flat.items()}
    if element.null_count == len(element):
        lists["result_element"] = pa.nulls(len(part_results), pa.list_(_INT))
    else:
        lists["result_element"] = pa.ListArray.from_arrays(offsets, pc.fill_null(element, -1))
    return lists


@dataclass(frozen=True)
class FileTask:
    """Maps batches of file numbers to staged rows; one file after the other, nothing of a bad one but its row."""

    paths: tuple[str, ...]
    testers: tuple[TesterConfig, ...]
    products: tuple[ProductConfig, ...]
    availability: Availability
    margin_us: int
    delivered_us: int
    inputs: tuple[InputEntry, ...]
    known: dict[str, str | None]
    """Files that need no reading, with the settings that their rows were made with; None = they were set aside."""
    stored_runs: dict[str, tuple[str, int]]
    limits: Limits = DEFAULT_LIMITS
    follow_links: bool = False
    again: bool = False
    """Known files are read when they were set aside, or when their settings are others now."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for source in batch.column(0).to_pylist():
                yield from self._one(source)

    def of_table(self, source: int, table: pa.Table, version: int, earlier: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The staged rows of a Delta table of dies; `earlier` are the files that its older versions are known as."""
        path = self.paths[source]
        entry = find_entry(path, self.inputs)
        file_id = hashlib.sha256(f"delta:{path}@{version}".encode()).hexdigest()
        row: dict[str, Any] = {"file_id": file_id, "delivered_bytes": table.nbytes, "decompressed_bytes": table.nbytes}
        if file_id in self.known and not self.again:
            yield self._file(source, {**row, "status": DUPLICATE})
            return
        try:
            if not isinstance(entry, DieTableEntry):
                raise StdfError("a Delta table is read by an entry of kind die_table. Hint: add one to inputs.yaml")
            delivery = Delivery(self.availability, self.margin_us, self.delivered_us)
            found = read_die_table(table, entry, name=path, file_id=file_id, delivery=delivery)
        except StdfError as fault:
            yield self._file(source, {**row, "status": UNREADABLE, "reason": str(fault), "position": 0})
            return
        row["settings"] = self._settings(found, path)
        if self.known.get(file_id) == row["settings"]:
            yield self._file(source, {**row, "status": DUPLICATE})
            return
        yield from self._rows(source, [old for old in earlier if old != file_id], found, row)

    def _one(self, source: int) -> Iterator[pa.RecordBatch]:
        path = self.paths[source]
        try:
            delivered = read_delivered(path, limits=self.limits)
        except StdfError as fault:
            unnamed = hashlib.sha256(f"unreadable:{path}".encode()).hexdigest()
            yield self._file(source, {"file_id": unnamed, "status": UNREADABLE, "reason": str(fault)})
            return
        row: dict[str, Any] = {
            "file_id": delivered.file_id,
            "delivered_bytes": delivered.delivered_bytes,
            "decompressed_bytes": len(delivered.data),
        }
        if delivered.file_id in self.known and not self.again:
            yield self._file(source, {**row, "status": DUPLICATE})
            return
        try:
            found = self._decode(delivered, path)
        except StdfError as fault:
            yield self._file(source, {**row, "status": UNREADABLE, "reason": str(fault), "position": 0})
            return
        row["settings"] = self._settings(found, path)
        if self.known.get(delivered.file_id) == row["settings"]:
            yield self._file(source, {**row, "status": DUPLICATE})
            return
        yield from self._rows(source, self._extended(delivered, found), found, row)

    def _extended(self, delivered: Delivered, found: StdfFile | InputFile) -> list[str]:
        """The stored files of the same runs that this one begins with."""
        keys = found.runs["run_key"].to_pylist()
        earlier = {self.stored_runs[key] for key in keys if key in self.stored_runs}
        return [
            file_id
            for file_id, length in earlier
            if length < len(delivered.data) and hashlib.sha256(delivered.data[:length]).hexdigest() == file_id
        ]

    def _settings(self, found: StdfFile | InputFile, path: str) -> str:
        """A digest of what the configuration says of this file's times and identity."""
        entry = find_entry(path, self.inputs)
        if entry is not None:
            said = [entry.model_dump_json()]
        else:
            product = find_product(dict(found.header), self.products)
            said = [
                find_tester(dict(found.header), self.testers).model_dump_json(),
                product.model_dump_json(include={"product_id", "lot_id", "wafer_id", "insertion"}),
            ]
        return hashlib.sha256(json.dumps([*said, self.availability, self.margin_us]).encode()).hexdigest()

    def _beside(self, path: str) -> Beside:
        return files_beside(path, limits=self.limits, follow_links=self.follow_links)

    def _decode(self, delivered: Delivered, path: str) -> StdfFile | InputFile:
        entry = find_entry(path, self.inputs)
        found: StdfFile | InputFile
        if entry is not None:
            delivery = Delivery(self.availability, self.margin_us, self.delivered_us)
            found = read_input(path, delivered, entry, delivery=delivery, beside=self._beside(path))
        else:
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

    def _dropped(self, report: ReadReport) -> dict[str, Any]:
        picture = report.unanchored_picture
        return {**report.dropped, **({UNANCHORED: list(picture)} if picture else {})}

    def _parameter_notes(self, found: InputFile) -> list[str]:
        """Parameters of the file's products that match none of its tests; a file without tests has no parameters."""
        named = set(found.runs["product_id"].to_pylist()) if found.tests.num_rows else set()
        tests = list(zip(found.tests["test_num"].to_pylist(), found.tests["test_name"].to_pylist(), strict=True))
        return [
            note for product in self.products if product.product_id in named for note in parameter_notes(product, tests)
        ]

    def _file(
        self,
        source: int,
        row: dict[str, Any],
        counts: dict[str, int] | None = None,
        extends: Any = (),
        runs: pa.Table | None = None,
        tests: pa.Table | None = None,
    ) -> Any:
        whole = {"path": self.paths[source], "delivered_at": self.delivered_us, **row}
        none = {"tests": 0, "runs": 0, "parts": 0, "results": 0}
        told = {
            "file": pa.array([{f.name: whole.get(f.name) for f in _FILE}], _FILE),
            "extends": pa.array([list(extends)], pa.list_(_TEXT)),
            "counts": pa.array([counts or none], _COUNTS),
            "named": pa.array([tests.select(_NAMED.names).to_pydict() if tests is not None else None], _NAMED),
            "runs": _list_of_all(runs, _RUN),
            "tests": _list_of_all(tests, _TEST),
        }
        values = pa.StructArray.from_arrays([told[f.name] for f in _TOLD], fields=list(_TOLD))
        one = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), values, type=pa.list_(_TOLD))
        return _batch(source, "file", 1, {"told": one})

    def _rows(
        self, source: int, extends: Sequence[str], found: StdfFile | InputFile, row: dict[str, Any]
    ) -> Iterator[pa.RecordBatch]:
        report, parts = found.report, found.parts
        if isinstance(found, InputFile):
            report.warnings += self._parameter_notes(found)
        keyless = pc.is_null(parts[DIE_KEYS[0]])
        for key in DIE_KEYS[1:]:
            keyless = pc.or_(keyless, pc.is_null(parts[key]))
        run_keys = found.runs["run_key"].to_pylist()
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
            "dropped": json.dumps(self._dropped(report), sort_keys=True),
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
        yield self._file(source, row, counts, extends, found.runs, found.tests)
        whole = parts
        for name, column in side_by_side(found.part_results).items():
            whole = whole.append_column(name, column)
        at_once = max(min(_MOST_PARTS, _MOST_RESULTS * parts.num_rows // max(counts["results"], 1)), 1)
        for start in range(0, parts.num_rows, at_once):
            piece = whole.slice(start, at_once)
            yield _batch(source, "part", piece.num_rows, {"part": _structs(piece, _PART)})
