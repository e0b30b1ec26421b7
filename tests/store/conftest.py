"""One store for all tests that only read: two synthetic lots and the three real wafers, through every verb once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from fs_spark.ingest import IngestReport
from fs_spark.training import TrainingSet
from tests.stores import label_spine, new_folder, open_store, real_files, write_lot

REAL = ("diamond40*", "lot2*", "PROD*_R0_*", "PROD*_R1_*")


@dataclass(frozen=True)
class Walk:
    """A finished walk; tests read it and never write to it."""

    folder: Path
    store: FeatureStore
    synthetic: list[Path]
    real: list[Path]
    ingested: IngestReport
    training_set: TrainingSet


@pytest.fixture(scope="session")
def walk(spark: SparkSession, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Walk:
    folder = new_folder(tmp_path_factory.mktemp("walk"))
    synthetic = [*write_lot(folder / "in", 1), *write_lot(folder / "in", 2)]
    real = real_files(shared_data, *REAL)
    store = open_store(folder, spark)
    ingested = store.ingest([folder / "in", *real])
    store.apply()
    store.materialize()
    built = store.training_set(label_spine(store), ["device_v2_0"], name="bin_model")
    store.export("device_v2_0")
    return Walk(folder, store, synthetic, real, ingested, built)


@pytest.fixture
def own_copy(walk: Walk, spark: SparkSession, tmp_path: Path) -> tuple[Path, FeatureStore]:
    """A copy of the walked store that a test may change: a store's folder can be moved as a whole."""
    folder = tmp_path / "copy"
    shutil.copytree(walk.folder, folder, ignore=shutil.ignore_patterns("test_results", "in"))
    shutil.copytree(walk.folder / "store" / "test_results", folder / "store" / "test_results")
    return folder, open_store(folder, spark)
