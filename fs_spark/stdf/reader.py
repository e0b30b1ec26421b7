"""An STDF V4 file -> Arrow tables: parts, results, wafer runs, tests, and a report of what was dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fs_spark.errors import StdfError
from fs_spark.stdf import scan as kinds
from fs_spark.stdf.container import Delivered, read_delivered, unpack
from fs_spark.stdf.identity import Identity, find_tester
from fs_spark.stdf.records import Fields, read_fields
from fs_spark.stdf.results import Results, Tests, read_results
from fs_spark.stdf.rules import Availability, ProductConfig, TesterConfig
from fs_spark.stdf.runs import Run, RunTimes, link_runs, run_times
from fs_spark.stdf.scan import Scan, scan

MISSING_COORDINATE: Final = -32768
MISSING_SOFT_BIN: Final = 65535
MISSING_HARD_BIN: Final = -1  # the record stopped before it
UTC_US: Final = pa.timestamp("us", tz="UTC")
LOCAL_US: Final = pa.timestamp("us")

Int64 = NDArray[np.int64]


@dataclass(slots=True)
class ReadReport:
    """What one file held, what was left out and why."""

    file_id: str
    byte_order: str
    damage: str | None
    position: int
    decompressed_bytes: int
    records: int = 0
    parts: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Parts:
    """The kept parts in file order (order of their PRR); all arrays (n,)."""

    run: Int64
    touchdown: Int64
    head: Int64
    site: Int64
    flag: Int64
    hard_bin: Int64
    soft_bin: Int64
    x: Int64
    y: Int64
    test_time_ms: Int64
    part_id: list[str | None]


@dataclass(frozen=True, slots=True)
class StdfFile:
    """One read file. Tables have the columns of `die_tests`, `test_results`, `wafer_runs` and `tests`."""

    header: Fields
    parts: pa.Table
    results: pa.Table
    runs: pa.Table
    tests: pa.Table
    report: ReadReport
    part_results: pa.Array
    """Results as one list of structs per part, which is how they travel; `results` is the same, long."""


def _parts(scanned: Scan, report: ReadReport) -> tuple[Parts, Int64]:
    """Decodes the PRRs. Also gives the final number of each linked part, -1 = dropped."""
    closed = np.flatnonzero(scanned.part_prr >= 0)
    closed = closed[np.argsort(scanned.part_prr[closed], kind="stable")]
    at = scanned.offsets[scanned.part_prr[closed]]
    end = scanned.offsets[scanned.part_prr[closed] + 1] - 4

    def number(skip: int, dtype: str, missing: int) -> Int64:
        out = np.full(len(at), missing, np.int64)
        there = end - at >= skip + int(dtype[1])
        out[there] = scanned.numbers(at[there] + skip, dtype)
        return out

    def part_id(start: int, stop: int) -> str | None:
        raw = scanned.data[start + 17 : stop].tobytes()
        return raw[1 : 1 + raw[0]].decode("latin-1").rstrip(" \0") or None if raw else None

    ids = [part_id(int(a), int(b)) for a, b in zip(at, end, strict=True)]
    pseudo = scanned.part_is_pseudo[closed]
    keep = np.flatnonzero(~pseudo)
    linked = closed[keep]
    final = np.full(len(scanned.part_prr), -1, np.int64)
    final[linked] = np.arange(len(linked))
    report.dropped |= {
        "pseudo_parts": int(pseudo.sum()),
        "unclosed_parts": int((scanned.part_prr < 0).sum()),
    }
    lonely = int((~scanned.part_has_pir[linked]).sum())
    if lonely:
        report.warnings.append(f"{lonely} parts end without having begun (PRR without PIR)")
    parts = Parts(
        run=scanned.part_run[linked],
        touchdown=scanned.part_touchdown[linked],
        head=number(0, "u1", 255)[keep],
        site=number(1, "u1", 255)[keep],
        flag=number(2, "u1", 0x10)[keep],
        hard_bin=number(5, "u2", MISSING_HARD_BIN)[keep],
        soft_bin=number(7, "u2", MISSING_SOFT_BIN)[keep],
        x=number(9, "i2", MISSING_COORDINATE)[keep],
        y=number(11, "i2", MISSING_COORDINATE)[keep],
        test_time_ms=number(13, "u4", 0)[keep],
        part_id=[ids[i] for i in keep],
    )
    return parts, final


def _first(scanned: Scan, kind: int, name: str, *, last: bool = False) -> Fields | None:
    found = np.flatnonzero(scanned.kinds == kind)
    if not len(found):
        return None
    return read_fields(name, scanned.payload(int(found[-1 if last else 0])), big_endian=scanned.big_endian)


def _masked(values: NDArray[Any], missing: NDArray[np.bool_], dtype: pa.DataType) -> pa.Array:
    return pa.array(values, dtype, mask=missing)


def _texts(values: Sequence[str | None], index: Int64) -> pa.Array:
    """Few distinct texts spread over many parts."""
    return pa.array(values, pa.string()).take(pa.array(index))


def _parts_table(
    parts: Parts, runs: Sequence[Run], times: Sequence[RunTimes], head: Fields, identity: Identity | None, file_id: str
) -> pa.Table:
    n = len(parts.run)
    run, nowhere = parts.run, np.zeros(n, bool)
    local, event, available = (np.zeros(n, np.int64) for _ in range(3))
    known = bool(times) and times[0].start_us is not None
    for k, when in enumerate(times):
        mine = run == k
        local[mine] = when.local_us[parts.touchdown[mine]]
        if when.event_us is not None and when.available_us is not None:
            event[mine] = when.event_us[parts.touchdown[mine]]
            available[mine] = when.available_us[parts.touchdown[mine]]
    unknown = nowhere if known else ~nowhere
    flag = parts.flag
    run_start = np.array([when.start_us or 0 for when in times], np.int64)
    run_local = np.array([when.start_local_us for when in times], np.int64)
    return pa.table(
        {
            "file_id": pa.repeat(pa.scalar(file_id), n),
            "run_id": _texts([r.run_id for r in runs], run),
            "lot_id": pa.repeat(pa.scalar(identity.lot_id if identity else head["lot_id"], pa.string()), n),
            "wafer_id": _texts([r.wafer_id for r in runs], run),
            "die_x": _masked(parts.x, parts.x == MISSING_COORDINATE, pa.int32()),
            "die_y": _masked(parts.y, parts.y == MISSING_COORDINATE, pa.int32()),
            "head": pa.array(parts.head, pa.int32()),
            "site": pa.array(parts.site, pa.int32()),
            "touchdown": pa.array(parts.touchdown, pa.int32()),
            "part_index": pa.array(np.arange(n), pa.int32()),
            "part_id": pa.array(parts.part_id, pa.string()),
            "passed": _masked((flag & 0x08) == 0, (flag & 0x10) != 0, pa.bool_()),
            "hard_bin": _masked(parts.hard_bin, parts.hard_bin == MISSING_HARD_BIN, pa.int32()),
            "soft_bin": _masked(parts.soft_bin, parts.soft_bin == MISSING_SOFT_BIN, pa.int32()),
            "test_time_ms": _masked(parts.test_time_ms, parts.test_time_ms == 0, pa.int64()),
            "run_start": pa.array(run_start[run], pa.int64(), mask=unknown).cast(UTC_US),
            "run_start_local": pa.array(run_local[run], pa.int64()).cast(LOCAL_US),
            "event_timestamp": pa.array(event, pa.int64(), mask=unknown).cast(UTC_US),
            "event_local": pa.array(local, pa.int64()).cast(LOCAL_US),
            "time_quality": _texts([when.quality for when in times], run),
            "available_timestamp": pa.array(available, pa.int64(), mask=unknown).cast(UTC_US),
            "insertion": pa.repeat(pa.scalar(identity.insertion if identity else None, pa.string()), n),
            "product_id": pa.repeat(pa.scalar(identity.product.product_id if identity else None, pa.string()), n),
            "test_program": pa.repeat(pa.scalar(head["job_nam"], pa.string()), n),
            "tester": pa.repeat(pa.scalar(head["node_nam"], pa.string()), n),
        }
    )


def _tests_table(tests: Tests, file_id: str) -> pa.Table:
    n = len(tests.test_num)
    return pa.table(
        {
            "file_id": pa.repeat(pa.scalar(file_id), n),
            "test_index": pa.array(range(n), pa.int32()),
            "test_num": pa.array(tests.test_num, pa.int64()),
            "test_name": pa.array(tests.test_name, pa.string()),
            "record": pa.repeat(pa.scalar("PTR"), n),
            "unit": pa.array(tests.unit, pa.string()),
            "low_limit": pa.array(tests.low_limit, pa.float32()),
            "high_limit": pa.array(tests.high_limit, pa.float32()),
        }
    )


def _part_results(results: Results, n_parts: int) -> pa.Array:
    values = pa.StructArray.from_arrays(
        [
            pa.array(results.test_index),
            pa.array(results.occurrence),
            _masked(results.result, ~results.usable, pa.float32()),
            _masked(results.passed == 1, results.passed < 0, pa.bool_()),
        ],
        names=["test_index", "occurrence", "result", "passed"],
    )
    offsets = np.searchsorted(results.part, np.arange(n_parts + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _results_table(results: Results, tests: pa.Table, parts: pa.Table) -> pa.Table:
    part, test = pa.array(results.part), pa.array(results.test_index)
    n = len(results.part)
    return pa.table(
        {
            **{name: parts[name].take(part) for name in ("file_id", "run_id", "lot_id", "wafer_id", "part_index")},
            "test_num": tests["test_num"].take(test),
            "test_name": tests["test_name"].take(test),
            "occurrence": pa.array(results.occurrence),
            "element": pa.nulls(n, pa.int32()),
            "result": _masked(results.result, ~results.usable, pa.float32()),
            "passed": _masked(results.passed == 1, results.passed < 0, pa.bool_()),
            "record": pa.repeat(pa.scalar("PTR"), n),
        }
    )


def _runs_table(
    runs: Sequence[Run], times: Sequence[RunTimes], parts: Parts, head: Fields, identity: Identity | None, file_id: str
) -> pa.Table:
    n, count = len(runs), np.bincount(parts.run, minlength=len(runs))

    def stamps(values: Sequence[int | None], kind: pa.DataType) -> pa.Array:
        return pa.array(values, pa.int64()).cast(kind)

    geometry = {
        name: pa.array([getattr(run.geometry, name) for run in runs], kind)
        for name, kind in (
            ("wafer_diameter_mm", pa.float64()),
            ("die_width_mm", pa.float64()),
            ("die_height_mm", pa.float64()),
            ("center_x", pa.int32()),
            ("center_y", pa.int32()),
            ("flat", pa.string()),
            ("pos_x", pa.string()),
            ("pos_y", pa.string()),
        )
    }
    return pa.table(
        {
            "file_id": pa.repeat(pa.scalar(file_id), n),
            "run_id": pa.array([run.run_id for run in runs], pa.string()),
            "run_key": pa.array([run.run_key for run in runs], pa.string()),
            "lot_id": pa.repeat(pa.scalar(identity.lot_id if identity else head["lot_id"], pa.string()), n),
            "wafer_id": pa.array([run.wafer_id for run in runs], pa.string()),
            "head": pa.array([run.head for run in runs], pa.int32()),
            "insertion": pa.repeat(pa.scalar(identity.insertion if identity else None, pa.string()), n),
            "product_id": pa.repeat(pa.scalar(identity.product.product_id if identity else None, pa.string()), n),
            "test_program": pa.repeat(pa.scalar(head["job_nam"], pa.string()), n),
            "tester": pa.repeat(pa.scalar(head["node_nam"], pa.string()), n),
            "run_start": stamps([when.start_us for when in times], UTC_US),
            "run_start_local": stamps([when.start_local_us for when in times], LOCAL_US),
            "run_finish": stamps([when.finish_us for when in times], UTC_US),
            "run_end": stamps([when.end_us for when in times], UTC_US),
            "time_quality": pa.array([when.quality for when in times], pa.string()),
            "touchdowns": pa.array([len(when.local_us) for when in times], pa.int32()),
            "parts": pa.array(count, pa.int32()),
            **geometry,
        }
    )


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
    report = ReadReport(
        file_id=delivered.file_id,
        byte_order="big" if scanned.big_endian else "little",
        damage=delivered.damage,
        position=scanned.stopped_at,
        decompressed_bytes=len(delivered.data),
        records=len(scanned.kinds),
    )
    if not scanned.complete and not report.damage:
        report.damage = f"the record at byte {scanned.stopped_at} is cut off"
    head = _first(scanned, kinds.MIR, "MIR")
    if head is None:
        raise StdfError(
            f"no MIR record in {len(scanned.kinds)} records{': ' if report.damage else ''}{report.damage or ''}"
        )
    end = _first(scanned, kinds.MRR, "MRR", last=True)
    if end is None and not report.damage:
        report.damage = f"the file stops at byte {scanned.stopped_at} without an MRR record"
    tester = find_tester(head, testers) if testers is not None else None
    identity = Identity.of(head, products, file_name) if products is not None else None

    parts, final = _parts(scanned, report)
    runs, parts = link_runs(scanned, parts, head, identity, file_name, delivered.file_id)
    mode = (tester.availability if tester else None) or availability
    margin = margin_us
    if tester is not None and tester.availability_margin is not None:
        margin = round(tester.availability_margin.total_seconds() * 1_000_000)
    times = run_times(
        runs,
        parts,
        head,
        end,
        zone=tester.zone if tester else None,
        mode=mode,
        margin_us=margin,
        arrival_us=delivered_us,
    )
    report.parts = len(parts.run)
    results, tests, orphans = read_results(scanned, final)
    report.dropped["results_outside_parts"] = orphans
    report.warnings += _overlaps(runs, times)

    file_id = delivered.file_id
    parts_table = _parts_table(parts, runs, times, head, identity, file_id)
    tests_table = _tests_table(tests, file_id)
    return StdfFile(
        header={**head, "finish_t": end["finish_t"] if end else None},
        parts=parts_table,
        results=_results_table(results, tests_table, parts_table),
        runs=_runs_table(runs, times, parts, head, identity, file_id),
        tests=tests_table,
        report=report,
        part_results=_part_results(results, len(parts.run)),
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
