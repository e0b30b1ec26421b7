"""When the dies of a run were tested and known, from what an input says of time; nothing is guessed.

All arithmetic is in integer microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from fs_spark.errors import StdfError
from fs_spark.inputs.rules import InputEntry
from fs_spark.stdf.clock import MICROSECONDS, TimeQuality, finish_to_utc, start_to_utc, touchdown_ends
from fs_spark.stdf.rules import Availability

Int64 = NDArray[np.int64]

_FAR: Final = 1 << 60
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  a wall clock's


def microseconds(wall: datetime) -> int:
    """A wall clock's time, or a UTC one, since 1970."""
    since = wall.replace(tzinfo=None) - _EPOCH
    return (since.days * 86_400 + since.seconds) * MICROSECONDS + since.microseconds


def _by_second(us: Int64, convert: Callable[[int], int]) -> Int64:
    """Converts the whole seconds, each distinct one once, and keeps the fractions."""
    seconds, fraction = np.divmod(us, MICROSECONDS)
    distinct, place = np.unique(seconds, return_inverse=True)
    found = np.array([convert(second) for second in distinct.tolist()], np.int64)
    return found[place] * MICROSECONDS + fraction


def to_utc(wall_us: Int64, zone: str, *, not_before_us: Int64 | int | None = None) -> Int64:
    """Local times to UTC; of two instants the earlier, but not before `not_before_us`.

    Raises StdfError for a wall time that the zone skips.
    """
    where = ZoneInfo(zone)
    try:
        earlier = _by_second(wall_us, lambda second: start_to_utc(second, where))
    except StdfError as fault:
        what = str(fault).split(" Hint:")[0]
        raise StdfError(f"{what} Hint: check the zone of the file's entry in inputs.yaml") from fault
    if not_before_us is None:
        return earlier
    later = _by_second(wall_us, lambda second: finish_to_utc(second, _FAR, where))
    return np.where(earlier < not_before_us, later, earlier)


def to_wall(utc_us: Int64, zone: str) -> Int64:
    """UTC to what a clock in `zone` shows."""
    where = ZoneInfo(zone)

    def convert(second: int) -> int:
        return microseconds(datetime.fromtimestamp(second, UTC).astimezone(where)) // MICROSECONDS

    return _by_second(utc_us, convert)


def touchdown_times(longest_ms: Int64, *, start_us: int | None, finish_us: int | None) -> tuple[Int64, TimeQuality]:
    """End of each touchdown of a run that tells only its start, its finish or both, strictly increasing.

    As for STDF: test times and an equal index time, else equal spacing, the last touchdown at the finish. Of one
    touchdown without a test time nothing is known but the run's finish. Without a start, the touchdowns end a
    microsecond apart with the last at the finish: their order is known and no more.

    Shapes     longest_ms (n,): the longest test time of each touchdown, 0 = missing  ->  (n,) microseconds
    """
    n = len(longest_ms)
    if finish_us is not None and (start_us is None or (n == 1 and not longest_ms.any())):
        return finish_us - np.arange(n - 1, -1, -1, dtype=np.int64), "run_finish"
    if start_us is None:
        raise StdfError("a run has neither a start nor a finish. Hint: give one in inputs.yaml")
    if finish_us is None:
        ends, quality = touchdown_ends(longest_ms, start_s=0, finish_s=None)
        return ends + start_us, quality
    seconds, rest = divmod(finish_us - start_us, MICROSECONDS)
    ends, quality = touchdown_ends(longest_ms, start_s=0, finish_s=seconds)
    if quality in ("interpolated", "equally_spaced"):
        ends = ends + (np.arange(1, n + 1) * rest) // n
    return ends + start_us, quality


@dataclass(frozen=True, slots=True)
class Delivery:
    """When results can be known, as far as an entry does not say it; `at_us` is the delivery, now if not given."""

    availability: Availability = "streaming"
    margin_us: int = 0
    at_us: int | None = None

    def available_us(self, event_us: Int64, *, close_us: int, entry: InputEntry) -> Int64:
        """When each of a run's results could be known; `close_us` is the end of the run."""
        mode, margin = entry.availability or self.availability, self.margin_us
        if entry.availability_margin is not None:
            margin = round(entry.availability_margin.total_seconds() * MICROSECONDS)
        if mode == "streaming":
            return event_us
        known = close_us if mode == "file_close" else self.at_us
        if known is None:
            known = microseconds(datetime.now(UTC))
        return np.maximum(event_us, known + margin)
