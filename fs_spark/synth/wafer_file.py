"""One wafer run as the records of an STDF file."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import numpy as np

from fs_spark.stdf.writer import StdfWriter
from fs_spark.synth.measuring import limits
from fs_spark.synth.probing import Dies
from fs_spark.synth.run import WaferRun
from fs_spark.synth.spec import EPOCH, HARD_BINS, PARAMETERS, SET_POINT, SITES, SOFT_BINS, LotSpec

HEAD: Final = 1
SITE_GROUP: Final = 1
ALL_SITES: Final = 255
SETUP_BEFORE: Final = timedelta(seconds=45)
LOAD_TIME: Final = timedelta(seconds=10)
UNLOAD_TIME: Final = timedelta(seconds=5)
TEST_FAILED: Final = 0x80
PART_FAILED: Final = 0x08


def write_wafer_run(spec: LotSpec, dies: Dies, run: WaferRun, *, wafer_id: str, insertion: str) -> StdfWriter:
    """The whole file: lot header, wafer, touchdowns, summaries.

    As real testers do, only the first PTR of a test carries its name, limits and unit, and a retest sets no flag.
    """
    out = StdfWriter(spec.byte_order)
    _write_header(out, spec, run, insertion=insertion)
    out.record("WIR", head_num=HEAD, site_grp=SITE_GROUP, start_t=_seconds(run.start), wafer_id=wafer_id)
    _write_touchdowns(out, dies, run, insertion=insertion)
    _write_summaries(out, run, wafer_id=wafer_id)
    return out


def _seconds(local: datetime) -> int:
    """An STDF time: seconds since 1970 of the tester's wall clock, as if it were UTC."""
    return int((local - EPOCH).total_seconds())


def _write_header(out: StdfWriter, spec: LotSpec, run: WaferRun, *, insertion: str) -> None:
    out.record("FAR")
    out.record(
        "MIR",
        setup_t=_seconds(run.start - SETUP_BEFORE),
        start_t=_seconds(run.start - LOAD_TIME),
        stat_num=1,
        mode_cod="P",
        lot_id=spec.lot_id,
        part_typ=spec.product,
        node_nam=spec.tester,
        tstr_typ=spec.tester_type,
        job_nam=spec.program,
        job_rev=spec.program_revision,
        test_cod=insertion,
        tst_temp=f"{SET_POINT[insertion]:g}",
        tail="omit",
    )
    out.record("SDR", head_num=HEAD, site_grp=SITE_GROUP, site_num=SITES, card_typ="2X2", card_id="CARD1")
    out.record(
        "WCR",
        wafr_siz=spec.wafer_diameter_mm,
        die_ht=spec.die_height_mm,
        die_wid=spec.die_width_mm,
        wf_units=3,
        wf_flat="D",
        center_x=spec.center_x,
        center_y=spec.center_y,
        pos_x="R",
        pos_y="U",
    )


def _write_touchdowns(out: StdfWriter, dies: Dies, run: WaferRun, *, insertion: str) -> None:
    site, x, y = (column[run.die].tolist() for column in (dies.site, dies.x, dies.y))
    values, failed, passed = run.measured.values.tolist(), run.measured.failed.tolist(), run.measured.passed.tolist()
    hard_bin, soft_bin = run.measured.hard_bin.tolist(), run.measured.soft_bin.tolist()
    test_time_ms = run.test_time_ms.tolist()
    low, high = (side.tolist() for side in limits(insertion))
    starts = np.flatnonzero(np.diff(run.touchdown, prepend=-1)).tolist()
    for begin, end in zip(starts, [*starts[1:], len(site)], strict=True):
        parts = range(begin, end)
        for part in parts:
            out.record("PIR", head_num=HEAD, site_num=site[part])
        for column, parameter in enumerate(PARAMETERS):
            for part in parts:
                out.record(
                    "PTR",
                    tail="omit",
                    test_num=parameter.test_num,
                    head_num=HEAD,
                    site_num=site[part],
                    test_flg=TEST_FAILED if failed[part][column] else 0,
                    parm_flg=0,
                    result=values[part][column],
                    test_txt=parameter.name if part == 0 else None,
                    res_scal=parameter.display_scale if part == 0 else None,
                    llm_scal=parameter.display_scale if part == 0 else None,
                    hlm_scal=parameter.display_scale if part == 0 else None,
                    lo_limit=low[column] if part == 0 else None,
                    hi_limit=high[column] if part == 0 else None,
                    units=parameter.unit if part == 0 else None,
                )
        for part in parts:
            out.record(
                "PRR",
                tail="omit",
                head_num=HEAD,
                site_num=site[part],
                part_flg=0 if passed[part] else PART_FAILED,
                num_test=len(PARAMETERS),
                hard_bin=hard_bin[part],
                soft_bin=soft_bin[part],
                x_coord=x[part],
                y_coord=y[part],
                test_t=test_time_ms[part],
                part_id=str(part + 1),
            )


def _write_summaries(out: StdfWriter, run: WaferRun, *, wafer_id: str) -> None:
    attempts, retests = len(run.die), int((run.attempt > 1).sum())
    good = int(run.measured.passed.sum())
    finish = _seconds(run.finish)
    out.record(
        "WRR",
        tail="omit",
        head_num=HEAD,
        site_grp=SITE_GROUP,
        finish_t=finish,
        part_cnt=attempts,
        rtst_cnt=retests,
        abrt_cnt=0,
        good_cnt=good,
        wafer_id=wafer_id,
    )
    for column, parameter in enumerate(PARAMETERS):
        out.record(
            "TSR",
            tail="omit",
            head_num=ALL_SITES,
            site_num=0,
            test_typ="P",
            test_num=parameter.test_num,
            exec_cnt=attempts,
            fail_cnt=int(run.measured.failed[:, column].sum()),
            test_nam=parameter.name,
        )
    final = (run.attempt == 2) | run.measured.passed
    for hard in HARD_BINS:
        out.record(
            "HBR",
            head_num=ALL_SITES,
            site_num=0,
            hbin_num=hard.number,
            hbin_cnt=int((run.measured.hard_bin[final] == hard.number).sum()),
            hbin_pf="P" if hard.passes else "F",
            hbin_nam=hard.name,
        )
    for soft in SOFT_BINS:
        out.record(
            "SBR",
            head_num=ALL_SITES,
            site_num=0,
            sbin_num=soft.number,
            sbin_cnt=int((run.measured.soft_bin[final] == soft.number).sum()),
            sbin_pf="P" if soft.passes else "F",
            sbin_nam=soft.name,
        )
    out.record("PCR", head_num=ALL_SITES, site_num=0, part_cnt=attempts, rtst_cnt=retests, abrt_cnt=0, good_cnt=good)
    out.record("MRR", tail="omit", finish_t=finish + int(UNLOAD_TIME.total_seconds()), disp_cod=" ")
