"""The registered views of a store: listed, shown, compared, promoted and retired."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fs_spark.errors import RequestError
from fs_spark.features.definition import View
from fs_spark.features.service import FeatureService
from fs_spark.features.table_view import TableView
from fs_spark.features.view import FeatureView
from fs_spark.lifecycle.compare import SAMPLE, ViewDiff, compare_views
from fs_spark.lifecycle.lineage import Direction, Lineage, Surroundings, lineage_of
from fs_spark.lifecycle.plans import inputs_of
from fs_spark.lifecycle.uses import Users, Uses, published_records, published_views, require_unused
from fs_spark.registry import Registry
from fs_spark.registry_state import Event, RegistryState, version_order
from fs_spark.tables import Tables
from fs_spark.training.saved import manifests
from fs_spark.wafer import WaferGeometry


@dataclass(frozen=True)
class ViewVersion:
    """A registered version, as lists show it; `stands` is promoted, registered or retired."""

    view: str
    version: str
    stands: str
    kind: str
    entity: str
    knowledge: str
    features: int
    owner: str
    tags: tuple[str, ...]
    table: str | None
    """None of views on demand."""


@dataclass(frozen=True)
class ViewCard:
    """Everything that is known of a view version."""

    version: ViewVersion
    description: str
    keys: Mapping[str, str]
    columns: Mapping[str, str]
    notes: Mapping[str, Mapping[str, Any]]
    definition: Mapping[str, Any]
    definition_hash: str
    delta_version: int | None
    """The newest version of its table; None where it has none."""
    rows: int | None
    history: tuple[Event, ...]
    uses: Uses
    sla: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self) -> str:
        v = self.version
        lines = [
            f"{v.view} v{v.version}  ({v.stands})",
            *([self.description] if self.description else []),
            f"entity    {v.entity} ({', '.join(f'{key} {kind}' for key, kind in self.keys.items())})",
            f"kind      {v.kind}, known {v.knowledge}",
        ]
        lines += [f"{name:9} {told}" for name, told in (("owner", v.owner), ("tags", ", ".join(v.tags)),
                                                        ("SLA", self.sla)) if told]  # fmt: skip
        if v.table is None:
            lines.append("table     none: computed on demand")
        elif self.delta_version is None:
            lines.append(f"table     {v.table}: not materialized, or dropped. Hint: fs-spark materialize {v.view}")
        else:
            count = f", {self.rows} rows" if self.rows is not None else ""
            lines.append(f"table     {v.table}: Delta version {self.delta_version}{count}")
        lines.append(f"hash      {self.definition_hash}")
        lines.append(f"used by   {self.uses.to_text() or 'nobody'}")
        lines += [f"{event.done:9} {event}".rstrip() for event in self.history]
        lines.append("features")
        width = max(map(len, self.columns))
        for name, kind in self.columns.items():
            note = self.notes.get(name, {})
            told = "  ".join(filter(None, (note.get("unit", ""), note.get("description", ""))))
            lines.append(f"  {name:{width}}  {kind:8}  {told}".rstrip())
        return "\n".join(lines)


class RegisteredViews:
    """The registered views of a store, as `FeatureStore.views` gives them; each call looks at the registry anew."""

    def __init__(self, tables: Tables, services: Mapping[str, FeatureService], online_url: str) -> None:
        self._tables, self._services, self._online_url = tables, services, online_url
        self._registry = Registry(tables)

    def __repr__(self) -> str:
        return f"RegisteredViews({', '.join(sorted(self._registry.state().promoted)) or 'none is registered'})"

    def list(self, *, all_versions: bool = False) -> list[ViewVersion]:
        """The promoted versions, or all of them, by name and version."""
        state = self._registry.state()
        keys = sorted(state.versions, key=lambda key: (key[0], version_order(key[1])))
        return [
            _version(state, state.versions[key]) for key in keys if all_versions or state.promoted.get(key[0]) == key[1]
        ]

    def show(self, name: str) -> ViewCard:
        """All that is known of a version: `view` (the promoted one) or `view__v2.0`, retired ones too.

        Raises     FeatureNotFoundError
        """
        state = self._registry.state()
        view = _any(state, name)
        exists = not view.is_on_demand and self._tables.exists(view.table)
        about = view.model_dump(mode="json", include={"sla", "description"})
        return ViewCard(
            version=_version(state, view),
            description=about["description"],
            keys=dict(view.key_types),
            columns=dict(view.columns),
            notes={name: note.model_dump(exclude_defaults=True) for name, note in view.notes().items()},
            definition=json.loads(view.to_json()),
            definition_hash=view.definition_hash,
            delta_version=self._tables.version(view.table) if exists else None,
            rows=self._tables.row_count(view.table) if exists else None,
            history=tuple(state.events.get((view.name, view.version), ())),
            uses=self._users(state).of(view),
            sla=about["sla"],
        )

    def wafer_map(self, name: str, product: str) -> WaferGeometry:
        """The map of a product's wafers by which a version computes: what a `WaferSession` beside the tester needs.

        Raises     FeatureNotFoundError; RequestError where the version is not bound to the product
        """
        state = self._registry.state()
        view = _any(state, name)
        bound = state.bindings.get((view.name, view.version), {})
        if product not in bound:
            raise RequestError(
                f"{view.qualified} is not bound to product {product!r}, but to: {', '.join(sorted(bound)) or 'none'}.\n"
                "Hint: ingest wafers of the product, then run `fs-spark apply`"
            )
        return bound[product].geometry

    def diff(self, name: str, other: str, *, sample: int = SAMPLE) -> ViewDiff:
        """What two versions differ in: their meaning, and their values on about `sample` rows.

        Raises     FeatureNotFoundError; RequestError where they are keyed by other columns
        """
        state = self._registry.state()
        return compare_views(self._tables, _any(state, name), _any(state, other), sample=sample)

    def promote(self, view: str, version: str, *, reason: str | None = None) -> View:
        """Makes a registered version the one that `view:feature` means, a retired one too.

        Raises     FeatureNotFoundError; RequestError where a view that it reads is retired
        """
        state = self._registry.state()
        chosen = _any(state, f"{view}__v{version}")

        self._registry.promote(state, chosen, reason=reason, check=lambda now: _require_inputs(now, chosen))
        return chosen

    def rollback(self, view: str, version: str | None = None, *, reason: str | None = None) -> View:
        """Promotes an older version again, by default the one that was promoted before; see `FeatureStore.rollback`."""
        state = self._registry.state()
        state.view(view)
        wanted = version or state.before(view)
        if wanted is None:
            raise RequestError(
                f"no version of {view} was promoted before v{state.promoted[view]}. Hint: name one, as in "
                f"fs-spark rollback {view} VERSION"
            )
        chosen = state.view(view, wanted)

        def check(now: RegistryState) -> None:
            now.view(view, wanted)  # it may have been retired meanwhile
            _require_inputs(now, chosen)

        self._registry.promote(state, chosen, reason=reason, check=check)
        return chosen

    def retire(self, view: str, version: str, *, reason: str | None = None) -> View:
        """Takes a version out of use; its table stays, and `promote` takes it back.

        Raises     FeatureNotFoundError; RequestError that names each view, service, training set and publication that
                   uses it, or for the version that the view's name means while there are others
        """
        state = self._registry.state()
        chosen = _any(state, f"{view}__v{version}")

        def check(now: RegistryState) -> None:
            require_unused(chosen, self._users(now))

        self._registry.retire(state, chosen, check, reason=reason)
        return chosen

    def lineage(self, of: str, *, direction: Direction = "both") -> Lineage:
        """Where a feature (`view:feature`) or a view comes from, and what uses it.

        `up` are views, sources, tables, files and testers; `down` views, services, training sets, what is published
        online, and MLflow runs that logged these training sets.

        Raises     FeatureNotFoundError
        """
        around = Surroundings(self._services, manifests(self._tables), published_records(self._online_url))
        return lineage_of(self._tables, self._registry.state(), around, of, direction=direction)

    def _users(self, state: RegistryState) -> Users:
        return Users(state, self._services, manifests(self._tables), published_views(self._online_url))


def _require_inputs(state: RegistryState, view: View) -> None:
    """Raises RequestError where a view that this one reads is retired."""
    for name, at in inputs_of(view):
        if (name, at) in state.retired:
            raise RequestError(
                f"{view.qualified} reads {name}__v{at}, which is retired. "
                f"Hint: take that one back first: fs-spark promote {name} {at}"
            )


def _any(state: RegistryState, name: str) -> View:
    """A registered version by its name, whether it is retired or not."""
    view, _, version = name.partition("__v")
    found = state.registered(view, version or None)
    return found if found is not None else state.view(name)


def _version(state: RegistryState, view: View) -> ViewVersion:
    assert isinstance(view, FeatureView | TableView)
    key = (view.name, view.version)
    stands = "retired" if key in state.retired else "promoted" if state.promoted.get(key[0]) == key[1] else "registered"
    return ViewVersion(
        view=view.name,
        version=view.version,
        stands=stands,
        kind=view.kind,
        entity=view.entity,
        knowledge=view.knowledge,
        features=len(view.columns),
        owner=view.owner,
        tags=view.tags,
        table=None if view.is_on_demand else view.table,
    )
