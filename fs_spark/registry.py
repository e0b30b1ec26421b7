"""View versions: what was registered, which version is promoted, and what each version uses for each product.

An append-only log of entries. A version's definition never changes; a product's wafer map and tests are bound to a
view version once, when the product first comes, and stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from fs_spark import names as n
from fs_spark.errors import ConfigError, FeatureNotFoundError, did_you_mean
from fs_spark.features.view import FeatureView
from fs_spark.schemas import REGISTRY
from fs_spark.tables import Tables
from fs_spark.transforms.spatial import MeasuredTest, ProductBinding
from fs_spark.wafer import WaferGeometry

VERSION: Final = "view_version"
PROMOTION: Final = "promotion"
BINDING: Final = "binding"
CONFIGURATION: Final = "configuration"
_ALL: Final = "*"


@dataclass(frozen=True)
class Entry:
    kind: Literal["view_version", "promotion", "binding", "configuration"]
    view: str
    version: str
    product_id: str | None
    digest: str
    body: str


@dataclass(frozen=True)
class Change:
    """One line of a plan."""

    view: str
    version: str
    action: Literal["register", "promote", "unchanged"]


def _order(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)


def binding_body(binding: ProductBinding, resolved_from: dict[str, int]) -> str:
    tests = {
        name: {key: value for key, value in asdict(test).items() if key != "unit" or value}  # older texts have none
        for name, test in sorted(binding.parameters.items())
    }
    geometry = json.loads(binding.geometry.to_json())
    return json.dumps({"geometry": geometry, "parameters": tests, "resolved_from": resolved_from}, sort_keys=True)


def _binding(body: str) -> ProductBinding:
    parsed = json.loads(body)
    return ProductBinding(
        geometry=WaferGeometry.from_json(json.dumps(parsed["geometry"])),
        parameters={name: MeasuredTest(**test) for name, test in parsed["parameters"].items()},
    )


@dataclass(frozen=True)
class RegistryState:
    """The registry as it stands: all entries folded."""

    versions: dict[tuple[str, str], FeatureView] = field(default_factory=dict)
    promoted: dict[str, str] = field(default_factory=dict)
    bindings: dict[tuple[str, str], dict[str, ProductBinding]] = field(default_factory=dict)
    binding_digests: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    entries: int = 0
    configuration: str | None = None
    """Digest of the newest registered configuration of testers, products and availability."""

    def view(self, name: str, version: str | None = None) -> FeatureView:
        """A registered view: the promoted version, or the one that is named (`view__v1.0` may name it too).

        Raises     FeatureNotFoundError with what is registered and the nearest name
        """
        if version is None and "__v" in name:
            name, version = name.split("__v", 1)
        names = sorted(self.promoted)
        if name not in self.promoted:
            raise FeatureNotFoundError(f"view {name!r} is not registered.\n{did_you_mean(name, names)}")
        wanted = version or self.promoted[name]
        if (name, wanted) not in self.versions:
            known = [v for view, v in self.versions if view == name]
            raise FeatureNotFoundError(
                f"view {name!r} has no version {wanted}.\nRegistered: {', '.join(sorted(known, key=_order))}."
            )
        return self.versions[(name, wanted)]

    def plan(self, views: Iterable[FeatureView]) -> list[Change]:
        """What `apply` would do for these definitions.

        Raises     ConfigError that lists every definition which changed under its old version number
        """
        changes, faults = [], []
        for view in views:
            stored = self.versions.get((view.name, view.version))
            if stored is None:
                changes.append(Change(view.name, view.version, "register"))
            elif stored.definition_hash != view.definition_hash:
                major, minor = _order(view.version)
                faults.append(
                    f"{view.name} v{view.version} is registered with another definition. "
                    f"Hint: raise its version, for example to {major}.{minor + 1}"
                )
            else:
                changes.append(Change(view.name, view.version, "unchanged"))
        if faults:
            raise ConfigError("definitions may not change under their version:\n" + "\n".join(f"- {f}" for f in faults))
        return changes


class Registry:
    """Reads and extends the registry table."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def state(self) -> RegistryState:
        if not self.tables.exists(n.REGISTRY):
            return RegistryState()
        rows = self.tables.read(n.REGISTRY).orderBy("entry").collect()
        texts = [row["digest"] for row in rows if row["kind"] == CONFIGURATION]
        state = RegistryState(
            entries=max((row["entry"] for row in rows), default=0), configuration=texts[-1] if texts else None
        )
        for row in rows:
            key = (row["view"], row["version"])
            if row["kind"] == CONFIGURATION:
                continue
            if row["kind"] == VERSION:
                state.versions[key] = FeatureView.model_validate_json(row["body"])
            elif row["kind"] == PROMOTION:
                state.promoted[row["view"]] = row["version"]
            elif row["product_id"] not in state.bindings.setdefault(key, {}):  # the first binding stands
                state.bindings[key][row["product_id"]] = _binding(row["body"])
                state.binding_digests.setdefault(key, {})[row["product_id"]] = row["digest"]
        return state

    def add(self, state: RegistryState, entries: Sequence[Entry]) -> RegistryState:
        if not entries:
            return state
        self.tables.create(n.REGISTRY, REGISTRY)
        rows = [
            (state.entries + i, e.kind, e.view, e.version, e.product_id, e.digest, e.body)
            for i, e in enumerate(entries, start=1)
        ]
        self.tables.append(n.REGISTRY, self.tables.spark.createDataFrame(rows, REGISTRY.schema).coalesce(1))
        return self.state()

    def register(
        self, state: RegistryState, views: Iterable[FeatureView], *, configuration: str | None = None
    ) -> tuple[RegistryState, list[Change]]:
        """Adds new versions and promotes them, and keeps the text of a configuration that is another now."""
        views = list(views)
        changes = state.plan(views)
        new = {(c.view, c.version) for c in changes if c.action == "register"}
        entries = []
        if configuration is not None:
            digest = hashlib.sha256(configuration.encode()).hexdigest()
            if digest != state.configuration:
                entries.append(Entry(CONFIGURATION, _ALL, _ALL, None, digest, configuration))
        for view in views:
            if (view.name, view.version) in new:
                entries.append(Entry(VERSION, view.name, view.version, None, view.definition_hash, view.to_json()))
                entries.append(Entry(PROMOTION, view.name, view.version, None, view.definition_hash, ""))
        return self.add(state, entries), changes

    def promote(self, state: RegistryState, view: FeatureView) -> RegistryState:
        """Makes a registered version the one that `view:feature` means."""
        if state.promoted.get(view.name) == view.version:
            return state
        return self.add(state, [Entry(PROMOTION, view.name, view.version, None, view.definition_hash, "")])


def binding_entry(view: FeatureView, product_id: str, binding: ProductBinding, resolved_from: dict[str, int]) -> Entry:
    body = binding_body(binding, resolved_from)
    return Entry(BINDING, view.name, view.version, product_id, hashlib.sha256(body.encode()).hexdigest(), body)
