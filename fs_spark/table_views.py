"""Tables of views of any kind but spatial: which units have to be computed again, and their replacement."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.storagelevel import StorageLevel

from fs_spark.errors import RequestError
from fs_spark.features.table_view import UNIT_KEYS, TableView, ViewInput
from fs_spark.outcomes import ViewOutcome
from fs_spark.registry_state import RegistryState
from fs_spark.schemas import view_layout
from fs_spark.shared_passes import SharedPasses
from fs_spark.sources import SourceState
from fs_spark.tables import Tables
from fs_spark.transforms.expected import broken_claims, claim_counts
from fs_spark.transforms.kinds import COMPUTATIONS, SHARED, Reach, Scope
from fs_spark.transforms.unit_columns import buckets_for
from fs_spark.unit_tables import replace_units, write_first_rows
from fs_spark.view_inputs import InputState, input_changes, input_frame, input_state

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """The inputs of a view at one moment."""

    states: tuple[InputState, ...]

    @property
    def versions(self) -> dict[str, int]:
        return {table: version for state in self.states for table, version in state.versions.items()}

    def reach(self, view: TableView) -> Reach:
        """How far the view's rows reach: its rows' input, and the states that it reads as of an event."""
        states = [
            state.watermark_us
            for one, state in zip(view.inputs, self.states, strict=True)
            if isinstance(one, ViewInput) and one.is_state and one.match == "as_of"
        ]
        bound = None if not states else min((s for s in states if s is not None), default=None)
        if states and None in states:
            bound = -(2**62)
        return Reach(self.states[0].watermark_us, bound)


def inputs_of(
    tables: Tables, view: TableView, sources: Mapping[str, SourceState], versions: Callable[[], Mapping[str, int]]
) -> Inputs:
    return Inputs(tuple(input_state(tables, one, sources, versions) for one in view.inputs))


def table_view_rows(
    tables: Tables,
    view: TableView,
    versions: Mapping[str, int],
    reach: Reach,
    state: RegistryState,
    *,
    scope: Scope | None = None,
    buckets: int,
    passes: SharedPasses | None = None,
) -> DataFrame:
    """A view's rows at versions of its inputs, all of them or those of some units."""
    bindings = state.bindings.get((view.name, view.version), {})
    frames = [
        input_frame(tables, one, versions, bindings) if passes is None else passes.frame(view, one, versions, state)
        for one in view.inputs
    ]
    return COMPUTATIONS[view.kind].rows(frames, view, reach=reach, scope=scope, buckets=buckets)


def _scope(
    tables: Tables,
    view: TableView,
    made_from: Mapping[str, Any],
    inputs: Inputs,
    state: RegistryState,
    buckets: int,
    passes: SharedPasses,
) -> Scope | None:
    """Units to compute again since the stored rows were made; None for all."""
    bindings = state.bindings.get((view.name, view.version), {})
    then, now = made_from["sources"], inputs.versions
    changes: list[DataFrame | None] = []
    for one, at in zip(view.inputs, inputs.states, strict=True):
        if all(then.get(table) == version for table, version in at.versions.items()):
            changes.append(None)
            continue
        found = input_changes(tables, one, then, now, bindings)
        if found is None:
            return None
        changes.append(found)
    frames = [passes.frame(view, one, now, state) for one in view.inputs]
    before = Reach(made_from.get("watermark"), made_from.get("bound"))
    return COMPUTATIONS[view.kind].affected(frames, changes, view, before=before, reach=inputs.reach(view),
                                            buckets=buckets)  # fmt: skip


def materialize_table_view(
    tables: Tables,
    state: RegistryState,
    view: TableView,
    inputs: Inputs,
    passes: SharedPasses,
    *,
    full: bool,
) -> ViewOutcome | None:
    """Brings a view's table up to its inputs, in one commit; units that come out the same are not written.

    None where another job wrote the table meanwhile, or had brought it up to newer inputs: look again.
    """
    tables.create(view.table, view_layout(view))
    version, made_from = tables.standing(view.table)
    versions, key, computation = inputs.versions, (view.name, view.version), COMPUTATIONS[view.kind]
    digests = state.binding_digests.get(key, {})
    ids = {one.table: tables.table_id(one.table) for one in view.inputs if isinstance(one, ViewInput)}
    newer = [name for name, at in versions.items() if made_from.get("sources", {}).get(name, -1) > at]
    remade = [name for name in newer if tables.version(name) < made_from["sources"][name]]
    remade += [name for name, known in made_from.get("ids", {}).items() if name in ids and ids[name] != known]
    if remade and not full:
        raise RequestError(
            f"{view.qualified} was made from version {made_from['sources'][remade[0]]} of a table {remade[0]} that was "
            f"dropped and made again since.\n"
            f"Hint: fs-spark materialize --full {view.name} computes all of its rows anew"
        )
    if set(newer) - set(remade):
        log.info("%s: another job has brought it up to newer inputs", view.qualified)
        return None
    reach = inputs.reach(view)
    counted = made_from.get("buckets") or state.buckets.get(view.table)  # the registry's is of stores of before
    if counted is None:
        counted = buckets_for(max((tables.row_count(t, v) or 0 for t, v in versions.items()), default=0))
    source: dict[str, Any] = {
        "view": view.qualified,
        "definition_hash": view.definition_hash,
        "bindings": digests,
        "sources": versions,
        "kernels": {view.kind: computation.revision},
        "watermark": reach.of_view(),
        "bound": reach.bound_us,
        "buckets": counted,
        **({"ids": ids} if ids else {}),
        **({"fit": view.fit.digest} if view.fit is not None else {}),
    }
    if not full and made_from and made_from.get("sources") == versions and made_from["kernels"] == source["kernels"] \
            and made_from["bindings"] == digests:  # fmt: skip
        return _outcome(view, version, 0, 0)
    scope: Scope | None = None
    same = made_from and all(made_from.get(what) == source.get(what) for what in ("kernels", "bindings", "fit"))
    if same and not full:
        scope = _scope(tables, view, made_from, inputs, state, counted, passes)
    log.info("%s: computing %s", view.qualified, "all units" if scope is None else "the units that changed")
    moved = passes.moved(view, versions, state, buckets=counted) if scope is None else None
    if moved is not None:
        rows = SHARED[view.kind].of_moved(moved, view, reach=reach)
    else:
        rows = table_view_rows(tables, view, versions, reach, state, scope=scope, buckets=counted, passes=passes)
    if tables.is_empty(view.table, version) and not any(claim.action == "stop" for claim in view.expectations):
        return _first(tables, view, rows, version, source)
    rows = rows.persist(StorageLevel.DISK_ONLY)
    try:
        warnings, stopping = _unexpected(rows, view)
        if stopping:
            log.error("%s: not as expected, so that its rows of before stay: %s", view.qualified, "; ".join(stopping))
            return _outcome(view, version, 0, 0, warnings, "; ".join(stopping))
        stored = tables.read(view.table, version)
        if scope is not None:
            stored = computation.within(stored, scope)
        written = replace_units(
            tables, view.table, rows, stored, based_on=version, made_from=source, must_commit=made_from != source
        )
    finally:
        rows.unpersist()
        if scope is not None:
            scope.units.unpersist()
    if written is None:
        log.info("%s: another job has written it meanwhile", view.qualified)
        return None
    log.info("%s: %d units written, %d removed", view.qualified, written.changed, written.removed)
    return _outcome(view, written.version, written.changed, written.removed, warnings)


def _first(
    tables: Tables, view: TableView, rows: DataFrame, version: int, source: dict[str, Any]
) -> ViewOutcome | None:
    """The first rows of a view, of which nothing is expected that would keep them from being written."""
    written = write_first_rows(tables, view.table, rows, based_on=version, units=UNIT_KEYS, made_from=source)
    if written is None:
        log.info("%s: another job has written it meanwhile", view.qualified)
        return None
    warnings, _ = _unexpected(tables.read(view.table, written.version), view)
    log.info("%s: %d units written, the first ones", view.qualified, written.changed)
    return _outcome(view, written.version, written.changed, 0, warnings)


def _unexpected(rows: DataFrame, view: TableView) -> tuple[tuple[str, ...], list[str]]:
    """Claims that do not hold of the rows to write: those that warn, and those that stop."""
    if not view.expectations:
        return (), []
    told = claim_counts(rows, view.expectations).collect()[0]
    counts = [told[f"claim_{at}"] for at in range(len(view.expectations))]
    broken = broken_claims(view.expectations, counts, told["rows"])
    for claim, text in broken:
        if claim.action == "warn":
            log.warning("%s: %s", view.qualified, text)
    return (
        tuple(text for claim, text in broken if claim.action == "warn"),
        [text for claim, text in broken if claim.action == "stop"],
    )


def _outcome(
    view: TableView, version: int, changed: int, removed: int, warnings: Sequence[str] = (), stopped: str | None = None
) -> ViewOutcome:
    return ViewOutcome(view.qualified, view.table, 0, changed, removed, version, "unit", tuple(warnings), stopped)
