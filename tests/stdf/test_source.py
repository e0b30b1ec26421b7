"""`format("stdf")`: batches, columns, options, bad files, and a stream that reads each file exactly once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark.errors import RequestError
from fs_spark.stdf import read_stdf
from fs_spark.stdf.source import SCHEMA, Settings
from tests.stdf.files import WHOLE, Maker, parts_with_results, real_file, two_by_three


@pytest.fixture
def stdf(spark: SparkSession) -> SparkSession:
    """`build_session` has registered the source."""
    return spark


def test_real_and_bad_files_in_one_read(stdf: SparkSession, shared_data: Path, tmp_path: Path) -> None:
    lot2 = real_file(shared_data, "noonchen-rust-stdf/lot2*")
    bad = tmp_path / "bad.stdf"
    bad.write_text("no tester file")
    rows = stdf.read.format("stdf").option("zone", "Europe/Paris").load([str(lot2), str(bad)]).collect()
    (fault,) = [row for row in rows if row["path"] == str(bad)]
    assert "not an STDF file" in fault["damage"]
    assert all(fault[name] is None for name in fault.asDict() if name not in ("path", "damage"))
    read = sorted((row for row in rows if row["path"] == str(lot2)), key=lambda row: row["part_index"])
    found = read_stdf(lot2)
    expected = parts_with_results(found, WHOLE)
    assert len(read) == len(expected) == 1569
    for row, part in zip(read, expected, strict=True):
        assert [tuple(result[name] for name in WHOLE) for result in row["results"]] == part["results"]
        for name in ("lot_id", "wafer_id", "die_x", "die_y", "touchdown", "passed", "hard_bin", "event_local"):
            assert row[name] == part[name], name
        assert row["event_timestamp"] is not None
    assert [f.strip().split()[0] for f in SCHEMA.split(", ")[:3]] == ["path", "damage", "file_id"]


def test_columns_tests_and_rules_are_chosen(stdf: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "lot_W07_.stdf"
    path.write_bytes(Maker().begin().pir(0).ptr(0, 5, 1.0, "vdd").ptr(0, 6, 2.0, "idd").prr(0, 1, 1).end())
    reader = stdf.read.format("stdf").option("waferId", r"file_name:_(W\d+)_").option("tests", "i*, 7")
    (row,) = reader.load(str(path)).select("wafer_id", "results.test_name", "event_timestamp").collect()
    assert tuple(row) == ("W07", ["idd"], None)
    narrow = reader.schema("die_x int, part_id string").load(str(tmp_path))
    assert [tuple(row) for row in narrow.collect()] == [(1, "1,1")]


def test_options_that_are_unknown_or_wrong() -> None:
    for options, text in (
        ({"path": "x", "zon": "UTC"}, "unknown options zon"),
        ({"path": "x", "zone": "Nowhere"}, "IANA"),
        ({"path": "x", "wafer_id": "W"}, "field:pattern"),
        ({"path": "x", "mode": "skip"}, "set_aside"),
        ({}, "no path"),
    ):
        with pytest.raises(RequestError, match=text):
            Settings.of(options)


def test_fail_names_the_file(stdf: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "bad.stdf").write_text("no tester file")
    with pytest.raises(PySparkException, match=r"bad\.stdf"):
        stdf.read.format("stdf").option("mode", "fail").load(str(tmp_path)).collect()


def test_a_stream_reads_each_file_exactly_once(stdf: SparkSession, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()

    def add(name: str, lot: str, seconds: int) -> None:
        path = folder / name
        path.write_bytes(two_by_three(lot_id=lot))
        os.utime(path, (seconds, seconds))

    def run() -> dict[str, int]:
        stream = stdf.readStream.format("stdf").option("maxFilesPerTrigger", "1").load(str(folder))
        query = (
            stream.select("lot_id", "path")
            .writeStream.format("parquet")
            .option("path", str(out))
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        counts = stdf.read.parquet(str(out)).groupBy("lot_id").agg(F.count("*").alias("parts")).collect()
        return {row["lot_id"]: row["parts"] for row in counts}

    add("b.stdf", "L1", 2_000_000_000)
    add("c.stdf", "L2", 2_000_000_000)
    assert run() == {"L1": 6, "L2": 6}
    assert run() == {"L1": 6, "L2": 6}
    add("a.stdf", "L3", 1_000_000_000)  # late, with an older time and an earlier name
    assert run() == {"L1": 6, "L2": 6, "L3": 6}
