"""What the tester reads off a wafer's dies at one insertion: test times, four values, fails and bins."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fs_spark.synth.process import WaferProcess, draw_failing
from fs_spark.synth.spec import (
    FUNCTION_HARD_BIN,
    FUNCTION_SOFT_BIN,
    LIMIT_SHIFT,
    PARAMETERS,
    PASS_BIN,
    SET_POINT,
)

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BAD_CONTACT: Final = 0.03
FATAL_AT_CP1: Final = 0.22
FATAL_AT_CP2: Final = 0.2
BASE_TEST_TIME_MS: Final = {"CP1": 420, "CP2": 560}


class Measured(NamedTuple):
    """Results of one pass over some dies.

    Shapes  `values` (n, 4) in the order of `PARAMETERS`, as written; `failed` (n, 4) against the limits; the rest (n,)
    """

    values: Floats32
    failed: Bools
    passed: Bools
    hard_bin: Ints
    soft_bin: Ints


def draw_fatal(rng: np.random.Generator, wafer: WaferProcess, *, insertion: str) -> Bools:
    """Which dies cannot work at this insertion, however often they are tested."""
    return draw_failing(rng, wafer.defects, fraction=FATAL_AT_CP1 if insertion == "CP1" else FATAL_AT_CP2)


def draw_test_times(rng: np.random.Generator, count: int, *, insertion: str) -> Ints:
    """TEST_T per die in ms: mostly equal, some longer."""
    extra = np.where(rng.random(count) < 0.3, rng.integers(1, 60, count), 0)
    return np.asarray(BASE_TEST_TIME_MS[insertion] + extra, dtype=np.int64)


def limits(insertion: str) -> tuple[Floats32, Floats32]:
    """Low and high limits of the four parameters at this insertion, as written."""
    shifts = LIMIT_SHIFT[insertion]
    low = np.array([p.low + shift for p, shift in zip(PARAMETERS, shifts, strict=True)], dtype=np.float32)
    high = np.array([p.high + shift for p, shift in zip(PARAMETERS, shifts, strict=True)], dtype=np.float32)
    return low, high


def measure(
    rng: np.random.Generator, wafer: WaferProcess, dies: Ints, *, fatal: Bools, elapsed_s: Floats, insertion: str
) -> Measured:
    """One pass over `dies` (indices into the wafer) at `elapsed_s` since the start of the run.

    The chuck drifts by a few degrees during a run; bad contact lowers `vdd` and `idd` and is gone at the next try;
    a die that cannot work shows it in the four values only by its leakage.
    """
    count, hot = len(dies), insertion == "CP2"
    speed, supply = wafer.speed[dies], wafer.supply[dies]
    drift = 1.5 * (1.0 - np.exp(-elapsed_s / 120.0)) + 0.6 * np.sin(elapsed_s / 90.0)
    temp = SET_POINT[insertion] + drift + rng.normal(0.0, 0.35, count)
    leakage = wafer.leakage[dies] * (1.6 if hot else 1.0)
    idd = 10.5 + 0.55 * speed + 0.02 * drift + leakage + (1.2 if hot else 0.0) + rng.normal(0.0, 0.75, count)
    freq = 152.0 + 4.2 * speed - 0.25 * drift - (5.0 if hot else 0.0) - 0.4 * leakage + rng.normal(0.0, 2.2, count)
    vdd = 1.20 + 0.014 * supply + rng.normal(0.0, 0.016, count)
    contact = rng.random(count) < BAD_CONTACT
    vdd = np.where(contact, vdd - rng.uniform(0.10, 0.30, count), vdd)
    idd = np.where(contact, idd * rng.uniform(0.5, 0.95, count), idd)

    values = np.stack([vdd, idd * 1e-3, freq, temp], axis=1).astype(np.float32)
    low, high = limits(insertion)
    failed = (values < low) | (values > high)
    function_failed = fatal[dies]
    hard_bin = np.where(function_failed, FUNCTION_HARD_BIN, PASS_BIN)
    soft_bin = np.where(function_failed, FUNCTION_SOFT_BIN, PASS_BIN)
    # The first failing test sets the bin and the functional test runs last, so assign from last to first.
    for column in reversed(range(len(PARAMETERS))):
        hard_bin = np.where(failed[:, column], PARAMETERS[column].hard_bin, hard_bin)
        soft_bin = np.where(failed[:, column], PARAMETERS[column].soft_bin, soft_bin)
    return Measured(
        values=values,
        failed=failed,
        passed=hard_bin == PASS_BIN,
        hard_bin=hard_bin.astype(np.int64),
        soft_bin=soft_bin.astype(np.int64),
    )


def joined(first: Measured, second: Measured) -> Measured:
    """Two passes as one, in this order."""
    return Measured(
        values=np.concatenate([first.values, second.values]),
        failed=np.concatenate([first.failed, second.failed]),
        passed=np.concatenate([first.passed, second.passed]),
        hard_bin=np.concatenate([first.hard_bin, second.hard_bin]),
        soft_bin=np.concatenate([first.soft_bin, second.soft_bin]),
    )
