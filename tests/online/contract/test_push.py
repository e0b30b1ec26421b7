"""Rows that were pushed stand beside those that were exported, and the later of both answers."""

from __future__ import annotations

import dataclasses
import itertools
import time

import pytest

from fs_spark.errors import RequestError
from fs_spark.online import open_online, open_pusher
from fs_spark.online.codec import RowSchema
from fs_spark.online.protocol import OnlineStore
from fs_spark.online.records import Published
from fs_spark.online.request import moment_of
from tests.online.contract.kinds import SERVICE, Place, ask, at_version, pushed, reading, readings, xs

LONG_S = 600.0


@pytest.fixture
def published(store: OnlineStore) -> Published:
    store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0, event=50, sequence=3)]))
    found = store.published(SERVICE.service)
    assert found is not None
    return found


def test_a_pushed_row_of_a_later_event_answers(place: Place, store: OnlineStore, published: Published) -> None:
    assert not published.pushed
    with open_online(place.url) as reader:
        assert reader.get(SERVICE.service, [{"k": "a"}], ["x"])[0]["x"] == 1.0
        assert store.push(published, [pushed("a", 2.0, event=60), pushed("b", 3.0, event=1)], expires_s=LONG_S) == 2
        assert [one["x"] for one in reader.get(SERVICE.service, [{"k": "a"}, {"k": "b"}], ["x"])] == [2.0, 3.0]
    assert xs(place.url, "abc") == [2.0, 3.0, None]
    assert store.published(SERVICE.service).pushed  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("event", "sequence", "answers"),
    [(51, 0, True), (50, 4, True), (50, 3, False), (50, 2, False), (49, 9, False), (-5, 0, False)],
)
def test_against_an_exported_row_the_later_answers(
    place: Place, store: OnlineStore, published: Published, event: int, sequence: int, answers: bool
) -> None:
    store.push(published, [pushed("a", 2.0, event=event, sequence=sequence)], expires_s=LONG_S)
    assert xs(place.url, "a") == [2.0 if answers else 1.0]


ORDERS = [(-(2**40), 0), (-1, 5), (0, 0), (255, 0), (256, 0), (2**40, -7), (2**40, 3)]
"""Event and sequence, the earliest first."""


def test_of_two_pushed_rows_the_later_stands(place: Place, store: OnlineStore, published: Published) -> None:
    pairs = itertools.permutations(enumerate(ORDERS), 2)
    for (i, (event, sequence)), (j, (other, theirs)) in pairs:
        key = f"{i} and {j}"
        stood = store.push(published, [pushed(key, float(i), event=event, sequence=sequence)], expires_s=LONG_S)
        stood += store.push(published, [pushed(key, float(j), event=other, sequence=theirs)], expires_s=LONG_S)
        assert stood == (2 if j > i else 1), key
        assert xs(place.url, [key]) == [float(max(i, j))]


def test_of_many_rows_at_once_each_is_judged_alone(place: Place, store: OnlineStore, published: Published) -> None:
    first = [pushed(f"k{i}", 1.0, event=100) for i in range(1200)]
    assert store.push(published, first, expires_s=LONG_S) == 1200
    second = [pushed(f"k{i}", 2.0, event=99 if i % 3 else 101) for i in range(1200)]
    assert store.push(published, second, expires_s=LONG_S) == 400
    found = xs(place.url, [f"k{i}" for i in range(1200)])
    assert found == [1.0 if i % 3 else 2.0 for i in range(1200)]
    assert store.push(published, [], expires_s=LONG_S) == 0
    assert store.push(published, [pushed("z", 1.0, event=1), pushed("z", 2.0, event=2)], expires_s=LONG_S) == 2
    assert xs(place.url, "z") == [2.0]


def test_a_pushed_row_ends(place: Place, store: OnlineStore, published: Published) -> None:
    store.push(published, [pushed("a", 2.0, event=60)], expires_s=0.4)
    store.push(published, [pushed("b", 2.0, event=60)], expires_s=LONG_S)
    assert xs(place.url, "ab") == [2.0, 2.0]
    time.sleep(0.45)
    assert xs(place.url, "ab") == [1.0, 2.0]
    store.push(published, [pushed("a", 3.0, event=55)], expires_s=LONG_S)  # earlier than the one that ended
    assert xs(place.url, "ab") == [3.0, 2.0]


def test_an_exported_row_of_a_later_event_answers(place: Place, store: OnlineStore, published: Published) -> None:
    store.push(published, [pushed("a", 2.0, event=60), pushed("b", 2.0, event=60)], expires_s=LONG_S)
    for version, event, expected in ((2, 59, [2.0, 2.0]), (3, 60, [3.0, 2.0]), (4, 70, [4.0, 2.0])):
        record = at_version(SERVICE, version)
        row = reading("a", float(version), event=event)
        assert store.update(record, readings(record, [row]), based_on=published) is not None
        assert xs(place.url, "ab") == expected
    record = at_version(SERVICE, 5)
    store.publish(record, readings(record, [reading("a", 5.0, event=55), reading("b", 5.0, event=65)]))
    assert xs(place.url, "ab") == [2.0, 5.0]  # whole publications leave pushed rows where they are


def test_a_key_that_has_no_row_any_more_answers_what_is_pushed(
    place: Place, store: OnlineStore, published: Published
) -> None:
    record = at_version(SERVICE, 2)
    store.update(record, readings(record, [reading("a", None)]), based_on=published)
    assert xs(place.url, "a") == [None]
    store.push(published, [pushed("a", 2.0, event=60)], expires_s=LONG_S)
    assert xs(place.url, "a") == [2.0]


def test_rows_pushed_into_two_services_are_apart(place: Place, store: OnlineStore, published: Published) -> None:
    other = dataclasses.replace(SERVICE, service="other_v1")
    store.publish(other, readings(other, [reading("a", 1.0)]))
    theirs = store.published("other_v1")
    assert theirs is not None
    store.push(theirs, [pushed("b", 7.0, event=70)], expires_s=LONG_S)
    store.push(published, [pushed("a", 2.0, event=60)], expires_s=LONG_S)
    assert xs(place.url, "ab") == [2.0, None]
    assert xs(place.url, "ab", "other_v1") == [1.0, 7.0]


def test_a_row_pushed_before_columns_were_added_is_read(place: Place, store: OnlineStore, published: Published) -> None:
    store.push(published, [pushed("a", 2.0, event=60), pushed("b", 2.0, event=60)], expires_s=LONG_S)
    view = SERVICE.views[0]
    for number in (2, 3):  # the second publication has forgotten nothing of the first
        wider = dataclasses.replace(
            view,
            delta_version=number,
            schema=RowSchema((*view.schema.names, "y"), (*view.schema.types, "double")),
            features=(*view.features, ("y", "y")),
        )
        record = dataclasses.replace(SERVICE, views=(wider,))
        tables = [
            dataclasses.replace(
                one,
                schema=wider.schema,
                batches=[batch.append_column("y", batch["x"]) for batch in one.batches],
            )
            for one in readings(record, [reading("a", 7.0, event=70)])
        ]
        store.publish(record, tables)
        found = ask(place.url, SERVICE.service, [{"k": "a"}, {"k": "b"}], features=["x", "y"])
        assert [(one["x"], one["y"]) for one in found] == [(7.0, 7.0), (2.0, None)]


def test_rows_pushed_by_many_are_seen_by_an_open_reader(place: Place, store: OnlineStore, published: Published) -> None:
    with open_online(place.url) as reader:
        for event in range(51, 81):
            store.push(published, [pushed("a", float(event), event=event)], expires_s=LONG_S)
            assert reader.get(SERVICE.service, [{"k": "a"}], ["x"])[0]["x"] == float(event)


def test_a_pushed_row_answers_until_a_later_one_is_known(place: Place, store: OnlineStore) -> None:
    """Of the exported rows one is known only later: until then the pushed row is the newest that is seen."""
    rows = [reading("a", 1.0, event=50), ("a", 100, 200, 0, 3.0, 0)]
    store.publish(SERVICE, readings(SERVICE, rows))
    found = store.published(SERVICE.service)
    assert found is not None
    assert store.push(found, [pushed("a", 2.0, event=70)], expires_s=LONG_S) == 1
    with open_online(place.url) as reader:
        said = [reader.get(SERVICE.service, [{"k": "a"}], ["x"], at=moment_of(t))[0]["x"] for t in (60, 70, 199, 200)]
    assert said == [1.0, 2.0, 2.0, 3.0]


def test_a_key_of_another_type_is_refused(place: Place, store: OnlineStore, published: Published) -> None:
    row = {"event_timestamp": moment_of(60), "x": 2.0}
    with open_pusher(place.url) as pusher:
        with pytest.raises(RequestError, match="row 0, column 'k' is string, found 5"):
            pusher.push(SERVICE.service, "readings", [{**row, "k": 5}])
        with pytest.raises(RequestError, match="row 1 lacks k"):
            pusher.push(SERVICE.service, "readings", [{**row, "k": "b"}, row])
        assert store.published(SERVICE.service).pushed is False  # type: ignore[union-attr]
        assert pusher.push(SERVICE.service, "readings", [{**row, "k": "a"}]) == 1
    assert xs(place.url, "a") == [2.0]
