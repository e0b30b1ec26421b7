"""Features by key, in the process that predicts: no Spark, no JVM, nothing beyond the standard library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol, Self

from fs_spark.errors import FeatureNotFoundError, RequestError, SetupError, did_you_mean
from fs_spark.online.demanded import brought_rows
from fs_spark.online.records import Published, ServiceRecord
from fs_spark.online.request import Answer, Key, Plan, key_parts, moment_of, moment_us, plan_of, require_list
from fs_spark.online.sqlite_source import SqliteSource


class Snapshot(Protocol):
    """One state of an online store."""

    def published(self, service: str) -> Published | None: ...

    def rows(self, published: Published, position: int, keys: Sequence[bytes]) -> Mapping[bytes, bytes]: ...


class Source(Protocol):
    """What a kind of online store must give to be read."""

    def services(self) -> list[str]: ...

    def snapshot(self) -> AbstractContextManager[Snapshot]: ...

    def close(self) -> None: ...


def open_online(url: str) -> OnlineReader:
    """A reader of the online store at a URL: ``sqlite:///relative/path`` or ``sqlite:////absolute/path``.

    Raises  RequestError for a URL that names no store, or a file that is missing or no online store; SetupError for a
            kind of store that this version cannot read
    """
    scheme, _, rest = url.partition("://")
    if scheme not in _SOURCES:
        kinds = ", ".join(f"{known}://" for known in _SOURCES)
        raise RequestError(
            f"{url!r} is no online URL.\nHint: it starts with one of {kinds}, as in sqlite:///online.db."
        )
    return OnlineReader(_SOURCES[scheme](rest))


def is_published(url: str) -> bool:
    """Whether anything may be published under a URL yet. Raises  RequestError for a URL that names no store"""
    if not url.startswith("sqlite://"):
        return url.partition("://")[0] in _SOURCES
    path = sqlite_path(url)
    return path.is_file() and path.stat().st_size > 0


def sqlite_path(url: str) -> Path:
    """The file that a ``sqlite:///`` URL names, as an absolute path. Raises  RequestError"""
    scheme, _, rest = url.partition("://")
    if scheme != "sqlite":
        raise RequestError(f"{url!r} is no SQLite URL.\nHint: it looks like sqlite:///online.db.")
    return _file_of(rest)


@dataclass(frozen=True)
class OnlineReader:
    """Reads published services. Threads may share one; close it, or use it in a `with`."""

    _source: Source

    def services(self) -> list[str]:
        """The names of the published services, sorted."""
        return self._source.services()

    def describe(self, service: str) -> ServiceRecord:
        """What is published under a name. Raises  FeatureNotFoundError"""
        with self._source.snapshot() as snapshot:
            return self._published(snapshot, service).record

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
        watermark, states go on as they would without new rows, as far as the export reaches.

        `request` is what the question brings for features on demand: a dict for all keys, or a list of one for each.
        Such features are computed from it, from the key, from T and from what their views answer.

        All answers are of one publication. `with_times` adds ``<view>__event_timestamp`` for each view that was asked,
        as a datetime in UTC, and `status` ``<view>__status``: present, missing, stale or beyond (`request.Status`).
        In a role both begin with ``<role>__``. Values are Python's: dates, datetimes in UTC, lists of floats.

        Needs   in each key all columns that any view of the service is keyed by; None there matches nothing. A date may
                be its ISO text
        Raises  FeatureNotFoundError for an unknown service or feature; RequestError for a key that lacks a column,
                has a value of the wrong type or has a feature's name for a column, for a moment without a zone, and
                for a request that lacks a column or has one of the wrong type
        """
        at_us = moment_us(at)
        with self._source.snapshot() as snapshot:
            published = self._published(snapshot, service)
            plan = plan_of(published, features, with_times=with_times, status=status)
            brought: Sequence[Key] = ()
            asked = keys
            if plan.demanded or request:
                require_list(keys)
                brought = brought_rows(plan.demanded, keys, request, {*plan.brought, *plan.key_types})
                asked = [  # what a question brings may be a key of what it is computed from
                    {column: value for column, value in row.items() if column in key or column in plan.key_types}
                    for key, row in zip(keys, brought, strict=True)
                ]
            parts = key_parts(plan, asked)
            answers: list[Answer] = [{**key, **plan.columns} for key in keys]
            for view in plan.views:
                encoded = [view.key_of(part) for part in parts]
                rows = snapshot.rows(published, view.position, list({key for key in encoded if key is not None}))
                for answer, code in zip(answers, encoded, strict=True):
                    view.fill(answer, None if code is None else rows.get(code), at_us)
        return _with_demanded(plan, answers, brought, at_us) if plan.demanded else answers

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _published(self, snapshot: Snapshot, service: str) -> Published:
        published = snapshot.published(service)
        if published is None:
            raise FeatureNotFoundError(
                f"service {service!r} is not published.\n{did_you_mean(service, self._source.services())}"
            )
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


def _file_of(rest: str) -> Path:
    if len(rest) < 2 or not rest.startswith("/") or rest == "/:memory:":
        raise RequestError(
            f"'sqlite://{rest}' names no file.\n"
            f"Hint: three slashes before a relative path (sqlite:///online.db), four before an absolute one."
        )
    return Path(rest[1:]).absolute()


def _sqlite(rest: str) -> Source:
    return SqliteSource(_file_of(rest))


def _redis(rest: str) -> Source:
    raise SetupError(
        f"'redis://{rest}' cannot be read: this version has no Redis backend.\n"
        f"Hint: publish to and read from SQLite, sqlite:///path/online.db."
    )


_SOURCES: Final[dict[str, Callable[[str], Source]]] = {"sqlite": _sqlite, "redis": _redis}
