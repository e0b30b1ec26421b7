"""Feature references -> the view versions that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import ValidationError

from fs_spark.errors import FeatureNotFoundError, RequestError, did_you_mean
from fs_spark.features.definition import View
from fs_spark.features.service import SINCE_LAST, FeatureReference, Roles
from fs_spark.registry import RegistryState
from fs_spark.tables import Tables

Prefix = Literal["none", "view"]


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
    def label(self) -> str:
        """`payer.customer_activity__v1.0`"""
        return f"{self.role}.{self.view.qualified}" if self.role else self.view.qualified


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


def choose_views(
    references: Sequence[Any],
    state: RegistryState,
    *,
    prefix: Prefix = "none",
    roles: Roles | None = None,
) -> list[ChosenView]:
    """Resolves references (texts, mappings, `FeatureReference`), in the order in which views first appear.

    Raises     FeatureNotFoundError for an unknown view or feature, RequestError for text that is no reference
    """
    chosen: dict[tuple[str | None, str], ChosenView] = {}
    for text in references:
        wanted = _parsed(text)
        view = state.view(wanted.view, wanted.version)
        known = {**view.columns, **({SINCE_LAST: "double"} if "last_event_timestamp" in view.times else {})}
        if wanted.feature not in known:
            raise FeatureNotFoundError(
                f"view {view.qualified} has no feature {wanted.feature!r}.\n{did_you_mean(wanted.feature, known)}"
            )
        output = _output(wanted, view, prefix)
        place = (wanted.role, view.qualified)
        if place not in chosen:
            chosen[place] = ChosenView(view, {}, wanted.role, _by(wanted.role, view, roles or {}))
        one = chosen[place]
        if output in one.columns or output == one.since:
            raise RequestError(f"{wanted.text!r} is asked for twice. Hint: name each feature once")
        if wanted.feature == SINCE_LAST and SINCE_LAST not in view.columns:
            chosen[place] = replace(one, since=output)
            continue
        one.columns[output] = wanted.feature
        if wanted.nulls == "skip":
            chosen[place] = replace(one, skipping=one.skipping | {output})
    if not chosen:
        raise RequestError("no feature was asked for. Hint: give references such as 'view:feature'")
    return list(chosen.values())


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
    if missing:
        raise RequestError(
            f"never materialized: {', '.join(missing)}. Hint: run `fs-spark materialize {' '.join(missing)}` first"
        )
