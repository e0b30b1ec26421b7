"""What readers beside Spark make of our tables: delta-rs, the one that pandas users have."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import DeltaProtocolError
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from tests.store.conftest import Walk
from tests.stores import INGESTED, open_store, rows


def test_a_training_set_is_read_by_deltalake(walk: Walk) -> None:
    table = DeltaTable(walk.folder / "store" / "training__bin_model")
    assert table.version() == walk.training_set.manifest["content"]["delta_version"]
    read = table.to_pyarrow_table()
    assert read.column_names == walk.training_set.df.columns
    ours = walk.training_set.df.sparkSession.createDataFrame(read.cast(_without_views(read.schema)))
    assert rows(ours) == rows(walk.training_set.df)
    assert len(table.to_pandas()) == walk.training_set.rows > 100


def _without_views(schema: pa.Schema) -> pa.Schema:
    """Texts as Spark takes them."""
    return pa.schema([f.with_type(pa.string()) if pa.types.is_string_view(f.type) else f for f in schema])


@pytest.mark.parametrize("name", [*INGESTED, "registry", "training_sets"])
def test_tables_that_are_not_replaced_in_place_are_read_by_deltalake(walk: Walk, name: str) -> None:
    table = DeltaTable(walk.folder / "store" / name)
    assert "deletionVectors" not in (table.protocol().reader_features or [])
    stored = walk.store.table(name) if name in INGESTED else walk.store._tables.read(name)
    assert table.to_pyarrow_table(columns=stored.columns[:3]).num_rows == stored.count() > 0


def test_files_that_were_ingested_again_are_read_by_deltalake(
    walk: Walk, own_copy: tuple[Path, FeatureStore], spark: SparkSession
) -> None:
    """Their rows are replaced: whole data files, no marks in them."""
    folder, store = own_copy
    before = {name: store._tables.read(name).count() for name in INGESTED}
    testers = folder / "conf" / "testers.yaml"
    text = testers.read_text("utf-8")
    testers.write_text(text.replace('match: "SYN-*", zone: UTC', 'match: "SYN-*", zone: Asia/Tokyo'), "utf-8")
    report = open_store(folder, spark).ingest(walk.synthetic[:2], again=True)
    assert [file.status for file in report.files] == ["ingested"] * 2
    for name, count in before.items():
        assert DeltaTable(folder / "store" / name).to_pyarrow_table(columns=["file_id"]).num_rows == count


def test_feature_tables_are_told_apart(walk: Walk) -> None:
    """They are replaced wafer by wafer, which takes deletion vectors: README says which readers read them."""
    table = DeltaTable(walk.folder / "store" / "die_neighborhood__v1_0")
    protocol = table.protocol()
    assert "deletionVectors" in (protocol.reader_features or [])
    with pytest.raises(DeltaProtocolError, match="deletionVectors"):
        table.to_pandas()
    counted = QueryBuilder().register("t", table).execute("SELECT count(*) AS n FROM t").read_all()
    assert counted["n"][0].as_py() == walk.store.table("die_neighborhood").count()
