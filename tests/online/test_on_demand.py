"""Features on demand: the same bits in the join, in the reader and in plain Python; asked and refused."""

from __future__ import annotations

import json
import math
import random
import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore, leaks
from fs_spark.cli import main
from fs_spark.errors import RequestError, SchemaError
from fs_spark.kernels.elementary import logarithms
from tests.online.stores import open_payments, reading
from tests.oracles.histories import START
from tests.oracles.sources import HOUR, Source, watermark
from tests.views.histories import at
from tests.views.test_states import READS, histories

OWN: dict[str, Any] = {
    "name": "own", "version": "1.0", "entity": "customer",
    "transform": {
        "kind": "expressions", "on_demand": True,
        "request": {"amount": "double", "paid": "timestamp", "word": "string"},
        "inputs": [{"view": "activity", "as": "c"}],
    },
    "features": {
        "ratio": "amount / c.amount__mean_24h",
        "above": "amount > 2 * c.amount__sum_6h",
        "waited": "ln(c.since_last + 1)",
        "night": "hour(event_timestamp, 'Europe/Berlin') < 6",
        "age_s": "seconds_between(paid, event_timestamp)",
        "same_kind": "coalesce(word = c.kind__last_6h, false)",
        "who": "concat(customer_id, '/', word)",
        "twice": {"expression": "ratio * 2", "description": "of a feature before it"},
    },
}  # fmt: skip
NOW: dict[str, Any] = {
    "name": "now", "version": "1.0", "entity": "customer",
    "transform": {"kind": "expressions", "on_demand": True, "request": {"amount": "double"}},
    "features": {"root": "sqrt(amount)", "weekday": "day_of_week(event_timestamp, 'UTC')"},
}  # fmt: skip
FEATURES = [f"own:{name}" for name in OWN["features"]]
SERVICES = {
    "services": {
        "demanded": {"features": [*FEATURES, "activity:rows_3r"]},
        "payers": {"features": ["payer.own:ratio", "payer.own:who"], "roles": {"payer": {"customer_id": "payer_id"}}},
        "moment": {"features": ["now:root", "now:weekday", "activity:rows_3r"]},
        "spending": {"features": ["activity:rows_3r"]},
    }
}
FILES = {"views/own.yaml": OWN, "views/now.yaml": NOW, "services.yaml": SERVICES}
DOUBLES = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, 5e-324, 1e308, 1.5, -3.0]))
TIMES = st.one_of(st.none(), st.datetimes(datetime(1950, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC)))
WORDS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "Ω"]))


@dataclass
class World:
    store: FeatureStore
    mark: int
    keys: list[str]


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    delivered = [row for row in histories(range(3)) if row["available"] <= START + 60 * HOUR]
    store = open_payments(tmp_path_factory.mktemp("demand"), spark, delivered, [reading(0)], FILES)
    mark = watermark(delivered, Source(keys=("row_id",), reads=READS, order=("number",)))
    keys = sorted({row["customer_id"] for row in delivered if row["customer_id"] is not None})
    store.export("demanded", at=at(mark - 30 * HOUR))
    return World(store, mark, [*keys, "nobody"])


def finite(x: float | None) -> float | None:
    return None if x is None or not math.isfinite(x) else x + 0.0


def plain(key: str, t: datetime, brought: dict[str, Any], joined: dict[str, Any]) -> dict[str, Any]:
    """What the expressions say, in plain Python, of what the join gave of `activity`."""
    amount, mean, total = finite(brought["amount"]), joined["amount__mean_24h"], joined["amount__sum_6h"]
    paid, word, since = brought["paid"], brought["word"], joined["since_last"]
    ratio = None if amount is None or mean is None or mean == 0 else finite(amount / mean)
    known = total is not None and finite(2 * total) is not None
    return {
        "ratio": ratio,
        "above": amount > 2 * total if amount is not None and known else None,
        "waited": None if since is None else finite(float(logarithms([since + 1.0])[0])),
        "night": t.astimezone(ZoneInfo("Europe/Berlin")).hour < 6,
        "age_s": None if paid is None else (t - paid) / timedelta(seconds=1),
        "same_kind": word is not None and word == joined["kind__last_6h"],
        "who": None if word is None else f"{key}/{word}",
        "twice": None if ratio is None else finite(ratio * 2),
    }


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


ROWS = st.lists(st.fixed_dictionaries({"amount": DOUBLES, "paid": TIMES, "word": WORDS}), min_size=12, max_size=12)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(rows=ROWS, seed=st.integers(0, 1000))
def test_the_join_the_reader_and_python_give_the_same_bits(world: World, rows: list[dict[str, Any]], seed: int) -> None:
    rng = random.Random(seed)
    spine = []
    for k, row in enumerate(rows):
        time = world.mark - rng.randrange(29 * HOUR)
        spine.append({"customer_id": world.keys[k % len(world.keys)], "event_timestamp": at(time), **row})
    frame = pd.DataFrame(spine).astype({"amount": "float64", "word": "string"})
    for name in ("event_timestamp", "paid"):
        frame[name] = pd.to_datetime(frame[name], utc=True).astype("datetime64[us, UTC]")
    read = ["activity:amount__mean_24h", "activity:amount__sum_6h", "activity:since_last", "activity:kind__last_6h"]
    name = f"set_{len(world.store.training_sets())}"
    built = world.store.training_set(frame, [*FEATURES, *read], name=name)
    assert not [c for c in built.df.columns if c.startswith("_of__")]
    assert world.store.reproduce(name).digest == built.digest
    got = built.df.toArrow().to_pylist()
    wanted_order = [*frame.columns, *(one.split(":")[1] for one in [*read, *FEATURES])]
    assert sorted(built.df.columns) == sorted(wanted_order)
    by_row = {(row["customer_id"], row["event_timestamp"], repr(row["word"]), bits(row["amount"])): row for row in got}
    with world.store.online() as online:
        for one in spine:
            amount = None if one["amount"] is None or math.isnan(one["amount"]) else one["amount"]
            key, t = one["customer_id"], one["event_timestamp"]
            offline = next(
                row for (k, moment, word, _), row in by_row.items()
                if k == key and moment == t and word == repr(one["word"]) and _same(row["amount"], amount)
                and row["paid"] == one["paid"]
            )  # fmt: skip
            request = {name: one[name] for name in ("amount", "paid", "word")}
            (answer,) = online.get("demanded", [{"customer_id": key}], at=t, request=request)
            wanted = plain(key, t, one, offline)
            for feature, value in wanted.items():
                assert bits(offline[feature]) == bits(value), (feature, one, offline)
                assert bits(answer[feature]) == bits(value), (feature, one, answer)
            assert list(answer) == ["customer_id", "rows_3r", *OWN["features"]]


def _same(found: float | None, amount: float | None) -> bool:
    if found is not None and math.isnan(found):
        found = None
    return found == amount


def test_in_a_role_and_without_any_view(world: World) -> None:
    store = world.store
    time = at(world.mark - HOUR)
    frame = pd.DataFrame({"payer_id": world.keys[:2], "amount": [4.0, 9.0], "word": ["x", "y"],
                          "event_timestamp": pd.to_datetime([time, time])})  # fmt: skip
    roles = {"payer": {"customer_id": "payer_id"}}
    built = store.training_set(frame, ["payer.own:ratio", "payer.own:who"], name="payers", roles=roles)
    plain_ = store.training_set(
        frame.rename(columns={"payer_id": "customer_id"}), ["own:ratio", "own:who"], name="customers"
    )
    by_role = {row["payer_id"]: (row["payer__ratio"], row["payer__who"]) for row in built.df.collect()}
    by_key = {row["customer_id"]: (row["ratio"], row["who"]) for row in plain_.df.collect()}
    assert by_role == by_key
    assert built.features == {"payer.own__v1.0": ["payer__ratio", "payer__who"]}
    assert any(value[0] is not None for value in by_key.values())
    store.export("payers", at=at(world.mark - 30 * HOUR))
    with store.online() as online:
        found = online.get("payers", [{"payer_id": k} for k in world.keys[:2]], at=time,
                           request=[{"amount": 4.0, "word": "x"}, {"amount": 9.0, "word": "y"}])  # fmt: skip
    assert {row["payer_id"]: (row["payer__ratio"], row["payer__who"]) for row in found} == by_key
    alone = store.training_set(frame, ["now:root", "now:weekday"], name="alone")
    assert sorted(row["root"] for row in alone.df.collect()) == [2.0, 3.0]
    assert store.reproduce("alone").digest == alone.digest
    assert "root = sqrt(amount)" in store.training_sets().describe("alone")
    kept = store.training_set(frame.assign(customer_id=world.keys[:2]), FEATURES[:1], name="kept_spine",
                              rules=_rules())  # fmt: skip
    assert {row["ratio"] for row in store.training_sets()["kept_spine"].df.collect()} == {v[0] for v in by_key.values()}
    assert kept.features == {"own__v1.0": ["ratio"]}
    assert kept.manifest["on_demand"][0]["values"] == {"ratio": "amount / c.amount__mean_24h"}


def _rules() -> Any:
    from fs_spark.training import TrainingRules

    return TrainingRules(keep="spine", offset={"activity": timedelta(0)})


def test_a_training_set_with_features_on_demand_is_checked_for_leaks(world: World) -> None:
    rng = random.Random(3)
    count = 40
    frame = pd.DataFrame({
        "customer_id": [world.keys[k % len(world.keys)] for k in range(count)],
        "amount": [rng.uniform(1, 9) for _ in range(count)], "word": ["a"] * count,
        "event_timestamp": pd.to_datetime([at(world.mark - rng.randrange(29 * HOUR)) for _ in range(count)]),
        "label": [rng.random() < 0.5 for _ in range(count)],
    })  # fmt: skip
    built = world.store.training_set(frame, ["own:ratio", "own:waited", "activity:rows_3r"], name="checked")
    report = leaks.check(built, label="label", store=world.store)
    assert report.ok, report.to_text()
    assert {(one.check, one.view, one.rows) for one in report.ran} >= {
        ("oracle", "own__v1_0", 40), ("oracle", "activity__v1_0", 40), ("future at the join", "activity__v1_0", 40),
    }  # fmt: skip
    wrong = built.df.withColumn(
        "waited", F.col("waited") + F.when(F.col("customer_id") == world.keys[0], 1.0).otherwise(0)
    )
    found = leaks.check(replace(built, df=wrong), label="label", store=world.store)
    assert {(leak.kind, leak.view, leak.feature) for leak in found.faults} == {("oracle", "own__v1_0", "waited")}
    leaking = world.store.training_set(
        frame.assign(amount=frame["label"].astype(float)), [{"feature": "now:root", "as": "told"}], name="leaking"
    )
    limits = leaks.LeakLimits(class_rows=5)
    assert not leaks.check(leaking, label="label", store=world.store, limits=limits).ok


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing brought": ({}, "request 0 lacks amount, paid, word, which own__v1.0 computes with"),
    "a column less": ({"amount": 1.0, "word": "a"}, "lacks paid"),
    "a column too many": ({"amount": 1.0, "paid": None, "word": "a", "more": 1}, "has more, which nothing reads"),
    "a text for a number": ({"amount": "1", "paid": None, "word": "a"}, "column 'amount' is double, found '1'"),
    "a time without a zone": (
        {"amount": 1.0, "paid": datetime(2025, 1, 1), "word": "a"}, "'paid' is timestamp, with a zone",
    ),
    "a truth for a number": ({"amount": True, "paid": None, "word": "a"}, "column 'amount' is double, found True"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_a_request_that_cannot_be_answered(world: World, case: str) -> None:
    request, words = FAULTS[case]
    with world.store.online() as online, pytest.raises(RequestError, match=words.replace("'", ".")):
        online.get("demanded", [{"customer_id": "x"}], request=request)


def test_requests_are_one_for_all_or_one_for_each_key(world: World) -> None:
    one = {"amount": 1.0, "paid": None, "word": "a"}
    with world.store.online() as online:
        with pytest.raises(RequestError, match="has 1 entries for 2 keys"):
            online.get("demanded", [{"customer_id": "x"}, {"customer_id": "y"}], request=[one])
        asked = online.get("demanded", [{"customer_id": "x"}], ["rows_3r"])
        assert list(asked[0]) == ["customer_id", "rows_3r"]
        assert online.get("demanded", [{"customer_id": "x"}], ["rows_3r"], request=one) == asked
        numbers = {"amount": np.float32(1.5), "paid": None, "word": None}
        assert online.get("demanded", [{"customer_id": "x"}], ["above"], request=numbers)[0]["above"] is None
        held = online.get("demanded", [{"customer_id": "x", "amount": 1.0}], ["above"])  # a key may bring it
        assert held[0]["above"] is None


def test_a_spine_that_brings_too_little(world: World) -> None:
    frame = pd.DataFrame({"customer_id": ["x"], "event_timestamp": [pd.Timestamp(at(world.mark))], "word": [1]})
    before = list(world.store.training_sets())
    with pytest.raises(SchemaError) as caught:
        world.store.training_set(frame, FEATURES, name="too_little")
    told = str(caught.value)
    assert "the spine lacks 'amount' (double), which own__v1.0 computes with" in told
    assert "'word' is bigint in the spine and string in own__v1.0. Hint: cast it" in told
    timeless = frame.drop(columns="event_timestamp").assign(amount=1.0)
    with pytest.raises(SchemaError, match="lacks its time column"):
        world.store.training_set(world.store._tables.spark.createDataFrame(timeless), ["now:root"], name="timeless")
    with pytest.raises(RequestError, match="is computed on demand"):
        world.store.training_set(frame, [{"feature": "own:ratio", "nulls": "skip"}], name="skipped")
    with pytest.raises(RequestError, match="two features are called 'rows_3r'"):
        world.store.training_set(frame, ["activity:rows_3r", {"feature": "own:ratio", "as": "rows_3r"}], name="twice")
    assert list(world.store.training_sets()) == before


def test_it_has_no_table(world: World) -> None:
    with pytest.raises(RequestError, match=r"own__v1\.0: computed on demand, from no table of its own"):
        world.store.materialize(["own"])
    with pytest.raises(RequestError, match=r"own__v1\.0 is computed on demand"):
        world.store.table("own")
    assert "own__v1.0" not in {outcome.view for outcome in world.store.materialize().views}


def test_on_the_command_line(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    conf = str(world.store.config.folder / "store.yaml")
    words = ["get", "demanded", '{"customer_id": "x"}', "--conf", conf, "--features", "who"]
    assert main([*words, "--request", '{"word": "a"}']) == 0
    assert json.loads(capsys.readouterr().out) == {"customer_id": "x", "who": "x/a"}
    assert main(words) == 2
    assert "lacks word" in capsys.readouterr().err


def test_old_publications_are_read(world: World, tmp_path: Path) -> None:
    with world.store.online() as online:
        record = online.describe("demanded")
    told = json.loads(record.to_json())
    assert told["on_demand"][0]["view"] == "own__v1.0"
    assert type(record).from_json(json.dumps({k: v for k, v in told.items() if k != "on_demand"})).on_demand == ()
    assert type(record).from_json(record.to_json()) == record
