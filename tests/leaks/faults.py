"""Faults of a report, by kind."""

from __future__ import annotations

from fs_spark.leaks import Leak, LeakReport


def faults_of(report: LeakReport, kind: str) -> list[Leak]:
    return [fault for fault in report.faults if fault.kind == kind]


def where(report: LeakReport, kind: str) -> set[tuple[str | None, str | None]]:
    """View and feature of each fault of a kind."""
    return {(fault.view, fault.feature) for fault in faults_of(report, kind)}
