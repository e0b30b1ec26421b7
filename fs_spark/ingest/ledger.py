"""Which files are known, and which write of a file's rows counts: the table `files` as a ledger.

A batch of files has a name, `batch_id`, which each of its rows bears. Its rows are added to the tables by plain
appends, which never disturb another job's; last, `files` names the batch that counts for each file, by compare and
swap from the version that the decisions were made from. Readers see the rows of the batches that `files` names. So of
two jobs that read one file at once both write and one counts, and rows of a job that died are never seen.

`batches` logs each batch before its first row is written, so that rows that do not count can be found and removed
without reading the tables: those of a batch that began before the batch that counts was committed.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from fs_spark import names as n
from fs_spark.ingest.decide import StoredFile
from fs_spark.schemas import BATCHES
from fs_spark.tables import Tables, is_one_of

log = logging.getLogger(__name__)

ROWS: Final = (n.WAFER_RUNS, n.DIE_TESTS, n.TESTS, n.TEST_RESULTS)
"""The tables whose rows bear a batch."""
Pair = tuple[str, str]
"""A batch and a file: the rows of one write of a file."""
Holder = tuple[str, int]
"""The file that holds a run, and its decompressed length."""


@dataclass(frozen=True)
class Ledger:
    """`files` at one of its versions, by file_id."""

    version: int
    files: Mapping[str, StoredFile]

    @classmethod
    def read(cls, tables: Tables) -> Ledger:
        if not tables.exists(n.FILES):
            return cls(-1, {})
        version = tables.version(n.FILES)
        wanted = [
            n.FILE_ID, "path", "status", "reason", "settings", "decompressed_bytes", "run_keys", "parts", n.LOT_ID,
            "dropped",
        ]  # fmt: skip
        batch = {} if n.BATCH_ID in tables.columns(n.FILES, version) else {n.BATCH_ID: None}
        rows = tables.rows(n.FILES, wanted if batch else [*wanted, n.BATCH_ID], version=version).to_pylist()
        return cls(version, {row[n.FILE_ID]: StoredFile.of(row | batch) for row in rows})

    @cached_property
    def runs(self) -> dict[str, Holder]:
        """Key of a run -> the file that holds it, and that file's decompressed length."""
        return {
            key: (file.file_id, file.decompressed_bytes)
            for file in self.files.values()
            if file.kept
            for key in file.run_keys
        }

    def after(self, version: int, rows: Sequence[Mapping[str, object]], superseded: Iterable[str]) -> Ledger:
        """As it stands after these rows of `files` were written."""
        changed = {file.file_id: file for file in map(StoredFile.of, rows)}
        gone = {old for old in superseded if old in self.files and old not in changed}
        changed |= {old: replace(self.files[old], status=n.SUPERSEDED) for old in gone}
        return Ledger(version, {**self.files, **changed})

    def new_batch(self) -> str:
        """A name that no other batch has; it begins with the version of `files` that the batch is based on."""
        return f"{self.version:012d}-{uuid.uuid4().hex[:16]}"


def _log(tables: Tables, state: str, pairs: Iterable[Pair]) -> None:
    now = datetime.now(UTC)
    by_batch: dict[str, list[str]] = {}
    for batch, file_id in sorted(pairs):
        by_batch.setdefault(batch, []).append(file_id)
    rows = [(batch, state, now, ids) for batch, ids in by_batch.items()]
    tables.append(n.BATCHES, tables.spark.createDataFrame(rows, BATCHES.schema).coalesce(1))


def begin(tables: Tables, ledger: Ledger, batch: str, file_ids: Sequence[str]) -> None:
    """Says that rows of these files are about to be written, before the first of them is."""
    unnamed = {("", f) for f in file_ids if f in ledger.files and ledger.files[f].batch_id is None}
    _log(tables, "begun", {(batch, f) for f in file_ids} | unnamed)


def sweep(tables: Tables, lost: Iterable[Pair] = ()) -> list[Pair]:
    """Removes rows that can never count any more, and says whose.

    `lost` are writes of this job that another job overtook. Beyond these: rows of a batch that is not the one that
    counts for its file and began before that one was committed, so that its job must write them anew before it may
    commit. A batch that began later may be of a job that is running, and is left alone.
    """
    pairs = set(lost) | set(_overtaken(tables))
    if not pairs:
        return []
    remove(tables, pairs)
    _log(tables, "swept", pairs)
    log.info("removed rows of %d earlier writes of files that do not count any more", len(pairs))
    return sorted(pairs)


def remove(tables: Tables, pairs: Iterable[Pair]) -> None:
    """Deletes the rows of these writes from all tables."""
    by_batch: dict[str, list[str]] = {}
    for batch, file_id in sorted(pairs):
        by_batch.setdefault(batch, []).append(file_id)
    conditions = [
        f"({is_one_of(n.BATCH_ID, [batch]) if batch else f'{n.BATCH_ID} IS NULL'} AND {is_one_of(n.FILE_ID, ids)})"
        for batch, ids in by_batch.items()
    ]
    for name in ROWS:
        if tables.exists(name):
            tables.delete(name, " OR ".join(conditions))


def _overtaken(tables: Tables) -> list[Pair]:
    if not tables.exists(n.BATCHES):
        return []
    if n.BATCH_ID not in tables.columns(n.FILES):
        return []
    logged = tables.rows(n.BATCHES, [n.BATCH_ID, "state", "file_ids"]).to_pylist()
    begun, swept = (
        {(row[n.BATCH_ID], file_id) for row in logged if row["state"] == state for file_id in row["file_ids"]}
        for state in ("begun", "swept")
    )
    files = tables.rows(n.FILES, [n.FILE_ID, n.BATCH_ID]).to_pylist()
    counted = {row[n.FILE_ID]: row[n.BATCH_ID] for row in files if row[n.BATCH_ID] is not None}
    return [
        (batch, file_id)
        for batch, file_id in begun - swept
        if file_id in counted and batch != counted[file_id] and base_of(batch) <= base_of(counted[file_id])
    ]


def base_of(batch: str) -> int:
    """The version of `files` that a batch is based on; -1 for rows from before there were batches."""
    number = batch.split("-")[0]
    return int(number) if number.isdigit() else -1
