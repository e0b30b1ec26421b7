"""An online Redis as readers see it: one MGET gives the publication in force and the rows, as they are at one moment.

In a cluster keys lie on several nodes: there the rows are asked for first and the publication last. A publication that
is in force at the end was so all the time, since its number is never given again, and rows of one that is not any more
stay for a time of grace.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fs_spark.errors import RequestError
from fs_spark.online.codec import RowSchema
from fs_spark.online.protocol import Found, Wanted
from fs_spark.online.records import Published, ServiceRecord
from fs_spark.online.redis_address import RedisAddress, with_watchers
from fs_spark.online.redis_keys import RedisKeys

if TYPE_CHECKING:
    import redis
    import redis.asyncio

ABOUT: Final = ("record", "key_types", "report", "pushed", "schemas", "current")
_AT_ONCE: Final = 128
"""Questions of one asyncio reader that are on their way, each on a connection; others wait for their turn."""
_CLOSED: Final = "this reader is closed.\nHint: open another with `open_online`."


def published_of(told: Sequence[bytes | None]) -> Published | None:
    """What the fields `ABOUT` of a service say."""
    record, key_types, report, pushed, schemas, current = told
    if record is None or current is None:
        return None
    generation, serial = map(int, current.split(b"."))
    return Published(
        ServiceRecord.from_json(record.decode()),
        generation,
        tuple(tuple(types) for types in json.loads(key_types or b"[]")),
        serial,
        pushed == b"1",
        json.loads(report or b"{}"),
        tuple(RowSchema.from_json(text) for text in json.loads(schemas or b"[]")),
    )


@dataclass(frozen=True)
class _Asked:
    """The keys of one request, in the order of the reply."""

    names: list[bytes]
    counts: list[tuple[Sequence[bytes], bool]]
    """For each run of the reply the keys, and whether they are pushed rows."""

    @classmethod
    def of(cls, keys: RedisKeys, published: Published, wanted: Wanted) -> _Asked:
        names: list[bytes] = []
        counts: list[tuple[Sequence[bytes], bool]] = []
        service, generation = published.record.service, published.generation
        for position, some in wanted:
            if keys.is_cluster:
                names += [keys.row(generation, position, key) for key in some]
            else:
                before = keys.rows(generation, position)
                names += [before + key for key in some]
            counts.append((some, False))
            if published.pushed:
                label = published.record.views[position].label
                names += [keys.pushed(service, label, key) for key in some]
                counts.append((some, True))
        return cls(names, counts)

    def found(self, told: Sequence[bytes | None]) -> list[Found]:
        result: list[Found] = []
        at = 0
        for keys, are_pushed in self.counts:
            values = told[at : at + len(keys)]
            at += len(keys)
            rows = {key: value for key, value in zip(keys, values, strict=True) if value is not None}
            result = [*result[:-1], Found(result[-1].rows, rows)] if are_pushed else [*result, Found(rows, {})]
        return result


def _is_current(published: Published, told: bytes | None) -> bool:
    return told == b"%d.%d" % (published.generation, published.serial)


@dataclass
class RedisSource:
    """Snapshots for any number of threads, over the client's pool of connections, which knows of forks."""

    address: RedisAddress
    _known: dict[str, Published] = field(default_factory=dict)
    _closed: bool = False
    _client: redis.Redis = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.keys = RedisKeys(self.address.prefix, self.address.is_cluster)
        with self.address.faults():
            self._client = self.address.connect()
            try:
                self._client.ping()  # a server that is not there is told here, not at the first request
            except BaseException:
                self.close()
                raise

    @property
    def client(self) -> Any:
        if self._closed:
            raise RequestError(_CLOSED)
        return self._client

    def services(self) -> list[str]:
        with self.address.faults():
            names = sorted(name.decode() for name in self.client.smembers(self.keys.services))
            return [name for name in names if self.client.exists(self.keys.current(name))]

    def published(self, service: str) -> Published | None:
        known = self._known.get(service)
        if known is None:
            with self.address.faults():
                known = published_of(self.client.hmget(self.keys.about(service), ABOUT))
            if known is not None:
                self._known[service] = known
        return known

    def rows(self, published: Published, wanted: Wanted) -> list[Found] | None:
        asked = _Asked.of(self.keys, published, wanted)
        name = self.keys.current(published.record.service)
        with self.address.faults():
            if self.keys.is_cluster:
                told = self._by_node(asked.names)
                told.append(self.client.get(name))
            else:
                told = self.client.execute_command("MGET", *asked.names, name)  # `mget` looks at each name first
        if not _is_current(published, told[-1]):
            self._known.pop(published.record.service, None)
            return None
        return asked.found(told)

    def _by_node(self, names: Sequence[bytes]) -> list[bytes | None]:
        if not names:
            return []
        pipe = self.client.pipeline(transaction=False)
        for name in names:
            pipe.get(name)
        found: list[bytes | None] = pipe.execute()
        return found

    def close(self) -> None:
        self._closed = True
        for one in with_watchers(self._client):
            one.close()


@dataclass
class AsyncRedisSource:
    """The same on asyncio's own connections."""

    address: RedisAddress
    _known: dict[str, Published] = field(default_factory=dict)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    _client: redis.asyncio.Redis = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.keys = RedisKeys(self.address.prefix, self.address.is_cluster)
        with self.address.faults():
            self._client = self.address.connect_async()

    async def services(self) -> list[str]:
        client: Any = self._client
        with self.address.faults():
            names = sorted(name.decode() for name in await client.smembers(self.keys.services))
            return [name for name in names if await client.exists(self.keys.current(name))]

    async def published(self, service: str) -> Published | None:
        known = self._known.get(service)
        if known is None:
            client: Any = self._client
            with self.address.faults():
                async with self._turns:
                    known = published_of(await client.hmget(self.keys.about(service), ABOUT))
            if known is not None:
                self._known[service] = known
        return known

    async def rows(self, published: Published, wanted: Wanted) -> list[Found] | None:
        asked = _Asked.of(self.keys, published, wanted)
        name = self.keys.current(published.record.service)
        client: Any = self._client
        with self.address.faults():
            async with self._turns:
                if self.keys.is_cluster:
                    told = await self._by_node(asked.names)
                    told.append(await client.get(name))
                else:
                    told = await client.mget([*asked.names, name])
        if not _is_current(published, told[-1]):
            self._known.pop(published.record.service, None)
            return None
        return asked.found(told)

    async def _by_node(self, names: Sequence[bytes]) -> list[bytes | None]:
        if not names:
            return []
        pipe: Any = self._client.pipeline(transaction=False)
        for name in names:
            pipe.get(name)
        found: list[bytes | None] = await pipe.execute()
        return found

    async def close(self) -> None:
        for one in with_watchers(self._client):
            await one.aclose()
