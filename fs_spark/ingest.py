"""Tester files -> Delta tables: one parse per file in a Spark task, rows first, the `files` table last.

`files` is the commit marker: readers see only rows whose file stands in it with a status that keeps rows, so a job
that dies half way leaves nothing visible, and the next run completes it.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from fs_spark import names as n
from fs_spark.config import Configuration
from fs_spark.errors import RequestError
from fs_spark.schemas import LAYOUTS
from fs_spark.stdf.staging import STAGING_DDL, FileTask
from fs_spark.tables import Tables

log = logging.getLogger(__name__)

_STDF_SUFFIXES: Final = (".stdf", ".std", ".stdf.gz", ".std.gz", ".stdf.bz2", ".std.bz2")


@dataclass(frozen=True)
class FileOutcome:
    """What became of one delivered file; `duplicate` is one whose bytes are known already."""

    path: str
    status: str
    reason: str | None
    file_id: str
    parts: int


@dataclass(frozen=True)
class IngestReport:
    files: tuple[FileOutcome, ...]

    @property
    def set_aside(self) -> tuple[FileOutcome, ...]:
        return tuple(f for f in self.files if f.status not in (n.INGESTED, "duplicate"))

    @property
    def exit_code(self) -> int:
        """0 all good, 3 some set aside or cut, 2 nothing was readable."""
        if not self.set_aside:
            return 0
        readable = any(f.status in (n.INGESTED, "duplicate", n.TRUNCATED, n.SUPERSEDED) for f in self.files)
        return 3 if readable else 2

    def to_dict(self) -> dict[str, Any]:
        return {"files": [vars(f) for f in self.files], "set_aside": len(self.set_aside)}


def find_files(sources: Sequence[str | Path]) -> list[str]:
    """The files behind paths, globs and folders (of which the STDF names), sorted, each once.

    Raises     RequestError that lists every source which names nothing
    """
    found, faults = set[str](), []
    for source in map(str, sources):
        if "://" in source:
            faults.append(f"{source}: only local paths can be read. Hint: mount or copy the files")
        elif os.path.isdir(source):
            inside = [
                str(p) for p in Path(source).rglob("*") if p.name.lower().endswith(_STDF_SUFFIXES) and p.is_file()
            ]
            if not inside:
                faults.append(f"{source}: the folder holds no file named {', '.join(_STDF_SUFFIXES[:2])} (.gz, .bz2)")
            found.update(inside)
        else:
            matches = [p for p in glob.glob(source, recursive=True) if os.path.isfile(p)]
            if os.path.isfile(source):
                matches.append(source)
            if not matches:
                faults.append(f"{source}: no such file or folder")
            found.update(matches)
    if faults:
        raise RequestError("nothing was read:\n" + "\n".join(f"- {f}" for f in faults) + "\nHint: check the paths")
    if not found:
        raise RequestError("no file to read. Hint: name files, globs or folders")
    return sorted(os.path.abspath(path) for path in found)


def _stored_files(tables: Tables) -> list[Row]:
    if not tables.exists(n.FILES):
        return []
    wanted = (n.FILE_ID, "status", "decompressed_bytes", "run_keys", "path")
    return tables.read(n.FILES).select(*wanted).collect()


def _decide(read: list[Row], stored: list[Row]) -> tuple[list[tuple[Row, str, str | None]], dict[str, str]]:
    """Status and reason of each file read, and which stored files are superseded (file_id -> by whom)."""
    known = {row[n.FILE_ID] for row in stored}
    holder = {key: row for row in stored if row["status"] in n.KEPT for key in json.loads(row["run_keys"] or "[]")}
    superseded: dict[str, str] = {}
    outcome: list[tuple[Row, str, str | None]] = []
    # of files that tell of the same run in one delivery, a whole one goes before a cut one
    for row in sorted(read, key=lambda r: (r["file"]["status"] != n.INGESTED, r["source"])):
        file = row["file"]
        status, reason = file["status"], file["reason"]
        if file[n.FILE_ID] in known:
            outcome.append((row, "duplicate", "these bytes were ingested before"))
            continue
        known.add(file[n.FILE_ID])
        if status in n.KEPT:
            for key in json.loads(file["run_keys"]):
                before = holder.get(key)
                if before is None or before[n.FILE_ID] == file[n.FILE_ID]:
                    continue
                extends = before[n.FILE_ID] in row["extends"]
                if extends or (before["status"] == n.TRUNCATED and status == n.INGESTED):
                    superseded[before[n.FILE_ID]] = file[n.FILE_ID]
                else:
                    status = n.CONFLICTING_RUN
                    reason = f"tells of a run that file {before['path']} holds with other content"
            if status in n.KEPT:
                for key in json.loads(file["run_keys"]):
                    holder[key] = Row(**{n.FILE_ID: file[n.FILE_ID], "status": status, "path": file["path"]})
        outcome.append((row, status, reason))
    return sorted(outcome, key=lambda item: item[0]["source"]), superseded


def _tables_holding(tables: Tables, names: Sequence[str], ids: Sequence[str]) -> set[str]:
    """Which of the tables hold a row of these files; one job for all of them."""
    found: DataFrame | None = None
    for name in names:
        some = tables.read(name).where(F.col(n.FILE_ID).isin(list(ids))).select(F.lit(name).alias("name")).limit(1)
        found = some if found is None else found.unionByName(some)
    return {row["name"] for row in found.collect()} if found is not None else set()


def _append_all(tables: Tables, frames: dict[str, DataFrame], ids: Sequence[str], batch: str) -> None:
    """Appends a batch to each table exactly once, whatever an earlier run of it left behind."""
    unfinished = _tables_holding(tables, list(frames), ids)
    for name, frame in frames.items():
        if name in unfinished:
            log.info("%s: rows of an unfinished ingest are written anew", name)
            tables.delete_units(name, [{n.FILE_ID: file_id} for file_id in ids])
            tables.append(name, frame)
        else:
            tables.append(name, frame, once_as=batch)
    # Delta remembers a batch even when a RESTORE took its rows: then it dropped the append without a word
    for name in set(frames) - _tables_holding(tables, list(frames), ids):
        tables.append(name, frames[name])


def ingest(tables: Tables, config: Configuration, sources: Sequence[str | Path]) -> IngestReport:
    """Reads files and appends their rows; see `FeatureStore.ingest`."""
    paths = find_files(sources)
    for name in (n.FILES, n.WAFER_RUNS, n.DIE_TESTS, n.TESTS, n.TEST_RESULTS):
        tables.create(name, LAYOUTS[name])
    stored = _stored_files(tables)
    log.info("reading %d files, %d are known", len(paths), len(stored))
    task = FileTask(
        paths=tuple(paths),
        testers=config.testers,
        products=config.products,
        availability=config.store.availability,
        margin_us=round(config.store.availability_margin.total_seconds() * 1e6),
        delivered_us=round(datetime.now(UTC).timestamp() * 1e6),
        known=frozenset(row[n.FILE_ID] for row in stored),
        stored_runs={
            key: (row[n.FILE_ID], row["decompressed_bytes"])
            for row in stored
            if row["status"] in n.KEPT
            for key in json.loads(row["run_keys"] or "[]")
        },
    )
    staged = tables.spark.range(0, len(paths), 1, len(paths)).mapInArrow(task, STAGING_DDL)
    staged = staged.persist(StorageLevel.DISK_ONLY)
    try:
        read = staged.where("kind = 'file'").select("source", "file", "extends", "counts").collect()
        decided, superseded = _decide(read, stored)
        _write(tables, config, staged, decided, superseded)
    finally:
        staged.unpersist()
    return IngestReport(
        tuple(
            FileOutcome(row["file"]["path"], status, reason, row["file"][n.FILE_ID], row["file"]["parts"] or 0)
            for row, status, reason in decided
        )
    )


def _write(
    tables: Tables,
    config: Configuration,
    staged: DataFrame,
    decided: list[tuple[Row, str, str | None]],
    superseded: dict[str, str],
) -> None:
    fresh = [(row, status, reason) for row, status, reason in decided if status != "duplicate"]
    if not fresh:
        return
    kept = [row for row, status, _ in fresh if status in n.KEPT and row["file"][n.FILE_ID] not in superseded]
    if kept:
        ids = sorted(row["file"][n.FILE_ID] for row in kept)
        setting = json.dumps(
            [ids, [t.model_dump_json() for t in config.testers], [p.model_dump_json() for p in config.products]]
        )
        batch = hashlib.sha256(setting.encode()).hexdigest()
        chosen = staged.where(F.col("source").isin([row["source"] for row in kept]))
        tests = chosen.where("kind = 'test'").select("test.*")
        parts = chosen.where("kind = 'part'").select("part.*")
        results = (
            parts.select(n.FILE_ID, n.RUN_ID, n.LOT_ID, n.WAFER_ID, n.PART_INDEX, F.inline("results"))
            .join(F.broadcast(tests.select(n.FILE_ID, n.TEST_INDEX, n.TEST_NUM, n.TEST_NAME, n.RECORD)),
                  [n.FILE_ID, n.TEST_INDEX])
        )  # fmt: skip
        frames = {
            n.TESTS: (tests, "tests"),
            n.WAFER_RUNS: (chosen.where("kind = 'run'").select("run.*"), "runs"),
            n.TEST_RESULTS: (results, "results"),
            n.DIE_TESTS: (parts.drop("results"), "parts"),
        }
        expected = {name: sum(row["counts"][counted] for row in kept) for name, (_, counted) in frames.items()}
        log.info("writing %s", ", ".join(f"{name} {count}" for name, count in expected.items()))
        _append_all(tables, {name: frame for name, (frame, _) in frames.items() if expected[name]}, ids, batch)
    rows = []
    for row, status, reason in fresh:
        file = row["file"].asDict()
        by = superseded.get(file[n.FILE_ID])
        file |= {"status": n.SUPERSEDED if by else status, "reason": f"superseded by {by}" if by else reason}
        rows.append(tuple(file[c] for c in LAYOUTS[n.FILES].schema.fieldNames()))
    update = tables.spark.createDataFrame(rows, LAYOUTS[n.FILES].schema)
    if superseded:
        old = tables.read(n.FILES).where(F.col(n.FILE_ID).isin(list(superseded)))
        update = update.unionByName(
            old.withColumns({"status": F.lit(n.SUPERSEDED), "reason": F.lit("a later delivery holds the whole run")})
        )
    tables.replace(n.FILES, update.coalesce(1), [n.FILE_ID])
