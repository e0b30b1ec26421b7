"""A cluster of three primaries: rows lie on all of them, and answers are as of one server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis.crc import key_slot

from fs_spark.errors import OnlineStoreError, SchemaError
from fs_spark.online import open_online, open_online_async
from fs_spark.online.codec import encode_key
from fs_spark.online.protocol import OnlineStore
from fs_spark.online.redis_address import PASSWORD, redis_address
from fs_spark.online.redis_writer import RedisOnline
from tests.online.contract.kinds import (
    SERVICE,
    Place,
    at_version,
    many,
    pushed,
    reading,
    readings,
    stored_keys,
    xs,
)
from tests.online.redis.clusters import Cluster, cluster_in
from tests.online.redis.test_address import everything
from tests.online.servers import wait_for


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_in(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def place(cluster: Cluster, prefix: str) -> Place:
    return cluster.place(prefix)


@pytest.fixture
def store(place: Place) -> Iterator[OnlineStore]:
    store = place.open()
    yield store
    store.close()


def test_all_verbs(cluster: Cluster, place: Place, store: OnlineStore, prefix: str) -> None:
    store.publish(SERVICE, many(SERVICE, 3000, 1.0))
    for server in cluster.servers:
        with server.client() as client:
            assert sum(1 for _ in client.scan_iter(match=f"{prefix}:*", count=5000)) > 500
    record = at_version(SERVICE, 2)
    generation = store.publish(record, many(record, 3000, 2.0)).generation
    keys = [f"k{i}" for i in range(0, 3030, 30)]
    assert xs(place.url, keys) == [2.0] * 100 + [None]
    wait_for(lambda: place.generations() == {generation}, seconds=5)
    assert len(stored_keys(store)) == 3000
    based_on = store.published(SERVICE.service)
    assert based_on is not None
    for version in (5, 3, 4):
        newer = at_version(SERVICE, version)
        rows = [reading(f"k{i}", float(version) if i % 2 else None) for i in range(1000)]
        assert store.update(newer, readings(newer, rows), based_on=based_on) is not None
    assert xs(place.url, ["k0", "k1", "k999", "k1000"]) == [None, 5.0, 5.0, 2.0]
    assert stored_keys(store) == {encode_key([f"k{i}"]) for i in range(3000) if i >= 1000 or i % 2}
    later = [pushed(f"k{i}", 9.0, event=99) for i in range(400)]
    assert store.push(based_on, later, expires_s=2.0) == 400
    assert store.push(based_on, later, expires_s=2.0) == 0
    assert xs(place.url, ["k0", "k1", "k399", "k400"]) == [9.0, 9.0, 9.0, None]
    time.sleep(2.1)
    assert xs(place.url, ["k0", "k1"]) == [None, 5.0]


def test_a_key_given_twice_is_refused(place: Place, store: OnlineStore) -> None:
    generation = store.publish(SERVICE, readings(SERVICE, [reading("a", 1.0)])).generation
    for rows in ([[("a", 1.0), ("b", 1.0), ("a", 2.0)]], [[("a", 1.0), ("b", 1.0)], [("a", 2.0)]]):
        tables = readings(SERVICE, [])
        batches = [batch for some in rows for batch in readings(SERVICE, [reading(*one) for one in some])[0].batches]
        object.__setattr__(tables[0], "batches", batches)
        with pytest.raises(SchemaError, match="two rows have the same k"):
            store.publish(SERVICE, tables)
    wait_for(lambda: place.generations() == {generation}, seconds=5)


def test_readers_never_mix_two_publications(place: Place, store: OnlineStore) -> None:
    """In a cluster the rows come from several servers, the publication in force from one."""
    store.publish(SERVICE, many(SERVICE, 600, 0.0))
    keys = [{"k": f"k{i}"} for i in range(0, 600, 20)]
    faults: list[object] = []
    seen: set[object] = set()
    stop = threading.Event()

    def judge(found: list[dict[str, object]]) -> None:
        answers = {one["x"] for one in found}
        seen.update(answers)
        if len(answers) > 1 or None in answers:
            faults.append(answers)

    def read() -> None:
        try:
            with open_online(place.url) as reader:
                while not stop.is_set():
                    judge(reader.get(SERVICE.service, keys))
        except BaseException as fault:
            faults.append(fault)

    async def awaited() -> None:
        async with open_online_async(place.url) as reader:
            while not stop.is_set():
                for found in await asyncio.gather(*(reader.get(SERVICE.service, keys) for _ in range(4))):
                    judge(found)

    def read_async() -> None:
        try:
            asyncio.run(awaited())
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run) for run in (read, read, read_async)]
    for thread in threads:
        thread.start()
    for number in range(1, 8):
        record = at_version(SERVICE, number)
        store.publish(record, many(record, 600, float(number)))
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults
    assert len(seen) > 2


def test_rows_that_went_while_they_were_read_are_read_again(place: Place, store: OnlineStore) -> None:
    """The publication in force is looked at after the rows: what was looked at before might be gone since."""
    store.publish(SERVICE, many(SERVICE, 50, 0.0))
    with open_online(place.url) as reader:
        assert reader.get(SERVICE.service, [{"k": "k1"}], ["x"])[0]["x"] == 0.0
        client: Any = reader._source.client  # type: ignore[attr-defined]
        pipeline, left = client.pipeline, [1]

        def publish_then_read(**more: Any) -> Any:
            if left:
                left.pop()
                record = at_version(SERVICE, 1)
                generation = store.publish(record, many(record, 50, 1.0)).generation
                wait_for(lambda: place.generations() == {generation}, seconds=5)
            return pipeline(**more)

        client.pipeline = publish_then_read
        found = reader.get(SERVICE.service, [{"k": f"k{i}"} for i in range(50)], ["x"])
    assert not left
    assert {one["x"] for one in found} == {1.0}


def test_a_slot_that_is_on_its_way(cluster: Cluster, place: Place, store: OnlineStore) -> None:
    """Several keys of it at once are refused meanwhile, some being here and some there: then they go one by one."""
    store.publish(SERVICE, many(SERVICE, 2000, 0.0))
    slot = key_slot(b"{7}")
    clients = [server.client() for server in cluster.servers]
    owner = next(at for at, one in enumerate(clients) if one.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot))
    other = (owner + 1) % 3
    clients[other].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.node_id(owner))
    clients[owner].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.node_id(other))
    try:
        names = clients[owner].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 3)
        clients[owner].execute_command("MIGRATE", "127.0.0.1", cluster.servers[other].port, names[0], 0, 5000)
        keys = [f"k{i}" for i in range(2000)]
        assert set(xs(place.url, keys)) == {0.0}
        record = at_version(SERVICE, 1)
        store.publish(record, many(record, 2000, 1.0))
        assert set(xs(place.url, keys)) == {1.0}
        based_on = store.published(SERVICE.service)
        assert based_on is not None
        newer = at_version(SERVICE, 2)
        assert store.update(newer, many(newer, 2000, 2.0), based_on=based_on) is not None
        assert set(xs(place.url, keys)) == {2.0}
        assert len(stored_keys(store)) == 2000
        wait_for(lambda: place.generations() == {based_on.generation}, seconds=5)
    finally:
        cluster.manage("fix", f"127.0.0.1:{cluster.servers[0].port}")
    assert set(xs(place.url, keys)) == {2.0}


@pytest.mark.parametrize(
    ("reads", "slots", "exports"),
    [(400, 500, 2), pytest.param(2000, 2000, 12, marks=pytest.mark.soak)],
    ids=["some", "many"],
)
def test_slots_that_move_while_reads_and_exports_run(
    cluster: Cluster, place: Place, store: OnlineStore, reads: int, slots: int, exports: int
) -> None:
    store.publish(SERVICE, many(SERVICE, 4000, 0.0))
    faults: list[object] = []
    count = number = 0
    done, resharded = threading.Event(), threading.Event()

    def read() -> None:
        nonlocal count
        try:
            with open_online(place.url) as reader:
                while count < reads or not done.is_set():
                    keys = [{"k": f"k{(count * 7 + i * 40) % 4000}"} for i in range(100)]
                    answers = {one["x"] for one in reader.get(SERVICE.service, keys, ["x"])}
                    count += 1
                    if len(answers) != 1 or None in answers:
                        faults.append(answers)
        except BaseException as fault:
            faults.append(fault)

    def reshard() -> None:
        try:
            while number < exports:
                for source, target in ((0, 1), (1, 2), (2, 0)):
                    cluster.reshard(source, target, slots)
        except BaseException as fault:
            faults.append(fault)
        finally:
            resharded.set()

    threads = [threading.Thread(target=run) for run in (read, read, reshard)]
    for thread in threads:
        thread.start()
    try:
        while not resharded.is_set():
            number += 1
            record = at_version(SERVICE, number)
            store.publish(record, many(record, 4000, float(number)))
            based_on = store.published(SERVICE.service)
            assert based_on is not None
            newer = at_version(SERVICE, number)
            assert store.update(newer, many(newer, 4000, float(number)), based_on=based_on) is not None
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not faults
    assert number >= exports
    assert set(xs(place.url, [f"k{i}" for i in range(4000)])) == {float(number)}
    for version in (number + 1, number + 2):  # rows that moved while they were looked for go with the next export
        record = at_version(SERVICE, version)
        generation = store.publish(record, many(record, 10, 1.0)).generation
    wait_for(lambda: place.generations() == {generation}, seconds=10)


def test_the_rights_that_the_hint_names_suffice(cluster: Cluster, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = redis_address(cluster.url(prefix).replace("://", "://feature@"), {PASSWORD: "feature-word"})
    command = address._rights("feature").split()
    for server in cluster.servers:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "feature", "on", ">feature-word")
            client.execute_command(*command)
    monkeypatch.setenv(PASSWORD, "feature-word")
    store = RedisOnline(address, grace_s=0.01)
    everything(store, cluster.url(prefix).replace("://", "://feature@"))
    store.close()


def test_nodes_that_cannot_be_reached() -> None:
    url = "redis+cluster://127.0.0.1:1,127.0.0.1:2?timeout=0.2"
    with pytest.raises(OnlineStoreError) as fault:
        open_online(url)
    assert "Hint: " in str(fault.value)

    async def awaited() -> None:
        async with open_online_async(url) as reader:
            await reader.services()

    with pytest.raises(OnlineStoreError, match="Hint: "):
        asyncio.run(awaited())


def test_a_server_that_is_no_cluster_is_a_clear_fault(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tests.online.servers import Server, running

    server = Server(tmp_path_factory.mktemp("alone"))
    with running(server), pytest.raises(OnlineStoreError, match="Hint: "):
        open_online(f"redis+cluster://127.0.0.1:{server.port}")
    store = RedisOnline(redis_address(f"redis://127.0.0.1:{cluster.servers[0].port}"))
    with pytest.raises(OnlineStoreError, match=r"is a node of a cluster[^$]*Hint: write redis\+cluster"):
        store.publish(SERVICE, many(SERVICE, 100, 1.0))
