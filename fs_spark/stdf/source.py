"""`spark.read.format("stdf")` and `spark.readStream.format("stdf")`: one task per file, one row per part.

Nothing is registered at import: `register_source(spark)` does it, and works for Spark Connect alike. Of a bad file
there is one row with its path and `damage`, all else null, so that it neither stops a batch nor disappears.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError
from pyspark.sql import SparkSession
from pyspark.sql.datasource import DataSource, DataSourceReader, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxFiles,
    SupportsTriggerAvailableNow,
)
from pyspark.sql.types import StructType

from fs_spark.errors import RequestError, StdfError
from fs_spark.stdf.container import read_delivered
from fs_spark.stdf.reader import StdfFile, decode
from fs_spark.stdf.rules import ProductConfig, Rule, TesterConfig
from fs_spark.stdf.sources import find_files

_OPTIONS: Final = ("path", "paths", "zone", "tests", "wafer_id", "lot_id", "insertion", "mode", "max_files_per_trigger")
_BATCH: Final = 1000
_RESULT: Final = pa.struct(
    {
        "test_num": pa.int64(),
        "test_name": pa.string(),
        "record": pa.string(),
        "occurrence": pa.int32(),
        "element": pa.int32(),
        "result": pa.float32(),
        "passed": pa.bool_(),
    }.items()
)
SCHEMA: Final = (
    "path string, damage string, file_id string, run_id string, lot_id string, wafer_id string, die_x int, die_y int, "
    "head int, site int, touchdown int, part_index int, part_id string, passed boolean, hard_bin int, soft_bin int, "
    "test_time_ms bigint, run_start timestamp, run_start_local timestamp_ntz, event_timestamp timestamp, "
    "event_local timestamp_ntz, time_quality string, available_timestamp timestamp, insertion string, "
    "product_id string, test_program string, tester string, results array<struct<test_num: bigint, test_name: string, "
    "record: string, occurrence: int, element: int, result: float, passed: boolean>>"
)


@dataclass(frozen=True)
class Settings:
    """The options of one read."""

    sources: tuple[str, ...]
    testers: tuple[TesterConfig, ...] | None
    products: tuple[ProductConfig, ...]
    tests: tuple[str, ...]
    fail: bool
    max_files: int | None

    @classmethod
    def of(cls, options: Any) -> Settings:
        """Raises RequestError for an option that is unknown or no value of its kind."""
        given = {str(name).lower(): value for name, value in options.items()}
        plain = {name.replace("_", ""): name for name in _OPTIONS}
        unknown = sorted(set(given) - set(plain) - set(_OPTIONS))
        if unknown:
            raise RequestError(f"unknown options {', '.join(unknown)}. Hint: known are {', '.join(_OPTIONS[2:])}")
        named = {plain.get(name, name): value for name, value in given.items()}
        sources = tuple(json.loads(named["paths"])) if "paths" in named else ()
        if "path" in named:
            sources = (*sources, named["path"])
        if not sources:
            raise RequestError('no path is given. Hint: .load("in/*.stdf.gz")')
        mode = named.get("mode", "set_aside")
        if mode not in ("set_aside", "fail"):
            raise RequestError(f"mode is {mode!r}. Hint: set_aside (a row with the fault) or fail")
        try:
            zone = named.get("zone")
            product: dict[str, Any] = {"product_id": "any"}
            for name in ("wafer_id", "lot_id"):
                if name in named:
                    product[name] = [*(("wrr", "wir") if name == "wafer_id" else ()), _rule(name, named[name])]
            if "insertion" in named:
                product["insertion"] = [_rule("insertion", named["insertion"])]
            return cls(
                sources=sources,
                testers=(TesterConfig(match="*", zone=zone),) if zone else None,
                products=(ProductConfig.model_validate(product),),
                tests=tuple(text.strip() for text in named.get("tests", "").split(",") if text.strip()),
                fail=mode == "fail",
                max_files=int(named["max_files_per_trigger"]) if "max_files_per_trigger" in named else None,
            )
        except (ValidationError, ValueError) as fault:
            raise RequestError(f"an option has no value of its kind: {fault}") from fault


def _rule(option: str, text: str) -> Rule:
    """`field:pattern`, of which the first group is the value."""
    name, mark, pattern = text.partition(":")
    if not mark:
        raise RequestError(rf"{option} is {text!r}. Hint: write field:pattern, such as file_name:_(W\d+)_")
    return Rule.model_validate({"field": name, "pattern": pattern})


def _wanted_tests(found: StdfFile, patterns: Sequence[str]) -> np.ndarray:
    """Which tests are kept, (tests,): by number, or by a glob on the name."""
    rows = zip(found.tests["test_num"].to_pylist(), found.tests["test_name"].to_pylist(), strict=True)
    return np.array(
        [not patterns or any(p == str(num) or fnmatchcase(name, p) for p in patterns) for num, name in rows], bool
    )


def _results(found: StdfFile, patterns: Sequence[str]) -> pa.ListArray:
    """Results of each part with number and name of their test."""
    lists, tests = found.part_results, found.tests
    offsets, values = np.asarray(lists.offsets), lists.values
    index = values.field("test_index")
    keep = np.ones(len(values), bool)
    if patterns:
        keep = _wanted_tests(found, patterns)[np.asarray(index)]
        offsets = np.concatenate([[0], np.cumsum(keep)])[offsets].astype(np.int32)
        values = values.filter(pa.array(keep))
        index = values.field("test_index")
    own = {name: tests[name].combine_chunks().take(index) for name in ("test_num", "test_name", "record")}
    columns = [own[f.name] if f.name in own else values.field(f.name) for f in _RESULT]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(columns, fields=list(_RESULT)))


@dataclass(frozen=True)
class FileRows:
    """What a task makes of one file: the columns of `fields`, in batches."""

    settings: Settings
    fields: tuple[str, ...]
    schema: pa.Schema

    def __call__(self, path: str) -> Iterator[pa.RecordBatch]:
        settings, name = self.settings, path.replace("\\", "/").rsplit("/", 1)[-1]
        try:
            found = decode(read_delivered(path), file_name=name, testers=settings.testers, products=settings.products)
        except StdfError as fault:
            if settings.fail:
                raise StdfError(f"{path}: {fault}") from fault
            yield self._batch({"path": pa.array([path]), "damage": pa.array([str(fault)])}, 1)
            return
        rows = found.parts.num_rows
        columns: dict[str, Any] = {
            **{c: found.parts[c].combine_chunks() for c in found.parts.column_names if c in self.fields},
            "path": pa.repeat(pa.scalar(path), rows),
            "damage": pa.repeat(pa.scalar(found.report.damage, pa.string()), rows),
            "product_id": pa.nulls(rows, pa.string()),
        }
        if "results" in self.fields:
            columns["results"] = _results(found, settings.tests)
        for start in range(0, rows, _BATCH):
            count = min(_BATCH, rows - start)
            yield self._batch({c: column.slice(start, count) for c, column in columns.items()}, count)

    def _batch(self, columns: dict[str, Any], rows: int) -> pa.RecordBatch:
        arrays = []
        for field in self.schema:
            column = columns.get(field.name)
            arrays.append(pa.nulls(rows, field.type) if column is None else _as(column, field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else pc.cast(column, kind)


@dataclass
class FilePartition(InputPartition):
    path: str


class _Reading:
    """What batch and streaming reads share."""

    def __init__(self, settings: Settings, schema: StructType) -> None:
        from pyspark.sql.pandas.types import to_arrow_schema

        self.settings = settings
        arrow = to_arrow_schema(schema, timezone="UTC")
        self.rows = FileRows(settings, tuple(schema.fieldNames()), arrow)

    def read(self, partition: Any) -> Iterator[pa.RecordBatch]:
        yield from self.rows(partition.path)


class StdfReader(_Reading, DataSourceReader):
    def partitions(self) -> Sequence[InputPartition]:
        return [FilePartition(path) for path in find_files(self.settings.sources)]


class StdfStreamReader(_Reading, DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Each file exactly once, also a late one with an older time or name: an offset holds all files read so far.

    An offset grows by the path of each file (some 100 bytes); a folder of very many files is better ingested.
    A file that is read is never read again, whatever becomes of it: write elsewhere and move it into the folder.
    """

    def __init__(self, settings: Settings, schema: StructType) -> None:
        super().__init__(settings, schema)
        self._target: set[str] | None = None

    def initialOffset(self) -> dict[str, Any]:
        return {}

    def getDefaultReadLimit(self) -> ReadLimit:
        return ReadMaxFiles(self.settings.max_files) if self.settings.max_files else ReadAllAvailable()

    def prepareForTriggerAvailableNow(self) -> None:
        self._target = set(self._there())

    def _there(self) -> list[str]:
        try:
            return find_files(self.settings.sources)
        except RequestError:  # the folder is empty yet, or not there
            return []

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:
        new = [path for path in self._there() if path not in start]
        if self._target is not None:
            new = [path for path in new if path in self._target]
        if isinstance(limit, ReadMaxFiles):
            new = new[: limit.max_files]
        return start if not new else {**start, **dict.fromkeys(new, True)}

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> Sequence[InputPartition]:
        return [FilePartition(path) for path in sorted(end) if path not in start]

    def commit(self, end: dict[str, Any]) -> None:
        """Nothing is kept but in the query's own checkpoint."""


class StdfSource(DataSource):
    @classmethod
    def name(cls) -> str:
        return "stdf"

    def schema(self) -> str:
        return SCHEMA

    def reader(self, schema: StructType) -> DataSourceReader:
        return StdfReader(Settings.of(self.options), schema)

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:
        return StdfStreamReader(Settings.of(self.options), schema)


def register_source(spark: SparkSession) -> None:
    """Makes `format("stdf")` known to a session.

    Options    `zone` (IANA name; without it the UTC times are null), `tests` (numbers and globs on names, by commas),
               `wafer_id`, `lot_id` and `insertion` as `field:pattern`, `mode` (`set_aside` or `fail`),
               `max_files_per_trigger` of a stream. A schema that names fewer columns reads no others.
    """
    spark.dataSource.register(StdfSource)


__all__ = ["SCHEMA", "StdfSource", "register_source"]
