"""Feature views and services as they are written in `conf/views/*.yaml` and `conf/services.yaml`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from fs_spark.features.catalogue import features_of_family, find_feature
from fs_spark.features.feature import BOUNDARIES, ENTITY_KEYS, Boundary, EntityName, Feature, Knowledge
from fs_spark.features.settings import SpatialSettings

VIEW_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
REFERENCE = re.compile(r"(?P<view>[a-z][a-z0-9_]*?)(__v(?P<version>\d+\.\d+))?:(?P<feature>[a-z0-9_]+)")


class FeatureReference(BaseModel):
    """`view:feature` (the promoted version) or `view__v2.0:feature` (that version)."""

    model_config = ConfigDict(frozen=True)

    view: str
    version: str | None
    feature: str

    @classmethod
    def parse(cls, text: str) -> FeatureReference:
        """Raises ValueError where the text is not a reference."""
        found = REFERENCE.fullmatch(text)
        if not found or not VIEW_NAME.fullmatch(found["view"]):
            raise ValueError(f"{text!r} is not a feature reference. Hint: write 'view:feature' or 'view__v1.0:feature'")
        return cls(view=found["view"], version=found["version"], feature=found["feature"])


def _days(value: object) -> object:
    if isinstance(value, str) and (found := re.fullmatch(r"\s*(\d+)\s*(s|min|h|d)\s*", value)):
        return timedelta(seconds=int(found[1]) * {"s": 1, "min": 60, "h": 3600, "d": 86400}[found[2]])
    return value


class FeatureView(BaseModel):
    """One view: its features all share one knowledge class and one entity, over one insertion.

    `families` stand for all their features, and are spelled out when the view is read: its definition names features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str = Field(pattern=r"^\d+\.\d+$")
    insertion: str = "1"
    features: tuple[str, ...] = Field(min_length=1)
    parameters: tuple[str, ...] = ()
    bins: tuple[Annotated[int, Field(ge=0, le=32767)], ...] = ()
    settings: SpatialSettings = SpatialSettings()
    ttl: Annotated[timedelta | None, BeforeValidator(_days)] = None
    description: str = ""

    @model_validator(mode="before")
    @classmethod
    def _spell_families_out(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "families" not in given:
            return given
        named = given["families"]
        if isinstance(named, str) or not isinstance(named, Sequence):
            raise ValueError("families is no list. Hint: write families: [outcome_neighborhood, wafer_outcomes]")
        features = list(given.get("features", ()))
        for family in named:
            found = features_of_family(str(family))
            left_out = "bin" if not given.get("bins") else ""  # a family has them only for the bins that are named
            features += [f.key for f in found if f.key not in features and f.per != left_out]
        return {**{k: v for k, v in given.items() if k != "families"}, "features": features}

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not VIEW_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no view name: [a-z0-9_], `__` is reserved for versions")
        return name

    @model_validator(mode="after")
    def _one_class(self) -> FeatureView:
        found = [find_feature(key) for key in self.features]
        for what, values in (("parameters", self.parameters), ("features", self.features), ("bins", self.bins)):
            if len(set(values)) != len(values):
                raise ValueError(f"{what} given twice in {self.name}: {sorted(values)}")
        for what, groups in (("knowledge class", {f.knowledge for f in found}), ("entity", {f.entity for f in found})):
            if len(groups) > 1:
                raise ValueError(
                    f"{self.name} mixes features of more than one {what}: {sorted(groups)}. Hint: make one view of each"
                )
        if not self.parameters and any(f.of_parameters for f in found):
            raise ValueError(f"{self.name} has features per parameter but names no parameters")
        if not self.bins and any(f.per == "bin" for f in found):
            raise ValueError(f"{self.name} has features per bin but names no bins. Hint: write bins: [2, 5]")
        names = [name for f in found for name in f.columns(self.parameters, self.bins, self.settings)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{self.name} has two columns named {', '.join(twice)}. Hint: rename the parameter")
        return self

    @property
    def catalogue(self) -> tuple[Feature, ...]:
        return tuple(find_feature(key) for key in self.features)

    @property
    def knowledge(self) -> Knowledge:
        return self.catalogue[0].knowledge

    @property
    def entity(self) -> EntityName:
        return self.catalogue[0].entity

    @property
    def keys(self) -> tuple[str, ...]:
        return ENTITY_KEYS[self.entity]

    @property
    def boundary(self) -> Boundary:
        return BOUNDARIES[self.knowledge]

    @property
    def unit_keys(self) -> tuple[str, ...]:
        """What is recomputed and replaced as one: a wafer for die views, a lot for lot views."""
        return ENTITY_KEYS["lot" if self.entity == "lot" else "wafer"]

    @property
    def columns(self) -> dict[str, str]:
        """Feature column -> Spark type, in the order of the definition."""
        return {name: f.dtype for f in self.catalogue for name in f.columns(self.parameters, self.bins, self.settings)}

    @property
    def qualified(self) -> str:
        """`die_neighborhood__v1.0`"""
        return f"{self.name}__v{self.version}"

    @property
    def table(self) -> str:
        """`die_neighborhood__v1_0`: a table name takes no dot."""
        return self.qualified.replace(".", "_")

    def to_json(self) -> str:
        """The definition in canonical form; `from_json` of it is equal."""
        told = {**self.model_dump(mode="json", exclude={"description"}), "settings": self.settings.canonical()}
        return json.dumps(told, sort_keys=True)

    @property
    def definition_hash(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()


class FeatureService(BaseModel):
    """A named list of feature references that is trained and served together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    features: tuple[str, ...] = Field(min_length=1)
    description: str = ""

    @field_validator("features")
    @classmethod
    def _references(cls, features: tuple[str, ...]) -> tuple[str, ...]:
        for text in features:
            FeatureReference.parse(text)
        return features
