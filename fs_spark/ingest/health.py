"""Whether the rows of each file are there once: what other software, a RESTORE or an older fs_spark can have broken."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.conflicts import SWAPS, pause
from fs_spark.ingest.batch import given_up
from fs_spark.ingest.ledger import ROWS, Ledger, Pair, base_of, begin, remove, sweep
from fs_spark.schemas import LAYOUTS
from fs_spark.tables import Tables, is_one_of
from fs_spark.transforms.kept import KeptFiles, batch_of, only_kept

log = logging.getLogger(__name__)

KEYS: Final = {
    n.WAFER_RUNS: (n.RUN_ID,),
    n.DIE_TESTS: (n.RUN_ID, n.PART_INDEX),
    n.TESTS: (n.TEST_INDEX,),
    n.TEST_RESULTS: (n.RUN_ID, n.PART_INDEX, n.RECORD, n.TEST_NUM, n.TEST_NAME, n.OCCURRENCE, n.ELEMENT),
}
"""What names a row among those of its file."""


@dataclass(frozen=True)
class RepairReport:
    """`mended` names the files whose rows lay there more than once, `lacking` those of which rows are missing, each
    with what was found; `removed` counts the writes of files whose rows did not count and were removed."""

    mended: dict[str, str]
    lacking: dict[str, str]
    removed: int
    dry_run: bool

    def __repr__(self) -> str:
        return f"RepairReport({self.to_text()})"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self) -> str:
        would = "would be " if self.dry_run else ""
        lines = [f"{path}: {what}; each row {would}kept once" for path, what in self.mended.items()]
        lines += [
            f"{path}: {what}. Hint: fs-spark ingest --again reads the file anew" for path, what in self.lacking.items()
        ]
        if self.removed:
            lines.append(f"rows of {self.removed} unfinished or replaced writes of files {would}removed")
        return "\n".join(lines) or "every row of every file is there once"


def _counts(tables: Tables, file_ids: Sequence[str] | None) -> list[Any]:
    """Per file and table: rows that count, and how many different ones by their keys."""
    files = tables.read(n.FILES)
    found: DataFrame | None = None
    for name in ROWS:
        if not tables.exists(name):
            continue
        rows = tables.read(name)
        if file_ids is not None:
            rows = rows.where(F.col(n.FILE_ID).isin(list(file_ids)))
        counted = only_kept(rows, kept=KeptFiles(files)).groupBy(n.FILE_ID, F.lit(name).alias("name"))
        some = counted.agg(F.count(F.lit(1)).alias("rows"), F.count_distinct(F.struct(*KEYS[name])).alias("different"))
        found = some if found is None else found.unionByName(some)
    return found.collect() if found is not None else []


def _faults(tables: Tables, ledger: Ledger, file_ids: Sequence[str] | None) -> tuple[dict[str, str], dict[str, str]]:
    """Files with doubled rows and files that lack rows, each with what was found."""
    doubled: dict[str, list[str]] = {}
    parts: dict[str, int] = {}
    for row in _counts(tables, file_ids):
        if row["rows"] > row["different"]:
            doubled.setdefault(row[n.FILE_ID], []).append(f"{row['rows']} rows in {row['name']} for {row['different']}")
        if row["name"] == n.DIE_TESTS:
            parts[row[n.FILE_ID]] = row["different"]
    looked = ledger.files if file_ids is None else {f: ledger.files[f] for f in file_ids}
    lacking = {
        f: f"{parts.get(f, 0)} of its {file.parts} parts are in {n.DIE_TESTS}"
        for f, file in looked.items()
        if file.kept and parts.get(f, 0) < file.parts
    }
    return {f: ", ".join(what) for f, what in doubled.items() if f in looked}, lacking


def miscounted(tables: Tables, ledger: Ledger, paths: Iterable[str]) -> dict[str, str]:
    """The stored files at these paths whose rows are not there once: file_id -> what was found."""
    wanted = set(paths)
    file_ids = [f for f, file in ledger.files.items() if file.kept and file.path in wanted]
    if not file_ids:
        return {}
    doubled, lacking = _faults(tables, ledger, file_ids)
    return lacking | doubled


def repair(tables: Tables, *, dry_run: bool = False) -> RepairReport:
    """Keeps each row of each file once, without the delivered files, and removes rows that do not count.

    Rows of a job that may be running are left: of a batch that began within the last day, unless another batch of
    its file has come to count since.
    """
    if not tables.exists(n.FILES):
        return RepairReport({}, {}, 0, dry_run)
    if not dry_run:
        for name in (*ROWS, n.FILES, n.BATCHES):
            tables.create(name, LAYOUTS[name])
    for attempt in range(SWAPS):
        ledger = Ledger.read(tables)
        doubled, lacking = _faults(tables, ledger, None)
        if dry_run or not doubled or _once(tables, ledger, sorted(doubled)):
            break
        pause(attempt)
    else:
        raise given_up()
    left = _uncounted(tables)
    if not dry_run:
        swept = set(sweep(tables))
        remaining = [pair for pair in left if pair not in swept]
        if remaining:
            remove(tables, remaining)
        left = sorted(swept.union(remaining))

    def named(found: dict[str, str]) -> dict[str, str]:
        return {ledger.files[f].path: what for f, what in sorted(found.items())}

    return RepairReport(named(doubled), named(lacking), len(left), dry_run)


def _once(tables: Tables, ledger: Ledger, file_ids: Sequence[str]) -> bool:
    """Writes the different rows of these files anew, as a batch of their own; False where another job was first."""
    batch = ledger.new_batch()
    begin(tables, ledger, batch, file_ids)
    files = tables.read(n.FILES, ledger.version)
    for name in ROWS:
        rows = only_kept(tables.read(name).where(F.col(n.FILE_ID).isin(list(file_ids))), kept=KeptFiles(files))
        # of rows that differ all the same, the smallest: of deliveries the first
        order = Window.partitionBy(n.FILE_ID, *KEYS[name]).orderBy(*rows.columns)
        first = rows.withColumn("__number", F.row_number().over(order)).where("__number = 1").drop("__number")
        tables.append(name, first.withColumn(n.BATCH_ID, F.lit(batch)))
    named = files.where(F.col(n.FILE_ID).isin(list(file_ids))).withColumn(n.BATCH_ID, F.lit(batch))
    written = tables.swap(n.FILES, named.coalesce(1), based_on=ledger.version, replacing=is_one_of(n.FILE_ID, file_ids))
    if written is None:
        sweep(tables, [(batch, f) for f in file_ids])
    return written is not None


def _uncounted(tables: Tables) -> list[Pair]:
    """Writes of files whose rows lie in the tables and can never count."""
    files = tables.read(n.FILES)
    found: DataFrame | None = None
    for name in ROWS:
        if tables.exists(name):
            rows = tables.read(name)
            pairs = rows.select(batch_of(rows).alias("batch"), n.FILE_ID).distinct()
            found = pairs if found is None else found.unionByName(pairs)
    if found is None:
        return []
    counted = files.select(n.FILE_ID, batch_of(files).alias("counted"))
    hidden = found.distinct().join(counted, n.FILE_ID, "left").where("NOT batch <=> counted")
    running: set[str] = set()
    if tables.exists(n.BATCHES):
        lately = tables.read(n.BATCHES).where(F.col("at") > datetime.now(UTC) - timedelta(days=1))
        running = {row[0] for row in lately.select(n.BATCH_ID).distinct().collect()}
    pairs_found = []
    for row in hidden.collect():
        overtaken = row["counted"] is not None and base_of(row["batch"]) <= base_of(row["counted"])
        if overtaken or row["batch"] not in running:
            pairs_found.append((row["batch"], row[n.FILE_ID]))
    return sorted(pairs_found)
