"""The registry table: what was registered, by whom, when and why.

An append-only log of entries. A version's definition never changes; what it uses of a product is bound to a
view version once, when the product first comes, and stay.
"""

from __future__ import annotations

import getpass
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from fs_spark import names as n
from fs_spark.conflicts import SWAPS, pause
from fs_spark.errors import ConfigError, TableConflictError
from fs_spark.features.definition import View
from fs_spark.features.read_view import fit_digest
from fs_spark.registry_state import (
    ABOUT,
    BUCKETS,
    CONFIGURATION,
    FIT,
    FORMAT,
    PROMOTION,
    RETIREMENT,
    SOURCE,
    VERSION,
    Change,
    Entry,
    RegistryState,
    folded,
    next_version,
)
from fs_spark.schemas import REGISTRY
from fs_spark.tables import Tables

log = logging.getLogger(__name__)

_ALL: Final = "*"


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
        there = self.tables.columns(n.REGISTRY, at)
        wanted = [name for name in REGISTRY.schema.fieldNames() if name in there]  # a table of before has fewer
        # entries of one number are of writers at once, before numbers were safe: their order is by content
        rows = sorted(
            self.tables.rows(n.REGISTRY, wanted, version=at).to_pylist(),
            key=lambda row: (row["entry"], row["kind"], row["view"], row["version"], *map(str, list(row.values())[4:])),
        )
        return folded(rows, at)

    def add(self, state: RegistryState, entries: Sequence[Entry]) -> RegistryState:
        return self.extend(state, lambda _: entries)

    def extend(
        self,
        state: RegistryState,
        decide: Callable[[RegistryState], Sequence[Entry]],
        *,
        reason: str | None = None,
    ) -> RegistryState:
        """Adds the entries that `decide` asks for, given the registry as it stands; gives it as it stands then.

        With them are kept who adds them, when, and the `reason`.

        Raises     TableConflictError where others were faster again and again
        """
        for attempt in range(SWAPS):
            entries = decide(state)
            if not entries:
                return state
            self.tables.create(n.REGISTRY, REGISTRY)
            if self.tables.version(n.REGISTRY) != max(state.table_version, 0):
                state = self.state()  # a commit that is no swap, such as new columns, would hide one that is
                continue
            now, by = datetime.now(UTC), who()
            rows = [
                (state.entries + i, e.kind, e.view, e.version, e.product_id, e.digest, e.body, now, by, reason, FORMAT)
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
        reason: str | None = None,
        check: Callable[[RegistryState], None] | None = None,
    ) -> tuple[RegistryState, list[Change]]:
        """Adds new versions and promotes them, and keeps the text of a configuration that is another now.

        `check` may raise, given the registry as it stands when it is written. `bindings` tells what the versions, as
        they will be, use of each product; it is asked before anything is written, and what it tells is written in the
        same commit.

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
            if check is not None:
                check(now)
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

        return self.extend(state, decide, reason=reason), changes

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
            faults.append(
                f"another job registered another definition of {view.name} v{view.version} while this one ran; the "
                f"first one stands. Hint: raise yours, for example to {next_version(view.version)}, or take over the "
                "other text"
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

    def promote(
        self,
        state: RegistryState,
        view: View,
        *,
        reason: str | None = None,
        check: Callable[[RegistryState], None] | None = None,
    ) -> RegistryState:
        """Makes a registered version the one that `view:feature` means; a retired one is taken back.

        `check` may raise, given the registry as it stands when it is written.
        """

        def decide(now: RegistryState) -> list[Entry]:
            if now.promoted.get(view.name) == view.version:
                return []
            if check is not None:
                check(now)
            return [Entry(PROMOTION, view.name, view.version, None, view.definition_hash, "")]

        return self.extend(state, decide, reason=reason)

    def retire(
        self, state: RegistryState, view: View, check: Callable[[RegistryState], None], *, reason: str | None = None
    ) -> RegistryState:
        """Takes a version out of use, unless `check`, asked of the registry as it stands then, raises."""

        def decide(now: RegistryState) -> list[Entry]:
            if (view.name, view.version) in now.retired:
                return []
            check(now)
            return [Entry(RETIREMENT, view.name, view.version, None, view.definition_hash, "")]

        return self.extend(state, decide, reason=reason)


def who() -> str:
    """Who acts: FS_SPARK_USER, or the account of this process."""
    named = os.environ.get(n.USER)
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # an account without a name, as in some containers
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _unbound(state: RegistryState, bindings: Sequence[Entry]) -> list[Entry]:
    return [e for e in bindings if e.product_id not in state.bindings.get((e.view, e.version), {})]
