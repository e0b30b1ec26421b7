"""Behind sentinels another server takes over, and readers and exports go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pytest

from fs_spark.errors import OnlineStoreError
from fs_spark.online import open_online
from fs_spark.online.batches import ViewRows
from fs_spark.online.protocol import open_store
from tests.online.contract.kinds import SERVICE, at_version, many, pushed, reading, readings, xs
from tests.online.servers import Server, running, wait_for


@dataclass
class Watched:
    first: Server
    second: Server
    sentinel: Server

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/main"

    def primary(self) -> Server:
        with self.sentinel.client() as client:
            port = int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])
        return next(server for server in (self.first, self.second) if server.port == port)


@pytest.fixture
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("sentinel")
    first = Server(folder)
    second = Server(folder, ["--replicaof", "127.0.0.1", str(first.port)])
    sentinel = Server(folder, sentinel=True)
    (folder / "sentinel.conf").write_text(
        f"dir {folder}\nsentinel monitor main 127.0.0.1 {first.port} 1\nsentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 3000\nsentinel parallel-syncs main 1\n"
    )
    with running(first, second):
        with second.client() as client:
            wait_for(lambda: client.info("replication")["master_link_status"] == "up")
        with running(sentinel):
            with sentinel.client() as client:
                wait_for(lambda: client.execute_command("SENTINEL", "REPLICAS", "main"))
            yield Watched(first, second, sentinel)


def fail_over(watched: Watched) -> None:
    before = watched.primary()
    with watched.sentinel.client() as client:
        wait_for(lambda: client.execute_command("SENTINEL", "FAILOVER", "main"))
    wait_for(lambda: watched.primary() is not before)


def test_what_was_written_to_the_server_of_before_is_not_called_published(
    watched: Watched,
) -> None:
    store = open_store(watched.url)
    store.publish(SERVICE, many(SERVICE, 10, 1.0))

    def rows_then_failover() -> Iterator[pa.RecordBatch]:
        yield from many(at_version(SERVICE, 2), 10, 2.0)[0].batches
        fail_over(watched)

    record = at_version(SERVICE, 2)
    view = record.views[0]
    table = ViewRows(view.label, view.keys, view.schema, view.delta_version, rows_then_failover())
    with pytest.raises(OnlineStoreError, match="another server took over") as fault:
        store.publish(record, [table])
    assert "Hint: run the export again" in str(fault.value)
    watched.first.kill()
    store.publish(record, many(record, 10, 2.0))
    assert xs(watched.url, ["k0"]) == [2.0]
    store.close()


def retried(read: object) -> object:
    """While servers change a read may say that there is none; never anything else."""
    end = time.monotonic() + 15
    while True:
        try:
            return read()  # type: ignore[operator]
        except OnlineStoreError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def test_readers_and_exports_go_on_after_a_failover(watched: Watched) -> None:
    store = open_store(watched.url)
    store.publish(SERVICE, many(SERVICE, 500, 1.0))
    with open_online(watched.url) as reader:

        def read() -> list[object]:
            return [one["x"] for one in reader.get(SERVICE.service, [{"k": "k0"}, {"k": "k499"}, {"k": "no"}], ["x"])]

        assert read() == [1.0, 1.0, None]
        fail_over(watched)
        assert retried(read) == [1.0, 1.0, None]
        record = at_version(SERVICE, 2)
        retried(lambda: store.publish(record, many(record, 500, 2.0)))
        assert read() in (
            [1.0, 1.0, None],
            [2.0, 2.0, None],
        )  # sentinels leave the one of before alone for some seconds
        watched.first.kill()
        assert retried(read) == [2.0, 2.0, None]
        based_on = store.published(SERVICE.service)
        assert based_on is not None
        newer = at_version(SERVICE, 3)
        assert store.update(newer, readings(newer, [reading("k0", 3.0)]), based_on=based_on) is not None
        store.push(based_on, [pushed("no", 4.0, event=9)], expires_s=60)
        assert read() == [3.0, 2.0, 4.0]
    assert xs(watched.url, ["k0", "k1"]) == [3.0, 2.0]
    store.close()


def test_a_primary_that_dies_is_replaced_while_reads_run(watched: Watched) -> None:
    store = open_store(watched.url)
    store.publish(SERVICE, many(SERVICE, 500, 1.0))
    wrong: list[object] = []
    good_after: list[float] = []
    stop = threading.Event()

    def read() -> None:
        with open_online(f"{watched.url}?timeout=1") as reader:
            while not stop.is_set():
                try:
                    found = {
                        one["x"] for one in reader.get(SERVICE.service, [{"k": f"k{i}"} for i in range(20)], ["x"])
                    }
                    good_after.append(time.monotonic())
                    if found not in ({1.0}, {2.0}):
                        wrong.append(found)
                except OnlineStoreError:
                    time.sleep(0.02)
                except BaseException as fault:
                    wrong.append(fault)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.2)
    watched.first.kill()
    wait_for(lambda: watched.primary() is watched.second)
    record = at_version(SERVICE, 2)
    retried(lambda: store.publish(record, many(record, 500, 2.0)))
    moment = time.monotonic()
    wait_for(lambda: good_after and good_after[-1] > moment)
    stop.set()
    thread.join()
    store.close()
    assert not wrong
    assert xs(watched.url, ["k0"]) == [2.0]


def test_a_replica_refuses_with_a_hint(watched: Watched) -> None:
    replica = watched.second if watched.primary() is watched.first else watched.first
    store = open_store(f"redis://127.0.0.1:{replica.port}")
    with pytest.raises(OnlineStoreError, match="is a replica, which takes no writes") as fault:
        store.publish(SERVICE, readings(SERVICE, []))
    assert "Hint: name the primary, or its sentinels" in str(fault.value)
    with watched.primary().client() as client:
        assert client.dbsize() == 0


def test_sentinels_that_know_no_such_primary(watched: Watched) -> None:
    with pytest.raises(OnlineStoreError) as fault:
        open_online(watched.url.replace("/main", "/other"))
    assert "Hint: " in str(fault.value)
    with pytest.raises(OnlineStoreError):
        open_online("redis+sentinel://127.0.0.1:1/main?timeout=0.2")
