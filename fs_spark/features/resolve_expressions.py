"""Expressions of a text: parsed, typed, each with what is said of it; and views of them that are computed on demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fs_spark.errors import ExpressionError
from fs_spark.features.definition import CLASS_OF, CLASSES, FeatureNote, KnowledgeClass
from fs_spark.features.entity import RESERVED_COLUMNS, Entity
from fs_spark.features.expressions import Expression, one_hot, parse_expression, terms
from fs_spark.features.kinds.expressions import ExpressionsTransform
from fs_spark.features.resolve_inputs import Faults, Names, Path, fits, near, view_with_rows
from fs_spark.features.service import SINCE_LAST
from fs_spark.features.table_view import Input, TableView, ViewInput
from fs_spark.features.texts import ExpressionsText, FeatureText, InputText, ViewText

T = "event_timestamp"
"""How expressions on demand call the question's time."""


def expressions_of(
    text: ViewText, visible: Mapping[str, str], faults: Faults
) -> tuple[list[tuple[str, Expression]], dict[str, FeatureNote]]:
    """Named expressions in their order; each may use those before it."""
    wanted: dict[str, str | None] = {}
    entries: list[tuple[Path, str, str, FeatureNote]] = []
    for one in text.features:
        assert isinstance(one, FeatureText)
        place: Path = ("features", one.name)
        wanted[one.name] = one.type
        if one.column is not None and one.expression is not None:
            faults.add(place, "a column and an expression. Hint: give one of them")
        if one.column is not None and one.expression is None:
            entries.append((place, one.name, one.column, FeatureNote(description=one.description, unit=one.unit)))
        elif one.expression is None:
            entries.append((place, one.name, one.name, FeatureNote(description=one.description, unit=one.unit)))
        else:
            entries.append((place, one.name, one.expression, FeatureNote(description=one.description, unit=one.unit)))
    plain = FeatureNote()
    if text.terms is not None:
        made_of = terms(text.terms.degree, text.terms.of)
        entries += [(("terms",), name, made, FeatureNote(description=made)) for name, made in made_of]
    for name, bins in text.bins.items():
        edges = ", ".join(repr(edge) for edge in bins.edges)
        entries.append((("bins", name), name, f"bin({bins.of}, {edges})", plain))
    for column, words in text.one_hot.items():
        try:
            entries += [(("one_hot", column), name, made, plain) for name, made in one_hot(column, words)]
        except ExpressionError as fault:
            faults.add(("one_hot", column), str(fault))
    found: dict[str, Expression] = {}
    notes: dict[str, FeatureNote] = {}
    for place, name, made, note in entries:
        if name in found:
            faults.add(place, f"feature {name!r} is defined twice. Hint: rename one")
            continue
        try:
            earlier = {known: one.dtype for known, one in found.items() if known not in visible}
            read = parse_expression(made, columns={**visible, **earlier})
            found[name] = read.with_values({known: found[known] for known in read.columns & set(earlier)})
        except ExpressionError as fault:
            faults.add(place, str(fault))
            continue
        if wanted.get(name) not in (None, found[name].dtype):
            faults.add(
                place, f"{name} is {found[name].dtype}, not {wanted[name]}. Hint: CAST({made} AS {wanted[name]})"
            )
        if note != plain:
            notes[name] = note
    return list(found.items()), notes


def mark_used(parsed: list[Expression], inputs: list[Input], used: dict[int, set[str]]) -> None:
    for expression in parsed:
        for name in expression.columns:
            called, _, bare = name.rpartition(".")
            for at, one in enumerate(inputs):
                if one.called == called and bare in one.columns:
                    used[at].add(bare)
                    break


def on_demand_view(
    text: ViewText, transform: ExpressionsText, entity: Entity, names: Names, faults: Faults
) -> TableView | None:
    """A view without rows: its inputs are joined to the question by their own keys, each as if it were asked alone."""
    request: dict[str, Any] = dict(transform.request)
    unread = [word for word, given in (("ttl", text.ttl), ("sla", text.sla), ("expectations", text.expectations),
                                       ("prefix", text.prefix), ("knowledge", text.knowledge)) if given]  # fmt: skip
    if transform.revisions != "all":
        unread.append("revisions")
    if unread:
        faults.add(
            ("transform",), f"a view on demand has no rows, and no use for {', '.join(unread)}. Hint: leave it out"
        )
    for name, kind in request.items():
        place: Path = ("transform", "request", name)
        if kind == "array<double>":
            faults.add(place, "expressions do not read array<double>. Hint: bring a number")
        if name in RESERVED_COLUMNS or name in entity.keys:
            faults.add(place, f"{name!r} is a key or a time of the question anyway. Hint: leave it out of request")
    brought: dict[str, str] = {**entity.keys, **request}
    inputs = [
        read
        for at, one in enumerate(transform.inputs)
        if (read := _joined_input(one, brought, names, faults, ("transform", "inputs", at))) is not None
    ]
    visible: dict[str, str] = {**brought, T: "timestamp"}
    for one in inputs:
        for column, kind in one.columns.items():
            called = f"{one.called}.{column}" if one.called else column
            if called in visible:
                faults.add(
                    ("transform",), f"{called!r} is there twice. Hint: give the input {one.name} a name with `as`"
                )
            visible[called] = kind
    parsed, notes = expressions_of(text, visible, faults)
    used: dict[int, set[str]] = {at: set() for at in range(len(inputs))}
    mark_used([e for _, e in parsed], list(inputs), used)
    columns: dict[str, Any] = {name: e.dtype for name, e in parsed}
    if not columns and not faults.found:
        faults.add(("features",), "no feature is asked for. Hint: write features: [...]")
    bad = sorted((RESERVED_COLUMNS | set(brought)) & set(columns))
    if bad:
        faults.add(("features",), f"{', '.join(bad)} cannot name a feature: the question has it")
    read_by_any = {name for _, e in parsed for name in e.columns}
    for name in request if not faults.found else ():
        if name not in read_by_any and all(name not in one.by.values() for one in inputs):
            faults.add(("transform", "request", name), f"no feature reads {name!r}. Hint: leave it out")
    if faults.found:
        return None
    classes: list[KnowledgeClass] = ["before_event", *(one.knowledge for one in inputs)]
    return TableView(
        name=text.name, version=text.version, description=text.description, owner=text.owner, tags=text.tags,
        entity=entity.name, entity_keys=entity.keys,
        inputs=tuple(
            one.model_copy(update={"columns": {c: k for c, k in one.columns.items() if c in used[at]}})
            for at, one in enumerate(inputs)
        ),
        transform=ExpressionsTransform(
            values=tuple((name, e.text) for name, e in parsed), on_demand=True, request=request
        ),
        column_types=columns, knowledge_class=max(classes, key=CLASSES.index), column_notes=notes,
    )  # fmt: skip


def _joined_input(
    one: InputText, brought: Mapping[str, str], names: Names, faults: Faults, path: Path
) -> ViewInput | None:
    if one.view is None:
        faults.add(path, "a view on demand reads views. Hint: make a view of the source first")
        return None
    if one.optional or one.options:
        faults.add(path, "every input on demand may be without a row, which gives nulls. Hint: name the view and `by`")
    view = view_with_rows(one.view, names, faults, path)
    if view is None:
        return None
    by = {key: one.by.get(key, key) for key in view.keys}
    for key in one.by:
        if key not in view.keys:
            faults.add((*path, "by"), f"{key!r} is not a key of {one.view}. {near(key, view.keys)}")
    for key, column in by.items():
        if column not in brought:
            faults.add((*path, "by"), f"the question has no {column!r} for the key {key} of {one.view}. "
                       f"{near(column, brought)}")  # fmt: skip
        elif not fits(brought[column], view.key_types[key]):
            faults.add((*path, "by"), f"{column!r} is {brought[column]}, the key {key} of {one.view} is "
                       f"{view.key_types[key]}")  # fmt: skip
    is_state = "last_event_timestamp" in view.times
    columns: dict[str, Any] = {c: k for c, k in view.columns.items() if k != "array<double>"}
    if is_state and SINCE_LAST not in columns:
        columns[SINCE_LAST] = "double"
    return ViewInput(
        name=view.name, version=view.version, definition_hash=view.definition_hash, called=one.called,
        keys=dict(view.key_types), columns=columns, knowledge=CLASS_OF[view.knowledge],  # type: ignore[arg-type]
        match="static" if view.is_static else "as_of", by=by, boundary=view.boundary,
        ttl_s=view.ttl.total_seconds() if view.ttl is not None else None, is_state=is_state,
    )  # fmt: skip
