"""Times of wafer runs from the report of a lot that lies beside its map files."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from datetime import datetime

from fs_spark.errors import StdfError
from fs_spark.inputs.naming import wall_clock
from fs_spark.inputs.rules import LotReport

Beside = Callable[[str], bytes]
"""Reads a file by its name relative to the input's own folder; raises StdfError where it cannot."""


def decoded(data: bytes, encoding: str, what: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as fault:
        raise StdfError(
            f"{what} is not {encoding} (byte {fault.start}). Hint: name its `encoding` in inputs.yaml, such as gb18030"
        ) from fault


def _cell(row: dict[str, str], column: str | None) -> str:
    return row.get(column, "") if column else ""


def report_times(
    rules: LotReport, *, file_name: str, wafer_id: str | None, beside: Beside | None
) -> tuple[datetime | None, datetime | None]:
    """Start and finish of a wafer's run on the wall clock; None where the report leaves them blank.

    Raises     StdfError where the report is not there, lacks a column, or holds the wafer twice
    """
    found = re.search(rules.pattern, file_name)
    if found is None:
        return None, None
    name = found.expand(rules.file)
    if beside is None:
        raise StdfError(f"the lot's report {name} cannot be reached. Hint: read the map file from its folder")
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(decoded(beside(name), rules.encoding, name).splitlines())
    ]
    wanted = [column for column in (rules.wafer_id, rules.start, rules.finish) if column]
    head = next((k for k, row in enumerate(rows) if rules.wafer_id in row), None)
    lacking = [column for column in wanted if head is None or column not in rows[head]]
    if head is None or lacking:
        raise StdfError(f"the lot's report {name} lacks {', '.join(lacking)}. Hint: name its columns in inputs.yaml")
    named = [dict(zip(rows[head], row, strict=False)) for row in rows[head + 1 :]]
    mine = [row for row in named if row.get(rules.wafer_id) == wafer_id]
    if len(mine) > 1:
        raise StdfError(f"the lot's report {name} holds wafer {wafer_id} {len(mine)} times. Hint: keep one row")
    if not mine:
        return None, None
    start, finish = (_cell(mine[0], column) for column in (rules.start, rules.finish))
    return (
        wall_clock(start, rules.format) if start else None,
        wall_clock(finish, rules.format) if finish else None,
    )
