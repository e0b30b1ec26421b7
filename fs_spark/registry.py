"""View versions: what was registered, which version is promoted, and what each version uses for each product.

An append-only log of entries. A version's definition never changes; what it uses of a product is bound to a
view version once, when the product first comes, and stay.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

from fs_spark import names as n
from fs_spark.conflicts import SWAPS, pause
from fs_spark.errors import ConfigError, FeatureNotFoundError, TableConflictError, did_you_mean
from fs_spark.features.definition import View
from fs_spark.features.read_view import fit_digest, read_view, with_about, with_fit
from fs_spark.schemas import REGISTRY
from fs_spark.tables import Tables
from fs_spark.transforms.bindings import ProductBinding, read_binding

log = logging.getLogger(__name__)

VERSION: Final = "view_version"
PROMOTION: Final = "promotion"
BINDING: Final = "binding"
CONFIGURATION: Final = "configuration"
BUCKETS: Final = "buckets"
ABOUT: Final = "about"
SOURCE: Final = "source"
FIT: Final = "fit"
_ALL: Final = "*"


@dataclass(frozen=True)
class Entry:
    kind: Literal["view_version", "promotion", "binding", "configuration", "buckets", "about", "source", "fit"]
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


@dataclass(frozen=True)
class RegistryState:
    """The registry as it stands: all entries folded."""

    versions: dict[tuple[str, str], View] = field(default_factory=dict)
    promoted: dict[str, str] = field(default_factory=dict)
    bindings: dict[tuple[str, str], dict[str, ProductBinding]] = field(default_factory=dict)
    binding_digests: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    entries: int = 0
    table_version: int = -1
    """Delta version of the registry table that was read; -1 where there is none yet."""
    buckets: dict[str, int] = field(default_factory=dict)
    """How many buckets the keys of a table fall into, by table; fixed when the first rows come."""
    about: dict[tuple[str, str], str] = field(default_factory=dict)
    """What texts say of versions for people: owner, tags, expectations and notes, as JSON."""
    sources: dict[str, str] = field(default_factory=dict)
    """The newest text of each source, as JSON."""
    configuration: str | None = None
    """Digest of the newest registered configuration that ingested rows depend on."""

    def view(self, name: str, version: str | None = None) -> View:
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

    def registered(self, name: str, version: str | None) -> View | None:
        """A version of a view, the promoted one where none is named; None where there is none."""
        wanted = version or self.promoted.get(name)
        return self.versions.get((name, wanted)) if wanted is not None else None

    def plan(self, views: Iterable[View]) -> list[Change]:
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
    """Reads and extends the registry table.

    What is added is decided from the entries that there are, so each addition is a compare and swap: of two jobs at
    once the second reads again and decides again. `since` is when this job began, to tell a definition that was
    registered meanwhile from one that stood before.
    """

    def __init__(self, tables: Tables, *, since: datetime | None = None) -> None:
        self.tables, self._since = tables, since

    def state(self, version: int | None = None) -> RegistryState:
        """The entries folded, newest or at a version of the table; of two definitions of one version the first."""
        if not self.tables.exists(n.REGISTRY):
            return RegistryState()
        at = self.tables.version(n.REGISTRY) if version is None else version
        # entries of one number are of writers at once, before numbers were safe: their order is by content
        rows = sorted(
            self.tables.rows(n.REGISTRY, REGISTRY.schema.fieldNames(), version=at).to_pylist(),
            key=lambda row: (row["entry"], row["kind"], row["view"], row["version"], *map(str, list(row.values())[4:])),
        )
        texts = [row["digest"] for row in rows if row["kind"] == CONFIGURATION]
        state = RegistryState(
            entries=max((row["entry"] for row in rows), default=0),
            configuration=texts[-1] if texts else None,
            table_version=at,
        )
        fits: dict[tuple[str, str], str] = {}
        for row in rows:
            key = (row["view"], row["version"])
            if row["kind"] == FIT:  # the first one stands
                fits.setdefault(key, row["body"])
                continue
            if row["kind"] == CONFIGURATION:
                continue
            if row["kind"] == BUCKETS:  # the first number stands
                state.buckets.setdefault(row["view"], int(row["body"]))
                continue
            if row["kind"] == ABOUT:
                state.about[key] = row["body"]
                continue
            if row["kind"] == SOURCE:
                state.sources[row["view"]] = row["body"]
                continue
            if row["kind"] == VERSION:
                if key not in state.versions:
                    state.versions[key] = read_view(row["body"])
            elif row["kind"] == PROMOTION:
                state.promoted[row["view"]] = row["version"]
            elif row["product_id"] not in state.bindings.setdefault(key, {}):  # the first binding stands
                state.bindings[key][row["product_id"]] = read_binding(row["body"])
                state.binding_digests.setdefault(key, {})[row["product_id"]] = row["digest"]
        for key, about in state.about.items():
            if key in state.versions and about:
                state.versions[key] = with_about(state.versions[key], about)
        for key, body in fits.items():
            state.versions[key] = with_fit(state.versions[key], body)
        return state

    def add(self, state: RegistryState, entries: Sequence[Entry]) -> RegistryState:
        return self.extend(state, lambda _: entries)

    def extend(self, state: RegistryState, decide: Callable[[RegistryState], Sequence[Entry]]) -> RegistryState:
        """Adds the entries that `decide` asks for, given the registry as it stands; gives it as it stands then.

        Raises     TableConflictError where others were faster again and again
        """
        for attempt in range(SWAPS):
            entries = decide(state)
            if not entries:
                return state
            self.tables.create(n.REGISTRY, REGISTRY)
            rows = [
                (state.entries + i, e.kind, e.view, e.version, e.product_id, e.digest, e.body)
                for i, e in enumerate(entries, start=1)
            ]
            frame = self.tables.spark.createDataFrame(rows, REGISTRY.schema).coalesce(1)
            if self.tables.swap(n.REGISTRY, frame, based_on=max(state.table_version, 0)) is not None:
                return self.state()
            log.info("another job has changed the registry: what to add is decided anew")
            pause(attempt)
            state = self.state()
        raise TableConflictError(
            f"others wrote to table {n.REGISTRY} {SWAPS} times in a row before this job could. Hint: run it again"
        )

    def register(
        self,
        state: RegistryState,
        views: Iterable[View],
        *,
        configuration: str | None = None,
        bindings: Callable[[RegistryState], Sequence[Entry]] | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> tuple[RegistryState, list[Change]]:
        """Adds new versions and promotes them, and keeps the text of a configuration that is another now.

        `bindings` tells what the versions, as they will be, use of each product; it is asked before anything is
        written, and what it tells is written in the same commit.

        Raises     ConfigError for a definition that changed under its version; TableConflictError where another job
                   registered another definition of a version while this one ran: the first one stands
        """
        views = list(views)
        try:
            changes = state.plan(views)
        except ConfigError:
            self._check_overtaken(self._started_from(state), state, views)
            raise
        added = {(view.name, view.version): view for view in views}
        bound = bindings(replace(state, versions=added | state.versions)) if bindings is not None else ()
        digest = hashlib.sha256(configuration.encode()).hexdigest() if configuration is not None else None

        def decide(now: RegistryState) -> list[Entry]:
            self._check_overtaken(state, now, views)
            entries = []
            if configuration is not None and digest is not None and digest != now.configuration:
                entries.append(Entry(CONFIGURATION, _ALL, _ALL, None, digest, configuration))
            for view in views:
                if (view.name, view.version) not in now.versions:
                    entries.append(Entry(VERSION, view.name, view.version, None, view.definition_hash, view.to_json()))
                    entries.append(Entry(PROMOTION, view.name, view.version, None, view.definition_hash, ""))
                if (about := view.about()) != now.about.get((view.name, view.version), ""):
                    entries.append(Entry(ABOUT, view.name, view.version, None, _digest(about), about))
            for name, text in sorted((sources or {}).items()):
                if now.sources.get(name) != text:
                    entries.append(Entry(SOURCE, name, _ALL, None, _digest(text), text))
            return entries + _unbound(now, bound)

        return self.extend(state, decide), changes

    def buckets(self, table: str, wanted: int) -> int:
        """How many buckets a table's keys fall into: as was fixed when its first rows came, else `wanted`."""

        def decide(now: RegistryState) -> list[Entry]:
            return [] if table in now.buckets else [Entry(BUCKETS, table, _ALL, None, "", str(wanted))]

        return self.extend(self.state(), decide).buckets[table]

    def add_fit(self, view: View, digest: str, body: str) -> RegistryState:
        """Keeps what was fitted for a view version, once.

        Raises     TableConflictError where another job has fitted it meanwhile to other values
        """

        def decide(now: RegistryState) -> list[Entry]:
            there = fit_digest(now.versions[(view.name, view.version)])
            if there not in (None, digest):
                raise TableConflictError(
                    f"another job has fitted {view.qualified} meanwhile, which stands. Hint: fit a new version"
                )
            return [] if there else [Entry(FIT, view.name, view.version, None, digest, body)]

        return self.extend(self.state(), decide)

    def bind(self, state: RegistryState, bindings: Sequence[Entry]) -> RegistryState:
        """Adds what view versions use of products, where they are not bound meanwhile."""
        return self.extend(state, lambda now: _unbound(now, bindings))

    @staticmethod
    def _check_overtaken(before: RegistryState, now: RegistryState, views: Iterable[View]) -> None:
        faults = []
        for view in views:
            key = (view.name, view.version)
            stored = now.versions.get(key)
            if stored is None or stored.definition_hash == view.definition_hash or key in before.versions:
                continue
            major, minor = _order(view.version)
            faults.append(
                f"another job registered another definition of {view.name} v{view.version} while this one ran; the "
                f"first one stands. Hint: raise yours, for example to {major}.{minor + 1}, or take over the other text"
            )
        if faults:
            raise TableConflictError("\n".join(faults))

    def _started_from(self, state: RegistryState) -> RegistryState:
        """The registry as it stood when this job began; `state` where that is not known, or nothing came since."""
        if self._since is None or state.table_version < 0:
            return state
        older = [c for c in self.tables.history(n.REGISTRY) if c.timestamp is not None and c.timestamp <= self._since]
        if not older:
            return RegistryState()
        newest = max(commit.version for commit in older)
        return state if newest == state.table_version else self.state(newest)

    def promote(self, state: RegistryState, view: View) -> RegistryState:
        """Makes a registered version the one that `view:feature` means."""

        def decide(now: RegistryState) -> list[Entry]:
            if now.promoted.get(view.name) == view.version:
                return []
            return [Entry(PROMOTION, view.name, view.version, None, view.definition_hash, "")]

        return self.extend(state, decide)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _unbound(state: RegistryState, bindings: Sequence[Entry]) -> list[Entry]:
    return [e for e in bindings if e.product_id not in state.bindings.get((e.view, e.version), {})]
