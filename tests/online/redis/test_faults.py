"""Servers, connections and exporters that die in the middle: what is answered is whole, or the fault is clear."""

from __future__ import annotations

import asyncio
import dataclasses
import multiprocessing
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest

from fs_spark.errors import FeatureNotFoundError, OnlineStoreError, SchemaError
from fs_spark.online import open_online, open_online_async
from fs_spark.online.batches import ViewRows
from fs_spark.online.codec import RowSchema
from fs_spark.online.records import ServiceRecord, ViewRecord
from fs_spark.online.redis_address import redis_address
from fs_spark.online.redis_writer import RedisOnline
from tests.online.contract.kinds import SERVICE, at_version, many, place_of_redis, reading, readings, xs
from tests.online.redis.proxies import Proxy, Way
from tests.online.servers import Server, names_of, running, wait_for

ROOT = Path(__file__).parents[3]


def url_of(server: Server, prefix: str = "fs", port: int | None = None) -> str:
    return f"redis://127.0.0.1:{port or server.port}?prefix={prefix}&timeout=2"


def opened(url: str, **more: Any) -> RedisOnline:
    return RedisOnline(redis_address(url), grace_s=0.05, **more)


def then(record: ServiceRecord, count: int, x: float, what: Callable[[], object], *, after: int) -> list[ViewRows]:
    """Many rows, and something that happens after some batches of 200."""
    view = record.views[0]

    def batches() -> Iterator[pa.RecordBatch]:
        for at, batch in enumerate(many(record, count, x, batch=200)[0].batches):
            if at == after:
                what()
            yield batch

    return [ViewRows(view.label, view.keys, view.schema, view.delta_version, batches())]


def only(server: Server, generation: int | None, prefix: str = "fs") -> None:
    """No generation but this one has keys in the end."""
    with server.client() as client:
        place = place_of_redis(url_of(server, prefix), [client])
        wait_for(lambda: place.generations() == ({generation} if generation else set()), seconds=10)


@pytest.mark.parametrize("persists", [True, False])
def test_a_server_killed_in_the_middle_of_an_export(tmp_path: Path, persists: bool) -> None:
    options = ["--appendonly", "yes", "--appendfsync", "always"] if persists else []
    server = Server(tmp_path, options)
    record = at_version(SERVICE, 2)
    with running(server), open_online_late() as held:
        store = opened(url_of(server))
        store.publish(SERVICE, many(SERVICE, 1000, 1.0))
        reader = held(url_of(server))
        assert reader.get(SERVICE.service, [{"k": "k999"}], ["x"])[0]["x"] == 1.0
        with pytest.raises(OnlineStoreError, match="cannot be reached") as fault:
            store.publish(record, then(record, 1000, 2.0, server.kill, after=3))
        assert "Hint: is the server up" in str(fault.value)
        with pytest.raises(OnlineStoreError, match="cannot be reached"):
            reader.get(SERVICE.service, [{"k": "k999"}], ["x"])
        server.start()
        if persists:
            assert xs(url_of(server), ["k0", "k999"]) == [1.0, 1.0]
            assert reader.get(SERVICE.service, [{"k": "k999"}], ["x"])[0]["x"] == 1.0
        else:
            with pytest.raises(FeatureNotFoundError, match="is not published"):
                reader.get(SERVICE.service, [{"k": "k999"}], ["x"])
            with open_online(url_of(server)) as new, pytest.raises(FeatureNotFoundError, match="is not published"):
                new.get(SERVICE.service, [{"k": "k999"}], ["x"])
        store.lease_s = 0.2
        with server.client() as client:  # the lease of the export that failed ends, as it does by itself
            for name in names_of(client, "fs:*:alive:*"):
                client.delete(name)
        generation = store.publish(record, many(record, 900, 3.0)).generation
        assert xs(url_of(server), ["k0", "k899", "k900"]) == [3.0, 3.0, None]
        assert reader.get(SERVICE.service, [{"k": "k899"}], ["x"])[0]["x"] == 3.0
        only(server, generation)
        store.close()


class open_online_late:  # noqa: N801
    """Readers that are closed in the end."""

    def __init__(self) -> None:
        self._readers: list[Any] = []

    def __enter__(self) -> Callable[[str], Any]:
        def opened(url: str) -> Any:
            self._readers.append(open_online(url))
            return self._readers[-1]

        return opened

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.close()


def test_a_server_that_lost_its_data_and_has_other_rows_now(tmp_path: Path) -> None:
    """A reader that was open before must not take the new publication for the one that it knows."""
    server = Server(tmp_path)
    view = dataclasses.replace(
        SERVICE.views[0], schema=RowSchema(("n", "x"), ("long", "double")), features=(("n", "n"), ("x", "x"))
    )
    other = ServiceRecord(SERVICE.service, (view,))
    with running(server), open_online_late() as held:
        opened(url_of(server)).publish(SERVICE, many(SERVICE, 10, 1.0))
        reader = held(url_of(server))
        assert reader.get(SERVICE.service, [{"k": "k1"}])[0] == {"k": "k1", "x": 1.0, "n": 1}
        server.kill()
        server.start()
        tables = [dataclasses.replace(one, schema=view.schema) for one in many(other, 10, 2.0)]
        opened(url_of(server)).publish(other, tables)
        assert reader.get(SERVICE.service, [{"k": "k1"}])[0] == {"k": "k1", "x": 2.0, "n": 2}


def test_a_server_without_room_keeps_what_was_published(tmp_path: Path) -> None:
    server = Server(tmp_path, ["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"])
    record = at_version(SERVICE, 2)
    with running(server):
        store = opened(url_of(server))
        generation = store.publish(SERVICE, many(SERVICE, 2000, 1.0)).generation
        for _ in range(2):
            with pytest.raises(OnlineStoreError, match="at its memory limit; what was published stands") as fault:
                store.publish(record, many(record, 100_000, 2.0))
            assert "Hint: an export needs room" in str(fault.value)
            assert xs(url_of(server), ["k0", "k1999", "k2000"]) == [1.0, 1.0, None]
            only(server, generation)
        generation = store.publish(record, many(record, 2000, 2.0)).generation
        assert xs(url_of(server), ["k0"]) == [2.0]
        only(server, generation)
        store.close()


def test_an_export_makes_room_before_it_needs_some(tmp_path: Path) -> None:
    """What a dead exporter left may fill the server: the next one must be able to remove it."""
    server = Server(tmp_path, ["--maxmemory", "6mb", "--maxmemory-policy", "noeviction"])
    with running(server):
        store = opened(url_of(server))
        store.publish(SERVICE, many(SERVICE, 100, 1.0))
        with exporter(url_of(server), lease_s=0.3, count=9000) as child:
            assert told(child) == "loaded"
            child.kill()
        with server.client() as client:
            client.config_set("maxmemory", int(client.info("memory")["used_memory"]) - 100_000)
            wait_for(lambda: not names_of(client, "fs:*:alive:*"))
            record = at_version(SERVICE, 3)
            generation = store.publish(record, many(record, 100, 3.0)).generation
        assert xs(url_of(server), ["k0", "k100"]) == [3.0, None]
        only(server, generation)
        store.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_a_server_that_drops_keys_is_refused(tmp_path: Path, policy: str) -> None:
    server = Server(tmp_path, ["--maxmemory", "6mb", "--maxmemory-policy", policy])
    with running(server):
        with pytest.raises(OnlineStoreError, match=f"drops any key when it is full .*{policy}") as fault:
            opened(url_of(server)).publish(SERVICE, many(SERVICE, 10, 1.0))
        assert "Hint: CONFIG SET maxmemory-policy noeviction" in str(fault.value)
        with server.client() as client:
            assert client.dbsize() == 0
            client.config_set("maxmemory-policy", "volatile-ttl")
        opened(url_of(server)).publish(SERVICE, many(SERVICE, 10, 1.0))


CHILD = """
import sys, time
from fs_spark.errors import FsSparkError
from fs_spark.online.redis_address import redis_address
from fs_spark.online.redis_writer import RedisOnline
from tests.online.contract.kinds import SERVICE, at_version, many

settle = RedisOnline._settle
def between_load_and_switch(self):
    print("loaded", flush=True)
    sys.stdin.readline()
    settle(self)
RedisOnline._settle = between_load_and_switch
record = at_version(SERVICE, 2)
store = RedisOnline(redis_address(sys.argv[1]), lease_s=float(sys.argv[2]))
try:
    store.publish(record, many(record, int(sys.argv[3]), 2.0))
    print("published", flush=True)
except FsSparkError as fault:
    print(type(fault).__name__, str(fault).replace("\\n", " "), flush=True)
"""


def exporter(url: str, *, lease_s: float, count: int) -> subprocess.Popen[str]:
    """A process that loads rows, says so, and switches when it is spoken to."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD), url, str(lease_s), str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)


def told(child: subprocess.Popen[str]) -> str:
    out: IO[str] | None = child.stdout
    assert out is not None
    return out.readline().strip()


def test_what_a_killed_exporter_left_goes_with_the_next_export(redis_server: Server, prefix: str) -> None:
    url = url_of(redis_server, prefix)
    store = opened(url)
    first = store.publish(SERVICE, many(SERVICE, 300, 1.0)).generation
    with exporter(url, lease_s=0.4, count=300) as child:
        assert told(child) == "loaded"
        child.send_signal(signal.SIGKILL)
    assert xs(url, ["k0"]) == [1.0]
    with redis_server.client() as client:
        place = place_of_redis(url, [client])
        assert len(place.generations()) == 2
        wait_for(lambda: not names_of(client, f"{prefix}:*:alive:*"))
        record = at_version(SERVICE, 3)
        generation = store.publish(record, many(record, 300, 3.0)).generation
        assert generation != first
        only(redis_server, generation, prefix)
        assert client.smembers(f"{prefix}:{{{SERVICE.service}}}:living") == {str(generation).encode()}
    assert xs(url, ["k0"]) == [3.0]
    store.close()


def test_an_exporter_that_lives_is_left_alone(redis_server: Server, prefix: str) -> None:
    """Its lease is renewed as long as it works, much longer than one lease."""
    url = url_of(redis_server, prefix)
    store = opened(url)
    with exporter(url, lease_s=0.4, count=300) as child:
        assert told(child) == "loaded"
        for version in (3, 4, 5):
            time.sleep(0.5)
            record = at_version(SERVICE, version)
            store.publish(record, many(record, 50, float(version)))
        assert xs(url, ["k0", "k100"]) == [5.0, None]
        out, _ = child.communicate("go\n", timeout=20)
    assert out.strip() == "published"
    assert xs(url, ["k0", "k100"]) == [2.0, 2.0]  # it was not asked to look what came meanwhile
    store.close()


def test_an_exporter_that_was_taken_for_dead_cannot_switch(redis_server: Server, prefix: str) -> None:
    url = url_of(redis_server, prefix)
    store = opened(url)
    with exporter(url, lease_s=0.4, count=300) as child:
        assert told(child) == "loaded"
        child.send_signal(signal.SIGSTOP)
        with redis_server.client() as client:
            wait_for(lambda: not names_of(client, f"{prefix}:*:alive:*"))
        record = at_version(SERVICE, 3)
        generation = store.publish(record, many(record, 50, 3.0)).generation
        child.send_signal(signal.SIGCONT)
        out, _ = child.communicate("go\n", timeout=20)
    assert "TableConflictError" in out
    assert "taken for one of a dead process" in out
    assert "Hint: run the export again" in out
    assert xs(url, ["k0", "k100"]) == [3.0, None]
    only(redis_server, generation, prefix)
    store.close()


def test_rows_that_come_late_change_nothing(redis_server: Server, prefix: str) -> None:
    """A task that nobody waits for any more writes the rows of a whole load, long after it was switched to."""
    url = url_of(redis_server, prefix)
    store = opened(url)
    first = store.publish(SERVICE, many(SERVICE, 600, 1.0)).generation
    assert first is not None
    based_on = store.published(SERVICE.service)
    assert based_on is not None
    newer = at_version(SERVICE, 2)
    rows = [reading(f"k{i}", None if i % 2 else 2.0) for i in range(600)]
    store.update(newer, readings(newer, rows), based_on=based_on)
    view = SERVICE.views[0]
    late = store._target(first, SERVICE, 0)
    with pytest.raises(SchemaError):
        late.insert(many(SERVICE, 600, 1.0)[0].chunks(view))
    assert xs(url, [f"k{i}" for i in range(600)]) == [None if i % 2 else 2.0 for i in range(600)]
    again = store._target(first, newer, 0)  # the same rows as are there
    assert again.insert(readings(newer, rows)[0].chunks(newer.views[0])).keys == 300
    last = at_version(SERVICE, 3)
    for _ in range(3):
        store.publish(last, many(last, 50, 3.0))
    only(redis_server, store.published(SERVICE.service).generation, prefix)  # type: ignore[union-attr]
    late.insert(many(SERVICE, 600, 1.0)[0].chunks(view))  # into a generation that is gone
    late.upsert(many(SERVICE, 10, 1.0)[0].chunks(view))
    assert xs(url, ["k0", "k50"]) == [3.0, None]
    with redis_server.client() as client:
        assert first in place_of_redis(url, [client]).generations()
    last = at_version(SERVICE, 4)
    generation = store.publish(last, many(last, 50, 4.0)).generation
    only(redis_server, generation, prefix)
    store.close()


def test_a_load_that_runs_twice_is_as_once(redis_server: Server, prefix: str) -> None:
    """As Spark does with a task whose worker it lost: half of the rows are there already."""
    url = url_of(redis_server, prefix)
    store = opened(url)

    class Twice(ViewRows):
        def load(self, view: ViewRecord, write: Any) -> Any:
            write(many(SERVICE, 700, 1.0)[0].chunks(view))
            return write(many(SERVICE, 1000, 1.0)[0].chunks(view))

    view = SERVICE.views[0]
    report = store.publish(SERVICE, [Twice(view.label, view.keys, view.schema, view.delta_version, [])])
    assert report.rows == {"readings__v1.0": 1000}
    assert set(xs(url, [f"k{i}" for i in range(1000)])) == {1.0}
    store.close()


def test_prefixes_are_apart_whatever_they_look_like(redis_server: Server, prefix: str) -> None:
    """Generations of both have the same numbers, and one's prefix is a pattern that fits the other's."""
    plain, pattern = url_of(redis_server, f"{prefix}xab"), url_of(redis_server, f"{prefix}%3Fab")
    for url, x in ((plain, 1.0), (pattern, 2.0)):
        opened(url).publish(SERVICE, many(SERVICE, 50, x))
    record = at_version(SERVICE, 2)
    for _ in range(2):
        opened(pattern).publish(record, many(record, 50, 3.0))
    time.sleep(0.2)
    assert set(xs(plain, [f"k{i}" for i in range(50)])) == {1.0}
    assert set(xs(pattern, [f"k{i}" for i in range(50)])) == {3.0}
    odd = f"{prefix}[a-z]*\\^-"
    store = opened(url_of(redis_server, quote(odd)))
    generation = [store.publish(record, many(record, 50, 4.0)).generation for _ in range(2)][-1]
    place = place_of_redis(url_of(redis_server, f"{prefix}xab"), [redis_server.client()])
    assert place.generations() == {1}
    with redis_server.client() as client:
        wait_for(lambda: {name for name in names_of(client) if name.startswith(f"{odd}:1:".encode())} == set())
        assert any(name.startswith(f"{odd}:{generation}:".encode()) for name in names_of(client))


@pytest.fixture
def proxied(redis_server: Server) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


def _cuts(total: int, count: int) -> list[int]:
    """Places in a transfer: all over it, and each of its last moments, where the switch is."""
    spread = {round(total * i / count) for i in range(count)}
    return sorted(spread | {max(total - i, 0) for i in range(1, 2000, max(2000 // count, 1))})


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("count", [12, pytest.param(150, marks=pytest.mark.soak)], ids=["some", "many"])
def test_an_export_whose_connection_is_cut(
    redis_server: Server, proxied: Proxy, prefix: str, way: Way, count: int
) -> None:
    """It succeeds with its rows or fails with those of before, or both at once never."""
    direct, url = url_of(redis_server, prefix), url_of(redis_server, prefix, proxied.port)
    opened(direct).publish(SERVICE, many(SERVICE, 500, 0.0))
    version, stands = 0, 0.0
    before = dict(proxied.counted)
    store = opened(url)
    record = at_version(SERVICE, 0)
    store.publish(record, many(record, 500, 0.0))
    total = proxied.counted[way] - before[way]
    succeeded = 0
    faults: list[str] = []
    for after in _cuts(total, count):
        version += 1
        record = at_version(SERVICE, version)
        proxied.cut(way, after)
        try:
            store.publish(record, many(record, 500, float(version)))
            succeeded += 1
            stands = float(version)
        except OnlineStoreError as fault:
            faults.append(str(fault))
        proxied.heal()
        found = set(xs(direct, [f"k{i}" for i in range(0, 500, 7)]))
        assert found in ({stands}, {float(version)}), (after, found)
        stands = found.pop()
    assert succeeded
    assert all("Hint: " in fault for fault in faults)
    assert faults or way == "down"  # of what the server says almost nothing is lost for good
    record = at_version(SERVICE, version + 1)
    with redis_server.client() as client:
        for name in names_of(client, f"{prefix}:*:alive:*"):
            client.delete(name)
    generation = store.publish(record, many(record, 500, -1.0)).generation
    assert set(xs(direct, [f"k{i}" for i in range(0, 500, 7)])) == {-1.0}
    only(redis_server, generation, prefix)
    store.close()


@pytest.mark.parametrize("has_seen", [False, True])
def test_an_answer_to_the_switch_that_is_lost(
    redis_server: Server, proxied: Proxy, prefix: str, has_seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has switched and this side does not know: the generation in force must not be cleaned away."""
    direct, url = url_of(redis_server, prefix), url_of(redis_server, prefix, proxied.port)
    store = opened(url)
    put = store._to_switch

    def cut_then_put(*args: Any) -> int:
        proxied.cut("down", 0)
        return put(*args)

    monkeypatch.setattr(store, "_to_switch", cut_then_put)
    for version in (1, 2, 3):
        record = at_version(SERVICE, version)
        seen = 0 if has_seen else None
        report = store.publish(record, many(record, 500, float(version)), seen=seen)
        assert not report.overtaken
        assert set(xs(direct, [f"k{i}" for i in range(500)])) == {float(version)}
        time.sleep(0.1)
        assert set(xs(direct, [f"k{i}" for i in range(500)])) == {float(version)}
    store.close()


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("count", [5, pytest.param(150, marks=pytest.mark.soak)], ids=["some", "many"])
def test_reads_whose_connection_is_cut(redis_server: Server, proxied: Proxy, prefix: str, way: Way, count: int) -> None:
    direct, url = url_of(redis_server, prefix), url_of(redis_server, prefix, proxied.port)
    opened(direct).publish(SERVICE, many(SERVICE, 300, 5.0))
    keys = [{"k": f"k{i}"} for i in range(0, 400, 4)]
    right = [5.0 if i < 300 else None for i in range(0, 400, 4)]
    faults = 0
    with open_online(url) as reader:
        before = dict(proxied.counted)
        assert [one["x"] for one in reader.get(SERVICE.service, keys, ["x"])] == right
        total = proxied.counted[way] - before[way]
        for each in (False, True):
            for after in [round(total * i / count) for i in range(count + 1)]:
                proxied.cut(way, after, each=each)
                try:
                    found = [one["x"] for one in reader.get(SERVICE.service, keys, ["x"])]
                    assert found == right, after
                except OnlineStoreError as fault:
                    faults += each and "Hint: " in str(fault)  # one cut is tried again
                    if not each:
                        raise
                proxied.heal()
                assert [one["x"] for one in reader.get(SERVICE.service, keys, ["x"])] == right

    async def awaited() -> None:
        async with open_online_async(url) as reader:
            for after in [round(total * i / count) for i in range(count + 1)]:
                proxied.cut(way, after)
                assert [one["x"] for one in await reader.get(SERVICE.service, keys, ["x"])] == right
                proxied.heal()

    asyncio.run(awaited())
    assert faults


def test_more_questions_at_once_than_connections(redis_server: Server, prefix: str) -> None:
    url = url_of(redis_server, prefix)
    opened(url).publish(SERVICE, many(SERVICE, 10, 5.0))

    async def awaited() -> list[Any]:
        async with open_online_async(url) as reader:
            asked = (reader.get(SERVICE.service, [{"k": "k1"}], ["x"]) for _ in range(1500))
            return [one[0]["x"] for one in await asyncio.gather(*asked)]

    assert asyncio.run(awaited()) == [5.0] * 1500


def test_answers_while_the_store_is_down(tmp_path: Path) -> None:
    server = Server(tmp_path)
    record = dataclasses.replace(SERVICE, defaults=(("x", -1.0),))

    async def awaited(features: list[str]) -> list[dict[str, Any]]:
        async with open_online_async(url_of(server)) as reader:
            await reader.get(record.service, [{"k": "a"}], features, status=True)
            server.kill()
            return await reader.get(record.service, [{"k": "a"}], features, status=True)

    with running(server):
        opened(url_of(server)).publish(record, readings(record, [reading("a", 1.0)]))
        with open_online(url_of(server)) as reader:
            asked: list[dict[str, Any]] = [{"k": "a"}, {"k": "b"}]
            assert [one["x"] for one in reader.get(record.service, asked, ["x"])] == [1.0, -1.0]
            server.kill()
            found = reader.get(record.service, asked, ["x"], status=True)
            assert [(one["k"], one["x"], one["readings__v1.0__status"]) for one in found] == [
                ("a", -1.0, "down"),
                ("b", -1.0, "down"),
            ]
            with pytest.raises(OnlineStoreError, match="cannot be reached"):
                reader.get(record.service, asked, ["x", "n"])
            with pytest.raises(OnlineStoreError, match="cannot be reached"):
                open_online(url_of(server))
            server.start()
            opened(url_of(server)).publish(record, readings(record, [reading("a", 2.0)]))
            assert [one["x"] for one in reader.get(record.service, asked, ["x"])] == [2.0, -1.0]
        (found_async,) = asyncio.run(awaited(["x"]))
        assert (found_async["x"], found_async["readings__v1.0__status"]) == (-1.0, "down")


def test_a_server_that_hangs_is_a_clear_fault(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with running(server):
        url = f"redis://127.0.0.1:{server.port}?timeout=0.2"
        opened(url).publish(SERVICE, many(SERVICE, 10, 5.0))
        with open_online(url) as reader:
            reader.get(SERVICE.service, [{"k": "k1"}])
            assert server.process is not None
            server.process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(OnlineStoreError, match=r"did not answer within 0\.2 s") as fault:
                    reader.get(SERVICE.service, [{"k": "k1"}])
            finally:
                server.process.send_signal(signal.SIGCONT)
            assert "Hint: " in str(fault.value)
            assert reader.get(SERVICE.service, [{"k": "k1"}], ["x"])[0]["x"] == 5.0


def reads(url: str, count: int, seed: int) -> int:
    """How many of them were right; also a process of its own."""
    rng = random.Random(seed)
    with open_online(url) as reader:
        for _ in range(count):
            keys = [{"k": f"k{rng.randrange(500)}"} for _ in range(rng.choice((1, 5, 40)))]
            found = {(one["x"], float(str(one["n"]))) for one in reader.get(SERVICE.service, keys)}
            assert len(found) == 1, (seed, found)
            ((x, n),) = found
            assert x == n, (seed, found)
    return count


@pytest.mark.parametrize("total", [5_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_reads_while_generations_change(redis_server: Server, prefix: str, total: int) -> None:
    """No answer is mixed of two, none is missing, none fails."""
    url = url_of(redis_server, prefix)
    store = opened(url)
    store.publish(SERVICE, many(SERVICE, 500, 0.0))
    kinds = [multiprocessing.get_context("spawn").Pool(2)] if total > 5_000 else []
    workers = [kind.starmap_async(reads, [(url, total // 4, seed) for seed in (1, 2)]) for kind in kinds]
    threads, right = [], list[int]()
    for seed in (3, 4):
        share = total // 4 if kinds else total // 2
        thread = threading.Thread(target=lambda share=share, seed=seed: right.append(reads(url, share, seed)))
        threads.append(thread)
        thread.start()
    number = 0
    while any(thread.is_alive() for thread in threads) or any(not worker.ready() for worker in workers):
        number += 1
        record = at_version(SERVICE, number)
        store.publish(record, many(record, 500, float(number)))
    for thread in threads:
        thread.join()
    right += [count for worker in workers for count in worker.get()]
    for kind in kinds:
        kind.close()
        kind.join()
    assert sum(right) == total
    assert number > 5
    store.close()


def test_memory_of_a_key(tmp_path: Path) -> None:
    """The bytes of the value and of the key, and at most 96 more [100,000 keys of 20 doubles]."""
    count, columns = 100_000, tuple(f"c{i}" for i in range(20))
    view = ViewRecord("many__v1.0", ("k",), 1, tuple((c, c) for c in columns), RowSchema(columns, ("double",) * 20))
    record = ServiceRecord("many_v1", (view,))
    nulls = pa.array([None] * count, pa.timestamp("us", "UTC"))
    numbers = np.random.default_rng(1).normal(size=(20, count))
    arrays = [pa.array([f"device{i:09d}" for i in range(count)]), nulls, nulls, *(pa.array(one) for one in numbers)]
    batch = pa.record_batch(arrays, names=["k", "event_timestamp", "available_timestamp", *columns])
    server = Server(tmp_path)
    with running(server), server.client() as client:
        store = opened(url_of(server))
        store.publish(SERVICE, many(SERVICE, 10, 1.0))
        before = int(client.info("memory")["used_memory"])
        report = store.publish(record, [ViewRows(view.label, view.keys, view.schema, 1, [batch])])
        used = (int(client.info("memory")["used_memory"]) - before) / count
        size = report.loaded["many__v1.0"].size / count
        size += len("fs:2:0:")  # what stands before the key
        assert used <= size + 96, f"{used:.1f} bytes of memory for {size:.1f} of key and value"
        store.close()


@pytest.mark.parametrize("is_update", [False, True])
def test_a_server_that_lost_rows_while_they_were_written_is_found(tmp_path: Path, is_update: bool) -> None:
    """It is killed and started from a snapshot of the middle: no command fails, and some rows are not there."""
    server = Server(tmp_path)
    record = at_version(SERVICE, 2)
    with running(server):
        store = opened(url_of(server))
        store.publish(SERVICE, many(SERVICE, 100, 1.0))
        based_on = store.published(SERVICE.service)

        def lost() -> Iterator[ViewRows]:
            with server.client() as client:
                client.save()
            yield from many(record, 100, 2.0)
            server.kill()
            server.start()

        def written() -> None:
            assert based_on is not None
            if is_update:
                store.update(record, lost(), based_on=based_on)
            else:
                store.publish(record, lost())

        with pytest.raises(OnlineStoreError, match="some of them may be lost"):
            written()
        found = store.published(SERVICE.service)
        assert found is not None
        assert found.record == SERVICE
        assert xs(url_of(server), ["k0", "k99"]) == [1.0, 1.0]
        store.close()
