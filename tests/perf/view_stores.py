"""Whole verbs over views of one source: a new day on long and short history, four views at once, training sets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pyspark.sql import DataFrame, SparkSession

from fs_spark import FeatureStore, as_of_join
from fs_spark.training.pinned import joined_views, pinned_frames

Measurement = dict[str, Any]
Measured = Callable[[str, float, float, int], Measurement]
DAY_US = 86_400_000_000
BASE_US = 1_700_000_000_000_000 // DAY_US * DAY_US
TWO_YEARS, WINDOW = 730, 90


def rolling(statistics: list[str], windows: list[str]) -> dict[str, Any]:
    return {
        "entity": "thing",
        "transform": {"kind": "rolling", "source": "readings"},
        "features": [{"column": "value", "statistics": statistics, "windows": windows}],
    }


FOUR = {
    "levels": rolling(["mean", "std", "median", "slope"], ["100 r", "7 d", "90 d"]),
    "sums": rolling(["sum", "max"], ["1 d", "30 d"]),
    "spread": rolling(["min", "max", "std"], ["90 d"]),
    "latest": rolling(["last", "mean"], ["10 r"]),
}


def write_readings(
    folder: Path, name: str, rows: int, entities: int, first_day: float, last_day: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    at = np.sort(rng.integers(int(first_day * DAY_US), int(last_day * DAY_US), rows)) + BASE_US
    table = pa.table(
        {
            "key": pa.array([f"k{k:05}" for k in rng.integers(0, entities, rows)]),
            "value": pa.array(rng.normal(50, 9, rows)),
            "at": pa.array(at).cast(pa.timestamp("us", "UTC")),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{name}.parquet", row_group_size=200_000)


def store_of(spark: SparkSession, folder: Path, views: dict[str, Any]) -> FeatureStore:
    conf = folder / "conf"
    (conf / "views").mkdir(parents=True)
    (conf / "store.yaml").write_text("root: ../store\n")
    (conf / "entities.yaml").write_text(yaml.safe_dump({"entities": {"thing": {"keys": {"key": "string"}}}}))
    source = {
        "parquet": "../in", "keys": ["key"], "columns": {"key": "string", "value": "double", "at": "timestamp"},
        "event": "at",
    }  # fmt: skip
    (conf / "sources.yaml").write_text(yaml.safe_dump({"sources": {"readings": source}}))
    for name, body in views.items():
        (conf / "views" / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "version": "1.0", **body}))
    store = FeatureStore.open(conf / "store.yaml", spark)
    store.apply()
    return store


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def new_day(spark: SparkSession, folder: Path, measured: Measured, scale: float) -> Iterator[Measurement]:
    """One more day, with rows that come 20 days late, on two years and on one window of history."""
    rows, entities = max(int(1_000_000 * scale), 20_000), max(int(2000 * scale), 16)
    a_day = rows // TWO_YEARS
    spent = []
    for name, days in (("short", WINDOW), ("long", TWO_YEARS)):
        place = folder / name
        write_readings(place / "in", "history", a_day * days, entities, TWO_YEARS - days, TWO_YEARS, 1)
        store = store_of(spark, place, {"levels": FOUR["levels"]})
        store.materialize()
        days_spent = []
        for day in (0, 1):  # the first one warms up
            write_readings(place / "in", f"day{day}", a_day, entities, TWO_YEARS + day, TWO_YEARS + day + 1, day + 2)
            late = TWO_YEARS - 20
            write_readings(place / "in", f"late{day}", a_day // 50 + 1, entities, late, late + 1, day + 9)
            days_spent.append(timed(store.materialize))
        spent.append(min(days_spent))
    yield measured("new_day", spent[0], spent[1], a_day)


def shared_source(spark: SparkSession, folder: Path, measured: Measured, scale: float) -> Iterator[Measurement]:
    """Four views in one run, against the slowest of them alone; both with the source already brought in."""
    rows, entities = max(int(1_000_000 * scale), 20_000), max(int(2000 * scale), 16)
    write_readings(folder / "warm" / "in", "history", rows // 20, entities, 0, 365, 1)
    warm = store_of(spark, folder / "warm", FOUR)
    warm.materialize()
    alone = []
    for name in FOUR:
        place = folder / f"alone_{name}"
        write_readings(place / "in", "history", rows, entities, 0, 365, 1)
        store = store_of(spark, place, {name: FOUR[name], "seen": rolling(["last"], ["1 r"])})
        store.materialize(["seen"])
        alone.append(timed(partial(store.materialize, [name])))
    place = folder / "four"
    write_readings(place / "in", "history", rows, entities, 0, 365, 1)
    store = store_of(spark, place, {**FOUR, "seen": rolling(["last"], ["1 r"])})
    store.materialize(["seen"])
    together = timed(partial(store.materialize, list(FOUR)))
    yield {**measured("shared_source", max(alone), together, rows), "alone_s": [round(s, 2) for s in alone]}


def training(spark: SparkSession, folder: Path, measured: Measured, scale: float) -> Iterator[Measurement]:
    """A training set of a million rows by three views, and its reproduction, against the join and the writing of it."""
    rows, entities = max(int(1_000_000 * scale), 20_000), max(int(2000 * scale), 16)
    write_readings(folder / "in", "history", rows, entities, 0, 365, 1)
    plain = {"entity": "thing", "transform": {"kind": "columns", "source": "readings"}}
    views = {f"plain{k}": {**plain, "features": [{"name": f"value{k}", "column": "value"}]} for k in range(3)}
    store = store_of(spark, folder, views)
    store.materialize()
    write_readings(folder / "asked", "spine", rows, entities, 1, 366, 5)

    def spine() -> DataFrame:
        return spark.read.parquet(str(folder / "asked")).withColumnRenamed("at", "event_timestamp")

    asked = [f"plain{k}:value{k}" for k in range(3)]
    first = store.training_set(spine(), asked, name="warm")
    pinned, tables = first.manifest["views"], first.tables
    assert tables is not None

    def joined() -> DataFrame:
        return as_of_join(spine(), joined_views(pinned, pinned_frames(tables, pinned)))

    def written() -> None:
        joined().write.format("delta").mode("overwrite").save(str(folder / "floor"))

    floor, build, alone, again = [], [], [], []
    for turn in range(3):
        floor.append(timed(written))
        build.append(timed(partial(store.training_set, spine(), asked, name=f"set{turn}")))
        alone.append(timed(lambda: joined().write.format("noop").mode("overwrite").save()))
        again.append(timed(partial(store.reproduce, f"set{turn}")))
    yield measured("training_set", min(floor), min(build), rows)
    yield measured("reproduce", min(alone), min(again), rows)


def run(spark: SparkSession, folder: Path, measured: Measured, scale: float) -> Iterator[Measurement]:
    yield from new_day(spark, folder / "new_day", measured, scale)
    yield from shared_source(spark, folder / "shared", measured, scale)
