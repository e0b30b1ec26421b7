"""Touchdown times from the clock that a tester logs as tests of its own [semantics 2.3]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from fs_spark.stdf.clock import MICROSECONDS, finish_to_utc, start_to_utc
from fs_spark.stdf.results import Results, Test
from fs_spark.stdf.rules import ClockConfig

Int64 = NDArray[np.int64]

_MISSING: Final = np.iinfo(np.int64).min
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  a wall clock's


def _wall_seconds(numbers: Sequence[int]) -> int:
    """Seconds since 1970 on the wall clock; missing where the numbers are no date and time."""
    try:
        year, month, day, hour, minute, second = numbers
        return round((datetime(year, month, day, hour, minute, second) - _EPOCH).total_seconds())  # noqa: DTZ001
    except (ValueError, OverflowError):
        return int(_MISSING)


@dataclass(slots=True)
class LoggedClock:
    """The clock of each part of a file, (parts,) wall seconds; `warnings` collects what was odd."""

    config: ClockConfig
    wall_s: Int64
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, config: ClockConfig, results: Results, tests: Sequence[Test]) -> LoggedClock:
        """Reads the first usable value of each of the clock's tests in each part, rounded to an integer."""
        n_parts = len(results.begins) - 1
        part = np.repeat(np.arange(n_parts), np.diff(results.begins))
        columns, there = [], np.ones(n_parts, bool)
        for name in config.fields:
            of_name = np.array([test.test_name == name for test in tests], bool)
            chosen = results.usable & (of_name[results.test_index] if len(tests) else False)
            rows = np.flatnonzero(chosen & np.isfinite(results.result))[::-1]  # of several in a part the first stays
            values = np.zeros(n_parts)
            values[part[rows]] = results.result[rows]
            found = np.zeros(n_parts, bool)
            found[part[rows]] = True
            there &= found
            columns.append(np.rint(values))
        clock = cls(config, np.full(n_parts, _MISSING, np.int64))
        if config.epoch is not None:
            clock.wall_s[there] = columns[0][there].astype(np.int64)
        else:
            for k in np.flatnonzero(there):
                clock.wall_s[k] = _wall_seconds([int(column[k]) for column in columns])
        lost = int((clock.wall_s == _MISSING).sum())
        if lost:
            clock.warnings.append(f"{lost} of {n_parts} parts have no clock of their own in {', '.join(config.fields)}")
        return clock

    def touchdown_ends(
        self, mine: Int64, touchdown: Int64, longest_ms: Int64, local_us: Int64, event_us: Int64
    ) -> tuple[Int64, Int64, NDArray[np.bool_]]:
        """Ends of a run's touchdowns on the wall and in UTC, and which of them were logged.

        A touchdown starts with its first part and ends with its last. One without a clock keeps its distance from
        the logged ones around it as the header's times give it.

        Shapes     mine, touchdown (parts of the run,); longest_ms, local_us, event_us (touchdowns,) -> (touchdowns,)
        """
        n = len(longest_ms)
        wall, there = self.wall_s[mine], self.wall_s[mine] != _MISSING
        is_start = self.config.gives == "start"
        clock = np.full(n, np.iinfo(np.int64).max if is_start else _MISSING)
        (np.minimum if is_start else np.maximum).at(clock, touchdown[there], wall[there])
        logged = np.zeros(n, bool)
        logged[touchdown[there]] = True
        if not logged.any():
            return local_us, event_us, logged
        add = longest_ms * 1000 if is_start else np.zeros(n, np.int64)
        local, event = local_us.copy(), event_us.copy()
        zone, before = ZoneInfo(self.config.zone), None
        for k in np.flatnonzero(logged):
            wall_s = int(clock[k])
            if self.config.epoch is not None:
                utc = wall_s
            else:  # of two instants the first that is not before the touchdown before
                utc = start_to_utc(wall_s, zone) if before is None else finish_to_utc(wall_s, before, zone)
            before = utc
            local[k], event[k] = wall_s * MICROSECONDS + add[k], utc * MICROSECONDS + add[k]
        at = np.flatnonzero(logged)
        backwards = int((np.diff(event[at]) < 0).sum())
        if backwards:
            self.warnings.append(f"the logged clock goes back {backwards} times; such touchdowns follow the one before")
        for times, made in ((local, local_us), (event, event_us)):
            shift = np.interp(np.arange(n), at, (times[at] - made[at]).astype(np.float64))
            times[~logged] = made[~logged] + np.rint(shift[~logged]).astype(np.int64)
        index = np.arange(n)
        return (
            np.maximum.accumulate(local - index) + index,
            np.maximum.accumulate(event - index) + index,
            logged,
        )
