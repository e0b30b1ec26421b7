"""Training sets of a store: rules of the join, what is kept, reproduction from the source, and what is refused."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore, GroupSplit, NegativeSampling, PinnedTable, SpineRequest, TrainingRules
from fs_spark.errors import (
    FeatureNotFoundError,
    LeakageError,
    ReproductionError,
    RequestError,
    RetentionError,
    SchemaError,
    TableConflictError,
)
from fs_spark.training.manifest import SCHEMA_FILE, Manifest, manifest_schema
from tests.store.conftest import Walk
from tests.stores import label_spine, open_store, real_files, rows, versions, write_lot

ASKED = ["die_geometry:radius_mm", "die_neighborhood:fail__neighbor_frac", "die_measured:idd", "lot_so_far:yield_mean"]


def test_the_published_schema_is_that_of_the_manifests(walk: Walk) -> None:
    assert json.loads(SCHEMA_FILE.read_text("utf-8")) == json.loads(json.dumps(manifest_schema()))
    manifest = walk.training_set.manifest
    assert Manifest.model_validate(manifest).model_dump(mode="json") == manifest
    assert set(manifest["content"]["columns"]) == set(walk.training_set.df.columns)
    assert manifest["code"]["spark"].startswith("4.")
    assert manifest["configuration"] is not None
    kept = walk.store.history("training__bin_model")[0].metadata["fs_spark"]["training_set"]
    # the rows' digest is taken of what lies in the table
    assert kept == {key: manifest[key] for key in manifest if key != "content"}


def test_training_sets_are_listed_described_and_compared(walk: Walk) -> None:
    spine = label_spine(walk.store).where("lot_id = 'SYN0001'")
    first = walk.store.training_set(spine, ASKED, name="described")
    other = walk.store.training_set(
        spine, ASKED[:3], name="described_too", rules=TrainingRules(offset={"die_measured": timedelta(days=3650)})
    )
    saved = walk.store.training_sets()
    assert {"bin_model", "described", "described_too"} <= set(saved)
    assert saved["described"].digest == first.digest
    assert rows(saved["described"].df) == rows(first.df)
    text = saved.describe("described")
    assert f"{first.rows} rows, digest {first.digest}" in text
    assert "die_neighborhood__v1.0 at Delta version" in text
    found = saved.diff("described", "described_too")
    assert found.rows == (first.rows, other.rows)
    assert found.columns == {"idd": "values differ", "yield_mean": "only in the first"}
    assert found.views["lot_so_far__v1.0"] == {"joined": (True, False)}
    assert found.views["die_measured__v1.0"] == {"offset_s": (0.0, 3650 * 86400.0)}
    assert not found.same_content
    assert saved.diff("described", "described").views == {}
    assert other.manifest["content"]["empty"]["die_measured__v1.0"] == 1.0
    with pytest.raises(FeatureNotFoundError, match="did you mean 'described'"):
        saved.describe("describe")


def test_rules_change_the_join_view_by_view(walk: Walk) -> None:
    spine = label_spine(walk.store).where("lot_id = 'SYN0001'")
    plain = walk.store.training_set(spine, ASKED, name="plain_rules", rules=TrainingRules(times=True))
    aged = plain.df.where("idd IS NOT NULL").selectExpr(
        "min(die_measured__age_s)", "max(die_measured__event_timestamp < event_timestamp)", "count(*)"
    )
    (least, before, count) = aged.collect()[0]
    assert count > 100
    assert least > 0
    assert before
    rules = TrainingRules(ttl={"die_measured": timedelta(0)}, ignore_availability=("die_measured",), times=True)
    tight = walk.store.training_set(spine, ASKED, name="tight_rules", rules=rules)
    assert tight.df.where("idd IS NOT NULL").count() == 0
    assert walk.store.reproduce("tight_rules").digest == tight.digest
    assert tight.manifest["views"][2]["availability"] == "ignored"


def test_a_rule_for_a_view_that_is_not_asked_for_is_refused(walk: Walk) -> None:
    spine = label_spine(walk.store)
    before = versions(walk.folder)
    with pytest.raises(FeatureNotFoundError, match="did you mean 'die_measured'"):
        walk.store.training_set(spine, ASKED, name="no", rules=TrainingRules(ttl={"die_measurd": timedelta(1)}))
    with pytest.raises(LeakageError, match="look ahead"):
        walk.store.training_set(spine, ASKED, name="no", rules=TrainingRules(offset={"die_measured": -timedelta(1)}))
    with pytest.raises(RequestError, match="does not keep this spine"):
        walk.store.training_set(spine, ASKED, name="no", rules=TrainingRules(keep="manifest"))
    with pytest.raises(SchemaError, match=r"'idd' of view die_measured.* is also in the spine[\s\S]*prefix"):
        walk.store.training_set(spine.withColumn("idd", F.lit(1.0)), ASKED, name="no")
    assert versions(walk.folder) == before


def test_a_spine_or_a_manifest_alone_may_be_kept(walk: Walk) -> None:
    pinned = PinnedTable(
        "die_tests",
        walk.store.history("die_tests")[0].version,
        columns=("lot_id", "wafer_id", "die_x", "die_y", "event_timestamp", "passed"),
        where="lot_id = 'SYN0001' AND insertion = '1'",
    )
    whole = walk.store.training_set(pinned, ASKED, name="kept_rows")
    spine = walk.store.training_set(pinned, ASKED, name="kept_spine", rules=TrainingRules(keep="spine"))
    manifest = walk.store.training_set(pinned, ASKED, name="kept_manifest", rules=TrainingRules(keep="manifest"))
    assert whole.rows > 200
    assert whole.digest == spine.digest == manifest.digest
    assert "training__kept_manifest" not in versions(walk.folder)
    assert walk.store.table("training__kept_spine").columns == spine.manifest["spine"]["columns"]
    saved = walk.store.training_sets()
    assert rows(saved["kept_spine"].df) == rows(saved["kept_manifest"].df) == rows(whole.df)
    for name in ("kept_spine", "kept_manifest"):
        assert walk.store.reproduce(name).digest == whole.digest
    assert walk.store.reproduce("kept_manifest", from_source=True).digest == whole.digest


def test_a_spine_before_all_data_gives_nulls_and_a_warning(walk: Walk, caplog: pytest.LogCaptureFixture) -> None:
    spine = label_spine(walk.store).where("lot_id = 'SYN0001'").withColumn(
        "event_timestamp", F.lit("1999-01-01 00:00:00 UTC").cast("timestamp")
    )  # fmt: skip
    with caplog.at_level("WARNING", "fs_spark"):
        built = walk.store.training_set(spine, ["die_measured:idd"], name="too_early")
    assert built.df.where("idd IS NOT NULL").count() == 0
    assert "no feature of die_measured__v1.0 in 100.0 %" in caplog.text
    empty = walk.store.training_set(spine.limit(0), ["die_measured:idd"], name="no_rows")
    assert (empty.rows, walk.store.reproduce("no_rows").rows) == (0, 0)


def test_questions_about_the_stores_own_dies(walk: Walk) -> None:
    split = GroupSplit("wafer", {"train": 0.5, "test": 0.5}, seed=3)
    spine = walk.store.spine(
        SpineRequest(
            "next_insertion", insertion="2", earlier_insertion="1", negatives=NegativeSampling(0.3), split=split
        )
    )
    built = walk.store.training_set(spine, ["die_measured:idd", "die_neighborhood:neighbor_count"], name="asked_next")
    sides = built.df.groupBy("lot_id", "wafer_id").agg(F.count_distinct("split").alias("sides"))
    assert sides.where("sides <> 1").count() == 0
    assert built.df.where("fails").count() > 10
    assert built.df.where("idd IS NULL").count() < built.rows / 2
    known = walk.store.spine(SpineRequest("die_test"), columns=["product_id", "tester", "head", "site"])
    assert known.columns[-4:] == ["product_id", "tester", "head", "site"]
    assert known.where("tester IS NULL OR site IS NULL").count() < known.count() / 2
    with pytest.raises(LeakageError, match=r"passed of an attempt"):
        walk.store.spine(SpineRequest("die_test"), columns=["passed"])
    with pytest.raises(RequestError, match=r"nothing was ingested of insertion '9'"):
        walk.store.spine(SpineRequest("die_test", insertion="9"))


def test_law_7_from_the_feature_tables_and_from_the_ingested_rows(
    own_copy: tuple[Path, FeatureStore], walk: Walk, spark: SparkSession, shared_data: Path, tmp_path: Path
) -> None:
    """After a new lot, a late retest file, a new view version, RESTORE of tables, and a copy to another folder."""
    folder, store = own_copy
    spine = label_spine(store).where("lot_id IN ('SYN0001', 'SYN0002')").unionByName(
        store.table("die_tests").where("insertion = '1' AND lot_id LIKE 'T622803%'").select(
            "lot_id", "wafer_id", "die_x", "die_y", "event_timestamp", (~F.col("passed")).alias("fails")
        )
    )  # fmt: skip
    built = store.training_set(spine, ASKED, name="held")
    store.ingest([*write_lot(tmp_path / "later", 9, wafers=1), *real_files(shared_data, "PROD*_R1_*")], again=True)
    view = folder / "conf" / "views" / "die_measured.yaml"
    view.write_text(view.read_text("utf-8").replace('"1.0"', '"1.1"').replace("freq, temp", "freq"), "utf-8")
    store = open_store(folder, spark)
    store.apply()
    store.materialize()
    spark.sql(f"RESTORE TABLE delta.`{folder}/store/die_neighborhood__v1_0` TO VERSION AS OF 0").collect()
    spark.sql(f"RESTORE TABLE delta.`{folder}/store/die_tests` TO VERSION AS OF 0").collect()
    moved = tmp_path / "moved"
    shutil.move(folder, moved)
    store = open_store(moved, spark)
    assert store.reproduce("held").digest == built.digest
    assert store.reproduce("held", from_source=True).digest == built.digest


def test_what_is_gone_is_named_before_any_job_runs(own_copy: tuple[Path, FeatureStore], walk: Walk) -> None:
    folder, store = own_copy
    for file in (folder / "store" / "die_measured__v1_0").glob("**/*.parquet"):
        file.unlink()
    with pytest.raises(RetentionError, match=r"die_measured__v1_0 at version \d+: \d+ of its \d+ data files") as fault:
        store.reproduce("bin_model")
    assert "--from-source" in str(fault.value)
    assert store.reproduce("bin_model", from_source=True).digest == walk.training_set.digest


def test_differences_are_shown_by_column_with_counts(own_copy: tuple[Path, FeatureStore], spark: SparkSession) -> None:
    """The feature table is rewritten and the manifest made to point at the rewritten version."""
    folder, store = own_copy
    table = f"delta.`{folder}/store/die_measured__v1_0`"
    spark.sql(f"UPDATE {table} SET idd = idd + 1 WHERE wafer_id = 'W01' AND lot_id = 'SYN0001'").collect()
    wanted = store.training_sets()["bin_model"].df.where("wafer_id = 'W01' AND lot_id = 'SYN0001' AND idd > 0").count()
    newest = store.history("die_measured")[0].version
    saved = f"delta.`{folder}/store/training_sets`"
    manifest = store.training_sets().manifest("bin_model")
    manifest["views"] = [
        {**v, "delta_version": newest} if v["view"] == "die_measured" else v for v in manifest["views"]
    ]
    text = json.dumps(manifest, sort_keys=True).replace("'", "''")
    spark.sql(f"UPDATE {saved} SET manifest = r'{text}' WHERE name = 'bin_model'").collect()
    with pytest.raises(ReproductionError, match=rf"Columns that differ: idd \({wanted} of \d+ values\)"):
        store.reproduce("bin_model")


def test_a_name_of_other_content_is_refused(walk: Walk) -> None:
    spine = label_spine(walk.store).where("lot_id = 'SYN0001'")
    built = walk.store.training_set(spine, ["die_measured:idd"], name="taken")
    before = versions(walk.folder)
    assert walk.store.training_set(spine, ["die_measured:idd"], name="taken").digest == built.digest
    with pytest.raises(TableConflictError, match="choose another name"):
        walk.store.training_set(spine.limit(3), ["die_measured:idd"], name="taken")
    assert versions(walk.folder) == before
