"""What becomes of each file of a delivery, given what is stored: pure, on plain rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fs_spark import names as n

UNANCHORED: Final = "unanchored_picture"
"""In `files.dropped`: columns and rows of a text map that nothing places on the wafer but its own corner."""


def _unanchored(row: Any) -> tuple[int, int] | None:
    size = json.loads(row["dropped"] or "{}").get(UNANCHORED)
    return (size[0], size[1]) if size else None


@dataclass(frozen=True)
class StoredFile:
    """A file that is in `files`.

    `settings` names the configuration that its rows were made with, `batch_id` the write of its rows that counts.
    """

    file_id: str
    path: str
    status: str
    reason: str | None
    settings: str | None
    decompressed_bytes: int
    run_keys: tuple[str, ...]
    batch_id: str | None = None
    parts: int = 0
    lot_id: str | None = None
    unanchored_picture: tuple[int, int] | None = None

    @classmethod
    def of(cls, row: Any) -> StoredFile:
        """From a row of `files`, or one that would become it."""
        return cls(
            row[n.FILE_ID],
            row["path"],
            row["status"],
            row["reason"],
            row["settings"],
            row["decompressed_bytes"] or 0,
            tuple(json.loads(row["run_keys"] or "[]")),
            row[n.BATCH_ID],
            row["parts"] or 0,
            row[n.LOT_ID],
            _unanchored(row),
        )

    @property
    def kept(self) -> bool:
        return self.status in n.KEPT


@dataclass(frozen=True)
class Decision:
    """`row` is the file's staged row; `unchanged` is one whose row in `files` would be the same again."""

    row: Any
    status: str
    reason: str | None
    unchanged: bool = False

    @property
    def file(self) -> Any:
        return self.row["file"]


def _why_duplicate(known: StoredFile | None) -> str:
    if known is None or known.kept or known.status == n.SUPERSEDED:
        return "these bytes were ingested before"
    return f"these bytes were set aside before as {known.status}: {known.reason}. Hint: --again reads them anew"


def _misplaced(read: Sequence[Any], stored: Mapping[str, StoredFile]) -> dict[str, str]:
    """Why maps of one lot cannot be placed, by file: pictures of several sizes, of which none says where it lies.

    Files that are stored stay as they are, and another size is refused; of a delivery with several sizes all are.
    """
    sizes: dict[Any, set[tuple[int, int]]] = {}
    fresh: dict[Any, dict[str, tuple[int, int]]] = {}
    for row in read:
        file = row["file"]
        if file["status"] in n.KEPT and (size := _unanchored(file)):
            fresh.setdefault((file[n.LOT_ID], file["settings"]), {})[file[n.FILE_ID]] = size
    for old in stored.values():
        key = old.lot_id, old.settings
        if old.kept and old.unanchored_picture and old.file_id not in fresh.get(key, {}):
            sizes.setdefault(key, set()).add(old.unanchored_picture)
    found = {}
    for (lot, settings), files in fresh.items():
        there = sizes.get((lot, settings), set())
        every = sorted(there | set(files.values()))
        for file_id, size in files.items():
            if len(every) > 1 and size not in there:
                others = ", ".join(f"{columns} x {rows}" for columns, rows in every if (columns, rows) != size)
                found[file_id] = (
                    f"its picture has {size[0]} columns and {size[1]} rows, others of lot {lot} have {others}: where "
                    "the dies lie on the wafer cannot be told. Hint: deliver maps with all their margins, or give "
                    "`columns` and `rows` of the product's map in inputs.yaml"
                )
    return found


def decide(
    read: Sequence[Any],
    stored: Mapping[str, StoredFile],
    *,
    again: bool = False,
    anew: Collection[str] = (),
) -> tuple[list[Decision], dict[str, str]]:
    """Status and reason of each file read, in the order of delivery, and which files are superseded (by which).

    A known run with other content supersedes a stored file that was cut or that it extends; else it is set aside.
    A file that has been stored since it was read is a duplicate, unless (`again`) its settings are others now, or its
    rows are to be written `anew` in any case.
    """

    def stands(file: Any) -> bool:
        """Whether the stored rows of the file are the ones that it would give."""
        known = stored.get(file[n.FILE_ID])
        if known is None or not known.kept or file["status"] not in n.KEPT or file[n.FILE_ID] in anew:
            return False
        return not again or known.settings == file["settings"]

    duplicates = {r["file"][n.FILE_ID] for r in read if r["file"]["status"] == n.DUPLICATE or stands(r["file"])}
    fresh = {row["file"][n.FILE_ID] for row in read} - duplicates
    holder = {key: s for s in stored.values() if s.kept and s.file_id not in fresh for key in s.run_keys}
    superseded: dict[str, str] = {}
    seen: set[str] = set()
    decisions: list[Decision] = []
    misplaced = _misplaced(read, stored)
    # of files that tell of the same run in one delivery, a whole one goes before a cut one
    for row in sorted(read, key=lambda r: (r["file"]["status"] != n.INGESTED, r["source"])):
        file = row["file"]
        file_id, status, reason = file[n.FILE_ID], file["status"], file["reason"]
        if file_id in misplaced:
            status, reason = n.UNREADABLE, misplaced[file_id]
        if status == n.DUPLICATE or file_id in duplicates or file_id in seen:
            decisions.append(Decision(row, n.DUPLICATE, _why_duplicate(stored.get(file_id))))
            continue
        seen.add(file_id)
        known = stored.get(file_id)
        if known is not None and known.status == n.SUPERSEDED:
            decisions.append(Decision(row, n.DUPLICATE, "a later delivery holds the whole run"))
            continue
        keys = json.loads(file["run_keys"] or "[]") if status in n.KEPT else []
        replaced = set()
        for key in keys:
            before = holder.get(key)
            if before is None or before.file_id == file_id:
                continue
            if before.file_id in row["extends"] or (before.status == n.TRUNCATED and status == n.INGESTED):
                replaced.add(before.file_id)
            else:
                status = n.CONFLICTING_RUN
                reason = f"tells of a run that file {before.path} holds with other content"
                break
        if status in n.KEPT:
            superseded |= dict.fromkeys(replaced, file_id)
            now = StoredFile.of({**file.asDict(), "status": status, n.BATCH_ID: None})
            holder |= dict.fromkeys(keys, now)
        same = known is not None and (known.status, known.reason) == (status, reason) and status not in n.KEPT
        decisions.append(Decision(row, status, reason, unchanged=same))
    return sorted(decisions, key=lambda decision: decision.row["source"]), superseded
