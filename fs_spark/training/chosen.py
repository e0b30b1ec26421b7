"""Feature references -> the view versions that they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fs_spark.errors import FeatureNotFoundError, RequestError, did_you_mean
from fs_spark.features.view import FeatureReference, FeatureView
from fs_spark.registry import RegistryState
from fs_spark.tables import Tables

Prefix = Literal["none", "view"]


@dataclass(frozen=True)
class ChosenView:
    """A view version and which of its features are wanted: output column -> feature column."""

    view: FeatureView
    columns: dict[str, str]


def choose_views(references: Sequence[str], state: RegistryState, *, prefix: Prefix = "none") -> list[ChosenView]:
    """Resolves `view:feature` references against the registry, in the order in which views first appear.

    Raises     FeatureNotFoundError for an unknown view or feature, RequestError for text that is no reference
    """
    chosen: dict[str, ChosenView] = {}
    for text in references:
        try:
            wanted = FeatureReference.parse(text)
        except ValueError as fault:
            raise RequestError(str(fault)) from fault
        view = state.view(wanted.view, wanted.version)
        if wanted.feature not in view.columns:
            raise FeatureNotFoundError(
                f"view {view.qualified} has no feature {wanted.feature!r}.\n"
                f"{did_you_mean(wanted.feature, view.columns)}"
            )
        output = f"{view.name}__{wanted.feature}" if prefix == "view" else wanted.feature
        one = chosen.setdefault(view.qualified, ChosenView(view, {}))
        if output in one.columns:
            raise RequestError(f"{text!r} is asked for twice. Hint: name each feature once")
        one.columns[output] = wanted.feature
    if not chosen:
        raise RequestError("no feature was asked for. Hint: give references such as 'die_neighborhood:neighbor_count'")
    return list(chosen.values())


def require_materialized(tables: Tables, chosen: Sequence[ChosenView]) -> None:
    """Raises RequestError that lists the views which were never materialized."""
    missing = [c.view.qualified for c in chosen if not tables.exists(c.view.table)]
    if missing:
        raise RequestError(
            f"never materialized: {', '.join(missing)}. Hint: run `fs-spark materialize {' '.join(missing)}` first"
        )
