"""Who uses a version of a view: other views, services, training sets, and what is published online."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fs_spark.errors import RequestError
from fs_spark.features.definition import View
from fs_spark.features.service import FeatureService
from fs_spark.features.table_view import TableView, ViewInput
from fs_spark.registry_state import RegistryState

if TYPE_CHECKING:
    from fs_spark.online.records import ServiceRecord


@dataclass(frozen=True)
class Uses:
    """Names of what uses a view version, each kind sorted."""

    views: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    training_sets: tuple[str, ...] = ()
    online: tuple[str, ...] = ()
    """Services whose publication holds its rows."""

    def __bool__(self) -> bool:
        return bool(self.views or self.services or self.training_sets or self.online)

    def to_text(self) -> str:
        return "; ".join(
            f"{kind} {', '.join(names)}"
            for kind, names in (
                ("view", self.views), ("service", self.services), ("training set", self.training_sets),
                ("published online in", self.online),
            ) if names
        )  # fmt: skip


@dataclass(frozen=True)
class Users:
    """All that may use views at one moment."""

    state: RegistryState
    services: Mapping[str, FeatureService]
    manifests: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    published: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Service -> the view versions that its publication holds."""

    def of(self, view: View) -> Uses:
        name = view.qualified
        promoted = self.state.promoted.get(view.name) == view.version
        return Uses(
            views=tuple(sorted({one.qualified for one in self.state.versions.values() if self._reads(one, name)})),
            services=tuple(
                sorted(
                    service.name
                    for service in self.services.values()
                    if any(
                        one.view == view.name and (one.version == view.version or (one.version is None and promoted))
                        for one in service.references
                    )
                )
            ),
            training_sets=tuple(
                sorted(
                    saved
                    for saved, manifest in self.manifests.items()
                    if any(
                        (part["view"], part["version"]) == (view.name, view.version)
                        for part in (*manifest["views"], *manifest.get("on_demand", ()))
                    )
                )
            ),
            online=tuple(sorted(service for service, names in self.published.items() if name in names)),
        )

    def _reads(self, view: View, name: str) -> bool:
        if (view.name, view.version) in self.state.retired or not isinstance(view, TableView):
            return False
        return any(isinstance(one, ViewInput) and f"{one.name}__v{one.version}" == name for one in view.inputs)


def view_of(label: str) -> str:
    """The view version in the label of what is published, which may begin with a role: `payer.score__v1.0`."""
    found = re.search(r"[a-z0-9_]+__v\d+\.\d+", label)
    return found[0] if found is not None else label


def published_records(url: str) -> dict[str, ServiceRecord]:
    """What is published under a URL, by service; nothing where nothing was published there yet."""
    from fs_spark.online import open_online
    from fs_spark.online.reader import is_published

    if not is_published(url):
        return {}
    with open_online(url) as reader:
        return {service: reader.describe(service) for service in reader.services()}


def published_views(url: str) -> dict[str, frozenset[str]]:
    """The view versions that published services hold, by service."""
    return {
        name: frozenset([*(view.view for view in record.views), *(view_of(one.view) for one in record.on_demand)])
        for name, record in published_records(url).items()
    }


def require_unused(view: View, users: Users) -> None:
    """Raises RequestError that names each user of a view version, and, where others are promoted, the promotion."""
    uses = users.of(view)
    if uses:
        raise RequestError(
            f"{view.qualified} is used: {uses.to_text()}.\n"
            "Hint: let these use another version first (a training set that is kept needs it to be reproduced)"
        )
    others = [version for name, version in users.state.versions if name == view.name and version != view.version]
    left = [version for version in others if (view.name, version) not in users.state.retired]
    if users.state.promoted.get(view.name) == view.version and left:
        raise RequestError(
            f"{view.qualified} is what `{view.name}` means.\n"
            f"Hint: promote another version first: fs-spark promote {view.name} {left[-1]}"
        )
