"""Several rows of one key at one instant: views of one source meet row by row, and their order breaks ties."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from fs_spark import FeatureStore, leaks
from fs_spark.errors import RequestError
from fs_spark.features.table_view import TableView
from fs_spark.view_inputs import input_state
from tests.views.stores import open_views, write_conf

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
COLUMNS = {
    "payment_id": "string", "leg": "string", "customer_id": "string", "amount": "double", "kind": "string",
    "at": "timestamp",
}  # fmt: skip
ROWS = [
    ("p1", "a", "ann", 100.0, "x"),
    ("p1", "b", "ann", 9.0, "y"),
    ("p2", "a", "ann", 5.0, None),
    ("p3", None, "ann", None, "z"),
    ("p4", "a", "bob", 1.0, "x"),
]
SOURCES = {
    "payments": {"parquet": "../in", "keys": ["payment_id"], "columns": COLUMNS, "event": "at", "order": ["leg"]},
    "refunds": {"parquet": "../refunds", "keys": ["payment_id"], "columns": COLUMNS, "event": "at", "order": ["leg"]},
    "visits": {
        "parquet": "../visits",
        "keys": ["payment_id"],
        "columns": COLUMNS,
        "event": "at",
        "available": {"after_event": "1 h"},
    },
}
SOURCES["logins"] = {
    "parquet": "../logins", "keys": ["customer_id"], "columns": COLUMNS, "event": "at",
    "available": {"after_event": "1 h"},
}  # fmt: skip
VIEWS: dict[str, Any] = {
    "amounts": {
        "entity": "customer", "transform": {"kind": "columns", "source": "payments"}, "features": ["amount"],
    },
    "kinds": {
        "entity": "customer", "transform": {"kind": "columns", "source": "payments"}, "features": ["kind"],
    },
    "refunded": {
        "entity": "customer", "transform": {"kind": "columns", "source": "refunds"},
        "features": [{"name": "back", "column": "amount"}],
    },
    "both": {
        "entity": "customer",
        "transform": {"kind": "expressions", "inputs": [{"view": "amounts", "as": "m"}, {"view": "kinds", "as": "k"}]},
        "features": {"worth": "m.amount", "word": "k.kind"},
    },
    "three": {
        "entity": "customer",
        "transform": {"kind": "expressions", "inputs": [
            {"view": "both", "as": "b"}, {"view": "refunded", "as": "r", "optional": True}]},
        "features": {"word": "b.word", "kept": "b.worth - r.back"},
    },
    "visited": {
        "entity": "customer", "transform": {"kind": "columns", "source": "visits"},
        "features": [{"name": "visit", "column": "amount"}],
    },
    "counted": {
        "entity": "customer", "transform": {"kind": "columns", "source": "logins"},
        "features": [{"name": "amount", "column": "amount"}, {"name": "word", "column": "kind"}],
    },
    "of_counted": {
        "entity": "customer", "transform": {"kind": "expressions", "view": "counted"},
        "features": {"less": "0 - amount", "said": "word"},
    },
    "beside": {
        "entity": "customer",
        "transform": {"kind": "expressions", "inputs": [
            {"view": "visited", "as": "v"}, {"view": "amounts", "as": "a", "as_of": True}]},
        "features": {"paid_before": "a.amount"},
    },
    "paid": {
        "entity": "payment", "transform": {"kind": "columns", "source": "payments"},
        "features": ["amount", {"name": "customer", "column": "customer_id"}],
    },
    "sorts": {
        "entity": "payment", "transform": {"kind": "columns", "source": "payments"},
        "features": ["kind", {"name": "customer", "column": "customer_id"}],
    },
    "paid_by": {
        "entity": "customer",
        "transform": {"kind": "expressions", "view": "paid", "by": {"customer_id": "customer"}},
        "features": {"worth": "amount + 0"},
    },
    "sorts_of": {
        "entity": "customer", "transform": {"kind": "expressions", "view": "sorts", "by": {"customer_id": "customer"}},
        "features": {"word": "kind"},
    },
    "far": {
        "entity": "customer",
        "transform": {"kind": "expressions", "inputs": [
            {"view": "paid_by", "as": "p"}, {"view": "sorts_of", "as": "s"}]},
        "features": {"worth": "p.worth", "word": "s.word"},
    },
    "far_recent": {
        "entity": "customer", "transform": {"kind": "rolling", "view": "paid_by"},
        "features": [{"statistics": "rows", "windows": "1 d"}],
    },
    "recent": {
        "entity": "customer",
        "transform": {"kind": "rolling", "view": "amounts"},
        "features": [{"statistics": "rows", "windows": "1 d"}, {"column": "amount", "statistics": "last",
                                                                "windows": "1 d"}],
    },
}  # fmt: skip


def write(folder: Path, listed: list[tuple[Any, ...]], event: datetime = NOON) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("payment_id", "leg", "customer_id", "amount", "kind")
    columns = {name: [row[at] for row in listed] for at, name in enumerate(names)}
    kinds = {"amount": pa.float64()}
    table = pa.table({name: pa.array(values, kinds.get(name, pa.string())) for name, values in columns.items()})
    when = pa.array([event] * len(listed), pa.timestamp("us", tz="UTC"))
    pq.write_table(table.append_column("at", when), folder / "rows.parquet")


@pytest.fixture(scope="module")
def store(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("ties")
    entities = {
        "customer": {"keys": {"customer_id": "string"}}, "payment": {"keys": {"payment_id": "string"}},
    }  # fmt: skip
    services = {"now": {"features": ["amounts:amount", "recent:rows_24h"]}}
    write_conf(folder, VIEWS, sources=SOURCES, entities=entities, services=services)
    write(folder / "in", ROWS)
    write(folder / "refunds", [("q1", "a", "ann", 3.0, None), ("q1", "b", "ann", 2.0, None)])
    write(folder / "visits", [("v1", None, "ann", 1.0, None)], NOON + timedelta(minutes=5))
    write(
        folder / "logins", [("l1", "a", "ann", 3.0, None), ("l2", "b", "ann", 3.0, "x"), ("l3", "c", "ann", 2.0, "z")]
    )
    opened = open_views(folder, spark)
    opened.apply()
    opened.materialize()
    return opened


def test_rows_that_nothing_tells_apart_are_one_for_another_view(store: FeatureStore) -> None:
    """A source without an order: its rows of one instant are no revisions of each other."""
    assert len(found(store, "counted", "amount")) == 3
    assert found(store, "of_counted", "less", "said") == [(-3.0, "x")]


def found(store: FeatureStore, view: str, *columns: str) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in store.table(view).select(*columns).collect()), key=repr)


def test_views_of_one_source_meet_row_by_row(store: FeatureStore) -> None:
    wanted = [(customer, amount, kind) for _, _, customer, amount, kind in ROWS]
    assert found(store, "both", "customer_id", "worth", "word") == sorted(wanted, key=repr)


def test_rows_of_another_source_meet_each_of_them(store: FeatureStore) -> None:
    wanted = [("ann", "x", 98.0), ("ann", "y", 7.0), ("ann", None, 3.0), ("ann", "z", None), ("bob", "x", None)]
    assert found(store, "three", "customer_id", "word", "kept") == sorted(wanted, key=repr)


def test_a_view_that_leaves_keys_behind_keeps_them_apart(store: FeatureStore) -> None:
    wanted = [(customer, amount, kind) for _, _, customer, amount, kind in ROWS]
    assert found(store, "far", "customer_id", "worth", "word") == sorted(wanted, key=repr)
    states = store.table("far_recent").where("event_timestamp = timestamp '2025-03-01 12:00:00Z'")
    assert sorted(tuple(r) for r in states.select("customer_id", "rows_24h").collect()) == [("ann", 4), ("bob", 1)]


def test_their_order_breaks_ties_inside_a_view(store: FeatureStore) -> None:
    assert found(store, "beside", "customer_id", "paid_before") == [("ann", 9.0)]


def test_a_table_of_before_is_to_be_brought_up_first(store: FeatureStore) -> None:
    both = next(view for view in store.config.views if view.name == "both")
    assert isinstance(both, TableView)
    other = both.inputs[0].model_copy(update={"order": {"_order_payments__more": "string"}})
    with pytest.raises(RequestError, match=r"Hint: run `fs-spark materialize amounts__v1\.0` first"):
        input_state(store._tables, other, {}, dict)


def test_a_definition_does_not_depend_on_how_its_inputs_order(store: FeatureStore) -> None:
    """Those that were registered before their inputs told it stay the same, and go on."""
    names = ("both", "three", "beside", "far", "recent")
    views = [view for view in store.config.views if isinstance(view, TableView) and view.name in names]
    assert len(views) == len(names)
    for view in views:
        body = json.loads(view.to_json())
        for one in body["inputs"]:
            assert one.pop("key_order")
            one.pop("order", None)
        before = TableView.model_validate(body)
        assert before.definition_hash == view.definition_hash
        assert before.order_columns == {}


def test_all_of_them_count_in_a_state(store: FeatureStore) -> None:
    states = store.table("recent").where("event_timestamp = timestamp '2025-03-01 12:00:00Z'")
    assert sorted(tuple(r) for r in states.select("customer_id", "rows_24h", "amount__last_24h").collect()) == [
        ("ann", 4, 9.0), ("bob", 1, 1.0)
    ]  # fmt: skip


def test_their_order_breaks_ties_offline_and_online(store: FeatureStore, spark: SparkSession) -> None:
    later = NOON + timedelta(hours=1)
    spine = spark.createDataFrame(
        [("ann", later, True), ("bob", later, False)], "customer_id string, event_timestamp timestamp, fails boolean"
    )
    built = store.training_set(spine, ["amounts:amount", "recent:rows_24h"], name="ties")
    assert {(r["customer_id"], r["amount"], r["rows_24h"]) for r in built.df.collect()} == {
        ("ann", 9.0, 4), ("bob", 1.0, 1)
    }  # fmt: skip
    assert store.reproduce("ties").digest == built.digest
    assert store.reproduce("ties", from_source=True).digest == built.digest
    report = leaks.check(built, label="fails", store=store)
    assert [ran.check for ran in report.ran if ran.check == "oracle"], report
    assert report.ok, report
    store.export("now", at=later)
    with store.online() as online:
        assert online.get("now", [{"customer_id": "ann"}], at=later) == [
            {"customer_id": "ann", "amount": 9.0, "rows_24h": 4}
        ]
