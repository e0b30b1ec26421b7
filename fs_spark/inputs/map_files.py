"""Wafer maps with bins: a list of `x y bin` (`.WaferMap`) or a picture in text (`_mapEx.txt` and its like)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fs_spark.errors import StdfError
from fs_spark.inputs import layout, naming, run_clock
from fs_spark.inputs.layout import InputFile
from fs_spark.inputs.lot_report import Beside, decoded, report_times
from fs_spark.inputs.pictures import WaferPicture, number, read_text_map, read_wafer_map
from fs_spark.inputs.rules import TextMapEntry, WaferMapEntry
from fs_spark.inputs.run_clock import Delivery
from fs_spark.stdf.arrow import LOCAL_US, UTC_US
from fs_spark.stdf.container import Delivered
from fs_spark.stdf.reader import ReadReport

MapEntry = WaferMapEntry | TextMapEntry
Int64 = NDArray[np.int64]

_DIAMETER_MM: Final[dict[float, float]] = {
    2: 50.8,
    3: 76.2,
    4: 100.0,
    5: 125.0,
    6: 150.0,
    8: 200.0,
    12: 300.0,
    18: 450.0,
}
"""The nominal wafer diameters of SEMI M1 behind their names in inches."""


def serpentine(x: Int64, y: Int64, *, top: int, pos_x: str) -> Int64:
    """Place of each die in the order of rows from the top, even rows left to right, odd rows right to left, (n,)."""
    row = np.abs(y - top)
    across = x if pos_x == "R" else -x
    order = np.lexsort((np.where(row % 2, -across, across), row))
    return np.argsort(order)


def _geometry(header: dict[str, str], entry: MapEntry) -> dict[str, object]:
    inches, width, height = (number(header, name) for name in ("size", "die_width", "die_height"))
    return {
        "wafer_diameter_mm": _DIAMETER_MM.get(inches, inches * 25.4) if inches else None,
        "die_width_mm": width / 1000 if width else None,  # micrometers in the files
        "die_height_mm": height / 1000 if height else None,
        "flat": header["flat"][:1].upper() if header.get("flat", "")[:1].upper() in tuple("UDLR") else None,
        "pos_x": entry.pos_x,
        "pos_y": entry.pos_y,
    }


def _warnings(picture: WaferPicture, passed: NDArray[np.bool_]) -> list[str]:
    found = []
    for what, name, count in (("dies", "dies", len(passed)), ("passing dies", "passed", int(passed.sum()))):
        told = number(picture.header, name)
        if told is not None and told != count and picture.damage is None:
            found.append(f"the file tells of {told:.0f} {what}, its map has {count}")
    places = len(np.unique(np.stack([picture.x, picture.y]), axis=1).T)
    if places != len(passed):
        found.append(f"{len(passed) - places} dies stand on the place of another")
    return found


def _wall_times(
    entry: MapEntry, said: naming.Said, wafer_id: str | None, beside: Beside | None
) -> tuple[datetime | None, datetime | None]:
    start, finish = naming.moment(entry.start, said), naming.moment(entry.finish, said)
    if entry.report is not None and (start is None or finish is None):
        named = report_times(entry.report, file_name=said["file_name"] or "", wafer_id=wafer_id, beside=beside)
        start, finish = start or named[0], finish or named[1]
    if start is None and finish is None:
        told = f" (its header gives {said['time']!r})" if said.get("time") else ""
        raise StdfError(
            f"nothing tells when {said['file_name']} was measured{told}. "
            "Hint: give `start` or `finish` in inputs.yaml: a time, rules over the name or header, or a `report`"
        )
    return start, finish


def read_map(
    delivered: Delivered, entry: MapEntry, *, name: str, delivery: Delivery | None = None, beside: Beside | None = None
) -> InputFile:
    """The parts and the run of one map file; tests and results are empty.

    A map tells no order of its dies, so that they are one touchdown at the run's finish: none was seen before
    another. With `order: serpentine` each die is a touchdown, equally spaced from start to finish.

    Raises     StdfError where the file is no such map, or nothing tells when it was measured
    """
    file, text = naming.FileName.of(name), decoded(delivered.data, entry.encoding, "the file")
    picture = read_wafer_map(text, entry) if isinstance(entry, WaferMapEntry) else read_text_map(text, entry)
    header = picture.header
    said = {**file.said, **{key: header.get(key) for key in ("lot_id", "wafer_id", "product_id", "time")}}
    own = {
        key: naming.word(getattr(entry, key), said) or header.get(key) for key in ("lot_id", "wafer_id", "product_id")
    }
    own |= {key: naming.word(getattr(entry, key), said) for key in ("insertion", "test_program", "tester")}
    own |= {key: own[key] or usual for key, usual in layout.USUAL.items()}
    start, finish = _wall_times(entry, said, own["wafer_id"], beside)
    start_local, finish_local = (run_clock.microseconds(t) if t else None for t in (start, finish))
    start_us = int(run_clock.to_utc(np.array([start_local]), entry.zone)[0]) if start_local is not None else None
    finish_us = None
    if finish_local is not None:
        finish_us = int(run_clock.to_utc(np.array([finish_local]), entry.zone, not_before_us=start_us)[0])
        if start_us is not None and finish_us < start_us:
            raise StdfError(f"the run finishes ({finish}) before it starts ({start}). Hint: check its times")

    n = len(picture.x)
    touchdown = np.zeros(n, np.int64)
    if entry.order == "serpentine":
        touchdown = serpentine(picture.x, picture.y, top=picture.top, pos_x=entry.pos_x)
    ends, quality = run_clock.touchdown_times(
        np.zeros(int(touchdown.max(initial=-1)) + 1, np.int64), start_us=start_us, finish_us=finish_us
    )
    event = ends[touchdown]
    end_us = int(ends[-1]) if n else None
    close_us = finish_us if finish_us is not None else (end_us or start_us or 0)
    available = (delivery or Delivery()).available_us(event, close_us=close_us, entry=entry)
    passed = np.isin(picture.bins, entry.passing_bins)

    file_id = delivered.file_id
    run = {"file_id": file_id, "run_id": layout.run_id(file_id, 0), "time_quality": quality, **own}
    run["run_start"] = layout.scalar_of(start_us, UTC_US)
    run["run_start_local"] = layout.scalar_of(start_local, LOCAL_US)
    parts = layout.table_of(
        layout.PARTS,
        n,
        {
            **run,
            "die_x": pa.array(picture.x),
            "die_y": pa.array(picture.y),
            "touchdown": pa.array(touchdown),
            "part_index": pa.array(np.arange(n)),
            "passed": pa.array(passed),
            "hard_bin": pa.array(picture.bins),
            "event_timestamp": layout.times_of(event, UTC_US),
            "event_local": layout.times_of(run_clock.to_wall(event, entry.zone), LOCAL_US),
            "available_timestamp": layout.times_of(available, UTC_US),
        },
    )
    runs = layout.table_of(
        layout.RUNS,
        1,
        {
            **run,
            "run_key": layout.run_key(own, time_us=start_us if start_us is not None else finish_us),
            "run_finish": layout.scalar_of(finish_us, UTC_US),
            "run_end": layout.scalar_of(end_us, UTC_US),
            "touchdowns": len(ends),
            "parts": n,
            **_geometry(header, entry),
        },
    )
    report = ReadReport(
        file_id=file_id,
        byte_order="",
        damage=delivered.damage or picture.damage,
        position=len(delivered.data),
        decompressed_bytes=len(delivered.data),
        parts=n,
        dropped={"marks": picture.marks},
        warnings=_warnings(picture, passed),
        unanchored_picture=picture.unanchored,
    )
    return InputFile(
        header={"node_nam": own["tester"], "job_nam": own["test_program"], "lot_id": own["lot_id"]},
        parts=parts,
        runs=runs,
        tests=layout.TESTS.empty_table(),
        report=report,
        part_results=layout.empty_part_results(n),
    )
