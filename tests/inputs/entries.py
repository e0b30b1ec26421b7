"""Entries of inputs.yaml, small map files made by hand, and what becomes of them in a form to compare."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from fs_spark.inputs import InputFile, files_beside, read_input
from fs_spark.inputs.rules import InputEntry, InputsFile

LOT_REPORT = {"pattern": r"^(.+)_\d+(\.WaferMap|_mapEx\.txt)$", "file": r"\1_report_gb18030.csv", "encoding": "gb18030"}
REAL = {"zone": "Asia/Shanghai", "report": LOT_REPORT}
REAL_ORIGIN = (-17, -18)
NOON = {"zone": "UTC", "finish": "2025-01-01 12:00:00"}


def entry(kind: str, **options: Any) -> Any:
    found: InputEntry = InputsFile.model_validate({"inputs": [{"match": "*", "kind": kind, **options}]}).inputs[0]
    return found


def read_file(path: Path, of: Any) -> InputFile:
    return read_input(str(path), path.read_bytes(), of, beside=files_beside(path))


def list_of(*dies: tuple[int, int, int], end: str = "## END ##", **header: str) -> str:
    """A `.WaferMap`."""
    lines = [f"{label.replace('_', ' ')}:{value}" for label, value in header.items()]
    return "\n".join([*lines, "", "[MAP]:", *(f"{x} {y} {b} " for x, y, b in dies), "Total Prober Test Dies: 9", end])


def picture_of(*rows: str, **header: str) -> str:
    """A text map."""
    lines = [f"{label.replace('_', ' '):18s}: {value}" for label, value in header.items()]
    return "\n".join([*lines, "", *rows])


def read_text(text: str, of: Any, name: str = "map", **options: Any) -> InputFile:
    return read_input(name, text.encode(), of, **options)


def places(found: InputFile) -> list[tuple[int, int]]:
    return list(zip(found.parts["die_x"].to_pylist(), found.parts["die_y"].to_pylist(), strict=True))


def bins(found: InputFile) -> dict[tuple[int, int], int]:
    return dict(zip(places(found), found.parts["hard_bin"].to_pylist(), strict=True))


def passed(found: InputFile) -> int:
    return sum(found.parts["passed"].to_pylist())


def run_of(found: InputFile) -> dict[str, Any]:
    (run,) = found.runs.to_pylist()
    return dict(run)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text + "+00:00")
