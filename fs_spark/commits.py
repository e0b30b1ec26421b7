"""Lines of a table's history, as Delta logs them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyspark.sql import Row

_KEEPS_FILES: Final = frozenset(
    {
        "CREATE TABLE",
        "CREATE TABLE AS SELECT",
        "SET TBLPROPERTIES",
        "UNSET TBLPROPERTIES",
        "ADD COLUMNS",
        "CHANGE COLUMN",
        "ADD CONSTRAINT",
        "DROP CONSTRAINT",
        "CLUSTER BY",
        "UPGRADE PROTOCOL",
        "ADD FEATURE",
        "VACUUM START",
        "VACUUM END",
    }
)
"""Operations that take no file out of a table; one that is not named here may."""


@dataclass(frozen=True)
class Commit:
    """One line of a table's history."""

    version: int
    operation: str
    metadata: dict[str, Any]
    restored_from: int | None
    timestamp: datetime | None = None
    parameters: dict[str, str | None] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int | None:
        """Rows that it added, less those that it removed as far as Delta counted them; None where it counted none."""
        removed = self.metrics.get("numDeletedRows", self.metrics.get("numRemovedRows", "0"))
        added = self.metrics.get("numOutputRows", self.metrics.get("numInsertedRows"))
        if self.operation == "DELETE":
            return -int(removed)
        return int(added) - int(removed) if added is not None else None

    @property
    def made_from(self) -> str:
        """What made the version, for people: a view and the versions that it was computed from, a training set."""
        told = self.metadata.get("fs_spark")
        if not isinstance(told, dict):
            return ""
        if "training_set" in told:
            return f"training set {told['training_set'].get('name')}"
        sources = ", ".join(f"{name} {version}" for name, version in sorted(told.get("sources", {}).items()))
        return f"{told.get('view', '')} from {sources}" if sources else ""

    @property
    def is_restore(self) -> bool:
        return self.operation == "RESTORE"

    @property
    def may_remove(self) -> bool:
        """Whether it may have taken files, or a file's earlier deletion vector, out of the table."""
        if self.operation in ("WRITE", "STREAMING UPDATE"):
            return self.parameters.get("mode", self.parameters.get("outputMode")) != "Append"
        return self.operation not in _KEEPS_FILES

    @classmethod
    def of(cls, row: Row) -> Commit:
        """From a row of DESCRIBE HISTORY with `micros`, its time in microseconds."""
        return cls._of(row.asDict(), row["micros"])

    @classmethod
    def logged(cls, told: Mapping[str, Any]) -> Commit:
        """From a commit's own line in the log (`commitInfo`), with its `version`."""
        return cls._of(told, 1000 * told.get("inCommitTimestamp", told["timestamp"]))

    @classmethod
    def _of(cls, told: Mapping[str, Any], micros: int) -> Commit:
        parameters = told.get("operationParameters") or {}
        restored = parameters.get("version") if told["operation"] == "RESTORE" else None
        try:
            metadata = json.loads(told.get("userMetadata") or "{}")
        except json.JSONDecodeError:
            metadata = {}
        return cls(
            version=int(told["version"]),
            operation=told["operation"],
            metadata=metadata if isinstance(metadata, dict) else {},
            restored_from=int(restored) if restored is not None and str(restored).isdigit() else None,
            timestamp=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros),
            parameters={key: value if value is None else str(value) for key, value in parameters.items()},
            metrics={key: str(value) for key, value in (told.get("operationMetrics") or {}).items()},
        )


_DAYS: Final = {"hour": 1 / 24, "day": 1.0, "week": 7.0}


def interval_days(interval: str) -> int:
    """Delta's interval text in whole days, rounded up; 0 for one that is none."""
    found = re.fullmatch(r"interval (\d+) (hour|day|week)s?", interval)
    return math.ceil(int(found[1]) * _DAYS[found[2]]) if found else 0
