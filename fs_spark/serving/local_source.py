"""An online store in a file of this machine, read on the server's own loop where that is a matter of microseconds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from fs_spark.online import AsyncOnlineReader, open_online_async
from fs_spark.online.protocol import Found, Source, Wanted, module_of
from fs_spark.online.records import Published

_AT_ONCE: Final = 64
"""Keys that are read on the loop: a thread takes longer than they do [one key, whole request: 0.5 ms of a core with
threads, 0.25 ms without]."""


def open_reader(url: str) -> AsyncOnlineReader:
    """As `open_online_async`. Raises  RequestError, OnlineStoreError, SetupError"""
    if url.startswith("sqlite://"):
        return AsyncOnlineReader(LocalSource(module_of(url).open_source(url)))
    return open_online_async(url)


@dataclass(frozen=True)
class LocalSource:
    """Few keys on the loop, many in a thread."""

    _source: Source

    async def services(self) -> list[str]:
        return self._source.services()

    async def published(self, service: str) -> Published | None:
        return self._source.published(service)

    async def rows(self, published: Published, wanted: Wanted) -> list[Found] | None:
        if sum(len(keys) for _, keys in wanted) <= _AT_ONCE:
            return self._source.rows(published, wanted)
        return await asyncio.to_thread(self._source.rows, published, wanted)

    async def close(self) -> None:
        self._source.close()
