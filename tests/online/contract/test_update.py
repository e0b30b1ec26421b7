"""Of two values of a key that of the later Delta version stands, in whatever order they come."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

import pytest

from fs_spark.errors import SchemaError
from fs_spark.online import open_online
from fs_spark.online.codec import encode_key
from fs_spark.online.protocol import OnlineStore
from fs_spark.online.records import Published, PublishReport
from tests.online.contract.kinds import (
    SERVICE,
    Place,
    Row,
    at_version,
    many,
    reading,
    readings,
    stored_keys,
    xs,
)
from tests.online.samples import DEVICE, few_rows, lot_batch, rows_of
from tests.online.samples import at_version as device_at

FIRST = [reading(key, 1.0, event=50) for key in "abc"]
LATEST = 2**32 + 1  # each of its lower bytes is less than those of the others
UPDATES: dict[int, list[Row]] = {
    2: [reading("a", 2.0, event=60), reading("d", 2.0, event=60), reading("e", 2.0)],
    3: [reading("a", None), reading("b", 3.0, event=70), reading("d", None), reading("f", None)],
    4: [reading("a", 4.0, event=20), reading("b", 4.0, event=5), reading("f", 4.0)],  # retracted: older events
    LATEST: [reading("b", 300.0, event=1), reading("c", None), reading("f", None)],
}
"""By Delta version."""
LAST = {"a": 4.0, "b": 300.0, "c": None, "d": None, "e": 2.0, "f": None}


def published(store: OnlineStore) -> Published:
    found = store.published(SERVICE.service)
    assert found is not None
    return found


def update(store: OnlineStore, version: int, rows: Sequence[Row], based_on: Published) -> PublishReport | None:
    record = at_version(SERVICE, version)
    return store.update(record, readings(record, rows), based_on=based_on)


def test_the_later_version_wins_in_any_order_of_delivery(place: Place, store: OnlineStore) -> None:
    for order in itertools.permutations(UPDATES):
        store.publish(SERVICE, readings(SERVICE, FIRST))
        based_on = published(store)
        for version in (*order, order[0]):  # one comes twice
            report = update(store, version, UPDATES[version], based_on)
            assert report is not None
            assert report.generation == based_on.generation
        assert xs(place.url, LAST) == list(LAST.values()), order
        found = published(store)
        assert found.record == at_version(SERVICE, LATEST), order
        assert found.generation == based_on.generation
        assert stored_keys(store) == {encode_key([key]) for key, x in LAST.items() if x is not None}


def test_an_update_says_what_it_wrote(store: OnlineStore) -> None:
    store.publish(SERVICE, readings(SERVICE, FIRST))
    before = published(store)
    report = update(store, 3, UPDATES[3], before)
    assert report is not None
    assert (report.loaded["readings__v1.0"].keys, report.loaded["readings__v1.0"].gone) == (1, 3)
    found = published(store)
    assert found.serial > before.serial
    assert found.key_types == (("string",),)
    assert found.report == report.told()


def test_an_update_that_brings_nothing_moves_the_record(place: Place, store: OnlineStore) -> None:
    store.publish(SERVICE, readings(SERVICE, FIRST))
    assert update(store, 7, [], published(store)) is not None
    assert published(store).record == at_version(SERVICE, 7)
    assert published(store).key_types == (("string",),)
    assert xs(place.url, "abcd") == [1.0, 1.0, 1.0, None]


def test_an_older_update_after_a_newer_changes_nothing(place: Place, store: OnlineStore) -> None:
    store.publish(SERVICE, readings(SERVICE, FIRST))
    based_on = published(store)
    update(store, 9, [reading("a", 9.0)], based_on)
    newest = published(store)
    assert update(store, 8, [reading("a", 8.0), reading("b", None)], based_on) is not None
    assert update(store, 8, [reading("a", None)], published(store)) is not None
    assert published(store).record == newest.record
    assert xs(place.url, "ab") == [9.0, None]


def test_the_same_update_twice_is_as_once(place: Place, store: OnlineStore) -> None:
    store.publish(SERVICE, readings(SERVICE, FIRST))
    based_on = published(store)
    for _ in range(3):
        report = update(store, 3, UPDATES[3], based_on)
        assert report is not None
    assert xs(place.url, "abcdf") == [None, 3.0, 1.0, None, None]


def test_an_update_of_what_was_replaced_is_none(place: Place, store: OnlineStore) -> None:
    assert store.published(SERVICE.service) is None
    store.publish(SERVICE, readings(SERVICE, FIRST))
    based_on = published(store)
    record = at_version(SERVICE, 5)
    store.publish(record, readings(record, [reading("a", 5.0)]))
    assert update(store, 6, [reading("a", 6.0)], based_on) is None
    assert xs(place.url, "ab") == [5.0, None]
    assert published(store).record == record


def test_an_update_of_one_view_leaves_the_other(place: Place, store: OnlineStore) -> None:
    store.publish(DEVICE, few_rows(DEVICE))
    based_on = store.published(DEVICE.service)
    assert based_on is not None
    newer = device_at(DEVICE, 9)
    lots = newer.views[1]
    rows = [rows_of(lots, [lot_batch([("L1", 0, 0, 77, "x")])]), rows_of(newer.views[0], [])]
    assert store.update(newer, rows, based_on=based_on) is not None
    with open_online(place.url) as reader:
        key = {"lot_id": "L1", "wafer_id": "W1", "die_x": 1, "die_y": 11}
        (found,) = reader.get(DEVICE.service, [key], ["wafers_done", "fail__neighbor_frac"])
    assert (found["wafers_done"], found["fail__neighbor_frac"]) == (77, 0.25)


def test_an_update_that_does_not_fit_is_refused(place: Place, store: OnlineStore) -> None:
    store.publish(SERVICE, readings(SERVICE, FIRST))
    with pytest.raises(SchemaError, match="the rows have 9"):
        store.update(at_version(SERVICE, 8), readings(at_version(SERVICE, 9), FIRST), based_on=published(store))
    assert published(store).record == SERVICE
    assert xs(place.url, "a") == [1.0]


def test_an_open_reader_sees_updates(place: Place, store: OnlineStore) -> None:
    store.publish(SERVICE, readings(SERVICE, FIRST))
    with open_online(place.url) as reader:
        for version in range(2, 6):
            assert reader.published(SERVICE.service).record == at_version(SERVICE, version - 1)
            update(store, version, [reading("a", float(version))], published(store))
            assert reader.get(SERVICE.service, [{"k": "a"}], ["x"])[0]["x"] == float(version)
            assert reader.describe(SERVICE.service).views[0].delta_version == version


def test_updates_at_once_end_in_the_latest(place: Place, store: OnlineStore) -> None:
    store.publish(SERVICE, many(SERVICE, 600, 1.0))
    based_on = published(store)
    faults: list[BaseException] = []

    def run(version: int) -> None:
        own = place.open()
        try:
            record = at_version(SERVICE, version)
            assert own.update(record, many(record, 600, float(version), batch=50), based_on=based_on) is not None
        except BaseException as fault:
            faults.append(fault)
        finally:
            own.close()

    threads = [threading.Thread(target=run, args=(version,)) for version in (5, 2, 4, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert set(xs(place.url, (f"k{i}" for i in range(600)))) == {5.0}
    assert published(store).record == at_version(SERVICE, 5)


def test_keys_of_are_those_with_rows(store: OnlineStore) -> None:
    rows = [reading(f"k{i}", None if i % 3 == 0 else 1.0) for i in range(6000)]
    store.publish(SERVICE, readings(SERVICE, rows))
    assert stored_keys(store) == {encode_key([f"k{i}"]) for i in range(6000) if i % 3}
