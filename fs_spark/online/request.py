"""What a request asks of a published service: a plan, checked keys, and stored rows put into answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from fs_spark.errors import FeatureNotFoundError, RequestError, did_you_mean
from fs_spark.names import EVENT_TIMESTAMP
from fs_spark.online.codec import KEY_TAGS, Value, join_key, key_part, row_codec
from fs_spark.online.records import Published, ViewRecord

Key: TypeAlias = Mapping[str, object]
Answer: TypeAlias = dict[str, object]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ViewPlan:
    """What one view gives to the answers: pairs of a name in the answer and a place in the stored row."""

    position: int
    keys: tuple[str, ...]
    decode: Callable[[bytes], tuple[Value, ...]]
    plain: tuple[tuple[str, int], ...]
    times: tuple[tuple[str, int], ...]

    def key_of(self, parts: Mapping[str, bytes | None]) -> bytes | None:
        return join_key([parts[column] for column in self.keys])

    def fill(self, answer: Answer, row: bytes) -> None:
        values = self.decode(row)
        for name, place in self.plain:
            answer[name] = values[place]
        for name, place in self.times:
            micros = values[place]
            answer[name] = None if micros is None else _EPOCH + timedelta(microseconds=int(micros))


@dataclass(frozen=True)
class Plan:
    """A checked request for some features of one publication, whatever the keys."""

    service: str
    columns: Mapping[str, None]
    """The answer's own columns in order, each None: an answer without any row."""
    key_types: Mapping[str, str]
    """Every key column of the service and its type; the type is empty where no stored row told it."""
    views: tuple[ViewPlan, ...]


def plan_of(published: Published, features: Iterable[str] | None, *, with_times: bool) -> Plan:
    """The plan for the asked features, or for all. Raises  FeatureNotFoundError, RequestError"""
    if isinstance(features, str):
        raise RequestError(f"`features` is a list of names, found {features!r}.\nHint: pass [{features!r}].")
    return _plan(published, None if features is None else tuple(features), with_times)


@functools.lru_cache(maxsize=256)
def _plan(published: Published, features: tuple[str, ...] | None, with_times: bool) -> Plan:
    record = published.record
    known = dict.fromkeys(name for view in record.views for name, _ in view.features)
    asked = known if features is None else dict.fromkeys(features)
    for name in asked:
        if name not in known:
            raise FeatureNotFoundError(
                f"service {record.service!r} has no feature {name!r}.\n{did_you_mean(name, known)}"
            )
    key_types: dict[str, str] = {}
    for view, types in zip(record.views, published.key_types, strict=True):
        key_types |= zip(view.keys, types or [key_types.get(key, "") for key in view.keys], strict=True)
    plans = [_view_plan(i, view, asked, with_times=with_times) for i, view in enumerate(record.views)]
    views = tuple(plan for plan in plans if plan.plain or plan.times)
    columns = {**asked, **{name: None for plan in views for name, _ in plan.times}}
    return Plan(record.service, columns, key_types, views)


def _view_plan(position: int, view: ViewRecord, asked: Mapping[str, None], *, with_times: bool) -> ViewPlan:
    place = {
        column: (i, kind) for i, (column, kind) in enumerate(zip(view.stored.names, view.stored.types, strict=True))
    }
    pairs = [(name, *place[column]) for name, column in view.features if name in asked]
    if pairs and with_times:
        pairs.append((f"{view.view}__{EVENT_TIMESTAMP}", *place[EVENT_TIMESTAMP]))
    return ViewPlan(
        position,
        view.keys,
        row_codec(view.stored).decode,
        tuple((name, i) for name, i, kind in pairs if kind != "timestamp"),
        tuple((name, i) for name, i, kind in pairs if kind == "timestamp"),
    )


def key_parts(plan: Plan, keys: Sequence[Key]) -> list[dict[str, bytes | None]]:
    """Each key's columns encoded, all that any view of the service is keyed by. Raises  RequestError"""
    if isinstance(keys, str | Mapping):
        raise RequestError(f"`keys` is a list of dicts, found {type(keys).__name__}.\nHint: pass [{keys!r}].")
    return [_parts(plan, f"key {i}", key) for i, key in enumerate(keys)]


def _parts(plan: Plan, label: str, key: Key) -> dict[str, bytes | None]:
    needed = plan.key_types
    if not isinstance(key, Mapping):
        raise RequestError(f"{label} is {key!r}.\nHint: a key is a dict of {', '.join(needed)}.")
    missing = [column for column in needed if column not in key]
    if missing:
        raise RequestError(
            f"{label} lacks {', '.join(missing)}; found {', '.join(map(str, key)) or 'nothing'}.\n"
            f"Hint: service {plan.service!r} needs {', '.join(needed)} in every key; None stands for unknown."
        )
    clash = [str(column) for column in key if column in plan.columns]
    if clash:
        raise RequestError(f"{label} has {', '.join(clash)}, as the answer has.\nHint: leave it out of the key.")
    parts: dict[str, bytes | None] = {}
    for column, kind in needed.items():
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
