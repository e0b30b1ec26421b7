"""The online store in Redis, the writer's side.

A publication is written under the next number, by whoever holds the rows: Spark's workers write what they encode. Each
command adds keys that are not there yet, so that a task that runs twice, or one that was given up and still runs,
changes nothing. Then one script switches the service to the new number; keys of the old one expire after a time of
grace. A number whose writer died has no lease any more: the next export removes it, and for an hour every export looks
for rows that came to dead numbers late. An update changes keys of the number in force, each if it is of a later Delta
version than what is held.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_spark.errors import OnlineStoreError, SchemaError, SetupError, TableConflictError
from fs_spark.online.protocol import Pushed, TableRows, is_overtaken, load_all
from fs_spark.online.records import Loaded, Published, PublishReport, ServiceRecord
from fs_spark.online.redis_address import OLDEST, RedisAddress, client_faults, moving_faults, with_watchers
from fs_spark.online.redis_keys import RedisKeys, bucket_of
from fs_spark.online.redis_scripts import BEGIN, BURY, EXPIRE, NEXT, PUSH, SWITCH, UPDATE
from fs_spark.online.redis_source import ABOUT, published_of
from fs_spark.online.values import HEAD

if TYPE_CHECKING:
    from fs_spark.online.batches import Chunk

log = logging.getLogger(__name__)

GRACE_S: Final = 60.0
"""How long keys of a publication stay after it was replaced."""
LEASE_S: Final = 60.0
LATE_S: Final = 3600.0
"""How long rows may still come to a generation that is dead, from a task that nobody waits for any more."""
EPOCH_S: Final = 1_767_225_600
"""2026 began then; generations count from it."""
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
    label: str
    columns: tuple[str, ...]

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
                write = self._in_cluster if self.address.is_cluster else self._in_pipeline
                for chunk in chunks:
                    if not conditional and pc.count_distinct(chunk.keys).as_py() < len(chunk.keys):
                        raise self._twice()
                    write(client, chunk, UPDATE if conditional else "")
                    loaded += chunk.counted()
            finally:
                for one in with_watchers(client):
                    one.close()
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
            some, theirs = (column.slice(start, KEYS_AT_ONCE).to_pylist() for column in (names, chunk.values))
            self._one_by_one(client, some, theirs, script)

    def _one_by_one(self, client: Any, names: Sequence[bytes], values: Sequence[bytes], script: str) -> None:
        """Keys of which some are there: written before by a task that ran twice, or given twice; or that are moving."""
        pipe = client.pipeline(transaction=False)
        for name, value in zip(names, values, strict=True):
            if script:
                pipe.eval(script, 1, name, value)
            else:
                pipe.set(name, value, nx=True, get=True)
        told = pipe.execute()
        if not script and any(held not in (None, value) for held, value in zip(told, values, strict=True)):
            raise self._twice()

    def _twice(self) -> SchemaError:
        return SchemaError(
            f"view {self.label!r}: two rows have the same {', '.join(self.columns)}.\n"
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
            try:
                if script:
                    client.eval(script, len(names), *names, *some_values)
                    continue
                stood = bool(client.msetnx(dict(zip(names, some_values, strict=True))))
            except moving_faults():
                stood = False
            if not stood:
                self._one_by_one(client, names, some_values, script)


def _prefixed(keys: pa.Array, before: bytes) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(before, pa.binary()), keys, pa.scalar(b"", pa.binary()))


def _commands(names: pa.Array, values: pa.Array, script: str) -> Iterator[tuple[int, bytes]]:
    """Commands in the protocol's bytes, each with the place of its first key; laid out by Arrow, not row by row."""
    if script:
        keys, arguments = _bulk(names), _bulk(values)
        for start in range(0, len(names), KEYS_AT_ONCE):
            count = min(KEYS_AT_ONCE, len(names) - start)
            head = b"*%d\r\n$4\r\nEVAL\r\n$%d\r\n%b\r\n$%d\r\n%d\r\n" % (
                2 * count + 3, len(script), script.encode(), len(str(count)), count,
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
    lease_s: float = LEASE_S
    _client: Any = field(default=None, init=False, repr=False)

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
            servers = self._servers()
            self._clean(name)
            generation = self._next()

            def load(at: int, rows: TableRows) -> Loaded:
                return rows.load(record.views[at], self._target(generation, record, at).insert)

            try:
                with self._lease(name, generation):
                    loaded = load_all(record, tables, load, all_of=True)
                    self._settle()
                    self._require_same(servers)
                    stood = self._switch(record, generation, loaded, seen)
                if stood:
                    self._confirm(name, generation)
            finally:
                self._tidy(name)  # what was replaced goes, or what was written in vain
        return PublishReport(name, loaded, generation) if stood else PublishReport(name, overtaken=True)

    def update(
        self, record: ServiceRecord, tables: Iterable[TableRows], *, based_on: Published
    ) -> PublishReport | None:
        """Keys that changed, then the record; see `protocol.OnlineStore`."""
        generation = based_on.generation
        with self.address.faults():
            self._require_server()
            servers = self._servers()
            loaded = load_all(
                record,
                tables,
                lambda at, rows: rows.load(record.views[at], self._target(generation, record, at).upsert),
                all_of=False,
            )
            self._settle()
            self._require_same(servers)
            for _ in range(_SWITCHES):
                found = self.published(record.service)
                if found is None or found.generation != generation:
                    return None
                said = record.after(found.record, based_on.record)
                if said == found.record or self._put(said, found, generation, loaded):
                    self._confirm(record.service, generation)
                    return PublishReport(record.service, loaded, generation, record.is_older_than(found.record))
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
            for one in with_watchers(self._client):
                one.close()
            self._client = None

    def _target(self, generation: int, record: ServiceRecord, position: int) -> _Target:
        view = record.views[position]
        return _Target(self.address, generation, position, view.label, view.keys)

    def _sizes(self, names: Sequence[bytes]) -> list[int]:
        pipe = self.client.pipeline(transaction=False)
        for name in names:
            pipe.strlen(name)
        return list(pipe.execute()) if names else []

    def _require_server(self) -> None:
        """Raises  SetupError for an old server, OnlineStoreError for one that would drop rows when it is full"""
        if self.address.kind == "sentinel":
            self.client.connection_pool.disconnect()  # the next connection asks the sentinels anew
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

    def _servers(self) -> frozenset[str]:
        """The servers that hold keys, each as it was started."""
        if self.keys.is_cluster:
            told = self.client.info("server", target_nodes="primaries")
            return frozenset(str(one["run_id"]) for one in (told.values() if "run_id" not in told else [told]))
        return frozenset([str(self.client.info("server")["run_id"])])

    def _require_same(self, servers: frozenset[str]) -> None:
        """Raises  OnlineStoreError where a server was started anew since: it may have lost what was written before"""
        gone = servers - self._servers()
        if gone:
            raise OnlineStoreError(
                f"{self.address.shown}: a server was started anew, or another took over, while rows were written, and "
                "some of them may be lost. What was published stands.\nHint: run the export again."
            )

    def _next(self) -> int:
        """A number that no key has. In a cluster the counter may be lost with its node while keys on others are not, so
        that it must not be below the time there; one server loses both or none [8 bytes of each key].
        """
        least = int(time.time()) - EPOCH_S if self.keys.is_cluster else 0
        return int(self.client.eval(NEXT, 1, self.keys.counter, least))

    @contextmanager
    def _lease(self, service: str, generation: int) -> Iterator[None]:
        """While it is held nobody takes the generation for one that a dead process left."""
        alive, ended = self.keys.alive(service, generation), threading.Event()
        lease_ms = max(round(self.lease_s * 1000), 1)
        self.client.eval(
            BEGIN, 3, alive, self.keys.generations(service), self.keys.living(service), generation, _now_ms(), lease_ms
        )

        def renew() -> None:
            while not ended.wait(self.lease_s / 4):
                try:
                    self.client.pexpire(alive, lease_ms)
                except client_faults() as fault:
                    log.debug("lease of generation %d: %s", generation, fault)

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            try:
                self.client.delete(alive)
            except client_faults() as fault:
                log.debug("lease of generation %d ends by itself: %s", generation, fault)

    def _settle(self) -> None:
        """Waits, at most a second, until replicas have the rows that the switch speaks of."""
        if self.address.kind == "sentinel":
            self.client.wait(1, round(min(1.0, self.address.timeout_s / 2) * 1000))

    def _confirm(self, service: str, generation: int) -> None:
        """Sentinels may name another server while the one of before still takes writes, which are lost with it.

        Raises  OnlineStoreError where that happened
        """
        if self.address.kind == "sentinel":
            other = RedisOnline(self.address)
            try:
                found = other.published(service)
            finally:
                other.close()
            if found is None or found.generation < generation:
                raise OnlineStoreError(
                    f"{self.address.shown}: another server took over while {service!r} was exported, and what was "
                    "written is lost with the one of before.\nHint: run the export again."
                )

    def _switch(self, record: ServiceRecord, generation: int, loaded: dict[str, Loaded], seen: int | None) -> bool:
        """Whether readers get this generation now; not where a newer one came meanwhile."""
        self.client.sadd(self.keys.services, record.service)
        for _ in range(_SWITCHES):
            found = self.published(record.service)
            if found is not None and found.generation == generation:
                return True  # the server did so before, and its answer was lost
            if is_overtaken(found, record, seen):
                return False
            if self._put(record, found, generation, loaded):
                return True
        raise self._never_switched(record.service)

    def _put(self, record: ServiceRecord, found: Published | None, generation: int, loaded: dict[str, Loaded]) -> bool:
        service = record.service
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
        told = self._to_switch(service, found, generation, fields)
        if told == -1:
            raise TableConflictError(
                f"service {service!r}: generation {generation} was taken for one of a dead process, since nothing was "
                f"heard of this one for {self.lease_s:g} s.\nHint: run the export again."
            )
        return bool(told)

    def _to_switch(self, service: str, found: Published | None, generation: int, fields: dict[str, str]) -> int:
        """What `SWITCH` says. Serials go with the time, so that a server that lost its data gives none again."""
        keys, now_ms = self.keys, _now_ms()
        before = f"{found.generation}.{found.serial}" if found is not None else ""
        serial = max(now_ms, found.serial + 1 if found is not None else 0)
        parts = [part for pair in fields.items() for part in pair]
        told: int = self.client.eval(
            SWITCH, 4, keys.current(service), keys.about(service), keys.generations(service), keys.living(service),
            before, f"{generation}.{serial}", generation, now_ms, *parts,
        )  # fmt: skip
        return told

    def _note_pushed(self, service: str) -> None:
        """Readers look for pushed rows from now on."""
        for _ in range(_SWITCHES):
            found = self.published(service)
            if found is None or found.pushed:
                return
            if self._to_switch(service, found, found.generation, {"pushed": "1"}) == 1:
                return
        raise self._never_switched(service)

    def _never_switched(self, service: str) -> TableConflictError:
        return TableConflictError(
            f"service {service!r}: another process published each time when this one was about to.\n"
            "Hint: run the export again."
        )

    def _tidy(self, service: str) -> None:
        """As `_clean`, and no fault of it changes what came of an export."""
        try:
            self._clean(service)
        except client_faults() as fault:
            log.warning("%s: keys that nobody reads are left for the next export: %s", service, fault)

    def _clean(self, service: str) -> None:
        """What is neither in force nor being written goes: at once if it never was in force, else after the grace."""
        keys, grace_ms, now_ms = self.keys, max(round(self.grace_s * 1000), 1), _now_ms()
        lives, late, is_any_new = dict[int, int](), [], False
        entries = self.client.hgetall(keys.generations(service))
        living = self.client.smembers(
            keys.living(service)
        )  # after the entries: what begins meanwhile is not among them
        for number, entry in entries.items():
            if number in living:
                told = self.client.eval(
                    BURY, 4, keys.alive(service, int(number)), keys.generations(service), keys.living(service),
                    keys.current(service), number, now_ms,
                )  # fmt: skip
                if not told:
                    continue
                is_any_new = True
            state, _, at = entry.partition(b" ")
            lives[int(number)] = grace_ms if state == b"served" else 0
            if number not in living and int(at) < now_ms - LATE_S * 1000:
                late.append(number)
        if is_any_new:
            self._expire(lives)
            if late:
                self.client.hdel(keys.generations(service), *late)

    def _expire(self, lives: Mapping[int, int]) -> None:
        """Keys of generations end in so many ms."""
        before = self.keys.rows_prefix(next(iter(lives)))
        if len(lives) > 1:
            before = self.keys.prefix.encode() + b":"
        for names in self._scan(before, digits=len(lives) > 1):
            groups: dict[tuple[int, int], list[bytes]] = {}
            for name in names:
                number = name[len(self.keys.prefix) + 1 :].partition(b":")[0]
                life_ms = lives.get(int(number)) if number.isdigit() else None
                if life_ms is not None:
                    slot = self.client.keyslot(name) if self.keys.is_cluster else 0
                    groups.setdefault((slot, life_ms), []).append(name)
            for (_, life_ms), some in groups.items():
                for at in range(0, len(some), KEYS_AT_ONCE):
                    self._expire_some(some[at : at + KEYS_AT_ONCE], life_ms)

    def _expire_some(self, names: Sequence[bytes], life_ms: int) -> None:
        """At once where that is 0, which makes room at once too."""
        try:
            if life_ms:
                self.client.eval(EXPIRE, len(names), *names, life_ms)
            else:
                self.client.unlink(*names)
        except moving_faults():
            for name in names:
                self.client.pexpire(name, max(life_ms, 1), lt=True)

    def _scan(self, before: bytes, *, digits: bool = False) -> Iterator[list[bytes]]:
        """All keys that begin so (and go on with a digit), some at a time; one may come twice."""
        pattern = b"".join(b"\\" + bytes([c]) if c in b"*?[]\\^" else bytes([c]) for c in before)
        pattern += b"[0-9]*" if digits else b"*"
        more = {"target_nodes": "primaries"} if self.keys.is_cluster else {}
        held: list[bytes] = []
        for name in self.client.scan_iter(match=pattern, count=5000, **more):
            held.append(name)
            if len(held) == 5000:
                yield held
                held = []
        yield held


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
