"""An ingest: what was delivered, in batches, with progress; the report of what became of each file."""

from __future__ import annotations

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fs_spark import names as n
from fs_spark.config import Configuration
from fs_spark.errors import RequestError
from fs_spark.ingest.batch import ingest_batch
from fs_spark.ingest.decide import Decision
from fs_spark.ingest.health import miscounted
from fs_spark.ingest.ledger import Ledger, sweep
from fs_spark.ingest.staging import FileTask
from fs_spark.inputs import find_entry
from fs_spark.schemas import LAYOUTS
from fs_spark.stdf.sources import find_files
from fs_spark.tables import Tables

log = logging.getLogger(__name__)

_TABLES_AT_ONCE: Final = 3
TABLES: Final = (n.FILES, n.WAFER_RUNS, n.DIE_TESTS, n.TESTS, n.TEST_RESULTS, n.BATCHES)
_FEWEST_TASKS: Final = 8
_TASK_BYTES: Final = 16 << 20
"""A Spark task costs a tenth of a second whatever it reads: small files share one."""
_BATCH_BYTES: Final = 4 << 30
"""Estimated decompressed bytes of a batch: what a job that dies has to read again, and what is staged on disk."""
_PACKED_RATIO: Final = 10  # STDF files pack to a tenth


@dataclass(frozen=True)
class FileOutcome:
    """What became of one delivered file; `duplicate` is one whose bytes are known already."""

    path: str
    status: str
    reason: str | None
    file_id: str
    parts: int
    warnings: tuple[str, ...] = ()
    """What was noticed in the file, for a person."""


@dataclass(frozen=True)
class IngestReport:
    """`seconds` and the sizes are of all files together."""

    files: tuple[FileOutcome, ...]
    dry_run: bool = False
    seconds: float = 0.0
    decompressed_bytes: int = 0

    def __repr__(self) -> str:
        counts = Counter(file.status for file in self.files)
        told = ", ".join(f"{count} {status}" for status, count in counts.most_common()) or "none"
        parts = sum(file.parts for file in self.files if file.status != n.DUPLICATE)
        dry = ", dry run: nothing was written" if self.dry_run else ""
        return f"IngestReport(files: {told}; {parts} parts in {self.seconds:.1f} s{dry})"

    @property
    def set_aside(self) -> tuple[FileOutcome, ...]:
        return tuple(f for f in self.files if f.status not in (n.INGESTED, n.DUPLICATE))

    @property
    def exit_code(self) -> int:
        """0 all good, 3 some set aside or cut, 2 nothing was readable."""
        if not self.set_aside:
            return 0
        readable = any(f.status in (n.INGESTED, n.DUPLICATE, n.TRUNCATED, n.SUPERSEDED) for f in self.files)
        return 3 if readable else 2

    def to_dict(self) -> dict[str, Any]:
        return {
            "files": [vars(f) for f in self.files],
            "set_aside": len(self.set_aside),
            "dry_run": self.dry_run,
            "seconds": round(self.seconds, 3),
            "decompressed_bytes": self.decompressed_bytes,
        }


def _weight(path: str) -> int:
    """Estimated decompressed size; a middling one where it is not known."""
    try:
        size = os.path.getsize(path)
    except OSError:
        return 64 << 20
    return size if path.lower().endswith((".stdf", ".std")) else size * _PACKED_RATIO


def batches_of(paths: Sequence[str]) -> Iterator[tuple[list[str], int]]:
    """The files in their order, cut into batches; with the estimated size of each batch."""
    batch: list[str] = []
    size = 0
    for path in paths:
        weight = _weight(path)
        if batch and size + weight > _BATCH_BYTES:
            yield batch, size
            batch, size = [], 0
        batch.append(path)
        size += weight
    if batch:
        yield batch, size


def ingest(
    tables: Tables,
    config: Configuration,
    sources: Sequence[str | Path],
    *,
    again: bool = False,
    dry_run: bool = False,
) -> IngestReport:
    """Reads files and writes their rows; see `FeatureStore.ingest`."""
    ledger = Ledger.read(tables) if again else None
    if ledger is not None and not sources:
        sources = _delivered(ledger)
    paths = find_files(
        sources, others=lambda path: find_entry(path, config.inputs) is not None, follow_links=config.store.follow_links
    )
    anew = miscounted(tables, ledger, paths) if ledger is not None else {}
    if not dry_run:
        there = [name for name in TABLES if tables.exists(name)]
        for name in there:  # one of another schema is refused before any is made
            tables.create(name, LAYOUTS[name])
        with ThreadPoolExecutor(_TABLES_AT_ONCE) as pool:  # each takes Delta a second, most of it waiting
            list(pool.map(lambda name: tables.create(name, LAYOUTS[name]), [t for t in TABLES if t not in there]))
    if ledger is None or ledger.version < 0:
        ledger = Ledger.read(tables)
    log.info("reading %d files, %d are known", len(paths), len(ledger.files))
    work = list(batches_of(paths))
    expected = sum(size for _, size in work) or 1
    started, done_files, done_size, done_bytes = time.monotonic(), 0, 0, 0
    outcomes: list[FileOutcome] = []
    for some, size in work:
        task = FileTask(
            paths=tuple(some),
            testers=config.testers,
            products=config.products,
            availability=config.store.availability,
            margin_us=round(config.store.availability_margin.total_seconds() * 1e6),
            delivered_us=round(datetime.now(UTC).timestamp() * 1e6),
            inputs=config.inputs,
            known={f: file.settings if file.kept else None for f, file in ledger.files.items() if f not in anew},
            stored_runs=ledger.runs,
            limits=config.store.decompression.limits,
            follow_links=config.store.follow_links,
            again=again,
        )
        tasks = max(_FEWEST_TASKS, -(-size // _TASK_BYTES))
        decisions, ledger = ingest_batch(tables, task, ledger, tasks=tasks, anew=anew, dry_run=dry_run)
        outcomes += [_outcome(decision, anew) for decision in decisions]
        done_files, done_size = done_files + len(some), done_size + size
        done_bytes += sum(d.file["decompressed_bytes"] or 0 for d in decisions)
        spent = time.monotonic() - started
        left = spent * (expected - done_size) / done_size if done_size else 0.0
        log.info(
            "%d of %d files, %.0f MB, %.1f MB/s, %.0f s left",
            done_files, len(paths), done_bytes / 1e6, done_bytes / 1e6 / max(spent, 1e-9), left,
        )  # fmt: skip
    if not dry_run:
        sweep(tables)
    return IngestReport(tuple(outcomes), dry_run, time.monotonic() - started, done_bytes)


def _delivered(ledger: Ledger) -> list[str]:
    """The paths of all delivered files that are still there."""
    delivered = sorted({file.path for file in ledger.files.values() if file.status != n.SUPERSEDED})
    gone = {path for path in delivered if "://" not in path and not os.path.exists(path)}
    for path in sorted(gone):
        log.warning("%s is not there any more and stays as it is", path)
    sources = [path for path in delivered if path not in gone]
    if not sources:
        raise RequestError("no delivered file is where it was. Hint: name files, globs or folders")
    return sources


def _outcome(decision: Decision, anew: Mapping[str, str]) -> FileOutcome:
    file = decision.file
    reason = decision.reason
    if decision.status in n.KEPT and file[n.FILE_ID] in anew:
        reason = f"written anew: {anew[file[n.FILE_ID]]}" + (f"; {reason}" if reason else "")
    warnings = tuple(json.loads(file["warnings"] or "[]"))
    return FileOutcome(file["path"], decision.status, reason, file[n.FILE_ID], file["parts"] or 0, warnings)
