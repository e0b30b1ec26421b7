"""Law 8: what is answered online at a time is what the join gives then on the exported version, and goes on beyond."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from fs_spark.errors import RequestError
from fs_spark.online.export import _check_keys
from fs_spark.training.chosen import ChosenView
from fs_spark.transforms.as_of import AsOfView, as_of_join
from tests.online.stores import ACTIVITY, NOON, TYPES, open_payments, reading
from tests.oracles import state_views
from tests.oracles.histories import START
from tests.oracles.joins import Join
from tests.oracles.online import answered
from tests.oracles.sources import DAY, HOUR, Source, watermark
from tests.oracles.state_views import StateView, Statistic, Window
from tests.views.histories import at, same, us, view_of
from tests.views.test_states import READS, histories

SLA = 12 * HOUR
PLAIN = {"amount__sum_6h": "amount__sum_6h", "amount__sum_24h": "amount__sum_24h", "rows_3r": "rows_3r"}
VIEW = "activity__v1.0"
PLACE = {"day": date(2025, 3, 3), "site": 1, "line": 2**40, "name": "µ"}
VALUES: dict[str, Any] = {
    "flag": True, "small": -(2**31), "big": 2**63 - 1, "ratio": float("inf"), "note": "", "due": date(9999, 12, 31),
    "seen": datetime(1, 1, 1, tzinfo=UTC), "profile": [1.0, None, -0.0],
}  # fmt: skip


@dataclass
class World:
    store: FeatureStore
    delivered: list[dict[str, Any]]
    mark: int
    keys: list[str]


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    delivered = [row for row in histories(range(3)) if row["available"] <= START + 60 * HOUR]  # while windows are full
    readings = [
        reading(0, note="first", ratio=1.0, profile=[]),
        reading(2, **VALUES, ends=NOON + timedelta(hours=8)),
        reading(9, 5, note="said before"),
        {**reading(0, ratio=float("nan")), "name": "other"},
    ]
    store = open_payments(tmp_path_factory.mktemp("law"), spark, delivered, readings)
    mark = watermark(delivered, Source(keys=("row_id",), reads=READS, order=("number",)))
    keys = sorted({row["customer_id"] for row in delivered if row["customer_id"] is not None})
    return World(store, delivered, mark, [*keys, "nobody"])


def ask(world: World, times: Sequence[int]) -> list[dict[str, Any]]:
    """What the service answers for every customer, who also pays, at each time."""
    found = []
    with world.store.online() as online:
        for time in times:
            keys = [{"customer_id": one, "payer_id": one} for one in world.keys]
            for answer in online.get("spending", keys, at=at(time), status=True, with_times=True):
                found.append({**answer, "time": time})
    return found


def joined(world: World, times: Sequence[int]) -> list[dict[str, Any]]:
    """The same questions joined offline."""
    spark = world.store._tables.spark
    rows = [(one, at(time)) for time in times for one in world.keys]
    spine = spark.createDataFrame(rows, "customer_id string, event_timestamp timestamp")
    frame = world.store.table("activity")
    given: dict[str, Any] = {
        "name": "activity", "frame": frame, "keys": ("customer_id",), "ttl": timedelta(days=3),
        "last_event": "last_event_timestamp",
    }  # fmt: skip
    views = [
        AsOfView(**given, columns=PLAIN, since_as="since_last", event_as="event"),
        AsOfView(**{**given, "name": "kind"}, columns=["kind__last_6h"], nulls="skip"),
        AsOfView(**{**given, "name": "mean"}, columns={"payer_mean": "amount__mean_24h"}, nulls="skip"),
    ]
    found = as_of_join(spine, views).toArrow().to_pylist()
    return [{**row, "time": us(row.pop("event_timestamp"))} for row in found]


def test_answers_up_to_the_watermark_are_the_join(world: World) -> None:
    rng = random.Random(8)
    begin = world.mark - 30 * HOUR - rng.randrange(HOUR)
    assert not world.store.export("spending", at=at(begin)).current
    times = [begin, world.mark, *(rng.randrange(begin, world.mark + 1) for _ in range(40))]
    # the instants themselves, where the boundary counts
    times += [row["available"] for row in world.delivered if begin <= row["available"] <= world.mark][:40]
    asked = {(row["customer_id"], row["time"]): row for row in ask(world, times)}
    assert world.store.export("spending", at=at(world.mark)).current  # it reaches as far
    wanted = joined(world, sorted({time for _, time in asked}))
    assert len(wanted) == len(asked)
    given = 0
    for row in wanted:
        answer = asked[row["customer_id"], row["time"]]
        for name in (*PLAIN, "since_last", "kind__last_6h", "payer_mean"):
            assert same(answer[name], row[name]), (name, row, answer)
        assert answer["payer__rows_3r"] == answer["rows_3r"]
        assert us(answer[f"{VIEW}__event_timestamp"]) == us(row["event"])
        assert answer[f"{VIEW}__status"] in (("missing", "stale") if row["event"] is None else ("present",))
        given += row["event"] is not None
    assert given > 200


def test_answers_beyond_the_watermark_are_those_of_the_same_rows(world: World) -> None:
    rng = random.Random(9)
    late = world.mark + 5 * HOUR
    world.store.export("spending", at=at(late))
    until = late + SLA
    statistics = (
        Statistic("amount__sum_6h", "sum", "amount", Window(6 * HOUR)),
        Statistic("amount__sum_24h", "sum", "amount", Window(DAY)),
        Statistic("amount__mean_24h", "mean", "amount", Window(DAY)),
        Statistic("amount__mean_6h", "mean", "amount", Window(6 * HOUR)),
        Statistic("kind__last_6h", "last", "kind", Window(6 * HOUR)),
        Statistic("rows_3r", "rows", None, Window(last=3, max_age=2 * DAY)),
    )
    source = Source(keys=("row_id",), reads=READS, order=("number",))
    oracle = StateView(source, {"customer_id": "customer_id"}, statistics)
    rows = state_views.state_rows(world.delivered, oracle, until)
    due = [row["event_timestamp"] for row in rows if row["event_timestamp"] > world.mark]
    assert due
    join = Join({"customer_id": "customer_id"}, tuple(PLAIN), "strictly_before", ttl=3 * DAY, is_state=True,
                since_last="since_last")  # fmt: skip
    known = Join({"customer_id": "customer_id"}, ("kind__last_6h", "amount__mean_24h"), "strictly_before", ttl=3 * DAY,
                 is_state=True, skip_nulls=True)  # fmt: skip
    instants = [world.mark, world.mark + 1, until, *due, *(one + 1 for one in due if one < until)]
    statuses = set()
    for answer in ask(world, [*instants, *(rng.randrange(world.mark, until) for _ in range(20))]):
        wanted, status = answered(answer, answer["time"], rows, join, fresh_at=world.mark, sla=SLA)
        for name in PLAIN:
            assert same(answer[name], wanted[name]), (name, answer)
        last = wanted["since_last"]
        assert same(answer["since_last"], None if last is None else last / 1e6)
        assert answer[f"{VIEW}__status"] == answer[f"payer__{VIEW}__status"] == status
        others, _ = answered(answer, answer["time"], rows, known, fresh_at=world.mark, sla=SLA)
        assert same(answer["kind__last_6h"], others["kind__last_6h"]), answer
        assert same(answer["payer_mean"], others["amount__mean_24h"]), answer
        statuses.add(status)
    assert statuses == {"present", "stale", "missing"}
    held, past = ask(world, [until]), ask(world, [until + 1])
    assert {row[f"{VIEW}__status"] for row in past} == {"beyond"}
    assert [row["rows_3r"] for row in held] == [row["rows_3r"] for row in past]


def test_an_export_is_repeated_when_more_becomes_due(world: World) -> None:
    store, late = world.store, world.mark + 9 * HOUR
    assert not store.export("spending", at=at(late)).current
    assert store.export("spending", at=at(late)).current
    assert store.export("spending", at=at(late + HOUR // 4)).current
    assert not store.export("spending", at=at(late + HOUR)).current
    with store.online() as online:
        until = {view.until_us for view in online.describe("spending").views}
    assert until == {late + HOUR + SLA}
    assert not store.export("spending", at=at(world.mark - HOUR)).current  # which has rows that the last has not
    assert store.export("spending", at=at(world.mark - HOUR // 2)).current


def test_one_column_of_a_request_is_a_key_of_one_type() -> None:
    by_text = ChosenView(view_of(ACTIVITY), {}, "payer", {"customer_id": "id"})
    by_number = ChosenView(view_of({**ACTIVITY, "name": "single", "entity": "payment"}), {}, "one", {"row_id": "id"})
    _check_keys([by_text, by_text])
    text = r"'id' is string in payer\.activity__v1\.0 and integer in one\.single__v1\.0"
    with pytest.raises(RequestError, match=text):
        _check_keys([by_text, by_number])


def test_every_type_is_answered_as_it_is_stored(world: World) -> None:
    store = world.store
    assert not store.export("places", at=NOON + timedelta(hours=3)).current
    assert store.export("places", at=NOON + timedelta(hours=3, minutes=30)).current
    with store.online() as online:

        def get(hours: float, **more: Any) -> dict[str, Any]:
            (found,) = online.get("places", [{**PLACE, **more}], at=NOON + timedelta(hours=hours), status=True)
            return {name: found[name] for name in (*TYPES, "readings__v1.0__status")}

        nothing = dict.fromkeys(TYPES)
        assert get(4) == {**VALUES, "readings__v1.0__status": "present"}
        assert get(4, day="2025-03-03") == get(4)
        assert get(2) == get(4)  # a row that ends is seen at its own event
        assert get(1.9) == {**nothing, "readings__v1.0__status": "missing"}  # the row before is not held any more
        assert get(7.9) == get(4)
        assert get(8) == {**nothing, "readings__v1.0__status": "stale"}  # it ended
        assert get(9) == {**nothing, "note": "said before", "readings__v1.0__status": "present"}
        other = get(4, name="other")
        assert other["ratio"] is None  # a NaN
        assert get(27.1)["readings__v1.0__status"] == "stale"
        assert get(24 * 11)["readings__v1.0__status"] == "stale"
        assert get(4, site=2)["readings__v1.0__status"] == "missing"
        with pytest.raises(RequestError, match="column 'day' is date, found 20250303"):
            online.get("places", [{**PLACE, "day": 20250303}])
        with pytest.raises(RequestError, match="without a zone"):
            online.get("places", [PLACE], at=datetime(2025, 3, 3))
