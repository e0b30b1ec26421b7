"""When the touchdowns of each run ended, from the times of the header records as far as they can be believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from fs_spark.stdf.clock import MICROSECONDS, TimeQuality, finish_to_utc, start_to_utc, touchdown_ends
from fs_spark.stdf.records import Fields
from fs_spark.stdf.rules import LONGEST_RUN, Availability, TesterConfig
from fs_spark.stdf.runs import Run

if TYPE_CHECKING:
    from fs_spark.stdf.logged_clock import LoggedClock
    from fs_spark.stdf.parts import Parts

Int64 = NDArray[np.int64]

_FIRST: Final = 365 * 86_400
"""Times in 1970 are those of a clock that was never set."""
_HOUR: Final = 3600
_NEVER: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class RunTimes:
    """`local_us`, `event_us`, `available_us` (touchdowns,); UTC ones are None without a zone.

    Where `known` is false nothing tells when the run was: its times are numbers without a meaning.
    """

    start_local_us: int | None
    local_us: Int64
    quality: TimeQuality
    start_us: int | None = None
    finish_us: int | None = None
    event_us: Int64 | None = None
    available_us: Int64 | None = None
    logged: NDArray[np.bool_] | None = None
    """Touchdowns whose time the tester logged itself, (touchdowns,)."""
    known: bool = True

    @property
    def qualities(self) -> list[TimeQuality]:
        """How each touchdown's time was made."""
        if self.logged is None:
            return [self.quality] * len(self.local_us)
        return ["logged" if logged else self.quality for logged in self.logged]

    @property
    def end_us(self) -> int | None:
        known = self.known and self.event_us is not None and len(self.event_us)
        return int(self.event_us[-1]) if known and self.event_us is not None else None


@dataclass(frozen=True, slots=True)
class HeaderTimes:
    """The wall seconds of START_T and FINISH_T that can be believed, of the file and of each run; None = missing.

    A time is missing where the record has none, where it is 0, in 1970 or 0xFFFFFFFF, where a finish is before its
    start or more than `longest` behind it, and where a run's start is as far from the file's.
    """

    start_s: tuple[int | None, ...]
    finish_s: tuple[int | None, ...]
    closed_s: int | None
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, runs: Sequence[Run], head: Fields, end: Fields | None, tester: TesterConfig | None) -> HeaderTimes:
        odd: Counter[str] = Counter()
        allowed = tester.longest_run if tester else LONGEST_RUN
        zone = ZoneInfo(tester.zone) if tester else None
        longest = round(allowed.total_seconds())

        def there(value: int | None, name: str) -> int | None:
            if value is None or _FIRST <= value < _NEVER:
                return value
            odd[f"{name} is {value}"] += 1
            return None

        def before(value: int, start: int) -> bool:
            """In the hour that a clock shows twice, a finish can read less than its start."""
            if zone is None or not -_HOUR <= value - start < 0:
                return value < start
            begun = start_to_utc(start, zone)
            return finish_to_utc(value, begun, zone) < begun

        def finish(value: int | None, start: int | None, name: str) -> int | None:
            value = there(value, name)
            if value is None or start is None:
                return value
            if before(value, start):
                odd[f"{name} is before its start"] += 1
                return None
            if value - start > longest:
                odd[f"{name} is more than {allowed.days} days after its start"] += 1
                return None
            return value

        begun = there(head["start_t"], "START_T of the MIR")
        closed = finish(end["finish_t"] if end else None, begun, "FINISH_T of the MRR")
        starts, finishes = [], []
        for run in runs:
            start = there(run.start_s, "START_T of a WIR")
            if start is not None and begun is not None and abs(start - begun) > longest:
                odd[f"START_T of a WIR is more than {allowed.days} days from that of the MIR"] += 1
                start = None
            start = begun if start is None else start
            ended = finish(run.finish_s, start, "FINISH_T of a WRR")
            if (
                ended is None
                and closed is not None
                and (start is None or (not before(closed, start) and closed - start <= longest))
            ):
                ended = closed
            starts.append(start)
            finishes.append(ended)
        told = [f"{what}{f' ({count} times)' if count > 1 else ''}: taken as missing" for what, count in odd.items()]
        without = sum(start is None for start in starts)
        if without:
            told.append(f"nothing tells when {without} of {len(runs)} runs began")
        return cls(tuple(starts), tuple(finishes), closed, tuple(told))


def _ends(longest_ms: Int64, start_s: int | None, finish_s: int | None) -> tuple[Int64, TimeQuality]:
    """Without a start the touchdowns end a microsecond apart, the last at the finish: their order is known, no more."""
    if start_s is not None:
        return touchdown_ends(longest_ms, start_s=start_s, finish_s=finish_s)
    ends = (finish_s or 0) * MICROSECONDS - np.arange(len(longest_ms) - 1, -1, -1, dtype=np.int64)
    return ends, "missing" if finish_s is None else "run_finish"


def run_times(
    runs: Sequence[Run],
    parts: Parts,
    header: HeaderTimes,
    *,
    zone: str | None,
    mode: Availability,
    margin_us: int,
    arrival_us: int | None,
    clock: LoggedClock | None = None,
) -> list[RunTimes]:
    """End of each touchdown of each run, on the tester's wall clock and, with a zone, in UTC."""
    times = []
    closed_s = header.closed_s
    by_run = np.argsort(parts.run, kind="stable")
    first = np.searchsorted(parts.run[by_run], np.arange(len(runs) + 1))
    for k in range(len(runs)):
        mine = by_run[first[k] : first[k + 1]]
        n = int(parts.touchdown[mine].max(initial=-1)) + 1
        longest = np.zeros(n, np.int64)
        np.maximum.at(longest, parts.touchdown[mine], parts.test_time_ms[mine])
        start_s, finish_s = header.start_s[k], header.finish_s[k]
        local, quality = _ends(longest, start_s, finish_s)
        start_local = start_s * MICROSECONDS if start_s is not None else None
        known = start_s is not None or finish_s is not None
        if zone is None:
            times.append(RunTimes(start_local, local, quality, known=known))
            continue
        where = ZoneInfo(zone)
        start = start_to_utc(start_s, where) if start_s is not None else None
        finish = finish_to_utc(finish_s, start or 0, where) if finish_s is not None else None
        event, quality = _ends(longest, start, finish)
        logged = None
        if clock is not None:
            local, event, logged = clock.touchdown_ends(mine, parts.touchdown[mine], longest, local, event)
            if bool(logged.any()) and not known:
                known, quality = True, "interpolated"
        available = event
        if mode == "file_close":
            close = int(event.max(initial=0))
            if closed_s is not None:
                close = finish_to_utc(closed_s, start or 0, where) * MICROSECONDS
            available = np.maximum(event, close + margin_us)
        elif mode == "arrival" and arrival_us is not None:
            available = np.maximum(event, arrival_us + margin_us)
        times.append(
            RunTimes(
                start_local_us=start_local,
                local_us=local,
                quality=quality,
                start_us=start * MICROSECONDS if start is not None else None,
                finish_us=finish * MICROSECONDS if finish is not None else None,
                event_us=event,
                available_us=available,
                logged=logged,
                known=known,
            )
        )
    return times
