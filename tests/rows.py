"""Rows as plain dicts <-> Spark frames, for tests that compare with an oracle. Times are microseconds since 1970."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

Rows = list[dict[str, Any]]

ARROW = {
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}


def arrow_of(rows: Sequence[Mapping[str, Any]], schema: str) -> pa.Table:
    """`schema` names columns and Spark types: "lot_id string, die_x int"; a column that a row lacks is null."""
    columns = [column.split() for column in schema.split(",")]
    return pa.table({name: pa.array([row.get(name) for row in rows], ARROW[kind]) for name, kind in columns})


def frame_of(spark: SparkSession, rows: Sequence[Mapping[str, Any]], schema: str) -> DataFrame:
    return spark.createDataFrame(arrow_of(rows, schema), schema)


def rows_of(frame: DataFrame) -> Rows:
    """A frame's rows; NaN is the text 'nan', so that rows compare by `==`."""
    table = frame.toArrow()
    for index, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            table = table.set_column(index, column.name, table[column.name].cast(pa.int64()))
    return [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]


def plain(value: Any) -> Any:
    return "nan" if isinstance(value, float) and math.isnan(value) else value


@contextmanager
def settings(spark: SparkSession, changed: Mapping[str, str]) -> Iterator[None]:
    """Session settings for a while; afterwards they are as they were."""
    before = {key: spark.conf.get(key, None) for key in changed}
    try:
        for key, value in changed.items():
            spark.conf.set(key, value)
        yield
    finally:
        for key, value_before in before.items():
            if value_before is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, value_before)


def explained(frame: DataFrame, capsys: pytest.CaptureFixture[str], mode: str = "simple") -> str:
    """A frame's plan, as it is printed."""
    capsys.readouterr()
    frame.explain(mode=mode)
    return capsys.readouterr().out
