"""What the join may know of its inputs beforehand: the spine's keys and times, and keys with very many rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark.transforms.as_of_view import AsOfView, HeavyKey, Pruning

MOST_VALUES: Final = 1000
"""Of a key in a filter; beyond it the times alone prune."""
HEAVY_ROWS: Final = 2_000_000
"""Rows of one key that are worth to be cut by time: a task sorts about as many in a few seconds."""
MOST_CUTS: Final = 15

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def spine_statistics(spine: DataFrame, views: Sequence[AsOfView], timestamp: str) -> Pruning:
    """The spine's least and greatest time, and the values of the first key of the views where there are few."""
    row = spine.agg(F.min(F.unix_micros(timestamp)), F.max(F.unix_micros(timestamp))).collect()[0]
    earliest, latest = (None if value is None else _moment(value) for value in row)
    keys: dict[str, list[Any]] = {}
    for key in {view.keys[0] for view in views}:
        found = spine.select(key).where(F.col(key).isNotNull()).distinct().limit(MOST_VALUES + 1).collect()
        if len(found) <= MOST_VALUES:
            keys[key] = sorted(value for (value,) in found)
    return Pruning(keys, earliest, latest)


def heavy_keys(
    spine: DataFrame, views: Sequence[AsOfView], timestamp: str, spine_rows: int, *, rows: int = HEAVY_ROWS
) -> list[HeavyKey]:
    """Values of the views' shortest keys that have more than `rows` rows in the spine or in a view, with cuts of
    about equal weight. Small inputs are not looked at.
    """
    shortest = min((view.keys for view in views), key=len)
    inputs = [(spine, timestamp)] if spine_rows > rows else []
    for view in views:
        if set(shortest) <= set(view.keys) and view.frame.count() > rows:  # a Delta table knows it without reading
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
