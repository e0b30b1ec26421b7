"""What the join may know of its inputs beforehand: the spine's keys and times, and keys with very many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark.transforms.as_of_view import AsOfView, HeavyKey, Pruning
from fs_spark.transforms.digest import Seen

HEAVY_ROWS: Final = 2_000_000
"""Rows of one key that are worth to be cut by time: a task sorts about as many in a few seconds."""
MOST_CUTS: Final = 15

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def pruning_keys(keys: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose values in the spine can prune views of these keys: the first of each."""
    return sorted({of_view[0] for of_view in keys})


def pruning_of(seen: Seen) -> Pruning:
    """What the rows of a spine have shown: least and greatest time, and the values of keys that have few."""
    earliest, latest = (None, None) if seen.times is None else map(_moment, seen.times)
    return Pruning({k: sorted(values) for k, values in seen.keys.items() if values is not None}, earliest, latest)


def heavy_keys(
    spine: DataFrame,
    views: Sequence[AsOfView],
    timestamp: str,
    spine_rows: int,
    *,
    rows: int = HEAVY_ROWS,
    stored: Mapping[str, int | None] | None = None,
) -> list[HeavyKey]:
    """Values of the views' shortest keys that have more than `rows` rows in the spine or in a view, with cuts of
    about equal weight. Small inputs are not looked at; `stored` are the views' row counts where they are known.
    """
    if not views:
        return []
    shortest = min((view.keys for view in views), key=len)
    inputs = [(spine, timestamp)] if spine_rows > rows else []
    for view in views:
        if not set(shortest) <= set(view.keys):
            continue
        count = (stored or {}).get(view.name)
        if (count if count is not None else view.frame.count()) > rows:
            inputs.append((view.frame, view.event_timestamp))
    found: dict[tuple[Any, ...], tuple[int, list[int]]] = {}
    for frame, time in inputs:
        for row in _heavy(frame, shortest, time, rows):
            key, count, cuts = tuple(row[: len(shortest)]), row["rows"], row["cuts"]
            if cuts and count > found.get(key, (0, []))[0]:
                found[key] = count, cuts
    return [
        HeavyKey(dict(zip(shortest, key, strict=True)), tuple(_moment(cut) for cut in sorted(set(cuts))))
        for key, (_, cuts) in sorted(found.items(), key=str)
    ]


def _heavy(frame: DataFrame, keys: Sequence[str], time: str, rows: int) -> list[Any]:
    counted = frame.groupBy(*keys).agg(F.count(F.lit(1)).alias("rows")).where(F.col("rows") > rows)
    named = [row for row in counted.collect() if all(row[key] is not None for key in keys)]
    found = []
    for row in named:
        pieces = min(MOST_CUTS, max(1, 2 * row["rows"] // rows))
        shares = [(k + 1) / (pieces + 1) for k in range(pieces)]
        here = F.lit(True)
        for key in keys:
            here = here & (F.col(key) == F.lit(row[key]))
        cuts = F.percentile_approx(F.unix_micros(time), shares, 1000).alias("cuts")
        found += frame.where(here).groupBy(*keys).agg(F.count(F.lit(1)).alias("rows"), cuts).collect()
    return found
