"""A session in which TIMESTAMP means a time without a zone: every table of the store keeps instants all the same."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import TimestampNTZType

from tests.oracles.histories import random_history
from tests.rows import settings
from tests.stores import label_spine, new_folder, open_store, write_lot
from tests.views.histories import write_parquet
from tests.views.stores import open_views, write_conf

WITHOUT_ZONE = {"spark.sql.timestampType": "TIMESTAMP_NTZ"}
WALL_CLOCKS = {"run_start_local"}


def zoneless(store: object, names: tuple[str, ...]) -> list[str]:
    found = []
    for name in names:
        schema = store.table(name, version=None).schema  # type: ignore[attr-defined]
        found += [f"{name}.{f.name}" for f in schema.fields if isinstance(f.dataType, TimestampNTZType)]
    return [name for name in found if name.split(".")[1] not in WALL_CLOCKS]


def test_tester_files(spark: SparkSession, tmp_path: Path) -> None:
    with settings(spark, WITHOUT_ZONE):
        store = open_store(new_folder(tmp_path), spark)
        store.ingest(write_lot(tmp_path / "in", 1))
        store.apply()
        store.materialize(["die_neighborhood", "lot_so_far"])
        built = store.training_set(label_spine(store), ["lot_so_far:yield_mean"], name="set")
        assert built.rows > 0
        assert store.reproduce("set").digest == built.digest
        assert zoneless(store, ("die_tests", "wafer_runs", "die_neighborhood", "lot_so_far")) == []


def test_sources(spark: SparkSession, tmp_path: Path) -> None:
    with settings(spark, WITHOUT_ZONE):
        write_conf(tmp_path)
        write_parquet(tmp_path / "in" / "payments", "a.parquet", random_history(3))
        store = open_views(tmp_path, spark)
        store.apply()
        store.materialize()
        spine = store.table("paid").select(F.col("customer").alias("customer_id"), "event_timestamp", "row_id")
        built = store.training_set(spine.where("customer_id IS NOT NULL"), ["activity:rows_24h"], name="set")
        assert store.reproduce("set", from_source=True).digest == built.digest
        assert zoneless(store, ("activity", "paid", "relative")) == []
