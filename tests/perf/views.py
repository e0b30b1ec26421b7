"""Rolling statistics against a floor that moves the rows once, and against Spark's own windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from fs_spark.features.entity import Entity
from fs_spark.features.resolve import resolve_view
from fs_spark.features.resolve_inputs import Names
from fs_spark.features.source import Event, SourceText
from fs_spark.features.table_view import TableView
from fs_spark.features.texts import ViewText
from fs_spark.transforms.kinds import COMPUTATIONS, Reach
from fs_spark.transforms.source_rows import FAULT, source_rows
from fs_spark.transforms.unit_columns import bucket_of

Measurement = dict[str, Any]
Measured = Callable[[str, float, float, int], Measurement]
DAY_US = 86_400_000_000
BASE_US = 1_700_000_000_000_000 // DAY_US * DAY_US
SOURCE = SourceText(
    name="readings", parquet="readings", keys=("key",), columns={"key": "string", "value": "double", "at": "timestamp"},
    event=Event(column="at"),
)  # fmt: skip
ENTITY = {"thing": Entity(name="thing", keys={"key": "string"})}
STATISTICS = ["mean", "std", "median", "slope"]


def view_of(windows: list[str], statistics: list[str]) -> TableView:
    text = {
        "name": "rolled", "version": "1.0", "entity": "thing", "transform": {"kind": "rolling", "source": "readings"},
        "features": [{"column": "value", "statistics": statistics, "windows": windows}],
    }  # fmt: skip
    view, faults = resolve_view(ViewText.model_validate(text), Names(ENTITY, {"readings": SOURCE}, lambda *_: None))
    assert view is not None, faults
    return view


def readings(folder: Path, rows: int, entities: int, days: int = 365) -> Path:
    """Rows of entities spread evenly over some days, in order of time."""
    rng = np.random.default_rng(11)
    at = np.sort(rng.integers(0, days * DAY_US, rows)) + BASE_US
    table = pa.table(
        {
            "key": pa.array([f"k{k:05}" for k in rng.integers(0, entities, rows)]),
            "value": pa.array(rng.normal(50, 9, rows)),
            "at": pa.array(at).cast(pa.timestamp("us", "UTC")),
        }
    )
    folder.mkdir(parents=True)
    for part in range(8):
        share = rows // 8
        pq.write_table(table.slice(part * share, share), folder / f"{part}.parquet")
    return folder


def write(frame: DataFrame, place: Path) -> None:
    frame.write.mode("overwrite").parquet(str(place))


def run(
    spark: SparkSession, folder: Path, best_of: Callable[..., list[float]], measured: Measured, scale: float
) -> Iterator[Measurement]:
    rows, entities = max(int(1_000_000 * scale), 8000), max(int(2000 * scale), 16)
    place = readings(folder / "readings", rows, entities)
    until = BASE_US + 365 * DAY_US

    def read() -> DataFrame:
        return source_rows(spark.read.parquet(str(place)), SOURCE).drop(FAULT)

    def rolled(view: TableView) -> DataFrame:
        return COMPUTATIONS["rolling"].rows([read()], view, reach=Reach(until), scope=None, buckets=64)

    view = view_of(["100 r", "7 d", "90 d"], STATISTICS)
    write(rolled(view), folder / "first")
    out = spark.read.parquet(str(folder / "first"))

    def floor() -> None:
        """The same rows in: read, shuffled, sorted; the same rows out."""
        moved = read().select("*", bucket_of(["key"], 64)).repartition("unit_bucket")
        moved.sortWithinPartitions("key", "event_timestamp").write.format("noop").mode("overwrite").save()
        write(out, folder / "again")

    floor_s, run_s = best_of(2, floor, lambda: write(rolled(view), folder / "out"))
    yield measured("rolling", floor_s, run_s, rows)
    yield from spark_windows(spark, folder, best_of, measured, place, until)
    week, year = view_of(["7 d"], STATISTICS), view_of(["365 d"], STATISTICS)
    week_s, year_s = best_of(2, lambda: write(rolled(week), folder / "w"), lambda: write(rolled(year), folder / "y"))
    yield measured("rolling_long", week_s, year_s, rows)


def spark_windows(
    spark: SparkSession, folder: Path, best_of: Callable[..., list[float]], measured: Measured, place: Path, until: int
) -> Iterator[Measurement]:
    """The same statistics by Spark's window functions, of a tenth of the entities, at the rows' own instants."""
    some = source_rows(spark.read.parquet(str(place)), SOURCE).drop(FAULT).where("key LIKE '%7'")
    view = view_of(["100 r", "7 d", "90 d"], STATISTICS)
    micros = F.unix_micros("event_timestamp")
    frames = {
        "100r": Window.partitionBy("key").orderBy(micros).rowsBetween(-99, 0),
        "7d": Window.partitionBy("key").orderBy(micros).rangeBetween(1 - 7 * DAY_US, 0),
        "90d": Window.partitionBy("key").orderBy(micros).rangeBetween(1 - 90 * DAY_US, 0),
    }
    value = F.col("value")
    columns = []
    for name, frame in frames.items():
        columns += [
            F.avg(value).over(frame).alias(f"mean_{name}"),
            F.stddev(value).over(frame).alias(f"std_{name}"),
            F.percentile(value, 0.5).over(frame).alias(f"median_{name}"),
            F.regr_slope(value, micros / DAY_US).over(frame).alias(f"slope_{name}"),
        ]

    def ours() -> None:
        write(COMPUTATIONS["rolling"].rows([some], view, reach=Reach(until), scope=None, buckets=64), folder / "a")

    ours_s, theirs_s = best_of(1, ours, lambda: write(some.select("*", *columns), folder / "b"))
    yield measured("spark_window", ours_s, theirs_s, some.count())
