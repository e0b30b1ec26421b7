"""Delta tables: what a table promises at creation, and that each write does what it says and nothing else."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, IntegerType, StringType, StructField, StructType

from fs_spark.config import load_configuration
from fs_spark.errors import RetentionError, SchemaError
from fs_spark.schemas import LAYOUTS, TableLayout, view_layout
from fs_spark.tables import Tables, is_one_of
from tests.rows import frame_of, rows_of, settings

HORIZON = "interval 3650 days"
SCHEMA = "lot_id string, wafer_id string, value double"
LAYOUT = TableLayout(
    StructType(
        [
            StructField("lot_id", StringType(), False),
            StructField("wafer_id", StringType(), False),
            StructField("value", DoubleType()),
        ]
    ),
    cluster_by=("lot_id", "wafer_id"),
    replaced_in_place=True,
)


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> Tables:
    return Tables(spark, root=str(tmp_path), catalog=None, horizon=HORIZON)


@pytest.fixture
def lots(tables: Tables) -> Tables:
    """A table `lots` of three wafers."""
    tables.create("lots", LAYOUT)
    tables.append("lots", rows(tables, ("A", "1", 1.0), ("A", "2", 2.0), ("B", "1", 3.0)), made_from={"step": 1})
    return tables


def rows(tables: Tables, *values: tuple[Any, ...]) -> DataFrame:
    names = ("lot_id", "wafer_id", "value")
    return frame_of(tables.spark, [dict(zip(names, row, strict=True)) for row in values], SCHEMA)


def content(tables: Tables, name: str = "lots", version: int | None = None) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in rows_of(tables.read(name, version)))


def detail(tables: Tables, name: str) -> dict[str, Any]:
    return tables.spark.sql(f"DESCRIBE DETAIL {tables.identifier(name)}").collect()[0].asDict()


# Creation.


def test_a_new_table_keeps_its_versions_and_takes_no_null_keys(tables: Tables) -> None:
    assert not tables.exists("lots")
    tables.create("lots", LAYOUT)
    assert tables.exists("lots")
    found = detail(tables, "lots")
    assert found["properties"]["delta.deletedFileRetentionDuration"] == HORIZON
    assert found["properties"]["delta.logRetentionDuration"] == HORIZON
    assert found["properties"]["delta.enableInCommitTimestamps"] == "true"
    assert found["properties"]["delta.enableDeletionVectors"] == "true"
    assert found["clusteringColumns"] == ["lot_id", "wafer_id"]
    for null_key in ((None, "1", 1.0), ("A", None, 1.0)):
        with pytest.raises(Exception, match=r"NOT_NULL|NOT NULL"):
            tables.append("lots", rows(tables, ("A", "1", 1.0), null_key))
    assert content(tables) == []
    assert tables.version("lots") == 0


def test_only_tables_that_are_replaced_in_place_have_deletion_vectors(tables: Tables) -> None:
    assert not any(layout.replaced_in_place for layout in LAYOUTS.values())
    tables.create("registry", LAYOUTS["registry"])
    assert detail(tables, "registry")["minReaderVersion"] == 1


def test_rows_of_a_key_are_replaced_without_deletion_vectors(tables: Tables) -> None:
    """Whether their rows lie in files of their own or beside others', with quotes in the key, and where none were."""
    tables.create("lots", dataclasses.replace(LAYOUT, replaced_in_place=False))
    odd = "L'1\\"
    tables.append("lots", rows(tables, ("A", "1", 1.0), ("B", "1", 2.0), (odd, "1", 3.0)).coalesce(1))
    tables.append("lots", rows(tables, ("A", "2", 4.0)))
    new = rows(tables, ("A", "1", 5.0), (odd, "2", 6.0), ("C", "1", 7.0))
    tables.swap("lots", new, based_on=2, replacing=is_one_of("lot_id", ["A", odd, "C"]))
    assert content(tables) == sorted([("A", "1", 5.0), ("B", "1", 2.0), ("C", "1", 7.0), (odd, "2", 6.0)])
    assert tables.version("lots") == 3
    with pytest.raises(Exception, match="REPLACE_WHERE"):
        tables.swap("lots", rows(tables, ("B", "1", 9.0)), based_on=3, replacing=is_one_of("lot_id", ["A"]))
    assert ("B", "1", 2.0) in content(tables)


def test_every_layout_can_be_created(tables: Tables) -> None:
    """Also with names, types and clustering as Delta wants them; and creating again is no commit."""
    views = load_configuration(Path(__file__).resolve().parents[2] / "conf" / "store.yaml").views
    layouts = {"die_tests": LAYOUTS["die_tests"], "lots": view_layout(next(v for v in views if v.name == "lot_so_far"))}
    for name, layout in layouts.items():
        tables.create(name, layout)
        Tables(tables.spark, root=tables.root, catalog=None, horizon=HORIZON).create(name, layout)
        assert tables.version(name) == 0
        assert [(f.name, f.dataType) for f in tables.read(name).schema] == [(f.name, f.dataType) for f in layout.schema]
        assert detail(tables, name)["clusteringColumns"] == list(layout.cluster_by)


def test_a_table_that_keeps_too_little_is_refused_with_the_hint(lots: Tables) -> None:
    longer = Tables(lots.spark, root=lots.root, catalog=None, horizon="interval 3651 days")
    with pytest.raises(RetentionError) as fault:
        longer.exists("lots")
    assert f"is {HORIZON}, the configured horizon is interval 3651 days" in str(fault.value)
    assert "Hint: ALTER TABLE" in str(fault.value)
    with pytest.raises(RetentionError):
        longer.create("lots", LAYOUT)
    lots.spark.sql(str(fault.value).split("Hint: ")[1].split(";")[0]).collect()  # the hint is a statement that helps
    assert longer.exists("lots")


def test_delta_defaults_keep_too_little(tables: Tables) -> None:
    rows(tables, ("A", "1", 1.0)).write.format("delta").save(tables.path("lots"))
    with pytest.raises(RetentionError, match=r"deletedFileRetentionDuration is not set"):
        tables.create("lots", LAYOUT)


def test_another_schema_is_refused_and_nothing_changed(lots: Tables) -> None:
    wanted = StructType(
        [
            StructField("lot_id", StringType(), False),
            StructField("value", IntegerType()),
            StructField("yield_mean", DoubleType()),
        ]
    )
    with pytest.raises(SchemaError) as fault:
        Tables(lots.spark, root=lots.root, catalog=None, horizon=HORIZON).create("lots", TableLayout(wanted))
    for text in (
        "value: found double, needs int",
        "yield_mean: absent, needs double",
        "wafer_id: not expected",
        "Hint: point store.yaml at another root",
    ):
        assert text in str(fault.value)
    assert lots.version("lots") == 1
    assert len(content(lots)) == 3


def test_columns_that_came_since_are_added_and_rows_keep(lots: Tables) -> None:
    wider = TableLayout(StructType([*LAYOUT.schema.fields, StructField("batch_id", StringType())]))
    again = Tables(lots.spark, root=lots.root, catalog=None, horizon=HORIZON)
    again.create("lots", wider)
    assert content(lots)[0] == ("A", "1", 1.0, None)
    assert lots.version("lots") == 2
    again.create("lots", wider)
    assert lots.version("lots") == 2
    required = TableLayout(StructType([*wider.schema.fields, StructField("key", StringType(), False)]))
    with pytest.raises(SchemaError, match="key: absent"):
        again.create("lots", required)


def test_a_whole_content_is_one_version_whatever_the_columns_were(lots: Tables) -> None:
    named = frame_of(lots.spark, [{"name": "x"}], "name string")
    assert lots.overwrite_as_version("lots", named, made_from={"step": 2}) == 2
    assert lots.read("lots").columns == ["name"]
    assert content(lots) == [("x",)]
    assert detail(lots, "lots")["properties"]["delta.logRetentionDuration"] == HORIZON
    assert content(lots, version=1) == [("A", "1", 1.0), ("A", "2", 2.0), ("B", "1", 3.0)]


def test_a_name_that_is_none_is_refused(tables: Tables) -> None:
    with pytest.raises(SchemaError, match="Hint"):
        tables.identifier("lots`; DROP TABLE lots")


# Writing.


def replace(tables: Tables, frame: DataFrame, *keys: str, **more: Any) -> int | None:
    return tables.swap("lots", frame, based_on=tables.version("lots"), replacing=keys, **more)


def test_columns_are_written_by_name(lots: Tables) -> None:
    lots.append("lots", rows(lots, ("C", "9", 4.0)).select("value", "wafer_id", "lot_id"))
    replace(lots, rows(lots, ("B", "1", 5.0)).select("wafer_id", "value", "lot_id"), "lot_id", "wafer_id")
    assert content(lots) == [("A", "1", 1.0), ("A", "2", 2.0), ("B", "1", 5.0), ("C", "9", 4.0)]


def test_replace_touches_only_the_units_of_its_rows(lots: Tables) -> None:
    """A unit that shares one key of two stays, new units are added, and it is one commit."""
    before = lots.version("lots")
    lots.append("lots", rows(lots, ("A", "1", 1.5), ("B", "2", 6.0)))
    units = rows(lots, ("A", "1", 7.0), ("B", "1", 8.0), ("B", "1", 9.0), ("C", "1", None))
    assert replace(lots, units, *LAYOUT.cluster_by) == before + 2
    assert content(lots) == [
        ("A", "1", 7.0),
        ("A", "2", 2.0),
        ("B", "1", 8.0),
        ("B", "1", 9.0),
        ("B", "2", 6.0),
        ("C", "1", None),
    ]
    replace(lots, rows(lots, ("B", "7", 0.0)), "lot_id")
    assert [row[:2] for row in content(lots)] == [("A", "1"), ("A", "2"), ("B", "7"), ("C", "1")]
    assert len(content(lots, version=before)) == 3


def test_a_swap_writes_only_from_the_version_that_it_was_decided_from(lots: Tables) -> None:
    seen = lots.version("lots")
    assert lots.swap("lots", rows(lots, ("C", "1", 1.0)), based_on=seen, made_from={"by": 1}) == seen + 1
    assert lots.swap("lots", rows(lots, ("D", "1", 2.0)), based_on=seen) is None
    assert lots.swap("lots", rows(lots, ("C", "1", 3.0)), based_on=seen, replacing=["lot_id"]) is None
    assert lots.swap("lots", rows(lots), based_on=seen, replacing="lot_id = 'A'") is None
    assert [row[0] for row in content(lots)] == ["A", "A", "B", "C"]
    assert (lots.version("lots"), lots.watermark("lots")) == (seen + 1, {"by": 1})
    # what is not decided from the content goes beside it: appends, OPTIMIZE, properties
    lots.append("lots", rows(lots, ("E", "1", 2.0)))
    lots.spark.sql(f"OPTIMIZE {lots.identifier('lots')}").collect()
    seen = lots.version("lots")
    assert lots.swap("lots", rows(lots, ("D", "1", 2.0)), based_on=seen - 1) == seen + 1
    assert [row[0] for row in content(lots)] == ["A", "A", "B", "C", "D", "E"]
    # also after a RESTORE, which takes the rows of a swap but not its number
    lots.restore("lots", 1)
    seen = lots.version("lots")
    assert lots.swap("lots", rows(lots, ("D", "2", 2.0)), based_on=seen) == seen + 1
    assert content(lots)[-1] == ("D", "2", 2.0)


def test_of_swaps_at_once_one_wins(lots: Tables) -> None:
    seen = lots.version("lots")
    won: list[int | None] = []
    jobs = [
        lambda name=name: won.append(lots.swap("lots", rows(lots, (name, "1", 1.0)), based_on=seen)) for name in "WXYZ"
    ]
    assert in_threads(*jobs) == []
    assert sorted(map(str, won)) == [str(seen + 1), "None", "None", "None"]
    assert len(content(lots)) == 4


def test_tables_made_at_once_are_made_once(tables: Tables) -> None:
    def job(name: str) -> None:
        own = Tables(tables.spark, root=tables.root, catalog=None, horizon=HORIZON)
        own.create("lots", LAYOUT)
        own.append("lots", rows(own, (name, "1", 1.0)))

    assert in_threads(*(lambda name=name: job(name) for name in "ABC")) == []
    assert [row[0] for row in content(tables)] == ["A", "B", "C"]


@pytest.mark.parametrize("left", ["nothing", ".00000000000000000000.json.1f.tmp", "_staged_commits"])
def test_a_table_whose_maker_died_is_made(tables: Tables, left: str) -> None:
    """Delta makes no table beside an empty log, and says nothing where the statement has IF NOT EXISTS."""
    log = Path(tables.path("lots")) / "_delta_log"
    log.mkdir(parents=True)
    if left.startswith("."):
        (log / left).touch()
        os.utime(log / left, (0, 0))
    elif left.startswith("_"):
        (log / left).mkdir()
    tables.create("lots", LAYOUT)
    tables.append("lots", rows(tables, ("A", "1", 1.0)))
    assert content(tables) == [("A", "1", 1.0)]


def test_a_folder_of_other_files_is_left_alone(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fs_spark.tables.pause", lambda attempt: None)
    other = Path(tables.path("lots")) / "part-0.parquet"
    other.parent.mkdir(parents=True)
    other.touch()
    with pytest.raises(SchemaError, match=r"holds other files[^$]*Hint: move that folder away"):
        tables.create("lots", LAYOUT)
    assert [file.name for file in other.parent.iterdir()] == ["part-0.parquet"]


def test_nothing_over_nothing_is_a_version(tables: Tables) -> None:
    tables.create("lots", LAYOUT)
    none = rows(tables)
    assert tables.overwrite_as_version("lots", none, made_from={"step": 1}) == 1
    assert tables.overwrite_as_version("lots", none, made_from={"step": 2}) == 2
    assert tables.watermark("lots") == {"step": 2}


def test_half_a_million_of_a_million_rows_are_replaced_without_broadcast(tables: Tables) -> None:
    """Without deletion vectors Delta fails here (delta-io/delta#7577)."""
    tables.create("lots", LAYOUT)
    million = tables.spark.range(1_000_000).select(
        F.format_string("L%d", F.col("id") % 2).alias("lot_id"),
        F.format_string("W%d", F.col("id") % 50).alias("wafer_id"),
        F.col("id").cast("double").alias("value"),
    )
    with settings(tables.spark, {"spark.sql.autoBroadcastJoinThreshold": "-1"}):
        tables.append("lots", million)
        half = million.where("lot_id = 'L1'").withColumn("value", -F.col("value"))
        replace(tables, half, "lot_id", "wafer_id")
    counted = (
        tables.read("lots")
        .groupBy("lot_id")
        .agg(F.count("*").alias("rows"), F.sum(F.col("value").cast("bigint")).alias("sum"))
    )
    even = 2 * sum(range(500_000))
    assert sorted(tuple(row.values()) for row in rows_of(counted)) == [
        ("L0", 500_000, even),
        ("L1", 500_000, -even - 500_000),
    ]


def test_conditions_quote_their_values(lots: Tables) -> None:
    odd = ["O'Brien\\x", 'say "L1"', "a\\'b", "\\", "L1' OR '1'='1", "100%_", "line\nbreak", "µ"]
    lots.append("lots", rows(lots, *((name, "1", 0.0) for name in odd)))
    before = lots.version("lots")
    lots.delete("lots", is_one_of("lot_id", ["O'Brien\\x"]))
    assert [row[0] for row in content(lots)] == sorted(["A", "A", "B", *odd[1:]])
    assert lots.version("lots") == before + 1
    lots.swap("lots", rows(lots, ("\\", "2", 1.0)), based_on=before + 1, replacing=is_one_of("lot_id", odd))
    assert content(lots) == [("A", "1", 1.0), ("A", "2", 2.0), ("B", "1", 3.0), ("\\", "2", 1.0)]
    lots.delete("lots", is_one_of("lot_id", ["none such"]))
    assert lots.version("lots") == before + 2


def test_overwrite_leaves_its_rows_alone(lots: Tables) -> None:
    lots.overwrite("lots", rows(lots, ("Z", "1", None)), made_from={"step": 2})
    assert content(lots) == [("Z", "1", None)]
    assert lots.watermark("lots") == {"step": 2}


# Versions.


def test_the_watermark_follows_restore(lots: Tables) -> None:
    assert lots.watermark("lots") == {"step": 1}
    replace(lots, rows(lots, ("A", "1", 5.0)), "lot_id", "wafer_id", made_from={"step": 2})
    second = lots.version("lots")
    lots.delete("lots", "lot_id = 'B'")  # says nothing: the replacement before it is still in force
    assert lots.watermark("lots") == {"step": 2}
    lots.spark.sql(f"RESTORE TABLE {lots.identifier('lots')} TO VERSION AS OF 1").collect()
    assert lots.watermark("lots") == {"step": 1}
    lots.spark.sql(f"RESTORE TABLE {lots.identifier('lots')} TO VERSION AS OF {second}").collect()
    assert lots.watermark("lots") == {"step": 2}
    restored = lots.version("lots")
    lots.append("lots", rows(lots, ("C", "1", 5.0)), made_from={"step": 3})
    assert lots.watermark("lots") == {"step": 3}
    lots.spark.sql(f"RESTORE TABLE {lots.identifier('lots')} TO VERSION AS OF {restored}").collect()
    assert lots.watermark("lots") == {"step": 2}  # a restored restore
    lots.spark.sql(f"RESTORE TABLE {lots.identifier('lots')} TO VERSION AS OF 0").collect()
    assert lots.watermark("lots") == {}


def test_after_a_restore_by_time_nobody_says_what_the_rows_are_made_from(lots: Tables) -> None:
    """Its commit names no version: to go on with the newest metadata would be to trust rows that are gone."""
    history = lots.spark.sql(f"DESCRIBE HISTORY {lots.identifier('lots')}").select("timestamp").collect()
    lots.append("lots", rows(lots, ("C", "1", 5.0)), made_from={"step": 2})
    first = history[0]["timestamp"]
    lots.spark.sql(
        f"RESTORE TABLE {lots.identifier('lots')} TO TIMESTAMP AS OF '{first.astimezone().isoformat()}'"
    ).collect()
    assert len(content(lots)) == 3
    assert lots.watermark("lots") == {}


def test_the_history_is_newest_first(lots: Tables) -> None:
    commits = lots.history("lots")
    assert [(c.version, c.operation) for c in commits] == [(1, "WRITE"), (0, "CREATE TABLE")]
    assert commits[0].metadata["fs_spark"] == {"step": 1}
    assert [c.version for c in lots.history("lots", limit=1)] == [1]


def test_a_version_is_read_as_it_was_and_a_missing_one_is_named(lots: Tables) -> None:
    lots.overwrite("lots", rows(lots, ("Z", "1", None)))
    assert len(content(lots, version=1)) == 3
    with pytest.raises(RetentionError, match=r"version 99 of table lots cannot be read") as fault:
        lots.read("lots", 99)
    assert "Hint: `fs-spark history lots`" in str(fault.value)


def in_threads(*actions: Callable[[], None]) -> list[BaseException]:
    faults: list[BaseException] = []
    together = threading.Barrier(len(actions))

    def run(action: Callable[[], None]) -> None:
        try:
            together.wait(timeout=60)
            action()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    return faults


def test_a_write_that_others_disturb_is_tried_again(lots: Tables) -> None:
    """Properties change under a running write; Delta fails the write, and it is tried again."""

    def alter() -> None:
        for _ in range(3):
            lots.set_retention("lots", HORIZON, HORIZON)

    def write(first: float) -> None:
        for k in range(4):
            lots.append("lots", rows(lots, ("C", "1", first + k)))

    assert in_threads(alter, lambda: write(0.0), lambda: write(10.0)) == []
    assert len(content(lots)) == 3 + 8
