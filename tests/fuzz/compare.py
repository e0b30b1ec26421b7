"""One mutant through the reader and the naive scanner: what differs, in a line."""

from __future__ import annotations

import struct
from typing import Any

from fs_spark.errors import StdfError
from fs_spark.stdf import StdfFile, read_stdf
from tests.oracles import stdf_scan
from tests.stdf.files import WHOLE, parts_with_results

_DAMAGE = {
    "cut": "cut off",
    "framing": "framing lost",
    "second_far": "a second file",
    "second_mir": "header (MIR)",
    "no_header": "records without a header",
    "no_mrr": "no MRR",
}
_SAME = ("head", "site", "touchdown", "passed", "hard_bin", "soft_bin")
_TEST = ("record", "test_num", "test_name", "unit", "low_limit", "high_limit")


def bits(value: Any) -> Any:
    """A float by its bits, so that -0.0 is not 0.0; others as they are."""
    return struct.pack("f", value) if isinstance(value, float) else value


def rows(results: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [tuple(bits(value) for value in row) for row in results]


def part_of(part: dict[str, Any]) -> tuple[Any, ...]:
    return (
        *(part[name] for name in _SAME), part["die_x"], part["die_y"], part["test_time_ms"] or 0, part["part_id"] or "",
    )  # fmt: skip


def expected_part(part: dict[str, Any]) -> tuple[Any, ...]:
    return (*(part[name] for name in _SAME), part["x"], part["y"], part["test_t"], part["part_id"].rstrip(" \0"))


def difference(data: bytes) -> tuple[str | None, str]:
    """What the reader and the scanner disagree on (None: nothing), and what kind of file it was."""
    try:
        expected: dict[str, Any] | None = stdf_scan.scan(data)
    except ValueError:
        expected = None
    if expected is not None and not expected["mirs"]:
        expected = None
    try:
        found = read_stdf(data)
    except StdfError as fault:
        return (None if expected is None else f"set aside, though readable: {fault}"), "set aside"
    if expected is None:
        return "read, though there is no FAR or MIR", "read"
    kind = "damaged" if found.report.damage else "with faults" if found.report.faults else "sound"
    return _of_files(found, expected), kind


def _of_files(found: StdfFile, expected: dict[str, Any]) -> str | None:
    report = found.report
    if report.faults != expected["faults"]:
        return f"faults {report.faults}, expected {expected['faults']}"
    damage = next((name for name, text in reversed(_DAMAGE.items()) if text in (report.damage or "")), None)
    position = expected["gaps"][0][0] if expected["gaps"] else expected["position"]
    if (damage, report.position) != (expected["damage"], position):
        return f"damage {damage} at {report.position}, expected {expected['damage']} at {position}"
    if list(report.skipped) != expected["gaps"]:
        return f"skipped {report.skipped}, expected {expected['gaps']}"
    if report.dropped.get("parts_of_no_certain_wafer", 0) != expected["uncertain_parts"]:
        return f"dropped {report.dropped}, expected {expected['uncertain_parts']} parts of no certain wafer"
    parts = parts_with_results(found, WHOLE)
    if len(parts) != len(expected["parts"]):
        return f"{len(parts)} parts, expected {len(expected['parts'])}"
    for k, (part, other) in enumerate(zip(parts, expected["parts"], strict=True)):
        if part_of(part) != expected_part(other):
            return f"part {k}: {part_of(part)}, expected {expected_part(other)}"
        if rows(part["results"]) != rows(other["results"]):
            return f"results of part {k}"
    tests = [tuple(bits(row[name]) for name in _TEST) for row in found.tests.to_pylist()]
    wanted = [tuple(map(bits, test.values())) for test in expected["tests"]]
    if tests != wanted:
        return f"tests {next((a, b) for a, b in zip([*tests, None], [*wanted, None], strict=False) if a != b)}"
    runs: dict[str, int] = {}
    for part, other in zip(parts, expected["parts"], strict=True):
        if runs.setdefault(part["run_id"], other["run"]) != other["run"]:
            return f"run of part {part['part_index']}"
    if len(set(runs.values())) != len(runs):
        return "two runs for one"
    return None
