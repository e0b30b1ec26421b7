"""Views of the spatial catalogue as they are written in `conf/views/*.yaml`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from fs_spark.features.catalogue import features_of_family, find_feature
from fs_spark.features.definition import View
from fs_spark.features.entity import SHIPPED
from fs_spark.features.feature import ENTITY_KEYS, EntityName, Feature, Knowledge
from fs_spark.features.settings import SpatialSettings


class FeatureView(View):
    """A view of the spatial catalogue: its features all share one knowledge class and one entity, over one insertion.

    `families` stand for all their features, and are spelled out when the view is read: its definition names features.
    """

    TEXT: ClassVar[tuple[str, ...]] = (
        "name", "version", "insertion", "features", "parameters", "bins", "settings", "ttl",
    )  # fmt: skip
    """What the canonical text holds, so that the hashes of registered views stay whatever fields come."""

    insertion: str = "1"
    features: tuple[str, ...] = Field(min_length=1)
    parameters: tuple[str, ...] = ()
    bins: tuple[Annotated[int, Field(ge=0, le=32767)], ...] = ()
    settings: SpatialSettings = SpatialSettings()

    @model_validator(mode="before")
    @classmethod
    def _spell_families_out(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "transform" in given:
            given = {k: v for k, v in given.items() if k != "transform"}
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
    def kind(self) -> str:
        return "spatial"

    @property
    def key_types(self) -> Mapping[str, str]:
        return SHIPPED[self.entity].keys

    @property
    def bound_parameters(self) -> tuple[str, ...]:
        return self.parameters

    @property
    def unit_keys(self) -> tuple[str, ...]:
        """What is recomputed and replaced as one: a wafer for die views, a lot for lot views."""
        return ENTITY_KEYS["lot" if self.entity == "lot" else "wafer"]

    @property
    def columns(self) -> dict[str, str]:
        """Feature column -> Spark type, in the order of the definition."""
        return {name: f.dtype for f in self.catalogue for name in f.columns(self.parameters, self.bins, self.settings)}

    def to_json(self) -> str:
        """The definition in canonical form; `from_json` of it is equal."""
        told = {**self.model_dump(mode="json", include=set(self.TEXT)), "settings": self.settings.canonical()}
        return json.dumps(told, sort_keys=True)
