"""What is answered at a moment: which row is seen, whether it still holds, and how the view stands."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_spark.cli import main
from fs_spark.errors import RequestError, SchemaError
from fs_spark.online import OnlineReader, open_online
from fs_spark.online.batches import ViewRows, chunks
from fs_spark.online.codec import RowSchema, encode_key, row_codec
from fs_spark.online.records import DAY_US, ServiceRecord, ViewRecord
from fs_spark.online.sqlite import SqliteOnline
from fs_spark.online.values import HEAD, head
from tests.online.samples import DEVICE, UTC_MICROS, few_rows
from tests.views.histories import at

STATES = ViewRecord(
    "activity__v1.0", ("customer_id",), 7, (("payer__n", "n"),), RowSchema(("n",), ("long",)), role="payer",
    by=("payer_id",), boundary="strictly_before", times=("last_event_timestamp",), ttl_us=100,
    since="payer__since_last", sla_us=10, from_us=50, fresh_us=50, until_us=80,
)  # fmt: skip
KNOWN = dataclasses.replace(
    STATES,
    known="payer__word",
    since=None,
    features=(("payer__word", "word"),),
    schema=RowSchema(("word",), ("string",)),
)
EVENTS = ViewRecord(
    "prices__v1.0", ("item",), 3, (("price", "price"),), RowSchema(("price",), ("double",)), boundary="at_or_before",
    times=("valid_to",), from_us=50, fresh_us=50,
)  # fmt: skip
SHOP = ServiceRecord("shop", (STATES, KNOWN, EVENTS))
KEY = {"payer_id": "c1", "item": "i1"}


def batch(view: ViewRecord, rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    """Keys, event, available, further times, then the columns."""
    kinds = {"long": pa.int64(), "string": pa.string(), "double": pa.float64(), "timestamp": UTC_MICROS}
    fields = [*((key, pa.string()) for key in view.keys)]
    fields += [(name, kinds[kind]) for name, kind in zip(view.stored.names, view.stored.types, strict=True)]
    return pa.record_batch(
        [pa.array([row[i] for row in rows], kind) for i, (_, kind) in enumerate(fields)], names=[n for n, _ in fields]
    )


def rows_of(view: ViewRecord, rows: Sequence[tuple[Any, ...]]) -> ViewRows:
    return ViewRows(view.label, view.keys, view.schema, view.delta_version, [batch(view, rows)])


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[OnlineReader]:
    store = SqliteOnline(tmp_path / "online.db")
    states = [("c1", 40, 40, 38, 5), ("c1", 60, 60, 55, 4), ("c1", 70, 70, None, 0), ("c2", 20, 20, 20, 1)]
    words = [("c1", 30, 30, 30, "a"), ("c1", 60, 60, 55, "b")]
    prices = [("i1", 10, 10, None, 1.0), ("i1", 60, 65, None, 2.0), ("i1", 90, 90, 100, 3.0)]
    tables: tuple[list[tuple[Any, ...]], ...] = (states, words, prices)
    store.publish(SHOP, [rows_of(view, rows) for view, rows in zip(SHOP.views, tables, strict=True)])
    with open_online(f"sqlite:///{store.path}") as reader:
        yield reader


@pytest.mark.parametrize(
    ("time", "n", "since", "status"),
    [
        (40, None, None, "missing"),  # the row of 40 is not seen at 40
        (41, 5, 3, "present"),
        (60, 5, 22, "present"),
        (61, 4, 6, "stale"),
        (70, 4, 15, "stale"),
        (71, None, None, "stale"),  # a group without a row is past any TTL
        (80, None, None, "stale"),
        (81, None, None, "beyond"),
    ],
)
def test_a_state_at_a_moment(reader: OnlineReader, time: int, n: int | None, since: int | None, status: str) -> None:
    (found,) = reader.get("shop", [KEY], ["payer__n", "payer__since_last"], at=at(time), status=True)
    wanted = {"payer__n": n, "payer__since_last": None if since is None else since / 1e6}
    assert _without_age(found) == {**KEY, **wanted, "payer__activity__v1.0__status": status}


def test_an_age_is_counted_from_the_last_event(reader: OnlineReader) -> None:
    key = {**KEY, "payer_id": "c2"}
    for time, n, status in ((79, 1, "stale"), (120, 1, "beyond"), (121, None, "beyond")):
        (found,) = reader.get("shop", [key], ["payer__n"], at=at(time), status=True)
        assert (found["payer__n"], found["payer__activity__v1.0__status"]) == (n, status)
    (found,) = reader.get("shop", [{**KEY, "payer_id": None}], ["payer__n"], at=at(60), status=True)
    assert found["payer__activity__v1.0__status"] == "missing"


def _without_age(answer: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in answer.items() if not name.endswith(("__event_timestamp", "__age_s"))}


def test_known_values_are_of_rows_of_their_own(reader: OnlineReader) -> None:
    for time, word in ((31, "a"), (60, "a"), (61, "b"), (155, "b"), (156, None)):
        (found,) = reader.get("shop", [KEY], ["payer__word"], at=at(time), status=True, with_times=True)
        assert found["payer__word"] == word
        event = found["payer__activity__v1.0__event_timestamp"]  # of the newest row, whatever its word
        assert event == {31: None, 60: at(40), 61: at(60)}.get(time)
        assert set(found) == {
            *KEY,
            "payer__word",
            *(f"payer__activity__v1.0__{c}" for c in ("event_timestamp", "status", "age_s")),
        }


@pytest.mark.parametrize(
    ("time", "price"), [(9, None), (10, 1.0), (64, 1.0), (65, 2.0), (89, 2.0), (90, 3.0), (99, 3.0), (100, None)]
)
def test_a_row_that_ends_leaves_nothing_behind(reader: OnlineReader, time: int, price: float | None) -> None:
    (found,) = reader.get("shop", [KEY], ["price"], at=at(time), status=True)
    status = "present" if price is not None else "missing" if time < 10 else "stale"
    assert _without_age(found) == {**KEY, "price": price, "prices__v1.0__status": status}


def test_no_moment_is_now(reader: OnlineReader) -> None:
    (found,) = reader.get("shop", [KEY], status=True)
    assert found["payer__activity__v1.0__status"] == "beyond"
    zone = timezone(timedelta(hours=9))
    assert reader.get("shop", [KEY], at=at(61).astimezone(zone)) == reader.get("shop", [KEY], at=at(61))
    with pytest.raises(RequestError, match="without a zone"):
        reader.get("shop", [KEY], at=datetime(2025, 3, 3))
    with pytest.raises(RequestError, match="`at` is a datetime, found 5"):
        reader.get("shop", [KEY], at=5)  # type: ignore[arg-type]


def test_older_publications_are_answered_at_any_time(tmp_path: Path) -> None:
    text = json.dumps(json.loads(DEVICE.to_json()), sort_keys=True)
    told = json.loads(text)["views"][0]
    assert set(told) == {"view", "keys", "delta_version", "features", "schema"}  # as it ever was
    assert ServiceRecord.from_json(text) == DEVICE
    store = SqliteOnline(tmp_path / "online.db")
    store.publish(DEVICE, few_rows(DEVICE))
    key = {"lot_id": "L1", "wafer_id": "W1", "die_x": 0, "die_y": 0}
    with open_online(f"sqlite:///{store.path}") as reader:
        (found,) = reader.get("device_v1", [key], ["wafers_done"], at=datetime(1960, 1, 1, tzinfo=UTC), status=True)
        assert _without_age(found) == {**key, "wafers_done": 4, "lots__v2.1__status": "present"}


def test_a_record_comes_back_from_json() -> None:
    assert ServiceRecord.from_json(SHOP.to_json()) == SHOP
    assert [view.label for view in SHOP.views] == [
        "payer.activity__v1.0", "payer.activity__v1.0:payer__word", "prices__v1.0",
    ]  # fmt: skip


def test_a_record_tells_its_faults() -> None:
    with pytest.raises(SchemaError) as fault:
        dataclasses.replace(EVENTS, by=("a", "b"), boundary="before", times=("valid_to", "noon"), since="since_last")
    for part in (
        "2 columns of a request for 1 keys",
        "boundary 'before'",
        "'noon' is not a time",
        "'since_last' needs",
    ):
        assert part in str(fault.value)


@pytest.mark.parametrize(
    ("view", "moments", "is_covered"),
    [
        (STATES, {}, True),
        (STATES, {"until_us": 80 + 1}, False),  # a part of an SLA of 10 is less than one
        (dataclasses.replace(STATES, sla_us=48), {"until_us": 81}, True),
        (dataclasses.replace(STATES, sla_us=48), {"until_us": 82}, False),
        (dataclasses.replace(STATES, sla_us=None), {"until_us": 79 + DAY_US // 24}, True),
        (dataclasses.replace(STATES, sla_us=None), {"until_us": 80 + DAY_US // 24}, False),
        (STATES, {"from_us": 49}, False),
        (STATES, {"from_us": 60}, True),
        (STATES, {"delta_version": 8}, False),
        (EVENTS, {"from_us": 60, "fresh_us": 60}, True),  # nobody asks how old it is
        (EVENTS, {"from_us": 40, "fresh_us": 40}, False),
        (dataclasses.replace(EVENTS, sla_us=48), {"from_us": 51, "fresh_us": 51}, True),
        (dataclasses.replace(EVENTS, sla_us=48), {"from_us": 52, "fresh_us": 52}, False),
    ],
)
def test_what_covers_a_later_export(view: ViewRecord, moments: dict[str, Any], is_covered: bool) -> None:
    mine, theirs = ServiceRecord("s", (view,)), ServiceRecord("s", (dataclasses.replace(view, **moments),))
    assert mine.covers(theirs) is is_covered
    assert not mine.covers(dataclasses.replace(theirs, service="t"))
    assert not mine.covers(dataclasses.replace(theirs, views=(*theirs.views, KNOWN)))


def test_rows_of_one_key_are_one_value_across_batches() -> None:
    rows = [("i1", 1, 1, None, 1.0), ("i1", 2, 2, None, 2.0), ("i2", 1, 1, None, 3.0), ("i2", 2, 2, 5, None)]
    whole = batch(EVENTS, rows)
    codec = row_codec(EVENTS.stored)
    wanted = {
        encode_key([key]): head(3) + b"".join(codec.encode(list(row[1:])) for row in rows if row[0] == key)
        for key in ("i1", "i2")
    }
    for cuts in ([0, 4], [0, 1, 4], [0, 3, 3, 4], [0, 1, 2, 3, 4]):
        pieces = [whole.slice(a, b - a) for a, b in itertools.pairwise(cuts)]
        found = list(chunks(EVENTS, pieces))
        assert dict(pair for chunk in found for pair in chunk.rows) == wanted
        assert {chunk.key_types for chunk in found} == {("string",)}
    assert codec.decode_rows(wanted[encode_key(["i2"])], HEAD.size)[1] == (2, 2, 5, None)
    with pytest.raises(SchemaError, match="2 rows instead of one"):
        codec.decode(wanted[encode_key(["i2"])][HEAD.size :])


def test_a_key_that_comes_back_later_is_refused(tmp_path: Path) -> None:
    rows = [("i1", 1, 1, None, 1.0), ("i2", 1, 1, None, 3.0), ("i1", 2, 2, None, 2.0)]
    with pytest.raises(SchemaError, match="two rows have the same item"):
        SqliteOnline(tmp_path / "online.db").publish(ServiceRecord("s", (EVENTS,)), [rows_of(EVENTS, rows)])


def test_the_command_asks_at_a_moment_and_for_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf = tmp_path / "conf" / "store.yaml"
    conf.parent.mkdir()
    conf.write_text("root: ../store\nonline: sqlite:///../online.db\n")
    prices = rows_of(EVENTS, [("i1", 10_000_000, 10_000_000, None, 1.5)])
    SqliteOnline(tmp_path / "online.db").publish(ServiceRecord("shop", (EVENTS,)), [prices])
    words = ["get", "shop", '{"item": "i1"}', "--conf", str(conf), "--status"]
    for moment, price, status in (
        ("1970-01-01T00:00:10Z", 1.5, "present"),
        ("1970-01-01T01:00+01:00", None, "missing"),
    ):
        assert main([*words, "--at", moment]) == 0
        found = json.loads(capsys.readouterr().out)
        assert _without_age(found) == {"item": "i1", "price": price, "prices__v1.0__status": status}
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["price"] == 1.5
    for moment, text in (("noon", "not a moment"), ("2025-03-03T12:00", "without a zone")):
        assert main([*words, "--at", moment]) == 2
        assert text in capsys.readouterr().err


def test_two_updates_say_what_both_hold() -> None:
    (states, *_) = SHOP.views
    early = dataclasses.replace(states, from_us=50, until_us=80)
    late = dataclasses.replace(states, from_us=60, until_us=90)

    def moments(mine: ViewRecord, theirs: ViewRecord) -> tuple[int | None, int | None]:
        (view,) = ServiceRecord("s", (mine,)).beside(ServiceRecord("s", (theirs,))).views
        return view.from_us, view.until_us

    assert moments(early, late) == moments(late, early) == (60, 80)
    newer = dataclasses.replace(early, delta_version=early.delta_version + 1)
    assert moments(newer, late) == (60, 80)  # what the later version changed reaches to 80
    assert moments(dataclasses.replace(late, delta_version=9), early) == (60, 90)
