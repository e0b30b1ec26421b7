"""Leak checks of sets made elsewhere, with the rows that their features came from."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark.errors import LeakageError, SchemaError
from fs_spark.features.compute import compute_features
from fs_spark.leaks import LeakLimits, check
from fs_spark.transforms.as_of import AsOfView, as_of_join
from tests.leaks.faults import faults_of, where
from tests.leaks.memory import BINDING, DIE_TESTS, lot_of_tests
from tests.rows import arrow_of, frame_of
from tests.transforms.test_as_of import SPINE, random_cases, random_spine

DIE = ["lot_id", "wafer_id", "die_x", "die_y"]
ALL = LeakLimits(sample=1000)


def history() -> pd.DataFrame:
    """Five tests of each of forty dies, a minute apart, each known half a minute later, with the die's outcome."""
    rng = np.random.default_rng(11)
    rows = []
    for die in range(40):
        for test in range(5):
            made = pd.Timestamp("2025-03-03", tz="UTC") + pd.Timedelta(minutes=test, seconds=die)
            rows.append(
                {
                    "lot_id": "L1", "wafer_id": f"W{die % 2}", "die_x": die // 2, "die_y": 0, "event_timestamp": made,
                    "available_timestamp": made + pd.Timedelta(seconds=30), "sequence": test, "vdd": rng.normal(),
                    "fails": bool(rng.random() < 0.5),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def spine_of(tests: pd.DataFrame) -> pd.DataFrame:
    """The label of a die is its outcome at its third test, at the time of that test."""
    return tests[tests["sequence"] == 2][[*DIE, "event_timestamp", "fails"]].reset_index(drop=True)


def as_view(spark: SparkSession, tests: pd.DataFrame, **more: Any) -> AsOfView:
    frame = spark.createDataFrame(tests.drop(columns=["fails"])).withColumns(
        {c: F.col(c).cast("int") for c in ("die_x", "die_y")}
    )
    return AsOfView("measured", frame, tuple(DIE), ["vdd"], **more)


def merged(tests: pd.DataFrame, by: str, *, exact: bool) -> pd.DataFrame:
    """pandas' own as-of join."""
    spine, right = spine_of(tests).sort_values("event_timestamp"), tests[[*DIE, by, "vdd"]].sort_values(by)
    right = right.rename(columns={by: "time"})
    return pd.merge_asof(
        spine, right, left_on="event_timestamp", right_on="time", by=DIE, allow_exact_matches=exact
    ).drop(columns=["time"])


def test_a_set_that_pandas_joined_passes(spark: SparkSession) -> None:
    tests = history()
    report = check(merged(tests, "available_timestamp", exact=False), label="fails", views=[as_view(spark, tests)])
    assert report.ok, report.to_text()
    assert {(r.check, r.view): r.rows for r in report.ran} == {
        ("label", None): 40,
        ("oracle", "measured"): 40,
        ("times of the sample", "measured"): 40,
        ("future at the join", "measured"): 40,
    }
    assert {one.check for one in report.not_run} == {"future at the source", "label auc"}
    assert {f.feature for f in report.figures} == {"vdd"}


def test_the_newest_row_of_all_is_a_peek(spark: SparkSession) -> None:
    """An equi-join by key, taking the last row whatever its time."""
    tests = history()
    newest = tests.sort_values("event_timestamp").groupby(DIE, as_index=False).last()[[*DIE, "vdd"]]
    peeking = spine_of(tests).merge(newest, on=DIE)
    report = check(peeking, label="fails", views=[as_view(spark, tests)])
    assert where(report, "oracle") == where(report, "future") == {("measured", "vdd")}
    assert where(report, "times") == {("measured", None)}
    oracle, times = faults_of(report, "oracle")[0], faults_of(report, "times")[0]
    assert oracle.rows == times.rows == 40
    row = oracle.row
    assert row is not None
    own = tests[(tests["wafer_id"] == row["wafer_id"]) & (tests["die_x"] == row["die_x"])]
    assert row["event_timestamp"] == own["event_timestamp"].iloc[2].isoformat()
    second, last = float(own["vdd"].iloc[1]), float(own["vdd"].iloc[4])
    assert oracle.detail == f"expected {second!r}, found {last!r}"
    assert own["event_timestamp"].iloc[4].isoformat() in times.detail


def test_one_row_that_peeks_is_named(spark: SparkSession) -> None:
    tests = history()
    joined = merged(tests, "available_timestamp", exact=False)
    later = tests[(tests["wafer_id"] == "W1") & (tests["die_x"] == 7) & (tests["sequence"] == 3)]["vdd"].iloc[0]
    joined.loc[(joined["wafer_id"] == "W1") & (joined["die_x"] == 7), "vdd"] = later
    report = check(joined, label="fails", views=[as_view(spark, tests)])
    for kind in ("oracle", "future", "times"):
        (fault,) = faults_of(report, kind)
        assert fault.rows == 1
        assert fault.row is not None
        assert {c: fault.row[c] for c in DIE} == {"lot_id": "L1", "wafer_id": "W1", "die_x": 7, "die_y": 0}


def test_a_row_at_the_labels_own_time_is_a_leak(spark: SparkSession) -> None:
    """At or before, instead of strictly before: label and feature are of one touchdown."""
    tests = history()
    tests["available_timestamp"] = tests["event_timestamp"]
    view = as_view(spark, tests)
    assert check(merged(tests, "event_timestamp", exact=False), label="fails", views=[view]).ok
    report = check(merged(tests, "event_timestamp", exact=True), label="fails", views=[view])
    assert where(report, "oracle") == where(report, "future") == {("measured", "vdd")}
    (fault,) = faults_of(report, "times")
    assert fault.rows == 40
    assert fault.row is not None
    assert f"not strictly before {fault.row['event_timestamp']}" in fault.detail


def test_ignored_availability_is_a_leak(spark: SparkSession) -> None:
    """A test of half a minute ago is not known yet, though it was made before."""
    tests = history()
    tests["available_timestamp"] = tests["event_timestamp"] + pd.Timedelta("90s")
    report = check(merged(tests, "event_timestamp", exact=False), label="fails", views=[as_view(spark, tests)])
    assert where(report, "oracle") == where(report, "future") == {("measured", "vdd")}
    (fault,) = faults_of(report, "times")
    assert (fault.view, fault.rows) == ("measured", 40)


def test_a_view_that_is_said_to_ignore_availability_is_told_of_rows_that_were_not_known(spark: SparkSession) -> None:
    """The values are those that were asked for; that they could not be known is a fault all the same."""
    tests = history()
    tests["available_timestamp"] = tests["event_timestamp"] + pd.Timedelta("90s")
    view = as_view(spark, tests, available_timestamp=None)
    report = check(merged(tests, "event_timestamp", exact=False), label="fails", views=[view])
    (fault,) = report.faults
    assert (fault.kind, fault.view, fault.rows) == ("times", "measured", 40)
    assert "was not available before" in fault.detail


def test_values_of_two_rows_must_not_mix(spark: SparkSession) -> None:
    """`last(ignorenulls)` fills a null of the chosen row from an older one."""
    tests = history()
    tests["idd"] = tests["vdd"] * 2
    joined = merged(tests, "available_timestamp", exact=False)
    joined["idd"] = joined["vdd"] * 2
    tests.loc[tests["sequence"] == 1, "idd"] = None
    view = replace(as_view(spark, tests), columns=["vdd", "idd"])
    report = check(joined, label="fails", views=[view])
    assert where(report, "oracle") == {("measured", "idd")}
    assert "expected None" in report.faults[0].detail


@pytest.mark.parametrize("whole_wafer", [False, True])
def test_neighbors_that_were_tested_later_are_found(spark: SparkSession, whole_wafer: bool) -> None:
    """The share of fails among all neighbors, in the place of those tested earlier."""
    dies = [row for row in lot_of_tests(random.Random(4), late=0)[0] if row["run_id"] == "R0W0"]
    wafer = arrow_of(dies, DIE_TESTS)
    rows = compute_features(wafer, BINDING.geometry, features=["fail__neighbor_frac", "neighbor_count"]).to_pandas()
    frame = spark.createDataFrame(rows.drop(columns=["neighbor_count"]))
    view = AsOfView("neighborhood", frame, ("die_x", "die_y"), ["fail__neighbor_frac"], "at_or_before")
    made = wafer.to_pandas()[["die_x", "die_y", "event_timestamp", "passed"]]
    made["fail__neighbor_frac"] = [_fail_share(dies, row, whole_wafer=whole_wafer) for row in dies]
    report = check(made, label="passed", views=[view], limits=LeakLimits(class_rows=5))
    assert report.ok is not whole_wafer, report.to_text()
    if whole_wafer:
        assert where(report, "oracle") == where(report, "future") == {("neighborhood", "fail__neighbor_frac")}
        (fault,) = faults_of(report, "oracle")
        assert fault.row is not None
        assert set(fault.row) == {"die_x", "die_y", "event_timestamp"}
        differing = rows.sort_values(["die_x", "die_y"])["fail__neighbor_frac"].to_numpy()
        own = made.sort_values(["die_x", "die_y"])["fail__neighbor_frac"].to_numpy()
        assert fault.rows == int((~((own == differing) | (np.isnan(own) & np.isnan(differing)))).sum())


def _fail_share(dies: list[dict[str, Any]], own: dict[str, Any], *, whole_wafer: bool) -> float | None:
    near = [
        row["passed"]
        for row in dies
        if max(abs(row["die_x"] - own["die_x"]), abs(row["die_y"] - own["die_y"])) == 1
        and (whole_wafer or row["event_timestamp"] < own["event_timestamp"])
    ]
    return near.count(False) / len(near) if near else None


@pytest.mark.parametrize("seed", range(2))
def test_our_join_passes_on_random_histories(spark: SparkSession, seed: int) -> None:
    """Ties, late and missing availability, null keys and times, NaN, ttl, offset, static views, duplicates."""
    rng = random.Random(seed)
    views = [replace(case.view(spark), event_as=f"{case.name}__event") for case in random_cases(rng)]
    views[0] = replace(views[0], age_as="age_s")
    joined = as_of_join(frame_of(spark, random_spine(rng, 60), SPINE), views)
    table = spark.createDataFrame(joined.toArrow())
    report = check(table, label="label", views=views, limits=ALL)
    assert report.ok, report.to_text()
    assert {r.rows for r in report.ran if r.check in ("oracle", "future at the join")} == {75}
    # and not because nothing was looked at
    moved = table.withColumn("die_ttl__count", F.col("die_ttl__count") + 1)
    report = check(moved, label="label", views=views, limits=ALL)
    assert where(report, "oracle") == where(report, "future") == {("die_ttl", "die_ttl__count")}
    rows = table.where("die_ttl__count is not null").count()
    assert {fault.rows for kind in ("oracle", "future") for fault in faults_of(report, kind)} == {rows}
    assert rows > 0


def test_the_sample_depends_on_content_and_seed_alone(spark: SparkSession) -> None:
    rng = random.Random(8)
    case = next(case for case in random_cases(rng) if case.name == "die_before")
    joined = as_of_join(frame_of(spark, random_spine(rng, 200), SPINE), [case.view(spark)]).toArrow()
    wrong = spark.createDataFrame(joined).withColumn("die_before__value", F.lit(9.0))
    views = [case.view(spark)]
    limits = LeakLimits(sample=20)
    once = check(wrong.repartition(1), label="label", views=views, limits=limits)
    assert once == check(wrong.repartition(7, F.rand(3)), label="label", views=views, limits=limits)
    other = check(wrong, label="label", views=views, limits=replace(limits, seed=1))
    assert other.faults[0].row != once.faults[0].row
    assert once.faults[0].rows == other.faults[0].rows == 20


def test_keys_with_too_many_rows_are_left_out_and_counted(spark: SparkSession) -> None:
    tests = history()
    joined = merged(tests, "available_timestamp", exact=False)
    limits = LeakLimits(view_rows=52)
    report = check(joined, label="fails", views=[as_view(spark, tests)], limits=limits)
    assert report.ok, report.to_text()
    assert {r.rows for r in report.ran if r.check in ("oracle", "future at the join")} == {10}
    assert "30 of 40 sampled rows" in next(one.reason for one in report.not_run if one.check == "oracle")
    joined["vdd"] = 9.0
    wrong = check(joined, label="fails", views=[as_view(spark, tests)], limits=limits)
    assert faults_of(wrong, "oracle")[0].rows == faults_of(wrong, "future")[0].rows == 10


def test_a_float_column_narrowed_in_pandas_passes(spark: SparkSession) -> None:
    tests = history()
    joined = merged(tests, "available_timestamp", exact=False)
    joined["vdd"] = joined["vdd"].astype("float32")
    assert check(joined, label="fails", views=[as_view(spark, tests)]).ok


def test_a_report_is_plain_values(spark: SparkSession) -> None:
    tests = history()
    joined = merged(tests, "available_timestamp", exact=False).assign(vdd=9.0)
    report = check(joined, label="fails", views=[as_view(spark, tests)])
    told = json.loads(json.dumps(report.to_dict()))
    assert told["ok"] is False
    assert {fault["view"] for fault in told["faults"]} == {"measured"}
    assert set(told["faults"][0]["row"]) == {*DIE, "event_timestamp"}
    text = report.to_text()
    assert "oracle: measured vdd at lot_id=L1, wafer_id=W" in text
    assert "future at the source" in text
    with pytest.raises(LeakageError, match=r"measured vdd at lot_id=L1(.|\n)*Hint: "):
        report.raise_for_faults()


def test_a_set_that_lacks_a_feature_of_its_view_is_refused(spark: SparkSession) -> None:
    tests = history()
    joined = merged(tests, "available_timestamp", exact=False)
    with pytest.raises(SchemaError, match=r"lacks the feature of view measured 'vdd'(.|\n)*Hint: "):
        check(joined.drop(columns=["vdd"]), label="fails", views=[as_view(spark, tests)])
    with pytest.raises(SchemaError, match="lacks the key 'die_x'"):
        check(joined.drop(columns=["die_x"]), label="fails", views=[as_view(spark, tests)])
    with pytest.raises(SchemaError, match="did you mean 'event_timestamp'"):
        check(joined, label="fails", timestamp="event_timestmp", views=[as_view(spark, tests)])
