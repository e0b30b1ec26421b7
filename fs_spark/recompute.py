"""Rows of a view computed anew from what its own commit says that it was made from, down to the sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame

from fs_spark.errors import ReproductionError
from fs_spark.features.definition import View
from fs_spark.features.engine import changed_kernels
from fs_spark.features.read_view import fit_digest
from fs_spark.features.table_view import UNIT_KEYS, TableView, ViewInput
from fs_spark.features.view import FeatureView
from fs_spark.registry_state import RegistryState
from fs_spark.snapshot import Snapshot
from fs_spark.spatial_views import rows_at
from fs_spark.tables import Tables
from fs_spark.transforms.kinds import COMPUTATIONS, Reach
from fs_spark.transforms.units import plan_of_view
from fs_spark.view_inputs import as_defined, input_frame


def revisions_of(view: View) -> dict[str, int]:
    """The revisions of what computes a view now."""
    if isinstance(view, FeatureView):
        return plan_of_view(view).revisions
    return {view.kind: COMPUTATIONS[view.kind].revision}


def moved_kernels(view: View, then: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """What computes a view by another revision now than its rows were made by: name -> (then, now)."""
    return changed_kernels(dict(then), revisions_of(view))


def rows_from_source(
    tables: Tables,
    state: RegistryState,
    view: View,
    made_from: Mapping[str, Any],
    only: Mapping[str, Sequence[Any]] | None = None,
) -> DataFrame:
    """A view's rows from the versions that its commit names, and of views that it reads from theirs.

    `only` names values of keys of which rows are needed at least.

    Raises     ReproductionError where a binding is another now
    """
    digests = state.binding_digests.get((view.name, view.version), {})
    moved = [p for p, digest in made_from["bindings"].items() if digests.get(p) != digest]
    if moved:
        raise ReproductionError(
            f"{view.qualified}: what is used of {', '.join(moved)} is not what its rows were made with."
            "\nHint: the registry table was changed; read it at an older version"
        )
    if not view.is_repeatable:
        raise ReproductionError(
            f"{view.qualified}: its function is not repeatable, so that nobody can compute its rows again."
            "\nHint: reproduce it from the feature tables (without --from-source)"
        )
    if made_from.get("fit") != fit_digest(view):
        raise ReproductionError(
            f"{view.qualified}: what was fitted for it is not what its rows were made with."
            "\nHint: the registry table was changed; read it at an older version"
        )
    bound = state.bindings.get((view.name, view.version), {})
    bindings = {p: b for p, b in bound.items() if p in made_from["bindings"]}
    if isinstance(view, FeatureView):
        return rows_at(Snapshot(tables, dict(made_from["sources"])), view, bindings, only or {})
    assert isinstance(view, TableView)
    frames = []
    for one in view.inputs:
        if isinstance(one, ViewInput):
            told = tables.made_from_at(one.table, made_from["sources"][one.table])
            frames.append(as_defined(rows_from_source(tables, state, state.pinned(one.name, one.version), told), one))
        else:
            frames.append(input_frame(tables, one, made_from["sources"], bindings))
    reach = Reach(made_from.get("watermark"), made_from.get("bound"))
    rows = COMPUTATIONS[view.kind].rows(frames, view, reach=reach, scope=None, buckets=1)
    return rows.drop(*UNIT_KEYS)


def versions_below(
    tables: Tables, state: RegistryState, view: View, sources: Mapping[str, int]
) -> set[tuple[str, int]]:
    """Every table and version that a computation from the sources reads."""
    found: set[tuple[str, int]] = set()
    inputs = (
        {one.table: one for one in view.inputs if isinstance(one, ViewInput)} if isinstance(view, TableView) else {}
    )
    for table, version in sources.items():
        if table not in inputs:
            found.add((table, version))
            continue
        told = tables.made_from_at(table, version)
        one = inputs[table]
        found |= versions_below(tables, state, state.pinned(one.name, one.version), told.get("sources", {}))
    return found
