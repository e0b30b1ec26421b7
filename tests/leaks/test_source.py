"""Leak checks of a store's own training sets, down to its ingested tests."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore
from fs_spark import names as n
from fs_spark.errors import RequestError
from fs_spark.leaks import LeakLimits, check
from fs_spark.leaks.rows import Sample
from fs_spark.leaks.source import ChangedTables, World, worlds_of
from fs_spark.snapshot import Snapshot
from fs_spark.spatial_views import view_rows
from fs_spark.training import TrainingSet
from tests.leaks.faults import faults_of, where
from tests.leaks.memory import (
    START,
    STEP,
    VIEWS,
    MemoryStore,
    lot_of_tests,
    memory_store,
    own_test_set,
    pinned_parts,
)
from tests.rows import rows_of
from tests.stores import label_spine, new_folder, open_store, write_lot

LIMITS = LeakLimits(sample=40, worlds=6)
NAMES = {f"{view.name}__v1_0" for view in VIEWS}


@pytest.fixture(scope="module")
def store(spark: SparkSession) -> MemoryStore:
    return memory_store(spark, *lot_of_tests(random.Random(1), late=0))


@pytest.fixture(scope="module")
def late_store(spark: SparkSession) -> MemoryStore:
    """Results are known two minutes after their run's end."""
    return memory_store(spark, *lot_of_tests(random.Random(2), late=120))


def changed(pinned: list[dict[str, Any]], view: str, **parts: Any) -> list[dict[str, Any]]:
    return [{**one, **parts} if one["view"] == view else one for one in pinned]


def test_every_check_runs_on_an_own_set_and_passes(store: MemoryStore) -> None:
    report = check(own_test_set(store, pinned_parts()), label="passed", store=store, limits=LIMITS)
    assert report.ok, report.to_text()
    for one in ("oracle", "times of the sample", "future at the join"):
        assert {r.view: r.rows for r in report.ran if r.check == one} == dict.fromkeys(NAMES, 40)
    sources = {r.view: r.rows for r in report.ran if r.check == "future at the source"}
    assert set(sources) == NAMES
    assert 6 <= min(sources.values()) == max(sources.values()) <= 12  # six times, of one or both dies of a touchdown
    assert {r.check for r in report.ran if r.check.startswith("times in")} == {
        f"times in {view}__event_timestamp" for view in ("neighborhood", "measured", "wafer_end", "lot")
    }
    assert {one.check for one in report.not_run} <= {"label auc"}


def test_an_own_set_with_late_results_passes(late_store: MemoryStore) -> None:
    report = check(own_test_set(late_store, pinned_parts()), label="passed", store=late_store, limits=LIMITS)
    assert report.ok, report.to_text()


def test_an_offset_and_a_ttl_are_kept(store: MemoryStore) -> None:
    pinned = [{**one, "offset_s": 3600.0 * 5, "ttl_s": 3600.0 * 20} for one in pinned_parts()]
    built = own_test_set(store, pinned)
    assert built.df.where("vdd is not null").count() > 0
    assert check(built, label="passed", store=store, limits=LIMITS).ok


def test_a_test_that_sees_itself_is_found(store: MemoryStore) -> None:
    """Joined at or before, a measured value meets its own label: the oracle does as the manifest says, and agrees;
    with other results at that time the value is another."""
    pinned = changed(pinned_parts(), "measured", boundary="at_or_before")
    report = check(own_test_set(store, pinned), label="passed", store=store, limits=LIMITS)
    assert not faults_of(report, "oracle")
    assert where(report, "future") == {("measured__v1_0", "vdd")}
    (fault,) = faults_of(report, "future")
    assert fault.rows >= 6
    assert fault.row is not None
    assert set(fault.row) == {*n.DIE_KEYS, "event_timestamp"}
    assert fault.row["lot_id"] == "L1"
    assert "where tests at and after this time end otherwise" in fault.detail


def test_a_lot_that_counts_its_own_run_is_found(store: MemoryStore) -> None:
    """The last touchdown of a run, joined at or before, sees the end of its wafer, and so itself."""
    built = own_test_set(store, changed(pinned_parts(), "lot", boundary="at_or_before"))
    ends = built.df.groupBy("wafer_id").agg(F.max("event_timestamp").alias("event_timestamp"))
    last = built.df.join(ends, ["wafer_id", "event_timestamp"]).select(*built.df.columns)
    both = last.unionByName(last.withColumn("passed", ~F.col("passed")))
    report = check(TrainingSet(built.name, both, built.manifest), label="passed", store=store, limits=LIMITS)
    assert {(f.kind, f.view, f.feature) for f in report.faults} == {("future", "lot__v1_0", "yield_mean")}
    assert report.faults[0].rows == 4


def test_a_stored_row_that_is_not_of_its_tests_is_found(spark: SparkSession, store: MemoryStore) -> None:
    """All neighbors, in the place of those tested earlier: a feature table that something else wrote."""
    tables = dict(store._tables.frames)
    table = "neighborhood__v1_0"
    ends = tables["wafer_end__v1_0"].select(*n.DIE_KEYS, "event_timestamp", "fail__full_neighbor_frac")
    run = F.date_trunc("day", "event_timestamp").alias("day")
    whole = ends.select(*n.DIE_KEYS, run, F.col("fail__full_neighbor_frac").alias("whole"))
    columns = tables[table].columns
    seen = (
        tables[table]
        .select("*", run)
        .join(whole, [*n.DIE_KEYS, "day"])
        .withColumn("fail__neighbor_frac", F.col("whole"))
        .select(*columns)
    )
    tables[table] = spark.createDataFrame(seen.toArrow())
    tampered = memory_like(store, tables)
    report = check(own_test_set(tampered, pinned_parts()), label="passed", store=tampered, limits=LIMITS)
    assert not faults_of(report, "oracle")
    assert where(report, "source") == {("neighborhood__v1_0", "fail__neighbor_frac")}
    (fault,) = faults_of(report, "source")
    assert fault.row is not None
    assert fault.row["event_timestamp"].startswith("2025-01-2")
    assert "the ingested rows give" in fault.detail


def memory_like(store: MemoryStore, frames: dict[str, DataFrame]) -> MemoryStore:
    return MemoryStore(type(store._tables)(store._tables.spark, frames), store.state)


def test_a_kernel_that_sees_later_tests_is_found(
    spark: SparkSession, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feature computed from the whole wafer whenever its run ends: what the code of a view must never do."""
    from fs_spark.leaks import source

    table = "neighborhood__v1_0"

    def peeking(snapshot: Any, view: Any, bindings: Any, lots: Any) -> DataFrame:
        rows = view_rows(snapshot, view, bindings, lots)
        if view.table != table:
            return rows
        passed = snapshot.read(n.DIE_TESTS).groupBy("lot_id", "wafer_id").agg(F.avg(F.col("passed").cast("int")))
        named = passed.toDF("lot_id", "wafer_id", "whole")
        return rows.join(named, ["lot_id", "wafer_id"]).withColumn("fail__neighbor_frac", F.col("whole")).select(
            *rows.columns
        )  # fmt: skip

    snapshot = Snapshot(store._tables, dict.fromkeys(store._tables.frames, 0))
    stored = peeking(snapshot, store.state.view("neighborhood"), store.state.bindings[("neighborhood", "1.0")], None)
    leaky = memory_like(store, {**store._tables.frames, table: spark.createDataFrame(stored.toArrow())})
    monkeypatch.setattr(source, "view_rows", peeking)
    report = check(own_test_set(leaky, pinned_parts()), label="passed", store=leaky, limits=LIMITS)
    assert {fault.kind for fault in report.faults} == {"future"}
    assert where(report, "future") == {("neighborhood__v1_0", "fail__neighbor_frac")}
    assert report.faults[0].rows >= 6


def test_availability_that_was_ignored_is_told(late_store: MemoryStore) -> None:
    """The set is made as its manifest says, a minute after each test: before its result was known."""
    near = F.timestamp_micros(F.unix_micros("event_timestamp") + F.lit(60 * STEP))
    tables = late_store._tables.frames
    dies = tables[n.DIE_TESTS].withColumn("event_timestamp", near)
    later = memory_like(late_store, {**tables, n.DIE_TESTS: dies})
    built = own_test_set(later, changed(pinned_parts(), "measured", availability="ignored"))
    report = check(built, label="passed", store=late_store, limits=LIMITS)
    assert {(f.kind, f.view) for f in report.faults} == {("times", "measured__v1_0")}, report.to_text()
    assert "was not available before" in report.faults[0].detail


@pytest.mark.parametrize(("boundary", "availability"), [("at_or_before", "respected"), ("strictly_before", "ignored")])
def test_the_future_of_a_world_is_another_and_its_past_is_not(
    spark: SparkSession, late_store: MemoryStore, boundary: str, availability: str
) -> None:
    """Tests from the time on, and those not known by then, end otherwise; each wafer is tested once more later."""
    tables = late_store._tables
    known = START + 12 * STEP + 120 * STEP  # when the results of R0W0 are known
    time = known if boundary == "at_or_before" else START + 5 * STEP
    (view,) = [one for one in VIEWS if one.name == "neighborhood"]
    (pinned,) = changed(pinned_parts([view]), view.name, boundary=boundary, availability=availability)
    worlds = [World("L1|0", "L1", "W0", time, [0]), World("L1|1", "L1", "W1", time, [1])]
    other = ChangedTables(tables, worlds, view, pinned, "other")
    stored = rows_of(tables.frames[n.DIE_TESTS])
    dies = rows_of(other.read(n.DIE_TESTS, 0))
    assert len(dies) == 2 * len(stored)
    place = {(row["run_id"], row["part_index"]): row for row in stored}
    for row in dies:
        assert row["lot_id"] == ("L1|0" if row["wafer_id"] == "W0" else "L1|1")
        assert row["run_id"].startswith(row["lot_id"] + "|R")
        row["run_id"] = row["run_id"].removeprefix(row["lot_id"] + "|")
        if row["run_id"].endswith("|later"):
            assert row["event_timestamp"] > time
            assert row["available_timestamp"] > time
            continue
        before = place[(row["run_id"], row["part_index"])]
        unknown = before["event_timestamp"] >= time
        if availability == "respected":
            unknown = unknown or before["available_timestamp"] > time
        for column in ("passed", "hard_bin", "soft_bin", "test_time_ms"):
            assert (row[column] != before[column]) is unknown
    flipped = sum(row["passed"] != place[(row["run_id"], row["part_index"])]["passed"] for row in dies[: len(stored)])
    assert 0 < flipped < len(stored)
    values = {(r["run_id"], r["part_index"]): r["result"] for r in rows_of(tables.frames[n.TEST_RESULTS])}
    results = rows_of(other.read(n.TEST_RESULTS, 0))
    assert len(results) == 2 * len(stored)
    told = {(row["run_id"], row["part_index"]): row["passed"] for row in dies}
    for row in results:
        key = (row["run_id"].removeprefix(row["lot_id"] + "|"), row["part_index"])
        original = (key[0].removesuffix("|later"), key[1])
        assert (row["result"] != values[original]) is (told[key] != place[original]["passed"])
    own = ChangedTables(tables, worlds, view, pinned, "own")
    assert sorted(r["passed"] for r in rows_of(own.read(n.DIE_TESTS, 0))) == sorted(r["passed"] for r in stored)
    assert own.read(n.TEST_RESULTS, 0).count() == len(stored)


def test_what_cannot_be_computed_is_said(store: MemoryStore) -> None:
    pinned = changed(pinned_parts(), "measured", definition_hash="another")
    pinned = changed(pinned, "lot", bindings={"chip": "another"})
    pinned = changed(pinned, "geometry", sources={})
    report = check(own_test_set(store, pinned), label="passed", store=store, limits=LIMITS)
    assert report.ok
    not_run = {one.of: one.reason for one in report.not_run if one.check == "future at the source"}
    assert not_run == {
        "measured__v1.0": "it is registered with another definition than the manifest's",
        "lot__v1.0": "the wafer map or tests of chip are not those of the manifest",
        "geometry__v1.0": "its rows do not say what they were computed from",
    }
    assert {r.view for r in report.ran if r.check == "future at the source"} == {
        "neighborhood__v1_0", "wafer_end__v1_0",
    }  # fmt: skip
    gone = memory_like(store, store._tables.frames)
    gone._tables.gone.add(n.DIE_TESTS)
    report = check(own_test_set(gone, pinned_parts()), label="passed", store=gone, limits=LIMITS)
    reasons = {one.reason for one in report.not_run if one.check == "future at the source"}
    assert reasons == {"die_tests at version 0: it was removed"}


def test_without_its_store_the_label_and_the_named_times_are_looked_at(store: MemoryStore) -> None:
    built = own_test_set(store, pinned_parts())
    report = check(built, label="passed")
    assert report.ok
    assert {r.check for r in report.ran if r.check.startswith("times in")}
    assert {one.check for one in report.not_run} >= {"oracle", "future at the join", "future at the source"}
    event = F.timestamp_micros(F.unix_micros("event_timestamp") + 1).alias("neighborhood__event_timestamp")
    first = F.col("die_x") == 0
    shifted = built.df.withColumn(
        "neighborhood__event_timestamp", F.when(first, event).otherwise(F.col("neighborhood__event_timestamp"))
    )
    report = check(TrainingSet("shifted", shifted, built.manifest), label="passed")
    (fault,) = report.faults
    assert (fault.kind, fault.view, fault.feature) == ("times", "neighborhood__v1_0", "neighborhood__event_timestamp")
    assert fault.rows == 20
    assert fault.row is not None
    assert fault.row["die_x"] == 0
    with pytest.raises(RequestError, match=r"a store is of use(.|\n)*Hint: "):
        check(built.df, label="passed", store=store)


def test_a_world_is_a_wafer_and_a_time(spark: SparkSession) -> None:
    """Rows of one wafer and time share a future; rows without a lot or a time have none."""
    import pyarrow as pa

    times = pa.array([5, 5, 6, None, 5, 5], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    lots, wafers = ["L1", "L1", "L1", "L1", None, "L1"], ["W0", "W0", "W0", "W0", "W0", "W1"]
    table = pa.table({"lot_id": lots, "wafer_id": wafers, "time": times})
    sample = Sample.of(table, "time", nan_is_null=False)
    assert [(w.lot, w.wafer, w.time, w.places) for w in worlds_of(sample, LeakLimits(worlds=5))] == [
        ("L1", "W0", 5, [0, 1]), ("L1", "W0", 6, [2]), ("L1", "W1", 5, [5]),
    ]  # fmt: skip
    assert len(worlds_of(sample, LeakLimits(worlds=2))) == 2
    lots_alone = Sample.of(table.drop_columns(["wafer_id"]), "time", nan_is_null=False)
    assert [(w.wafer, w.places) for w in worlds_of(lots_alone, LeakLimits())] == [(None, [0, 1, 5]), (None, [2])]


def test_a_set_of_a_real_store_passes(spark: SparkSession, tmp_path: Path) -> None:
    """Through ingest, materialize and Delta: the dies of insertion 2 from what insertion 1 told."""
    folder = new_folder(tmp_path / "store")
    store: FeatureStore = open_store(folder, spark)
    store.ingest(write_lot(tmp_path / "in", 1, wafers=1))
    store.apply()
    store.materialize()
    features = ["die_neighborhood:fail__neighbor_frac", "die_measured:vdd", "lot_so_far:yield_mean"]
    built = store.training_set(label_spine(store), features, name="leak_checked")
    report = check(built, label="fails", store=store, limits=LeakLimits(sample=60, worlds=2))
    assert report.ok, report.to_text()
    sources = {r.view: r.rows for r in report.ran if r.check == "future at the source"}
    assert set(sources) == {"die_neighborhood__v1_0", "die_measured__v1_0", "lot_so_far__v1_0"}
    assert set(sources.values()) == {60}  # one wafer and one time
