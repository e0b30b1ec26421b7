"""Benchmarks: `tests/perf/run.py NAME [--scale S] [--json]`; each measurement is a ratio to a floor of the same run.

Absolute times mean nothing on shared machines: a floor and its run take turns, and the ratio of the best times counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pyspark.sql import SparkSession

from fs_spark import build_session
from tests.perf import asof as asof_perf
from tests.perf import catalogue as catalogue_perf
from tests.perf import cluster as cluster_perf
from tests.perf import dies as dies_perf
from tests.perf import life as life_perf
from tests.perf import online as online_perf
from tests.perf import serving as serving_perf
from tests.perf import spatial as spatial_perf
from tests.perf import stdf as stdf_perf
from tests.perf import verbs as verbs_perf
from tests.perf import view_stores as view_stores_perf
from tests.perf import views as views_perf
from tests.perf import windows as windows_perf

Measurement = dict[str, Any]


def best_of(repeats: int, *actions: Callable[[], object]) -> list[float]:
    """Best seconds of each action; the actions take turns, after one warm-up each."""
    best = [float("inf")] * len(actions)
    for repeat in range(repeats + 1):
        for i, action in enumerate(actions):
            start = time.perf_counter()
            action()
            if repeat:
                best[i] = min(best[i], time.perf_counter() - start)
    return best


def spatial(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """The transform, its scaling, one big wafer and a session; floors: the output read, shuffled by lot, written."""
    yield from spatial_perf.kernels(measured)
    yield from spatial_perf.session(measured)
    yield from spatial_perf.transform(spark, folder, best_of, measured, scale)
    yield from spatial_perf.materialize(spark, folder, best_of, measured, scale)
    yield from spatial_perf.scaling(spark, folder, measured, scale)


def asof(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """Point-in-time joins; floors: the same union, one shuffle, one sort."""
    yield from asof_perf.run(spark, folder, best_of, measured, scale)


def stdf(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """Reading of the real diamond40 and of a small file, against pystdf, and an ingest of 8 lots of its size."""
    yield from stdf_perf.read(folder, best_of, measured)
    yield from stdf_perf.pystdf(folder, best_of, measured)
    yield from stdf_perf.ingest(spark, folder, best_of, measured, copies=max(round(8 * scale), 1))


def online(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """The online stores; floors: the same bytes written and read without us, and one field for each feature."""
    yield from online_perf.run(spark, folder, best_of, measured, scale)


def serving(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """Features over HTTP, 500 requests a second on one core; floor: an empty route, served in the same way."""
    yield from serving_perf.http_get(folder, measured, scale)


def verbs(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """Start and compiling against the commit before they were made fast, and Spark jobs by verb."""
    yield from verbs_perf.run(spark, folder, measured)


def views(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """Rolling statistics; floors: the rows moved once, Spark's own window functions, a short window."""
    yield from windows_perf.kernel(measured, scale)
    yield from views_perf.run(spark, folder, best_of, measured, scale)
    yield from view_stores_perf.run(spark, folder, measured, scale)


def catalogue(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """Views that compare and fit; floor: the attempts read, moved by lot, and the ready output written."""
    yield from catalogue_perf.against(spark, folder, best_of, measured, scale)
    yield from catalogue_perf.device_v2_1(spark, folder / "device", measured, scale)


def life(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """Plans of 200 views, floor: their texts read; values of 200 columns for a site, floor: one scan of them."""
    yield from life_perf.life(spark, folder, best_of, measured, scale)


def training(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """Training sets and their reproduction, end to end; floors: the join, alone and written to Delta."""
    yield from view_stores_perf.training(spark, folder, measured, scale)


def dies(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """Whole verbs over 2.35 M dies; floors: the same rows read, moved and written once."""
    yield from dies_perf.run(spark, folder, measured)


def cluster(spark: SparkSession, folder: Path, scale: float) -> Iterator[Measurement]:
    """Verbs on a standalone cluster, against the commit before they were made fast."""
    yield from cluster_perf.run(folder, measured)


def measured(name: str, floor_s: float, run_s: float, rows: int) -> Measurement:
    return {
        "name": name,
        "ratio": round(run_s / floor_s, 2),
        "floor_s": round(floor_s, 4),
        "run_s": round(run_s, 4),
        "rows": rows,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


BENCHMARKS: dict[str, Callable[[SparkSession, Path, float], Iterable[Measurement]]] = {
    "spatial": spatial,
    "asof": asof,
    "stdf": stdf,
    "online": online,
    "serving": serving,
    "verbs": verbs,
    "views": views,
    "catalogue": catalogue,
    "life": life,
    "training": training,
    "dies": dies,
    "cluster": cluster,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*BENCHMARKS, "all"])
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the size that the limits are stated for")
    parser.add_argument("--json", action="store_true", help="JSON lines alone")
    args = parser.parse_args(argv)
    spark = build_session(
        master="local[2]", settings={"spark.sql.shuffle.partitions": "8", "spark.driver.memory": "4g"}
    )
    for name in BENCHMARKS if args.name == "all" else [args.name]:
        folder = Path(tempfile.mkdtemp(prefix="fs_spark_perf_"))
        try:
            for line in BENCHMARKS[name](spark, folder, args.scale):
                print(json.dumps({"benchmark": name, **line}), flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    spark.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
