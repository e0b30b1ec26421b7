"""Writers that meet: which of Delta's faults pass by themselves, how long to wait, and what a dead one leaves."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Final

ATTEMPTS: Final = 6
SWAPS: Final = 20
"""How often a decision is made anew because another job wrote first, before it is given up."""
CREATED_BY_OTHERS: Final = ("ALREADY_EXISTS", "TABLE_ID_MISMATCH", "FileAlreadyExists")
NOT_YET_A_TABLE: Final = "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION"
_CONFLICTS: Final = (
    "DELTA_CONCURRENT",
    "ConcurrentAppendException",
    "ConcurrentDeleteReadException",
    "MetadataChanged",
    "METADATA_CHANGED",
    "ProtocolChanged",
    "PROTOCOL_CHANGED",
)
_FIRST_WON: Final = ("DELTA_CONCURRENT_TRANSACTION", "ConcurrentTransactionException")
_DEAD_AFTER_SECONDS: Final = 60


def is_conflict(fault: Exception) -> bool:
    """By its text: Delta's conflicts reach Python as a PySparkException, a Py4JJavaError or Connect's own."""
    return any(mark in str(fault) for mark in _CONFLICTS)


def another_was_first(fault: Exception) -> bool:
    """Whether a compare and swap was lost: to be decided again, not to be tried again."""
    return any(mark in str(fault) for mark in _FIRST_WON)


def pause(attempt: int) -> None:
    """Before another try: longer each time, at most some seconds, and not in step with the others."""
    time.sleep(min(0.2 * 2**attempt, 3.0) * random.uniform(0.5, 1.0))


def clear_unfinished_log(table: str) -> None:
    """Removes what a process left that died before a table's first commit: an empty log, empty folders, hidden files.

    Delta takes such a folder for no table, and makes none in it. A writer that is still alive makes the folder again
    with its file. Object stores have no empty folders; there, and on HDFS, nothing is done.
    """
    log = Path(table.removeprefix("file:")) / "_delta_log"
    try:
        for left in log.iterdir():
            if left.is_dir():
                left.rmdir()
            elif left.name.startswith(".") and time.time() - left.stat().st_mtime > _DEAD_AFTER_SECONDS:
                left.unlink()
        log.rmdir()  # fails where anything else is in it
    except OSError:
        return
