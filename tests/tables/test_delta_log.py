"""What this process reads of a table by itself is what Delta says of it, and where it cannot tell, Delta is asked."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from fs_spark import delta_log
from fs_spark.delta_log import LocalTable, local_folder
from fs_spark.errors import RetentionError
from fs_spark.schemas import LAYOUTS, TableLayout
from fs_spark.tables import Tables
from tests.rows import frame_of

HORIZON = "interval 3650 days"
SCHEMA = (
    "lot_id string, wafer_id string, n int, big bigint, f float, d double, b boolean, at timestamp, wall timestamp_ntz"
)
AT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)


def layout(schema: str, *, replaced: bool = False) -> TableLayout:
    parsed = StructType.fromDDL(schema)
    assert isinstance(parsed, StructType)
    return TableLayout(parsed, ("lot_id",), replaced_in_place=replaced)


def rows(spark: SparkSession, *lots: str) -> DataFrame:
    found = [
        {
            "lot_id": lot, "wafer_id": "1", "n": -(2**31), "big": 2**62, "f": 0.1, "d": 1e300 if k else None,
            "b": k == 0, "at": AT, "wall": AT.replace(tzinfo=None),
        }
        for k, lot in enumerate(lots)
    ]  # fmt: skip
    return frame_of(spark, found, SCHEMA)


def sorted_rows(frame: DataFrame) -> list[Any]:
    return sorted(map(tuple, frame.select(*(F.col(c).cast("string") for c in frame.columns)).collect()))


@pytest.fixture(params=["plain", "a b=1 µ", "[a]%20*{b}?"])
def tables(spark: SparkSession, tmp_path: Path, request: pytest.FixtureRequest) -> Tables:
    """Also in folders whose names Delta encodes and Spark takes for patterns."""
    return Tables(spark, root=str(tmp_path / request.param), catalog=None, horizon=HORIZON)


def test_the_same_rows_types_versions_and_history(tables: Tables) -> None:
    tables.create("lots", layout(SCHEMA))
    assert tables.rows("lots").num_rows == 0
    assert tables.read("lots").collect() == []
    tables.append("lots", rows(tables.spark, "A", "B"), made_from={"step": 1})
    tables.append("lots", rows(tables.spark, "C"))
    tables.delete("lots", "lot_id = 'A'")
    tables.restore("lots", 2)
    tables.spark.sql(f"OPTIMIZE {tables.identifier('lots')}").collect()
    for version in (None, 1, 2, 3, 4):
        ours, deltas = tables.read("lots", version), tables.delta("lots", version)
        assert ours.dtypes == deltas.dtypes
        assert sorted_rows(ours) == sorted_rows(deltas)
        table = tables.rows("lots", version=version)
        assert sorted(table.column("lot_id").to_pylist()) == sorted(row[0] for row in deltas.collect())
        assert tables.row_count("lots", version) == (deltas.count() if tables._folder is not None else None)
    table = tables.rows("lots", ["lot_id", "at", "d"], where=pc.field("lot_id") == "B")
    assert table.to_pylist() == [{"lot_id": "B", "at": AT, "d": 1e300}]
    described = tables.spark.sql(f"DESCRIBE HISTORY {tables.identifier('lots')}").collect()
    commits = tables.history("lots")
    assert [(c.version, c.operation) for c in commits] == [(row["version"], row["operation"]) for row in described]
    assert tables.version("lots") == described[0]["version"]
    assert tables.history("lots", 2) == commits[:2]
    asked = Tables(tables.spark, root=tables.root, catalog=None, horizon=HORIZON)
    asked._folder = None  # everything by Spark
    for own, told in zip(commits, asked.history("lots"), strict=True):
        assert dataclasses.replace(own, parameters={}) == dataclasses.replace(told, parameters={})
        assert (own.rows, own.may_remove) == (told.rows, told.may_remove)
    assert asked.promise("lots") == tables.promise("lots")
    assert asked.version("lots") == tables.version("lots")
    assert tables.watermark("lots") == {"step": 1}


@pytest.mark.parametrize("tables", ["plain"], indirect=True)
def test_rows_that_were_taken_out_stay_out(tables: Tables) -> None:
    """Deletion vectors: the files still hold the rows."""
    tables.create("lots", layout(SCHEMA, replaced=True))
    tables.append("lots", rows(tables.spark, "A", "B").coalesce(1))
    tables.delete("lots", "lot_id = 'A'")
    assert [row["lot_id"] for row in tables.read("lots").collect()] == ["B"]
    assert tables.rows("lots", ["lot_id"]).to_pylist() == [{"lot_id": "B"}]
    assert tables.row_count("lots") is None
    local = LocalTable.open(tables.path("lots"), 1)
    assert local is not None
    assert local.files() is not None  # the version before has none
    assert sorted(row["lot_id"] for row in tables.read("lots", 1).collect()) == ["A", "B"]


@pytest.mark.parametrize("tables", ["plain"], indirect=True)
def test_columns_that_came_later_are_null_before(tables: Tables) -> None:
    tables.create("lots", layout("lot_id string not null"))
    tables.append("lots", frame_of(tables.spark, [{"lot_id": "A"}], "lot_id string"))
    tables.create("lots", layout("lot_id string not null, n int"))
    tables.append("lots", frame_of(tables.spark, [{"lot_id": "B", "n": 1}], "lot_id string, n int"))
    assert sorted(map(tuple, tables.read("lots").collect())) == [("A", None), ("B", 1)]
    assert sorted(tables.rows("lots").to_pylist(), key=str) == [{"lot_id": "A", "n": None}, {"lot_id": "B", "n": 1}]
    assert tables.columns("lots", 1) == ["lot_id"]


@pytest.mark.parametrize("tables", ["plain"], indirect=True)
def test_many_files_gone_files_and_gone_versions_are_deltas(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.create("lots", layout(SCHEMA))
    tables.append("lots", rows(tables.spark, "A").coalesce(1))
    tables.append("lots", rows(tables.spark, "B").coalesce(1))
    local = LocalTable.open(tables.path("lots"))
    assert local is not None
    assert len(local.few_files() or []) == 2
    monkeypatch.setattr(delta_log, "FEW_FILES", 1)
    assert local.few_files() is None
    assert sorted(row["lot_id"] for row in tables.read("lots").collect()) == ["A", "B"]
    monkeypatch.undo()
    with pytest.raises(RetentionError, match="version 9 of table lots cannot be read"):
        tables.read("lots", 9)
    Path((local.few_files() or [])[0]).unlink()
    assert "1 of its 2 data files were removed" in (tables.unreadable("lots", 2) or "")
    assert tables.unreadable("none", 0) == "the table is not there"


def test_only_this_machines_folders(spark: SparkSession, tmp_path: Path) -> None:
    assert local_folder(spark, "/data/store") == "/data/store"
    assert local_folder(spark, "file:///data/store") == "/data/store"
    assert local_folder(spark, "/data/st%20re") is None
    for remote in ("s3a://bucket/store", "abfss://c@a.dfs.core.windows.net/s", "dbfs:/store", "hdfs://n/s", None):
        assert local_folder(spark, remote) is None

    class Remote:
        __module__ = "pyspark.sql.connect.session"

    assert local_folder(Remote(), "/data/store") is None  # type: ignore[arg-type]
    assert LocalTable.open(str(tmp_path)) is None
    (tmp_path / "t" / "_delta_log").mkdir(parents=True)
    assert LocalTable.open(str(tmp_path / "t")) is None


@pytest.mark.parametrize("tables", ["plain"], indirect=True)
@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_tables_layout_passes(tables: Tables, name: str) -> None:
    tables.create(name, LAYOUTS[name])
    local = LocalTable.open(tables.path(name))
    assert local is not None
    assert local.schema == tables.delta(name).schema
