"""One batch of files: parsed once in Spark tasks, rows written first, the `files` table last.

`files` is the commit marker (see `ledger`): a job that dies half way leaves nothing visible, and the next run
completes it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from fs_spark import names as n
from fs_spark.conflicts import SWAPS, pause
from fs_spark.errors import TableConflictError
from fs_spark.ingest.decide import Decision, decide
from fs_spark.ingest.ledger import Holder, Ledger, Pair, begin, sweep
from fs_spark.ingest.staging import STAGING_DDL, FileTask, staging_schema
from fs_spark.schemas import LAYOUTS
from fs_spark.tables import Tables, is_one_of

log = logging.getLogger(__name__)

_ROWS_A_FILE: Final = 500_000
_FEWEST_FILES: Final = 8
"""So that a table's write is not left to one core, where it has more than a few rows."""


def ingest_batch(
    tables: Tables, task: FileTask, ledger: Ledger, *, tasks: int, anew: Collection[str] = (), dry_run: bool
) -> tuple[list[Decision], Ledger]:
    """Reads the task's files, in so many Spark tasks at most, and, unless it is a dry run, writes their rows.

    Where another job changed `files` meanwhile, what becomes of each file is decided anew from what it says now.
    Returns what became of each file, and the ledger as it stands afterwards.

    Raises     TableConflictError where others were faster again and again
    """
    for _ in range(SWAPS):
        staged = _stage(tables, task, ledger, tasks).persist(StorageLevel.DISK_ONLY)
        try:
            read = _told(staged).select("source", "told.file", "told.extends", "told.counts").collect()
            decisions, found = _settle(tables, staged, read, ledger, again=task.again, anew=anew, dry_run=dry_run)
        finally:
            staged.unpersist()
        if decisions is not None:
            return decisions, found
        ledger, task = found, replace(task, stored_runs=found.runs)
    raise given_up()


def _told(staged: DataFrame) -> DataFrame:
    """A row for each file, with what tells of it as `told`."""
    return staged.where("kind = 'file'").select("source", F.get("told", F.lit(0)).alias("told"))


def _tells_of_a_new_run(file: Any, before: Mapping[str, Holder], now: Mapping[str, Holder]) -> bool:
    """Whether another file came to hold a run of this one, so that it must be read whether this one extends it."""
    runs = json.loads(file["run_keys"] or "[]")
    return any(now[run] != before.get(run) and now[run][0] != file[n.FILE_ID] for run in runs if run in now)


def given_up() -> TableConflictError:
    return TableConflictError(
        f"others wrote to table {n.FILES} {SWAPS} times in a row before this ingest could.\n"
        "Hint: run it again when the other jobs are done; nothing is lost, and what was read is read again"
    )


def _settle(
    tables: Tables,
    staged: DataFrame,
    read: Sequence[Row],
    ledger: Ledger,
    *,
    again: bool,
    anew: Collection[str],
    dry_run: bool,
) -> tuple[list[Decision] | None, Ledger]:
    """Decides, writes rows, and commits; no decisions where the files have to be read again."""
    written: dict[str, str] = {}
    """Files whose rows lie in the tables, and the batch that they bear."""
    lost: set[Pair] = set()
    for attempt in range(SWAPS):
        decisions, superseded = decide(read, ledger.files, again=again, anew=anew)
        kept = [d for d in decisions if d.status in n.KEPT and d.file[n.FILE_ID] not in superseded]
        batches = written | dict.fromkeys({d.file[n.FILE_ID] for d in kept} - set(written), ledger.new_batch())
        rows = _file_rows(decisions, superseded, batches)
        if dry_run or not rows:
            break
        missing = [d for d in kept if d.file[n.FILE_ID] not in written]
        if missing:
            _write(tables, staged, missing, ledger, batches[missing[0].file[n.FILE_ID]])
            written = dict(batches)
        version = _commit(tables, ledger, rows, superseded)
        if version is not None:
            ledger = ledger.after(version, rows, superseded)
            break
        log.info("another job has changed `files`: what becomes of these files is decided anew")
        pause(attempt)
        newer = Ledger.read(tables)
        # Whoever changed a file may sweep every older write of it, so that ours must never be the one that counts.
        touched = [f for f in written if newer.files.get(f) != ledger.files.get(f)]
        lost |= {(written.pop(f), f) for f in touched}
        known_before, ledger = ledger.runs, newer
        if any(_tells_of_a_new_run(row["file"], known_before, newer.runs) for row in read):
            lost |= {(batch, f) for f, batch in written.items()}
            sweep(tables, lost)
            return None, ledger
    else:
        raise given_up()
    counted = {d.file[n.FILE_ID] for d in kept}
    lost |= {(batch, f) for f, batch in written.items() if f not in counted}
    if lost:
        sweep(tables, lost)
    return decisions, ledger


def _commit(
    tables: Tables, ledger: Ledger, rows: Sequence[dict[str, object]], superseded: Mapping[str, str]
) -> int | None:
    """Writes rows of `files`, if nobody else did since the ledger was read."""
    schema = LAYOUTS[n.FILES].schema
    update = tables.spark.createDataFrame([tuple(row[c] for c in schema.fieldNames()) for row in rows], schema)
    listed = [str(row[n.FILE_ID]) for row in rows]
    before = [file_id for file_id in superseded if file_id in ledger.files and file_id not in listed]
    if before:
        old = tables.read(n.FILES, ledger.version).where(F.col(n.FILE_ID).isin(before))
        update = update.unionByName(
            old.withColumns({"status": F.lit(n.SUPERSEDED), "reason": F.lit("a later delivery holds the whole run")})
        )
    known = [file_id for file_id in (*listed, *before) if file_id in ledger.files]
    replacing = is_one_of(n.FILE_ID, known + listed) if known else None
    return tables.swap(n.FILES, update.coalesce(1), based_on=ledger.version, replacing=replacing)


def _stage(tables: Tables, task: FileTask, ledger: Ledger, tasks: int) -> DataFrame:
    """The files, shared out among tasks; Delta tables of dies are read by Spark, and laid out on the driver."""
    delta = {k for k, path in enumerate(task.paths) if os.path.isdir(path)}
    files = [k for k in range(len(task.paths)) if k not in delta]
    staged = None
    if files:
        numbers = tables.spark.range(0, len(files), 1, min(tasks, len(files)))
        if delta:
            chosen = F.array(*map(F.lit, files))
            numbers = numbers.select(F.get(chosen, F.col("id").cast("int")).cast("bigint").alias("id"))
        staged = numbers.mapInArrow(task, STAGING_DDL)
    for source in sorted(delta):
        path = task.paths[source]
        rows, version = tables.foreign(path)
        table = rows.orderBy(*rows.columns).toArrow()  # the order of rows of one time numbers their attempts
        earlier = [file.file_id for file in ledger.files.values() if file.kept and file.path == path]
        batches = list(task.of_table(source, table, version, earlier))
        frame = tables.spark.createDataFrame(pa.Table.from_batches(batches)).to(staging_schema())
        staged = frame if staged is None else staged.unionByName(frame)
    assert staged is not None
    return staged


def _file_rows(
    decisions: Sequence[Decision], superseded: Mapping[str, str], batches: Mapping[str, str]
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
        row[n.BATCH_ID] = batches.get(row[n.FILE_ID]) if row["status"] in n.KEPT else None
        rows.append(row)
    return rows


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


def _write(tables: Tables, staged: DataFrame, kept: Sequence[Decision], ledger: Ledger, batch: str) -> None:
    """Adds the rows of these files to the tables, where they count once `files` names the batch."""
    begin(tables, ledger, batch, [d.file[n.FILE_ID] for d in kept])
    chosen = staged.where(F.col("source").isin([d.row["source"] for d in kept]))
    told = _told(chosen)
    runs, tests = (told.select(F.explode(f"told.{name}").alias("row")).select("row.*") for name in ("runs", "tests"))
    parts = chosen.where("kind = 'part'").select("part.*")
    named = told.select("told.file.file_id", "told.named.*")
    frames = {
        n.TESTS: (tests, "tests"),
        n.WAFER_RUNS: (runs, "runs"),
        n.TEST_RESULTS: (_long_results(parts, named), "results"),
        n.DIE_TESTS: (parts, "parts"),
    }
    expected = {name: sum(d.row["counts"][counted] for d in kept) for name, (_, counted) in frames.items()}
    log.info("writing %s", ", ".join(f"{name} {count}" for name, count in expected.items()))

    def write(name: str) -> None:
        rows = frames[name][0].withColumn(n.BATCH_ID, F.lit(batch))
        tables.append(name, rows.coalesce(files_for(expected[name], len(kept))))

    # the long tables keep the cores busy while the small ones wait for their commits
    filled = sorted((name for name in frames if expected[name]), key=lambda name: -expected[name])
    with ThreadPoolExecutor(max(len(filled), 1)) as pool:
        for done in [pool.submit(write, name) for name in filled]:
            done.result()


def files_for(rows: int, parts: int) -> int:
    """In how many files to write rows that come in so many parts: many small ones cost every later reader."""
    few = 1 if rows < 10_000 else _FEWEST_FILES
    return max(min(parts, max(few, -(-rows // _ROWS_A_FILE))), 1)
