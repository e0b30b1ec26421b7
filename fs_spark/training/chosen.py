"""Feature references -> the view versions that they mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from pydantic import ValidationError

from fs_spark import names as n
from fs_spark.errors import FeatureNotFoundError, RequestError, did_you_mean
from fs_spark.features.definition import View
from fs_spark.features.expressions import parse_expression
from fs_spark.features.kinds.expressions import ExpressionsTransform
from fs_spark.features.service import SINCE_LAST, FeatureReference, Roles
from fs_spark.features.table_view import Input, TableView, ViewInput
from fs_spark.names import HIDDEN
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables

Prefix = Literal["none", "view"]
LAST_EVENT: Final = "last_event_timestamp"
EVENT: Final = n.EVENT_TIMESTAMP


@dataclass(frozen=True)
class ChosenView:
    """A view version and which of its features are wanted: output column -> feature column.

    `by` names the spine's column for each key of the view; `skipping` are outputs of the newest known value; `since`
    is what the time since a group's last row is called.
    """

    view: View
    columns: dict[str, str]
    role: str | None = None
    by: dict[str, str] = field(default_factory=dict)
    skipping: frozenset[str] = frozenset()
    since: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The spine's columns."""
        return tuple(self.by.get(key, key) for key in self.view.keys)

    @property
    def is_asked(self) -> bool:
        """Whether an output is more than what features on demand read."""
        return any(not name.startswith(HIDDEN) for name in (*self.columns, *([self.since] if self.since else [])))

    @property
    def label(self) -> str:
        """`payer.customer_activity__v1.0`"""
        return f"{self.role}.{self.view.qualified}" if self.role else self.view.qualified


@dataclass(frozen=True)
class OnDemand:
    """A view on demand and which of its features are wanted: output column -> feature.

    reads    column as its expressions call it -> column that the join gives
    brought  column as its expressions call it -> column of the question; its time is `EVENT_TIMESTAMP`
    types    column as its expressions call it -> type
    """

    view: TableView
    columns: dict[str, str]
    role: str | None
    reads: dict[str, str]
    brought: dict[str, str]
    types: dict[str, str]

    @property
    def label(self) -> str:
        return f"{self.role}.{self.view.qualified}" if self.role else self.view.qualified

    @property
    def values(self) -> dict[str, str]:
        """Feature -> expression, of those that are wanted."""
        assert isinstance(self.view.transform, ExpressionsTransform)
        return {name: text for name, text in self.view.transform.values if name in self.columns.values()}


@dataclass(frozen=True)
class Chosen:
    """What references mean: views to join, and features to compute from what they gave."""

    views: list[ChosenView]
    on_demand: list[OnDemand]

    @property
    def outputs(self) -> list[str]:
        """All columns of the answer, those of the join first."""
        joined = [name for one in self.views for name in (*one.columns, *([one.since] if one.since else []))]
        return [name for name in joined if not name.startswith(HIDDEN)] + [c for o in self.on_demand for c in o.columns]


def _parsed(text: Any) -> FeatureReference:
    try:
        return text if isinstance(text, FeatureReference) else FeatureReference.parse(text)
    except ValidationError as fault:
        raise RequestError(str(fault.errors()[0]["msg"]).removeprefix("Value error, ")) from fault


def _output(wanted: FeatureReference, view: View, prefix: Prefix) -> str:
    if wanted.called is not None:
        return wanted.called
    parts = [wanted.role, view.name if prefix == "view" else None, wanted.feature]
    return "__".join(part for part in parts if part)


class _Choice:
    """Views and features on demand as references name them, one by one."""

    def __init__(self, state: RegistryState, roles: Roles) -> None:
        self.state, self.roles = state, roles
        self.views: dict[tuple[Any, ...], ChosenView] = {}
        self.on_demand: dict[tuple[str | None, str], OnDemand] = {}

    def add(self, wanted: FeatureReference, view: View, prefix: Prefix) -> None:
        known = {**view.columns, **({SINCE_LAST: "double"} if LAST_EVENT in view.times else {})}
        if wanted.feature not in known:
            raise FeatureNotFoundError(
                f"view {view.qualified} has no feature {wanted.feature!r}.\n{did_you_mean(wanted.feature, known)}"
            )
        output = _output(wanted, view, prefix)
        if view.is_on_demand:
            if wanted.nulls == "skip":
                raise RequestError(
                    f"{wanted.text!r} is computed on demand and has no older value. Hint: leave nulls out"
                )
            self._demand(view, wanted, output)
            return
        place = self._place(view, wanted.role, _by(wanted.role, view, self.roles))
        one = self.views[place]
        if output in one.columns or output == one.since:
            raise RequestError(f"{wanted.text!r} is asked for twice. Hint: name each feature once")
        if wanted.feature == SINCE_LAST and SINCE_LAST not in view.columns:
            self.views[place] = replace(one, since=output)
            return
        one.columns[output] = wanted.feature
        if wanted.nulls == "skip":
            self.views[place] = replace(one, skipping=one.skipping | {output})

    def _place(self, view: View, role: str | None, by: dict[str, str]) -> tuple[Any, ...]:
        place = (role, view.qualified, tuple(by.get(key, key) for key in view.keys))
        self.views.setdefault(place, ChosenView(view, {}, role, by))
        return place

    def _demand(self, view: View, wanted: FeatureReference, output: str) -> None:
        assert isinstance(view, TableView)
        place = (wanted.role, view.qualified)
        one = self.on_demand.setdefault(place, OnDemand(view, {}, wanted.role, {}, {}, {}))
        if output in one.columns:
            raise RequestError(f"{wanted.text!r} is asked for twice. Hint: name each feature once")
        one.columns[output] = wanted.feature
        keys = _by(wanted.role, view, self.roles) or {key: key for key in view.keys}
        of_question = {EVENT: "timestamp", **view.key_types, **_request(view)}
        shown = {f"{i.called}.{c}" if i.called else c: (i, c) for i in view.inputs for c in i.columns}
        types = {**of_question, **{name: i.columns[c] for name, (i, c) in shown.items()}}
        for column in sorted(parse_expression(one.values[wanted.feature], types).columns):
            one.types[column] = types[column]
            if column in of_question:
                one.brought[column] = keys.get(column, column)
            else:
                one.reads[column] = self._joined(shown[column], wanted.role, keys)

    def _joined(self, read: tuple[Input, str], role: str | None, keys: Mapping[str, str]) -> str:
        """The column of the join that holds a feature of an input: one that is asked for, else a hidden one."""
        one, column = read
        assert isinstance(one, ViewInput)
        view = self.state.view(one.name, one.version)
        by = {key: keys.get(ours, ours) for key, ours in one.by.items()}
        if all(key == ours for key, ours in by.items()):
            role, by = None, {}
        elif role is None or by != {key: self.roles[role].get(key, key) for key in view.keys}:
            role = "__".join(by.values())
        place = self._place(view, role, by)
        chosen = self.views[place]
        for output, feature in chosen.columns.items():
            if feature == column and output not in chosen.skipping:
                return output
        hidden = f"{HIDDEN}{role + '__' if role else ''}{view.table}__{column}"
        if column == SINCE_LAST and column not in view.columns:
            if chosen.since is None:
                self.views[place] = replace(chosen, since=hidden)
            return self.views[place].since or hidden
        chosen.columns[hidden] = column
        return hidden


def choose_views(
    references: Sequence[Any],
    state: RegistryState,
    *,
    prefix: Prefix = "none",
    roles: Roles | None = None,
) -> Chosen:
    """Resolves references (texts, mappings, `FeatureReference`), in the order in which views first appear.

    Raises     FeatureNotFoundError for an unknown view or feature, RequestError for text that is no reference
    """
    choice = _Choice(state, roles or {})
    wanted = [(one, state.view(one.view, one.version)) for one in map(_parsed, references)]
    for one, view in sorted(wanted, key=lambda pair: pair[1].is_on_demand):  # these read what is joined anyway
        choice.add(one, view, prefix)
    if not choice.views and not choice.on_demand:
        raise RequestError("no feature was asked for. Hint: give references such as 'view:feature'")
    chosen = Chosen(list(choice.views.values()), list(choice.on_demand.values()))
    if chosen.on_demand and (twice := [name for name, count in Counter(chosen.outputs).items() if count > 1]):
        raise RequestError(f"two features are called {twice[0]!r}. Hint: name one by `as`, or ask with a prefix")
    return chosen


def _request(view: TableView) -> dict[str, str]:
    return dict(view.transform.request) if isinstance(view.transform, ExpressionsTransform) else {}


def _by(role: str | None, view: View, roles: Roles) -> dict[str, str]:
    if role is None:
        return {}
    if role not in roles:
        raise RequestError(
            f"role {role!r} is not given. Hint: say which column holds each key, such as "
            f"roles={{{role!r}: {{{view.keys[0]!r}: {f'{role}_id'!r}}}}}"
        )
    unknown = [key for key in roles[role] if key not in view.keys]
    if unknown:
        raise RequestError(
            f"role {role!r}: {view.qualified} has no key {unknown[0]!r}; its keys are {', '.join(view.keys)}"
        )
    return {key: roles[role].get(key, key) for key in view.keys}


def require_materialized(tables: Tables, chosen: Sequence[ChosenView]) -> None:
    """Raises RequestError that lists the views which were never materialized."""
    missing = [c.view.qualified for c in chosen if not tables.exists(c.view.table)]
    fits = [c.view.name for c in chosen if isinstance(c.view, TableView) and not c.view.is_fitted]
    if missing and fits:
        raise RequestError(
            f"never materialized, or dropped: {', '.join(missing)}; of these not fitted: {', '.join(fits)}. Hint: run "
            f"`fs-spark fit {fits[0]}`, then `fs-spark materialize {' '.join(missing)}`"
        )
    if missing:
        raise RequestError(
            f"never materialized, or dropped: {', '.join(missing)}. "
            f"Hint: run `fs-spark materialize {' '.join(missing)}` first"
        )
