"""One batch of files: parsed once in Spark tasks, rows written first, the `files` table last.

`files` is the commit marker: readers see only rows whose file stands in it with a status that keeps rows, so a job
that dies half way leaves nothing visible, and the next run completes it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from fs_spark import names as n
from fs_spark.ingest.decide import Decision, StoredFile, decide
from fs_spark.ingest.staging import STAGING_DDL, FileTask, staging_schema
from fs_spark.schemas import LAYOUTS
from fs_spark.tables import Tables

log = logging.getLogger(__name__)


def ingest_batch(
    tables: Tables, task: FileTask, stored: dict[str, StoredFile], *, setting: str, dry_run: bool
) -> tuple[list[Decision], list[StoredFile]]:
    """Reads the task's files and, unless it is a dry run, writes their rows.

    Returns what became of each file, and the rows of `files` that are new or changed.
    """
    staged = _stage(tables, task, stored)
    staged = staged.persist(StorageLevel.DISK_ONLY)
    try:
        read = staged.where("kind = 'file'").select("source", "file", "extends", "counts").collect()
        decisions, superseded = decide(read, stored)
        rows = _file_rows(decisions, superseded, stored)
        if rows and not dry_run:
            _write(tables, staged, decisions, superseded, setting)
            _write_files(tables, rows, superseded)
        changed = [StoredFile.of(row) for row in rows]
        changed += [StoredFile(**{**vars(stored[old]), "status": n.SUPERSEDED}) for old in superseded if old in stored]
        return decisions, changed
    finally:
        staged.unpersist()


def _stage(tables: Tables, task: FileTask, stored: dict[str, StoredFile]) -> DataFrame:
    """The files, each in a task of its own; Delta tables of dies are read by Spark, and laid out on the driver."""
    delta = {k for k, path in enumerate(task.paths) if os.path.isdir(path)}
    files = [k for k in range(len(task.paths)) if k not in delta]
    staged = None
    if files:
        numbers = tables.spark.range(0, len(files), 1, len(files))
        if delta:
            chosen = F.array(*map(F.lit, files))
            numbers = numbers.select(F.get(chosen, F.col("id").cast("int")).cast("bigint").alias("id"))
        staged = numbers.mapInArrow(task, STAGING_DDL)
    for source in sorted(delta):
        path = task.paths[source]
        rows, version = tables.foreign(path)
        table = rows.orderBy(*rows.columns).toArrow()  # the order of rows of one time numbers their attempts
        earlier = [file.file_id for file in stored.values() if file.kept and file.path == path]
        batches = list(task.of_table(source, table, version, earlier))
        frame = tables.spark.createDataFrame(pa.Table.from_batches(batches)).to(staging_schema())
        staged = frame if staged is None else staged.unionByName(frame)
    assert staged is not None
    return staged


def _file_rows(
    decisions: Sequence[Decision], superseded: dict[str, str], stored: dict[str, StoredFile]
) -> list[dict[str, object]]:
    """Rows of `files` for the files that are new or have another outcome than the stored one."""
    rows = []
    for decision in decisions:
        if decision.status == n.DUPLICATE or decision.unchanged:
            continue
        row = decision.file.asDict() | {"status": decision.status, "reason": decision.reason}
        by = superseded.get(row[n.FILE_ID])
        if by:
            row |= {"status": n.SUPERSEDED, "reason": f"superseded by {by}"}
        rows.append(row)
    return rows


def _tables_holding(tables: Tables, names: Sequence[str], ids: Sequence[str]) -> set[str]:
    """Which of the tables hold a row of these files; one job for all of them."""
    found: DataFrame | None = None
    for name in names:
        some = tables.read(name).where(F.col(n.FILE_ID).isin(list(ids))).select(F.lit(name).alias("name")).limit(1)
        found = some if found is None else found.unionByName(some)
    return {row["name"] for row in found.collect()} if found is not None else set()


def _append_all(tables: Tables, frames: dict[str, DataFrame], ids: Sequence[str], batch: str) -> None:
    """Writes a batch to each table exactly once, whatever an earlier run of it left behind."""
    there = _tables_holding(tables, list(frames), ids)

    def write(names: Sequence[str]) -> None:
        for name in names:
            if name in there:  # of an unfinished ingest, or of another configuration
                log.info("%s: the rows of these files are written anew", name)
                tables.replace_where(name, frames[name], n.FILE_ID, ids)
            else:
                tables.append(name, frames[name], once_as=batch)

    # the long table keeps the cores busy while the small ones wait for their commits
    long = [name for name in frames if name == n.TEST_RESULTS]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write, names) for names in (long, [name for name in frames if name not in long])]:
            done.result()
    # Delta remembers a batch even when a RESTORE took its rows: then it dropped the append without a word
    for name in set(frames) - _tables_holding(tables, list(frames), ids):
        tables.append(name, frames[name])


def _long_results(parts: DataFrame, named: DataFrame) -> DataFrame:
    """One row per result; number and name of its test are looked up in the arrays of its file."""
    at, test = F.col("at"), F.get("result_test", F.col("at"))
    lists = ("result_test", "result_occurrence", "result_element", "result_passed")
    keys = (n.FILE_ID, n.RUN_ID, n.LOT_ID, n.WAFER_ID, n.PART_INDEX)
    exploded = parts.join(F.broadcast(named), n.FILE_ID).select(
        *keys, *lists, n.TEST_NUM, n.TEST_NAME, n.RECORD, F.posexplode("result_value").alias("at", "value")
    )
    element, passed = F.get("result_element", at), F.get("result_passed", at)
    return exploded.select(
        *keys,
        F.get(n.TEST_NUM, test).alias(n.TEST_NUM),
        F.get(n.TEST_NAME, test).alias(n.TEST_NAME),
        F.get("result_occurrence", at).alias(n.OCCURRENCE),
        F.when(element >= 0, element).alias(n.ELEMENT),
        F.when(~F.isnan("value"), F.col("value")).alias(n.RESULT),
        F.when(passed >= 0, passed == 1).alias(n.PASSED),
        F.get(n.RECORD, test).alias(n.RECORD),
    )


def _write(
    tables: Tables,
    staged: DataFrame,
    decisions: Sequence[Decision],
    superseded: dict[str, str],
    setting: str,
) -> None:
    kept = [d for d in decisions if d.status in n.KEPT and d.file[n.FILE_ID] not in superseded]
    if not kept:
        return
    ids = sorted(d.file[n.FILE_ID] for d in kept)
    batch = hashlib.sha256(json.dumps([ids, setting]).encode()).hexdigest()
    chosen = staged.where(F.col("source").isin([d.row["source"] for d in kept]))
    tests = chosen.where("kind = 'test'").select("test.*")
    parts = chosen.where("kind = 'part'").select("part.*")
    named = chosen.where("kind = 'file'").select(F.col("file.file_id"), "named.*")
    frames = {
        n.TESTS: (tests, "tests"),
        n.WAFER_RUNS: (chosen.where("kind = 'run'").select("run.*"), "runs"),
        n.TEST_RESULTS: (_long_results(parts, named), "results"),
        n.DIE_TESTS: (parts, "parts"),
    }
    expected = {name: sum(d.row["counts"][counted] for d in kept) for name, (_, counted) in frames.items()}
    log.info("writing %s", ", ".join(f"{name} {count}" for name, count in expected.items()))
    _append_all(tables, {name: frame for name, (frame, _) in frames.items() if expected[name]}, ids, batch)


def _write_files(tables: Tables, rows: Sequence[dict[str, object]], superseded: dict[str, str]) -> None:
    schema = LAYOUTS[n.FILES].schema
    update = tables.spark.createDataFrame([tuple(row[c] for c in schema.fieldNames()) for row in rows], schema)
    if superseded:
        listed = [row[n.FILE_ID] for row in rows]
        old = tables.read(n.FILES).where(F.col(n.FILE_ID).isin(list(superseded)) & ~F.col(n.FILE_ID).isin(listed))
        update = update.unionByName(
            old.withColumns({"status": F.lit(n.SUPERSEDED), "reason": F.lit("a later delivery holds the whole run")})
        )
    written = dict.fromkeys([*(str(row[n.FILE_ID]) for row in rows), *superseded])
    tables.replace_where(n.FILES, update.coalesce(1), n.FILE_ID, written)
