"""What a request asks of a published service: checked keys, wanted columns, and stored rows put into answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from fs_spark.errors import FeatureNotFoundError, RequestError, did_you_mean
from fs_spark.names import EVENT_TIMESTAMP
from fs_spark.online.codec import KEY_TAGS, key_part, row_codec
from fs_spark.online.records import Published, ServiceRecord, ViewRecord

Key: TypeAlias = Mapping[str, object]
Answer: TypeAlias = dict[str, object]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Column:
    """A column of the answer, and its place in a view's stored row."""

    name: str
    place: int
    is_time: bool


def wanted_features(record: ServiceRecord, features: Sequence[str] | None) -> list[str]:
    """The asked features, or all, in order. Raises  FeatureNotFoundError, RequestError"""
    known = dict.fromkeys(name for view in record.views for name, _ in view.features)
    if features is None:
        return list(known)
    if isinstance(features, str):
        raise RequestError(f"`features` is a list of names, found {features!r}.\nHint: pass [{features!r}].")
    for name in features:
        if name not in known:
            raise FeatureNotFoundError(
                f"service {record.service!r} has no feature {name!r}.\n{did_you_mean(name, known)}"
            )
    return list(features)


def view_columns(view: ViewRecord, features: Collection[str], *, with_times: bool) -> list[Column]:
    """The answer's columns that one view gives; none when it is asked for nothing."""
    names, types = view.stored.names, view.stored.types
    pairs = [(feature, names.index(column)) for feature, column in view.features if feature in features]
    if pairs and with_times:
        pairs.append((f"{view.view}__{EVENT_TIMESTAMP}", names.index(EVENT_TIMESTAMP)))
    return [Column(name, place, types[place] == "timestamp") for name, place in pairs]


def key_parts(published: Published, keys: Sequence[Key], *, taken: Collection[str]) -> list[dict[str, bytes | None]]:
    """Each key's columns encoded, all that any view of the service is keyed by. `taken` are the answer's own names.

    Raises  RequestError
    """
    if isinstance(keys, (str, Mapping)):
        raise RequestError(f"`keys` is a list of dicts, found {type(keys).__name__}.\nHint: pass [{keys!r}].")
    kinds: dict[str, str] = {}
    for view, types in zip(published.record.views, published.key_types, strict=True):
        kinds |= dict(zip(view.keys, types or ("",) * len(view.keys), strict=True))
    return [_parts(f"key {i}", key, kinds, taken) for i, key in enumerate(keys)]


def _parts(label: str, key: Key, kinds: Mapping[str, str], taken: Collection[str]) -> dict[str, bytes | None]:
    if not isinstance(key, Mapping):
        raise RequestError(f"{label} is {key!r}.\nHint: a key is a dict of {', '.join(kinds)}.")
    missing = [column for column in kinds if column not in key]
    if missing:
        found = ", ".join(map(str, key)) or "nothing"
        raise RequestError(
            f"{label} lacks {', '.join(missing)}; found {found}.\n"
            f"Hint: this service needs {', '.join(kinds)} in every key; None stands for unknown."
        )
    for column in key:
        if column in taken:
            raise RequestError(f"{label} has a column {column!r}, as the answer has.\nHint: leave it out of the key.")
    parts: dict[str, bytes | None] = {}
    for column, kind in kinds.items():
        value = key[column]
        try:
            part = parts[column] = None if value is None else key_part(value)
        except RequestError as fault:
            raise RequestError(f"{label}, column {column!r}: {fault}") from None
        if part is not None and kind and not part.startswith(KEY_TAGS[kind]):
            raise RequestError(
                f"{label}, column {column!r} is {kind}, found {value!r} ({type(value).__name__}).\n"
                f"Hint: text never equals a number here; pass the type that the offline table has."
            )
    return parts


def fill(
    answers: Sequence[Answer],
    keys: Sequence[bytes | None],
    rows: Mapping[bytes, bytes],
    view: ViewRecord,
    columns: Sequence[Column],
) -> None:
    """Puts one view's columns into the answers whose key has a row."""
    decode = row_codec(view.stored).decode
    plain = [(column.name, column.place) for column in columns if not column.is_time]
    times = [(column.name, column.place) for column in columns if column.is_time]
    for answer, key in zip(answers, keys, strict=True):
        row = None if key is None else rows.get(key)
        if row is not None:
            values = decode(row)
            for name, place in plain:
                answer[name] = values[place]
            for name, place in times:
                micros = values[place]
                answer[name] = None if micros is None else _EPOCH + timedelta(microseconds=int(micros))
