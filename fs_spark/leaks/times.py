"""Rows that were made or known after the time of their label, by the columns that say when that was."""

from __future__ import annotations

from collections.abc import Sequence

from fs_spark.leaks.report import Findings, Leak, Ran
from fs_spark.leaks.rows import TrainingRows, micros_of, require
from fs_spark.leaks.rules import ViewTimes


def check_times(given: TrainingRows, timestamp: str, views: Sequence[ViewTimes], findings: Findings) -> None:
    """Looks at every row of the set, not at a sample.

    Raises     SchemaError where a column is not there or is no time with a zone
    """
    for view in views:
        require(given, {**dict.fromkeys(view.columns, "the time column"), **dict.fromkeys(view.keys, "the key")})
        for column in view.columns:
            given.require_time(column)
            found = given.late(
                [column],
                timestamp,
                micros_of(view.offset),
                strict=view.boundary == "strictly_before",
                show=list(dict.fromkeys([*view.keys, timestamp, column])),
            )
            findings.ran.append(Ran(f"times in {column}", view.name, found.asked))
            if found.late:
                what = f"is not {view.boundary.replace('_', ' ')} {timestamp}"
                if view.offset:
                    what += f" less {view.offset}"
                findings.add(Leak("times", view.name, column, found.first, what, found.late))
