"""Features by key, in the process that predicts: no Spark and no JVM; for SQLite the standard library will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Self

from fs_spark.errors import FeatureNotFoundError, OnlineStoreError, RequestError, TableConflictError, did_you_mean
from fs_spark.online.demanded import brought_rows
from fs_spark.online.protocol import AsyncSource, Found, Source, module_of
from fs_spark.online.records import Published, ServiceRecord
from fs_spark.online.request import (
    Answer,
    Key,
    Plan,
    blank_answers,
    encoded_keys,
    moment_of,
    moment_us,
    plan_of,
    require_list,
)

_ATTEMPTS: Final = 100
"""Each time another publication came between two looks; every look that finds one is a step forward."""


def open_online(url: str) -> OnlineReader:
    """A reader of the online store at a URL: ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or ``redis://``.

    Redis is reached by `redis://[user@]host[:port][/db]`, `rediss://` (TLS), `redis+unix:///path/to.sock`,
    `redis+sentinel://host[:port][,host...]/name` and `redis+cluster://host[:port][,host...]` (see `redis_address`).

    Raises  RequestError for a URL that names no store, or a file that is missing or no online store; OnlineStoreError
            where it cannot be reached; SetupError where its extra is not installed
    """
    return OnlineReader(module_of(url).open_source(url))


def open_online_async(url: str) -> AsyncOnlineReader:
    """The same for asyncio."""
    return AsyncOnlineReader(module_of(url).open_async_source(url))


def is_published(url: str) -> bool:
    """Whether anything may be published under a URL yet. Raises  RequestError for a URL that names no store"""
    module = module_of(url)
    return bool(module.is_published(url))


class _Prepared(NamedTuple):
    """A request against one publication: its plan, and for each view the keys by request."""

    plan: Plan
    brought: Sequence[Key]
    encoded: Sequence[Sequence[bytes | None]]
    wanted: Sequence[tuple[int, Sequence[bytes]]]


@dataclass(frozen=True)
class _Request:
    """What a caller asks for."""

    keys: Sequence[Key]
    features: Sequence[str] | None
    with_times: bool
    at_us: int
    status: bool
    request: Mapping[str, object] | Sequence[Mapping[str, object]] | None

    def prepared(self, published: Published) -> _Prepared:
        plan = plan_of(published, self.features, with_times=self.with_times, status=self.status)
        brought: Sequence[Key] = ()
        asked = self.keys
        if plan.demanded or self.request:
            require_list(self.keys)
            brought = brought_rows(plan.demanded, self.keys, self.request, {*plan.brought, *plan.key_types})
            asked = [  # what a question brings may be a key of what it is computed from
                {column: value for column, value in row.items() if column in key or column in plan.key_types}
                for key, row in zip(self.keys, brought, strict=True)
            ]
        encoded = encoded_keys(plan, asked)
        wanted = [
            (view.position, list(filter(None, dict.fromkeys(some))))
            for view, some in zip(plan.views, encoded, strict=True)
        ]
        return _Prepared(plan, brought, encoded, wanted)

    def answered(self, prepared: _Prepared, found: Sequence[Found]) -> list[Answer]:
        plan = prepared.plan
        answers = blank_answers(plan, self.keys)
        for view, keys, one in zip(plan.views, prepared.encoded, found, strict=True):
            view.fill(answers, keys, one, self.at_us)
        return _with_demanded(plan, answers, prepared.brought, self.at_us) if plan.demanded else answers

    def defaulted(self, prepared: _Prepared, fault: OnlineStoreError) -> list[Answer]:
        """Answers while the store is down. Raises  the fault where a feature has no default"""
        plan = prepared.plan
        if not set(plan.shown) <= {name for view in plan.views for name in view.defaults}:
            raise fault
        answers = blank_answers(plan, self.keys)
        for view in plan.views:
            for answer in answers:
                view.fill_defaults(answer)
        return answers


def _not_published(service: str, services: Sequence[str]) -> FeatureNotFoundError:
    return FeatureNotFoundError(f"service {service!r} is not published.\n{did_you_mean(service, services)}")


def _never_at_rest(service: str) -> TableConflictError:
    return TableConflictError(
        f"service {service!r} was published anew {_ATTEMPTS} times while it was read.\nHint: export less often."
    )


@dataclass(frozen=True)
class OnlineReader:
    """Reads published services. Threads may share one; close it, or use it in a `with`."""

    _source: Source

    def services(self) -> list[str]:
        """The names of the published services, sorted."""
        return self._source.services()

    def describe(self, service: str) -> ServiceRecord:
        """What is published under a name. Raises  FeatureNotFoundError"""
        return self.published(service).record

    def published(self, service: str) -> Published:
        """What is published under a name, its generation, and what the export said. Raises  FeatureNotFoundError"""
        for _ in range(_ATTEMPTS):
            published = self._published(service)
            if self._source.rows(published, ()) is not None:
                return published
        raise _never_at_rest(service)

    def get(
        self,
        service: str,
        keys: Sequence[Key],
        features: Sequence[str] | None = None,
        *,
        with_times: bool = False,
        at: datetime | None = None,
        status: bool = False,
        request: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None,
    ) -> list[Answer]:
        """One answer per key, in order: the key's own columns, then each feature, None where no row of it is usable.

        It is what the join would give at `at` (now where it is None) on the exported tables: rows that were not known
        then are not seen, nor those past their TTL or end of validity. Before the export, views of events answer from
        the row that was newest at the export, and views of states from the one that was in force. After the
        watermark, states go on as they would without new rows, as far as the export reaches. A feature with a default
        gives it where no row is there, and where the store is down.

        `request` is what the question brings for features on demand: a dict for all keys, or a list of one for each.
        Such features are computed from it, from the key, from T and from what their views answer.

        All answers are of one publication. `with_times` adds ``<view>__event_timestamp`` for each view that was asked,
        as a datetime in UTC, and `status` ``<view>__status`` (`request.Status`), the event time, and ``<view>__age_s``,
        the seconds from the event (of states the last one) to T, also of a row that is too old to be answered. In a
        role they begin with ``<role>__``. Values are Python's: dates, datetimes in UTC, lists of floats.

        Needs   in each key all columns that any view of the service is keyed by; None there matches nothing. A date may
                be its ISO text
        Raises  FeatureNotFoundError for an unknown service or feature; RequestError for a key that lacks a column,
                has a value of the wrong type or has a feature's name for a column, for a moment without a zone, and
                for a request that lacks a column or has one of the wrong type
        """
        asked = _Request(keys, features, with_times, moment_us(at), status, request)
        for _ in range(_ATTEMPTS):
            published = self._published(service)
            try:
                prepared = asked.prepared(published)
            except (RequestError, FeatureNotFoundError):
                if self._source.rows(published, ()) is None:
                    continue  # it was asked of what is in force now
                raise
            try:
                found = self._source.rows(published, prepared.wanted)
            except OnlineStoreError as fault:
                return asked.defaulted(prepared, fault)
            if found is not None:
                return asked.answered(prepared, found)
        raise _never_at_rest(service)

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _published(self, service: str) -> Published:
        published = self._source.published(service)
        if published is None:
            raise _not_published(service, self._source.services())
        return published


@dataclass(frozen=True)
class AsyncOnlineReader:
    """`OnlineReader` for asyncio: any number of requests at once on one loop."""

    _source: AsyncSource

    async def services(self) -> list[str]:
        """The names of the published services, sorted."""
        return await self._source.services()

    async def describe(self, service: str) -> ServiceRecord:
        """What is published under a name. Raises  FeatureNotFoundError"""
        return (await self.published(service)).record

    async def published(self, service: str) -> Published:
        """As `OnlineReader.published`."""
        for _ in range(_ATTEMPTS):
            published = await self._published(service)
            if await self._source.rows(published, ()) is not None:
                return published
        raise _never_at_rest(service)

    async def get(
        self,
        service: str,
        keys: Sequence[Key],
        features: Sequence[str] | None = None,
        *,
        with_times: bool = False,
        at: datetime | None = None,
        status: bool = False,
        request: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None,
    ) -> list[Answer]:
        """As `OnlineReader.get`."""
        asked = _Request(keys, features, with_times, moment_us(at), status, request)
        for _ in range(_ATTEMPTS):
            published = await self._published(service)
            try:
                prepared = asked.prepared(published)
            except (RequestError, FeatureNotFoundError):
                if await self._source.rows(published, ()) is None:
                    continue  # it was asked of what is in force now
                raise
            try:
                found = await self._source.rows(published, prepared.wanted)
            except OnlineStoreError as fault:
                return asked.defaulted(prepared, fault)
            if found is not None:
                return asked.answered(prepared, found)
        raise _never_at_rest(service)

    async def close(self) -> None:
        await self._source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _published(self, service: str) -> Published:
        published = await self._source.published(service)
        if published is None:
            raise _not_published(service, await self._source.services())
        return published


def _with_demanded(plan: Plan, answers: list[Answer], brought: Sequence[Key], at_us: int) -> list[Answer]:
    for answer in answers:
        for name in plan.hidden:
            answer.setdefault(name, None)
    for one in plan.demanded:
        one.fill(answers, brought, moment_of(at_us))
    for answer in answers:
        for name in plan.hidden:
            answer.pop(name, None)
    return answers
