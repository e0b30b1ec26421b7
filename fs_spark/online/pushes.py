"""Rows that are online before the batch has them: a program on the spot pushes what it has just computed.

A pushed row stands beside the exported rows of its key and answers where it is later than all of them, by event,
availability and sequence. It ends by itself (24 hours), or earlier, when an export brings a row of the same event or a
later one: the offline table then says the same, from the same kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Self

from fs_spark.errors import FeatureNotFoundError, RequestError, did_you_mean
from fs_spark.names import AVAILABLE_TIMESTAMP, EVENT_TIMESTAMP, SEQUENCE
from fs_spark.online.codec import KEY_TAGS, Value, key_part, row_codec
from fs_spark.online.protocol import OnlineStore, Pushed, open_store
from fs_spark.online.records import TIMES, Published, ViewRecord
from fs_spark.online.request import as_date, moment_us
from fs_spark.online.values import order_of, pushed_value

Row = Mapping[str, Any]
LIFE: Final = timedelta(hours=24)
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()


def open_pusher(url: str) -> OnlinePusher:
    """Pushes rows into the online store at a URL, as `open_online` takes it. Raises  RequestError, SetupError"""
    return OnlinePusher(open_store(url))


@dataclass(frozen=True)
class OnlinePusher:
    """Adds rows to views of published services; needs no Spark. Close it, or use it in a `with`."""

    _store: OnlineStore

    def push(self, service: str, view: str, rows: Sequence[Row], *, life: timedelta = LIFE) -> int:
        """Rows of a view, newer than what was exported; gives how many of them stand.

        Of two pushed rows of a key the one of the later event stands (then of the later availability, the greater
        sequence), whichever comes last; a row that stands already is not counted again.

        Needs   in each row the view's keys and `event_timestamp`, a datetime with a zone; `available_timestamp` is the
                event where it is left out, `sequence` 0, and a column that the service stores null
        Raises  FeatureNotFoundError for a service or view that is not published; RequestError for a view of states or
                without times, and for a row that lacks a key or has an unknown column; SchemaError for a value that its
                column cannot hold
        """
        published = self._store.published(service)
        if published is None:
            raise FeatureNotFoundError(
                f"service {service!r} is not published.\nHint: run `fs-spark export {service}` first"
            )
        records = _records(published, view)
        types = _key_types(published, records)
        pushed = [one for at, row in enumerate(rows) for one in _encoded(records, types, f"row {at}", row)]
        return self._store.push(published, pushed, expires_s=life.total_seconds()) if pushed else 0

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _records(published: Published, view: str) -> list[ViewRecord]:
    """The records of a view, in each of its roles. Raises  FeatureNotFoundError, RequestError"""
    record = published.record
    found = [one for one in record.views if view in (one.view, one.view.partition("__v")[0])]
    if not found:
        known = {one.view for one in record.views}
        raise FeatureNotFoundError(f"service {record.service!r} has no view {view!r}.\n{did_you_mean(view, known)}")
    if record.layout == 1:
        raise RequestError(
            f"service {record.service!r} was published by an earlier fs_spark.\nHint: export it again, then push"
        )
    for one in found:
        if one.is_state or one.boundary is None:
            kind = "is a view of states" if one.is_state else "has no times"
            raise RequestError(
                f"{one.view} {kind}: no row can be pushed.\nHint: push rows of views that have one for each event"
            )
    return found


def _key_types(published: Published, records: Sequence[ViewRecord]) -> dict[str, str]:
    """Key -> the type that stored rows have, as far as one told it."""
    found: dict[str, str] = {}
    for record, types in zip(published.record.views, published.key_types, strict=True):
        if record in records and types:
            found |= zip(record.keys, types, strict=True)
    return found


def _key(records: Sequence[ViewRecord], types: Mapping[str, str], label: str, row: Row) -> bytes:
    """The bytes of a row's key. Raises  RequestError for a value of another type than stored keys have"""
    parts = []
    for name in records[0].keys:
        kind = types.get(name)
        part = key_part(as_date(row[name]) if kind == "date" else row[name])
        if kind and not part.startswith(KEY_TAGS[kind]):
            raise RequestError(
                f"{label}, column {name!r} is {kind}, found {row[name]!r} ({type(row[name]).__name__}).\n"
                f"Hint: text never equals a number here; pass the type that the offline table has."
            )
        parts.append(part)
    return b"".join(parts)


def _encoded(records: Sequence[ViewRecord], types: Mapping[str, str], label: str, row: Row) -> list[Pushed]:
    keys, columns = records[0].keys, dict.fromkeys(name for one in records for name in one.stored.names)
    known = {*keys, *columns, SEQUENCE}
    lacking = [name for name in (*keys, EVENT_TIMESTAMP) if row.get(name) is None]
    unknown = [name for name in row if name not in known]
    if lacking or unknown:
        parts = [f"lacks {', '.join(lacking)}"] * bool(lacking) + [f"has {', '.join(unknown)}"] * bool(unknown)
        raise RequestError(
            f"{label} {' and '.join(parts)}.\nHint: a row of {records[0].view} has {', '.join(keys)}, "
            f"{EVENT_TIMESTAMP}, and of {', '.join(name for name in columns if name not in TIMES) or 'nothing else'} "
            "what is known"
        )
    event = moment_us(row[EVENT_TIMESTAMP])
    available = event if row.get(AVAILABLE_TIMESTAMP) is None else moment_us(row[AVAILABLE_TIMESTAMP])
    key = _key(records, types, label, row)
    order = order_of(event, available, int(row.get(SEQUENCE) or 0))
    found = []
    for record in records:
        if record.known is not None and any(row.get(name) is None for name in record.schema.names):
            continue  # it holds known values alone
        values = [_stored(row.get(name), kind) for name, kind in _features(record)]
        encoded = row_codec(record.stored).encode([event, available, *values])
        found.append(Pushed(record.label, key, pushed_value(order, record.stored, encoded)))
    return found


def _features(record: ViewRecord) -> list[tuple[str, str]]:
    pairs = list(zip(record.stored.names, record.stored.types, strict=True))
    return pairs[len(TIMES) :]


def _stored(value: Any, kind: str) -> Value:
    """A value as the codec takes it."""
    if value is None:
        return None
    if kind == "timestamp" and isinstance(value, datetime):
        return moment_us(value)
    if kind == "date" and isinstance(value, date):
        return value.toordinal() - _FIRST_DAY
    if kind in ("double", "float") and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    found: Value = value
    return found
