"""An STDF V4 file -> Arrow tables: parts, results, wafer runs, tests, bins, sites, and a report of what was dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fs_spark.errors import StdfError
from fs_spark.stdf import arrow, framing
from fs_spark.stdf.container import Delivered, read_delivered, unpack
from fs_spark.stdf.damage import count_faults, doubtful_parts, first_loss, what_was_lost
from fs_spark.stdf.identity import Identity, find_tester
from fs_spark.stdf.logged_clock import LoggedClock
from fs_spark.stdf.notes import notes, product_notes
from fs_spark.stdf.parts import read_parts
from fs_spark.stdf.records import Fields, read_generic
from fs_spark.stdf.results import Results, read_results, read_tests
from fs_spark.stdf.rules import Availability, ProductConfig, TesterConfig
from fs_spark.stdf.run_times import HeaderTimes, RunTimes, run_times
from fs_spark.stdf.runs import Run, link_runs
from fs_spark.stdf.scan import Scan, scan


@dataclass(slots=True)
class ReadReport:
    """What one file held, what was left out and why.

    `faults` counts structural damage by its name and is empty for a sound file; `damage` tells what was lost from the
    byte `position` on, None where all was read; `skipped` are (first byte, byte behind) of what lies between records.
    `record_counts` names unknown records (REC_TYP,REC_SUB). `warnings` are for a person.
    """

    file_id: str
    byte_order: str
    damage: str | None
    position: int
    decompressed_bytes: int
    records: int = 0
    record_counts: dict[str, int] = field(default_factory=dict)
    parts: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    skipped: tuple[tuple[int, int], ...] = ()
    warnings: list[str] = field(default_factory=list)
    unanchored_picture: tuple[int, int] | None = None
    """Columns and rows of a text map that nothing places on the wafer but its own corner."""


@dataclass(frozen=True)
class StdfFile:
    """One read file. Tables have the columns of `die_tests`, `test_results`, `wafer_runs` and `tests`."""

    header: Fields
    parts: pa.Table
    runs: pa.Table
    tests: pa.Table
    report: ReadReport
    read: Results
    _tests: Sequence[Any]
    _scan: Scan
    _bins: pa.Table
    _sites: pa.Table

    @cached_property
    def _values(self) -> dict[str, pa.Array]:
        return arrow.result_values(self.read)

    @cached_property
    def results(self) -> pa.Table:
        """One row per result, by part and then in file order."""
        return arrow.results_table(self.read, self._values, self._tests, self.parts)

    @cached_property
    def part_results(self) -> pa.Array:
        """The results as one list of structs per part, which is how they travel."""
        return arrow.part_results(self.read, self._values)

    @property
    def bins(self) -> pa.Table:
        """One row per HBR and SBR."""
        return self._bins

    @property
    def sites(self) -> pa.Table:
        """One row per head and site, with the equipment of its SDR."""
        return self._sites

    def records(self, name: str) -> list[Fields]:
        """All records of one name ("DTR", "GDR", "PTR", "STR", ...) in file order, their fields by lower-case names.

        Every record of STDF V4 and V4-2007 has its name; a GDR has its values under `gen_data`. Records of continued
        sets (`cont_flg`) are given one by one.

        Raises     StdfError for any other name
        """
        if name not in framing.KINDS:
            raise StdfError(f"there is no STDF V4 record {name!r}. Hint: one of {', '.join(framing.KINDS)}")
        scanned = self._scan
        if name != "GDR":
            return [scanned.fields(name, at) for at in scanned.all_places(name).tolist()]
        order, encoding = scanned.big_endian, scanned.encoding
        return [
            {"gen_data": read_generic(scanned.payload(at), big_endian=order, encoding=encoding)}
            for at in scanned.places(name).tolist()
        ]


def _first(scanned: Scan, name: str, *, last: bool = False) -> Fields | None:
    found = scanned.places(name)
    return scanned.fields(name, int(found[-1 if last else 0])) if len(found) else None


def _all(scanned: Scan, *names: str) -> list[tuple[str, Fields]]:
    """Records of some names in file order."""
    found = sorted((at, name) for name in names for at in scanned.places(name).tolist())
    return [(name, scanned.fields(name, at)) for at, name in found]


def _configured(
    scanned: Scan, testers: Sequence[TesterConfig] | None
) -> tuple[Scan, Fields | None, TesterConfig | None]:
    """The scan with the encoding of its tester, the header's fields, and the tester.

    Names of testers are plain ASCII in practice: the header tells the tester before its encoding is known.
    """
    head = _first(scanned, "MIR")
    if head is None or testers is None:
        return scanned, head, None
    tester = find_tester(head, testers)
    if tester.encoding is not None:
        scanned = replace(scanned, encoding=tester.encoding)
        head = _first(scanned, "MIR")
    return scanned, head, tester


def decode(
    delivered: Delivered,
    *,
    file_name: str,
    testers: Sequence[TesterConfig] | None,
    products: Sequence[ProductConfig] | None,
    availability: Availability = "streaming",
    margin_us: int = 0,
    delivered_us: int | None = None,
) -> StdfFile:
    """Decodes unpacked bytes. `delivered_us` is the time of delivery, which only the `arrival` mode reads.

    Raises StdfError where nothing can be read of the file; a cut file gives its complete parts and says so in
    `report.damage`.
    """
    if delivered.damage and len(delivered.data) < 6:
        raise StdfError(delivered.damage)
    found = scan(delivered.data)
    used = np.flatnonzero(found.counts).tolist()
    report = ReadReport(
        file_id=delivered.file_id,
        byte_order="big" if found.big_endian else "little",
        damage="; ".join(filter(None, (delivered.damage, what_was_lost(found.survey)))) or None,
        position=first_loss(found.survey),
        decompressed_bytes=len(delivered.data),
        records=int(found.counts.sum()),
        record_counts={framing.NAMES.get(k, f"({k >> 8},{k & 255})"): int(found.counts[k]) for k in used},
        faults=count_faults(found, len(delivered.data)),
        skipped=found.survey.gaps,
    )
    scanned, head, tester = _configured(found, testers)
    if head is None:
        raise StdfError(
            f"no MIR record in {report.records} records{': ' if report.damage else ''}{report.damage or ''}"
        )
    end = _first(scanned, "MRR", last=True)
    identity = Identity.of(head, products, file_name) if products is not None else None

    doubtful = doubtful_parts(scanned)
    parts, final, pseudo = read_parts(scanned, doubtful)
    runs, parts = link_runs(scanned, parts, head, identity, file_name, delivered.file_id)
    tests = read_tests(scanned)
    results = read_results(scanned, final, len(parts.run), tests)
    report.parts = len(parts.run)
    report.dropped = {"pseudo_parts": pseudo} | {
        name: report.faults.get(name, 0) for name in ("unclosed_parts", "results_outside_parts")
    }
    of_no_wafer = int((doubtful & ~scanned.part_is_pseudo).sum())
    if of_no_wafer:
        report.dropped["parts_of_no_certain_wafer"] = of_no_wafer
    report.warnings += notes(report, parts, tests)
    if products is not None and identity is not None:
        report.warnings += product_notes(identity, head, products, tests.tests)
    mode = (tester.availability if tester else None) or availability
    margin = margin_us
    if tester is not None and tester.availability_margin is not None:
        margin = round(tester.availability_margin.total_seconds() * 1_000_000)
    clock = None
    if tester is not None and tester.clock is not None:
        clock = LoggedClock.of(tester.clock, results, tests.tests)
    header_times = HeaderTimes.of(runs, head, end, tester)
    times = run_times(
        runs,
        parts,
        header_times,
        zone=tester.zone if tester else None,
        mode=mode,
        margin_us=margin,
        arrival_us=delivered_us,
        clock=clock,
    )
    report.warnings += [*header_times.warnings, *_overlaps(runs, times), *(clock.warnings if clock else ())]
    file_id = delivered.file_id
    return StdfFile(
        header={**head, "finish_t": end["finish_t"] if end else None},
        parts=arrow.parts_table(parts, runs, times, head, identity, file_id),
        runs=arrow.runs_table(runs, times, parts, head, identity, file_id),
        tests=arrow.tests_table(tests.tests, file_id),
        report=report,
        read=results,
        _tests=tests.tests,
        _scan=scanned,
        _bins=arrow.bins_table(_all(scanned, "HBR", "SBR"), file_id),
        _sites=arrow.sites_table([fields for _, fields in _all(scanned, "SDR")], parts, file_id),
    )


def _overlaps(runs: Sequence[Run], times: Sequence[RunTimes]) -> list[str]:
    """Runs of one wafer that overlap in time."""
    found, last = [], dict[str | None, tuple[str, int]]()
    for run, when in sorted(zip(runs, times, strict=True), key=lambda pair: pair[1].start_local_us or 0):
        if not len(when.local_us) or when.start_local_us is None:
            continue
        before = last.get(run.wafer_id)
        if run.wafer_id is not None and before and when.start_local_us < before[1]:
            found.append(f"runs {before[0]} and {run.run_id} of wafer {run.wafer_id} overlap in time")
        last[run.wafer_id] = (run.run_id, int(when.local_us[-1]))
    return found


def read_stdf(
    source: str | Path | bytes,
    *,
    testers: Sequence[TesterConfig] | None = None,
    products: Sequence[ProductConfig] | None = None,
) -> StdfFile:
    """Reads one STDF V4 file: plain, gzip or bzip2, either byte order.

    Bytes that are no records are skipped where records make sense again behind them (`report.skipped`), and complete
    parts behind them are kept. Without `testers` no zone is known: `event_local` and `run_start_local` give the file's
    wall clock and the UTC times are null. Without `products` the insertion and product are null.

    Raises     StdfError where nothing can be read, or no tester entry matches
    Source     STDF V4 specification, p.16-58
    """
    if isinstance(source, bytes):
        delivered, name = unpack(source), ""
    else:
        delivered, name = read_delivered(source), Path(source).name
    return decode(
        delivered,
        file_name=name,
        testers=testers,
        products=products,
        delivered_us=round(datetime.now(UTC).timestamp() * 1e6),
    )
