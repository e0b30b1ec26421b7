"""The text of a `function` view -> what it calls, with which inputs; the code itself is looked at by `plan`."""

from __future__ import annotations

import json
from typing import Any

from fs_spark.features.definition import FeatureNote
from fs_spark.features.entity import SHIPPED, Entity
from fs_spark.features.kinds.function import FUNCTION, PACKAGE, SHA256, FunctionTransform
from fs_spark.features.resolve_inputs import Faults, Names, near
from fs_spark.features.table_view import Input, SourceInput
from fs_spark.features.texts import FeatureText, FunctionText, ViewText


def called_function(
    text: ViewText, transform: FunctionText, entity: Entity, inputs: list[Input], names: Names,
    used: dict[int, set[str]], faults: Faults,
) -> tuple[FunctionTransform, dict[str, str], dict[str, FeatureNote]]:  # fmt: skip
    if not FUNCTION.fullmatch(transform.function):
        faults.add(("transform", "function"), f"{transform.function!r} is no import path. Hint: package.module:name")
    if not PACKAGE.fullmatch(transform.code) and not SHA256.fullmatch(transform.code):
        hint = "Hint: package==1.2.3, or the SHA-256 of the module's file"
        faults.add(("transform", "code"), f"{transform.code!r} says no code. {hint}")
    for path, digest in transform.files.items():
        if not SHA256.fullmatch(digest):
            faults.add(("transform", "files", path), f"{digest!r} is no SHA-256. Hint: sha256sum {path}")
    try:
        json.dumps(transform.parameters, allow_nan=False)
    except (TypeError, ValueError) as fault:
        faults.add(("transform", "parameters"), f"parameters are plain values: {fault}. Hint: quote times as texts")
    group = list(entity.keys)
    if transform.unit is not None:
        together = names.entity(transform.unit)
        if together is None:
            known = {*names.entities, *SHIPPED}
            faults.add(("transform", "unit"), f"entity {transform.unit!r} is not known. {near(transform.unit, known)}")
        elif not set(together.keys) <= set(entity.keys):
            hint = f"Hint: its keys are among {', '.join(entity.keys)}"
            faults.add(("transform", "unit"), f"{transform.unit} has keys that {entity.name} has not. {hint}")
        else:
            group = list(together.keys)
    called = [one.called or one.name for one in inputs]
    twice = sorted({name for name in called if called.count(name) > 1})
    if twice:
        faults.add(("transform",), f"two inputs are called {twice[0]!r}. Hint: name one by `as`")
    if any(isinstance(one, SourceInput) for one in inputs):
        faults.add(("transform",), "a function reads views. Hint: make a view of kind columns of the source first")
    for at, one in enumerate(inputs):
        used[at] |= set(one.columns)
    columns: dict[str, Any] = {}
    notes: dict[str, FeatureNote] = {}
    for each in text.features:
        assert isinstance(each, FeatureText)
        place = ("features", each.name)
        if each.type is None or each.column is not None or each.expression is not None:
            faults.add(place, f"{each.name} is what the function gives: it has a type alone. Hint: type: double")
        elif each.name in columns:
            faults.add(place, f"feature {each.name!r} is defined twice. Hint: rename one")
        else:
            columns[each.name] = each.type
            if each.description or each.unit:
                notes[each.name] = FeatureNote(description=each.description, unit=each.unit)
    made = FunctionTransform(
        function=transform.function, parameters=transform.parameters, code=transform.code, files=transform.files,
        repeatable=transform.repeatable, group=tuple(group), names=tuple(called),
    )  # fmt: skip
    return made, columns, notes
