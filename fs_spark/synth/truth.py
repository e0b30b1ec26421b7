"""What really happened in a synthetic lot, as a table: one row per attempt in file order."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from fs_spark import names
from fs_spark.synth.probing import Dies
from fs_spark.synth.run import WaferRun
from fs_spark.synth.spec import PARAMETERS

FILE_NAME: Final = "file_name"
EVENT_LOCAL: Final = "event_local"

TRUTH: Final = pa.schema(
    [
        pa.field(FILE_NAME, pa.string(), nullable=False),
        pa.field(names.LOT_ID, pa.string(), nullable=False),
        pa.field(names.WAFER_ID, pa.string(), nullable=False),
        pa.field(names.INSERTION, pa.string(), nullable=False),
        pa.field(names.DIE_X, pa.int32(), nullable=False),
        pa.field(names.DIE_Y, pa.int32(), nullable=False),
        pa.field(names.SITE, pa.int32(), nullable=False),
        pa.field(names.TOUCHDOWN, pa.int32(), nullable=False),
        pa.field(names.PART_INDEX, pa.int32(), nullable=False),
        pa.field(names.ATTEMPT, pa.int32(), nullable=False),
        pa.field(names.PASSED, pa.bool_(), nullable=False),
        pa.field(names.HARD_BIN, pa.int32(), nullable=False),
        pa.field(names.SOFT_BIN, pa.int32(), nullable=False),
        *(pa.field(parameter.name, pa.float32(), nullable=False) for parameter in PARAMETERS),
        pa.field(names.TEST_TIME_MS, pa.int32(), nullable=False),
        pa.field(EVENT_LOCAL, pa.timestamp("us"), nullable=False),
    ]
)
"""`event_local` is the end of the touchdown on the tester's wall clock; values are those in the file, in its units."""


def truth_rows(dies: Dies, run: WaferRun, *, file_name: str, lot_id: str, wafer_id: str, insertion: str) -> pa.Table:
    """The attempts of one run; `touchdown` and `part_index` count from 0 in the file."""
    count, measured = len(run.die), run.measured
    start = np.datetime64(run.start, "us")
    columns: dict[str, object] = {
        FILE_NAME: [file_name] * count,
        names.LOT_ID: [lot_id] * count,
        names.WAFER_ID: [wafer_id] * count,
        names.INSERTION: [insertion] * count,
        names.DIE_X: dies.x[run.die],
        names.DIE_Y: dies.y[run.die],
        names.SITE: dies.site[run.die],
        names.TOUCHDOWN: run.touchdown,
        names.PART_INDEX: np.arange(count),
        names.ATTEMPT: run.attempt,
        names.PASSED: measured.passed,
        names.HARD_BIN: measured.hard_bin,
        names.SOFT_BIN: measured.soft_bin,
        **{parameter.name: measured.values[:, i] for i, parameter in enumerate(PARAMETERS)},
        names.TEST_TIME_MS: run.test_time_ms,
        EVENT_LOCAL: start + run.end_us.astype("timedelta64[us]"),
    }
    return pa.table([pa.array(columns[field.name], type=field.type) for field in TRUTH], schema=TRUTH)
