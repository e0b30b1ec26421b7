"""What a kind of online store gives: one file with both classes, one line in `STORES`, and it passes
`tests/online/contract`.

Keys, values and the order in which writes win are described in `LAYOUT.md` beside this file. A store knows nothing of
features: it holds, for each publication of a service and each place of a view in it, bytes by bytes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from fs_spark.errors import RequestError, SchemaError
from fs_spark.online.records import Loaded, Published, PublishReport, ServiceRecord, ViewRecord

if TYPE_CHECKING:
    from fs_spark.online.batches import Chunk
    from fs_spark.online.codec import RowSchema

Rows = Mapping[bytes, bytes]


class Found(NamedTuple):
    """Of one view: stored values, and pushed ones, by key."""

    rows: Rows
    pushed: Rows


Wanted = Sequence[tuple[int, Sequence[bytes]]]
"""Places of views in their service, and keys."""


class Source(Protocol):
    """The reader's side; any number of threads at once, also in a child after a fork."""

    def services(self) -> list[str]:
        """The published services, sorted."""

    def published(self, service: str) -> Published | None:
        """What is published under a name; may be what an earlier call found."""

    def rows(self, published: Published, wanted: Wanted) -> list[Found] | None:
        """For each wanted view what is stored; None where the publication is not in force any more: ask again."""

    def close(self) -> None: ...


class AsyncSource(Protocol):
    """The same, awaited."""

    async def services(self) -> list[str]: ...

    async def published(self, service: str) -> Published | None: ...

    async def rows(self, published: Published, wanted: Wanted) -> list[Found] | None: ...

    async def close(self) -> None: ...


class TableRows(Protocol):
    """Rows of a view that are to be stored, wherever they are."""

    @property
    def view(self) -> str:
        """The record's label."""

    @property
    def keys(self) -> tuple[str, ...]: ...

    @property
    def schema(self) -> RowSchema: ...

    @property
    def delta_version(self) -> int: ...

    def chunks(self, view: ViewRecord) -> Iterator[Chunk]:
        """Encoded, on this side, a chunk at a time."""

    def load(self, view: ViewRecord, write: Callable[[Iterable[Chunk]], Loaded]) -> Loaded:
        """Handed to `write`, which may run in other processes; the sum of what it says."""


class Pushed(NamedTuple):
    """A row that is newer than what was exported: its view's label, key, order and value (`values.pushed_value`)."""

    label: str
    key: bytes
    value: bytes


class OnlineStore(Protocol):
    """The writer's side. Readers see a publication whole or not at all, whatever ends when."""

    def published(self, service: str) -> Published | None:
        """What readers get now."""

    def publish(self, record: ServiceRecord, tables: Iterable[TableRows], *, seen: int | None = None) -> PublishReport:
        """All rows of all views, beside what is there, then the switch.

        `seen` is the generation that was there when the export began (0: none): where another came since that covers
        this one or is newer, it stands.

        Raises  SchemaError when a view is missing or does not fit its record, or two rows have one key
        """

    def update(
        self, record: ServiceRecord, tables: Iterable[TableRows], *, based_on: Published
    ) -> PublishReport | None:
        """Rows of keys that changed since `based_on`, then its record; None where another generation came meanwhile.

        Of two values of a key that of the later Delta version stands, whatever comes first.
        """

    def push(self, published: Published, rows: Sequence[Pushed], *, expires_s: float) -> int:
        """Rows that stand beside the exported ones until they expire; the later one of a key stands. How many stood."""

    def keys_of(self, published: Published, position: int) -> Iterator[Sequence[bytes]]:
        """All keys of a view that are stored with rows."""

    def close(self) -> None: ...


STORES: Final[dict[str, str]] = {
    "sqlite": "fs_spark.online.sqlite",
    "redis": "fs_spark.online.redis",
    "rediss": "fs_spark.online.redis",
    "redis+unix": "fs_spark.online.redis",
    "redis+sentinel": "fs_spark.online.redis",
    "rediss+sentinel": "fs_spark.online.redis",
    "redis+cluster": "fs_spark.online.redis",
    "rediss+cluster": "fs_spark.online.redis",
}
"""Scheme of a URL -> the module that has `open_source`, `open_async_source` and `open_store` for it."""


def module_of(url: str) -> Any:
    """The module of a kind of store. Raises  RequestError for a URL that names none"""
    scheme, found, _ = url.partition("://")
    if not found or scheme not in STORES:
        kinds = ", ".join(f"{known}://" for known in STORES)
        raise RequestError(
            f"{url!r} is no online URL.\nHint: it starts with one of {kinds}, as in sqlite:///online.db."
        )
    return importlib.import_module(STORES[scheme])


def open_store(url: str, *, mode: int = 0o600) -> OnlineStore:
    """The writer's side of the store at a URL; `mode` is that of a file that is made. Raises  RequestError"""
    store: OnlineStore = module_of(url).open_store(url, mode=mode)
    return store


def place_of(service: ServiceRecord, table: TableRows) -> int:
    """The place in the service of the view that these rows are of. Raises  SchemaError when they are of none"""
    for position, view in enumerate(service.views):
        if view.label == table.view:
            for what in ("keys", "schema", "delta_version"):
                recorded, found = getattr(view, what), getattr(table, what)
                if recorded != found:
                    raise SchemaError(
                        f"service {service.service!r}, view {view.label!r}: the record has {what} {recorded}, "
                        f"the rows have {found}.\nHint: make the record and the rows from one plan."
                    )
            return position
    raise SchemaError(f"service {service.service!r} has no view {table.view!r}.")


def load_all(
    service: ServiceRecord, tables: Iterable[TableRows], load: Callable[[int, TableRows], Loaded], *, all_of: bool
) -> dict[str, Loaded]:
    """Each view's rows loaded once. Raises  SchemaError for a view twice, or where `all_of` them are needed, missing"""
    loaded: dict[str, Loaded] = {}
    for table in tables:
        position = place_of(service, table)
        if table.view in loaded:
            raise SchemaError(f"service {service.service!r}: the rows of view {table.view!r} were given twice.")
        loaded[table.view] = load(position, table)
    missing = [view.label for view in service.views if view.label not in loaded]
    if missing and all_of:
        raise SchemaError(f"service {service.service!r}: no rows were given for {', '.join(missing)}.")
    return loaded


def is_overtaken(found: Published | None, record: ServiceRecord, seen: int | None) -> bool:
    """Whether what is published stands against this record: of later versions, or come since `seen` and as good.

    An update keeps the generation, so that the same number says nothing about the versions.
    """
    if seen is None or found is None:
        return False
    return record.is_older_than(found.record) or (found.generation != seen and found.record.covers(record))
