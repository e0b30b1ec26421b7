"""A publication replaces what was there, whole, or changes nothing."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from fs_spark.errors import FeatureNotFoundError, RequestError, SchemaError
from fs_spark.online import open_online
from fs_spark.online import records as online_records
from fs_spark.online.batches import ViewRows
from fs_spark.online.codec import encode_key
from fs_spark.online.protocol import OnlineStore
from tests.online.contract.kinds import (
    SERVICE,
    Place,
    ask,
    at_version,
    many,
    reading,
    readings,
    stored_keys,
    xs,
)
from tests.online.samples import DEVICE, DIES, LOTS, die_batch, few_rows, lot_batch, rows_of
from tests.online.samples import at_version as device_at
from tests.online.servers import wait_for

ONE = {"lot_id": "L1", "wafer_id": "W1", "die_x": 0, "die_y": 0}


def answer(place: Place, service: str = DEVICE.service) -> dict[str, object]:
    return ask(place.url, service, [ONE])[0]


def test_the_report_counts_keys_rows_gone_and_null_keys(store: OnlineStore) -> None:
    rows = [reading("a", 1.0), reading("b", None), (None, 1, 1, 0, 1.0, 0)]
    report = store.publish(SERVICE, readings(SERVICE, rows))
    assert (report.rows, report.without_key) == ({"readings__v1.0": 1}, {"readings__v1.0": 1})
    loaded = report.loaded["readings__v1.0"]
    assert (loaded.keys, loaded.gone, loaded.key_types) == (1, 1, ("string",))
    published = store.published(SERVICE.service)
    assert published is not None
    assert published.report == report.told()
    assert published.generation == report.generation
    assert published.key_types == (("string",),)


def test_the_checksum_is_of_what_is_written_whatever_the_order(store: OnlineStore) -> None:
    rows = [reading(f"k{i}", float(i)) for i in range(10)]
    sums = [
        store.publish(SERVICE, readings(SERVICE, some)).loaded["readings__v1.0"].checksum
        for some in (rows, rows[::-1], rows[:9])
    ]
    assert sums[0] == sums[1] != sums[2]


def test_a_publication_replaces_all_rows(place: Place, store: OnlineStore) -> None:
    store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0), reading("b", 2.0)]))
    store.publish(at_version(SERVICE, 2), readings(at_version(SERVICE, 2), [reading("b", 3.0)]))
    assert xs(place.url, "ab") == [None, 3.0]
    assert stored_keys(store) == {encode_key(["b"])}


def test_rows_of_the_generation_before_go_after_the_time_of_grace(place: Place, store: OnlineStore) -> None:
    generations = []
    for number in range(3):
        record = at_version(SERVICE, number)
        generations.append(store.publish(record, many(record, 700, float(number))).generation)
    assert len(set(generations)) == 3
    wait_for(lambda: place.generations() == {generations[-1]}, seconds=5)
    assert xs(place.url, ["k0", "k699"]) == [2.0, 2.0]


def test_two_services_stand_side_by_side(place: Place, store: OnlineStore) -> None:
    other = device_at(DEVICE, 8, "device_v2")
    store.publish(DEVICE, few_rows(DEVICE, wafers_done=1))
    store.publish(other, few_rows(other, wafers_done=2))
    store.publish(DEVICE, few_rows(DEVICE, wafers_done=3))
    assert answer(place)["wafers_done"] == 3
    assert answer(place, "device_v2")["wafers_done"] == 2
    with open_online(place.url) as reader:
        assert reader.services() == ["device_v1", "device_v2"]
        assert reader.describe("device_v2") == other


def interrupted() -> Iterator[pa.RecordBatch]:
    yield die_batch([("L1", "W1", 0, 0, 0, 0, 99.0, 99, None)])
    raise ZeroDivisionError("the table went away")


def dies_only() -> Iterator[ViewRows]:
    yield rows_of(DIES, [die_batch([("L1", "W1", 0, 0, 0, 0, 99.0, 99, None)])])


LOT = [lot_batch([("L1", 0, 0, 1, "a")]), lot_batch([("L1", 0, 0, 2, "b")])]
FAULTS: dict[str, tuple[Callable[[], list[ViewRows]], type[Exception], str]] = {
    "source fails": (lambda: [rows_of(DIES, interrupted())], ZeroDivisionError, "went away"),
    "view missing": (lambda: [*dies_only()], SchemaError, "no rows were given for lots__v2.1"),
    "view twice": (lambda: [*dies_only(), *dies_only()], SchemaError, "given twice"),
    "other version": (lambda: [rows_of(device_at(DEVICE, 9).views[0], [])], SchemaError, "the rows have 9"),
    "other view": (lambda: [ViewRows("other", ("lot_id",), LOTS.schema, 5, [])], SchemaError, "has no view 'other'"),
    "other type": (lambda: [rows_of(LOTS, [die_batch([])])], SchemaError, "do not fit"),
    "key twice": (lambda: [rows_of(LOTS, LOT)], SchemaError, "two rows have the same lot_id"),
    "key twice in a batch": (
        lambda: [rows_of(LOTS, [lot_batch([("L1", 0, 0, 1, "a"), ("L2", 0, 0, 1, "a"), ("L1", 0, 0, 2, "b")])])],
        SchemaError,
        "two rows have the same lot_id",
    ),
    "same row twice": (
        lambda: [rows_of(LOTS, [lot_batch([("L1", 0, 0, 1, "a")] * 2)])], SchemaError, "two rows have the same lot_id"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FAULTS))
@pytest.mark.parametrize("is_first", [False, True], ids=["over another", "as the first"])
def test_a_publication_that_fails_changes_nothing(place: Place, store: OnlineStore, name: str, is_first: bool) -> None:
    tables, error, text = FAULTS[name]
    before = None if is_first else store.publish(DEVICE, few_rows(DEVICE))
    told = None if is_first else answer(place)
    with pytest.raises(error, match=text) as fault:
        store.publish(DEVICE, tables())
    assert "Hint: " in str(fault.value) or name in ("source fails", "view missing", "view twice", "other view")
    if before is None:
        assert store.published(DEVICE.service) is None
        store.publish(SERVICE, readings(SERVICE, []))  # so that there is a store to read
        with pytest.raises(FeatureNotFoundError, match="device_v1"):
            answer(place)
        wait_for(lambda: place.generations() == set(), seconds=5) if "redis" in place.url else None
    else:
        assert answer(place) == told
        wait_for(lambda: place.generations() == {before.generation}, seconds=5)


def test_a_reader_that_is_open_goes_on(place: Place, store: OnlineStore) -> None:
    store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0)]))
    with open_online(place.url) as reader:
        assert reader.get(SERVICE.service, [{"k": "a"}], ["x"]) == [{"k": "a", "x": 1.0}]
        view = dataclasses.replace(SERVICE.views[0], delta_version=2, features=(("x", "x"),))
        fewer = dataclasses.replace(SERVICE, views=(view,))
        store.publish(fewer, readings(fewer, [reading("a", 2.0)]))
        assert reader.get(SERVICE.service, [{"k": "a"}]) == [{"k": "a", "x": 2.0}]
        with pytest.raises(FeatureNotFoundError, match="no feature 'n'"):
            reader.get(SERVICE.service, [{"k": "a"}], ["n"])
        assert reader.published(SERVICE.service).generation == store.published(SERVICE.service).generation  # type: ignore[union-attr]
    with pytest.raises(RequestError, match="closed"):
        reader.get(SERVICE.service, [{"k": "a"}])


def test_readers_never_mix_two_publications(place: Place, store: OnlineStore) -> None:
    """Both features and all keys carry the publication's number."""
    store.publish(SERVICE, many(SERVICE, 1500, 0.0))
    keys = [{"k": f"k{i}"} for i in (0, 1, 749, 1498, 1499)]
    seen: set[float] = set()
    faults: list[object] = []
    stop = threading.Event()

    def read() -> None:
        try:
            with open_online(place.url) as reader:
                while not stop.is_set():
                    found = {one["x"] for one in reader.get(SERVICE.service, keys)}
                    seen.update(found)  # type: ignore[arg-type]
                    if len(found) > 1 or None in found:
                        faults.append(found)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 12):
        record = at_version(SERVICE, number)
        store.publish(record, many(record, 1500, float(number)))
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(seen) > 2


def test_threads_share_a_reader(place: Place, store: OnlineStore) -> None:
    store.publish(SERVICE, many(SERVICE, 400, 5.0))
    faults: list[object] = []
    start = threading.Barrier(20)

    with open_online(place.url) as reader:

        def read(part: int) -> None:
            start.wait()
            for i in range(20):
                asked = [{"k": f"k{(part * 20 + i + j) % 500}"} for j in range(20)]
                for one in reader.get(SERVICE.service, asked, ["x"]):
                    if one["x"] != (5.0 if int(str(one["k"])[1:]) < 400 else None):
                        faults.append(one)

        threads = [threading.Thread(target=read, args=(part,)) for part in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not faults


def test_a_child_after_a_fork_reads_on(place: Place, store: OnlineStore) -> None:
    store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0)]))
    with open_online(place.url) as reader:
        assert reader.get(SERVICE.service, [{"k": "a"}], ["x"])[0]["x"] == 1.0
        child = os.fork()
        if not child:
            try:
                found = [reader.get(SERVICE.service, [{"k": "a"}], ["x"])[0]["x"] for _ in range(50)]
                os._exit(0 if found == [1.0] * 50 else 3)
            finally:
                os._exit(4)
        found = [reader.get(SERVICE.service, [{"k": "a"}], ["x"])[0]["x"] for _ in range(50)]
        assert os.waitpid(child, 0)[1] == 0
    assert found == [1.0] * 50


@pytest.mark.parametrize(
    ("seen", "came", "mine", "is_overtaken"),
    [
        (None, 9, 3, False),  # nobody asked
        (0, None, 3, False),  # nothing came
        (0, 9, 3, True),
        (0, 3, 9, False),
        (0, 3, 3, True),  # the same rows
        ("came", 3, 9, False),  # it was there when the export began
        ("came", 3, 3, False),  # all rows anew, as asked
        ("came", 9, 3, True),  # an update may have brought it since, under the same number
    ],
)
def test_an_export_that_was_overtaken_writes_nothing(
    place: Place, store: OnlineStore, seen: int | str | None, came: int | None, mine: int, is_overtaken: bool
) -> None:
    before = None
    if came is not None:
        record = at_version(SERVICE, came)
        before = store.publish(record, readings(record, [reading("a", float(came))])).generation
    record = at_version(SERVICE, mine)
    known = before if seen == "came" else seen
    report = store.publish(record, readings(record, [reading("a", -1.0)]), seen=known)  # type: ignore[arg-type]
    assert report.overtaken is is_overtaken
    assert xs(place.url, "a") == [float(came) if is_overtaken and came is not None else -1.0]
    stands = before if is_overtaken else report.generation
    wait_for(lambda: place.generations() == {stands}, seconds=5)


def test_a_full_export_does_not_replace_a_newer_update(place: Place, store: OnlineStore) -> None:
    seen = store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0)])).generation
    based_on = store.published(SERVICE.service)
    assert based_on is not None
    newer = at_version(SERVICE, 2)

    def meanwhile() -> Iterator[ViewRows]:
        yield from readings(SERVICE, [reading("a", 1.0)])
        if "sqlite" not in place.url:  # a file has one writer at a time
            store.update(newer, readings(newer, [reading("a", 2.0)]), based_on=based_on)

    if "sqlite" in place.url:
        store.update(newer, readings(newer, [reading("a", 2.0)]), based_on=based_on)
    assert store.publish(SERVICE, meanwhile(), seen=seen).overtaken
    assert xs(place.url, "a") == [2.0]


def test_a_record_of_a_newer_layout_is_refused(
    place: Place, store: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0)]))
    monkeypatch.setattr(online_records, "LAYOUT", 1)
    with open_online(place.url) as reader, pytest.raises(RequestError, match="newer fs_spark") as fault:
        reader.get(SERVICE.service, [{"k": "a"}])
    assert "Hint: install that version" in str(fault.value)


def test_a_store_that_is_closed_opens_again(store: OnlineStore) -> None:
    store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0)]))
    store.close()
    assert store.published(SERVICE.service) is not None
    store.close()
    store.close()


def test_a_service_that_is_not_there(place: Place, store: OnlineStore) -> None:
    assert store.published("nobody") is None
    store.publish(SERVICE, readings(SERVICE, []))
    with open_online(place.url) as reader, pytest.raises(FeatureNotFoundError, match="readings_v1"):
        reader.get("readings_v2", [{"k": "a"}])
