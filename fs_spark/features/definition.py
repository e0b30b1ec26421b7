"""What every view is, whatever its kind: a version of a name, with keys, columns, a class of knowledge and inputs."""

from __future__ import annotations

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fs_spark.features.expectations import Expectation
from fs_spark.features.spans import Span

VIEW_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
Boundary = Literal["at_or_before", "strictly_before"]
KnowledgeClass = Literal["static", "before_event", "at_event", "after_group"]
CLASSES: Final[tuple[KnowledgeClass, ...]] = ("static", "before_event", "at_event", "after_group")
"""From what was always known to what only a group's end makes known; a view has the latest class of its inputs."""
CLASS_OF: Final[dict[str, KnowledgeClass]] = {
    "static": "static",
    "before_test": "before_event",
    "at_test": "at_event",
    "after_wafer": "after_group",
    "after_lot": "after_group",
    "before_event": "before_event",
    "at_event": "at_event",
    "after_group": "after_group",
}
"""A class by every name that texts and reports call it."""


def boundary_of(knowledge: str) -> Boundary:
    """The boundary of the join: a row of `at_event` or later never meets its own instant."""
    return "strictly_before" if CLASS_OF[knowledge] in ("at_event", "after_group") else "at_or_before"


class FeatureNote(BaseModel):
    """What a text says of one column for people: no part of the definition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    unit: str = ""


class View(BaseModel):
    """A version of a view. General layers know of it what stands here.

    `owner`, `tags`, `sla` (how fresh its rows should be), `expectations` and the notes of columns are no part of the
    definition: another one of them is no other version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str = Field(pattern=r"^\d+\.\d+$")
    ttl: Span | None = None
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    sla: Span | None = None
    expectations: tuple[Expectation, ...] = ()

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not VIEW_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid view name. Hint: use [a-z0-9_]; `__` is reserved for versions")
        return name

    @property
    @abstractmethod
    def kind(self) -> str:
        """The name of its transform."""

    @property
    @abstractmethod
    def key_types(self) -> Mapping[str, str]:
        """Key columns and their types."""

    @property
    @abstractmethod
    def columns(self) -> dict[str, str]:
        """Feature column -> type, in the order of the definition."""

    @property
    @abstractmethod
    def knowledge(self) -> str: ...

    @property
    @abstractmethod
    def unit_keys(self) -> tuple[str, ...]:
        """The columns of its table whose values name what is computed and replaced as one."""

    @abstractmethod
    def to_json(self) -> str:
        """The definition in canonical form."""

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.key_types)

    @property
    def boundary(self) -> Boundary:
        return boundary_of(self.knowledge)

    @property
    def is_static(self) -> bool:
        return self.knowledge == "static"

    @property
    def is_on_demand(self) -> bool:
        """Whether it has no rows: its features are computed from those of its inputs where they are asked for."""
        return False

    @property
    def is_repeatable(self) -> bool:
        """Whether its rows come out the same each time that they are computed from the same inputs."""
        return True

    @property
    def times(self) -> tuple[str, ...]:
        """Columns of its table that are times beside event and availability."""
        return ()

    @property
    def bound_parameters(self) -> tuple[str, ...]:
        """Parameters of products that it reads, which are bound to tests for each product."""
        return ()

    @property
    def qualified(self) -> str:
        """`die_neighborhood__v1.0`"""
        return f"{self.name}__v{self.version}"

    @property
    def table(self) -> str:
        """`die_neighborhood__v1_0`: a table name takes no dot."""
        return self.qualified.replace(".", "_")

    @property
    def definition_hash(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def notes(self) -> dict[str, FeatureNote]:
        """What the text says of columns."""
        return {}

    def about(self) -> str:
        """What is no part of the definition, as JSON; empty where the text says nothing."""
        told: dict[str, Any] = self.model_dump(
            mode="json", include={"description", "owner", "tags", "sla", "expectations"}, exclude_defaults=True
        )
        if notes := {name: note.model_dump(exclude_defaults=True) for name, note in self.notes().items()}:
            told["notes"] = {name: note for name, note in notes.items() if note}
        return json.dumps(told, sort_keys=True) if told else ""
