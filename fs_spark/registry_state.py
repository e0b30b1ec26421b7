"""The registry as it stands: its entries folded into versions of views, which are promoted, retired and bound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from fs_spark.errors import ConfigError, FeatureNotFoundError, SetupError, did_you_mean
from fs_spark.features.definition import View
from fs_spark.features.differences import differences
from fs_spark.features.read_view import read_view, with_about, with_fit
from fs_spark.transforms.bindings import ProductBinding, read_binding

FORMAT: Final = 2
"""Of the entries that this software writes: 1 had no author, time and reason."""

VERSION: Final = "view_version"
PROMOTION: Final = "promotion"
BINDING: Final = "binding"
CONFIGURATION: Final = "configuration"
BUCKETS: Final = "buckets"
ABOUT: Final = "about"
SOURCE: Final = "source"
FIT: Final = "fit"
RETIREMENT: Final = "retirement"


@dataclass(frozen=True)
class Entry:
    kind: Literal[
        "view_version", "promotion", "binding", "configuration", "buckets", "about", "source", "fit", "retirement"
    ]
    view: str
    version: str
    product_id: str | None
    digest: str
    body: str


KINDS: Final = frozenset(
    {VERSION, PROMOTION, BINDING, CONFIGURATION, BUCKETS, ABOUT, SOURCE, FIT, RETIREMENT}
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """What somebody did to a view version, when and why; entries of before have neither author nor time."""

    kind: str
    view: str
    version: str
    at: datetime | None = None
    by: str | None = None
    why: str | None = None

    @property
    def done(self) -> str:
        """What was done, in a word."""
        return {VERSION: "registered", PROMOTION: "promoted", FIT: "fitted", RETIREMENT: "retired"}[self.kind]

    def __str__(self) -> str:
        parts = [f"{self.at:%Y-%m-%d %H:%M} UTC" if self.at is not None else "", f"by {self.by}" if self.by else ""]
        told = " ".join(filter(None, parts))
        return f"{told}: {self.why}" if told and self.why else told


@dataclass(frozen=True)
class Change:
    """What `apply` would do about one view version.

    register   it is new; `before` is the version that its name means now, `meaning` what the two differ in
    retired    its text is there, but somebody retired it: nothing is done
    removed    it is promoted, and no text is there any more: nothing is done, it may be retired
    """

    view: str
    version: str
    action: Literal["register", "unchanged", "retired", "removed"]
    before: str | None = None
    meaning: tuple[str, ...] = ()


def version_order(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)


def next_version(version: str) -> str:
    major, minor = version_order(version)
    return f"{major}.{minor + 1}"


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

    retired: dict[tuple[str, str], Event] = field(default_factory=dict)
    """Versions that may not be used any more, and who decided so."""
    events: dict[tuple[str, str], list[Event]] = field(default_factory=dict)
    """What became of each version, in order: registered, promoted, fitted, retired."""
    promotions: dict[str, list[str]] = field(default_factory=dict)
    """Versions of a view in the order in which they were promoted."""

    def view(self, name: str, version: str | None = None) -> View:
        """A registered view: the promoted version, or the one that is named (`view__v1.0` may name it too).

        Raises     FeatureNotFoundError with what is registered and the nearest name
        """
        if version is None and "__v" in name:
            name, version = name.split("__v", 1)
        names = sorted(self.promoted)
        if name not in self.promoted and name in {view for view, _ in self.versions} and version is None:
            raise FeatureNotFoundError(
                f"every version of view {name!r} is retired.\n"
                f"Hint: register another one, or take one back: fs-spark promote {name} VERSION"
            )
        if name not in {*names, *(view for view, _ in self.versions)}:
            raise FeatureNotFoundError(f"view {name!r} is not registered.\n{did_you_mean(name, names)}")
        wanted = version or self.promoted[name]
        if (name, wanted) not in self.versions:
            known = [v for view, v in self.versions if view == name]
            raise FeatureNotFoundError(
                f"view {name!r} has no version {wanted}.\nRegistered: {', '.join(sorted(known, key=version_order))}."
            )
        if (event := self.retired.get((name, wanted))) is not None:
            told = str(event)
            raise FeatureNotFoundError(
                f"{name} v{wanted} is retired{f' ({told})' if told else ''}.\n"
                f"Hint: name another version, or take it back: fs-spark promote {name} {wanted}"
            )
        return self.versions[(name, wanted)]

    def pinned(self, name: str, version: str) -> View:
        """A version that something made earlier names: a retired one too. Raises FeatureNotFoundError"""
        return self.versions[name, version] if (name, version) in self.versions else self.view(name, version)

    def before(self, name: str) -> str | None:
        """The version that was promoted before the one that is, without those that are retired."""
        order = self.promotions.get(name, [])
        if name not in self.promoted:
            return None
        earlier = order[: order.index(self.promoted[name])]
        return next((one for one in reversed(earlier) if (name, one) not in self.retired), None)

    def registered(self, name: str, version: str | None) -> View | None:
        """A version of a view, the promoted one where none is named; None where there is none."""
        wanted = version or self.promoted.get(name)
        return self.versions.get((name, wanted)) if wanted is not None else None

    def _new(self, view: View) -> Change:
        before = self.registered(view.name, None)
        meaning = tuple(map(str, differences(before, view))) if before is not None else ()
        return Change(view.name, view.version, "register", before.version if before is not None else None, meaning)

    def removed(self, views: Iterable[View]) -> list[Change]:
        """Promoted views that none of these definitions is a version of."""
        there = {view.name for view in views}
        return [Change(name, self.promoted[name], "removed") for name in sorted(self.promoted) if name not in there]

    def plan(self, views: Iterable[View]) -> list[Change]:
        """What `apply` would do for these definitions.

        Raises     ConfigError that lists every definition which changed under its old version number
        """
        changes, faults = [], []
        for view in views:
            stored = self.versions.get((view.name, view.version))
            if stored is None:
                changes.append(self._new(view))
            elif stored.definition_hash != view.definition_hash:
                faults.append(
                    f"{view.name} v{view.version} is registered with another definition. "
                    f"Hint: raise its version, for example to {next_version(view.version)}"
                    + "".join(f"\n    {difference}" for difference in differences(stored, view))
                )
            elif (view.name, view.version) in self.retired:
                changes.append(Change(view.name, view.version, "retired"))
            else:
                changes.append(Change(view.name, view.version, "unchanged"))
        if faults:
            raise ConfigError("definitions may not change under their version:\n" + "\n".join(f"- {f}" for f in faults))
        return changes


def folded(rows: Sequence[Mapping[str, Any]], at: int) -> RegistryState:
    """The state that entries, in their order, give; of two definitions of one version the first stands.

    Raises     SetupError where newer software wrote some of them
    """
    check_readable(rows)
    texts = [row["digest"] for row in rows if row["kind"] == CONFIGURATION]
    state = RegistryState(
        entries=max((row["entry"] for row in rows), default=0),
        configuration=texts[-1] if texts else None,
        table_version=at,
    )
    fits: dict[tuple[str, str], str] = {}
    for row in rows:
        _fold(state, fits, row)
    for key, about in state.about.items():
        if key in state.versions and about:
            state.versions[key] = with_about(state.versions[key], about)
    for key, body in fits.items():
        state.versions[key] = with_fit(state.versions[key], body)
    return state


def _fold(state: RegistryState, fits: dict[tuple[str, str], str], row: Mapping[str, Any]) -> None:
    kind, key = row["kind"], (row["view"], row["version"])
    match kind:
        case "fit":  # the first one stands
            if key not in fits:
                fits[key] = row["body"]
                _remember(state, row)
        case "buckets":  # the first number stands
            state.buckets.setdefault(row["view"], int(row["body"]))
        case "about":
            state.about[key] = row["body"]
        case "source":
            state.sources[row["view"]] = row["body"]
        case "view_version":
            if key not in state.versions:
                state.versions[key] = read_view(row["body"])
                _remember(state, row)
        case "promotion":
            state.promoted[row["view"]] = row["version"]
            state.promotions.setdefault(row["view"], []).append(row["version"])
            state.retired.pop(key, None)
            _remember(state, row)
        case "retirement":
            state.retired[key] = _remember(state, row)
            if state.promoted.get(row["view"]) == row["version"]:
                del state.promoted[row["view"]]
        case "binding":
            if row["product_id"] not in state.bindings.setdefault(key, {}):  # the first binding stands
                state.bindings[key][row["product_id"]] = read_binding(row["body"])
                state.binding_digests.setdefault(key, {})[row["product_id"]] = row["digest"]


def _remember(state: RegistryState, row: Mapping[str, Any]) -> Event:
    event = Event(row["kind"], row["view"], row["version"], row.get("at"), row.get("by"), row.get("why"))
    state.events.setdefault((row["view"], row["version"]), []).append(event)
    return event


def check_readable(rows: Iterable[Mapping[str, Any]]) -> None:
    """Raises SetupError for entries of newer software: what they mean is not known here, so that nothing is done."""
    for row in rows:
        written = row.get("format") or 1
        if written > FORMAT or row["kind"] not in KINDS:
            what = f"format {written}" if written > FORMAT else f"entries of kind {row['kind']!r}"
            raise SetupError(
                f"the registry was written by a newer fs_spark: it has {what}, this one knows format {FORMAT}.\n"
                "Hint: install the version that the others use; nothing was changed"
            )
