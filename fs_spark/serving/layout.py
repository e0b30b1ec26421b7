"""Which columns questions of one form bring, and which the answers have, with their types."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fs_spark.errors import RequestError
from fs_spark.names import EVENT_TIMESTAMP
from fs_spark.online.records import Published
from fs_spark.online.request import AGE, STATUS, plan_of
from fs_spark.serving.question import Question, nearest

NOT_FINITE: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""JSON has no such numbers: they are texts."""
_FLOATS: Final = ("double", "float")
_LIST: Final = "array<double>"


@dataclass(frozen=True, eq=False)
class Layout:
    """Of questions for some features of one publication: what their keys may bring, and how the answers look."""

    keys: Mapping[str, str]
    """Key column -> string, integer or date; empty where no stored row told it."""
    brought: Mapping[str, str]
    """What features on demand compute with, and its type."""
    answers: Mapping[str, str]
    """Columns of the answers behind the key's own that were asked for, and their types."""
    hidden: tuple[str, ...]
    """Columns that the reader gives beside them, since it always tells the status."""
    statuses: Mapping[str, str]
    """Columns that tell a view's status, and the view."""
    floats: tuple[str, ...]
    lists: tuple[str, ...]

    def check(self, keys: Sequence[Mapping[str, Any]]) -> None:
        """Raises  RequestError for a column that no view is keyed by, and that nothing computes with"""
        known = self.keys.keys() | self.brought.keys() if self.brought else self.keys.keys()
        for i, key in enumerate(keys):
            if key.keys() <= known:
                continue
            unknown = next(column for column in key if column not in known)
            raise RequestError(f"key {i} has an unknown column {unknown!r}.\n{nearest(unknown, known, 'a key takes')}")

    def typed(self, question: Question) -> tuple[Sequence[Mapping[str, Any]], Any]:
        """Keys and request, with moments and numbers that JSON could only write as text."""
        if not self.brought:
            return question.keys, question.request
        request = question.request
        if isinstance(request, Mapping):
            request = self._typed(request)
        elif request is not None:
            request = [self._typed(one) for one in request]
        return [self._typed(key) for key in question.keys], request

    def _typed(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {name: _value(value, self.brought.get(name)) for name, value in row.items()}


def _value(value: Any, kind: str | None) -> Any:
    """What does not fit its type stays as it is: the reader refuses it by name."""
    if not isinstance(value, str):
        return value
    if kind == "double":
        return NOT_FINITE.get(value, value)
    if kind == "timestamp":
        try:
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            return value
    return value


@functools.lru_cache(maxsize=256)
def layout_of(published: Published, features: tuple[str, ...] | None, *, with_times: bool, status: bool) -> Layout:
    """Raises  FeatureNotFoundError"""
    plan = plan_of(published, features, with_times=with_times, status=status)
    given = plan_of(published, features, with_times=with_times, status=True).columns
    kinds: dict[str, str] = {}
    statuses: dict[str, str] = {}
    for view in published.record.views:
        stored = dict(zip(view.schema.names, view.schema.types, strict=True))
        kinds |= {name: stored[column] for name, column in view.features}
        kinds |= {f"{view.prefix}{EVENT_TIMESTAMP}": "timestamp", f"{view.prefix}{AGE}": "double"}
        kinds[f"{view.prefix}{STATUS}"] = "string"
        statuses[f"{view.prefix}{STATUS}"] = view.called
        if view.since is not None:
            kinds[view.since] = "double"
    for one in plan.demanded:
        kinds |= {name: expression.dtype for name, expression in one.features}
    brought: dict[str, str] = {}
    for record in published.record.on_demand:
        types = dict(record.types)
        brought |= {name: types[shown] for shown, name in record.brought if shown != EVENT_TIMESTAMP}
    answers = {name: kinds[name] for name in plan.columns}
    shown = {**brought, **answers}
    return Layout(
        plan.key_types,
        brought,
        answers,
        tuple(name for name in given if name not in answers),
        {name: view for name, view in statuses.items() if name in given},
        tuple(name for name, kind in shown.items() if kind in _FLOATS),
        tuple(name for name, kind in shown.items() if kind == _LIST),
    )
