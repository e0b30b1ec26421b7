"""Brings the tables of views up to what they are made from: inputs first, each in a commit of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import Final

from fs_spark.binding import bind_products, check_units, count_outside
from fs_spark.config import Configuration
from fs_spark.conflicts import SWAPS, pause
from fs_spark.errors import ConfigError, FsSparkError, RequestError, TableConflictError
from fs_spark.features.definition import View
from fs_spark.features.shipped import SHIPPED_SOURCES
from fs_spark.features.table_view import SourceInput, TableView, ViewInput
from fs_spark.features.view import FeatureView
from fs_spark.functions import raise_of_function
from fs_spark.outcomes import MaterializeReport, ViewOutcome
from fs_spark.registry import Registry
from fs_spark.registry_state import RegistryState
from fs_spark.shared_passes import SharedPasses
from fs_spark.snapshot import Snapshot
from fs_spark.sources import SourceState, bring_in
from fs_spark.spatial_views import materialize_spatial_view
from fs_spark.table_views import inputs_of, materialize_table_view
from fs_spark.tables import Tables

log = logging.getLogger(__name__)

_VIEWS_AT_ONCE: Final = 3


def in_order_of_inputs(views: Sequence[View]) -> list[View]:
    """The views, each behind those of them that it reads."""
    named = {view.qualified: view for view in views}
    done: dict[str, View] = {}

    def visit(view: View) -> None:
        if view.qualified in done:
            return
        for one in view.inputs if isinstance(view, TableView) else ():
            if isinstance(one, ViewInput) and f"{one.name}__v{one.version}" in named:
                visit(named[f"{one.name}__v{one.version}"])
        done[view.qualified] = view

    for view in views:
        visit(view)
    return list(done.values())


def inputs_among(view: View, views: Collection[str]) -> set[str]:
    """Those of the views that this one reads."""
    named = {
        f"{o.name}__v{o.version}"
        for o in (view.inputs if isinstance(view, TableView) else ())
        if isinstance(o, ViewInput)
    }
    return named & set(views)


def reads_ingested(view: View) -> bool:
    """Whether a view reads what was ingested, not only other tables."""
    if isinstance(view, FeatureView):
        return True
    assert isinstance(view, TableView)
    return any(isinstance(one, SourceInput) and one.name in SHIPPED_SOURCES for one in view.inputs)


class _Run:
    """One materialization: what its views read is the same for all of them."""

    def __init__(
        self, tables: Tables, registry: Registry, config: Configuration, state: RegistryState, views: Sequence[View]
    ) -> None:
        self.tables, self.registry, self.config, self.state = tables, registry, config, state
        self.passes = SharedPasses(tables, views)
        self._looking = Lock()
        self.sources: dict[str, SourceState] = {}

    @cached_property
    def snapshot(self) -> Snapshot:
        return Snapshot.newest(self.tables)

    def look_again(self) -> None:
        """Another job was first: its rows are seen, and bound, anew."""
        self.__dict__.pop("snapshot", None)
        self.bind()

    def bind(self) -> None:
        self.state = bind_products(self.registry, self.registry.state(), self.config, self.snapshot)

    def bring_in(self, views: Sequence[View]) -> None:
        """The sources that the views read; a view keeps the reading of its source that it was registered with."""
        wanted = {
            one.name: one
            for view in views
            if isinstance(view, TableView)
            for one in view.inputs
            if isinstance(one, SourceInput) and one.name not in SHIPPED_SOURCES
        }
        if not wanted:
            return
        self.config.require("sources")
        for name in sorted(wanted):
            if name not in self.config.sources:
                raise RequestError(f"source {name!r} is not in sources.yaml any more. Hint: put it back")
            text = self.config.sources[name]
            for view in views:
                if not isinstance(view, TableView):
                    continue
                for one in view.inputs:
                    if isinstance(one, SourceInput) and one.name == name:
                        _check_reading(view, one, text.meaning([c for c in one.columns if c in text.columns]))
            self.sources[name] = bring_in(self.tables, self.registry, text, self.config.folder)

    def view(self, view: View, *, full: bool) -> ViewOutcome:
        for attempt in range(SWAPS):
            outcome = self._once(view, full=full)
            if outcome is not None:
                return outcome
            pause(attempt)
            with self._looking:
                if reads_ingested(view):
                    self.look_again()
                else:
                    self.state = self.registry.state()
                    self.bring_in([view])
        raise TableConflictError(
            f"others wrote to table {view.table} {SWAPS} times in a row before this job could. Hint: run it again"
        )

    def _once(self, view: View, *, full: bool) -> ViewOutcome | None:
        if isinstance(view, FeatureView):
            return materialize_spatial_view(self.snapshot, view, self.state, full=full)
        assert isinstance(view, TableView)
        versions: Callable[[], Mapping[str, int]] = lambda: self.snapshot.versions  # noqa: E731
        inputs = inputs_of(self.tables, view, self.sources, versions)
        if full and not view.is_repeatable:
            log.warning("%s: its function is not repeatable, so that only the units that changed are computed",
                        view.qualified)  # fmt: skip
            full = False
        try:
            return materialize_table_view(self.tables, self.state, view, inputs, self.passes, full=full)
        except FsSparkError:
            raise
        except Exception as fault:
            raise_of_function(view, fault)
            raise


def _check_reading(view: TableView, one: SourceInput, now: dict[str, object]) -> None:
    """A registered version keeps its meaning: its source must still be read as it was then."""
    if dict(one.meaning) != now:
        moved = sorted(key for key in {*one.meaning, *now} if one.meaning.get(key) != now.get(key))
        raise ConfigError(
            f"{view.qualified}: its source {one.name} is read in another way now ({', '.join(moved)}). "
            "Hint: raise the view's version, or take the change of sources.yaml back"
        )


def materialize(
    tables: Tables, registry: Registry, config: Configuration, views: Sequence[str] | None, *, full: bool
) -> MaterializeReport:
    """Brings view tables up to their inputs; see `FeatureStore.materialize`."""
    state = registry.state()
    if not state.promoted:
        raise RequestError("no view is registered. Hint: run `fs-spark apply` first")
    asked = [state.view(name) for name in (views or sorted(state.promoted))]
    chosen = in_order_of_inputs([view for view in asked if not view.is_on_demand])
    if not chosen:
        raise RequestError(
            f"{', '.join(view.qualified for view in asked)}: computed on demand, from no table of its own. "
            "Hint: name the views that it reads"
        )
    run = _Run(tables, registry, config, state, chosen)
    if any(reads_ingested(view) for view in chosen):
        run.bind()
        _check_measured(run, chosen)
    run.bring_in(chosen)
    found: dict[str, ViewOutcome] = {}

    def one(view: View, stopped: str | None, waiting: str | None) -> ViewOutcome:
        log.info("view %d of %d: %s", chosen.index(view) + 1, len(chosen), view.qualified)
        if isinstance(view, TableView) and not view.is_fitted:
            waiting = f"it is not fitted yet. Hint: run `fs-spark fit {view.name}`, when its input has the rows"
        if stopped is None and waiting is None:
            return run.view(view, full=full)
        return _not_written(tables, view, stopped, waiting if stopped is None else None)

    try:
        _as_inputs_are_done(chosen, one, found)
    finally:
        run.passes.close()
    outcomes = [found[view.qualified] for view in chosen]
    outside: dict[str, int] = {}
    spatial = [view for view in chosen if isinstance(view, FeatureView)]
    if spatial and any(outcome.is_computed for outcome in outcomes):
        first = spatial[0]
        outside = count_outside(run.snapshot, run.state.bindings.get((first.name, first.version), {}))
    return MaterializeReport(tuple(outcomes), outside, {name: s.version for name, s in run.sources.items()})


def _as_inputs_are_done(
    views: Sequence[View],
    one: Callable[[View, str | None, str | None], ViewOutcome],
    found: dict[str, ViewOutcome],
) -> None:
    """Calls `one` for each view as soon as those that it reads are found, some at once; with it, why a view cannot be
    written: an input of it stopped, or waits.

    Much of a view's time is waiting for commits and planning, while another one keeps the cores busy. After a fault no
    further view is begun; the first fault is raised, others are logged.
    """
    left = list(views)
    faults: list[tuple[str, BaseException]] = []
    with ThreadPoolExecutor(_VIEWS_AT_ONCE) as pool:
        begun: dict[Future[ViewOutcome], str] = {}
        while (left and not faults) or begun:
            undone = {*(view.qualified for view in left), *begun.values()}
            ready = [] if faults else [view for view in left if not inputs_among(view, undone)]
            for view in ready[: _VIEWS_AT_ONCE - len(begun)]:
                stopped = _held_by(view, {name for name, told in found.items() if told.stopped is not None})
                waiting = _held_by(view, {name for name, told in found.items() if told.waiting is not None})
                begun[pool.submit(one, view, stopped, waiting)] = view.qualified
                left.remove(view)
            for done in wait(begun, return_when=FIRST_COMPLETED).done:
                name, fault = begun.pop(done), done.exception()
                if fault is None:
                    found[name] = done.result()
                else:
                    faults.append((name, fault))
    for name, fault in faults[1:]:
        log.error("%s: not written: %s", name, fault)
    if faults:
        raise faults[0][1]


def _check_measured(run: _Run, chosen: Sequence[View]) -> None:
    """Of products that were bound before, new files may have other units."""
    measured = {
        (product, name, binding.parameters[name])
        for view in chosen
        for product, binding in run.state.bindings.get((view.name, view.version), {}).items()
        for name in view.bound_parameters
        if name in binding.parameters
    }
    check_units(run.snapshot, measured, run.config)


def _held_by(view: View, held: Collection[str]) -> str | None:
    """Why a view cannot be written: an input of it was not."""
    for one in view.inputs if isinstance(view, TableView) else ():
        if isinstance(one, ViewInput) and f"{one.name}__v{one.version}" in held:
            return f"its input {one.name}__v{one.version} was not written"
    return None


def _not_written(tables: Tables, view: View, stopped: str | None, waiting: str | None) -> ViewOutcome:
    log.log(logging.WARNING if stopped is None else logging.ERROR, "%s: not written: %s", view.qualified,
            stopped or waiting)  # fmt: skip
    version = tables.version(view.table) if tables.exists(view.table) else -1
    return replace(ViewOutcome(view.qualified, view.table, 0, 0, 0, version, "unit"), stopped=stopped, waiting=waiting)
