"""Views of every kind but spatial: what they read, and their definition as the registry keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fs_spark.features.definition import FeatureNote, KnowledgeClass, View
from fs_spark.features.kinds import Transform
from fs_spark.features.kinds.expressions import ExpressionsTransform
from fs_spark.features.kinds.fitted import Fit, FittedTransform
from fs_spark.features.kinds.function import FunctionTransform
from fs_spark.features.shipped import SHIPPED_SOURCES
from fs_spark.features.types import ColumnType, KeyType

UNIT_KEYS = ("unit_bucket", "unit_from")
"""Where a row lies in its table: a hash of its keys, and the beginning of its span on a fixed grid."""


ORDER_OF = "_order_"
"""Begins the names of columns that only order rows."""


def ordering(of: str, column: str) -> str:
    """What a column of a source (or a key of a view) is called where it only orders rows."""
    return f"{ORDER_OF}{of}__{column}"


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


class SourceInput(Part):
    """A source that a view reads: `meaning` is all that decides its rows, except for its place.

    `options` are of shipped sources, whose rows depend on what the view asks for.
    """

    input: Literal["source"] = "source"
    name: str
    called: str = ""
    """How expressions call it."""
    keys: dict[str, KeyType]
    columns: dict[str, ColumnType]
    """Columns that expressions and statistics may name."""
    knowledge: KnowledgeClass
    meaning: dict[str, Any] = {}
    options: dict[str, Any] = {}
    by: dict[str, str]
    """Entity key -> column of the source."""

    @property
    def table(self) -> str:
        return f"source__{self.name}"

    @property
    def order(self) -> tuple[str, ...]:
        return tuple(self.meaning.get("order", ()))

    @property
    def is_numbered(self) -> bool:
        """Whether `sequence` alone is the order of its rows."""
        shipped = SHIPPED_SOURCES.get(self.name)
        if shipped is not None and not self.meaning.get("columns"):
            return shipped.is_numbered
        return len(self.order) == 1 and self.columns.get(self.order[0]) in ("int", "bigint")


class ViewInput(Part):
    """A view that a view reads, at the version that its name meant when the reading view was registered.

    `match`  rows: gives the rows; event: of the same keys, event and sequence; as_of: joined at the row's event;
             static: by key
    """

    input: Literal["view"] = "view"
    name: str
    version: str
    definition_hash: str
    called: str = ""
    keys: dict[str, KeyType]
    columns: dict[str, ColumnType]
    knowledge: KnowledgeClass
    match: Literal["rows", "event", "as_of", "static"]
    optional: bool = False
    by: dict[str, str]
    """Key of this input -> column of the rows."""
    boundary: Literal["at_or_before", "strictly_before"]
    ttl_s: float | None = None
    is_state: bool = False
    order: dict[str, ColumnType] = {}
    """Its columns that tell rows of one event apart, beside `sequence`."""
    key_order: dict[str, str] = {}
    """Its keys -> how a view that leaves them out calls them as such columns; empty in definitions of before."""

    @property
    def table(self) -> str:
        return f"{self.name}__v{self.version}".replace(".", "_")


Input = Annotated[SourceInput | ViewInput, Field(discriminator="input")]


class TableView(View):
    """A view version with all that it means written out: entity, inputs, columns and transform."""

    entity: str
    entity_keys: dict[str, KeyType]
    inputs: tuple[Input, ...]
    """None of a view on demand alone."""
    transform: Transform
    column_types: dict[str, ColumnType] = Field(min_length=1)
    knowledge_class: KnowledgeClass
    column_notes: dict[str, FeatureNote] = {}

    @property
    def kind(self) -> str:
        return self.transform.kind

    @property
    def key_types(self) -> Mapping[str, str]:
        return self.entity_keys

    @property
    def columns(self) -> dict[str, str]:
        return dict(self.column_types)

    @property
    def knowledge(self) -> str:
        return self.knowledge_class

    @property
    def unit_keys(self) -> tuple[str, ...]:
        return UNIT_KEYS

    @property
    def is_state(self) -> bool:
        """Whether its rows are states of a group, each in force until the next."""
        return self.transform.gives_states

    @property
    def is_on_demand(self) -> bool:
        return isinstance(self.transform, ExpressionsTransform) and self.transform.on_demand

    @property
    def times(self) -> tuple[str, ...]:
        return (*(("last_event_timestamp",) if self.is_state else ()), *(("valid_to",) if self.has_validity else ()))

    @property
    def has_validity(self) -> bool:
        """Whether its rows end: those of a source with `valid_to`, and of views of such rows."""
        if self.is_state or self.is_on_demand:
            return False
        return any(
            bool(one.meaning.get("valid_to")) if isinstance(one, SourceInput) else "valid_to" in one.columns
            for one in self.inputs
        )

    @property
    def is_repeatable(self) -> bool:
        return not isinstance(self.transform, FunctionTransform) or self.transform.repeatable

    @property
    def is_fitted(self) -> bool:
        """Whether nothing has to be fitted before its rows can be computed."""
        return not isinstance(self.transform, FittedTransform) or self.transform.fit is not None

    @property
    def fit(self) -> Fit | None:
        """What was fitted for it."""
        return self.transform.fit if isinstance(self.transform, FittedTransform) else None

    def with_fit(self, fit: Fit) -> TableView:
        return self.model_copy(update={"transform": self.transform.model_copy(update={"fit": fit})})

    @property
    def order_columns(self) -> dict[str, ColumnType]:
        """Columns beside `sequence` that tell rows of one event apart.

        What orders and names a row of the source, and is no key of the view. They are no features; they break ties, and
        match views of one source.
        """
        first = self.inputs[0]
        if self.is_state or self.is_static or self.is_on_demand:
            return {}
        left = [key for key in first.keys if key not in first.by.values()]
        if isinstance(first, ViewInput):
            return {**first.order, **{first.key_order[key]: first.keys[key] for key in left if first.key_order}}
        named = [] if first.is_numbered else [*first.order]
        if first.name in SHIPPED_SOURCES and first.is_numbered and left:  # a number within a run
            named = [*first.order]
        return {
            ordering(first.name, column): first.columns[column]
            for column in dict.fromkeys([*named, *left])
            if column not in first.by.values()
        }

    @property
    def key_order(self) -> dict[str, str]:
        """Keys -> how a view that reads this one and leaves them out calls them as columns that order."""
        first = self.inputs[0]
        known = first.key_order if isinstance(first, ViewInput) else {}
        return {key: known.get(column, ordering(first.name, column)) for key, column in first.by.items()}

    @property
    def bound_parameters(self) -> tuple[str, ...]:
        names = [
            name for one in self.inputs if isinstance(one, SourceInput) for name in one.options.get("parameters", ())
        ]
        return tuple(dict.fromkeys(names))

    def notes(self) -> dict[str, FeatureNote]:
        return self.column_notes

    def to_json(self) -> str:
        told = self.model_dump(
            mode="json",
            include={
                "name", "version", "ttl", "entity", "entity_keys", "inputs", "transform", "column_types",
                "knowledge_class",
            },
        )  # fmt: skip
        for one in told["inputs"]:
            for name in ("order", "key_order"):
                if not one.get(name, True):
                    del one[name]
        return json.dumps(told)  # keys and features keep their order

    @property
    def definition_hash(self) -> str:
        """Without how inputs order rows of one event, which their own definitions decide."""
        told = json.loads(self.to_json())
        for one in told["inputs"]:
            for name in ("order", "key_order"):
                one.pop(name, None)
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()
