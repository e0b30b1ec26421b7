"""The online store as the server sees it: opened when it can be, its publications kept, answers of one publication."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from fs_spark.errors import FeatureNotFoundError, OnlineStoreError, RequestError, SetupError, TableConflictError
from fs_spark.online.records import Published
from fs_spark.online.request import Answer
from fs_spark.serving.layout import Layout, layout_of
from fs_spark.serving.question import Question
from fs_spark.serving.refusal import RefusedError

_TRIES = 5


class FeatureReader(Protocol):
    """What is read from: `fs_spark.online.AsyncOnlineReader`."""

    async def services(self) -> list[str]: ...

    async def published(self, service: str) -> Published: ...

    async def get(
        self,
        service: str,
        keys: Sequence[Mapping[str, Any]],
        features: Sequence[str] | None = None,
        *,
        with_times: bool = False,
        at: datetime | None = None,
        status: bool = False,
        request: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> list[Answer]: ...

    async def close(self) -> None: ...


Opener = Callable[[], FeatureReader | Awaitable[FeatureReader]]


class ServedStore:
    """One reader for all requests of a process.

    A store that cannot be opened when the server starts is opened at the first request that finds it: meanwhile the
    server lives, and is not ready.
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._reader: FeatureReader | None = None
        self._opening = asyncio.Lock()
        self.known: dict[str, Published] = {}
        """What was last found published."""

    async def services(self) -> list[str]:
        """Raises  OnlineStoreError"""
        reader = await self._open()
        try:
            return await reader.services()
        except RequestError as fault:
            raise OnlineStoreError(str(fault)) from fault

    async def published(self, service: str) -> Published:
        """What is published now. Raises  FeatureNotFoundError, OnlineStoreError"""
        reader = await self._open()
        try:
            found = await reader.published(service)
        except FeatureNotFoundError:
            self.known.pop(service, None)
            raise
        except (RequestError, TableConflictError) as fault:  # never at rest
            raise OnlineStoreError(str(fault)) from fault
        self.known[service] = found
        return found

    async def all_published(self) -> list[Published]:
        """What is published under each name. Raises  OnlineStoreError"""
        found = []
        for service in await self.services():
            try:
                found.append(await self.published(service))
            except FeatureNotFoundError:  # withdrawn meanwhile
                continue
        return found

    async def answer(self, service: str, question: Question) -> tuple[Published, Layout, list[Answer]]:
        """The answers with their views' status, and the publication that they are of.

        The reader says no publication with its answers. What is published only ever gets a higher generation: where
        the one that was known before the question is there behind it too, the answers are of it.

        Raises  FeatureNotFoundError for an unknown service; RefusedError for a question that cannot be answered;
                OnlineStoreError where the store is down, or is published to faster than it is read
        """
        published = self.known.get(service) or await self.published(service)
        for _ in range(_TRIES):
            try:
                layout = layout_of(published, question.features, with_times=question.with_times, status=question.status)
                layout.check(question.keys)
                rows = await self._get(service, question, layout)
            except (FeatureNotFoundError, RequestError) as fault:
                latest = await self.published(service)
                if latest.generation == published.generation:
                    raise RefusedError.of(fault, 422) from fault
            else:
                latest = await self._still(service, published)
                if latest.generation == published.generation:
                    return latest, layout, rows
            published = latest
        raise OnlineStoreError(
            f"service {service!r} was published anew {_TRIES} times while it was read.\nHint: ask again."
        )

    async def _get(self, service: str, question: Question, layout: Layout) -> list[Answer]:
        reader = await self._open()
        keys, request = layout.typed(question)
        return await reader.get(
            service,
            keys,
            question.features,
            with_times=question.with_times,
            at=question.at,
            status=True,
            request=request,
        )

    async def _still(self, service: str, before: Published) -> Published:
        try:
            return await self.published(service)
        except OnlineStoreError:  # the reader may have answered with defaults
            return before

    async def _open(self) -> FeatureReader:
        if self._reader is not None:
            return self._reader
        async with self._opening:
            if self._reader is None:
                try:
                    opened = self._opener()
                    self._reader = await opened if inspect.isawaitable(opened) else opened
                except (RequestError, SetupError) as fault:
                    raise OnlineStoreError(str(fault)) from fault
        return self._reader

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()


def age_s(published: Published) -> float | None:
    """How long ago the oldest of its views that says so was up to date."""
    moments = [view.fresh_us for view in published.record.views if view.fresh_us is not None]
    return time.time() - min(moments) / 1e6 if moments else None
