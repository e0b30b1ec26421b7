"""The store's own tables as sources of labels: attempts, runs of wafers and lots, equal to the oracle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import ColumnLabel, CountLabel, Every, FeatureStore, LabelRequest, SumLabel
from fs_spark.errors import ConfigError, RequestError
from tests.labels.test_labels import in_order, rows_of
from tests.oracles import labels as oracle
from tests.oracles.sources import DIE, SECOND, Source
from tests.stores import new_folder, open_store, versions, write_lot
from tests.views.histories import at, us

READS = ("passed", "hard_bin", "tester", "site", "vdd")
SITE = {"tester": "tester", "site": "site"}
PLACE = {"lot_id": "lot_id", "wafer_id": "wafer_id", "die_x": "die_x", "die_y": "die_y"}


@pytest.fixture(scope="module")
def store(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, Path]:
    folder = new_folder(tmp_path_factory.mktemp("labels"))
    opened = open_store(folder, spark)
    opened.ingest(write_lot(folder / "in", 1))
    opened.apply()
    opened.materialize(["die_measured"])
    return opened, folder


@pytest.fixture(scope="module")
def delivered(store: tuple[FeatureStore, Path]) -> tuple[Mapping[str, Any], ...]:
    """Attempts as the store has them, with `vdd` as the view of measured values has it."""
    tests = store[0].table("die_tests").drop("attempt", "is_first", "is_final")
    sequence = (F.col("touchdown").cast("bigint") * 2**32 + F.col("part_index")).alias("sequence")
    keys = [*PLACE, "event_timestamp", "sequence"]
    measured = store[0].table("die_measured").select(*keys, "vdd")
    joined = tests.withColumn("sequence", sequence).join(measured, keys, "left").toArrow().to_pylist()
    return tuple(
        {**row, "event": us(row["event_timestamp"]), "available": us(row["available_timestamp"])}
        for row in joined
        if row["insertion"] == "1"
    )


def attempts_of(attempts: str = "first", **more: Any) -> Source:
    return Source(keys=DIE, reads=READS, order=("run_id", "part_index"), attempts=attempts, insertion="1", **more)


def middle(delivered: tuple[Mapping[str, Any], ...], share: float) -> int:
    known = sorted(max(row["event"], row["available"]) for row in delivered)
    return int(known[int(share * (len(known) - 1))])


def fails(row: Any) -> bool:
    return row["passed"] is False


LATEST = {"source": "attempts", "attempts": "latest"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], float | None]] = {
    # request, the oracle's, share of the rows that are known at as_of
    "outcome of each die": (
        {"keys": PLACE, "at": "attempts", "label": ColumnLabel("passed")},
        {"keys": PLACE, "spine": attempts_of(), "kind": "column", "column": "passed"}, None,
    ),
    "outcome of the latest attempt": (
        {"keys": PLACE, "at": LATEST, "label": ColumnLabel("hard_bin", lag="10 s")},
        {"keys": PLACE, "spine": attempts_of("latest"), "kind": "column", "column": "hard_bin",
         "lag": 10 * SECOND}, 0.9,
    ),
    "fails of a site behind each attempt": (
        {"keys": SITE, "at": {"source": "attempts", "attempts": "all"},
         "label": CountLabel(LATEST, until="20 s", where="not passed")},
        {"keys": SITE, "spine": attempts_of("all"), "source": attempts_of("latest", where=fails), "kind": "count",
         "until": 20 * SECOND}, 0.95,
    ),
    "sum of a parameter on a grid": (
        {"keys": SITE, "at": "grid",
         "label": SumLabel({"source": "attempts", "parameters": ["vdd"]}, "vdd", until="15 s", after="1 s")},
        {"keys": SITE, "spine": attempts_of(), "source": attempts_of(), "kind": "sum", "column": "vdd",
         "after": SECOND, "until": 15 * SECOND}, 0.9,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_labels_equal_the_oracle(
    store: tuple[FeatureStore, Path], delivered: tuple[Mapping[str, Any], ...], case: str
) -> None:
    asked, theirs, share = CASES[case]
    known = [max(row["event"], row["available"]) for row in delivered]
    as_of = max(known) if share is None else middle(delivered, share)
    if asked["at"] == "grid":
        begin, end = min(known) - 20 * SECOND, max(known) + 20 * SECOND
        asked = {**asked, "at": Every("3 s", at(begin), at(end), "attempts")}
        theirs = {**theirs, "every": oracle.Every(3 * SECOND, begin, end)}
    when: dict[str, Any] = {} if share is None else {"as_of": at(as_of)}
    found = rows_of(store[0].spine(LabelRequest(**asked, **when)))
    wanted = oracle.labeled_spine(delivered, delivered, oracle.LabelRequest(label="label", as_of=as_of, **theirs))
    assert len(wanted) > 50
    assert in_order(found) == in_order(wanted)


def test_runs_and_lots_have_labels_too(store: tuple[FeatureStore, Path]) -> None:
    opened, folder = store
    before = versions(folder)
    asked = LabelRequest(
        ["lot_id", "wafer_id"], "wafer_runs", ColumnLabel("fails"), name="fails", columns=["tester", "product_id"]
    )
    found = opened.spine(asked).toArrow().to_pylist()
    tests = opened.table("die_tests").where("insertion = '1'")
    wanted = tests.groupBy("lot_id", "wafer_id", "run_id", "head").agg(
        F.max("event_timestamp").alias("event_timestamp"), F.count_if(~F.col("passed")).alias("fails")
    )
    assert {(r["wafer_id"], r["event_timestamp"], r["fails"]) for r in found} == {
        (r["wafer_id"], r["event_timestamp"], r["fails"]) for r in wanted.toArrow().to_pylist()
    }
    assert {(r["tester"], r["product_id"]) for r in found} == {
        tuple(r) for r in tests.select("tester", "product_id").distinct().collect()
    }
    lots = opened.spine(LabelRequest(["lot_id"], "lots", ColumnLabel("fails"))).toArrow().to_pylist()
    assert max(r["label"] for r in lots) == sum(r["fails"] for r in found)
    assert versions(folder) == before


@pytest.mark.parametrize(
    ("source", "label", "text"),
    [
        (
            {"source": "attempts", "insertion": "7"},
            ColumnLabel("passed"),
            "no rows of insertion '7'.\nRegistered: 1, 2",
        ),
        ({"source": "attempts", "parameters": ["vdx"]}, ColumnLabel("vdx"), "(?s)parameter 'vdx'.*did you mean 'vdd'"),
    ],
)
def test_what_only_the_tables_tell(
    store: tuple[FeatureStore, Path], source: dict[str, Any], label: ColumnLabel, text: str
) -> None:
    with pytest.raises(RequestError, match=text):
        store[0].spine(LabelRequest(["lot_id"], source, label))


def test_a_parameter_in_another_quantity_is_refused(
    store: tuple[FeatureStore, Path], spark: SparkSession, tmp_path: Path
) -> None:
    shutil.copytree(store[1] / "conf", tmp_path / "conf")
    products = tmp_path / "conf" / "products.yaml"
    products.write_text(products.read_text().replace("test_name: vdd, unit: V", "test_name: vdd, unit: A"))
    settings = tmp_path / "conf" / "store.yaml"
    settings.write_text(settings.read_text().replace("../store", str(store[1] / "store")))
    opened = FeatureStore.open(settings, spark)
    asked = LabelRequest(
        ["lot_id"], "attempts", SumLabel({"source": "attempts", "parameters": ["vdd"]}, "vdd", until="1 s")
    )
    with pytest.raises(ConfigError, match="parameter 'vdd' of product synchip is in 'A'"):
        opened.spine(asked)


def test_a_time_before_all_tests_is_refused(store: tuple[FeatureStore, Path]) -> None:
    early = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(days=1)
    with pytest.raises(RequestError, match="held no rows at 2001-01-02"):
        store[0].spine(LabelRequest(["lot_id"], "attempts", ColumnLabel("passed"), as_of=early))


def test_a_store_without_tests_says_so(spark: SparkSession, tmp_path: Path) -> None:
    opened = open_store(new_folder(tmp_path), spark)
    with pytest.raises(RequestError, match="nothing was ingested yet"):
        opened.spine(LabelRequest(["lot_id"], "attempts", ColumnLabel("passed")))
