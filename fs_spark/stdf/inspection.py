"""One tester file for a person: header, wafers, yield by attempt, sites, bins, tests, clock and warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_spark.stdf.reader import ReadReport

_SHOWN_TESTS: Final = 40
_SHOWN_BINS: Final = 12
_HEADER: Final = (
    ("lot", "lot_id"), ("sublot", "sblot_id"), ("part type", "part_typ"), ("tester", "node_nam"),
    ("tester type", "tstr_typ"), ("test program", "job_nam"), ("program revision", "job_rev"),
    ("test code", "test_cod"), ("flow", "flow_id"), ("temperature", "tst_temp"), ("retest code", "rtst_cod"),
)  # fmt: skip


class _Readable(Protocol):
    """What every read file has: a tester's, a map, a table of dies."""

    @property
    def header(self) -> Mapping[str, Any]: ...
    @property
    def parts(self) -> pa.Table: ...
    @property
    def runs(self) -> pa.Table: ...
    @property
    def tests(self) -> pa.Table: ...
    @property
    def report(self) -> ReadReport: ...
    @property
    def part_results(self) -> pa.Array: ...


@dataclass(frozen=True)
class Inspection:
    """What `fs-spark inspect` shows; `to_dict` for machines, `to_text` for people."""

    file: dict[str, Any]
    header: dict[str, Any]
    wafers: list[dict[str, Any]]
    sites: list[dict[str, Any]]
    bins: list[dict[str, Any]]
    tests: list[dict[str, Any]]
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def to_text(self) -> str:
        return "\n".join(_lines(self))


def _yield(passed: Sequence[bool | None]) -> dict[str, Any]:
    known = [p for p in passed if p is not None]
    percent = round(100 * sum(known) / len(known), 2) if known else None
    return {"parts": len(passed), "passed": sum(known), "yield_percent": percent}


def attempt_numbers(parts: pa.Table) -> list[tuple[int, bool]]:
    """`attempt` and `is_final` of each part as the file alone tells them; a part without a place is its own die."""
    columns = ("wafer_id", "die_x", "die_y", "event_local", "run_id", "part_index")
    keys = list(zip(*(parts[name].to_pylist() for name in columns), strict=True))
    of_die: dict[Any, list[int]] = {}
    for k, (wafer, x, y, *_) in enumerate(keys):
        place = (wafer, x, y) if None not in (wafer, x, y) else k
        of_die.setdefault(place, []).append(k)
    numbers = [(0, False)] * len(keys)
    for parts_of_die in of_die.values():
        ordered = sorted(parts_of_die, key=lambda k: keys[k][3:])
        for attempt, k in enumerate(ordered, start=1):
            numbers[k] = (attempt, k == ordered[-1])
    return numbers


def _wafers(found: _Readable) -> list[dict[str, Any]]:
    """Runs of one wafer together, in the order of their start."""
    parts = found.parts
    passed, wafer_of = parts["passed"].to_pylist(), parts["wafer_id"].to_pylist()
    attempts = attempt_numbers(parts)
    rows: dict[Any, list[int]] = {}
    for k, wafer in enumerate(wafer_of):
        rows.setdefault(wafer, []).append(k)
    wafers = []
    for wafer, mine in rows.items():
        runs = [run for run in found.runs.to_pylist() if run["wafer_id"] == wafer]
        finals = [passed[k] for k in mine if attempts[k][1]]
        by_attempt = Counter(attempts[k][0] for k in mine)
        here = parts.take(pa.array(mine))
        wafers.append(
            {
                "wafer_id": wafer,
                "runs": len(runs),
                "start_local": min((run["run_start_local"] for run in runs if run["run_start_local"]), default=None),
                "end_local": pc.max(here["event_local"]).as_py(),
                "time_quality": sorted(set(here["time_quality"].to_pylist())),
                "touchdowns": sum(run["touchdowns"] for run in runs),
                "dies": len(finals),
                "x": _span(here["die_x"]),
                "y": _span(here["die_y"]),
                "attempts": [
                    {"attempt": number, **_yield([passed[k] for k in mine if attempts[k][0] == number])}
                    for number in sorted(by_attempt)
                ],
                "final": _yield(finals),
                "geometry": {
                    name: runs[0][name]
                    for name in ("wafer_diameter_mm", "die_width_mm", "die_height_mm", "center_x", "center_y",
                                 "pos_x", "pos_y")
                    if runs and runs[0][name] is not None
                },
            }
        )  # fmt: skip
    return wafers


def _span(column: pa.ChunkedArray) -> tuple[int, int] | None:
    low, high = pc.min_max(column).as_py().values()
    return None if low is None else (low, high)


def _number(place: tuple[int | None, int | None]) -> tuple[int, ...]:
    """Sorts what is not known first."""
    return tuple(-1 if number is None else number for number in place)


def _sites(parts: pa.Table) -> list[dict[str, Any]]:
    of_site: dict[tuple[int | None, int | None], list[bool | None]] = {}
    for head, site, passed in zip(*(parts[c].to_pylist() for c in ("head", "site", "passed")), strict=True):
        of_site.setdefault((head, site), []).append(passed)
    if set(of_site) == {(None, None)}:
        return []
    return [{"head": head, "site": site, **_yield(of_site[head, site])} for head, site in sorted(of_site, key=_number)]


def _bins(parts: pa.Table, named: pa.Table | None) -> list[dict[str, Any]]:
    rows = named.to_pylist() if named is not None else []
    names = {(row["kind"], row["bin"]): row["name"] for row in rows if row["name"] and row["bin"] is not None}
    counts = Counter((kind, number) for kind in ("hard", "soft") for number in parts[f"{kind}_bin"].to_pylist())
    return [
        {"kind": kind, "bin": number, "name": names.get((kind, number)), "parts": count}
        for (kind, number), count in sorted(counts.items(), key=lambda item: (item[0][0], -item[1]))
        if kind == "hard" or number is not None
    ]


def _tests(found: _Readable) -> list[dict[str, Any]]:
    """Each test with how many usable values it has and their range."""
    tests: list[dict[str, Any]] = found.tests.to_pylist()
    index = np.asarray(found.part_results.values.field("test_index"))
    result = found.part_results.values.field("result")
    value = np.asarray(result.fill_null(float("nan")), np.float64)
    count = np.bincount(index, minlength=len(tests))
    usable = np.bincount(index[~np.isnan(value)], minlength=len(tests))
    low, high = np.full(len(tests), np.inf), np.full(len(tests), -np.inf)
    np.fmin.at(low, index, value)
    np.fmax.at(high, index, value)
    for k, test in enumerate(tests):
        del test["file_id"], test["test_index"]
        has_values = bool(usable[k])
        test |= {
            "results": int(count[k]),
            "usable": int(usable[k]),
            "min": float(low[k]) if has_values else None,
            "max": float(high[k]) if has_values else None,
        }
    return tests


def inspect_file(found: _Readable, path: str = "", bins: pa.Table | None = None) -> Inspection:
    """Sums a read file up. `bins` has names of bins, which only a tester's file gives."""
    report = found.report
    warnings = [*([report.damage] if report.damage else []), *report.warnings]
    return Inspection(
        file={
            "path": path,
            "file_id": report.file_id,
            "decompressed_bytes": report.decompressed_bytes,
            "byte_order": report.byte_order,
            "records": report.record_counts,
            "dropped": {name: count for name, count in report.dropped.items() if count},
        },
        header={name: found.header[field] for name, field in _HEADER if found.header.get(field) is not None},
        wafers=_wafers(found),
        sites=_sites(found.parts),
        bins=_bins(found.parts, bins),
        tests=_tests(found),
        warnings=warnings,
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _share(counts: dict[str, Any]) -> str:
    percent = "" if counts["yield_percent"] is None else f", {counts['yield_percent']:.2f} % pass"
    return f"{counts['parts']} parts{percent}"


def _lines(seen: Inspection) -> Iterator[str]:
    file = seen.file
    order = f", {file['byte_order']}-endian" if file["byte_order"] else ""
    yield f"{file['path']}  {file['decompressed_bytes'] / 1e6:.1f} MB{order}"
    if file["records"]:
        yield "records     " + ", ".join(f"{name} {count}" for name, count in file["records"].items())
    if file["dropped"]:
        yield "left out    " + ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in file["dropped"].items())
    for name, value in seen.header.items():
        yield f"{name:<18}{value}"
    for wafer in seen.wafers:
        yield ""
        name = wafer["wafer_id"] or "(without a name)"
        yield f"wafer {name}: {wafer['dies']} dies in {wafer['touchdowns']} touchdowns"
        yield f"  {wafer['start_local']} to {wafer['end_local']} local, times {', '.join(wafer['time_quality'])}"
        if wafer["x"] and wafer["y"]:
            yield f"  x {wafer['x'][0]}..{wafer['x'][1]}, y {wafer['y'][0]}..{wafer['y'][1]}"
        if wafer["geometry"]:
            yield "  WCR: " + ", ".join(f"{name} {value:g}" if isinstance(value, (int, float)) else f"{name} {value}"
                                        for name, value in wafer["geometry"].items())  # fmt: skip
        for attempt in wafer["attempts"]:
            yield f"  attempt {attempt['attempt']}: {_share(attempt)}"
        if len(wafer["attempts"]) > 1:
            yield f"  final: {_share(wafer['final'])}"
    if seen.sites:
        yield ""
        yield f"{len(seen.sites)} sites"
        for site in seen.sites:
            yield f"  head {site['head']} site {site['site']}: {_share(site)}"
    for kind in ("hard", "soft"):
        bins = [one for one in seen.bins if one["kind"] == kind]
        if bins:
            shown = [f"{one['bin']}{' ' + one['name'] if one['name'] else ''}: {one['parts']}" for one in bins]
            more = f", and {len(shown) - _SHOWN_BINS} more" if len(shown) > _SHOWN_BINS else ""
            yield f"{kind} bins   " + ", ".join(shown[:_SHOWN_BINS]) + more
    if seen.tests:
        yield ""
        yield f"{len(seen.tests)} tests"
        yield f"  {'number':>10} {'rec':4} {'usable':>8} {'min':>11} {'max':>11} {'low':>11} {'high':>11}  name [unit]"
        for test in seen.tests[:_SHOWN_TESTS]:
            unit = f" [{test['unit']}]" if test["unit"] else ""
            figures = " ".join(f"{_figure(test[name]):>11}" for name in ("min", "max", "low_limit", "high_limit"))
            number = f"{test['test_num']:>10} {test['record']:4} {test['usable']:>8}"
            yield f"  {number} {figures}  {test['test_name']}{unit}"
        if len(seen.tests) > _SHOWN_TESTS:
            yield f"  and {len(seen.tests) - _SHOWN_TESTS} more (--json shows all)"
    if seen.warnings:
        yield ""
        yield from (f"warning: {warning}" for warning in seen.warnings)
