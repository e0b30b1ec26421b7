"""A store that an earlier fs_spark made (commit 6f9483a, before views of other kinds) stays what it is.

`store_of_6f9483a.tar.gz` holds one wafer of the synthetic lot 1 in both insertions, the starter views, and a training
set over the dies of insertion 2.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from tests.stores import VIEWS, new_folder, open_store, versions

DIGEST = "cd9b023c6329"


@pytest.fixture(scope="module")
def earlier(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, Path]:
    folder = new_folder(tmp_path_factory.mktemp("earlier"))
    with tarfile.open(Path(__file__).with_name("store_of_6f9483a.tar.gz")) as kept:
        kept.extractall(folder, filter="data")
    return open_store(folder, spark), folder


def test_its_training_set_is_reproduced_from_tables_and_from_source(earlier: tuple[FeatureStore, Path]) -> None:
    store, _ = earlier
    assert store.training_sets()["before"].digest.startswith(DIGEST)
    assert store.reproduce("before").digest.startswith(DIGEST)
    assert store.reproduce("before", from_source=True).digest.startswith(DIGEST)


def test_its_views_keep_their_definitions_and_tables(earlier: tuple[FeatureStore, Path]) -> None:
    store, folder = earlier
    before = versions(folder)
    assert {change.action for change in store.plan()} == {"unchanged"}
    report = store.materialize()
    assert {(view.units_changed, view.units_removed) for view in report.views} == {(0, 0)}
    assert versions(folder) == before
    assert all(store.table(view).count() > 0 for view in VIEWS)
    store.apply()
    full = store.materialize(full=True)
    assert {(view.units_changed, view.units_removed) for view in full.views} == {(0, 0)}
