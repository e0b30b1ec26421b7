"""A source that blocks, awaited: each call runs in a thread."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fs_spark.online.protocol import Found, Source, Wanted
from fs_spark.online.records import Published


@dataclass(frozen=True)
class ThreadedSource:
    """For stores in this process or on its disk, where a client of its own for asyncio would gain nothing."""

    _source: Source

    async def services(self) -> list[str]:
        return await asyncio.to_thread(self._source.services)

    async def published(self, service: str) -> Published | None:
        return await asyncio.to_thread(self._source.published, service)

    async def rows(self, published: Published, wanted: Wanted) -> list[Found] | None:
        return await asyncio.to_thread(self._source.rows, published, wanted)

    async def close(self) -> None:
        await asyncio.to_thread(self._source.close)
