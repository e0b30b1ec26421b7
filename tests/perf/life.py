"""The life of views: plans of many, and the pass over values that a site about them needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark.docs.distribution import distributions
from tests.stores import new_folder, open_store, write_lot

Measurement = dict[str, Any]
Measured = Callable[[str, float, float, int], Measurement]
VIEWS, FEATURES, ROWS = 200, 200, 1_000_000


def life(
    spark: SparkSession, folder: Path, best_of: Callable[..., list[float]], measured: Measured, scale: float
) -> Iterator[Measurement]:
    yield from _plans(spark, folder / "plans", measured, scale)
    yield from _docs(spark, folder / "docs", best_of, measured, scale)


def _plans(spark: SparkSession, folder: Path, measured: Measured, scale: float) -> Iterator[Measurement]:
    """Plan and apply of new views in a session that has worked; floor: their texts read as YAML."""
    new_folder(folder, views=("die_measured",))
    (folder / "conf" / "services.yaml").write_text("services: {}\n", "utf-8")
    store = open_store(folder, spark)
    store.ingest(write_lot(folder / "in", 1))
    store.apply()
    count = max(round(VIEWS * scale), 2)
    files = []
    for number in range(count):
        head = f"name: v{number}\nversion: '1.0'\n"
        if number % 2:
            text = f"{head}insertion: '1'\nfeatures: [neighbor_count, fail__neighbor_frac]\n"
        else:
            values = f"features:\n  - {{name: p, expression: vdd * idd + {number}}}\n"
            text = f"{head}entity: die\ntransform: {{kind: expressions, view: die_measured}}\n{values}"
        files.append(folder / "conf" / "views" / f"v{number}.yaml")
        files[-1].write_text(text, "utf-8")
    start = time.perf_counter()
    for file in files:
        yaml.safe_load(file.read_text("utf-8"))
    floor_s = time.perf_counter() - start
    for name, verb in (("plan_200", lambda: open_store(folder, spark).plan()),
                       ("apply_200", lambda: open_store(folder, spark).apply()),
                       ("plan_200_unchanged", lambda: open_store(folder, spark).plan())):  # fmt: skip
        start = time.perf_counter()
        verb()
        yield measured(name, floor_s, time.perf_counter() - start, count)


def _docs(
    spark: SparkSession, folder: Path, best_of: Callable[..., list[float]], measured: Measured, scale: float
) -> Iterator[Measurement]:
    """Distributions of all columns of a Delta table; floor: one scan of them."""
    rows = max(round(ROWS * scale), 1000)
    names = [f"f{number:03}" for number in range(FEATURES)]
    made = spark.range(rows, numPartitions=8).select(
        F.col("id").alias("key"), *(F.randn(number).alias(name) for number, name in enumerate(names))
    )
    made.write.format("delta").save(str(folder))

    def read() -> Any:
        return spark.read.format("delta").load(str(folder))

    floor_s, run_s = best_of(
        2,
        lambda: read().select(*names).write.format("noop").mode("overwrite").save(),
        lambda: distributions(read(), dict.fromkeys(names, "double"), ["key"], count=rows),
    )
    yield measured("docs_200", floor_s, run_s, rows)
