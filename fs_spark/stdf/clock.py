"""When each touchdown ended: times from a run's start, its finish and the parts' TEST_T [semantics 2.1 and 2.3].

All arithmetic is in integer microseconds, so that a time does not depend on how it was summed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from fs_spark.errors import StdfError

TimeQuality = Literal["logged", "interpolated", "equally_spaced", "cumulative", "run_start", "run_finish", "missing"]
"""`run_finish`: the run's finish is all that is known of the time of its dies; `missing`: not even that."""
MICROSECONDS = 1_000_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  a wall clock's


def _instants(wall_seconds: int, zone: ZoneInfo) -> list[int]:
    """The UTC seconds at which a wall clock in `zone` shows `wall_seconds`: none, one or two."""
    wall = _EPOCH + timedelta(seconds=wall_seconds)
    found = set()
    for fold in (0, 1):
        instant = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) == wall:
            found.add(round((instant.replace(tzinfo=None) - _EPOCH).total_seconds()))
    return sorted(found)


def start_to_utc(wall_seconds: int, zone: ZoneInfo) -> int:
    """A start's local seconds to UTC seconds; of two instants the earlier.

    Raises StdfError for a wall time that the zone skips.
    """
    instants = _instants(wall_seconds, zone)
    if not instants:
        raise StdfError(
            f"local time {_EPOCH + timedelta(seconds=wall_seconds)} does not exist in {zone.key}. "
            "Hint: check the tester's zone in testers.yaml"
        )
    return instants[0]


def finish_to_utc(wall_seconds: int, start_utc: int, zone: ZoneInfo) -> int:
    """A finish's local seconds to UTC seconds; of two instants the first that is not before the start."""
    instants = _instants(wall_seconds, zone)
    if not instants:
        raise StdfError(
            f"local time {_EPOCH + timedelta(seconds=wall_seconds)} does not exist in {zone.key}. "
            "Hint: check the tester's zone in testers.yaml"
        )
    return next((instant for instant in instants if instant >= start_utc), instants[-1])


def touchdown_ends(
    longest_ms: NDArray[np.int64], *, start_s: int, finish_s: int | None
) -> tuple[NDArray[np.int64], TimeQuality]:
    """End of each touchdown of one run, strictly increasing by at least a microsecond.

    Shapes     longest_ms (n,): the longest TEST_T of each touchdown, 0 = missing  ->  (n,) microseconds
    Units      ms and s in, microseconds out, on the clock of `start_s`
    Source     STDF V4 p.41 (TEST_T), own definition of the equal index time
    """
    n = longest_ms.shape[0]
    start = start_s * MICROSECONDS
    spent = np.cumsum(longest_ms) * 1000
    index = np.arange(1, n + 1)
    known = bool(n) and bool((longest_ms > 0).all())
    quality: TimeQuality
    if finish_s is not None and finish_s >= start_s and n:
        span = (finish_s - start_s) * MICROSECONDS
        rest = span - int(spent[-1])
        if known and rest >= 0:
            ends, quality = start + spent + (index * rest) // n, "interpolated"
        else:
            ends, quality = start + (index * span) // n, "equally_spaced"
    elif known:
        ends, quality = start + spent, "cumulative"
    else:
        ends, quality = np.full(n, start, np.int64), "run_start"
    # strictly increasing: the running maximum of (end - k), then + k again
    return np.maximum.accumulate(ends - index) + index, quality
