"""An STDF V4 file -> Arrow tables: parts, results, wafer runs, tests, bins, sites, and a report of what was dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fs_spark.errors import StdfError
from fs_spark.stdf import arrow, framing
from fs_spark.stdf.container import Delivered, read_delivered, unpack
from fs_spark.stdf.identity import Identity, find_tester
from fs_spark.stdf.layouts import CPU_TYPES
from fs_spark.stdf.logged_clock import LoggedClock
from fs_spark.stdf.parts import read_parts
from fs_spark.stdf.records import Fields, read_fields, read_generic
from fs_spark.stdf.results import Results, read_results, read_tests
from fs_spark.stdf.rules import Availability, ProductConfig, TesterConfig
from fs_spark.stdf.runs import Run, RunTimes, link_runs, run_times
from fs_spark.stdf.scan import Scan, gather, scan

_NAMES = {kind: name for name, kind in framing.KINDS.items()}


@dataclass(slots=True)
class ReadReport:
    """What one file held, what was left out and why.

    `faults` counts structural damage by its name and is empty for a sound file; `damage` tells why reading stopped
    at the byte `position`, None where it reached the end. `record_counts` names unknown records (REC_TYP,REC_SUB).
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
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The payloads of the records that are read one by one, as one block of bytes."""

    big_endian: bool
    kinds: Any
    block: Any
    starts: Any


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
    _kept: _Kept
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
        """All records of one name ("DTR", "GDR", "PMR", ...) in file order, their fields by lower-case names.

        A GDR has its values under `gen_data`. Raises StdfError for a name that is not read field by field.
        """
        if name != "GDR" and name not in framing.KINDS:
            raise StdfError(f"there is no STDF V4 record {name!r}. Hint: one of {', '.join(framing.KINDS)}")
        found = []
        for k in np.flatnonzero(self._kept.kinds == framing.KINDS[name]):
            payload = self._kept.block[self._kept.starts[k] : self._kept.starts[k + 1]].tobytes()
            if name == "GDR":
                found.append({"gen_data": read_generic(payload, big_endian=self._kept.big_endian)})
            else:
                found.append(read_fields(name, payload, big_endian=self._kept.big_endian))
        return found


def _first(scanned: Scan, name: str, *, last: bool = False) -> Fields | None:
    found = scanned.places(name)
    if not len(found):
        return None
    return read_fields(name, scanned.payload(int(found[-1 if last else 0])), big_endian=scanned.big_endian)


def _damage(scanned: Scan) -> str | None:
    """Why the walk over the records stopped before the end of the file."""
    at = scanned.stopped_at
    if scanned.why == framing.CUT:
        return f"cut off in the record at byte {at}"
    if scanned.why == framing.FRAMING_LOST:
        return f"framing lost: at byte {at} stands no record of STDF V4, nor behind it"
    if scanned.why == framing.SECOND_FILE:
        return f"a second file begins at byte {at}. Hint: split it there"
    if not scanned.counts[framing.KINDS["MRR"]]:
        return f"no MRR record: the file stops at byte {at}"
    return None


def _faults(scanned: Scan) -> dict[str, int]:
    known = list(framing.KINDS.values())
    mirs = int(scanned.counts[framing.KINDS["MIR"]])
    found = {
        "unknown_records": int(scanned.counts.sum() - scanned.counts[known].sum()),
        "unclosed_parts": int((scanned.part_prr < 0).sum()),
        "lonely_prr": int((~scanned.part_has_pir).sum()),
        "results_outside_parts": scanned.results_outside_parts,
        "short_records": scanned.short_records,
        "overlong_fields": scanned.overlong_fields,
        "missing_mrr": int(not scanned.counts[framing.KINDS["MRR"]]),
        "repeated_mir": max(mirs - 1, 0),
        "cpu_type": int(scanned.data[4] != CPU_TYPES["big" if scanned.big_endian else "little"]),
    }
    if scanned.why == framing.PADDING:
        found["padding_bytes"] = len(scanned.data) - scanned.stopped_at
    return {name: count for name, count in found.items() if count}


def _keep(scanned: Scan) -> _Kept:
    block, starts = gather(scanned.data, scanned.kept_at + 4, scanned.ends(scanned.kept_at))
    return _Kept(scanned.big_endian, scanned.kept_kind, block, starts)


def _all(scanned: Scan, *names: str) -> list[tuple[str, Fields]]:
    """Records of some names in file order."""
    found = sorted((at, name) for name in names for at in scanned.places(name).tolist())
    return [(name, read_fields(name, scanned.payload(at), big_endian=scanned.big_endian)) for at, name in found]


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
    scanned = scan(delivered.data)
    used = np.flatnonzero(scanned.counts).tolist()
    report = ReadReport(
        file_id=delivered.file_id,
        byte_order="big" if scanned.big_endian else "little",
        damage=delivered.damage or _damage(scanned),
        position=scanned.stopped_at,
        decompressed_bytes=len(delivered.data),
        records=int(scanned.counts.sum()),
        record_counts={_NAMES.get(k, f"({k >> 8},{k & 255})"): int(scanned.counts[k]) for k in used},
        faults=_faults(scanned),
    )
    head = _first(scanned, "MIR")
    if head is None:
        raise StdfError(
            f"no MIR record in {report.records} records{': ' if report.damage else ''}{report.damage or ''}"
        )
    end = _first(scanned, "MRR", last=True)
    tester = find_tester(head, testers) if testers is not None else None
    identity = Identity.of(head, products, file_name) if products is not None else None

    parts, final, pseudo = read_parts(scanned)
    runs, parts = link_runs(scanned, parts, head, identity, file_name, delivered.file_id)
    tests, test_of = read_tests(scanned)
    results = read_results(scanned, final, len(parts.run), test_of, len(tests))
    report.parts = len(parts.run)
    report.dropped = {"pseudo_parts": pseudo} | {
        name: report.faults.get(name, 0) for name in ("unclosed_parts", "results_outside_parts")
    }
    lonely = report.faults.get("lonely_prr", 0)
    if lonely:
        report.warnings.append(f"{lonely} parts end without having begun (PRR without PIR)")
    mode = (tester.availability if tester else None) or availability
    margin = margin_us
    if tester is not None and tester.availability_margin is not None:
        margin = round(tester.availability_margin.total_seconds() * 1_000_000)
    clock = LoggedClock.of(tester.clock, results, tests) if tester is not None and tester.clock is not None else None
    times = run_times(
        runs,
        parts,
        head,
        end,
        zone=tester.zone if tester else None,
        mode=mode,
        margin_us=margin,
        arrival_us=delivered_us,
        clock=clock,
    )
    report.warnings += [*_overlaps(runs, times), *(clock.warnings if clock else ())]
    file_id = delivered.file_id
    return StdfFile(
        header={**head, "finish_t": end["finish_t"] if end else None},
        parts=arrow.parts_table(parts, runs, times, head, identity, file_id),
        runs=arrow.runs_table(runs, times, parts, head, identity, file_id),
        tests=arrow.tests_table(tests, file_id),
        report=report,
        read=results,
        _tests=tests,
        _kept=_keep(scanned),
        _bins=arrow.bins_table(_all(scanned, "HBR", "SBR"), file_id),
        _sites=arrow.sites_table([fields for _, fields in _all(scanned, "SDR")], parts, file_id),
    )


def _overlaps(runs: Sequence[Run], times: Sequence[RunTimes]) -> list[str]:
    """Runs of one wafer that overlap in time."""
    found, last = [], dict[str | None, tuple[str, int]]()
    for run, when in sorted(zip(runs, times, strict=True), key=lambda pair: pair[1].start_local_us):
        if not len(when.local_us):
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

    Without `testers` no zone is known: `event_local` and `run_start_local` give the file's wall clock and the UTC
    times are null. Without `products` the insertion and product are null.

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
