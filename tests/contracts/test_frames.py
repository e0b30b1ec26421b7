"""The comparison that other tests trust sees each kind of difference."""

from __future__ import annotations

from math import nan
from typing import Any

import pytest
from chispa import DataFramesNotEqualError, SchemasNotEqualError
from pyspark.sql import DataFrame, SparkSession

from tests.frames import assert_frames_close

SCHEMA = "die int, bin int, value double, curve array<double>"
ROWS: list[tuple[Any, ...]] = [(1, 1, 0.5, [1.0, None]), (2, None, None, None), (3, 4, nan, [])]


def frame(spark: SparkSession, rows: list[tuple[Any, ...]], schema: str = SCHEMA) -> DataFrame:
    return spark.createDataFrame(rows, schema)


def test_equal_frames_in_another_row_order(spark: SparkSession) -> None:
    close = [(1, 1, 0.5 + 1e-12, [1.0 - 1e-12, None]), *ROWS[1:]]
    assert_frames_close(frame(spark, ROWS), frame(spark, ROWS[::-1]), keys=["die"])
    assert_frames_close(frame(spark, close), frame(spark, ROWS), keys=["die"], rtol=1e-9)
    with pytest.raises(AssertionError, match="value"):
        assert_frames_close(frame(spark, close), frame(spark, ROWS), keys=["die"])


@pytest.mark.parametrize(
    ("rows", "error", "text"),
    [
        pytest.param([(1, 2, 0.5, [1.0, None]), *ROWS[1:]], DataFramesNotEqualError, "bin", id="an integer"),
        pytest.param(ROWS[:2], DataFramesNotEqualError, "die", id="a row less"),
        pytest.param([ROWS[0], (2, None, nan, None), ROWS[2]], AssertionError, "value", id="NaN for null"),
        pytest.param([(1, 1, 0.5, [1.0]), *ROWS[1:]], AssertionError, "curve", id="a shorter array"),
        pytest.param([(1, 1, 0.5, [1.5, None]), *ROWS[1:]], AssertionError, "curve", id="a number in an array"),
        pytest.param([*ROWS, ROWS[0]], AssertionError, "keys", id="a row twice"),
    ],
)
def test_a_difference_is_seen(spark: SparkSession, rows: list[Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        assert_frames_close(frame(spark, rows), frame(spark, ROWS), keys=["die"], rtol=1e-9)


def test_another_type_is_seen(spark: SparkSession) -> None:
    with pytest.raises(SchemasNotEqualError):
        assert_frames_close(frame(spark, ROWS, SCHEMA.replace("bin int", "bin long")), frame(spark, ROWS), keys=["die"])
