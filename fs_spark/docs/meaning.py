"""What one column of a view means, read out of its definition."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fs_spark.features.definition import View
from fs_spark.features.kinds.expressions import ExpressionsTransform
from fs_spark.features.table_view import TableView
from fs_spark.features.view import FeatureView


@dataclass(frozen=True)
class Meaning:
    """What is told of a feature; `formula` is an expression, or what its kind computes with its words."""

    description: str
    formula: str
    unit: str
    null_when: str
    source: str


def meaning_of(view: View, column: str) -> Meaning:
    if isinstance(view, FeatureView):
        return _spatial(view, column)
    assert isinstance(view, TableView)
    note = view.column_notes.get(column)
    source = ", ".join(f"{one.name}__v{one.version}" if one.input == "view" else one.name for one in view.inputs)
    return Meaning(
        description=note.description if note is not None else "",
        formula=_formula(view, column),
        unit=note.unit if note is not None else "",
        null_when="an input is null" if isinstance(view.transform, ExpressionsTransform) else "",
        source=source,
    )


def _spatial(view: FeatureView, column: str) -> Meaning:
    for one in view.catalogue:
        if column in one.columns(view.parameters, view.bins, view.settings):
            return Meaning(
                description=one.source,
                formula=f"{one.key} of the family {one.family}, from {', '.join(one.inputs) or 'nothing'}",
                unit="" if one.unit == "1" else one.unit,
                null_when=one.undefined_when,
                source=f"kernel {one.kernel}",
            )
    raise KeyError(column)


def _formula(view: TableView, column: str) -> str:
    if isinstance(view.transform, ExpressionsTransform):
        return dict(view.transform.values).get(column, "")
    told = json.loads(view.transform.model_dump_json())
    for one in _parts(told):
        if column in (one.get("name"), one.get("column")) and one is not told:
            return f"{view.kind}: " + ", ".join(_words(one, column))
    return view.kind


def _parts(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for one in value.values():
            yield from _parts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _parts(one)


def _words(part: Mapping[str, Any], column: str) -> Iterator[str]:
    for name, value in part.items():
        if value in (None, [], {}, "", 0, 0.0) or (name == "name" and value == column):
            continue
        if isinstance(value, Mapping):
            yield f"{name} {' '.join(str(one) for one in value.values() if one is not None)}"
        else:
            yield f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
