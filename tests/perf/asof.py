"""Point-in-time joins: one view, three levels of keys, eight views, heavy keys, scaling, and what peers do.

Floor: the same inputs in one union, shuffled once and sorted once. All inputs are read from parquet.
`ratio_same_partitions` is the ratio to that floor in as many pieces as the join takes, the session's number, where the
floor as a user would write it leaves their number to Spark.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from fs_spark import AsOfView, as_of_join

Measurement = dict[str, Any]
BestOf = Callable[..., list[float]]
Measured = Callable[[str, float, float, int], Measurement]

BASE_US = 1_700_000_000_000_000
SPAN_US = 10**12
DOUBLES = tuple(f"f{i}" for i in range(8))
LEVELS = {"lot": ("lot_id",), "wafer": ("lot_id", "wafer_id"), "die": ("lot_id", "wafer_id", "die_x", "die_y")}


def _times(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.int64()).cast(pa.timestamp("us", tz="UTC"))


def _texts(prefix: str, codes: np.ndarray) -> pa.Array:
    distinct, index = np.unique(codes, return_inverse=True)
    return pa.array([f"{prefix}{code:05}" for code in distinct]).take(pa.array(index.reshape(-1)))


def _write(folder: Path, name: str, table: pa.Table) -> None:
    (folder / name).mkdir(parents=True)
    pq.write_table(table, folder / name / "part.parquet", row_group_size=max(table.num_rows // 8, 1))


def _features(rng: np.random.Generator, event: np.ndarray, prefix: str = "") -> dict[str, pa.Array]:
    late = np.where(rng.random(len(event)) < 0.02, rng.integers(0, 10**9, len(event)), 0)
    return {
        "event_timestamp": _times(event),
        "available_timestamp": _times(event + late),
        "sequence": pa.array(np.arange(len(event)), pa.int64()),
        **{prefix + name: pa.array(rng.normal(size=len(event))) for name in DOUBLES},
    }


def write_history(folder: Path, name: str, rows: int, keys: int, *, seed: int, prefix: str = "") -> None:
    rng = np.random.default_rng(seed)
    lots = {"lot_id": _texts("L", rng.integers(0, keys, rows))}
    _write(folder, name, pa.table(lots | _features(rng, BASE_US + rng.integers(0, SPAN_US, rows), prefix)))


def write_spine(folder: Path, name: str, rows: int, keys: int, *, seed: int = 2, copies: int = 1) -> None:
    """`copies` files of `rows` rows each."""
    for copy in range(copies):
        rng = np.random.default_rng(seed + copy)
        table = pa.table(
            {
                "lot_id": _texts("L", rng.integers(0, keys, rows)),
                "event_timestamp": _times(BASE_US + rng.integers(0, SPAN_US, rows)),
                "label": pa.array(rng.random(rows) < 0.1),
            }
        )
        (folder / name).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / name / f"{copy}.parquet", row_group_size=max(rows // 8, 1))


def write_levels(folder: Path, dies: int) -> None:
    """A row per die and its spine row; ten rows a wafer, and one a lot for each of its 25 wafers."""
    rng = np.random.default_rng(5)
    die = np.arange(dies)
    wafer = die // 200
    lot = wafer // 25
    place = {"die_x": pa.array(die % 20, pa.int32()), "die_y": pa.array(die % 200 // 20, pa.int32())}

    def keyed(lots: np.ndarray, wafers: np.ndarray | None) -> dict[str, pa.Array]:
        found = {"lot_id": _texts("L", lots)}
        return found if wafers is None else found | {"wafer_id": _texts("W", wafers % 25)}

    event = BASE_US + wafer * 10**8 + die % 200 * 10**5
    spine = {"event_timestamp": _times(event + rng.integers(0, 10**9, dies)), "label": pa.array(rng.random(dies) < 0.1)}
    order = rng.permutation(dies)
    _write(folder, "spine", pa.table(keyed(lot, wafer) | place | spine).take(pa.array(order)))
    _write(folder, "die", pa.table(keyed(lot, wafer) | place | _features(rng, event, "die_")))
    wafers = np.repeat(np.arange(wafer.max() + 1), 10)
    at = BASE_US + wafers * 10**8 + np.tile(np.arange(10), len(wafers) // 10) * 10**7
    _write(folder, "wafer", pa.table(keyed(wafers // 25, wafers) | _features(rng, at, "wafer_")))
    ends = np.arange(wafer.max() + 1)
    _write(folder, "lot", pa.table(keyed(ends // 25, None) | _features(rng, BASE_US + ends * 10**8, "lot_")))


def _noop(frame: DataFrame) -> None:
    frame.write.mode("overwrite").format("noop").save()


class Bench:
    def __init__(self, spark: SparkSession, folder: Path, best_of: BestOf, measured: Measured, repeats: int) -> None:
        self.spark, self.folder, self.best_of, self.measured, self.repeats = spark, folder, best_of, measured, repeats

    def read(self, name: str) -> DataFrame:
        return self.spark.read.parquet(str(self.folder / name))

    def view(self, name: str, keys: tuple[str, ...], prefix: str = "") -> AsOfView:
        return AsOfView(name, self.read(name), keys, {prefix + f: prefix + f for f in DOUBLES})

    def join(self, spine: str, view: str) -> None:
        _noop(as_of_join(self.read(spine), [self.view(view, ("lot_id",))]))

    def floor(self, spine: str, views: Sequence[str], keys: Sequence[str], pieces: int | None = None) -> None:
        united = self.read(spine)
        for name in views:
            united = united.unionByName(self.read(name), allowMissingColumns=True)
        moved = united.repartition("lot_id") if pieces is None else united.repartition(pieces, "lot_id")
        _noop(moved.sortWithinPartitions(*keys, "event_timestamp"))

    def against_floor(
        self, name: str, spine: str, views: Callable[[], list[AsOfView]], names: Sequence[str], keys: Sequence[str]
    ) -> Measurement:
        pieces = int(self.spark.conf.get("spark.sql.shuffle.partitions") or 200)
        floor_s, same_s, run_s = self.best_of(
            self.repeats,
            lambda: self.floor(spine, names, keys),
            lambda: self.floor(spine, names, keys, pieces),
            lambda: _noop(as_of_join(self.read(spine), views())),
        )
        rows = self.read(spine).count() + sum(self.read(one).count() for one in names)
        return {**self.measured(name, floor_s, run_s, rows), "ratio_same_partitions": round(run_s / same_s, 2)}


def feast_shape(spine: DataFrame, view: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Offline retrieval as Feast's SQL templates shape it: rows numbered, joined with every earlier feature row,
    the newest found by event and creation time, and joined back."""
    entity = spine.withColumn("entity_row", F.monotonically_increasing_id())
    asked = entity.select("entity_row", *keys, F.col("event_timestamp").alias("entity_time"))
    base = view.join(asked, list(keys)).where(F.col("event_timestamp") <= F.col("entity_time"))
    newest = base.groupBy("entity_row").agg(F.max("event_timestamp").alias("event_timestamp"))
    created = (
        base.join(newest, ["entity_row", "event_timestamp"])
        .groupBy("entity_row", "event_timestamp")
        .agg(F.max("available_timestamp").alias("available_timestamp"))
    )
    kept = base.join(created, ["entity_row", "event_timestamp", "available_timestamp"])
    kept = kept.select("entity_row", *DOUBLES).dropDuplicates(["entity_row"])
    return entity.join(kept, "entity_row", "left").drop("entity_row")


def tempo_shape(spine: DataFrame, view: DataFrame, keys: Sequence[str], columns: Sequence[str]) -> DataFrame:
    """tempo's as-of join: one union, and for each column the last value that is not null."""
    right = view.select(
        *keys, F.col("event_timestamp").alias("combined"), F.lit(-1).alias("side"),
        F.col("event_timestamp").alias("right_event"), *columns,
    )  # fmt: skip
    left = spine.withColumn("combined", F.col("event_timestamp")).withColumn("side", F.lit(1))
    window = (
        Window.partitionBy(*keys).orderBy("combined", "side").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    )
    united = left.unionByName(right, allowMissingColumns=True)
    latest = [F.last(c, ignorenulls=True).over(window).alias(c) for c in columns]
    rest = [c for c in united.columns if c not in columns]
    return united.select(*rest, *latest).where("side = 1").drop("combined", "side", "right_event")


def _best(repeats: int, action: Callable[[], None]) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - start)
    return best


def run(spark: SparkSession, folder: Path, best_of: BestOf, measured: Measured, scale: float) -> Iterator[Measurement]:
    rows = max(int(1_000_000 * scale), 10_000)
    keys = max(rows // 200, 10)
    bench = Bench(spark, folder, best_of, measured, 5)
    write_spine(folder, "spine", rows, keys)
    write_history(folder, "view", rows, keys, seed=3)
    yield bench.against_floor("one_view", "spine", lambda: [bench.view("view", ("lot_id",))], ["view"], ["lot_id"])

    eight = [f"view{k}" for k in range(8)]
    for k, name in enumerate(eight):
        write_history(folder, name, rows // 8, keys, seed=10 + k, prefix=f"{name}_")
    yield bench.against_floor(
        "eight_views", "spine", lambda: [bench.view(name, ("lot_id",), f"{name}_") for name in eight], eight, ["lot_id"]
    )
    write_spine(folder, "heavy_spine", rows, 50)
    write_history(folder, "heavy_view", rows, 50, seed=4)
    yield bench.against_floor(
        "heavy_keys", "heavy_spine", lambda: [bench.view("heavy_view", ("lot_id",))], ["heavy_view"], ["lot_id"]
    )
    levels = Bench(spark, folder / "levels", best_of, measured, 5)
    write_levels(levels.folder, rows)

    def nested() -> list[AsOfView]:
        return [levels.view(name, of, f"{name}_") for name, of in LEVELS.items()]

    yield levels.against_floor("three_levels", "spine", nested, list(LEVELS), LEVELS["die"])
    yield from _peers(bench, levels, nested, rows)
    yield from _scaling(bench, rows, keys, scale)


def _peers(bench: Bench, levels: Bench, nested: Callable[[], list[AsOfView]], rows: int) -> Iterator[Measurement]:
    ours = partial(bench.join, "spine", "view")

    def tempo() -> None:
        _noop(tempo_shape(bench.read("spine"), bench.read("view"), ["lot_id"], DOUBLES))

    def chained() -> None:
        joined = levels.read("spine")
        for name, keys in LEVELS.items():
            joined = tempo_shape(joined, levels.read(name), keys, [f"{name}_{f}" for f in DOUBLES])
        _noop(joined)

    ours_s, tempo_s = bench.best_of(5, ours, tempo)
    yield bench.measured("tempo_shape", ours_s, tempo_s, 2 * rows)
    ours_s, tempo_s = bench.best_of(3, lambda: _noop(as_of_join(levels.read("spine"), nested())), chained)
    yield bench.measured("tempo_shape_three_levels", ours_s, tempo_s, 2 * rows)
    ours_s = _best(2, ours)
    feast_s = _best(1, lambda: _noop(feast_shape(bench.read("spine"), bench.read("view"), ["lot_id"])))
    yield bench.measured("feast_shape", ours_s, feast_s, 2 * rows)


def _scaling(bench: Bench, rows: int, keys: int, scale: float) -> Iterator[Measurement]:
    """Time per row with a spine of 1, 5 and 20 million rows, and a view of one million."""
    for times in (1, 5, 20):
        name = f"spine_x{times}"
        write_spine(bench.folder, name, rows, keys, seed=100, copies=times)
        best = _best(3, partial(bench.join, name, "view"))
        total = (times + 1) * rows
        line = bench.measured(f"scale_{round(times * scale)}M", 1.0, best, total)
        yield {**line, "us_per_row": round(best / total * 1e6, 3)}
        if times > 1:
            shutil.rmtree(bench.folder / name)
