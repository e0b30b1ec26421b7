"""The views of a configuration folder: their texts, and the definitions that these mean together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fs_spark.features.definition import View
from fs_spark.features.entity import Entity
from fs_spark.features.resolve import resolve_view
from fs_spark.features.resolve_inputs import Names, Path
from fs_spark.features.source import SourceText
from fs_spark.features.table_view import TableView, ViewInput
from fs_spark.features.texts import ViewText
from fs_spark.features.view import FeatureView

Registered = Callable[[str, str | None], View | None]
"""A registered view by name, and by version where one is named (else the promoted one)."""


@dataclass(frozen=True)
class PlacedText:
    """A text and how to say where a part of it stands: path -> `customer.yaml:7`."""

    text: ViewText
    place: Callable[[Path], str]


@dataclass
class _Resolver:
    """Resolves each text once, after those that it reads."""

    texts: Mapping[str, PlacedText]
    spatial: Mapping[str, FeatureView]
    entities: Mapping[str, Entity]
    sources: Mapping[str, SourceText]
    registered: Registered | None
    done: dict[str, TableView | None] = field(default_factory=dict)
    under_way: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def find(self, name: str, version: str | None) -> View | None:
        """A view that a text names: of the folder, else of the registry."""
        here: View | None = self.spatial.get(name)
        if here is None and name in self.texts:
            here = self.resolve(name)
        if here is not None and version in (None, here.version):
            return here
        found = self.registered(name, version) if self.registered is not None else None
        return found

    def _kept(self, name: str) -> Registered:
        """For a version that is registered: its inputs are of the versions that they were when it was registered."""
        placed = self.texts[name]
        stored = self.registered(name, placed.text.version) if self.registered is not None else None
        pinned = (
            {one.name: one.version for one in stored.inputs if isinstance(one, ViewInput)}
            if isinstance(stored, TableView)
            else {}
        )

        def find(wanted: str, version: str | None) -> View | None:
            return self.find(wanted, version or pinned.get(wanted)) or self.find(wanted, version)

        return find

    def resolve(self, name: str) -> TableView | None:
        if name in self.done:
            return self.done[name]
        placed = self.texts[name]
        if name in self.under_way:
            cycle = " -> ".join([*self.under_way[self.under_way.index(name) :], name])
            self.faults.append(f"{placed.place(('transform',))}: views read each other in a circle: {cycle}")
            return None
        self.under_way.append(name)
        try:
            view, faults = resolve_view(placed.text, Names(self.entities, self.sources, self._kept(name)))
        finally:
            self.under_way.pop()
        if self.registered is None:  # what the folder does not have may be registered
            waiting = [text for _, text in faults if text.endswith("is not known") and text.startswith("view ")]
            if waiting and len(waiting) == len(faults):
                faults = []
        self.faults += [f"{placed.place(path)}: {name}: {text}" for path, text in faults]
        self.done.setdefault(name, view)
        return self.done[name]


def resolve_views(
    texts: Sequence[PlacedText],
    spatial: Sequence[FeatureView],
    entities: Mapping[str, Entity],
    sources: Mapping[str, SourceText],
    registered: Registered | None = None,
) -> tuple[list[TableView], list[str]]:
    """The definitions of the texts, inputs first, and every fault with its place.

    Without `registered`, texts that read views which the folder does not have are left out.
    """
    resolver = _Resolver(
        {placed.text.name: placed for placed in texts}, {view.name: view for view in spatial}, entities, sources,
        registered,
    )  # fmt: skip
    for placed in texts:
        resolver.resolve(placed.text.name)
    return [view for view in resolver.done.values() if view is not None], list(dict.fromkeys(resolver.faults))
