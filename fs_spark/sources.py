"""Sources brought into the store: rows of a table elsewhere, kept here in versions that can be read again.

What a source's place holds when `materialize` begins is compared with what the store has of it, unit by unit, and the
units that differ are replaced in one commit, which keeps the rows that it added and removed. The commit says what the
place looked like, so that a place that has not changed is not read again.
"""

from __future__ import annotations

import glob
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from fs_spark import names as n
from fs_spark.conflicts import SWAPS, pause
from fs_spark.errors import ExpectationError, RequestError, SchemaError, TableConflictError
from fs_spark.features.source import SourceText
from fs_spark.registry import Registry
from fs_spark.schemas import source_layout
from fs_spark.tables import Tables
from fs_spark.transforms.expected import broken_claims, claim_counts
from fs_spark.transforms.kept import only_units
from fs_spark.transforms.source_rows import FAULT, passes, source_rows
from fs_spark.transforms.unit_columns import bucket_of, buckets_for, span_of
from fs_spark.unit_tables import replace_units

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceState:
    """A source as the store has it: its table, the version of it, and the greatest availability of its rows."""

    name: str
    table: str
    version: int
    watermark_us: int | None
    left_out: int = 0
    """Rows without a key or a time."""
    warnings: tuple[str, ...] = ()


def _where(source: SourceText, folder: Path) -> str:
    kind, place = source.place
    if kind == "table" or "://" in place or os.path.isabs(place):
        return place
    return str((folder / place).resolve())


def _mark(tables: Tables, source: SourceText, place: str) -> Any:
    """What the place looks like: a Delta version, or the files with sizes and times; None where nobody can say."""
    kind = source.place[0]
    if kind == "delta":
        try:
            return tables.foreign(place)[1]
        except AnalysisException:
            return None
    if kind in ("parquet", "csv") and "://" not in place:
        found = [place] if os.path.isfile(place) else glob.glob(f"{place}/**/*" if os.path.isdir(place) else place,
                                                               recursive=True)  # fmt: skip
        files = sorted(path for path in found if os.path.isfile(path))
        return [[os.path.relpath(f, os.path.dirname(place)), os.stat(f).st_size, os.stat(f).st_mtime_ns] for f in files]
    return None


def _added_files(place: str, before: Any, now: Any) -> list[str] | None:
    """The files that came to a place since a mark; None where others are not as they were."""
    if not isinstance(before, list) or not isinstance(now, list):
        return None
    known = {file: told for file, *told in before}
    if any(known[file] != told for file, *told in now if file in known) or not known.keys() <= {f for f, *_ in now}:
        return None
    return [os.path.join(os.path.dirname(place), file) for file, *_ in now if file not in known]


def _read(tables: Tables, source: SourceText, place: str, files: Sequence[str] = ()) -> DataFrame:
    """The rows as they lie in their place, or in some files of it. Raises RequestError where there is nothing."""
    kind = source.place[0]
    spark = tables.spark
    try:
        if kind == "delta":
            return tables.foreign(place)[0]
        if kind == "table":
            return spark.read.table(place)
        if kind == "parquet":
            return spark.read.option("recursiveFileLookup", True).parquet(*(files or [place]))
        reader = spark.read.option("header", True).option("sep", source.delimiter).option("recursiveFileLookup", True)
        return reader.option("inferSchema", False).option("enforceSchema", False).csv(list(files) or place)
    except AnalysisException as fault:
        raise RequestError(
            f"source {source.name}: nothing can be read at {place}: {str(fault).splitlines()[0]}\n"
            f"Hint: correct `{kind}` in sources.yaml"
        ) from fault


def bring_in(tables: Tables, registry: Registry, source: SourceText, folder: Path) -> SourceState:
    """Brings a source's rows up to what its place holds now.

    Raises     RequestError where its place holds nothing, SchemaError where its columns or values are not as declared,
               ExpectationError where a claim with `stop` does not hold: the rows of before stay in force then
    """
    place = _where(source, folder)
    for attempt in range(SWAPS):
        found = _bring_in_once(tables, registry, source, place)
        if found is not None:
            return found
        pause(attempt)
    raise TableConflictError(
        f"others wrote to table {source.table_name} {SWAPS} times in a row before this job could. Hint: run it again"
    )


def _bring_in_once(tables: Tables, registry: Registry, source: SourceText, place: str) -> SourceState | None:
    table, mark = source.table_name, json.loads(json.dumps(_mark(tables, source, place)))
    tables.create(table, source_layout(source))
    version, made_from = tables.standing(table)
    if mark is not None and (made_from.get("reading"), made_from.get("mark")) == (source.reading, mark):
        return SourceState(source.name, table, version, made_from.get("watermark"), made_from.get("left_out", 0))
    rows, stored = source_rows(_read(tables, source, place), source), tables.read(table, version)
    added = _added_files(place, made_from.get("mark"), mark) if made_from.get("reading") == source.reading else None
    buckets = registry.state().buckets.get(table) if added else None
    units: DataFrame | None = None
    if buckets is not None:  # only units of the rows in these files can have come to hold others
        new = source_rows(_read(tables, source, place, added or ()), source)
        units = new.where(_is_whole(source)).select(*_unit_of(source, buckets)).distinct()
        units = units.persist(StorageLevel.MEMORY_AND_DISK)
    else:
        rows = rows.persist(StorageLevel.DISK_ONLY)
    try:
        whole = _is_whole(source)
        counts = claim_counts(rows.withColumn("__whole", whole), source.expectations)
        told = counts.crossJoin(
            rows.agg(
                F.count(FAULT).alias("bad"),
                F.min(FAULT).alias("example"),
                F.count(F.when(~whole, 1)).alias("left_out"),
                F.max(F.unix_micros(F.when(whole & passes(source), F.col(n.AVAILABLE_TIMESTAMP)))).alias("watermark"),
            )
        ).collect()[0]
        if told["bad"]:
            raise SchemaError(
                f"source {source.name}: {told['bad']} of {told['rows']} rows cannot be read, such as {told['example']}."
                "\nHint: correct the rows, or the types in sources.yaml"
            )
        broken = broken_claims(
            source.expectations, [told[f"claim_{at}"] for at in range(len(source.expectations))], told["rows"]
        )
        stopping = [text for claim, text in broken if claim.action == "stop"]
        if stopping:
            raise ExpectationError(
                f"source {source.name} is not as expected, so that its rows of before stay in force:\n"
                + "\n".join(f"- {text}" for text in stopping)
            )
        warnings = tuple(text for _, text in broken)
        for text in warnings:
            log.warning("source %s: %s", source.name, text)
        if told["left_out"]:
            log.warning("source %s: %d rows without a key or a time are left out", source.name, told["left_out"])
        buckets = registry.buckets(table, buckets_for(told["rows"]))
        placed = rows.where(whole).drop(FAULT)
        placed = placed.select(*_unit_of(source, buckets), *placed.columns)
        placed = placed.select(*source_layout(source).schema.fieldNames())
        if units is not None:
            placed, stored = (only_units(frame, units=units) for frame in (placed, stored))
            rows = placed = placed.persist(StorageLevel.DISK_ONLY)
        if source.is_static:
            _refuse_doubles(placed, source)
        written = replace_units(
            tables, table, placed, stored, based_on=version, must_commit=True,
            made_from={
                "source": source.name, "reading": source.reading, "mark": mark, "watermark": told["watermark"],
                "left_out": told["left_out"], "place": [source.place[0], source.place[1]],
            },
        )  # fmt: skip
    finally:
        rows.unpersist()
        if units is not None:
            units.unpersist()
    if written is None:
        return None
    log.info("source %s: %d units changed, %d removed", source.name, written.changed, written.removed)
    return SourceState(source.name, table, written.version, told["watermark"], told["left_out"], warnings)


def _is_whole(source: SourceText) -> Column:
    """Whether a row has its keys and its times."""
    whole = F.lit(True)
    for name in (*source.keys, *(() if source.is_static else (n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP))):
        whole = whole & F.col(f"`{name}`").isNotNull()
    return whole


def _unit_of(source: SourceText, buckets: int) -> tuple[Column, Column]:
    return bucket_of(source.keys, buckets), span_of(F.col(n.EVENT_TIMESTAMP))


def _refuse_doubles(rows: DataFrame, source: SourceText) -> None:
    doubles = rows.groupBy(*source.keys).count().where("count > 1").limit(1).collect()
    if doubles:
        key = ", ".join(f"{name} {doubles[0][name]!r}" for name in source.keys)
        raise SchemaError(
            f"source {source.name} has no event, so that each key has one row, but {key} has {doubles[0]['count']}.\n"
            "Hint: name its `event`, or more of its columns as keys"
        )
