"""Wafer runs: one per WIR (or per head where a file has none), with its identity, geometry and times."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from fs_spark.stdf import scan as kinds
from fs_spark.stdf.clock import MICROSECONDS, TimeQuality, finish_to_utc, start_to_utc, touchdown_ends
from fs_spark.stdf.identity import Identity
from fs_spark.stdf.records import Fields, read_fields
from fs_spark.stdf.rules import Availability
from fs_spark.stdf.scan import Scan

if TYPE_CHECKING:
    from fs_spark.stdf.reader import Parts

Int64 = NDArray[np.int64]

_MM_PER_UNIT: Final = {1: 25.4, 2: 10.0, 3: 1.0, 4: 0.0254}
"""WF_UNITS: inch, centimeter, millimeter, mil [STDF V4 p.38]."""


@dataclass(frozen=True, slots=True)
class RecordedGeometry:
    """What a WCR says; sizes of 0 and unknown units are missing [STDF V4 p.38-39]."""

    wafer_diameter_mm: float | None = None
    die_width_mm: float | None = None
    die_height_mm: float | None = None
    center_x: int | None = None
    center_y: int | None = None
    flat: str | None = None
    pos_x: str | None = None
    pos_y: str | None = None

    @classmethod
    def of(cls, wcr: Fields) -> RecordedGeometry:
        unit = _MM_PER_UNIT.get(wcr["wf_units"] or 0)

        def size(value: float | None) -> float | None:
            # the float32 in its shortest decimal form: 3.13 mm, not 3.1300000190734863
            decimal = float(str(np.float32(value))) if value else 0.0
            return decimal * unit if unit and np.isfinite(decimal) and decimal > 0 else None

        return cls(
            wafer_diameter_mm=size(wcr["wafr_siz"]),
            die_width_mm=size(wcr["die_wid"]),
            die_height_mm=size(wcr["die_ht"]),
            center_x=wcr["center_x"],
            center_y=wcr["center_y"],
            flat=wcr["wf_flat"],
            pos_x=wcr["pos_x"] if wcr["pos_x"] in ("L", "R") else None,
            pos_y=wcr["pos_y"] if wcr["pos_y"] in ("U", "D") else None,
        )


@dataclass(frozen=True, slots=True)
class Run:
    run_id: str
    run_key: str
    head: int
    wafer_id: str | None
    start_s: int | None
    finish_s: int | None
    geometry: RecordedGeometry


@dataclass(frozen=True, slots=True)
class RunTimes:
    """`local_us`, `event_us`, `available_us` (touchdowns,); UTC ones are None without a zone."""

    start_local_us: int
    local_us: Int64
    quality: TimeQuality
    start_us: int | None = None
    finish_us: int | None = None
    event_us: Int64 | None = None
    available_us: Int64 | None = None

    @property
    def end_us(self) -> int | None:
        return int(self.event_us[-1]) if self.event_us is not None and len(self.event_us) else None


def _identity_digest(head: Fields, lot: str | None, number: int, start: int | None, wafer: str | None) -> str:
    """A run is the same run again when tester, start, lot, head, WIR start and wafer agree [semantics 2.6]."""
    return hashlib.sha256(
        json.dumps([head["node_nam"], head["start_t"], lot, number, start, wafer]).encode()
    ).hexdigest()


def link_runs(
    scanned: Scan, parts: Parts, head: Fields, identity: Identity | None, file_name: str, file_id: str
) -> tuple[list[Run], Parts]:
    """The runs of a file, and its parts with run and touchdown numbered within them."""

    def records(kind: int, name: str) -> list[tuple[int, Fields]]:
        found = np.flatnonzero(scanned.kinds == kind)
        return [(int(i), read_fields(name, scanned.payload(int(i)), big_endian=scanned.big_endian)) for i in found]

    wirs, wrrs = records(kinds.WIR, "WIR"), records(kinds.WRR, "WRR")
    wcrs = [(i, RecordedGeometry.of(fields)) for i, fields in records(kinds.WCR, "WCR")]

    def geometry_at(record: int) -> RecordedGeometry:
        before = [g for i, g in wcrs if i < record]
        return before[-1] if before else (wcrs[0][1] if wcrs else RecordedGeometry())

    closing: dict[int, Fields] = {}
    for at, wrr in wrrs:
        earlier = [
            k for k, (i, wir) in enumerate(wirs) if i < at and k not in closing and wir["head_num"] == wrr["head_num"]
        ]
        named = [k for k in earlier if wirs[k][1]["wafer_id"] == wrr["wafer_id"]]
        if earlier:
            closing[(named or earlier)[-1]] = wrr

    lot = identity.lot_id if identity else head["lot_id"]

    def run(number: int, head_num: int, wir: Fields | None, wrr: Fields | None, at: int) -> Run:
        start = wir["start_t"] if wir else None
        names = {"wir": wir["wafer_id"] if wir else None, "wrr": wrr["wafer_id"] if wrr else None}
        wafer = identity.wafer_id(head, file_name, **names) if identity else names["wrr"] or names["wir"]
        return Run(
            run_id=f"{file_id[:16]}_{number:04d}",
            run_key=_identity_digest(head, lot, head_num, start, wafer),
            head=head_num,
            wafer_id=wafer,
            start_s=start,
            finish_s=wrr["finish_t"] if wrr else None,
            geometry=geometry_at(at),
        )

    runs = [run(k, wir["head_num"], wir, closing.get(k), at) for k, (at, wir) in enumerate(wirs)]
    run_of, touchdown = parts.run.copy(), parts.touchdown.copy()
    for head_num in np.unique(parts.head[parts.run < 0]):
        run_of[(parts.run < 0) & (parts.head == head_num)] = len(runs)
        of_head = [fields for _, fields in wrrs if fields["head_num"] == head_num]
        runs.append(run(len(runs), int(head_num), None, of_head[0] if of_head else None, len(scanned.kinds)))
    for k in range(len(runs)):
        mine = run_of == k
        touchdown[mine] = np.unique(touchdown[mine], return_inverse=True)[1]
    return runs, replace(parts, run=run_of, touchdown=touchdown)


def run_times(
    runs: Sequence[Run],
    parts: Parts,
    head: Fields,
    end: Fields | None,
    *,
    zone: str | None,
    mode: Availability,
    margin_us: int,
    arrival_us: int | None,
) -> list[RunTimes]:
    """End of each touchdown of each run, on the tester's wall clock and, with a zone, in UTC."""
    times = []
    closed_s = end["finish_t"] if end else None
    for k, run in enumerate(runs):
        mine = parts.run == k
        n = int(parts.touchdown[mine].max(initial=-1)) + 1
        longest = np.zeros(n, np.int64)
        np.maximum.at(longest, parts.touchdown[mine], parts.test_time_ms[mine])
        start_s = run.start_s if run.start_s else (head["start_t"] or 0)
        finish_s = run.finish_s if run.finish_s else closed_s
        local, quality = touchdown_ends(longest, start_s=start_s, finish_s=finish_s)
        if zone is None:
            times.append(RunTimes(start_s * MICROSECONDS, local, quality))
            continue
        where = ZoneInfo(zone)
        start = start_to_utc(start_s, where)
        finish = finish_to_utc(finish_s, start, where) if finish_s else None
        event, quality = touchdown_ends(longest, start_s=start, finish_s=finish)
        available = event
        if mode == "file_close":
            close = finish_to_utc(closed_s, start, where) * MICROSECONDS if closed_s else int(event.max(initial=0))
            available = np.maximum(event, close + margin_us)
        elif mode == "arrival" and arrival_us is not None:
            available = np.maximum(event, arrival_us + margin_us)
        times.append(
            RunTimes(
                start_local_us=start_s * MICROSECONDS,
                local_us=local,
                quality=quality,
                start_us=start * MICROSECONDS,
                finish_us=finish * MICROSECONDS if finish is not None else None,
                event_us=event,
                available_us=available,
            )
        )
    return times
