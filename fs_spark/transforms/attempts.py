"""Attempt numbers, computed when read, so that a late file changes them without rewriting a row."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.schemas import require_columns

_KEYS = (n.LOT_ID, n.WAFER_ID, n.INSERTION, n.DIE_X, n.DIE_Y)
_ORDER = (n.EVENT_TIMESTAMP, n.RUN_ID, n.PART_INDEX)


def with_attempts(die_tests: DataFrame) -> DataFrame:
    """Adds `attempt` (1..n), `is_first` and `is_final` within (lot, wafer, insertion, x, y).

    Where lot, wafer, x or y is null, each part is its own die: attempt 1, first and final.

        | die_x | die_y | event_timestamp | ->  | attempt | is_first | is_final |
        | 3     | -4    | 10:00           |     | 1       | true     | false    |
        | 3     | -4    | 11:30           |     | 2       | false    | true     |
    """
    require_columns(die_tests, [*_KEYS, *_ORDER], what="die_tests")
    own = F.lit(False)
    for key in (n.LOT_ID, n.WAFER_ID, n.DIE_X, n.DIE_Y):
        own = own | F.col(key).isNull()
    alone = F.when(own, F.concat_ws(":", F.col(n.RUN_ID), F.col(n.PART_INDEX)))
    die = Window.partitionBy(*_KEYS, alone)
    number = F.row_number().over(die.orderBy(*_ORDER))
    last = F.row_number().over(die.orderBy(*(F.col(c).desc() for c in _ORDER)))
    return die_tests.select(
        "*",
        number.alias(n.ATTEMPT),
        (number == 1).alias(n.IS_FIRST),
        (last == 1).alias(n.IS_FINAL),
    )
