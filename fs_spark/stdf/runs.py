"""Wafer runs: one per WIR (or per head where a file has none), with its identity and geometry."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.stdf.identity import Identity
from fs_spark.stdf.records import Fields
from fs_spark.stdf.scan import Scan

if TYPE_CHECKING:
    from fs_spark.stdf.parts import Parts

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


def _identity_digest(head: Fields, lot: str | None, number: int, start: int | None, wafer: str | None) -> str:
    """A run is the same run again when tester, start, lot, head, WIR start and wafer agree [semantics 2.6]."""
    return hashlib.sha256(
        json.dumps([head["node_nam"], head["start_t"], lot, number, start, wafer]).encode()
    ).hexdigest()


def _place(event: tuple[int, int, Fields | None]) -> int:
    return event[0]


def link_runs(
    scanned: Scan, parts: Parts, head: Fields, identity: Identity | None, file_name: str, file_id: str
) -> tuple[list[Run], Parts]:
    """The runs of a file, and its parts with run and touchdown numbered within them."""

    wirs = [(at, fields) for at, fields in scanned.records("WIR") if fields["head_num"] is not None]
    wrrs = scanned.records("WRR")
    wcrs = [(at, RecordedGeometry.of(fields)) for at, fields in scanned.records("WCR")]
    wcr_at = [at for at, _ in wcrs]

    def geometry_at(place: int) -> RecordedGeometry:
        """Of the last WCR before, else of the first one."""
        return wcrs[max(bisect_left(wcr_at, place) - 1, 0)][1] if wcrs else RecordedGeometry()

    # a WRR closes the last run begun on its head that is not closed, of those with its wafer id where there are some
    closing: dict[int, Fields] = {}
    begun: dict[int | None, list[int]] = {}
    events = sorted([(at, k, None) for k, (at, _) in enumerate(wirs)] + [(at, -1, wrr) for at, wrr in wrrs], key=_place)
    for at, k, wrr in events:
        if wrr is None:
            begun.setdefault(wirs[k][1]["head_num"], []).append(k)
        elif waiting := [k for k in begun.get(wrr["head_num"], ()) if not scanned.between(wirs[k], (at, wrr))]:
            named = [k for k in waiting if wirs[k][1]["wafer_id"] == wrr["wafer_id"]]
            chosen = (named or waiting)[-1]
            closing[chosen] = wrr
            begun[wrr["head_num"]].remove(chosen)

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
        runs.append(run(len(runs), int(head_num), None, of_head[0] if of_head else None, scanned.stopped_at))
    if len(run_of):
        stride = int(touchdown.max()) + 1
        distinct, place = np.unique(run_of * stride + touchdown, return_inverse=True)
        touchdown = place - np.searchsorted(distinct, np.arange(len(runs)) * stride)[run_of]
    return runs, replace(parts, run=run_of, touchdown=touchdown)
