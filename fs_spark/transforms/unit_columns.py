"""Where a row lies in its table: a hash of its keys, and the beginning of its span on a fixed grid in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

SPAN_US: Final = 30 * 86_400_000_000
"""Thirty days: what is computed and replaced as one is bounded in time as well as in key."""
UNIT_BUCKET: Final = "unit_bucket"
UNIT_FROM: Final = "unit_from"


def bucket_of(keys: Sequence[str], buckets: int) -> Column:
    """A number below `buckets` by the values of the keys."""
    hashed = F.xxhash64(*(F.col(f"`{key}`") for key in keys))
    return F.pmod(hashed, F.lit(buckets)).cast("int").alias(UNIT_BUCKET)


def span_us(instant: Column) -> Column:
    """The beginning of the span of an instant in microseconds; 0 where there is none."""
    return F.coalesce(instant - F.pmod(instant, F.lit(SPAN_US)), F.lit(0)).cast("bigint")


def span_of(time: Column) -> Column:
    """The beginning of the span of a time."""
    return F.timestamp_micros(span_us(F.unix_micros(time))).alias(UNIT_FROM)


def span_start(instant_us: int) -> int:
    """The same for a number."""
    return instant_us - instant_us % SPAN_US


def buckets_for(rows: int) -> int:
    """How many buckets a table of so many rows gets, once for all: some ten thousand rows each, 16 to 1024."""
    wanted = max(rows // 20_000, 16)
    return min(1 << (wanted - 1).bit_length(), 1024)
