"""Times of row expressions on Arrow arrays: parts of dates, and clocks of zones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_spark.features.expressions.zones import DAY, EARLIEST, LATEST, SECOND, instants_of, micros, wall_clock

_FIRST_DAY: Final = -719_162
_LAST_DAY: Final = 2_932_896
_TIMESTAMP: Final = pa.timestamp("us", "UTC")


def _whole(values: Any) -> tuple[Any, Any]:
    """The integers behind dates and timestamps, 0 for null, and which are null."""
    kind = pa.int32() if values.type == pa.date32() else pa.int64()
    whole = values.cast(kind)
    return pc.fill_null(whole, 0).to_numpy(zero_copy_only=False), pc.is_null(values).to_numpy(zero_copy_only=False)


def usable(values: Any) -> Any:
    """Dates of the years 1 to 9999 and timestamps that have a date in every zone; others become null."""
    whole, missing = _whole(values)
    low, high = (_FIRST_DAY, _LAST_DAY) if values.type == pa.date32() else (micros(EARLIEST), micros(LATEST) - 1)
    outside = ((whole < low) | (whole > high)) & ~missing
    return pc.if_else(pa.array(outside), None, values) if outside.any() else values


def date_of(instants: Any, zone: str) -> Any:
    whole, missing = _whole(instants)
    days = wall_clock(whole, zone) // DAY
    return pa.array(days.astype(np.int32), pa.int32(), mask=missing).cast(pa.date32())


def start_of_day(instants: Any, zone: str) -> Any:
    whole, missing = _whole(instants)
    begins = instants_of(wall_clock(whole, zone) // DAY * DAY, zone)
    return usable(pa.array(begins, pa.int64(), mask=missing).cast(_TIMESTAMP))


def _time_of_day(unit: int, count: int) -> Callable[[Any, str], Any]:
    def part(instants: Any, zone: str) -> Any:
        whole, missing = _whole(instants)
        return pa.array((wall_clock(whole, zone) // unit % count).astype(np.int32), pa.int32(), mask=missing)

    return part


def between(first: Any, second: Any, unit: int) -> Any:
    """From the first to the second, in units of so many days or microseconds."""
    kind = pa.int32() if first.type == pa.date32() else pa.int64()
    difference = pc.subtract(second.cast(kind).cast(pa.int64()), first.cast(kind).cast(pa.int64()))
    return pc.divide(difference.cast(pa.float64(), safe=False), float(unit))


OF_CLOCK: Final = {
    "second": _time_of_day(SECOND, 60),
    "minute": _time_of_day(60 * SECOND, 60),
    "hour": _time_of_day(3600 * SECOND, 24),
}
OF_DATE: Final[dict[str, Callable[[Any], Any]]] = {
    "day_of_week": lambda days: pc.day_of_week(days, count_from_zero=False, week_start=1),
    "day_of_month": pc.day,
    "day_of_year": pc.day_of_year,
    "week_of_year": pc.iso_week,
    "month": pc.month,
    "quarter": pc.quarter,
    "year": pc.year,
}
