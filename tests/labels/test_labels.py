"""Labels of random histories equal the oracle's, to the row; splits, columns and the store's own door."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark import (
    ColumnLabel,
    CountLabel,
    Every,
    FeatureStore,
    GroupSplit,
    LabelRequest,
    NegativeSampling,
    SumLabel,
    TimeSplit,
)
from fs_spark.errors import RequestError
from fs_spark.features.label_plan import plan_of_labels
from fs_spark.transforms.labels import known_until, labeled_spine
from tests.oracles import labels as oracle
from tests.oracles.histories import START, random_history
from tests.oracles.sources import DAY, HOUR, Source, all_revisions, becomes_known
from tests.oracles.spines import chance
from tests.views.histories import COLUMNS, at, frame, source, us, write_parquet

READS = ("amount", "kind", "customer_id", "ok", "merchant")
FILTER = "amount > -50 OR amount IS NULL"
SEEDS = range(8)
Rows = list[dict[str, Any]]


def histories(seeds: Sequence[int], *, rows: int = 16) -> Rows:
    """Histories of many seeds in one, with keys of their own; values beyond what counts are left out of them."""
    found = []
    for seed in seeds:
        for row in random_history(seed, rows=rows):
            customer = None if row["customer_id"] is None else f"s{seed}_{row['customer_id']}"
            amount = row["amount"]
            amount = 1e100 if amount is not None and abs(amount) >= 1e150 else amount
            merchant = f"s{seed}_{row['merchant']}"
            found.append(
                {**row, "row_id": seed * 1000 + row["row_id"], "customer_id": customer, "merchant": merchant,
                 "amount": amount}
            )  # fmt: skip
    return found


def above(row: Any) -> bool:
    return bool(row["amount"] is None or math.isnan(row["amount"]) or row["amount"] > -50)


def middle(delivered: Rows, share: float) -> int:
    known = sorted(row["available"] for row in delivered)
    return int(known[int(share * (len(known) - 1))])


def plain(*, order: bool = True, filtered: bool = False, where: Callable[[Any], bool | None] | None = None) -> Source:
    return Source(
        ("row_id",), READS, order=("number",) if order else (), filter=above if filtered else None, where=where
    )


def engine(
    spark: SparkSession, delivered: Rows, request: LabelRequest, *, parts: int | None = None, **texts: Any
) -> tuple[Rows, int]:
    """The engine's rows, times in microseconds, and the time of knowledge."""
    text = source(**texts)
    plan = plan_of_labels(request, {"payments": text})
    rows = frame(spark, delivered, text)
    rows = rows if parts is None else rows.repartition(parts, F.rand(parts))
    as_of = request.as_of_us
    if as_of is None:
        as_of = known_until(rows, plan.counted, 2**62).collect()[0][0]
    reached = known_until(rows, plan.counted, as_of).collect()[0][0]
    return rows_of(labeled_spine(rows, rows, plan, as_of_us=as_of, watermark_us=reached)), as_of


def rows_of(found: DataFrame) -> Rows:
    """Rows with times in microseconds."""
    return [{k: us(v) if isinstance(v, datetime) else v for k, v in r.items()} for r in found.toArrow().to_pylist()]


def in_order(rows: Rows) -> list[list[tuple[str, str]]]:
    """Rows in one order; floats to the bit."""
    return sorted([(k, v.hex() if isinstance(v, float) else repr(v)) for k, v in row.items()] for row in rows)


BY_CUSTOMER = {"customer": "customer_id"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any], float | None]] = {
    # request, the source's text, the oracle's request, the oracle's source of the label, share of rows known at as_of
    "count": (
        {"label": CountLabel("payments", until="12 h")}, {}, {"kind": "count", "until": 12 * HOUR}, {}, 0.7,
    ),
    "count, newest": (
        {"label": CountLabel("payments", until="12 h")}, {}, {"kind": "count", "until": 12 * HOUR}, {}, None,
    ),
    "count with a condition, a filter, a lag": (
        {"label": CountLabel("payments", until="1 d", after="6 h", lag="2 h", where="ok OR kind = 'a'")},
        {"filter": FILTER}, {"kind": "count", "after": 6 * HOUR, "until": DAY, "lag": 2 * HOUR},
        {"filtered": True, "where": lambda row: row["ok"] is True or row["kind"] == "a"}, 0.8,
    ),
    "count with a condition in Python": (
        {"label": CountLabel("payments", until="1 d", where="ln(amount) > 0")}, {},
        {"kind": "count", "until": DAY},
        {"where": lambda row: row["amount"] is not None and row["amount"] > 1}, 0.9,
    ),
    "sum": (
        {"label": SumLabel("payments", "amount", until="1 d")}, {"filter": FILTER},
        {"kind": "sum", "until": DAY, "column": "amount"}, {"filtered": True}, 0.6,
    ),
    "sum of integers, no revisions": (
        {"label": SumLabel("payments", "number", until="1 d")}, {"order": []},
        {"kind": "sum", "until": DAY, "column": "number"}, {"order": False}, 0.7,
    ),
    "column": (
        {"label": ColumnLabel("ok", lag="3 h")}, {"filter": FILTER},
        {"kind": "column", "column": "ok", "lag": 3 * HOUR}, {"filtered": True}, 0.7,
    ),
    "column of doubles": (
        {"label": ColumnLabel("amount"), "name": "paid"}, {}, {"kind": "column", "column": "amount"}, {}, None,
    ),
    "grid": (
        {"label": CountLabel("payments", until="12 h"), "at": Every("5 h", at(START - DAY), at(START + 3 * DAY))},
        {"filter": FILTER},
        {"kind": "count", "until": 12 * HOUR, "every": oracle.Every(5 * HOUR, START - DAY, START + 3 * DAY)},
        {"filtered": True}, 0.7,
    ),
    "grid of sums": (
        {"label": SumLabel("payments", "amount", until="6 h", after="1 h", where="ok"),
         "at": Every("7 h", at(START), at(START + 9 * DAY), "payments")}, {},
        {"kind": "sum", "column": "amount", "after": HOUR, "until": 6 * HOUR,
         "every": oracle.Every(7 * HOUR, START, START + 9 * DAY)}, {"where": lambda row: row["ok"] is True}, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_labels_equal_the_oracle(spark: SparkSession, case: str) -> None:
    asked, texts, wanted, of_label, share = CASES[case]
    delivered = histories(SEEDS if "grid" not in case else range(3))
    as_of = None if share is None else at(middle(delivered, share))
    request = LabelRequest(**{"keys": BY_CUSTOMER, "at": "payments", "as_of": as_of, **asked})
    found, known = engine(spark, delivered, request, **texts)
    spine = plain(order=of_label.get("order", True), filtered=of_label.get("filtered", False))
    expected = oracle.labeled_spine(
        delivered, delivered,
        oracle.LabelRequest(
            keys=BY_CUSTOMER, spine=spine, source=plain(**of_label), label=request.name, as_of=known, **wanted
        ),
    )  # fmt: skip
    assert len(expected) > 10
    for row in expected:
        if isinstance(row[request.name], float):
            row[request.name] += 0.0  # -0.0 becomes 0.0
    assert in_order(found) == in_order(expected)


def test_rows_do_not_depend_on_partitions(spark: SparkSession) -> None:
    delivered = histories(SEEDS)
    request = LabelRequest(
        BY_CUSTOMER, "payments", SumLabel("payments", "amount", until="1 d"), as_of=at(middle(delivered, 0.8)),
        split=GroupSplit("customer", {"train": 0.5, "test": 0.5}),
    )  # fmt: skip
    one, _ = engine(spark, delivered, request, parts=1)
    seven, _ = engine(spark, list(reversed(delivered)), request, parts=7)
    assert len(one) > 20
    assert in_order(one) == in_order(seven)


def test_what_comes_later_changes_nothing_known_before(spark: SparkSession) -> None:
    delivered = histories(range(3))
    as_of = middle(delivered, 0.6)
    request = LabelRequest(BY_CUSTOMER, "payments", CountLabel("payments", until="12 h"), as_of=at(as_of))
    whole, _ = engine(spark, delivered, request)
    alone, _ = engine(spark, [row for row in delivered if row["available"] <= as_of], request)
    assert in_order(whole) == in_order(alone)
    revised = [revisions for revisions in all_revisions(delivered, plain()) if becomes_known(revisions[-1]) > as_of]
    assert any(becomes_known(revisions[0]) <= as_of for revisions in revised)


def test_sides_by_keys_and_by_time(spark: SparkSession) -> None:
    delivered = histories(SEEDS)
    given: dict[str, Any] = {
        "keys": {"customer": "customer_id", "merchant": "merchant"}, "at": "payments",
        "label": CountLabel("payments", until="6 h"),
    }  # fmt: skip
    shares = {"train": 0.5, "test": 0.3, "validation": 0.2}
    by_keys, _ = engine(spark, delivered, LabelRequest(**given, split=GroupSplit(["merchant", "customer"], shares, 7)))
    for row in by_keys:
        wanted = oracle.group_split(row, keys=("merchant", "customer"), fractions=shares, seed=7)
        assert row["split"] == wanted
    assert {row["split"] for row in by_keys} == set(shares)
    times = sorted(row["event_timestamp"] for row in by_keys)
    cuts = (times[len(times) // 3], by_keys[0]["label_available"])
    cuts = (cuts[0], cuts[1]) if cuts[1] > cuts[0] + 2 * HOUR else (cuts[0], cuts[0] + DAY)
    split = TimeSplit(tuple(at(cut) for cut in cuts), timedelta(hours=1))
    by_time, _ = engine(spark, delivered, LabelRequest(**given, split=split))
    for row in by_time:
        assert row["split"] == oracle.time_split(row, cuts=cuts, embargo=HOUR)
    assert {row["split"] for row in by_time} == {"train", "validation", "test", "embargo"}


def test_edges_of_a_window_and_of_a_cut(spark: SparkSession) -> None:
    def row(number: int, event: int, available: int | None = None, customer: str = "c") -> dict[str, Any]:
        return {"row_id": number, "number": 0, "event": START + event, "customer_id": customer, "merchant": "m",
                "amount": 1.0, "kind": "a", "ok": True,
                "available": START + (event if available is None else available)}  # fmt: skip

    delivered = [row(1, 0), row(2, HOUR), row(3, HOUR), row(4, 3 * HOUR, 5 * HOUR), row(5, 6 * HOUR, customer="d")]
    split = TimeSplit((at(START + 3 * HOUR), at(START + 5 * HOUR)), timedelta(hours=1))
    request = LabelRequest(BY_CUSTOMER, "payments", CountLabel("payments", until="3 h", after="1 h"), split=split)
    found, known = engine(spark, delivered, request)
    assert known == START + 6 * HOUR
    told = sorted((row["event_timestamp"] - START, row["label"], row["label_available"] - START) for row in found)
    # an event at T + after is out, one at T + until is in; a late row is waited for; what is not over yet is left out
    assert told == [(0, 1, 5 * HOUR), (HOUR, 1, 5 * HOUR), (HOUR, 1, 5 * HOUR), (3 * HOUR, 0, 6 * HOUR)]
    assert {row["event_timestamp"] - START: row["split"] for row in found} == {
        0: "embargo", HOUR: "embargo", 3 * HOUR: "embargo"
    }  # fmt: skip
    later = TimeSplit((at(START + 5 * HOUR + 1),), timedelta(hours=1))
    found, _ = engine(spark, delivered, LabelRequest(**{**vars(request), "split": later}))
    assert {row["event_timestamp"] - START: row["split"] for row in found} == {
        0: "train", HOUR: "train", 3 * HOUR: "embargo"
    }  # fmt: skip


def test_columns_and_weights(spark: SparkSession) -> None:
    delivered = histories(SEEDS)
    texts: dict[str, Any] = {"known_before": ["amount", "kind"]}
    request = LabelRequest(
        {"customer": "customer_id"}, "payments", CountLabel("payments", until="12 h"), name="next",
        negatives=NegativeSampling(0.4, seed=5), split=GroupSplit("customer", {"a": 0.5, "b": 0.5}),
        columns={"weekday": "day_of_week(event_timestamp, 'Europe/Berlin')", "is_a": "kind = 'a'", "log": "ln(amount)",
                 "who": "concat('the ', customer)", "amount": "amount"},
    )  # fmt: skip
    found, _ = engine(spark, delivered, request, **texts)
    names = ["customer", "event_timestamp", "next", "label_available", "weight", "split"]
    assert list(found[0]) == [*names, *request.column_texts]
    whole, _ = engine(spark, delivered, LabelRequest(BY_CUSTOMER, "payments", request.label, name="next"), **texts)
    kept = [row for row in whole if row["next"] > 0 or chance("negatives", 5, row, ["customer"]) < 0.4]
    assert in_order([{k: row[k] for k in names[:4]} for row in found]) == in_order(kept)
    assert 0 < len(kept) < len(whole)
    for row in found:
        moment = at(row["event_timestamp"]) + timedelta(hours=1)  # winter in Berlin
        assert row["weekday"] == moment.isoweekday()
        assert row["weight"] == (1.0 if row["next"] else 2.5)
        assert row["who"] == f"the {row['customer']}"
        if row["amount"] is not None and row["amount"] > 0:
            assert math.isclose(row["log"], math.log(row["amount"]), rel_tol=1e-15)
        else:
            assert row["log"] is None
    assert {row["is_a"] for row in found} == {True, False, None}


def test_a_label_may_be_of_fewer_keys_and_of_another_source(spark: SparkSession) -> None:
    delivered, others = histories(range(4)), histories(range(4), rows=30)
    text = source()
    returns = source(name="returns", columns={**COLUMNS, "row_id": "int"}, keys=["row_id"], order=[])
    request = LabelRequest(
        ["row_id", "customer_id"], "payments", CountLabel("returns", until="1 d", by={"customer_id": "customer_id"}),
        as_of=at(middle(others, 0.9)),
    )  # fmt: skip
    plan = plan_of_labels(request, {"payments": text, "returns": returns})
    theirs = frame(spark, others, source()).withColumn("row_id", F.col("row_id").cast("int"))
    reached = known_until(theirs, plan.counted, request.as_of_us or 0).collect()[0][0]
    found = labeled_spine(
        frame(spark, delivered, text), theirs, plan, as_of_us=request.as_of_us or 0, watermark_us=reached
    )
    assert found.schema["row_id"].dataType.simpleString() == "bigint"
    rows = rows_of(found)
    wanted = oracle.labeled_spine(
        delivered, others,
        oracle.LabelRequest(
            keys=BY_CUSTOMER, spine=plain(), label="label", kind="count", as_of=request.as_of_us or 0,
            source=plain(order=False), until=DAY,
        ),
    )  # fmt: skip
    assert len(wanted) > 10
    mine = [{"customer": row.pop("customer_id"), **{k: v for k, v in row.items() if k != "row_id"}} for row in rows]
    assert in_order(mine) == in_order(wanted)


def write_store(folder: Path, delivered: Rows) -> Path:
    conf = folder / "conf"
    conf.mkdir(parents=True)
    (conf / "store.yaml").write_text("root: ../store\nonline: sqlite:///../online.sqlite\n", "utf-8")
    of_payments = {
        "parquet": "../payments/*.parquet", "keys": ["row_id"], "columns": COLUMNS, "event": "paid_at",
        "available": "known_at", "order": ["number"], "known_before": ["kind"], "filter": FILTER,
    }  # fmt: skip
    nothing = {**of_payments, "filter": "amount > 1e308"}
    (conf / "sources.yaml").write_text(yaml.safe_dump({"sources": {"payments": of_payments, "nothing": nothing}}))
    write_parquet(folder / "payments", "1.parquet", delivered)
    return conf / "store.yaml"


def test_the_store_brings_sources_in_and_answers(spark: SparkSession, tmp_path: Path) -> None:
    delivered = histories(range(3))
    store = FeatureStore.open(write_store(tmp_path, delivered), spark)
    request = LabelRequest(BY_CUSTOMER, "payments", CountLabel("payments", until="12 h"), columns=["kind"])
    spine = store.spine(request)
    assert spine.columns == ["customer", "event_timestamp", "label", "label_available", "kind"]
    wanted, newest = engine(spark, delivered, request, filter=FILTER, known_before=["kind"])
    assert in_order(rows_of(spine)) == in_order(wanted)

    earlier = LabelRequest(**{**vars(request), "as_of": at(middle(delivered, 0.5))})
    wanted, _ = engine(spark, delivered, earlier, filter=FILTER, known_before=["kind"])
    assert in_order(rows_of(store.spine(earlier))) == in_order(wanted)

    # rows that come later are brought in, and change nothing of what was known before
    later: Rows = [
        {**delivered[0], "row_id": 9000 + day, "customer_id": "late", "amount": 1.0,
         "event": newest + day * DAY, "available": newest + day * DAY} for day in (1, 2)
    ]  # fmt: skip
    write_parquet(tmp_path / "payments", "2.parquet", later)
    (asked,) = store.spine(request).where("customer = 'late'").toArrow().to_pylist()
    assert (us(asked["event_timestamp"]), asked["label"]) == (newest + DAY, 0)
    assert in_order(rows_of(store.spine(earlier))) == in_order(wanted)

    for fault, text in (
        (LabelRequest(BY_CUSTOMER, "payment", request.label), "did you mean 'payments'"),
        (
            LabelRequest(BY_CUSTOMER, "payments", CountLabel("nothing", until="1 d")),
            "holds no rows that pass its filter",
        ),
        (LabelRequest(**{**vars(request), "as_of": datetime(1999, 1, 1, tzinfo=UTC)}), "held no rows at 1999"),
    ):
        with pytest.raises(RequestError, match=text) as raised:
            store.spine(fault)
        assert "\nHint: " in str(raised.value)
    with pytest.raises(RequestError, match="holds its columns itself"):
        store.spine(request, columns=["kind"])
