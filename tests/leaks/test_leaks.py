"""Leak checks that need no view: features that tell the label, rows later than their label, and bad requests."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import SparkSession

from fs_spark.errors import LeakageError, RequestError, SchemaError
from fs_spark.leaks import LeakLimits, NotRun, ViewTimes, check
from fs_spark.leaks.auc import rank_auc
from fs_spark.transforms.as_of import AsOfView


def outcomes(rows: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    fails = rng.random(rows) < 0.3
    return pd.DataFrame(
        {
            "fails": fails,
            "vdd": rng.normal(1.0, 0.1, rows) + 0.05 * fails,
            "bin": rng.integers(0, 4, rows),
            "site": rng.choice(["a", "b", "c"], rows),
        }
    )


def test_features_that_do_not_tell_the_label_pass_and_what_was_not_looked_at_is_said() -> None:
    report = check(outcomes(), label="fails")
    assert report.ok
    report.raise_for_faults()
    assert [(ran.check, ran.rows) for ran in report.ran] == [("label", 300)]
    assert {one.check for one in report.not_run} == {
        "oracle", "future at the join", "future at the source", "times", "label auc",
    }  # fmt: skip
    assert NotRun("label auc", "site", "no number") in report.not_run
    assert all(one.reason for one in report.not_run)
    assert {f.feature: f.auc is not None for f in report.figures} == {"vdd": True, "bin": True, "site": False}


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (lambda d: d["fails"].astype(int), "equals the label in all 300 rows"),
        (lambda d: d["fails"].astype(float).where(d.index % 3 > 0), "equals the label in all 200 rows"),
        (lambda d: ~d["fails"], "label's negation"),
        (lambda d: np.where(d["fails"], "F", "P"), "one-to-one function of the label in all 300 rows.*True -> 'F'"),
        (lambda d: d["fails"] * 7.5 - 3, "one-to-one function"),
        (lambda d: d["fails"] + d["vdd"] / 100, r"AUC with the label is 1\.0000 over 300 rows"),
        (lambda d: -(d["fails"] + d["vdd"] / 100), r"AUC with the label is 0\.0000"),
    ],
)
def test_a_feature_that_is_the_label_is_found(column: Any, text: str) -> None:
    rows = outcomes()
    report = check(rows.assign(leaky=column(rows)), label="fails")
    assert [(f.kind, f.feature) for f in report.faults] == [("label", "leaky")]
    with pytest.raises(LeakageError, match=f"leaky: .*{text}(.|\n)*Hint: "):
        report.raise_for_faults()


def test_a_label_in_the_nulls_is_found() -> None:
    rows = outcomes()
    report = check(rows.assign(leaky=rows["vdd"].where(~rows["fails"])), label="fails")
    assert [(f.kind, f.feature) for f in report.faults] == [("label", "leaky is null")]
    assert "AUC 1.0000, null in" in report.faults[0].detail
    figures = next(f for f in report.figures if f.feature == "leaky")
    assert (figures.auc, figures.null_auc) == (None, 1.0)
    assert figures.null_share == rows["fails"].mean()
    assert NotRun("label auc", "leaky", "fewer than 20 rows of a class have it") in report.not_run


def test_nulls_that_do_not_tell_the_label_pass_and_are_left_out_of_the_auc() -> None:
    rows = outcomes()
    half = rows.index % 2 == 0
    report = check(rows.assign(vdd=rows["vdd"].where(half)), label="fails")
    assert report.ok
    figures = next(f for f in report.figures if f.feature == "vdd")
    pairs = [
        (a > b) + (a == b) / 2 for a in rows["vdd"][half & rows["fails"]] for b in rows["vdd"][half & ~rows["fails"]]
    ]
    assert figures.rows == 150
    assert figures.auc == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_auc_is_the_share_of_pairs_in_order_ties_half(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in values[positive] for b in values[~positive]]
    assert rank_auc(values, positive) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    assert rank_auc(-values, positive) == pytest.approx(1 - rank_auc(values, positive), abs=1e-12)


def test_the_limit_of_the_auc_is_the_callers() -> None:
    rows = outcomes()
    auc = next(f.auc for f in check(rows, label="fails").figures if f.feature == "vdd")
    assert auc is not None
    assert not check(rows, label="fails", limits=LeakLimits(auc=auc)).ok
    assert check(rows, label="fails", limits=LeakLimits(auc=auc + 1e-9)).ok


def test_few_rows_of_a_class_prove_nothing() -> None:
    rows = outcomes(40).assign(fails=lambda d: d.index < 19)
    report = check(rows.assign(copy=rows["fails"]), label="fails")
    assert report.ok
    assert NotRun("label auc", "copy", "fewer than 20 rows of a class have it") in report.not_run
    assert not check(rows.assign(copy=rows["fails"]), label="fails", limits=LeakLimits(class_rows=19)).ok


def test_a_label_that_is_a_number_is_told_by_its_order_and_not_by_any_other_feature() -> None:
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"yield": rng.random(200), "other": rng.random(200), "row": np.arange(200)})
    report = check(rows.assign(scaled=3 * rows["yield"] - 1, same=rows["yield"]), label="yield")
    assert {f.feature: f.detail.split(" in all")[0] for f in report.faults} == {
        "scaled": "follows the label's order exactly",
        "same": "equals the label",
    }
    assert NotRun("label auc", None, "label 'yield' has 200 values, not two") in report.not_run


def test_rows_without_a_label_are_left_out_and_counted() -> None:
    rows = outcomes()
    rows["fails"] = rows["fails"].astype(object).where(rows.index % 3 > 0, None)
    report = check(rows, label="fails")
    assert report.ran[0].rows == 200
    assert NotRun("label", "fails", "null in 100 rows, which were left out") in report.not_run


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"label": "fail"}, SchemaError, "lacks the label 'fail'; it has .*\nHint: did you mean 'fails'"),
        ({"label": "zzz"}, SchemaError, "\nHint: name a column"),
        ({"label": "constant"}, RequestError, "label 'constant' is 1.0 in all 300 rows.*\nHint: "),
        ({"label": "nothing"}, RequestError, "label 'nothing' is null in all 300 rows.*Hint: "),
        ({"label": "fails", "store": object()}, RequestError, "a store is of use for a TrainingSet(.|\n)*Hint: "),
        ({"label": "fails", "views": [ViewTimes("v", "evnt")]}, SchemaError, "lacks the time column(.|\n)*Hint: "),
        (
            {"label": "fails", "views": [ViewTimes("v", "naive")], "timestamp": "naive"},
            SchemaError,
            "'naive' is timestamp.*not a time with a zone. Hint: ",
        ),
        (
            {"label": "fails", "views": [AsOfView("v", outcomes(3), ("bin",), ["vdd"])]},  # type: ignore[arg-type]
            RequestError,
            "view v are a DataFrame, not a Spark frame. Hint: spark.createDataFrame",
        ),
    ],
)
def test_a_bad_request_is_refused_with_a_hint(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    naive = pd.Timestamp("2025-03-03")
    rows = outcomes().assign(constant=1.0, nothing=None, naive=naive, event_timestamp=naive.tz_localize("UTC"))
    with pytest.raises(error, match=text):
        check(rows, **arguments)


def test_what_is_no_training_set_is_refused() -> None:
    with pytest.raises(RequestError, match=r"list is no training set\. Hint: "):
        check([1, 2], label="fails")  # type: ignore[arg-type]


@pytest.mark.parametrize("limits", [{"sample": 0}, {"auc": 0.5}, {"auc": 1.1}, {"worlds": -1}])
def test_limits_that_mean_nothing_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="Hint: give"):
        LeakLimits(**limits)


# Named times: no Spark is needed for pandas.


def timed(**late: float) -> pd.DataFrame:
    """Each label an hour after its features; row 7 is moved by the seconds given for a column."""
    rows = outcomes().drop(columns=["site"])
    rows["event_timestamp"] = pd.Timestamp("2025-03-03", tz="UTC") + pd.to_timedelta(rows.index, "min")
    rows["lot_id"] = [f"L{k}" for k in rows.index]
    for column in ("made", "known"):
        rows[column] = rows["event_timestamp"] - pd.Timedelta("1h")
        if column in late:
            rows.loc[7, column] = pd.Timestamp("2025-03-03T00:07", tz="UTC") + pd.Timedelta(seconds=late[column])
    return rows


@pytest.mark.parametrize("by", ["pandas", "spark"])
@pytest.mark.parametrize(
    ("late", "boundary", "column"),
    [
        ({}, "strictly_before", None),
        ({"made": 1e-6}, "at_or_before", "made"),
        ({"made": 0}, "at_or_before", None),
        ({"made": 0}, "strictly_before", "made"),
        ({"known": 5}, "at_or_before", "known"),
        ({"known": -1e-6}, "strictly_before", None),
    ],
)
def test_a_row_that_is_later_than_its_label_is_found(
    spark: SparkSession, late: dict[str, float], boundary: Any, column: str | None, by: str
) -> None:
    rows: Any = timed(**late)
    times = ViewTimes("tester", "made", "known", boundary, keys=("lot_id",))
    report = check(spark.createDataFrame(rows) if by == "spark" else rows, label="fails", views=[times])
    assert [(r.check, r.rows) for r in report.ran[1:]] == [("times in made", 300), ("times in known", 300)]
    if column is None:
        assert report.ok
        return
    (fault,) = report.faults
    assert (fault.kind, fault.view, fault.feature, fault.rows) == ("times", "tester", column, 1)
    assert fault.row is not None
    assert fault.row["lot_id"] == "L7"
    assert fault.row["event_timestamp"] == "2025-03-03T00:07:00+00:00"


def test_an_offset_counts_for_named_times() -> None:
    hour = ViewTimes("tester", "made", boundary="at_or_before", offset=timedelta(hours=1))
    assert check(timed(), label="fails", views=[hour]).ok
    assert check(timed(), label="fails", views=[replace(hour, offset=timedelta(hours=2))]).faults[0].rows == 300
