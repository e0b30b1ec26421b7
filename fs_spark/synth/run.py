"""One wafer run: a pass over the dies, a second pass over its fails, and the clock of both."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fs_spark.synth.measuring import Measured, draw_fatal, draw_test_times, joined, measure
from fs_spark.synth.probing import Dies, renumbered
from fs_spark.synth.process import WaferProcess

Ints = npt.NDArray[np.int64]


class WaferRun(NamedTuple):
    """The attempts of one wafer at one insertion, in file order, and the run's times on the tester's clock.

    Shapes  `die` (indices into the wafer), `attempt`, `touchdown`, `test_time_ms` and `end_us` (n,)
    Units   `end_us` in microseconds since `start`: the end of the attempt's touchdown
    """

    die: Ints
    attempt: Ints
    touchdown: Ints
    test_time_ms: Ints
    end_us: Ints
    measured: Measured
    start: datetime
    finish: datetime


def probe_wafer(
    rng: np.random.Generator,
    wafer: WaferProcess,
    dies: Dies,
    *,
    tested: Ints,
    insertion: str,
    begin: tuple[datetime, int],
) -> WaferRun:
    """Probe the dies `tested` (increasing indices), then the fails again, with the same places of the probe card.

    `begin` is the start and the index time in ms. The index time is then stretched a little, equally for every
    touchdown, such that the run ends at a whole second: STDF keeps no smaller unit.
    """
    start, index_time_ms = begin
    fatal = draw_fatal(rng, wafer, insertion=insertion)
    first_times = draw_test_times(rng, len(tested), insertion=insertion)
    first_touchdowns = renumbered(dies.touchdown[tested])
    first_ends = _ends_ms(first_touchdowns, first_times, index_time_ms)
    first = measure(rng, wafer, tested, fatal=fatal, elapsed_s=first_ends[first_touchdowns] / 1e3, insertion=insertion)
    again = tested[~first.passed]
    again_times = draw_test_times(rng, len(again), insertion=insertion)
    again_touchdowns = renumbered(dies.touchdown[again])
    again_ends = first_ends[-1] + _ends_ms(again_touchdowns, again_times, index_time_ms)
    second = measure(rng, wafer, again, fatal=fatal, elapsed_s=again_ends[again_touchdowns] / 1e3, insertion=insertion)

    touchdown = np.concatenate([first_touchdowns, first_touchdowns[-1] + 1 + again_touchdowns])
    test_time_ms = np.concatenate([first_times, again_times])
    end_us, seconds = _clock(touchdown, test_time_ms, index_time_ms)
    return WaferRun(
        die=np.concatenate([tested, again]),
        attempt=np.concatenate([np.full(len(tested), 1), np.full(len(again), 2)]),
        touchdown=touchdown,
        test_time_ms=test_time_ms,
        end_us=end_us[touchdown],
        measured=joined(first, second),
        start=start,
        finish=start + timedelta(seconds=seconds),
    )


def _longest_ms(touchdown: Ints, test_time_ms: Ints) -> Ints:
    longest = np.zeros(int(touchdown[-1]) + 1 if len(touchdown) else 0, dtype=np.int64)
    np.maximum.at(longest, touchdown, test_time_ms)
    return longest


def _ends_ms(touchdown: Ints, test_time_ms: Ints, index_time_ms: int) -> Ints:
    return np.asarray(np.cumsum(_longest_ms(touchdown, test_time_ms) + index_time_ms))


def _clock(touchdown: Ints, test_time_ms: Ints, index_time_ms: int) -> tuple[Ints, int]:
    """End of each touchdown in microseconds, and the length of the run in whole seconds."""
    busy_us = np.cumsum(_longest_ms(touchdown, test_time_ms)) * 1000
    count = len(busy_us)
    seconds = -(-(int(busy_us[-1]) + count * index_time_ms * 1000) // 1_000_000)
    idle_us = seconds * 1_000_000 - int(busy_us[-1])
    return busy_us + np.arange(1, count + 1) * idle_us // count, seconds
