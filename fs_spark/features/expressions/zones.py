"""Clocks of zones: from instants to what a clock on the wall shows, and back, for whole arrays.

The rules come from the IANA table that Python's `zoneinfo` reads; Spark takes them from Java's copy of it. Both are the
same where their versions are: a zone whose government has changed its rules since, or whose times before 1970 one of
them leaves out, differs. Only names that both know and understand alike are zones here.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Timestamps at or after the first and before the second have a date on the clock of every zone."""
SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def micros(instant: datetime) -> int:
    """Microseconds since 1970 in UTC."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


@cache
def _names() -> frozenset[str]:
    names = available_timezones()
    return frozenset({"UTC"} | {name for name in names if "/" in name and not name.startswith(("posix/", "right/"))})


def is_zone(name: str) -> bool:
    """Whether it is UTC, or an IANA name with a slash; EST and others without one mean other things in Java."""
    return name in _names()


def like(name: str) -> str:
    """The zones that may be meant, as the end of a sentence; empty where none is near."""
    city = name.rsplit("/", 1)[-1].replace(" ", "_").lower()
    found = sorted(one for one in _names() if one.lower().endswith(f"/{city}"))
    found = found or difflib.get_close_matches(name, sorted(_names()), n=1, cutoff=0.7)
    return f", such as {found[0]!r}" if found else ""


def _offset(zone: ZoneInfo, second: int) -> int:
    within = min(max(second, micros(EARLIEST) // SECOND), (micros(LATEST) - DAY) // SECOND)
    shown = zone.utcoffset((_EPOCH + timedelta(seconds=within)).astimezone(zone))
    return 0 if shown is None else int(shown.total_seconds())


@lru_cache(maxsize=20_000)
def _changes(name: str, year: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """The offset from UTC when a year begins in UTC, and each second of that year from which it is another."""
    zone = ZoneInfo(name)
    begin = int((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
    days = 366 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 365
    first = offset = _offset(zone, begin)
    changes = []
    for day in range(days):
        low, high = begin + day * 86_400, begin + (day + 1) * 86_400
        if _offset(zone, high) == offset:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
        offset = _offset(zone, high)
        changes.append((high, offset))
    return first, tuple(changes)


def _table(name: str, instants: Int64) -> tuple[Int64, Int64]:
    """Instants from which an offset holds, rising, and the offsets, for all years around the given instants; in us."""
    years = np.unique(instants.astype("M8[us]").astype("M8[Y]").astype(np.int64)) + 1970
    near = sorted({int(year) + step for year in years for step in (-1, 0, 1) if 1 <= year + step <= 9999})
    starts, offsets = [-(2**62) // SECOND], [_changes(name, near[0])[0] if near else 0]
    for year in near:
        first, changes = _changes(name, year)
        begin = int((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds())
        for start, offset in ((begin, first), *changes):
            if offset != offsets[-1]:
                starts.append(start)
                offsets.append(offset)
    return np.array(starts, np.int64) * SECOND, np.array(offsets, np.int64) * SECOND


def wall_clock(instants: Int64, zone: str) -> Int64:
    """What the zone's clock shows at instants in us since 1970, written as if it were UTC."""
    if zone == "UTC" or not len(instants):
        return instants
    starts, offsets = _table(zone, instants)
    return np.asarray(instants + offsets[np.searchsorted(starts, instants, side="right") - 1], np.int64)


def instants_of(walls: Int64, zone: str) -> Int64:
    """The instants at which the zone's clock shows so: the first of two; in a gap, as if the clock had gone on."""
    if zone == "UTC" or not len(walls):
        return walls
    starts, offsets = _table(zone, walls)
    before = np.concatenate([offsets[:1], offsets[:-1]])
    ends = starts + np.maximum(before, offsets)
    ends[0] = starts[0]
    return np.asarray(walls - offsets[np.searchsorted(ends, walls, side="right") - 1], np.int64)
