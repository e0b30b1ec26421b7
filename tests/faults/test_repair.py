"""Stores whose ingested rows are there twice, or not all: left so by an earlier fs_spark or a RESTORE."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from fs_spark.ingest.ledger import ROWS
from tests.faults.test_at_once import stored_once
from tests.faults.verbs import content, copied, walked
from tests.stores import open_store, versions


@pytest.fixture(scope="module")
def earlier(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two lots in the layout from before there were batches; its rows are right."""
    folder = walked(spark, tmp_path_factory.mktemp("earlier") / "one", ("ingest", "apply", "materialize"), lots=(1, 2))
    for name in (*ROWS, "files"):
        path = str(folder / "store" / name)
        rows = spark.read.format("delta").load(path).drop("batch_id").localCheckpoint()
        rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(path)
    return folder


def doubled(spark: SparkSession, folder: Path) -> str:
    """Adds the rows of one file once more, as an ingest of an overlapping folder at the same time did."""
    file_id, path = spark.read.format("delta").load(str(folder / "store" / "files")).orderBy("path").collect()[0][:2]
    for name in ROWS:
        table = str(folder / "store" / name)
        again = spark.read.format("delta").load(table).where(f"file_id = '{file_id}'").localCheckpoint()
        again.write.format("delta").mode("append").save(table)
    return str(path)


def seen(spark: SparkSession, folder: Path) -> dict[str, object]:
    return {key: value for key, value in content(spark, folder).items() if not key.startswith("all rows")}


def test_a_store_of_the_earlier_layout_goes_on(spark: SparkSession, tmp_path: Path, earlier: Path) -> None:
    before = seen(spark, earlier)
    folder = copied(earlier, tmp_path / "store")
    store = open_store(folder, spark)
    assert {f.status for f in store.ingest([earlier / "in"]).files} == {"duplicate"}
    assert [v.units_changed for v in store.materialize().views] == [0, 0, 0, 0]
    assert seen(spark, folder) == before
    (extra := tmp_path / "in").mkdir()
    (extra / "new.stdf").write_bytes(next((earlier / "in").glob("SYN0001*CP1*")).read_bytes()[:-40])
    assert [f.status for f in store.ingest([extra]).files] == ["conflicting_run"]
    stored_once(store)


@pytest.mark.parametrize(
    "by", [pytest.param("again", marks=pytest.mark.soak), pytest.param("again all", marks=pytest.mark.soak), "repair"]
)
def test_doubled_rows_are_healed_and_said(spark: SparkSession, tmp_path: Path, earlier: Path, by: str) -> None:
    before = seen(spark, earlier)
    folder = copied(earlier, tmp_path / "store")
    path = doubled(spark, folder)
    store = open_store(folder, spark)
    assert store.table("die_tests").count() > len(before["die_tests"])  # type: ignore[arg-type]
    if by == "repair":
        dry = store.repair(dry_run=True)
        assert (list(dry.mended), dry.dry_run) == ([path], True)
        report = store.repair()
        assert list(report.mended) == [path]
        assert "rows in die_tests for" in report.to_text()
    else:
        files = store.ingest([path] if by == "again" else [], again=True).files
        (healed,) = [f for f in files if f.status == "ingested"]
        assert healed.path == path
        assert "written anew" in (healed.reason or "")
        assert "rows in die_tests for" in (healed.reason or "")
    assert seen(spark, folder) == before
    stored_once(store)
    written = versions(folder)
    assert store.repair().to_text() == "every row of every file is there once"
    assert {f.status for f in store.ingest(again=True).files} == {"duplicate"}
    assert [v.units_changed for v in store.materialize(full=True).views] == [0, 0, 0, 0]
    assert versions(folder) == written


def test_rows_that_a_restore_took_are_named_and_read_again(spark: SparkSession, tmp_path: Path, earlier: Path) -> None:
    before = seen(spark, earlier)
    folder = copied(earlier, tmp_path / "store")
    store: FeatureStore = open_store(folder, spark)
    store.ingest([earlier / "in"])  # the layout of now
    spark.sql(f"RESTORE delta.`{folder}/store/die_tests` TO VERSION AS OF 0").collect()
    report = open_store(folder, spark).repair()
    assert len(report.lacking) == 4
    assert "Hint: fs-spark ingest --again" in report.to_text()
    store = open_store(folder, spark)
    assert {f.status for f in store.ingest(again=True).files} == {"ingested"}
    assert seen(spark, folder) == before
    stored_once(store)
