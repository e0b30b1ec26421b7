"""A request for labels beside the sources that it names: which columns it reads, of which types, and what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fs_spark import names as n
from fs_spark.errors import ExpressionError, LeakageError, RequestError
from fs_spark.features.expressions import Expression, parse_condition, parse_expression
from fs_spark.features.labels import ColumnLabel, CountLabel, Every, Ingested, LabelRequest, Place, SumLabel
from fs_spark.features.shipped import SHIPPED_SOURCES
from fs_spark.features.source import SourceText

_WHOLE = ("int", "bigint")
_LABELS = ("boolean", "int", "bigint", "double", "string", "date")


@dataclass(frozen=True)
class LabelSource:
    """What a plan needs to know of a source: one of sources.yaml (`text`), or an ingested table with its options."""

    name: str
    keys: tuple[str, ...]
    columns: Mapping[str, str]
    order: tuple[str, ...]
    known_before: frozenset[str]
    text: SourceText | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelPlan:
    """A request that its sources can answer.

    key_types    key -> type, in the spine
    label_type   type of the label
    visible      what expressions of columns may name: T, keys, and what is known before an event
    own_columns  those of these that are columns of the event's row
    """

    request: LabelRequest
    asked: LabelSource
    counted: LabelSource
    key_types: Mapping[str, str]
    label_type: str
    visible: Mapping[str, str]
    own_columns: tuple[str, ...]


def plan_of_labels(request: LabelRequest, sources: Mapping[str, SourceText]) -> LabelPlan:
    """The plan of a request.

    Raises     RequestError for a source, column or expression that cannot be used; LeakageError for a column of the
               event's row that is not known before it
    """
    asked = _dated(request.asked_source, sources)
    counted = _dated(request.label_source, sources)
    key_types = {key: _key_type(asked, column) for key, column in request.key_columns.items()}
    for key, column in request.label_keys.items():
        if column not in counted.columns:
            raise RequestError(
                f"source {counted.name} has no column {column!r} for key {key}; "
                f"there are {', '.join(sorted(counted.columns))}.\n"
                "Hint: say which column it is with the label's by={key of the request: column}"
            )
        theirs = _key_type(counted, column)
        if theirs != key_types[key] and not {theirs, key_types[key]} <= set(_WHOLE):
            raise RequestError(
                f"key {key} is {key_types[key]} in source {asked.name} and {theirs} in source {counted.name}.\n"
                "Hint: declare both alike in sources.yaml, or name another column with the label's `by`"
            )
    known = [] if isinstance(request.at, Every) else [c for c in sorted(asked.known_before) if c not in key_types]
    own = tuple(name for name in known if name != n.EVENT_TIMESTAMP and name in expressible(asked))
    visible = {n.EVENT_TIMESTAMP: "timestamp", **key_types, **{name: asked.columns[name] for name in own}}
    others = {} if isinstance(request.at, Every) else expressible(asked)
    check_columns(request.column_texts, visible, others, of=f"source {asked.name}")
    return LabelPlan(request, asked, counted, key_types, _label_type(request, asked, counted), visible, own)


def expressible(source: LabelSource) -> dict[str, str]:
    """The columns of a source that row expressions can read, with their types."""
    return {name: kind for name, kind in source.columns.items() if kind != "array<double>"}


def check_columns(texts: Mapping[str, str], visible: Mapping[str, str], others: Mapping[str, str], *, of: str) -> None:
    """Whether the expressions of columns read only what is known before the time T.

    `others` are the columns of the row that are known later.

    Raises     LeakageError for an expression that reads such a column, RequestError for one that cannot be read
    """
    for name, text in texts.items():
        try:
            parse_expression(text, columns=visible)
        except ExpressionError as fault:
            later = _read({**others, **visible}, text) - set(visible)
            if not later:
                raise RequestError(f"column {name}: {_two_lines(fault)}") from fault
            allowed = ", ".join(sorted(visible))
            raise LeakageError(
                f"column {name}: {', '.join(sorted(later))} of {of} is known at the event or later, and would let the "
                f"question see its answer.\nHint: what is known before is {allowed}"
            ) from fault


def _read(columns: Mapping[str, str], text: str) -> set[str]:
    try:
        return set(parse_expression(text, columns=columns).columns)
    except ExpressionError:
        return set()


def condition_of_label(request: LabelRequest, counted: LabelSource) -> Expression | None:
    """The label's `where` over its source."""
    where = None if isinstance(request.label, ColumnLabel) else request.label.where
    if where is None:
        return None
    try:
        return parse_condition(where, columns=expressible(counted))
    except ExpressionError as fault:
        raise RequestError(f"where of the label: {_two_lines(fault)}") from fault


def _two_lines(fault: Exception) -> str:
    text = str(fault)
    if "\nHint: " in text:
        return text
    if ". Hint: " in text:
        return ".\nHint: ".join(text.rsplit(". Hint: ", 1))
    return f"{text}\nHint: write it over the columns that are visible"


def _label_type(request: LabelRequest, asked: LabelSource, counted: LabelSource) -> str:
    label = request.label
    condition_of_label(request, counted)
    if isinstance(label, CountLabel):
        return "bigint"
    if isinstance(label, SumLabel):
        kind = _column_type(counted, label.column)
        if kind not in (*_WHOLE, "double"):
            raise RequestError(
                f"{label.column} of source {counted.name} is {kind}, and only numbers have a sum.\n"
                "Hint: name a column that is int, bigint or double, or ask for a CountLabel"
            )
        return "double" if kind == "double" else "bigint"
    kind = _column_type(asked, label.column)
    if kind not in _LABELS:
        raise RequestError(
            f"{label.column} of source {asked.name} is {kind}, which cannot be a label.\n"
            f"Hint: a label is {', '.join(_LABELS)}"
        )
    if label.column in asked.known_before:
        raise RequestError(
            f"{label.column} of source {asked.name} is known before the event, so that there is nothing to predict.\n"
            "Hint: take another column as the label, or correct `known_before` in sources.yaml"
        )
    if request.negatives is not None and kind != "boolean":
        raise RequestError(
            f"the label {label.column} is {kind}, and does not tell which rows are negatives.\n"
            "Hint: leave negatives out; a count and a boolean column have some"
        )
    return kind


def _dated(place: Place, sources: Mapping[str, SourceText]) -> LabelSource:
    if isinstance(place, Ingested):
        return _shipped(place.source, place.options)
    assert isinstance(place, str)
    name, source = place, sources.get(place)
    if source is None and name in SHIPPED_SOURCES:
        return _shipped(name, SHIPPED_SOURCES[name].options)
    if source is None:
        raise RequestError(f"source {name!r} is not in sources.yaml; {_listed(name, [*sources, *SHIPPED_SOURCES])}")
    if source.is_static:
        raise RequestError(
            f"source {name} has no event, so that it holds one row for each key and no times to ask at or to count.\n"
            "Hint: name its `event` in sources.yaml, or ask for another source"
        )
    return LabelSource(name, source.keys, source.columns, source.order, frozenset(source.known_before), source)


def _shipped(name: str, options: Mapping[str, Any]) -> LabelSource:
    source = SHIPPED_SOURCES[name]
    columns = {**source.columns, **dict.fromkeys(options.get("parameters", ()), "double")}
    return LabelSource(name, tuple(source.keys), columns, source.order, source.known_before, None, options)


def _column_type(source: LabelSource, name: str) -> str:
    if name not in source.columns:
        raise RequestError(f"source {source.name} has no column {name!r}; {_listed(name, source.columns)}")
    return source.columns[name]


def _key_type(source: LabelSource, name: str) -> str:
    kind = _column_type(source, name)
    if kind not in ("string", "int", "bigint", "date"):
        raise RequestError(
            f"{name} of source {source.name} is {kind}, which cannot be a key.\n"
            "Hint: keys are string, int, bigint or date"
        )
    return kind


def _listed(wanted: str, known: Iterable[Any]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else "name one of these, or add it to sources.yaml"
    return f"there are {', '.join(names) if names else 'none'}.\nHint: {hint}"
