"""What a request for labels may ask, and what its faults say. No Spark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from fs_spark import (
    ColumnLabel,
    CountLabel,
    Every,
    FsSparkError,
    GroupSplit,
    LabelRequest,
    NegativeSampling,
    SumLabel,
    TimeSplit,
)
from fs_spark.errors import LeakageError, RequestError
from fs_spark.features.label_plan import plan_of_labels
from fs_spark.features.source import SourceText

NOW = datetime(2025, 1, 1, tzinfo=UTC)
SHARES = {"train": 0.5, "test": 0.5}
WEEK = CountLabel("payments", until="7 d")
SOURCES = {
    one.name: one
    for one in (
        SourceText.model_validate(
            {
                "name": "payments", "csv": "payments.csv", "keys": ["payment_id"], "event": "paid_at",
                "columns": {"payment_id": "bigint", "customer_id": "string", "amount": "double", "returned": "boolean",
                            "paid_at": "timestamp", "trace": "array<double>", "cents": "int"},
                "known_before": ["amount", "cents"],
            }
        ),
        SourceText.model_validate(
            {
                "name": "chargebacks", "csv": "chargebacks.csv", "keys": ["id"], "event": "at",
                "columns": {"id": "int", "payment": "int", "customer_id": "int", "at": "timestamp"},
            }
        ),
        SourceText.model_validate(
            {"name": "customers", "csv": "customers.csv", "keys": ["customer_id"],
             "columns": {"customer_id": "string", "country": "string"}}
        ),
    )
}  # fmt: skip
GIVEN: dict[str, Any] = {"keys": ["customer_id"], "at": "payments", "label": WEEK}


def day(number: int) -> datetime:
    return NOW + timedelta(days=number)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"keys": []}, "keys is empty"),
        ({"keys": {"Customer": "customer_id"}}, "'Customer' cannot name a column"),
        ({"keys": {"event_timestamp": "customer_id"}}, "event_timestamp would be in the spine twice"),
        ({"keys": "customer_id"}, r"keys=\['customer_id'\]"),
        ({"name": "customer_id"}, "customer_id would be in the spine twice"),
        ({"name": "split"}, "split would be in the spine twice"),
        ({"name": "is late"}, "'is late' cannot name a column"),
        ({"columns": {"label": "amount"}}, "label would be in the spine twice"),
        ({"columns": ["amount", "amount"]}, "name amount twice"),
        ({"columns": "amount"}, "day_of_week"),
        ({"columns": {"weekday": 3}}, "column weekday is 3"),
        ({"at": 3}, "the name of a source, or Every"),
        ({"at": Every("1 d", NOW, day(3)), "label": ColumnLabel("returned")}, "a grid has no row"),
        ({"label": "returned"}, r"ColumnLabel\(\.\.\.\)"),
        ({"as_of": datetime(2025, 1, 1)}, "as_of is .* not a time with a zone"),
        ({"as_of": "2025-01-01"}, "not a time with a zone"),
        ({"negatives": 0.1}, r"NegativeSampling\(fraction=0.1\)"),
        ({"negatives": NegativeSampling(0.1), "label": SumLabel("payments", "cents", until="1 d")}, "a sum does not"),
        ({"split": "customer_id"}, "GroupSplit"),
        ({"split": GroupSplit("merchant", SHARES)}, "split by merchant is of no key; the keys are customer_id"),
        ({"split": GroupSplit(["customer_id", "day"], SHARES)}, "split by day is of no key"),
        ({"label": CountLabel("payments", until="1 d", by={"card": "card"})}, "the label is by card, and the keys are"),
    ],
)
def test_requests_that_cannot_be_asked(more: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError, match=text) as raised:
        LabelRequest(**{**GIVEN, **more})
    assert "\nHint: " in str(raised.value)


@pytest.mark.parametrize(
    ("made", "given", "text"),
    [
        (CountLabel, ["payments", {"until": "0 d"}], "holds no time"),
        (CountLabel, ["payments", {"until": "1 d", "after": "1 d"}], "holds no time"),
        (CountLabel, ["payments", {"until": "1 d", "after": "2 d"}], "longer than `after`"),
        (CountLabel, ["payments", {"until": timedelta(-1)}], "until is .* negative"),
        (CountLabel, ["payments", {"until": "1 d", "after": timedelta(-1)}], "after is .* negative"),
        (CountLabel, ["payments", {"until": "1 d", "lag": timedelta(-1)}], "lag is .* negative"),
        (CountLabel, ["payments", {"until": "-1 d"}], "until: '-1 d' is not a span"),
        (CountLabel, ["payments", {"until": "1 week"}], "not a span"),
        (CountLabel, ["payments", {"until": f"{10**18} d"}], "until: .*too long"),
        (CountLabel, ["payments", {"until": 7}], "until is 7, not a span"),
        (CountLabel, ["", {"until": "1 d"}], "the source of the label is ''"),
        (SumLabel, ["payments", "", {"until": "1 d"}], "the column of the sum is ''"),
        (ColumnLabel, ["returned", timedelta(-1), {}], "lag is .* negative"),
        (
            CountLabel,
            [{"source": "attempt", "insertion": "1"}, {"until": "1 d"}],
            "source of the label 'attempt' is not known.*\nHint: did",
        ),
        (CountLabel, [{"insertion": "2"}, {"until": "1 d"}], "source of the label None is not known"),
        (
            CountLabel,
            [{"source": "attempts", "attempts": "newest"}, {"until": "1 d"}],
            "not known.\nHint: first, latest or",
        ),
        (
            CountLabel,
            [{"source": "lots", "attempts": "first"}, {"until": "1 d"}],
            "option of lots 'attempts' is not known",
        ),
        (
            CountLabel,
            [{"source": "wafer_runs", "parameters": ["vdd"]}, {"until": "1 d"}],
            "option of wafer_runs 'parameters' is not known",
        ),
        (CountLabel, [{"source": "attempts", "parameters": "vdd"}, {"until": "1 d"}], "no list of texts"),
        (CountLabel, [{"source": "attempts", "parameters": None}, {"until": "1 d"}], "no list of texts"),
        (CountLabel, [{"source": "attempts", "parameters": ["site"]}, {"until": "1 d"}], "called like a column of"),
        (CountLabel, [{"source": "attempts", "step": "wafer"}, {"until": "1 d"}], "option of attempts 'step' is not"),
        (CountLabel, [{"source": "attempts", "others": True}, {"until": "1 d"}], "'others' is not known"),
        (CountLabel, [{"source": "attempts", "insertion": 2}, {"until": "1 d"}], "insertion is 2, no text"),
        (CountLabel, [3, {"until": "1 d"}], "the source of the label is 3"),
        (Every, ["0 d", NOW, day(1), {}], "a step of zero"),
        (Every, [timedelta(-1), NOW, day(1), {}], "the step is .* negative"),
        (Every, ["1 d", day(1), NOW, {}], "not after its begin"),
        (Every, ["1 d", NOW, NOW, {}], "not after its begin"),
        (Every, ["1 d", datetime(2025, 1, 1), day(1), {}], "the begin of the grid is .* not a time with a zone"),
        (Every, ["1 d", NOW, datetime(2025, 2, 1), {}], "its end is .* not a time with a zone"),
        (Every, ["1 d", "2025-01-01", day(1), {}], "not a time with a zone"),
        (Every, ["1 s", NOW, day(30), {}], "2592000 times for each key"),
    ],
)
def test_parts_that_cannot_be_asked(made: Any, given: list[Any], text: str) -> None:
    with pytest.raises(RequestError, match=text) as raised:
        made(*given[:-1], **given[-1])
    assert "\nHint: " in str(raised.value)


@pytest.mark.parametrize(
    ("more", "kind", "text"),
    [
        ({"at": "payment"}, RequestError, "source 'payment' is not in sources.yaml.*\nHint: did you mean 'payments'"),
        (
            {"label": CountLabel("sales", until="1 d")},
            RequestError,
            "'sales' is not in sources.yaml; there are attempts, chargebacks",
        ),
        ({"at": "attempts"}, RequestError, "source attempts has no column 'customer_id'"),
        (
            {"at": "attempts", "keys": ["lot_id"], "label": ColumnLabel("site")},
            RequestError,
            "site .* nothing to predict",
        ),
        (
            {"at": "attempts", "keys": ["lot_id"], "label": ColumnLabel("passed"), "columns": ["hard_bin"]},
            LeakageError,
            "hard_bin of source attempts is known at the event",
        ),
        ({"at": "customers"}, RequestError, "customers has no event"),
        ({"label": CountLabel("customers", until="1 d")}, RequestError, "customers has no event"),
        ({"keys": ["customer"]}, RequestError, "payments has no column 'customer'.*\nHint: did you mean 'customer_id'"),
        ({"keys": ["amount"]}, RequestError, "amount of source payments is double, which cannot be a key"),
        (
            {"label": CountLabel("chargebacks", until="1 d")},
            RequestError,
            "customer_id is string in source payments and int",
        ),
        (
            {"keys": ["payment_id"], "label": CountLabel("chargebacks", until="1 d")},
            RequestError,
            "by={key of the request",
        ),
        ({"label": SumLabel("payments", "amont", until="1 d")}, RequestError, "did you mean 'amount'"),
        ({"label": SumLabel("payments", "returned", until="1 d")}, RequestError, "only numbers have a sum"),
        ({"label": ColumnLabel("return")}, RequestError, "did you mean 'returned'"),
        ({"label": ColumnLabel("trace")}, RequestError, "cannot be a label"),
        ({"label": ColumnLabel("amount")}, RequestError, "nothing to predict"),
        ({"label": ColumnLabel("customer_id"), "negatives": NegativeSampling(0.1)}, RequestError, "negatives"),
        ({"label": CountLabel("payments", until="1 d", where="amount >")}, RequestError, "where of the label: "),
        (
            {"label": CountLabel("payments", until="1 d", where="amount")},
            RequestError,
            "where of the label: .*condition",
        ),
        (
            {"columns": {"late": "returned"}},
            LeakageError,
            "column late: returned of source payments .*\nHint: .*amount",
        ),
        ({"columns": ["returned"]}, LeakageError, "returned of source payments"),
        ({"columns": {"x": "amunt + 1"}}, RequestError, "column x: .*amunt"),
        ({"columns": {"x": "amount +"}}, RequestError, "column x: "),
        ({"at": Every("1 d", NOW, day(3)), "columns": ["amount"]}, RequestError, "column amount: "),
    ],
)
def test_what_only_the_sources_tell(more: dict[str, Any], kind: type[FsSparkError], text: str) -> None:
    with pytest.raises(kind, match=f"(?s){text}") as raised:
        plan_of_labels(LabelRequest(**{**GIVEN, **more}), SOURCES)
    assert "Hint: " in str(raised.value)


def test_a_plan_says_what_is_read() -> None:
    request = LabelRequest(
        keys={"payment": "payment_id", "customer": "customer_id"},
        at="payments",
        label=CountLabel("chargebacks", until="30 d", by={"payment": "payment"}),
        columns={"weekday": "day_of_week(event_timestamp, 'Europe/Berlin')", "big": "amount > 100"},
    )
    plan = plan_of_labels(request, SOURCES)
    assert plan.key_types == {"payment": "bigint", "customer": "string"}
    assert (plan.asked.name, plan.counted.name, plan.label_type) == ("payments", "chargebacks", "bigint")
    assert plan.own_columns == ("amount", "cents")
    assert request.label_keys == {"payment": "payment"}
    of_grid = plan_of_labels(LabelRequest(["customer_id"], Every("1 d", NOW, day(9)), WEEK), SOURCES)
    assert (of_grid.asked.name, of_grid.own_columns) == ("payments", ())


def test_equal_requests_are_equal_whatever_they_are_written_with() -> None:
    cet = timezone(timedelta(hours=1))
    one = LabelRequest(["customer_id"], "payments", CountLabel("payments", until="7 d"), as_of=NOW)
    other = LabelRequest(
        {"customer_id": "customer_id"},
        "payments",
        CountLabel("payments", until=timedelta(7)),
        as_of=NOW.astimezone(cet),
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one.as_of_us == 1_735_689_600_000_000
    assert Every("7 h", NOW, day(1)).instants == 4
    assert Every("6 h", NOW, day(1)).instants == 4


def test_splits_by_any_key() -> None:
    split = GroupSplit(["customer_id"], SHARES, seed=3)
    assert hash(split) == hash(GroupSplit(("customer_id",), SHARES, seed=3))
    assert LabelRequest(**GIVEN, split=split).split_keys == ("customer_id",)
    assert LabelRequest(**GIVEN, split=GroupSplit("customer_id", SHARES)).split_keys == ("customer_id",)
    assert LabelRequest(**GIVEN, split=TimeSplit((NOW,))).split_keys == ()
    with pytest.raises(RequestError, match="by is empty"):
        GroupSplit([], SHARES)
