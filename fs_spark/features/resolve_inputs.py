"""What the text of a view reads: sources and views looked up, and what is wrong with their names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fs_spark.features.definition import CLASS_OF, KnowledgeClass, View
from fs_spark.features.entity import SHIPPED, Entity
from fs_spark.features.shipped import SHIPPED_SOURCES
from fs_spark.features.source import SourceText
from fs_spark.features.table_view import Input, SourceInput, TableView, ViewInput, ordering
from fs_spark.features.texts import AgainstText, AggregateText, FunctionText, InputText, ViewText

Path = tuple[str | int, ...]
Find = Callable[[str, str | None], View | None]
"""A view by name, and by version where one is named."""


@dataclass
class Faults:
    """What is wrong with a text, each with its place in it."""

    found: list[tuple[Path, str]] = field(default_factory=list)

    def add(self, path: Path, text: str) -> None:
        self.found.append((path, text))


@dataclass(frozen=True)
class Names:
    """What texts may name."""

    entities: Mapping[str, Entity]
    sources: Mapping[str, SourceText]
    find: Find

    def entity(self, name: str) -> Entity | None:
        return self.entities.get(name) or SHIPPED.get(name)


def near(wanted: str, known: Iterable[str]) -> str:
    names = sorted(set(known))
    found = difflib.get_close_matches(wanted, names, n=1)
    return f"Hint: did you mean {found[0]!r}?" if found else f"Hint: there are {', '.join(names) or 'none yet'}"


def _source_input(
    one: InputText, entity: Entity, names: Names, faults: Faults, path: Path, more: Mapping[str, Any]
) -> SourceInput | None:
    assert one.source is not None
    asked = {**one.options, **more}
    shipped, text = SHIPPED_SOURCES.get(one.source), names.sources.get(one.source)
    if shipped is None and text is None:
        known = {*SHIPPED_SOURCES, *names.sources}
        faults.add((*path, "source"), f"source {one.source!r} is not known. {near(one.source, known)}")
        return None
    if text is not None:
        keys: dict[str, Any] = dict(text.key_types)
        columns: dict[str, Any] = dict(text.columns)
        meaning, options = {}, dict[str, Any]()
        if asked:
            faults.add(path, f"{', '.join(asked)}: options of the store's own tables, not of {one.source}")
        if text.is_static:
            knowledge: KnowledgeClass = "static"
        else:
            knowledge = "before_event" if text.valid_to or text.effective else "at_event"
    else:
        assert shipped is not None
        keys, columns, meaning = dict(shipped.keys), dict(shipped.columns), {"order": list(shipped.order)}
        options, wrong = shipped.options_of(asked)
        for fault in wrong:
            faults.add(path, fault)
        columns |= dict.fromkeys(options.get("parameters", ()), "double")
        knowledge = "at_event"
    by = {key: one.by.get(key, key) for key in entity.keys}
    for key in one.by:
        if key not in entity.keys:
            faults.add((*path, "by"), f"{key!r} is not a key of {entity.name}. {near(key, entity.keys)}")
    for key, column in by.items():
        kind = columns.get(column)
        if kind is None:
            hint = f"Hint: write by: {{{key}: column}}" if key == column else near(column, columns)
            faults.add((*path, "by"), f"source {one.source} has no column {column!r} for the key {key}. {hint}")
        elif not fits(kind, entity.keys[key]):
            faults.add((*path, "by"), f"{column!r} is {kind}, the key {key} of {entity.name} is {entity.keys[key]}")
    if text is not None and text.event is not None:
        columns |= {"event_timestamp": "timestamp", "available_timestamp": "timestamp"}
    if text is None:
        columns |= {"event_timestamp": "timestamp", "available_timestamp": "timestamp"}
    return SourceInput(
        name=one.source, called=one.called, keys=keys, columns=columns, knowledge=knowledge, meaning=meaning,
        options={k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}, by=by,
    )  # fmt: skip


def fits(found: str, wanted: str) -> bool:
    """Whether a column of a type can be a key of another."""
    return found == wanted or {found, wanted} <= {"int", "bigint"}


def view_with_rows(named: str, names: Names, faults: Faults, path: Path) -> View | None:
    """A view by the name that a text gives, where its rows can be read."""
    name, _, version = named.partition("__v")
    view = names.find(name, version or None)
    if view is None:
        faults.add((*path, "view"), f"view {named!r} is not known")
    elif view.is_on_demand:
        faults.add((*path, "view"), f"{named} has no rows, it is computed on demand. Hint: repeat its expression")
        return None
    return view


def _view_input(
    one: InputText, first: Input | None, entity: Entity, names: Names, faults: Faults, path: Path, *, any_times: bool
) -> ViewInput | None:
    assert one.view is not None
    view = view_with_rows(one.view, names, faults, path)
    if view is None:
        return None
    keys: dict[str, Any] = dict(view.key_types)
    columns: dict[str, Any] = {**keys, **view.columns}
    if not view.is_static:
        columns |= {"event_timestamp": "timestamp", "available_timestamp": "timestamp"}
    if "valid_to" in view.times:
        columns["valid_to"] = "timestamp"
    is_state = "last_event_timestamp" in view.times
    if first is None:
        match, given = "rows", {key: one.by.get(key, key) for key in entity.keys}
        meets, what = columns, f"view {one.view}"
        if one.as_of:
            faults.add(path, "the first input gives the rows and cannot be as_of. Hint: put another one first")
    else:
        match = "static" if view.is_static else "as_of" if one.as_of or any_times else "event"
        given = {key: one.by.get(key, key) for key in keys}
        meets, what = dict(first.columns), "the rows"
        if match == "event" and is_state:
            faults.add(path, f"{one.view} gives states, whose instants are its own. Hint: add as_of: true")
        if match == "event" and set(keys) != set(first.keys):
            faults.add(path, f"{one.view} has other keys than the rows. Hint: add as_of: true, or use a view of them")
    for key, column in given.items():
        if column not in meets:
            faults.add((*path, "by"), f"{what} lacks {column!r} for the key {key}. {near(column, meets)}")
    return ViewInput(
        name=view.name, version=view.version, definition_hash=view.definition_hash, called=one.called, keys=keys,
        columns=columns, knowledge=CLASS_OF[view.knowledge], match=match, optional=one.optional, by=given,  # type: ignore[arg-type]
        boundary=view.boundary, ttl_s=view.ttl.total_seconds() if view.ttl is not None else None, is_state=is_state,
        order=view.order_columns if isinstance(view, TableView) else {},
        key_order=view.key_order if isinstance(view, TableView) else {key: ordering("attempts", key) for key in keys},
    )  # fmt: skip


def inputs_of(text: ViewText, entity: Entity, names: Names, faults: Faults) -> list[Input]:
    found: list[Input] = []
    asked = text.transform.inputs
    more: dict[str, Any] = {}
    if isinstance(text.transform, AggregateText) and text.transform.step is not None:
        more = {"step": text.transform.step}
    if isinstance(text.transform, AgainstText) and text.transform.source is not None:
        source = SHIPPED_SOURCES.get(text.transform.source)
        more = {"others": True} if source is not None and source.tells_others else {}
    for at, one in enumerate(asked):
        path: Path = ("transform", "inputs", at) if len(asked) > 1 else ("transform",)
        first = found[0] if found else None
        read = (
            _source_input(one, entity, names, faults, path, more)
            if one.source is not None
            else _view_input(
                one, first, entity, names, faults, path, any_times=isinstance(text.transform, FunctionText)
            )
        )
        if read is None:
            return []
        if isinstance(read, SourceInput) and len(asked) > 1:
            faults.add(path, "of several inputs all are views. Hint: make a view of kind columns of the source first")
        found.append(read)
    return found


def visible_columns(inputs: list[Input]) -> dict[str, str]:
    """Columns as expressions name them: dotted where an input has a name of its own, bare otherwise."""
    found: dict[str, str] = {}
    for one in inputs:
        for column, kind in one.columns.items():
            found.setdefault(f"{one.called}.{column}" if one.called else column, kind)
    return found


def with_meaning(one: Input, used: set[str], names: Names) -> Input:
    """A source's input with the columns that are read, and what decides its rows."""
    if not isinstance(one, SourceInput):
        wanted = {*one.keys, *used, "event_timestamp", "available_timestamp", "valid_to"}
        return one.model_copy(update={"columns": {c: k for c, k in sorted(one.columns.items()) if c in wanted}})
    text = names.sources.get(one.name)
    wanted = {*one.keys, *one.order, *one.by.values(), *used}
    if text is not None:
        wanted |= set(text.order)
        meaning = text.meaning(sorted(wanted & set(text.columns)))
        return one.model_copy(
            update={"columns": {c: k for c, k in sorted(one.columns.items()) if c in wanted}, "meaning": meaning}
        )
    return one.model_copy(update={"columns": {c: k for c, k in sorted(one.columns.items()) if c in wanted}})
