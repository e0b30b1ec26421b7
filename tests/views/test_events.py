"""Event views of random histories equal the oracle's, to the row."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession

from fs_spark.transforms.kinds import COMPUTATIONS, Reach
from tests.oracles import event_views
from tests.oracles.event_views import EventView
from tests.oracles.histories import random_history
from tests.oracles.sources import Source
from tests.views.histories import frame, same, source, us, view_of

READS = ("amount", "kind", "customer_id", "ok", "merchant")
TIMES = ("event_timestamp", "available_timestamp", "unit_from", "valid_to")


def histories() -> list[list[dict[str, Any]]]:
    return [[{**row, "row_id": seed * 1000 + row["row_id"]} for row in random_history(seed)] for seed in range(20)]


def doubled(row: dict[str, Any]) -> float | None:
    amount = row["amount"]
    if amount is None or amount != amount:
        return None
    return amount * 2 + 0.0


TEXTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "expressions": (
        {"transform": {"kind": "expressions", "source": "payments"},
         "features": {"doubled": "amount * 2", "is_a": "kind = 'a'", "words": "concat(kind, '!')"}},
        {"doubled": doubled, "is_a": lambda row: None if row["kind"] is None else row["kind"] == "a",
         "words": lambda row: None if row["kind"] is None else row["kind"] + "!"},
    ),
    "python": (
        {"transform": {"kind": "expressions", "source": "payments"},
         "features": {"doubled": "amount * 2 + 0 * exp(0)"}},
        {"doubled": doubled},
    ),
    "columns": (
        {"transform": {"kind": "columns", "source": "payments"},
         "features": ["kind", {"name": "good", "column": "ok"}]},
        {"kind": "kind", "good": "ok"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "entity"),
    [("expressions", "payment"), ("expressions", "customer"), ("columns", "customer"), ("python", "payment")],
)
@pytest.mark.parametrize("more", [{}, {"order": []}, {"filter": "ok"}, {"revisions": "first"}], ids=str)
def test_rows_equal_the_oracle(spark: SparkSession, kind: str, entity: str, more: dict[str, Any]) -> None:
    given, compute = TEXTS[kind]
    options = {k: v for k, v in more.items() if k != "revisions"}
    text = source(**options)
    transform = given["transform"] | ({"revisions": "first"} if "revisions" in more else {})
    view = view_of({"name": "v", "version": "1.0", "entity": entity, **given, "transform": transform}, text)
    by_seed = histories()
    delivered = [row for rows in by_seed for row in rows]
    keys = {"payment": {"row_id": "row_id"}, "customer": {"customer_id": "customer_id"}}[entity]
    plain = Source(
        keys=("row_id",),
        reads=READS,
        order=tuple(text.order),
        filter=(lambda row: row["ok"] is True) if text.filter else None,
    )
    oracle = EventView(plain, keys, compute, revisions=more.get("revisions", "all"))
    wanted = [row for rows in by_seed for row in event_views.event_rows(rows, oracle)]
    frame_ = COMPUTATIONS[kind if kind != "python" else "expressions"].rows(
        [frame(spark, delivered, text)], view, reach=Reach(), scope=None, buckets=4
    )
    names = [*keys, "event_timestamp", "available_timestamp", *view.columns]

    def listed(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return sorted((tuple(row[name] for name in names) for row in rows), key=lambda row: [str(v) for v in row])

    found = listed([{k: us(v) if k in TIMES else v for k, v in row.items()} for row in frame_.toArrow().to_pylist()])
    expected = listed(wanted)
    assert len(found) == len(expected)
    odd = [(a, b) for a, b in zip(found, expected, strict=True) if not all(map(same, a, b))]
    assert odd[:5] == []
