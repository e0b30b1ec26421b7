"""Views of other kinds in a store: incremental runs equal full ones, reruns add nothing, sets are reproduced."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore
from tests.oracles.histories import START, random_history
from tests.oracles.sources import DAY
from tests.stores import rows, versions
from tests.views.histories import write_parquet
from tests.views.stores import open_views, write_conf

TABLES = ("activity", "values", "relative", "paid")


def delivered(seeds: range) -> list[dict[str, Any]]:
    """Histories of several seeds, spread over two months."""
    found = []
    for seed in seeds:
        moved = seed % 4 * 20 * DAY
        for row in random_history(seed, revised=0.1):
            amount = row["amount"]
            if amount is not None and abs(amount) > 1e100:
                amount = None
            times = {name: row[name] + moved for name in ("event", "available")}
            found.append({**row, **times, "row_id": seed * 1000 + row["row_id"], "amount": amount})
    return found


@pytest.fixture(scope="module")
def grown(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, Path]:
    """A store that was brought up three times: rows that came late, and rows that went."""
    folder = tmp_path_factory.mktemp("views")
    write_conf(folder)
    everything = delivered(range(12))
    random.Random(5).shuffle(everything)
    inputs = folder / "in" / "payments"
    write_parquet(inputs, "a.parquet", [row for row in everything[:200] if row["available"] < START + 50 * DAY])
    store = open_views(folder, spark)
    store.apply()
    store.materialize()
    write_parquet(inputs, "b.parquet", everything[200:])
    store.materialize()
    write_parquet(inputs, "a.parquet", everything[20:200])
    store.materialize()
    return store, folder


def test_incremental_equals_full_and_a_rerun_adds_no_version(grown: tuple[FeatureStore, Path]) -> None:
    store, folder = grown
    before = versions(folder)
    again = store.materialize()
    assert versions(folder) == before
    assert {view.units_changed for view in again.views} == {0}
    stored = {name: rows(store.table(name)) for name in TABLES}
    full = store.materialize(full=True)
    assert {(view.units_changed, view.units_removed) for view in full.views} == {(0, 0)}
    assert versions(folder) == before
    assert all(len(stored[name]) > 50 for name in TABLES), {name: len(found) for name, found in stored.items()}


def test_a_store_made_at_once_has_the_same_rows(
    grown: tuple[FeatureStore, Path], spark: SparkSession, tmp_path: Path
) -> None:
    store, folder = grown
    write_conf(tmp_path)
    for file in (folder / "in" / "payments").iterdir():
        (tmp_path / "in" / "payments").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / "payments" / file.name).write_bytes(file.read_bytes())
    other = open_views(tmp_path, spark)
    other.apply()
    other.materialize()
    for name in TABLES:
        assert rows(store.table(name)) == rows(other.table(name)), name


def test_views_are_joined_and_reproduced_from_source(grown: tuple[FeatureStore, Path], spark: SparkSession) -> None:
    store, folder = grown
    spine = store.table("paid").where("customer IS NOT NULL").select(
        "row_id", F.col("customer").alias("customer_id"), "event_timestamp"
    ).limit(60)  # fmt: skip
    built = store.training_set(
        spine,
        ["activity:amount__mean_24h", "activity:since_last", {"feature": "activity:rows_24h", "as": "recent"},
         {"feature": "activity:amount__std_6h", "nulls": "skip"}, "values:doubled", "relative:ratio"],
        name="views",
    )  # fmt: skip
    assert built.df.columns[3:] == [
        "amount__mean_24h", "recent", "since_last", "amount__std_6h", "doubled", "ratio"
    ]  # fmt: skip
    assert store.reproduce("views").digest == built.digest
    assert store.reproduce("views", from_source=True).digest == built.digest
    write_parquet(folder / "in" / "payments", "c.parquet", delivered(range(20, 22)))
    store.materialize()
    assert store.reproduce("views").digest == built.digest
    assert store.reproduce("views", from_source=True).digest == built.digest


def test_a_role_joins_a_view_by_other_columns(grown: tuple[FeatureStore, Path], spark: SparkSession) -> None:
    store, _ = grown
    both = spark.sql("SELECT 'c0' AS payer_id, 'c1' AS payee_id, TIMESTAMP '2024-01-10 00:00:00' AS event_timestamp")
    roles = {"payer": {"customer_id": "payer_id"}, "payee": {"customer_id": "payee_id"}}
    built = store.training_set(
        both, ["payer.activity:rows_24h", "payee.activity:rows_24h", "payee.activity:amount__mean_3r"], name="roles",
        roles=roles,
    )  # fmt: skip
    assert built.df.columns[3:] == ["payer__rows_24h", "payee__rows_24h", "payee__amount__mean_3r"]
    single = {}
    for role, key in (("payer", "c0"), ("payee", "c1")):
        spine = both.select(F.lit(key).alias("customer_id"), "event_timestamp")
        single[role] = store.training_set(spine, ["activity:rows_24h"], name=f"alone_{role}").df.collect()[0][
            "rows_24h"
        ]
    row = built.df.collect()[0]
    assert (row["payer__rows_24h"], row["payee__rows_24h"]) == (single["payer"], single["payee"])


def test_views_in_a_circle_are_refused(tmp_path: Path, spark: SparkSession) -> None:
    views = {
        name: {
            "entity": "payment",
            "transform": {"kind": "expressions", "view": other},
            "features": {column: f"{read} + 1"},
        }
        for name, other, column, read in (("first", "second", "x", "y"), ("second", "first", "y", "x"))
    }
    write_conf(tmp_path, views)
    with pytest.raises(ValueError, match="read each other in a circle: first -> second -> first"):
        open_views(tmp_path, spark).apply()
