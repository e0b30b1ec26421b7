"""State views of random histories equal the oracle's, to the row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pyspark.sql import SparkSession

from fs_spark.transforms.kinds import COMPUTATIONS, Reach
from fs_spark.transforms.kinds.states import STATES
from tests.oracles import complete_groups, state_views, window_statistics
from tests.oracles.histories import random_history
from tests.oracles.sources import DAY, HOUR, Source, all_revisions, becomes_known, watermark
from tests.oracles.state_views import StateView, Statistic, Window
from tests.rows import explained
from tests.stores import rows as stored_rows
from tests.views.histories import frame, same, source, us, view_of

SEEDS = range(10)
READS = ("amount", "kind", "customer_id", "ok", "merchant")
TEXT: dict[str, Any] = {
    "name": "activity", "version": "1.0", "entity": "customer",
    "transform": {"kind": "rolling", "source": "payments", "max_age": "2 d"},
    "features": [
        {"column": "amount", "statistics": ["count", "sum", "mean", "std", "min", "max", "median", "q90", "slope",
                                            {"ewm": "6 h"}, "first", "last"], "windows": ["6 h", "1 d", "3 r"]},
        {"column": "kind", "statistics": ["distinct", {"share": "a"}, "last"], "windows": ["1 d"]},
        {"statistics": ["rows"], "windows": ["6 h", "3 r"]},
        {"column": "amount", "statistics": ["sum", "count"], "windows": ["2 r", "1 d"], "where": "ok", "name": "good"},
    ],
}  # fmt: skip
WINDOWS = {"6h": Window(6 * HOUR), "24h": Window(DAY), "3r": Window(last=3, max_age=2 * DAY),
           "2r": Window(last=2, max_age=2 * DAY)}  # fmt: skip


def histories(seeds: range) -> list[dict[str, Any]]:
    """Histories of many seeds in one, with keys of their own; values beyond what counts are left out of them."""
    rows = []
    for seed in seeds:
        for row in random_history(seed):
            customer = None if row["customer_id"] is None else f"s{seed}_{row['customer_id']}"
            amount = None if row["amount"] is None else (row["amount"] if abs(row["amount"]) < 1e150 else 1e100)
            amount = row["amount"] if row["amount"] is not None and row["amount"] != row["amount"] else amount
            rows.append({**row, "row_id": seed * 1000 + row["row_id"], "customer_id": customer, "amount": amount})
    return rows


def by_seed(delivered: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of each seed, whose groups no other has."""
    return [[row for row in delivered if row["row_id"] // 1000 == seed] for seed in SEEDS]


def asked(name: str) -> Statistic:
    """A column's name as a statistic of the oracle."""
    stem, _, end = name.rpartition("_")
    if stem == "rows":
        return Statistic(name, "rows", None, WINDOWS[end])
    column, _, kind = stem.rpartition("__")
    option: Any = None
    if kind.startswith("q"):
        kind, option = "quantile", 0.9
    elif kind.startswith("ewm"):
        kind, option = "ewm", 6 * HOUR
    elif kind.startswith("share"):
        kind, option = "share", "a"
    return Statistic(name, kind, column, WINDOWS[end], option)


def differences(found: list[dict[str, Any]], wanted: list[dict[str, Any]], key: str) -> list[str]:
    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        return row[key], row["event_timestamp"]

    faults = []
    by_place = {place(row): row for row in found}
    if len(by_place) != len(found):
        faults.append("a place comes twice")
    for row in wanted:
        mine = by_place.pop(place(row), None)
        if mine is None:
            faults.append(f"lacks {place(row)}")
            continue
        faults += [
            f"{place(row)} {name}: {mine[name]!r} instead of {value!r}"
            for name, value in row.items() if not same(mine[name], value)
        ]  # fmt: skip
    return faults + [f"has {at}" for at in by_place]


def rows_of(frame_: Any, times: tuple[str, ...]) -> list[dict[str, Any]]:
    found = []
    for row in frame_.toArrow().to_pylist():
        found.append({k: us(v) if k in times else v for k, v in row.items()})
    return found


TIMES = ("event_timestamp", "available_timestamp", "last_event_timestamp", "unit_from", "valid_to")


@pytest.mark.parametrize("order", [["number"], []], ids=["revisions", "no order"])
@pytest.mark.parametrize("condition", [None, "amount > -50 OR amount IS NULL"], ids=["all", "filtered"])
def test_rolling_equals_the_oracle(spark: SparkSession, order: list[str], condition: str | None) -> None:
    text = source(order=order, filter=condition)
    view = view_of(TEXT, text)
    delivered = histories(SEEDS)

    def passes(row: Mapping[str, Any]) -> bool:
        amount = row["amount"]
        return condition is None or amount is None or amount != amount or amount > -50

    statistics = []
    for name in view.columns:
        if not name.startswith("good"):
            statistics.append(asked(name))
    plain = Source(keys=("row_id",), reads=READS, order=tuple(order), filter=passes)
    oracle = StateView(plain, {"customer_id": "customer_id"}, tuple(statistics))
    until = watermark(delivered, plain)
    wanted = [row for rows in by_seed(delivered) for row in state_views.state_rows(rows, oracle, until)]
    # columns with a condition are asked of the oracle on their own, and change its rows too
    frame_ = COMPUTATIONS["rolling"].rows(
        [frame(spark, delivered, text)], view, reach=Reach(until), scope=None, buckets=4
    )
    found = rows_of(frame_, TIMES)
    last: dict[str, Any] = {}
    plain_rows = []
    for row in sorted(found, key=lambda row: (row["customer_id"], row["event_timestamp"])):
        values = {name: row[name] for name in (*(s.name for s in statistics), "last_event_timestamp")}
        before = last.get(row["customer_id"])
        if before is None or any(not same(values[name], before[name]) for name in values):
            plain_rows.append(row)
        last[row["customer_id"]] = values
    assert differences(plain_rows, wanted, "customer_id")[:5] == []
    good = StateView(
        Source(keys=("row_id",), reads=READS, order=tuple(order), filter=passes, where=lambda row: row["ok"] is True),
        {"customer_id": "customer_id"},
        tuple(Statistic(name, *_good(name)) for name in view.columns if name.startswith("good")),
    )
    seeds = by_seed(delivered)
    for row in found[::3]:
        own = seeds[int(row["customer_id"][1:].split("_")[0])]
        for each in good.statistics:
            rows = state_views.window_at(own, row["event_timestamp"], good, (row["customer_id"],), each.window)
            value = window_statistics.statistic(each.kind, rows, each.column, each.option)
            assert same(row[each.name], value), (row["customer_id"], row["event_timestamp"], each.name)


def counting(delivered: list[dict[str, Any]], plain: Source) -> list[dict[str, Any]]:
    """The revisions that count at some time."""
    found = []
    for revisions in all_revisions(delivered, plain):
        for row, following in zip(revisions, [*revisions[1:], None], strict=True):
            if following is None or becomes_known(following) > becomes_known(row):
                found.append(row)
    return found


def _good(name: str) -> tuple[str, str, Window]:
    stem, _, end = name.rpartition("_")
    return stem.removeprefix("good__"), "amount", WINDOWS[end]


@pytest.mark.parametrize("close", ["count", "of", "where", "grace"])
def test_aggregates_equal_the_oracle(spark: SparkSession, close: str) -> None:
    text = source()
    closes: dict[str, dict[str, Any]] = {
        "count": {"count": 4},
        "of": {"count": 2, "of": "merchant"},
        "where": {"where": "kind = 'a'"},
        "grace": {"grace": "8 h"},
    }
    given: dict[str, Any] = {
        "name": "whole", "version": "1.0", "entity": "customer",
        "transform": {"kind": "aggregate", "source": "payments"},
        "features": [{"column": "amount", "statistics": ["sum", "count", "max", "median"]}, {"statistics": ["rows"]}],
    }  # fmt: skip
    delivered = histories(SEEDS)
    plain = Source(keys=("row_id",), reads=READS, order=("number",))
    until = watermark(delivered, plain)
    names = {"rows": ("rows", None), "amount__sum": ("sum", "amount"), "amount__count": ("count", "amount"),
             "amount__max": ("max", "amount"), "amount__median": ("median", "amount")}  # fmt: skip
    statistics = tuple(Statistic(name, kind, column, Window()) for name, (kind, column) in names.items())
    oracle = StateView(plain, {"customer_id": "customer_id"}, statistics)
    frame_ = frame(spark, delivered, text)
    if close == "count":
        view = view_of(given, text)
        rows = COMPUTATIONS["aggregate"].rows([frame_], view, reach=Reach(until), scope=None, buckets=4)
        wanted = [row for rows in by_seed(delivered) for row in state_views.state_rows(rows, oracle, until)]
        assert differences(rows_of(rows, TIMES), wanted, "customer_id")[:5] == []
    given["transform"] |= {"mode": "complete", "close": closes[close]}
    view = view_of(given, text)
    assert view.knowledge == "after_group"
    rows = COMPUTATIONS["aggregate"].rows([frame_], view, reach=Reach(until), scope=None, buckets=4)
    wanted = []
    for own in by_seed(delivered):
        ways: dict[str, dict[str, Any]] = {
            "count": {"count": 4}, "of": {"count": 2, "of": ("merchant",)}, "grace": {"grace": 8 * HOUR},
            "where": {"closes": [row for row in counting(own, plain) if row["kind"] == "a"]},
        }  # fmt: skip
        how = ways[close]
        wanted += complete_groups.complete_rows(own, oracle, until, **how)
    assert differences(rows_of(rows, TIMES), wanted, "customer_id")[:5] == []


@pytest.mark.parametrize(("order", "shuffles"), [([], 1), (["number"], 2)], ids=["no order", "revisions"])
def test_views_of_one_source_share_a_shuffle(
    spark: SparkSession, capsys: pytest.CaptureFixture[str], order: list[str], shuffles: int
) -> None:
    """Rows cross it once, and each view comes out as it does alone, also where the views read different columns.

    Revisions are told apart by the row's own key first, which may name another group than the one before.
    """
    texts = [
        {**TEXT, "name": "all"},
        {**TEXT, "name": "sums", "features": [{"column": "amount", "statistics": "sum", "windows": ["2 r"]}]},
        {**TEXT, "name": "kinds", "features": [{"column": "kind", "statistics": ["last", "first"], "windows": "3 r"}]},
        {**TEXT, "name": "counts", "features": [{"statistics": "rows", "windows": "1 d"}]},
    ]  # fmt: skip
    views = [view_of(text, source(order=order)) for text in texts]
    delivered = histories(range(4))
    given = frame(spark, delivered, source(order=order))
    reach = Reach(watermark(delivered, Source(keys=("row_id",), reads=READS, order=tuple(order))))
    moved = STATES.moved([given], views, 16)
    assert explained(moved, capsys).count("Exchange hashpartitioning") == shuffles
    moved = moved.persist()
    try:
        for view in views:
            rows = STATES.of_moved(moved, view, reach=reach)
            behind = explained(rows, capsys).split("InMemoryRelation")
            assert len(behind) == 2, "the rows are not those that were moved for all"
            assert "Exchange" not in behind[0], view.name
            assert "Sort" not in behind[0] or not order, view.name
            alone = STATES.rows([given], view, reach=reach, scope=None, buckets=16)
            assert stored_rows(rows) == stored_rows(alone), view.name
    finally:
        moved.unpersist()
