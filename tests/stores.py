"""Stores for tests: a folder with the shipped configuration, small synthetic lots, and views of what they hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore
from fs_spark.synth import LotSpec, generate_lot
from tests.rows import rows_of

CONF = Path(__file__).resolve().parents[1] / "conf"
INGESTED = ("files", "wafer_runs", "die_tests", "tests", "test_results")
VIEWS = ("die_geometry", "die_measured", "die_neighborhood", "lot_so_far")


def new_folder(folder: Path, views: Sequence[str] | None = VIEWS) -> Path:
    """A store's folder with the shipped configuration, of its views these (None: all); tables go to `folder`/store."""
    shutil.copytree(CONF, folder / "conf", ignore=shutil.ignore_patterns("__*"))
    for file in (folder / "conf" / "views").iterdir():
        if views is not None and file.stem not in views:
            file.unlink()
    return folder


def open_store(folder: Path, spark: SparkSession) -> FeatureStore:
    return FeatureStore.open(folder / "conf" / "store.yaml", spark)


def write_lot(folder: Path, number: int, *, wafers: int = 2) -> list[Path]:
    """A small lot: about 150 dies a wafer, both insertions."""
    start = datetime(2025, 3, 3, 8) + timedelta(days=number)
    spec = LotSpec(
        lot_id=f"SYN{number:04}", seed=number, wafers=wafers, die_width_mm=12.0, die_height_mm=15.0, start=start
    )
    return list(generate_lot(spec, folder).files)


def real_files(shared_data: Path, *patterns: str) -> list[Path]:
    return [next(iter(shared_data.glob(f"*/{pattern}"))) for pattern in patterns]


def versions(folder: Path) -> dict[str, int]:
    """Newest Delta version of every table under a store, read from the logs themselves; nothing of Spark."""
    found = {}
    for table in sorted((folder / "store").iterdir() if (folder / "store").exists() else []):
        commits = list((table / "_delta_log").glob("*.json"))
        if commits:
            found[table.name] = max(int(c.stem) for c in commits if c.stem.isdigit())
    return found


def rows(frame: DataFrame) -> list[str]:
    """A frame's rows as sorted texts: equal lists are equal rows, whatever their order."""
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in rows_of(frame))


def label_spine(store: FeatureStore) -> DataFrame:
    """Dies of insertion 2 with their final outcome, at the start of the wafer's run there."""
    second = store.table("die_tests").where("insertion = '2' AND is_final AND passed IS NOT NULL")
    keys = ("lot_id", "wafer_id", "die_x", "die_y")
    return second.select(*keys, F.col("run_start").alias("event_timestamp"), (~F.col("passed")).alias("fails"))


def values(frame: DataFrame, where: str, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in frame.where(where).select(*columns).collect()]
