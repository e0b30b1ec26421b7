"""Sides of a split, and what is left to chance, as `fs_spark.features.spine` says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

from fs_spark.features.spans import micros
from fs_spark.features.spine import EMBARGO, GroupSplit, TimeSplit

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def all_of(conditions: Sequence[Column]) -> Column:
    return reduce(lambda a, b: a & b, conditions, F.lit(True))


def draw(purpose: str, seed: int, keys: Sequence[str]) -> Column:
    """A whole number from 0 to 2^52 by the keys and the seed; `fs_spark.features.spine` says how it is made."""
    texts = [F.col(key).cast("string") for key in keys]
    told = [part for text in texts for part in (F.length(text).cast("string"), text)]
    digest = F.sha2(F.concat_ws(":", F.lit(f"{purpose}:{seed}"), *told), 256)
    return F.conv(F.substring(digest, 1, 13), 16, 10).cast("bigint")


def side_of_keys(split: GroupSplit, keys: Sequence[str]) -> Column:
    """The side of all rows with these keys."""
    drawn = draw("split", split.seed, keys)
    side = F.lit(split.bounds[-1][0])
    for name, bound in reversed(split.bounds[:-1]):
        side = F.when(drawn < bound, F.lit(name)).otherwise(side)
    return side


def side_of_span(split: TimeSplit, first: Column, last: Column) -> Column:
    """The side that a span lies on, from its first to its last time, both in it; `embargo` where it is on none."""
    cuts = [micros(cut - _EPOCH) for cut in split.cuts]
    first, last = F.unix_micros(first), F.unix_micros(last)
    side = F.lit(EMBARGO)
    for name, begin, end in zip(split.sides, [None, *cuts], [*cuts, None], strict=True):
        after = [] if begin is None else [first >= F.lit(begin + micros(split.embargo))]
        before = [] if end is None else [last < F.lit(end)]  # null, a label never known: not before
        side = F.when(all_of([*after, *before]), F.lit(name)).otherwise(side)
    return side
