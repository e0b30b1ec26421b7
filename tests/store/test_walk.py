"""The whole walk on real tester files and synthetic lots: the facts, the training set, the served row."""

from __future__ import annotations

import pytest
from pyspark.sql import Window
from pyspark.sql import functions as F

from fs_spark.features.view import FeatureView
from fs_spark.registry import Registry
from fs_spark.transforms.spatial import per_unit_features
from tests.store.conftest import Walk
from tests.stores import INGESTED, VIEWS, label_spine, open_store, rows, values, versions


def wafer_yield(walk: Walk, where: str) -> float:
    dies = walk.store.table("die_tests").where(where)
    return round(100 * dies.agg(F.avg(F.col("passed").cast("int"))).collect()[0][0], 2)


def test_every_file_is_ingested(walk: Walk) -> None:
    assert {f.status for f in walk.ingested.files} == {"ingested"}
    assert walk.ingested.exit_code == 0


def test_diamond40_has_its_parts_dies_and_touchdowns(walk: Walk) -> None:
    dies = walk.store.table("die_tests").where("wafer_id = 'Q4RA40-18'")
    counts = dies.agg(
        F.count("*"),
        F.countDistinct("die_x", "die_y"),
        F.countDistinct("touchdown"),
        F.max("touchdown"),
        F.sum(F.col("is_final").cast("int")),
    ).collect()[0]
    assert tuple(counts) == (4057, 4056, 1041, 1040, 4056)


def test_touchdowns_of_diamond40_are_those_that_the_tester_logged(walk: Walk) -> None:
    logged = walk.store.table("test_results").where("test_name = 'NB_TouchDownNumber'")
    pairs = (
        walk.store.table("die_tests")
        .join(logged.select("run_id", "part_index", F.round("result").alias("logged")), ["run_id", "part_index"])
        .select("touchdown", "logged")
        .distinct()
    )
    assert pairs.count() == 1041
    assert pairs.select("logged").distinct().count() == 1041


def test_lot2_has_its_yields(walk: Walk) -> None:
    assert values(walk.store.table("wafer_runs"), "lot_id = 'GAL-LOT'", "parts", "wafer_id") == [(1569, "GAL-LOT-02")]
    assert wafer_yield(walk, "lot_id = 'GAL-LOT' AND is_first") == 92.24
    assert wafer_yield(walk, "lot_id = 'GAL-LOT' AND is_final") == 95.40


def test_two_files_make_one_wafer_of_prod(walk: Walk) -> None:
    prod = "product_id = 'p69208'"
    assert values(walk.store.table("die_tests"), f"{prod} AND is_first", "wafer_id").__len__() == 747
    assert wafer_yield(walk, f"{prod} AND run_start < '2017-02-20'") != 0
    ends = values(
        walk.store.table("lot_so_far").orderBy("event_timestamp"), "lot_id LIKE 'T622803%'", "wafers_done", "yield_mean"
    )
    assert [(done, round(100 * mean, 2)) for done, mean in ends] == [(1, 84.20), (1, 85.81)]


def test_the_neighborhood_of_the_real_wafers_has_a_row_per_attempt(walk: Walk) -> None:
    found = walk.store.table("die_neighborhood").where("lot_id NOT LIKE 'SYN%'").groupBy("wafer_id").count()
    assert {tuple(row) for row in found.collect()} == {("Q4RA40-18", 4057), ("GAL-LOT-02", 1569), ("W02", 748 + 118)}


@pytest.mark.parametrize("partitions", [1, 7, 200])
def test_law_5_a_real_wafer_gives_the_same_bits_for_any_partitioning(walk: Walk, partitions: int) -> None:
    state = Registry(walk.store._tables).state()
    wafer = "wafer_id = 'GAL-LOT-02'"
    dies = walk.store.table("die_tests").where(wafer).repartition(partitions, F.rand(partitions))
    results = walk.store.table("test_results").where(wafer).repartition(partitions, F.rand(7))
    bindings = state.bindings[("die_neighborhood", "1.0")]
    view = state.view("die_neighborhood")
    assert isinstance(view, FeatureView)
    again = per_unit_features(dies, results, view=view, bindings=bindings)
    stored = walk.store.table("die_neighborhood").where(wafer)
    assert stored.where("idd__neighbor_mean IS NOT NULL").count() > 1000
    assert rows(again) == rows(stored)


def test_geometry_has_a_row_per_die_whatever_the_insertion(walk: Walk) -> None:
    dies = walk.store.table("die_tests").select("lot_id", "wafer_id", "die_x", "die_y").distinct().count()
    geometry = walk.store.table("die_geometry")
    assert geometry.count() == dies
    assert geometry.where("event_timestamp IS NOT NULL OR sequence <> 0").count() == 0
    assert geometry.where("wafer_id = 'Q4RA40-18' AND edge_distance_mm IS NULL").count() == 0


def test_training_set_has_one_row_per_spine_row_and_a_whole_manifest(walk: Walk) -> None:
    manifest = walk.training_set.manifest
    assert walk.training_set.df.count() == label_spine(walk.store).count() == walk.training_set.rows
    assert {v["view"] for v in manifest["views"]} == set(VIEWS)
    for view in manifest["views"]:
        assert view["delta_version"] >= 1
        assert set(view["sources"]) == {"files", "wafer_runs", "die_tests", "tests", "test_results"}
        assert len(view["definition_hash"]) == 64
    assert manifest["code"]["fs_spark"] != "not installed"


def test_training_set_carries_the_features_of_insertion_1(walk: Walk) -> None:
    measured = walk.store.table("die_measured")
    newest = measured.groupBy("lot_id", "wafer_id", "die_x", "die_y").agg(
        F.max_by("vdd", "event_timestamp").alias("own")
    )
    joined = walk.training_set.df.join(newest, ["lot_id", "wafer_id", "die_x", "die_y"])
    assert joined.count() == walk.training_set.rows
    assert joined.where("NOT vdd <=> own").count() == 0


def test_training_set_over_real_wafers(walk: Walk) -> None:
    """Predict a die's own test from what was known before its touchdown."""
    keys = ["lot_id", "wafer_id", "die_x", "die_y"]
    spine = (
        walk.store.table("die_tests")
        .where("wafer_id IN ('Q4RA40-18', 'GAL-LOT-02')")
        .select(*keys, "event_timestamp", "passed", "attempt")
    )
    features = ["die_neighborhood:fail__neighbor_frac", "die_measured:idd", "lot_so_far:wafers_done"]
    built = walk.store.training_set(spine, features, name="own_test")
    assert built.rows == 4057 + 1569
    by_attempt = walk.store.table("die_neighborhood").withColumnRenamed("fail__neighbor_frac", "stored")
    joined = built.df.join(by_attempt, [*keys, "event_timestamp"])
    assert joined.count() == built.rows
    assert joined.where("NOT fail__neighbor_frac <=> stored").count() == 0
    # its own result and its own run are unknown then: a value is that of the die's attempt before
    own = walk.store.table("die_measured").withColumn(
        "stored", F.lag("idd").over(Window.partitionBy(*keys).orderBy("event_timestamp", "sequence"))
    )
    joined = built.df.join(own.drop("idd"), [*keys, "event_timestamp"])
    assert joined.where("NOT idd <=> stored").count() == 0
    assert built.df.where("idd IS NOT NULL AND attempt = 1").count() == 0
    assert built.df.where("idd IS NOT NULL AND attempt > 1").count() == 23
    assert built.df.where("wafers_done IS NOT NULL").count() == 0
    assert walk.store.reproduce("own_test").digest == built.digest


def test_online_rows_are_the_newest_offline_rows(walk: Walk) -> None:
    """Law 8."""
    service = walk.store.config.services["device_v2_0"]
    keys = ("lot_id", "wafer_id", "die_x", "die_y")
    lots = {row["lot_id"]: row for row in walk.store.table("lot_so_far").orderBy("event_timestamp").collect()}
    newest = (
        walk.store.table("die_neighborhood")
        .groupBy(*keys)
        .agg(F.max_by(F.struct("*"), F.struct("event_timestamp", "available_timestamp", "sequence")).alias("row"))
        .select("row.*")
        .collect()
    )
    with walk.store.online() as reader:
        asked = [{key: row[key] for key in keys} for row in newest]
        answers = reader.get("device_v2_0", asked)
    neighborhood = [f.feature for f in service.references if f.view == "die_neighborhood"]
    of_the_lot = [f.feature for f in service.references if f.view == "lot_so_far"]
    assert len(newest) > 4000
    for row, answer in zip(newest, answers, strict=True):
        assert {c: answer[c] for c in neighborhood} == {c: row[c] for c in neighborhood}
        assert {c: answer[c] for c in of_the_lot} == {c: lots[row["lot_id"]][c] for c in of_the_lot}


def test_every_verb_a_second_time_adds_no_version(walk: Walk, spark) -> None:  # type: ignore[no-untyped-def]
    """Law 4, on all files, real ones included."""
    store, before = open_store(walk.folder, spark), versions(walk.folder)
    again = store.ingest([walk.folder / "in", *walk.real])
    assert {f.status for f in again.files} == {"duplicate"}
    assert {change.action for change in store.apply()} == {"unchanged"}
    assert {(v.units_changed, v.units_removed) for v in store.materialize().views} == {(0, 0)}
    assert {(v.units_changed, v.units_removed) for v in store.materialize(full=True).views} == {(0, 0)}
    assert store.training_set(label_spine(store), ["device_v2_0"], name="bin_model").digest == walk.training_set.digest
    assert store.reproduce("bin_model").digest == walk.training_set.digest
    assert store.export("device_v2_0").current
    after = versions(walk.folder)
    assert {table: after[table] for table in before} == before


@pytest.mark.parametrize("table", [*INGESTED, *VIEWS])
def test_a_table_is_read_at_a_version(walk: Walk, table: str) -> None:
    newest = walk.store.history(table)[0].version
    assert rows(walk.store.table(table, version=newest).limit(0)) == []
    assert walk.store.table(table, version=0).count() == 0
