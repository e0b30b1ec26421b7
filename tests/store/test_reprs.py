"""What a notebook shows of a report: one line for a person."""

from __future__ import annotations

from typing import Any, cast

from fs_spark.ingest import IngestReport
from fs_spark.ingest.health import RepairReport
from fs_spark.ingest.run import FileOutcome
from fs_spark.leaks.report import LeakReport
from fs_spark.online.export import ExportReport
from fs_spark.outcomes import MaterializeReport, ViewOutcome
from fs_spark.retention import TableVacuum, VacuumReport
from fs_spark.training import TrainingSet


def test_reports_are_shown_in_a_line() -> None:
    files = (
        FileOutcome("a.stdf", "ingested", None, "f1", 10),
        FileOutcome("b.stdf", "ingested", None, "f2", 5),
        FileOutcome("a2.stdf", "duplicate", None, "f1", 10),
        FileOutcome("c.stdf", "unreadable", "no FAR", "f3", 0),
    )
    shown = "IngestReport(files: 2 ingested, 1 duplicate, 1 unreadable; 15 parts in 2.1 s"
    assert repr(IngestReport(files, False, 2.06)) == f"{shown})"
    assert repr(IngestReport(files, True, 2.06)) == f"{shown}, dry run: nothing was written)"
    assert repr(IngestReport(())) == "IngestReport(files: none; 0 parts in 0.0 s)"
    views = (ViewOutcome("die_geometry__v1.0", "t", 1, 4, 0, 1), ViewOutcome("lot__v1.0", "t", 1, 1, 2, 1, "lot"))
    assert repr(MaterializeReport(views, {"p": 3})) == (
        "MaterializeReport(die_geometry__v1.0: 4 wafers written, 0 removed; lot__v1.0: 1 lots written, 2 removed; "
        "3 dies of p off its map)"
    )
    full = ExportReport("s", "sqlite:///x", {"v": 9}, {"v": 2}, False, "full", 3)
    assert repr(full) == "ExportReport(s: full, generation 3, v 9 rows at version 2)"
    assert repr(ExportReport("s", "sqlite:///x", {}, {}, True)) == "ExportReport(s is published as it is)"
    assert repr(RepairReport({}, {}, 0, False)) == "RepairReport(every row of every file is there once)"
    assert repr(VacuumReport((TableVacuum("t", 3),), 7, None, False)) == "VacuumReport(t: 3 files removed)"
    assert repr(LeakReport((), (), ())) == "LeakReport(no leak found; 0 checks ran, 0 did not)"


def test_a_training_set_is_shown_without_its_manifest() -> None:
    manifest: dict[str, Any] = {
        "views": [{"view": "v", "version": "1.0", "columns": [["a", "a"], ["b", "b"]]}],
        "content": {"rows": 7, "digest": "0123456789abcdef"},
    }
    shown = repr(TrainingSet("m", cast(Any, None), manifest))
    assert shown == "TrainingSet('m': 7 rows, 2 features of 1 views, digest 0123456789ab)"
