"""A mended kernel: all lots are computed anew, and what was made by the earlier one says so."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore, spatial_views
from fs_spark.errors import ReproductionError
from fs_spark.kernels import local_values
from fs_spark.training.manifest import read_manifest
from tests.stores import label_spine, new_folder, open_store, versions, write_lot
from tests.training.manifests import manifest_of, view_part

VIEW = "die_neighborhood__v1_0"


@pytest.fixture(scope="module")
def store(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FeatureStore]:
    folder = new_folder(tmp_path_factory.mktemp("revisions"))
    store = open_store(folder, spark)
    store.ingest(write_lot(folder / "in", 1, wafers=1))
    store.apply()
    store.materialize(["die_neighborhood"])
    built = store.training_set(label_spine(store), ["die_neighborhood:vdd__neighbor_mean"], name="before")
    assert built.manifest["format"] == 5
    assert built.manifest["views"][0]["kernels"] == {"local_values": 2, "map": 1, "neighborhood": 1}
    assert "by kernels local_values 2, map 1, neighborhood 1" in store.training_sets().describe("before")
    return folder, store


def mended(monkeypatch: pytest.MonkeyPatch, *, other_values: bool) -> None:
    """The next revision of a kernel; other values are made beside it, Spark's workers have the kernel itself."""
    kernel = replace(local_values.KERNEL, revision=local_values.KERNEL.revision + 1)
    monkeypatch.setattr(local_values, "KERNEL", kernel)
    before = spatial_views.view_rows

    def view_rows(*given: Any) -> DataFrame:
        rows = before(*given)
        column = "vdd__neighbor_mean"
        return rows.withColumn(column, F.col(column) + 1.0) if column in rows.columns else rows

    if other_values:
        monkeypatch.setattr(spatial_views, "view_rows", view_rows)


def test_another_revision_computes_all_lots_and_a_rerun_none(
    store: tuple[Path, FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, opened = store
    before = versions(folder)
    mended(monkeypatch, other_values=False)
    opened.materialize(["die_neighborhood"])
    after = versions(folder)
    assert after == {**before, VIEW: before[VIEW] + 1}  # all came out the same
    kernels = opened.history("die_neighborhood")[0].metadata["fs_spark"]["kernels"]
    assert kernels == {"local_values": 3, "map": 1, "neighborhood": 1}
    opened.materialize(["die_neighborhood"])
    assert versions(folder) == after
    monkeypatch.undo()
    mended(monkeypatch, other_values=True)
    monkeypatch.setattr(local_values, "KERNEL", replace(local_values.KERNEL, revision=4))
    (outcome,) = opened.materialize(["die_neighborhood"]).views
    assert (outcome.units_changed, outcome.version) == (1, after[VIEW] + 1)
    changed = opened.table("die_neighborhood")
    mean = F.avg("vdd__neighbor_mean")
    assert changed.select(mean).collect()[0][0] == pytest.approx(
        opened.table("die_neighborhood", version=before[VIEW]).select(mean).collect()[0][0] + 1
    )


def test_reproduction_from_the_source_names_another_kernel(
    store: tuple[Path, FeatureStore], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, opened = store
    digest = opened.training_sets()["before"].digest
    mended(monkeypatch, other_values=False)
    with caplog.at_level(logging.WARNING):
        assert opened.reproduce("before", from_source=True).digest == digest
    assert "die_neighborhood__v1.0: local_values (revision 2 then, 3 now)" in caplog.text
    monkeypatch.undo()
    mended(monkeypatch, other_values=True)
    with pytest.raises(ReproductionError) as fault:
        opened.reproduce("before", from_source=True)
    assert "die_neighborhood__v1.0: local_values (revision 2 then, 3 now)" in str(fault.value)
    assert "Hint: reproduce it from the feature tables" in str(fault.value)
    assert opened.reproduce("before").digest == digest  # the feature tables keep their versions


def test_a_manifest_of_before_is_read_and_its_kernels_were_the_first() -> None:
    view = view_part("v", "v__v1_0", 3, {})
    assert "kernels" not in view
    told = manifest_of("old", views=(view,))
    found = read_manifest(json.dumps(told), "old")
    assert found["format"] == 2
    assert found["views"][0]["kernels"] == {}
    with pytest.raises(ReproductionError, match="is of format 6, this fs_spark reads formats 2 to 5"):
        read_manifest(json.dumps({**told, "format": 6}), "old")
