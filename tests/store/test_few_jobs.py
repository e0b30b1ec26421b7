"""How many Spark jobs a verb runs in a local session on a small store: a person waits for each of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from tests.stores import label_spine, new_folder, open_store, write_lot

MOST = {
    "ingest": 12,
    "plan": 3,
    "apply": 8,
    "materialize": 60,
    "nothing to materialize": 12,
    "train": 20,
    "reproduce": 12,
    "export": 6,
    "get": 0,
}
KEY = {"lot_id": "SYN0001", "wafer_id": "W01", "die_x": 0, "die_y": 0}


def jobs(spark: SparkSession) -> set[int]:
    return set(spark.sparkContext.statusTracker().getJobIdsForGroup(None))


@pytest.fixture
def begun(spark: SparkSession, tmp_path: Path) -> FeatureStore:
    """A store that has its tables and one lot; two more were delivered."""
    folder = new_folder(tmp_path / "few")
    files = write_lot(folder / "in", 1)
    store = open_store(folder, spark)
    store.ingest(files)
    for lot in (2, 3):
        write_lot(folder / "in", lot)
    return store


def test_a_verb_runs_few_jobs(begun: FeatureStore, spark: SparkSession, tmp_path: Path) -> None:
    store, found = begun, {}

    def run(verb: str, action: Callable[[], object]) -> None:
        before = jobs(spark)
        action()
        found[verb] = len(jobs(spark) - before)

    run("ingest", lambda: store.ingest([tmp_path / "few" / "in"]))
    run("plan", store.plan)
    run("apply", store.apply)
    run("materialize", store.materialize)
    run("nothing to materialize", store.materialize)
    run("train", lambda: store.training_set(label_spine(store), ["device_v2_0"], name="few"))
    run("reproduce", lambda: store.reproduce("few"))
    run("export", lambda: store.export("device_v2_0"))
    with store.online() as online:
        run("get", lambda: online.get("device_v2_0", [KEY]))
    assert {verb: count for verb, count in found.items() if count > MOST[verb]} == {}
