"""What `apply` would do, as a reviewer reads it: new versions and what they mean, and what it costs to compute them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, overload

from fs_spark import names as n
from fs_spark.errors import ConfigError
from fs_spark.features.definition import View
from fs_spark.features.service import FeatureService
from fs_spark.features.shipped import SHIPPED_SOURCES
from fs_spark.features.table_view import SourceInput, TableView, ViewInput
from fs_spark.features.view import FeatureView
from fs_spark.registry_state import Change, Event, RegistryState
from fs_spark.tables import Tables

CHANGED: Final = 5
"""The exit code of `plan --check` where `apply` would change something."""


@dataclass(frozen=True)
class Cost:
    """What the first `materialize` of a new version computes.

    lots  how many lots its rows are of; None where it reads no ingested rows
    rows  rows of each table that it reads, as far as they are there; None where Delta's log does not say
    """

    table: str
    lots: int | None
    rows: Mapping[str, int | None]

    def __str__(self) -> str:
        read = [f"{count if count is not None else '?'} rows of {table}" for table, count in self.rows.items()]
        lots = [f"{self.lots} lot{'s' if self.lots != 1 else ''}"] if self.lots is not None else []
        return f"computes {self.table}: {', '.join(lots + read) or 'nothing is there to compute it from yet'}"


@dataclass(frozen=True)
class Plan(Sequence[Change]):
    """The changes of a plan, each of a view; `costs` of the new ones by `view__vX.Y`.

    beside  what else `apply` would keep: what texts say beside definitions (owner, tags, SLA, expectations, notes),
            texts of sources, the configuration that ingested rows depend on
    """

    changes: tuple[Change, ...]
    costs: Mapping[str, Cost]
    beside: tuple[str, ...] = ()

    @overload
    def __getitem__(self, at: int) -> Change: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Change, ...]: ...
    def __getitem__(self, at: int | slice) -> Change | tuple[Change, ...]:
        return self.changes[at]

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __repr__(self) -> str:
        counts = Counter(change.action for change in self.changes)
        told = [
            f"{count} to register" if action == "register" else f"{count} {action}" for action, count in counts.items()
        ]
        return f"Plan({', '.join(told) or 'no view'})"

    @property
    def is_empty(self) -> bool:
        """Whether `apply` would write nothing."""
        return not self.beside and not any(change.action == "register" for change in self.changes)

    def to_dict(self) -> dict[str, Any]:
        return {
            "changes": [asdict(change) for change in self.changes],
            "costs": {view: asdict(cost) for view, cost in self.costs.items()},
            "beside": list(self.beside),
        }

    def to_text(self) -> str:
        lines = [line for change in self.changes for line in self._lines(change)] or ["no view is defined"]
        return "\n".join([*lines, *(f"{'changed':10} {told}" for told in self.beside)])

    def _lines(self, change: Change) -> Iterator[str]:
        named = f"{change.action:10} {change.view} v{change.version}"
        if change.action == "removed":
            yield f"{named}: no text names it any more. Hint: fs-spark retire {change.view} {change.version}"
        elif change.action == "retired":
            back = f"fs-spark promote {change.view} {change.version}"
            yield f"{named}: its text is still there. Hint: remove it, or {back}"
        elif change.before is not None:
            yield f"{named} in place of v{change.before}"
        else:
            yield named
        for line in change.meaning:
            yield f"{'':10}   {line}"
        cost = self.costs.get(f"{change.view}__v{change.version}")
        if cost is not None:
            yield f"{'':10} {cost}"


def make_plan(
    tables: Tables,
    state: RegistryState,
    views: Sequence[View],
    services: Mapping[str, FeatureService],
    *,
    sources: Mapping[str, str],
    configuration: str,
) -> Plan:
    """What `apply` would do for these definitions, texts of sources and configuration of the ingest.

    Raises     ConfigError for definitions that changed under their version, and for what names a retired version
    """
    changes = state.plan(views)
    check_retired(state, views, services)
    new = [view for view, change in zip(views, changes, strict=True) if change.action == "register"]
    beside = (*_notes(state, views), *_texts(state, sources, configuration))
    return Plan((*changes, *state.removed(views)), _costs(tables, state, new), beside)


def _notes(state: RegistryState, views: Sequence[View]) -> Iterator[str]:
    """Registered versions of which the text says something else beside the definition."""
    for view in views:
        key = (view.name, view.version)
        if key not in state.versions or view.about() == state.about.get(key, ""):
            continue
        then, now = (json.loads(text or "{}") for text in (state.about.get(key), view.about()))
        moved = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        yield f"{view.qualified}: {', '.join(moved)}"


def _texts(state: RegistryState, sources: Mapping[str, str], configuration: str) -> Iterator[str]:
    for name, text in sorted(sources.items()):
        if state.sources.get(name) != text:
            yield f"source {name}: {'its text' if name in state.sources else 'it is new'}"
    if hashlib.sha256(configuration.encode()).hexdigest() != state.configuration:
        yield "what ingested rows depend on (testers, products, inputs)"


def check_retired(state: RegistryState, views: Sequence[View], services: Mapping[str, FeatureService]) -> None:
    """Raises ConfigError for services, and for new views, that name versions which are retired."""
    new = [view for view in views if (view.name, view.version) not in state.versions]
    there, faults = {view.name for view in new}, []
    for service in services.values():
        for name, version in sorted({(one.view, one.version or "") for one in service.references}):
            if version:
                event, called = state.retired.get((name, version)), f"{name}__v{version}"
            elif name in state.promoted or name in there:
                continue
            else:  # each of its versions is retired
                event, called = next((event for (view, _), event in state.retired.items() if view == name), None), name
            if event is not None:
                faults.append(f"services.yaml: {service.name}: {_retired(called, event)}")
    for view in new:
        for name, version in inputs_of(view):
            if (event := state.retired.get((name, version))) is not None:
                faults.append(f"{view.qualified}: its input {_retired(f'{name}__v{version}', event)}")
    if faults:
        listed = "\n".join(f"- {fault}" for fault in faults)
        raise ConfigError(f"what is retired may not be used any more:\n{listed}")


def inputs_of(view: View) -> list[tuple[str, str]]:
    """The view versions that a view reads."""
    inputs = view.inputs if isinstance(view, TableView) else ()
    return [(one.name, one.version) for one in inputs if isinstance(one, ViewInput)]


def _retired(called: str, event: Event) -> str:
    told = str(event)
    return f"{called} is retired{f' ({told})' if told else ''}. Hint: name another version"


def _costs(tables: Tables, state: RegistryState, new: Sequence[View]) -> dict[str, Cost]:
    made = [view for view in new if not view.is_on_demand]
    if not made:
        return {}
    lots: int | None = None
    named = {view.qualified: view for view in new}
    costs: dict[str, Cost] = {}
    counted = {table: tables.row_count(table) for table in {one for view in made for one in _read_by(view)}
               if tables.exists(table)}  # fmt: skip
    for view in made:
        rows = {table: counted[table] for table in _read_by(view) if table in counted}
        ingested = _reads_ingested(view, state, named)
        if ingested and lots is None:
            lots = _lots(tables)
        costs[view.qualified] = Cost(view.table, lots if ingested else None, rows)
    return costs


def _read_by(view: View) -> list[str]:
    if isinstance(view, FeatureView):
        return [n.DIE_TESTS, *([n.TEST_RESULTS] if view.bound_parameters else [])]
    assert isinstance(view, TableView)
    found = []
    for one in view.inputs:
        if isinstance(one, ViewInput):
            found.append(one.table)
        elif one.name in SHIPPED_SOURCES:
            found += [n.DIE_TESTS, *([n.TEST_RESULTS] if one.options.get("parameters") else [])]
        else:
            found.append(f"source__{one.name}")
    return list(dict.fromkeys(found))


def _reads_ingested(view: View, state: RegistryState, new: Mapping[str, View]) -> bool:
    """Whether its rows come, maybe through others, from what was ingested."""
    if isinstance(view, FeatureView):
        return True
    for one in view.inputs if isinstance(view, TableView) else ():
        if isinstance(one, SourceInput):
            if one.name in SHIPPED_SOURCES:
                return True
            continue
        below = new.get(f"{one.name}__v{one.version}") or state.versions.get((one.name, one.version))
        if below is not None and _reads_ingested(below, state, new):
            return True
    return False


def _lots(tables: Tables) -> int:
    """Lots of which rows count."""
    if not tables.exists(n.FILES) or not tables.exists(n.WAFER_RUNS):
        return 0
    from fs_spark.snapshot import Snapshot

    lots = Snapshot.newest(tables, create=False).kept_runs().select(n.LOT_ID).distinct()
    return int(lots.where(f"{n.LOT_ID} IS NOT NULL").count())
