"""Laws 1, 4 and 7 and the law of whole runs, on tables: later files change no earlier row and no training set."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore
from tests.store.conftest import Walk
from tests.stores import VIEWS, label_spine, new_folder, open_store, real_files, rows, versions, write_lot


def test_a_later_file_leaves_every_earlier_row(spark: SparkSession, shared_data: Path, tmp_path: Path) -> None:
    """Laws 1 and 4: R1 comes 12 hours after R0; and step by step gives what all at once gives."""
    r0, r1 = real_files(shared_data, "PROD*_R0_*", "PROD*_R1_*")
    folder = new_folder(tmp_path / "steps")
    store = open_store(folder, spark)
    store.ingest([r0])
    store.apply()
    store.materialize()
    before = {view: set(rows(store.table(view))) for view in VIEWS}
    store.ingest([r1])
    report = store.materialize()
    assert {v.units_changed for v in report.views} == {0, 1}  # geometry stays as it was
    stepwise = {view: rows(store.table(view)) for view in VIEWS}
    for view in VIEWS:
        assert before[view] <= set(stepwise[view]), view
    assert len(stepwise["die_neighborhood"]) == 748 + 118
    full = store.materialize(full=True)
    assert {v.units_changed for v in full.views} == {0}


def test_incremental_equals_full_in_any_order_of_arrival(spark: SparkSession, tmp_path: Path) -> None:
    """Laws 3 (streaming) and 4: newest first against all at once; the first delivery holds a whole wafer, so that the
    wafer map is the same."""
    files = write_lot(tmp_path / "in", 3)
    one, other = new_folder(tmp_path / "one"), new_folder(tmp_path / "other")
    at_once = open_store(one, spark)
    at_once.ingest(files)
    at_once.apply()
    at_once.materialize()
    by_file = open_store(other, spark)
    by_file.ingest([files[3], files[1]])
    by_file.apply()
    by_file.materialize()
    by_file.ingest(files)
    by_file.materialize()
    for view in VIEWS:
        assert rows(by_file.table(view)) == rows(at_once.table(view)), view


def test_no_touchdown_sees_a_lot_row_of_its_own_run(walk: Walk) -> None:
    """The law of `after_*` views: strictly before, so the last touchdown is no exception."""
    first = walk.store.table("die_tests").where("insertion = '1' AND lot_id LIKE 'SYN%'")
    spine = first.select("lot_id", "wafer_id", "die_x", "die_y", "event_timestamp", "run_id", "part_index")
    built = walk.store.training_set(spine, ["lot_so_far:wafers_done"], name="lot_before")
    ends = walk.store.table("wafer_runs").where("insertion = '1'").select("lot_id", F.col("run_end").alias("ended"))
    wanted = (
        spine.join(ends, (spine["lot_id"] == ends["lot_id"]) & (ends["ended"] < spine["event_timestamp"]), "left")
        .groupBy("run_id", "part_index")
        .agg(F.count("ended").alias("wanted"))
    )
    compared = built.df.join(wanted, ["run_id", "part_index"])
    assert compared.count() == built.rows
    assert compared.where("coalesce(wafers_done, 0) <> wanted").count() == 0
    assert compared.where("wanted > 0").count() > 0


def test_a_training_set_is_reproduced_whatever_came_later(
    own_copy: tuple[Path, FeatureStore], walk: Walk, spark: SparkSession, tmp_path: Path
) -> None:
    """Law 7: later lots, re-materialization, OPTIMIZE, VACUUM, and a copy of the store in another folder."""
    folder, store = own_copy
    assert store.reproduce("bin_model").digest == walk.training_set.digest
    store.ingest(write_lot(tmp_path / "later", 9, wafers=1))
    changed = store.materialize()
    assert any(v.units_changed for v in changed.views)
    for table in ("die_neighborhood__v1_0", "lot_so_far__v1_0", "training__bin_model"):
        spark.sql(f"OPTIMIZE delta.`{folder}/store/{table}`").collect()
        spark.sql(f"VACUUM delta.`{folder}/store/{table}`").collect()
    again = store.reproduce("bin_model")
    assert again.digest == walk.training_set.digest
    assert rows(again.df) == rows(store.training_sets()["bin_model"].df)
    assert versions(folder)["training__bin_model"] >= versions(walk.folder)["training__bin_model"]


def test_a_changed_row_is_noticed(own_copy: tuple[Path, FeatureStore], spark: SparkSession) -> None:
    """The digest is a check that can fail: a training set whose table was rewritten is not the recorded one."""
    import json

    import pytest

    from fs_spark.errors import ReproductionError
    from fs_spark.names import TRAINING_SETS

    folder, store = own_copy
    manifest = dict(store.training_sets()["bin_model"].manifest)
    spark.sql(
        f"UPDATE delta.`{folder}/store/die_measured__v1_0` SET vdd = vdd + 1e-9 WHERE lot_id = 'SYN0001'"
    ).collect()
    newest = store.history("die_measured")[0].version
    manifest["views"] = [
        {**v, "delta_version": newest} if v["view"] == "die_measured" else v for v in manifest["views"]
    ]
    text = json.dumps(manifest, sort_keys=True).replace("'", "''")
    path = f"delta.`{folder}/store/{TRAINING_SETS}`"
    spark.sql(f"UPDATE {path} SET manifest = r'{text}' WHERE name = 'bin_model'").collect()
    with pytest.raises(ReproductionError, match="Columns that differ: vdd"):
        store.reproduce("bin_model")


def test_the_label_spine_has_rows(walk: Walk) -> None:
    assert label_spine(walk.store).where("fails").count() > 0
