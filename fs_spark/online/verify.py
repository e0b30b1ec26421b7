"""Online against offline: what is stored for each key, and what the pinned Delta versions say, byte by byte."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark.errors import FeatureNotFoundError, RequestError, SchemaError, TableConflictError, without_secrets
from fs_spark.features.definition import View
from fs_spark.features.table_view import TableView
from fs_spark.online.batches import Chunk
from fs_spark.online.codec import decode_key, row_codec
from fs_spark.online.due_rows import due_rows
from fs_spark.online.export import held_of, rows_of
from fs_spark.online.frame_rows import FrameRows
from fs_spark.online.protocol import OnlineStore, Source, module_of, open_store
from fs_spark.online.records import Published, ViewRecord
from fs_spark.online.values import HEAD
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables

log = logging.getLogger(__name__)

KINDS: Final = ("missing", "extra", "different", "newer", "unreadable")
_AT_ONCE: Final = 1000
_SHOWN: Final = 10


@dataclass
class ViewDifferences:
    """Of one view: keys that were compared, and how many differ in which way.

    missing     offline there are rows, online none
    extra       online there are rows, offline none; looked for only where all keys are compared
    different   other bytes than those of the rows offline
    newer       from a later Delta version than the one that is said to be published: an export is under way, or died
    unreadable  shorter than any value

    `examples` are the first ten: kind and key.
    """

    view: str
    delta_version: int
    keys: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    examples: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def add(self, kind: str, record: ViewRecord, key: bytes) -> None:
        self.counts[kind] += 1
        if len(self.examples) < _SHOWN:
            self.examples.append((kind, dict(zip(record.keys, decode_key(key), strict=True))))


@dataclass(frozen=True)
class OnlineDifferences:
    """What `verify-online` found."""

    service: str
    url: str
    generation: int
    views: list[ViewDifferences]

    @property
    def is_equal(self) -> bool:
        return not any(any(one.counts.values()) for one in self.views)

    def __repr__(self) -> str:
        parts = []
        for one in self.views:
            found = ", ".join(f"{count} {kind}" for kind, count in one.counts.items() if count) or "all equal"
            parts.append(f"{one.view} {one.keys} keys: {found}")
        return f"OnlineDifferences({self.service}, generation {self.generation}: {'; '.join(parts)})"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "is_equal": self.is_equal}


def verify_online(
    tables: Tables, state: RegistryState, service: str, url: str, *, sample: int | None = None, seed: int = 0
) -> OnlineDifferences:
    """Compares what is published with the versions that it was made from; see `FeatureStore.verify_online`."""
    if sample is not None and sample < 1:
        raise RequestError(f"a sample of {sample} keys says nothing.\nHint: sample=1000, or leave it out for all")
    with closing(open_store(url)) as store, closing(module_of(url).open_source(url)) as source:
        published = source.published(service)
        if published is None:
            raise FeatureNotFoundError(f"service {service!r} is not published.\nHint: `fs-spark export {service}`")
        if published.record.layout == 1:
            raise RequestError(
                f"service {service!r} was published by an earlier fs_spark.\nHint: `fs-spark export {service}`, then "
                "compare"
            )
        found = []
        for position, record in enumerate(published.record.views):
            rows = _expected(tables, state, record, sample, seed)
            found.append(_compared(store, source, published, position, rows, is_whole=sample is None))
            log.info("%s: %d keys compared, %s", record.label, found[-1].keys, found[-1].counts)
    return OnlineDifferences(service, without_secrets(url), published.generation, found)


def _expected(tables: Tables, state: RegistryState, record: ViewRecord, sample: int | None, seed: int) -> FrameRows:
    view = _view(state, record)
    if record.table is not None and tables.table_id(view.table) != record.table:
        raise RequestError(
            f"{record.view}: its table was dropped and made again since the export.\nHint: materialize and export again"
        )
    due: DataFrame | None = None
    if isinstance(view, TableView) and record.until_us is not None:
        made_from = tables.made_from_at(view.table, record.delta_version)
        due = due_rows(tables, state, view, made_from, record.until_us)
    held = held_of(rows_of(tables, view, [record], due), record, record.from_us or 0)
    if sample is not None:
        keys = held.select(*record.keys).distinct()
        chosen = keys.orderBy(F.xxhash64(F.lit(seed), *record.keys), *record.keys).limit(sample)
        held = held.join(chosen, list(record.keys), "left_semi").repartition(*record.keys)
        held = held.sortWithinPartitions(*record.keys, *_order(held.columns, record))
    return FrameRows(record.label, record.keys, record.schema, record.delta_version, held)


def _order(columns: Sequence[str], record: ViewRecord) -> list[str]:
    return [name for name in columns if name not in record.keys]


def _view(state: RegistryState, record: ViewRecord) -> View:
    for view in state.versions.values():
        if view.qualified == record.view:
            return view
    raise FeatureNotFoundError(f"{record.view} is published and not registered.\nHint: export from the same registry")


def _compared(
    store: OnlineStore, source: Source, published: Published, position: int, rows: FrameRows, *, is_whole: bool
) -> ViewDifferences:
    record = published.record.views[position]
    found = ViewDifferences(record.label, record.delta_version)
    seen: set[bytes] = set()
    for keys, values in _parts(rows.chunks(record)):
        stored = source.rows(published, [(position, keys)])
        if stored is None:
            raise TableConflictError(
                f"service {published.record.service!r} was published anew while it was compared.\nHint: run it again"
            )
        for key, value in zip(keys, values, strict=True):
            kind = _difference(record, value, stored[0].rows.get(key))
            if kind is not None:
                found.add(kind, record, key)
        found.keys += len(keys)
        if is_whole:
            seen.update(keys)
    if is_whole:
        for some in store.keys_of(published, position):
            for key in some:
                if key not in seen:
                    seen.add(key)
                    found.add("extra", record, key)
    return found


def _difference(record: ViewRecord, wanted: bytes, stored: bytes | None) -> str | None:
    """A key that no later export has changed may hold rows of before, which an earlier question would have needed."""
    if stored is None or len(stored) == HEAD.size:
        return "missing"
    if len(stored) < HEAD.size:
        return "unreadable"
    version, sequence = HEAD.unpack_from(stored)
    if version > record.delta_version:
        return "newer"
    try:
        rows, body = _up_to(record, wanted), _up_to(record, stored)
    except SchemaError:
        return "unreadable"
    is_equal = body == rows if record.boundary is None else body[-len(rows) :] == rows
    is_cut = stored[HEAD.size :].endswith(wanted[HEAD.size :])
    return None if is_equal and (not is_cut or sequence == HEAD.unpack_from(wanted)[1]) else "different"


def _up_to(record: ViewRecord, value: bytes) -> list[bytes]:
    """The rows of a value, each as its bytes; of states those that are said to be there."""
    codec = row_codec(record.stored)
    found, at = [], HEAD.size
    for row in codec.decode_rows(value, HEAD.size):
        end = at + len(codec.encode(row))
        if record.until_us is None or row[0] is None or row[0] <= record.until_us:  # type: ignore[operator]
            found.append(value[at:end])
        at = end
    return found


def _parts(chunks: Iterator[Chunk]) -> Iterator[tuple[list[bytes], list[bytes]]]:
    for chunk in chunks:
        keys, values = chunk.keys.to_pylist(), chunk.values.to_pylist()
        for start in range(0, len(keys), _AT_ONCE):
            yield keys[start : start + _AT_ONCE], values[start : start + _AT_ONCE]
