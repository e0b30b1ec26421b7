"""The text of a view -> its definition: names looked up, statistics spelled out, expressions parsed and typed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fs_spark.errors import ExpressionError
from fs_spark.features.definition import CLASS_OF, CLASSES, FeatureNote, KnowledgeClass, View
from fs_spark.features.entity import RESERVED_COLUMNS, SHIPPED, Entity
from fs_spark.features.expressions import Expression, one_hot, parse_condition, parse_expression, terms
from fs_spark.features.kinds.aggregate import AggregateTransform, Close
from fs_spark.features.kinds.columns import ColumnsTransform
from fs_spark.features.kinds.expressions import ExpressionsTransform
from fs_spark.features.kinds.rolling import RollingTransform
from fs_spark.features.kinds.statistics import StatisticFeature, expand, type_of
from fs_spark.features.shipped import SHIPPED_SOURCES
from fs_spark.features.source import SourceText
from fs_spark.features.spans import micros
from fs_spark.features.table_view import Input, SourceInput, TableView, ViewInput
from fs_spark.features.texts import (
    AggregateText,
    ColumnsText,
    ExpressionsText,
    FeatureText,
    InputText,
    RollingText,
    ViewText,
)

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


def _near(wanted: str, known: Iterable[str]) -> str:
    names = sorted(set(known))
    near = difflib.get_close_matches(wanted, names, n=1)
    return f"Hint: did you mean {near[0]!r}?" if near else f"Hint: there are {', '.join(names) or 'none yet'}"


def _later(*classes: KnowledgeClass) -> KnowledgeClass:
    return max(classes, key=CLASSES.index)


def _source_input(
    one: InputText, entity: Entity, names: Names, faults: Faults, path: Path, step: str | None
) -> SourceInput | None:
    assert one.source is not None
    asked = one.options if step is None else {**one.options, "step": step}
    shipped, text = SHIPPED_SOURCES.get(one.source), names.sources.get(one.source)
    if shipped is None and text is None:
        known = {*SHIPPED_SOURCES, *names.sources}
        faults.add((*path, "source"), f"source {one.source!r} is not known. {_near(one.source, known)}")
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
            faults.add((*path, "by"), f"{key!r} is not a key of {entity.name}. {_near(key, entity.keys)}")
    for key, column in by.items():
        kind = columns.get(column)
        if kind is None:
            hint = f"Hint: write by: {{{key}: column}}" if key == column else _near(column, columns)
            faults.add((*path, "by"), f"source {one.source} has no column {column!r} for the key {key}. {hint}")
        elif not _fits(kind, entity.keys[key]):
            faults.add((*path, "by"), f"{column!r} is {kind}, the key {key} of {entity.name} is {entity.keys[key]}")
    if text is not None and text.event is not None:
        columns |= {"event_timestamp": "timestamp", "available_timestamp": "timestamp"}
    if text is None:
        columns |= {"event_timestamp": "timestamp", "available_timestamp": "timestamp"}
    return SourceInput(
        name=one.source, called=one.called, keys=keys, columns=columns, knowledge=knowledge, meaning=meaning,
        options={k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}, by=by,
    )  # fmt: skip


def _fits(found: str, wanted: str) -> bool:
    return found == wanted or {found, wanted} <= {"int", "bigint"}


def _view_input(
    one: InputText, first: Input | None, entity: Entity, names: Names, faults: Faults, path: Path
) -> ViewInput | None:
    assert one.view is not None
    name, _, version = one.view.partition("__v")
    view = names.find(name, version or None)
    if view is None:
        faults.add((*path, "view"), f"view {one.view!r} is not known")
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
        match = "static" if view.is_static else "as_of" if one.as_of else "event"
        given = {key: one.by.get(key, key) for key in keys}
        meets, what = dict(first.columns), "the rows"
        if match == "event" and is_state:
            faults.add(path, f"{one.view} gives states, whose instants are its own. Hint: add as_of: true")
        if match == "event" and set(keys) != set(first.keys):
            faults.add(path, f"{one.view} has other keys than the rows. Hint: add as_of: true, or use a view of them")
    for key, column in given.items():
        if column not in meets:
            faults.add((*path, "by"), f"{what} lacks {column!r} for the key {key}. {_near(column, meets)}")
    return ViewInput(
        name=view.name, version=view.version, definition_hash=view.definition_hash, called=one.called, keys=keys,
        columns=columns, knowledge=CLASS_OF[view.knowledge], match=match, optional=one.optional, by=given,  # type: ignore[arg-type]
        boundary=view.boundary, ttl_s=view.ttl.total_seconds() if view.ttl is not None else None, is_state=is_state,
        order=view.order_columns if isinstance(view, TableView) else {},
    )  # fmt: skip


def _inputs(text: ViewText, entity: Entity, names: Names, faults: Faults) -> list[Input]:
    found: list[Input] = []
    asked = text.transform.inputs
    step = text.transform.step if isinstance(text.transform, AggregateText) else None
    for at, one in enumerate(asked):
        path: Path = ("transform", "inputs", at) if len(asked) > 1 else ("transform",)
        first = found[0] if found else None
        read = (
            _source_input(one, entity, names, faults, path, step)
            if one.source is not None
            else _view_input(one, first, entity, names, faults, path)
        )
        if read is None:
            return []
        if at and isinstance(read, SourceInput):
            faults.add(path, "a source gives the rows and stands first; join further ones as views")
        found.append(read)
    return found


def _visible(inputs: list[Input]) -> dict[str, str]:
    """Columns as expressions name them: dotted where an input has a name of its own, bare otherwise."""
    found: dict[str, str] = {}
    for one in inputs:
        for column, kind in one.columns.items():
            found.setdefault(f"{one.called}.{column}" if one.called else column, kind)
    return found


def _with_meaning(one: Input, used: set[str], names: Names) -> Input:
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


def _expressions(
    text: ViewText, transform: ExpressionsText, inputs: list[Input], faults: Faults
) -> tuple[list[tuple[str, Expression]], dict[str, FeatureNote]]:
    """Named expressions in their order; each may use those before it."""
    visible = _visible(inputs)
    entries: list[tuple[Path, str, str, FeatureNote]] = []
    for one in text.features:
        assert isinstance(one, FeatureText)
        place: Path = ("features", one.name)
        if one.column is not None and one.expression is None:
            entries.append((place, one.name, one.column, FeatureNote(description=one.description, unit=one.unit)))
        elif one.expression is None:
            entries.append((place, one.name, one.name, FeatureNote(description=one.description, unit=one.unit)))
        else:
            entries.append((place, one.name, one.expression, FeatureNote(description=one.description, unit=one.unit)))
    plain = FeatureNote()
    if text.terms is not None:
        entries += [(("terms",), name, made, plain) for name, made in terms(text.terms.degree, text.terms.of)]
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
        if note != plain:
            notes[name] = note
    return list(found.items()), notes


def resolve_view(text: ViewText, names: Names) -> tuple[TableView | None, list[tuple[Path, str]]]:
    """The definition that a text means, and what is wrong with it, each fault with its place in the text."""
    faults = Faults()
    entity = names.entity(text.entity)
    if entity is None:
        known = {*names.entities, *SHIPPED}
        faults.add(("entity",), f"entity {text.entity!r} is not known. {_near(text.entity, known)}")
        return None, faults.found
    inputs = _inputs(text, entity, names, faults)
    if not inputs:
        return None, faults.found
    transform = text.transform
    notes: dict[str, FeatureNote] = {}
    columns: dict[str, str] = {}
    knowledge = _later(*(one.knowledge for one in inputs))
    made: Any = None
    used: dict[int, set[str]] = {at: set() for at in range(len(inputs))}
    if isinstance(transform, ColumnsText):
        made, columns, notes = _columns(text, transform, inputs, used, faults)
        if all(c in _known_before(inputs[0], names) for _, c in made.picks) and knowledge == "at_event":
            knowledge = "before_event"
    elif isinstance(transform, ExpressionsText):
        parsed, notes = _expressions(text, transform, inputs, faults)
        _mark_used([e for _, e in parsed], inputs, used)
        made = ExpressionsTransform(values=tuple((name, e.text) for name, e in parsed), revisions=transform.revisions)
        columns = {name: e.dtype for name, e in parsed}
        if isinstance(inputs[0], SourceInput) and used[0] <= _known_before(inputs[0], names):
            others = [one.knowledge for one in inputs[1:]]
            if _later("before_event", *others) == "before_event" and knowledge == "at_event":
                knowledge = "before_event"
    else:
        made, columns, notes = _statistics(text, transform, inputs, used, faults)
        knowledge = (
            "after_group" if isinstance(transform, AggregateText) and transform.mode == "complete" else "at_event"
        )
    used[0] |= {column for one in inputs[1:] for column in one.by.values()} | set(inputs[0].by.values())
    if not columns and not faults.found:
        faults.add(("features",), "no feature is asked for. Hint: write features: [...]")
    bad = sorted((RESERVED_COLUMNS | set(entity.keys)) & set(columns))
    if bad:
        faults.add(("features",), f"{', '.join(bad)} cannot name a feature: keys and times are called so")
    odd = sorted(name for name, kind in columns.items() if kind not in
                 ("boolean", "int", "bigint", "double", "string", "date", "timestamp", "array<double>"))  # fmt: skip
    if odd:
        faults.add(("features",), f"{', '.join(odd)}: of no type that a table keeps. Hint: cast them")
    for at, claim in enumerate(text.expectations):
        missing = [c for c in claim.columns if c not in columns and c not in entity.keys]
        if missing:
            faults.add(("expectations", at), f"no column {', '.join(missing)}. {_near(missing[0], columns)}")
    if text.knowledge is not None:
        wanted = CLASS_OF[text.knowledge]
        if CLASSES.index(wanted) < CLASSES.index(knowledge):
            late = next((one.name for one in inputs if one.knowledge == knowledge), inputs[0].name)
            faults.add(
                ("knowledge",),
                f"{text.knowledge} is earlier than {knowledge}, the class of its input {late}. Hint: leave it out",
            )
        knowledge = wanted if CLASSES.index(wanted) > CLASSES.index(knowledge) else knowledge
    if faults.found:
        return None, faults.found
    view = TableView(
        name=text.name, version=text.version, ttl=text.ttl, description=text.description, owner=text.owner,
        tags=text.tags, sla=text.sla, expectations=text.expectations, entity=entity.name, entity_keys=entity.keys,
        inputs=tuple(_with_meaning(one, used[at], names) for at, one in enumerate(inputs)), transform=made,
        column_types=columns, knowledge_class=knowledge, column_notes=notes,  # type: ignore[arg-type]
    )  # fmt: skip
    return view, []


def _known_before(one: Input, names: Names) -> set[str]:
    if isinstance(one, ViewInput):
        return set()
    shipped = SHIPPED_SOURCES.get(one.name)
    brought = shipped.known_before if shipped is not None else names.sources[one.name].known_before
    return {*brought, *one.keys, *one.by.values(), "event_timestamp"}


def _mark_used(parsed: list[Expression], inputs: list[Input], used: dict[int, set[str]]) -> None:
    for expression in parsed:
        for name in expression.columns:
            called, _, bare = name.rpartition(".")
            for at, one in enumerate(inputs):
                if one.called == called and bare in one.columns:
                    used[at].add(bare)
                    break


def _columns(
    text: ViewText, transform: ColumnsText, inputs: list[Input], used: dict[int, set[str]], faults: Faults
) -> tuple[ColumnsTransform, dict[str, str], dict[str, FeatureNote]]:
    known, columns, notes = inputs[0].columns, dict[str, str](), dict[str, FeatureNote]()
    picks = []
    for one in text.features:
        assert isinstance(one, FeatureText)
        column = one.column or one.name
        place: Path = ("features", one.name)
        if one.expression is not None:
            faults.add(place, "an expression in a view of kind columns. Hint: write kind: expressions")
        elif column not in known:
            faults.add(place, f"no column {column!r}. {_near(column, known)}")
        elif one.type is not None and one.type != known[column]:
            faults.add(place, f"{column} is {known[column]}, not {one.type}. Hint: cast it in a view of expressions")
        elif one.name in columns:
            faults.add(place, f"feature {one.name!r} is defined twice. Hint: rename one")
        else:
            picks.append((one.name, column))
            used[0].add(column)
            columns[one.name] = known[column]
            if one.description or one.unit:
                notes[one.name] = FeatureNote(description=one.description, unit=one.unit)
    return ColumnsTransform(picks=tuple(picks), revisions=transform.revisions), columns, notes


def _statistics(
    text: ViewText,
    transform: RollingText | AggregateText,
    inputs: list[Input],
    used: dict[int, set[str]],
    faults: Faults,
) -> tuple[RollingTransform | AggregateTransform, dict[str, str], dict[str, FeatureNote]]:
    known = dict(inputs[0].columns)
    if inputs[0].knowledge == "static":
        faults.add(("transform",), f"{inputs[0].name} has no times: a window over it has no meaning")
    windowed = isinstance(transform, RollingText)
    found, wrong = expand(text.features, known, prefix=text.prefix, windowed=windowed)
    for fault in wrong:
        faults.add(("features",), fault)
    notes = {
        name: FeatureNote(description=one.description, unit=one.unit)
        for one in text.features
        if one.description or one.unit
        for name in [f.name for f in expand([one], known, prefix=text.prefix, windowed=windowed)[0]]
    }
    columns = {one.name: type_of(one, known) for one in found}
    for one in found:
        used[0] |= {one.column} if one.column is not None else set()
        if one.where is not None:
            used[0] |= parse_condition(one.where, columns=known).columns
    if isinstance(transform, RollingText):
        return RollingTransform(features=tuple(found), max_age_us=micros(transform.max_age)), columns, notes
    return _aggregate(transform, found, known, used, faults), columns, notes


def _aggregate(
    transform: AggregateText, found: list[StatisticFeature], known: Mapping[str, str], used: dict[int, set[str]],
    faults: Faults,
) -> AggregateTransform:  # fmt: skip
    close = None
    if transform.close is not None:
        given = transform.close
        where = None
        if given.where is not None:
            try:
                parsed = parse_condition(given.where, columns=known)
                where, used[0] = parsed.text, used[0] | parsed.columns
            except ExpressionError as fault:
                faults.add(("transform", "close", "where"), str(fault))
        if given.of is not None:
            if given.of not in known:
                faults.add(("transform", "close", "of"), f"no column {given.of!r}. {_near(given.of, known)}")
            used[0] |= {given.of}
        grace = micros(given.grace) if isinstance(given.grace, timedelta) else None
        close = Close(count=given.count, of=given.of, grace_us=grace, where=where)
    return AggregateTransform(mode=transform.mode, features=tuple(found), close=close)
