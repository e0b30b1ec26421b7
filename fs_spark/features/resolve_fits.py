"""The text of a `fitted` view -> what it fits, and from which rows."""

from __future__ import annotations

from typing import Any, Final

from fs_spark.features.definition import FeatureNote
from fs_spark.features.kinds.fitted import TYPES, FittedFeature, FittedText, FittedTransform
from fs_spark.features.resolve_inputs import Faults, near
from fs_spark.features.table_view import Input, ViewInput
from fs_spark.features.texts import FittedViewText, ViewText
from fs_spark.features.types import NUMBERS

_GROUPS: Final = ("string", "int", "bigint", "boolean")
_WORDS: Final = ("string", "int", "bigint")


def fitted_features(
    text: ViewText, transform: FittedViewText, one: Input, used: set[str], faults: Faults
) -> tuple[FittedTransform, dict[str, str], dict[str, FeatureNote]]:
    known: dict[str, Any] = dict(one.columns)
    rows = transform.fit.meaning()
    if not isinstance(one, ViewInput) or one.knowledge == "static":
        faults.add(("transform",), f"{one.name} has no rows with times to fit from. Hint: name a view of events")
    elif one.is_state:
        faults.add(("transform",), f"{one.name} gives states, of which a group has more the more often it changes. "
                   "Hint: fit a view of events, or make one with an as_of input")  # fmt: skip
    for column, values in rows.among.items():
        kind = known.get(column)
        if kind is None:
            faults.add(("transform", "fit"), f"{one.name} has no column {column!r}. {near(column, known)}")
        elif kind not in _WORDS:
            told = f"{column} is {kind}, by which no rows are chosen"
            faults.add(("transform", "fit"), f"{told}. Hint: by texts and integers, or by `from` and `to`")
        elif not all(isinstance(value, int if kind in ("int", "bigint") else str) for value in values):
            faults.add(("transform", "fit"), f"{column} is {kind}, and {values[0]!r} is not. Hint: quote texts alone")
    found: list[FittedFeature] = []
    notes: dict[str, FeatureNote] = {}
    for at, each in enumerate(text.features):
        assert isinstance(each, FittedText)
        kind = known.get(each.column)
        of_words = [method for method in each.fit if method == "code"]
        of_numbers = [method for method in each.fit if method != "code"]
        if kind is None:
            faults.add(("features", at), f"no column {each.column!r}. {near(each.column, known)}")
            continue
        if of_numbers and kind not in NUMBERS:
            faults.add(("features", at), f"{of_numbers[0]} of {each.column}, which is {kind}. Hint: it is of numbers")
        if of_words and kind not in _WORDS:
            faults.add(("features", at), f"code of {each.column}, which is {kind}. Hint: it is of texts and integers")
        for column in each.by:
            if known.get(column) not in _GROUPS:
                told = f"{column} is {known[column]}, which makes no groups" if column in known else ""
                faults.add(("features", at), told or f"no column {column!r}. {near(column, known)}")
        used.update((each.column, *each.by))
        for feature in each.features(text.prefix):
            if any(other.name == feature.name for other in found):
                faults.add(("features", at), f"feature {feature.name!r} is defined twice. Hint: give one a name")
                continue
            found.append(feature)
            if each.description or each.unit:
                notes[feature.name] = FeatureNote(description=each.description, unit=each.unit)
    used.update(rows.among)
    made = FittedTransform(rows=rows, features=tuple(found), revisions=transform.revisions)
    return made, {feature.name: TYPES[feature.result] for feature in found}, notes
