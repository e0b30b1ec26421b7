"""What verbs pay before their own work, against another commit, and how many Spark jobs each of them runs.

Each process is started anew, in turns with one of the other commit, which is checked out beside.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from tests.conftest import ROOT
from tests.stores import label_spine, new_folder, open_store, write_lot

Measurement = dict[str, Any]
Measured = Callable[[str, float, float, int], Measurement]
BEFORE = "f7c35a2"
"""The commit before verbs were made to start fast."""

START = """
import sys
from fs_spark.session import build_session
spark = build_session(master="local[2]")
spark.read.format("delta").load(sys.argv[1]).collect()
"""
INGEST = """
import sys
from fs_spark import FeatureStore
FeatureStore.open(sys.argv[1]).ingest(sys.argv[2:], again=True)
"""
MATERIALIZE = """
import sys
from fs_spark import FeatureStore
FeatureStore.open(sys.argv[1]).materialize(["die_neighborhood"], full=True)
"""


def seconds(code: str, tree: Path, cache: Path, *words: str, compiled: Path | None = None) -> float:
    """Seconds of a process; compiled functions lie apart from what the JVM's start keeps."""
    compiled = compiled or cache / "compiled"
    environment = os.environ | {
        "PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(cache), "NUMBA_CACHE_DIR": str(compiled)
    }  # fmt: skip
    environment.pop("FS_SPARK_CACHE_DIR", None)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *words], env=environment, cwd=tree, capture_output=True, check=True)
    spent = time.perf_counter() - start
    while any((cache / "fs_spark" / "jvm").glob("*.part")):  # a JVM that writes its archive
        time.sleep(0.5)
    return spent


def best(repeats: int, *actions: Callable[[], float]) -> list[float]:
    """The least of each action's own times; the actions take turns."""
    return [min(times) for times in zip(*([action() for action in actions] for _ in range(repeats)), strict=True)]


def store_of(spark: SparkSession, folder: Path) -> tuple[Path, list[Path]]:
    files = write_lot(new_folder(folder) / "in", 1)
    store = open_store(folder, spark)
    store.ingest(files)
    store.apply()
    store.materialize()
    return folder / "conf" / "store.yaml", files


def jobs(spark: SparkSession, folder: Path) -> Iterator[Measurement]:
    """Jobs of each verb on a store that has its tables."""
    store_of(spark, folder)
    for lot in (2, 3):
        write_lot(folder / "in", lot)
    store = open_store(folder, spark)
    tracker = spark.sparkContext.statusTracker()
    verbs: dict[str, Callable[[], object]] = {
        "ingest": lambda: store.ingest([folder / "in"]),
        "plan": store.plan,
        "apply": store.apply,
        "materialize": lambda: store.materialize(full=True),
        "nothing": store.materialize,
        "train": lambda: store.training_set(label_spine(store), ["device_v2_0"], name="few"),
        "reproduce": lambda: store.reproduce("few"),
        "export": lambda: store.export("device_v2_0"),
    }
    for verb, action in verbs.items():
        before = set(tracker.getJobIdsForGroup(None))
        start = time.perf_counter()
        action()
        spent = time.perf_counter() - start
        ran = len(set(tracker.getJobIdsForGroup(None)) - before)
        yield {"name": f"jobs_{verb}", "jobs": ran, "seconds": round(spent, 2)}


def run(spark: SparkSession, folder: Path, measured: Measured) -> Iterator[Measurement]:
    other = folder / "before"
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(other), BEFORE], cwd=ROOT, check=True)
    try:
        yield from against(spark, folder, other, measured)
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(other)], cwd=ROOT, check=True)
    yield from jobs(spark, folder / "jobs")


def against(spark: SparkSession, folder: Path, other: Path, measured: Measured) -> Iterator[Measurement]:
    conf, files = store_of(spark, folder / "store")
    table = str(folder / "store" / "store" / "die_tests")
    kept = {tree: folder / f"kept_{tree.name}" for tree in (other, ROOT)}
    for tree in (other, ROOT):
        for _ in range(2):  # jars, then the archive
            seconds(START, tree, kept[tree], table)
    floor, ours = best(3, *(lambda t=tree: seconds(START, t, kept[t], table) for tree in (other, ROOT)))
    yield measured("start", floor, ours, 1)
    for name, code, words in (
        ("compile_stdf", INGEST, (str(conf), *map(str, files))),
        ("compile_neighborhood", MATERIALIZE, (str(conf),)),
    ):
        waits = []
        for tree in (other, ROOT):
            seconds(code, tree, kept[tree], *words)
            warm = min(seconds(code, tree, kept[tree], *words) for _ in range(2))
            waits.append(
                max(seconds(code, tree, kept[tree], *words, compiled=folder / f"{name}_{tree.name}") - warm, 0.01)
            )
        yield measured(name, waits[0], waits[1], len(files))
