"""A bad request is one clear error and changes no table; a bad file is a row in `files`."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore
from fs_spark.errors import (
    FeatureNotFoundError,
    FsSparkError,
    RequestError,
    SchemaError,
    TableConflictError,
)
from tests.store.conftest import Walk
from tests.stores import label_spine, new_folder, open_store, versions, write_lot

FEATURE = ["die_neighborhood:neighbor_count"]
KEYS = {"lot_id": ["L"], "wafer_id": ["W"], "die_x": [1], "die_y": [1]}
NOON = pd.Timestamp("2025-03-03 12:00", tz="UTC")

Request = Callable[[FeatureStore], object]
REQUESTS: dict[str, tuple[Request, type[FsSparkError], str]] = {
    "missing folder": (lambda s: s.ingest(["/nowhere/at/all"]), RequestError, "no such file or folder"),
    "unknown view": (
        lambda s: s.materialize(["die_neighbourhood"]),
        FeatureNotFoundError,
        "did you mean 'die_neighborhood'",
    ),
    "unknown feature": (
        lambda s: s.training_set(label_spine(s), ["die_neighborhood:fail__neighbor_fraction"], name="x"),
        FeatureNotFoundError,
        "did you mean 'fail__neighbor_frac'",
    ),
    "unknown version": (
        lambda s: s.training_set(label_spine(s), ["die_neighborhood__v9.0:neighbor_count"], name="x"),
        FeatureNotFoundError,
        "no version 9.0",
    ),
    "no reference": (lambda s: s.training_set(label_spine(s), ["a b:c"], name="x"), RequestError, "view:feature"),
    "unknown service": (lambda s: s.export("device"), FeatureNotFoundError, "device_v2_0"),
    "unknown training set": (lambda s: s.reproduce("bin_modle"), FeatureNotFoundError, "did you mean 'bin_model'"),
    "a bad name": (lambda s: s.training_set(label_spine(s), FEATURE, name="Bin model"), RequestError, "no name"),
    "spine without a key": (
        lambda s: s.training_set(label_spine(s).drop("die_x"), FEATURE, name="x"),
        SchemaError,
        "the spine lacks the key 'die_x'",
    ),
    "spine without a time": (
        lambda s: s.training_set(label_spine(s).drop("event_timestamp"), FEATURE, name="x"),
        SchemaError,
        "lacks its time column",
    ),
    "spine with a naive time": (
        lambda s: s.training_set(
            label_spine(s).withColumn("event_timestamp", F.col("event_timestamp").cast("timestamp_ntz")),
            FEATURE,
            name="x",
        ),
        SchemaError,
        "without a zone",
    ),
    "pandas spine with a naive time": (
        lambda s: s.training_set(
            pd.DataFrame({**KEYS, "event_timestamp": [NOON.tz_localize(None)]}), FEATURE, name="x"
        ),
        SchemaError,
        "tz_localize",
    ),
    "a name that is taken": (
        lambda s: s.training_set(pd.DataFrame({**KEYS, "event_timestamp": [NOON]}), FEATURE, name="bin_model"),
        TableConflictError,
        "choose another name",
    ),
    "a column twice": (
        lambda s: s.training_set(
            pd.DataFrame({**KEYS, "event_timestamp": [NOON], "neighbor_count": [1]}), FEATURE, name="x"
        ),
        SchemaError,
        "prefix",
    ),
    "unknown table": (lambda s: s.table("die_test"), FeatureNotFoundError, "did you mean 'die_tests'"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_bad_request_changes_no_table(walk: Walk, spark: SparkSession, case: str) -> None:
    request, error, text = REQUESTS[case]
    before = versions(walk.folder)
    with pytest.raises(error, match=text):
        request(open_store(walk.folder, spark))
    assert versions(walk.folder) == before


def test_nothing_ingested_nothing_applied(spark: SparkSession, tmp_path: Path) -> None:
    store = open_store(new_folder(tmp_path / "empty"), spark)
    with pytest.raises(RequestError, match="apply"):
        store.materialize()
    with pytest.raises(RequestError, match="ingest"):
        store.table("die_tests")
    assert versions(tmp_path / "empty") == {}


def test_a_table_of_another_schema_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "other")
    spark.range(3).write.format("delta").save(str(folder / "store" / "files"))
    before = versions(folder)
    with pytest.raises(FsSparkError, match="files"):
        open_store(folder, spark).ingest(write_lot(tmp_path / "in", 1, wafers=1))
    assert versions(folder) == before


def test_bad_files_are_set_aside_and_the_rest_go_on(spark: SparkSession, tmp_path: Path) -> None:
    good, other = write_lot(tmp_path / "in", 1, wafers=1)
    bad = tmp_path / "in"
    (bad / "empty.stdf").write_bytes(b"")
    (bad / "text.stdf").write_text("this is no tester file\n" * 50)
    packed = gzip.compress(other.read_bytes(), mtime=0)
    (bad / "cut.stdf.gz").write_bytes(packed[: len(packed) // 2])
    (bad / "junk.stdf.gz").write_bytes(packed[:40])
    other.unlink()
    folder = new_folder(tmp_path / "store_of_bad")
    store = open_store(folder, spark)
    report = store.ingest([bad])
    status = {Path(f.path).name: f.status for f in report.files}
    assert status == {
        good.name: "ingested",
        "empty.stdf": "unreadable",
        "text.stdf": "unreadable",
        "cut.stdf.gz": "truncated",
        "junk.stdf.gz": "unreadable",
    }
    assert report.exit_code == 3
    assert all(f.reason for f in report.files if f.status != "ingested")
    stored = {row["status"]: row["count"] for row in store.table("files").groupBy("status").count().collect()}
    assert stored == {"ingested": 1, "unreadable": 3, "truncated": 1}
    kept = store.table("die_tests").where("insertion = '2'").count()
    assert 0 < kept == next(f.parts for f in report.files if f.status == "truncated")
    before = versions(folder)
    assert {f.status for f in store.ingest([bad]).files} == {"duplicate"}
    assert versions(folder) == before
    # the whole file comes later and takes the place of its cut delivery
    (bad / "whole.stdf.gz").write_bytes(packed)
    assert store.ingest([bad / "whole.stdf.gz"]).exit_code == 0
    assert {r["status"] for r in store.table("files").where("path LIKE '%cut.stdf.gz'").collect()} == {"superseded"}
    whole = store.table("die_tests").where("insertion = '2'")
    assert whole.count() > kept
    assert whole.select("file_id").distinct().count() == 1


def test_nothing_readable(spark: SparkSession, tmp_path: Path) -> None:
    bad = tmp_path / "text.stdf"
    bad.write_text("no tester file")
    folder = new_folder(tmp_path / "nothing")
    assert open_store(folder, spark).ingest([bad]).exit_code == 2
    assert {t: v for t, v in versions(folder).items() if v} == {"files": 1}


def test_a_half_done_ingest_shows_nothing_and_is_completed(spark: SparkSession, tmp_path: Path) -> None:
    """The rows are there, the commit marker is not: readers see none, and the next run writes each once."""
    files = write_lot(tmp_path / "in", 1, wafers=1)
    folder = new_folder(tmp_path / "half")
    store = open_store(folder, spark)
    store.ingest(files)
    whole = store.table("die_tests").count()
    spark.sql(f"RESTORE delta.`{folder}/store/files` TO VERSION AS OF 0").collect()
    assert store.table("die_tests").count() == 0
    assert {f.status for f in store.ingest(files).files} == {"ingested"}
    assert store.table("die_tests").count() == whole
    assert store.table("test_results").count() == 4 * whole


def test_another_content_for_a_known_run_is_set_aside(spark: SparkSession, tmp_path: Path) -> None:
    (first, _) = write_lot(tmp_path / "in", 1, wafers=1)
    content = bytearray(first.read_bytes())
    content[-30] ^= 0x01  # inside the summaries at the end: the same run, another file
    twin = tmp_path / "twin.stdf"
    twin.write_bytes(bytes(content))
    store = open_store(new_folder(tmp_path / "conflict"), spark)
    assert store.ingest([first]).exit_code == 0
    report = store.ingest([twin])
    assert [f.status for f in report.files] == ["conflicting_run"]
    assert store.table("die_tests").select("file_id").distinct().count() == 1


@pytest.mark.parametrize("column", ["map('a', 1)", "parse_json('1')", "NULL", "make_interval(1)", "array(map(1, 2))"])
def test_a_spine_column_that_no_table_keeps(walk: Walk, column: str) -> None:
    before = versions(walk.folder)
    spine = label_spine(walk.store).selectExpr("*", f"{column} AS odd")
    with pytest.raises(SchemaError, match=r"a training set cannot keep odd \(.*\)\. Hint: leave it out of the spine"):
        walk.store.training_set(spine, ["die_geometry:radius_mm"], name="odd")
    assert versions(walk.folder) == before
