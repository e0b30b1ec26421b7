"""The online store in Redis, the writer's side.

A publication is written under the next number, by whoever holds the rows: Spark's workers write what they encode. Each
command adds keys that are not there yet, so that a task that runs twice, or one that was given up and still runs,
changes nothing. Then one script switches the service to the new number; keys of the old one expire after a time of
grace. A number whose writer died has no lease any more: the next export removes it. An update changes keys of the
number in force, each if it is of a later Delta version than what is held.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_spark.errors import OnlineStoreError, SchemaError, SetupError, TableConflictError
from fs_spark.online.protocol import Pushed, TableRows, is_overtaken, load_all
from fs_spark.online.records import Loaded, Published, PublishReport, ServiceRecord
from fs_spark.online.redis_address import OLDEST, RedisAddress
from fs_spark.online.redis_keys import RedisKeys, bucket_of
from fs_spark.online.redis_scripts import BEGIN, BURY, EXPIRE, PUSH, SWITCH, UPDATE
from fs_spark.online.redis_source import ABOUT, published_of
from fs_spark.online.values import HEAD

if TYPE_CHECKING:
    from fs_spark.online.batches import Chunk

log = logging.getLogger(__name__)

GRACE_S: Final = 60.0
"""How long keys of a publication stay after it was replaced."""
LEASE_MS: Final = 60_000
KEYS_AT_ONCE: Final = 500
"""Of one command: a server does nothing else meanwhile."""
_IN_FLIGHT: Final = 8
_SWITCHES: Final = 20


@dataclass(frozen=True)
class _Target:
    """Where the rows of one view go; sent to workers as it is."""

    address: RedisAddress
    generation: int
    position: int

    def insert(self, chunks: Iterable[Chunk]) -> Loaded:
        """Adds keys that are not there. Raises  SchemaError where one is, with another value"""
        return self._load(chunks, conditional=False)

    def upsert(self, chunks: Iterable[Chunk]) -> Loaded:
        """Sets keys that are of an earlier Delta version, or not there."""
        return self._load(chunks, conditional=True)

    def _load(self, chunks: Iterable[Chunk], *, conditional: bool) -> Loaded:
        loaded = Loaded()
        with self.address.faults():
            client = self.address.connect()
            try:
                script = client.script_load(UPDATE) if conditional else ""
                write = self._in_cluster if self.address.is_cluster else self._in_pipeline
                for chunk in chunks:
                    write(client, chunk, script)
                    loaded += chunk.counted()
            finally:
                client.close()
        return loaded

    def _in_pipeline(self, client: Any, chunk: Chunk, script: str) -> None:
        """Commands of many keys, some of them on their way at once."""
        before = RedisKeys(self.address.prefix).rows(self.generation, self.position)
        names = _prefixed(chunk.keys, before)
        connection = client.connection_pool.get_connection()
        try:
            waiting: list[int] = []
            refused: list[int] = []

            def answer() -> None:
                start = waiting.pop(0)
                if connection.read_response() == 0 and not script:
                    refused.append(start)

            for start, command in _commands(names, chunk.values, script):
                connection.send_packed_command([command])
                waiting.append(start)
                if len(waiting) == _IN_FLIGHT:
                    answer()
            while waiting:
                answer()
        except BaseException:
            connection.disconnect()  # replies may be on their way
            raise
        finally:
            client.connection_pool.release(connection)
        for start in refused:
            self._one_by_one(client, names.slice(start, KEYS_AT_ONCE), chunk.values.slice(start, KEYS_AT_ONCE))

    def _one_by_one(self, client: Any, names: pa.Array, values: pa.Array) -> None:
        """Keys of which some are there: written before by a task that ran twice, or given twice."""
        pairs = list(zip(names.to_pylist(), values.to_pylist(), strict=True))
        pipe = client.pipeline(transaction=False)
        for name, value in pairs:
            pipe.set(name, value, nx=True, get=True)
        told = pipe.execute()
        if any(held is not None and held != value for held, (_, value) in zip(told, pairs, strict=True)):
            raise SchemaError(
                "two rows of a view have the same keys.\n"
                "Hint: publish the newest row of each key only, or rows of one key one behind the other."
            )

    def _in_cluster(self, client: Any, chunk: Chunk, script: str) -> None:
        """A command for each bucket, whose keys lie in one slot."""
        keys, values = chunk.keys.to_pylist(), chunk.values.to_pylist()
        naming = RedisKeys(self.address.prefix, is_cluster=True)
        buckets: dict[int, tuple[list[bytes], list[bytes]]] = {}
        for key, value in zip(keys, values, strict=True):
            some = buckets.setdefault(bucket_of(key), ([], []))
            some[0].append(key)
            some[1].append(value)
        for bucket, (some_keys, some_values) in buckets.items():
            before = naming.rows(self.generation, self.position, bucket)
            names = [before + key for key in some_keys]
            if script:
                client.eval(UPDATE, len(names), *names, *some_values)
            elif not client.msetnx(dict(zip(names, some_values, strict=True))) or len(set(names)) < len(names):
                self._one_by_one(client, pa.array(names, pa.binary()), pa.array(some_values, pa.binary()))


def _prefixed(keys: pa.Array, before: bytes) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(before, pa.binary()), keys, pa.scalar(b"", pa.binary()))


def _commands(names: pa.Array, values: pa.Array, script: str) -> Iterator[tuple[int, bytes]]:
    """Commands in the protocol's bytes, each with the place of its first key; laid out by Arrow, not row by row."""
    if script:
        keys, arguments = _bulk(names), _bulk(values)
        for start in range(0, len(names), KEYS_AT_ONCE):
            count = min(KEYS_AT_ONCE, len(names) - start)
            head = b"*%d\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$%d\r\n%d\r\n" % (
                2 * count + 3, script.encode(), len(str(count)), count,
            )  # fmt: skip
            yield start, head + _bytes(keys, start, count) + _bytes(arguments, start, count)
        return
    pairs = _bulk(names, values)
    for start in range(0, len(names), KEYS_AT_ONCE):
        count = min(KEYS_AT_ONCE, len(names) - start)
        yield start, b"*%d\r\n$6\r\nMSETNX\r\n" % (2 * count + 1) + _bytes(pairs, start, count)


def _bulk(*columns: pa.Array) -> pa.Array:
    """Items as the protocol writes them: a length, the bytes, an end; those of several columns in turns."""
    end, parts = pa.scalar(b"\r\n", pa.binary()), []
    for column in columns:
        lengths = pc.binary_length(column).cast(pa.string()).cast(pa.binary())
        parts += [pa.scalar(b"$", pa.binary()), lengths, end, column, end]
    joined: pa.Array = pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))
    return pa.concat_arrays([joined])


def _bytes(items: pa.Array, start: int, count: int) -> bytes:
    offsets = np.frombuffer(items.buffers()[1], np.int32, len(items) + 1)
    part = items.buffers()[2].slice(int(offsets[start]), int(offsets[start + count] - offsets[start]))
    return bytes(part)


@dataclass
class RedisOnline:
    """Publishes services into a Redis. Connections are opened as they are needed."""

    address: RedisAddress
    grace_s: float = GRACE_S
    _client: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.keys = RedisKeys(self.address.prefix, self.address.is_cluster)

    @property
    def client(self) -> Any:
        if self._client is None:
            self._client = self.address.connect()
        return self._client

    def published(self, service: str) -> Published | None:
        """What readers get now."""
        with self.address.faults():
            return published_of(self.client.hmget(self.keys.about(service), ABOUT))

    def publish(self, record: ServiceRecord, tables: Iterable[TableRows], *, seen: int | None = None) -> PublishReport:
        """All rows of all views under a new number, then the switch; see `protocol.OnlineStore`."""
        name = record.service
        with self.address.faults():
            self._require_server()
            self._clean(name)
            generation = int(self.client.incr(self.keys.counter))
            with self._lease(name, generation):
                try:

                    def load(at: int, rows: TableRows) -> Loaded:
                        return rows.load(record.views[at], self._target(generation, at).insert)

                    loaded = load_all(record, tables, load, all_of=True)
                    self._settle()
                    stood = self._switch(record, generation, loaded, seen)
                except BaseException:
                    self._abandon(name, generation)
                    raise
            if not stood:
                self._abandon(name, generation)
                return PublishReport(name, overtaken=True)
            self._clean(name)
        return PublishReport(name, loaded, generation)

    def update(
        self, record: ServiceRecord, tables: Iterable[TableRows], *, based_on: Published
    ) -> PublishReport | None:
        """Keys that changed, then the record; see `protocol.OnlineStore`."""
        generation = based_on.generation
        with self.address.faults():
            self._require_server()
            loaded = load_all(
                record, tables, lambda at, rows: rows.load(record.views[at], self._target(generation, at).upsert),
                all_of=False,
            )  # fmt: skip
            self._settle()
            for _ in range(_SWITCHES):
                found = self.published(record.service)
                if found is None or found.generation != generation:
                    return None
                if record.is_older_than(found.record) or self._put(record, found, generation, loaded, found.serial + 1):
                    return PublishReport(record.service, loaded, generation)
        raise self._never_switched(record.service)

    def push(self, published: Published, rows: Sequence[Pushed], *, expires_s: float) -> int:
        """Rows beside the exported ones, each if it is later than the one pushed before."""
        service, life_ms = published.record.service, max(round(expires_s * 1000), 1)
        named = [(self.keys.pushed(service, row.label, row.key), row.value) for row in rows]
        with self.address.faults():
            if not published.pushed:
                self._note_pushed(service)
            groups = [named[at : at + KEYS_AT_ONCE] for at in range(0, len(named), KEYS_AT_ONCE)]
            if self.keys.is_cluster:
                groups = [[pair] for pair in named]
            script = self.client.register_script(PUSH)
            return sum(
                script(keys=[name for name, _ in some], args=[*(value for _, value in some), life_ms])
                for some in groups
            )

    def keys_of(self, published: Published, position: int) -> Iterator[Sequence[bytes]]:
        """All keys of a view that are stored with rows."""
        before = self.keys.rows_prefix(published.generation) + b"%d:" % position
        with self.address.faults():
            for names in self._scan(before):
                sizes = self._sizes(names)
                plain = [name[len(before) :] for name, size in zip(names, sizes, strict=True) if size > HEAD.size]
                yield [key.partition(b"}:")[2] for key in plain] if self.keys.is_cluster else plain

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _target(self, generation: int, position: int) -> _Target:
        return _Target(self.address, generation, position)

    def _sizes(self, names: Sequence[bytes]) -> list[int]:
        pipe = self.client.pipeline(transaction=False)
        for name in names:
            pipe.strlen(name)
        return list(pipe.execute()) if names else []

    def _require_server(self) -> None:
        """Raises  SetupError for an old server, OnlineStoreError for one that would drop rows when it is full"""
        told = self.client.info(target_nodes="random") if self.keys.is_cluster else self.client.info()
        told = next(iter(told.values())) if "redis_version" not in told else told
        version = str(told.get("redis_version", OLDEST))
        if int(version.partition(".")[0]) < OLDEST:
            raise SetupError(f"{self.address.shown} is Redis {version}.\nHint: {OLDEST} or later is needed.")
        policy = str(told.get("maxmemory_policy", "noeviction"))
        if int(told.get("maxmemory", 0)) and policy.startswith("allkeys"):
            raise OnlineStoreError(
                f"{self.address.shown} drops any key when it is full (maxmemory-policy {policy}), and rows would be "
                "missing without a word.\nHint: CONFIG SET maxmemory-policy noeviction, or volatile-ttl"
            )

    @contextmanager
    def _lease(self, service: str, generation: int) -> Iterator[None]:
        """While it is held nobody takes the generation for one that a dead process left."""
        alive, ended = self.keys.alive(service, generation), threading.Event()
        self.client.eval(
            BEGIN, 2, alive, self.keys.generations(service), generation, int(time.time() * 1000), LEASE_MS
        )  # fmt: skip

        def renew() -> None:
            while not ended.wait(LEASE_MS / 4000):
                try:
                    self.client.pexpire(alive, LEASE_MS)
                except Exception as fault:
                    log.debug("lease of generation %d: %s", generation, fault)

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.client.delete(alive)

    def _settle(self) -> None:
        """Waits, at most a second, until replicas have the rows that the switch speaks of."""
        if not self.keys.is_cluster and self.address.kind == "sentinel":
            self.client.wait(1, 1000)

    def _switch(self, record: ServiceRecord, generation: int, loaded: dict[str, Loaded], seen: int | None) -> bool:
        """Whether readers get this generation now; not where a newer one came meanwhile."""
        self.client.sadd(self.keys.services, record.service)
        for _ in range(_SWITCHES):
            found = self.published(record.service)
            if is_overtaken(found, record, seen):
                return False
            if self._put(record, found, generation, loaded, (found.serial if found else 0) + 1):
                return True
        raise self._never_switched(record.service)

    def _put(
        self, record: ServiceRecord, found: Published | None, generation: int, loaded: dict[str, Loaded], serial: int
    ) -> bool:
        service = record.service
        before = f"{found.generation}.{found.serial}" if found is not None else ""
        known = found.key_types if found is not None and found.generation == generation else ()
        types = [
            loaded[view.label].key_types if view.label in loaded and loaded[view.label].key_types else
            (known[at] if at < len(known) else ())
            for at, view in enumerate(record.views)
        ]  # fmt: skip
        schemas = {view.stored: None for view in (*record.views, *(found.record.views if found is not None else ()))}
        schemas |= dict.fromkeys(found.schemas if found is not None else ())
        fields = {
            "record": record.to_json(),
            "key_types": json.dumps(types),
            "report": json.dumps({view: one.to_dict() for view, one in loaded.items()}),
            "pushed": "1" if found is not None and found.pushed else "0",
            "schemas": json.dumps([schema.to_json() for schema in schemas]),
            "generation": str(generation),
            "format": "2",
        }
        told = self.client.eval(
            SWITCH, 3, self.keys.current(service), self.keys.about(service), self.keys.generations(service),
            before, f"{generation}.{serial}", generation, *(part for pair in fields.items() for part in pair),
        )  # fmt: skip
        if told == -1:
            raise TableConflictError(
                f"service {service!r}: generation {generation} was taken for one of a dead process, since nothing was "
                f"heard of this one for {LEASE_MS // 1000} s.\nHint: run the export again."
            )
        return bool(told)

    def _note_pushed(self, service: str) -> None:
        """Readers look for pushed rows from now on."""
        for _ in range(_SWITCHES):
            found = self.published(service)
            if found is None or found.pushed:
                return
            told = self.client.eval(
                SWITCH, 3, self.keys.current(service), self.keys.about(service), self.keys.generations(service),
                f"{found.generation}.{found.serial}", f"{found.generation}.{found.serial + 1}", found.generation,
                "pushed", "1",
            )  # fmt: skip
            if told == 1:
                return
        raise self._never_switched(service)

    def _never_switched(self, service: str) -> TableConflictError:
        return TableConflictError(
            f"service {service!r}: another process published each time when this one was about to.\n"
            "Hint: run the export again."
        )

    def _abandon(self, service: str, generation: int) -> None:
        """A generation that never was in force."""
        try:
            self.client.hset(self.keys.generations(service), generation, "dead")
            self._expire(generation, 1)
            self.client.hdel(self.keys.generations(service), generation)
        except Exception as fault:
            log.warning("%s: keys of generation %d are left for the next export: %s", service, generation, fault)

    def _clean(self, service: str) -> None:
        """What is neither in force nor being written goes, after the time of grace."""
        generations, current = self.keys.generations(service), self.keys.current(service)
        for number in self.client.hkeys(generations):
            generation = int(number)
            if self.client.eval(BURY, 3, self.keys.alive(service, generation), generations, current, generation):
                self._expire(generation, max(round(self.grace_s * 1000), 1))
                self.client.hdel(generations, generation)

    def _expire(self, generation: int, life_ms: int) -> None:
        for names in self._scan(self.keys.rows_prefix(generation)):
            groups: Iterable[Sequence[bytes]] = (names[at : at + 1000] for at in range(0, len(names), 1000))
            if self.keys.is_cluster:
                slots: dict[int, list[bytes]] = {}
                for name in names:
                    slots.setdefault(self.client.keyslot(name), []).append(name)
                groups = slots.values()
            for some in groups:
                if some:
                    self.client.eval(EXPIRE, len(some), *some, life_ms)

    def _scan(self, before: bytes) -> Iterator[list[bytes]]:
        """All keys that begin so, some at a time; one may come twice."""
        pattern = b"".join(b"\\" + bytes([c]) if c in b"*?[]\\^" else bytes([c]) for c in before) + b"*"
        more = {"target_nodes": "primaries"} if self.keys.is_cluster else {}
        held: list[bytes] = []
        for name in self.client.scan_iter(match=pattern, count=5000, **more):
            held.append(name)
            if len(held) == 5000:
                yield held
                held = []
        yield held
