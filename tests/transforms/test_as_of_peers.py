"""The join beside pandas.merge_asof where both define the answer, and the cases at which other tools fail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark.transforms import AsOfView, as_of_join

START = pd.Timestamp("2025-03-01", tz="UTC")


def seconds(values: Any) -> Any:
    return START + pd.to_timedelta(values, unit="s")


def join_frames(
    spark: SparkSession,
    left: pd.DataFrame,
    right: pd.DataFrame,
    keys: tuple[str, ...],
    columns: list[str],
    **rules: Any,
) -> pd.DataFrame:
    view = AsOfView(
        "v", spark.createDataFrame(right), keys, columns, event_timestamp="time", available_timestamp=None,
        sequence=None, **rules,
    )  # fmt: skip
    spine = spark.createDataFrame(left.assign(row=range(len(left))))
    joined = as_of_join(spine, [view], timestamp="time").toPandas()
    return joined.sort_values("row").drop(columns="row").reset_index(drop=True)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("tolerance", [None, 7])
def test_equals_merge_asof_by_several_keys(spark: SparkSession, exact: bool, tolerance: int | None) -> None:
    rng = np.random.default_rng(7)
    left = pd.DataFrame(
        {
            "time": seconds(np.sort(rng.integers(0, 200, 150))),
            "lot": rng.choice(["a", "b"], 150),
            "x": rng.integers(0, 3, 150),
        }
    )
    distinct = np.sort(
        rng.permutation(220)[:150]
    )  # merge_asof takes the last of tied rows, by their order in the frame
    right = pd.DataFrame(
        {
            "time": seconds(distinct),
            "lot": rng.choice(["a", "b"], 150),
            "x": rng.integers(0, 3, 150),
            "value": rng.normal(size=150),
        }
    )
    within = None if tolerance is None else pd.Timedelta(seconds=tolerance)
    wanted = pd.merge_asof(left, right, on="time", by=["lot", "x"], allow_exact_matches=exact, tolerance=within)
    found = join_frames(
        spark, left, right, ("lot", "x"), ["value"], boundary="at_or_before" if exact else "strictly_before",
        ttl=None if tolerance is None else timedelta(seconds=tolerance),
    )  # fmt: skip
    np.testing.assert_array_equal(found["value"], wanted["value"])
    assert wanted["value"].notna().sum() > 20


def milliseconds(*values: int) -> Any:
    return pd.Timestamp("2016-05-25 13:30:00", tz="UTC") + pd.to_timedelta(list(values), unit="ms")


QUOTES = pd.DataFrame(
    {
        "time": milliseconds(23, 23, 30, 41, 48, 49, 72, 75),
        "ticker": ["GOOG", "MSFT", "MSFT", "MSFT", "GOOG", "AAPL", "GOOG", "MSFT"],
        "bid": [720.50, 51.95, 51.97, 51.99, 720.50, 97.99, 720.50, 52.01],
        "ask": [720.93, 51.96, 51.98, 52.00, 720.93, 98.01, 720.88, 52.03],
    }
)
TRADES = pd.DataFrame(
    {
        "time": milliseconds(23, 38, 48, 48, 48),
        "ticker": ["MSFT", "MSFT", "GOOG", "GOOG", "AAPL"],
        "price": [51.95, 51.95, 720.77, 720.92, 98.0],
    }
)


@pytest.mark.parametrize(("exact", "tolerance_ms"), [(True, None), (True, 2), (False, 10)])
def test_equals_merge_asof_on_its_documented_example(
    spark: SparkSession, exact: bool, tolerance_ms: int | None
) -> None:
    """Quotes and trades of the pandas documentation of merge_asof."""
    within = None if tolerance_ms is None else pd.Timedelta(milliseconds=tolerance_ms)
    wanted = pd.merge_asof(TRADES, QUOTES, on="time", by="ticker", tolerance=within, allow_exact_matches=exact)
    found = join_frames(
        spark, TRADES, QUOTES, ("ticker",), ["bid", "ask"], boundary="at_or_before" if exact else "strictly_before",
        ttl=None if tolerance_ms is None else timedelta(milliseconds=tolerance_ms),
    )  # fmt: skip
    np.testing.assert_array_equal(found[["bid", "ask"]], wanted[["bid", "ask"]])


def one_view(spark: SparkSession, rows: list[tuple[Any, ...]], schema: str, keys: tuple[str, ...]) -> AsOfView:
    names = [column.split()[0] for column in schema.split(", ")]
    frame = pd.DataFrame(rows, columns=[*keys, "event_timestamp", "available_timestamp", "sequence", *names])
    frame["event_timestamp"], frame["available_timestamp"] = (
        seconds(frame["event_timestamp"]), seconds(frame["available_timestamp"])
    )  # fmt: skip
    return AsOfView("v", spark.createDataFrame(frame), keys, names)


def spine_of(spark: SparkSession, rows: list[tuple[Any, ...]], keys: tuple[str, ...]) -> DataFrame:
    frame = pd.DataFrame(rows, columns=[*keys, "event_timestamp"])
    frame["event_timestamp"] = seconds(frame["event_timestamp"])
    return spark.createDataFrame(frame)


def test_peer_fault_composite_keys_share_a_text(spark: SparkSession) -> None:
    """(1, 11) and (11, 1) joined as texts without a separator gave 16 of 540 dies another die's value."""
    keys = ("die_x", "die_y")
    view = one_view(spark, [(1, 11, 0, 0, 0, 1.0), (11, 1, 0, 0, 0, 2.0)], "value double", keys)
    joined = as_of_join(spine_of(spark, [(1, 11, 5), (11, 1, 5), (1, 1, 5), (111, 1, 5)], keys), [view])
    found = {(r["die_x"], r["die_y"]): r["value"] for r in joined.collect()}
    assert found == {(1, 11): 1.0, (11, 1): 2.0, (1, 1): None, (111, 1): None}


def test_peer_fault_ties_fan_out(spark: SparkSession) -> None:
    """Three rows of one time: one output row, by sequence and then by content."""
    view = one_view(spark, [("L", 0, 0, 1, 1.0), ("L", 0, 0, 2, 2.0), ("L", 0, 0, 2, 3.0)], "value double", ("lot",))
    joined = as_of_join(spine_of(spark, [("L", 5)], ("lot",)), [view])
    assert [r["value"] for r in joined.collect()] == [3.0]


def test_peer_fault_values_mix_over_nulls(spark: SparkSession) -> None:
    """tempo takes the last value of each column that is not null: (2, 1) never was a row."""
    rows = [("L", 0, 0, 0, 1.0, 1.0), ("L", 1, 1, 0, 2.0, None)]
    view = one_view(spark, rows, "a double, b double", ("lot",))
    (row,) = as_of_join(spine_of(spark, [("L", 5)], ("lot",)), [view]).collect()
    assert (row["a"], row["b"] is None or np.isnan(row["b"])) == (2.0, True)


def test_peer_fault_duplicate_spine_rows_are_dropped(spark: SparkSession) -> None:
    view = one_view(spark, [("L", 0, 0, 0, 1.0)], "value double", ("lot",))
    assert as_of_join(spine_of(spark, [("L", 5)] * 3, ("lot",)), [view]).count() == 3


def test_peer_fault_the_label_and_the_feature_share_a_time(spark: SparkSession) -> None:
    """A die's own measurement at its own test is no feature of that test."""
    view = one_view(spark, [("L", 5, 5, 0, 1.0)], "value double", ("lot",))
    spine = spine_of(spark, [("L", 5), ("L", 6)], ("lot",))
    found = {r["event_timestamp"].second: r["value"] for r in as_of_join(spine, [view]).collect()}
    assert found == {5: None, 6: 1.0}


def test_peer_fault_the_ttl_is_not_applied(spark: SparkSession) -> None:
    view = one_view(spark, [("L", 0, 0, 0, 1.0)], "value double", ("lot",))
    fresh = AsOfView("v", view.frame, ("lot",), ["value"], ttl=timedelta(seconds=4))
    spine = spine_of(spark, [("L", 4), ("L", 5)], ("lot",))
    found = {r["event_timestamp"].second: r["value"] for r in as_of_join(spine, [fresh]).collect()}
    assert found == {4: 1.0, 5: None}


def test_peer_fault_one_key_of_many_rows(spark: SparkSession) -> None:
    """50,000 rows of one key among normal ones: more than a window keeps in memory."""
    rows = spark.range(50_000).select(
        F.lit("L").alias("lot"), F.timestamp_seconds(F.col("id") * 2).alias("event_timestamp"),
        F.timestamp_seconds(F.col("id") * 2).alias("available_timestamp"), F.lit(0).alias("sequence"),
        F.col("id").alias("value"),
    )  # fmt: skip
    spine = spark.range(50_000).select(
        F.lit("L").alias("lot"), F.timestamp_seconds(F.col("id") * 2 + 1).alias("event_timestamp"), "id"
    )
    joined = as_of_join(spine, [AsOfView("v", rows, ("lot",), ["value"])])
    assert joined.where("value = id").count() == 50_000
