"""Generate a lot: STDF files as a tester would leave them, and the truth beside them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fs_spark.synth.probing import Dies, wafer_dies
from fs_spark.synth.process import WaferProcess, draw_lot, draw_wafer
from fs_spark.synth.run import Ints, WaferRun, probe_wafer
from fs_spark.synth.spec import INSERTIONS, LotSpec
from fs_spark.synth.truth import truth_rows
from fs_spark.synth.wafer_file import write_wafer_run

TRUTH_FOLDER: Final = "truth.parquet"
RELOAD: Final = timedelta(seconds=90)
"""From the end of one wafer to the start of the next."""

_SUFFIX: Final = {"none": ".stdf", "gz": ".stdf.gz", "bz2": ".stdf.bz2"}
_LOT, _WAFER, _CP1, _CP2 = range(4)


@dataclass(frozen=True, kw_only=True)
class LotTruth:
    """What `generate_lot` wrote, and what a reader must find in it.

    `files` are in order of time; `rows` has one row per attempt in file order (see `truth.TRUTH`).
    """

    spec: LotSpec
    files: tuple[Path, ...]
    truth_path: Path
    rows: pa.Table


def generate_lot(spec: LotSpec, folder: Path | str) -> LotTruth:
    """Write `<lot>_W01_CP1.stdf` ... into `folder`, one file per wafer and insertion, and the truth.

    All dies are tested at CP1; those that passed in the end are tested at CP2, which begins
    `spec.second_insertion_after` after the lot's last CP1 file. The truth goes to `truth.parquet`, a dataset folder
    with one file per lot, so that several lots may share `folder`; files of the same names are overwritten. A wafer
    without a good die has no CP2 file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    dies = wafer_dies(spec)
    wafers = _draw_wafers(spec, dies)
    tested: list[Ints] = [np.arange(len(dies.x))] * spec.wafers
    clock = spec.start
    files: list[Path] = []
    rows: list[pa.Table] = []
    for insertion, stream in zip(INSERTIONS, (_CP1, _CP2), strict=True):
        for index, wafer in enumerate(wafers):
            if len(tested[index]) == 0:
                continue
            run = probe_wafer(
                _generator(spec, stream, index),
                wafer,
                dies,
                tested=tested[index],
                insertion=insertion,
                begin=(clock, spec.index_time_ms),
            )
            path, table = _save_run(spec, dies, run, folder=folder, index=index, insertion=insertion)
            files.append(path)
            rows.append(table)
            tested[index] = np.sort(run.die[run.measured.passed])
            clock = run.finish + RELOAD
        clock = _whole_minute(clock + spec.second_insertion_after)
    truth_path = folder / TRUTH_FOLDER
    truth_path.mkdir(exist_ok=True)
    table = pa.concat_tables(rows)
    pq.write_table(table, truth_path / f"{spec.lot_id}.parquet")
    return LotTruth(spec=spec, files=tuple(files), truth_path=truth_path, rows=table)


def _generator(spec: LotSpec, *stream: int) -> np.random.Generator:
    """An own stream per purpose and wafer, so that one wafer's draws do not depend on how many wafers there are."""
    return np.random.Generator(np.random.PCG64([spec.seed, *spec.lot_id.encode("ascii"), *stream]))


def _draw_wafers(spec: LotSpec, dies: Dies) -> list[WaferProcess]:
    lot = draw_lot(_generator(spec, _LOT))
    radius_mm = spec.wafer_diameter_mm / 2
    return [
        draw_wafer(_generator(spec, _WAFER, index), lot, dies, index=index, radius_mm=radius_mm)
        for index in range(spec.wafers)
    ]


def _save_run(
    spec: LotSpec, dies: Dies, run: WaferRun, *, folder: Path, index: int, insertion: str
) -> tuple[Path, pa.Table]:
    wafer_id = f"W{index + 1:02d}"
    path = folder / f"{spec.lot_id}_{wafer_id}_{insertion}{_SUFFIX[spec.compress]}"
    write_wafer_run(spec, dies, run, wafer_id=wafer_id, insertion=insertion).save(path, compress=spec.compress)
    table = truth_rows(dies, run, file_name=path.name, lot_id=spec.lot_id, wafer_id=wafer_id, insertion=insertion)
    return path, table


def _whole_minute(clock: datetime) -> datetime:
    return clock.replace(second=0) + timedelta(minutes=1)
