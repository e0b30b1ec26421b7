"""The text of a view -> its definition: names looked up, statistics spelled out, expressions parsed and typed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fs_spark.errors import ExpressionError
from fs_spark.features.definition import CLASS_OF, CLASSES, FeatureNote, KnowledgeClass
from fs_spark.features.entity import LOT, RESERVED_COLUMNS, SHIPPED, WAFER, Entity
from fs_spark.features.expressions import parse_condition
from fs_spark.features.kinds.against import AgainstFeature, AgainstTransform, ComparisonsText
from fs_spark.features.kinds.aggregate import AggregateTransform, Close
from fs_spark.features.kinds.columns import ColumnsTransform
from fs_spark.features.kinds.expressions import ExpressionsTransform
from fs_spark.features.kinds.rolling import RollingTransform
from fs_spark.features.kinds.statistics import StatisticFeature, expand, type_of
from fs_spark.features.resolve_expressions import expressions_of, mark_used, on_demand_view
from fs_spark.features.resolve_fits import fitted_features
from fs_spark.features.resolve_functions import called_function
from fs_spark.features.resolve_inputs import Faults, Names, Path, inputs_of, near, visible_columns, with_meaning
from fs_spark.features.shipped import SHIPPED_SOURCES
from fs_spark.features.spans import micros
from fs_spark.features.table_view import Input, SourceInput, TableView, ViewInput
from fs_spark.features.texts import (
    AgainstText,
    AggregateText,
    ColumnsText,
    ExpressionsText,
    FeatureText,
    FittedViewText,
    FunctionText,
    RollingText,
    ViewText,
)
from fs_spark.features.types import NUMBERS


def _later(*classes: KnowledgeClass) -> KnowledgeClass:
    return max(classes, key=CLASSES.index)


def resolve_view(text: ViewText, names: Names) -> tuple[TableView | None, list[tuple[Path, str]]]:
    """The definition that a text means, and what is wrong with it, each fault with its place in the text."""
    faults = Faults()
    entity = names.entity(text.entity)
    if entity is None:
        known = {*names.entities, *SHIPPED}
        faults.add(("entity",), f"entity {text.entity!r} is not known. {near(text.entity, known)}")
        return None, faults.found
    if isinstance(text.transform, ExpressionsText) and text.transform.on_demand:
        return on_demand_view(text, text.transform, entity, names, faults), faults.found
    inputs = inputs_of(text, entity, names, faults)
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
        parsed, notes = expressions_of(text, visible_columns(inputs), faults)
        mark_used([e for _, e in parsed], inputs, used)
        made = ExpressionsTransform(values=tuple((name, e.text) for name, e in parsed), revisions=transform.revisions)
        columns = {name: e.dtype for name, e in parsed}
        if isinstance(inputs[0], SourceInput) and used[0] <= _known_before(inputs[0], names):
            others = [one.knowledge for one in inputs[1:]]
            if _later("before_event", *others) == "before_event" and knowledge == "at_event":
                knowledge = "before_event"
    elif isinstance(transform, FittedViewText):
        made, columns, notes = fitted_features(text, transform, inputs[0], used[0], faults)
    elif isinstance(transform, FunctionText):
        made, columns, notes = called_function(text, transform, entity, inputs, names, used, faults)
    elif isinstance(transform, AgainstText):
        made, columns, notes = _comparisons(text, transform, entity, inputs, names, used, faults)
    else:
        made, columns, notes = _statistics(text, transform, inputs, used, faults)
        knowledge = (
            "after_group" if isinstance(transform, AggregateText) and transform.mode == "complete" else "at_event"
        )
    _unread(text, faults)
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
            faults.add(("expectations", at), f"no column {', '.join(missing)}. {near(missing[0], columns)}")
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
        inputs=tuple(with_meaning(one, used[at], names) for at, one in enumerate(inputs)), transform=made,
        column_types=columns, knowledge_class=knowledge, column_notes=notes,  # type: ignore[arg-type]
    )  # fmt: skip
    return view, []


def _unread(text: ViewText, faults: Faults) -> None:
    """Words that a view of the kind has no use for."""
    kind = text.transform.kind
    if kind in ("columns", "expressions") and text.prefix:
        faults.add(("prefix",), f"a view of kind {kind} names its features itself. Hint: leave prefix out")
    if kind != "expressions":
        for word, given in (("terms", text.terms), ("bins", text.bins), ("one_hot", text.one_hot)):
            if given:
                faults.add((word,), f"{word} are of a view of expressions, not of {kind}. Hint: make one over this one")


def _known_before(one: Input, names: Names) -> set[str]:
    if isinstance(one, ViewInput):
        return set()
    shipped = SHIPPED_SOURCES.get(one.name)
    brought = shipped.known_before if shipped is not None else names.sources[one.name].known_before
    return {*brought, *one.keys, *one.by.values(), "event_timestamp"}


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
            faults.add(place, f"no column {column!r}. {near(column, known)}")
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


def _comparisons(
    text: ViewText,
    transform: AgainstText,
    entity: Entity,
    inputs: list[Input],
    names: Names,
    used: dict[int, set[str]],
    faults: Faults,
) -> tuple[AgainstTransform, dict[str, str], dict[str, FeatureNote]]:
    one = inputs[0]
    known, place = one.columns, ("transform", "population")
    if not isinstance(one, SourceInput) or not one.options.get("others"):
        faults.add(("transform",), "values are compared over attempts. Hint: write source: attempts")
    elif list(one.by.values()) != list(one.keys):
        wanted = ", ".join(one.keys)
        faults.add(("entity",), f"{entity.name} is not what {one.name} has rows of. Hint: its keys are {wanted}")
    population = names.entity(transform.population)
    keys = list(population.keys) if population is not None else []
    if population is None:
        nearest = near(transform.population, {*names.entities, *SHIPPED})
        faults.add(place, f"entity {transform.population!r} is not known. {nearest}")
    elif isinstance(one, SourceInput) and one.options.get("others"):
        closing = [set(LOT.keys), set(WAFER.keys)]
        if set(keys) not in closing:
            faults.add(place, f"{transform.population} does not close. Hint: lot or wafer")
    found: list[AgainstFeature] = []
    notes: dict[str, FeatureNote] = {}
    for at, each in enumerate(text.features):
        assert isinstance(each, ComparisonsText)
        if known.get(each.column) not in NUMBERS:
            what = f"no column {each.column!r}. {near(each.column, known)}"
            is_there = each.column in known
            told = f"{each.column} is {known.get(each.column)}, no number to compare. Hint: name a parameter"
            faults.add(("features", at), told if is_there else what)
            continue
        used[0].add(each.column)
        for comparison in each.statistics:
            parts = (text.prefix, each.name or each.column, f"{comparison}_{transform.population}")
            name = "__".join(part for part in parts if part)
            if any(other.name == name for other in found):
                faults.add(("features", at), f"feature {name!r} is defined twice. Hint: give one a name")
                continue
            found.append(AgainstFeature(name=name, column=each.column, comparison=comparison))
            if each.description or each.unit:
                notes[name] = FeatureNote(description=each.description, unit=each.unit)
    made = AgainstTransform(population=tuple(keys), features=tuple(found), revisions=transform.revisions)
    return made, {each.name: "double" for each in found}, notes


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
                faults.add(("transform", "close", "of"), f"no column {given.of!r}. {near(given.of, known)}")
            used[0] |= {given.of}
        grace = micros(given.grace) if isinstance(given.grace, timedelta) else None
        close = Close(count=given.count, of=given.of, grace_us=grace, where=where)
    return AggregateTransform(mode=transform.mode, features=tuple(found), close=close)
