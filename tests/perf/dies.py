"""Whole verbs at the scale of a plant: 2.35 M dies of public maps, in tables of ten lots each.

The maps are those of WM-811K (Wu, Jang, Chen 2015), which have no order: a serpentine of one die a second is assumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from fs_spark import FeatureStore
from tests.conftest import ROOT
from tests.stores import new_folder, open_store

Measurement = dict[str, Any]
Measured = Callable[[str, float, float, int], Measurement]
VIEWS = ("die_geometry", "die_neighborhood", "lot_so_far")
_LOTS_A_FILE = 10
_START_US = 1_700_000_000_000_000
_INPUTS = """
inputs:
  - match: "dies_*.parquet"
    kind: die_table
    insertion: "1"
    tester: T1
    columns:
      {lot_id: lot, wafer_id: wafer, die_x: x, die_y: y, product_id: product, passed: passed, event_timestamp: tested}
"""


def _wafer(picture: np.ndarray, start_us: int) -> dict[str, np.ndarray]:
    y, x = np.nonzero(picture)
    order = np.lexsort((np.where(y % 2 == 0, x, -x), y))
    x, y = x[order], y[order]
    return {"x": x, "y": y, "passed": picture[y, x] == 1, "tested": start_us + np.arange(len(x)) * 1_000_000}


def write_tables(folder: Path) -> int:
    """The maps as parquet tables, a product for each shape that is common; gives the number of dies."""
    folder.mkdir(parents=True)
    maps = pq.read_table(ROOT.parent / "shared" / "data" / "wm811k" / "wm811k_lots_dev.parquet").to_pylist()
    shapes = [(m["rows"], m["cols"]) for m in maps]
    common = sorted(set(shapes), key=lambda shape: -shapes.count(shape))[:18]
    lots = list(dict.fromkeys(m["lot_name"] for m in maps))
    dies = 0
    for at in range(0, len(lots), _LOTS_A_FILE):
        some = set(lots[at : at + _LOTS_A_FILE])
        columns: dict[str, list[Any]] = {name: [] for name in ("lot", "wafer", "product", "x", "y", "passed", "tested")}
        for number, m in enumerate(maps):
            if m["lot_name"] not in some:
                continue
            shape = (m["rows"], m["cols"])
            picture = np.frombuffer(m["map"], np.uint8).reshape(shape)
            found = _wafer(picture, _START_US + number * 10_000_000_000)
            count = len(found["x"])
            product = f"P{common.index(shape):02}" if shape in common else "other"
            for name, text in (("lot", m["lot_name"]), ("wafer", f"{int(m['wafer_index']):02}"), ("product", product)):
                columns[name].append(np.full(count, text))
            for name, values in found.items():
                columns[name].append(values)
            dies += count
        table = pa.table({name: pa.array(np.concatenate(values)) for name, values in columns.items()})
        tested = table["tested"].cast(pa.timestamp("us", tz="UTC"))
        table = table.set_column(table.schema.get_field_index("tested"), "tested", tested)
        pq.write_table(table, folder / f"dies_{at // _LOTS_A_FILE:03}.parquet")
    return dies


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _views_alone(folder: Path) -> FeatureStore | None:
    for file in (folder / "conf" / "views").glob("*.yaml"):
        if file.stem not in VIEWS:
            file.unlink()
    (folder / "conf" / "services.yaml").write_text(
        "services: {dies: {features: ["
        + ", ".join(f"'{ref}'" for ref in ("die_geometry:radius_mm", "die_neighborhood:fail__neighbor_frac"))
        + "]}}\n"
    )
    (folder / "conf" / "inputs.yaml").write_text(_INPUTS)
    return None


def run(spark: SparkSession, folder: Path, measured: Measured) -> Iterator[Measurement]:
    """Each verb against the floor that its work allows: rows read, moved and written once."""
    new_folder(folder)
    _views_alone(folder)
    dies = write_tables(folder / "in")
    store = open_store(folder, spark)

    def written(frame: DataFrame, name: str) -> float:
        return timed(lambda: frame.write.format("delta").mode("overwrite").save(str(folder / name)))

    written(spark.range(1000), "warm")
    delivered = spark.read.parquet(str(folder / "in"))
    written(delivered, "floor_ingest")  # warms up
    plain = written(delivered, "floor_ingest")
    spent = timed(lambda: store.ingest([folder / "in"]))
    tests = store.table("die_tests", version=None)
    read = timed(lambda: delivered.write.format("noop").mode("overwrite").save())
    floor = read + written(spark.read.format("delta").load(str(folder / "store" / "die_tests")), "floor_die_tests")
    yield {**measured("dies_ingest", floor, spent, dies), "delivered_columns_alone_s": round(plain, 2)}
    scan = spark.read.format("delta").load(str(folder / "store" / "die_tests"))
    floor = timed(lambda: scan.select("product_id", "die_x", "die_y").distinct().count())
    yield measured("dies_apply", floor, timed(store.apply), dies)
    for view in VIEWS:
        spent = timed(partial(store.materialize, [view]))
        rows = spark.read.format("delta").load(str(next((folder / "store").glob(f"{view}__v*"))))
        source = scan.select("lot_id", "wafer_id", "die_x", "die_y", "passed", "event_timestamp", "product_id")
        moved = source.repartition("lot_id").write.format("noop").mode("overwrite")
        floor = timed(moved.save) + written(rows, f"floor_{view}")
        yield measured(f"dies_{view}", floor, spent, dies)
    yield measured("dies_all_views", 1.0, timed(lambda: store.materialize(full=True)), dies)
    yield measured("dies_nothing", 1.0, timed(store.materialize), dies)
    label = tests.selectExpr("lot_id", "wafer_id", "die_x", "die_y", "event_timestamp", "NOT passed AS fails")
    refs = ["die_geometry:radius_mm", "die_neighborhood:fail__neighbor_frac", "lot_so_far:wafers_done"]
    yield measured("dies_train", 1.0, timed(lambda: store.training_set(label, refs, name="all")), dies)
    yield measured("dies_reproduce", 1.0, timed(lambda: store.reproduce("all")), dies)
    yield measured("dies_export", 1.0, timed(lambda: store.export("dies")), dies)
