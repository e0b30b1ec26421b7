"""What a view may set: radii, widths, weights and numbers of rings, with their units."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LATER: Final = frozenset({"pat_population", "wm_remove_single_fails"})
"""Settings that came after the first views were registered."""


class SpatialSettings(BaseModel):
    """Settings of the spatial features of a view; part of its definition, so that another value is a new version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gdbn_side_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    gdbn_corner_weight: float = Field(default=0.5, ge=0, allow_inf_nan=False)
    density_box_mm: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Half width of the square window."""
    density_sigma_mm: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    gradient_radius_mm: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    rings: int = Field(default=5, ge=1, le=100)
    sectors: int = Field(default=8, ge=1, le=360)
    edge_exclusion_mm: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """None: as the product's wafer map says."""
    pat_sigmas: float = Field(default=6.0, gt=0, allow_inf_nan=False)
    pat_population: Literal["passing", "all"] = "passing"
    """The parts whose values PAT limits are made of."""
    wm_remove_single_fails: bool = False
    """Whether fails without a failing neighbor count as passes in the features of the wafer's picture."""

    def canonical(self) -> dict[str, Any]:
        """As a definition's text holds it: a later setting is left out where it has its default, so that the hashes of
        views that were registered before it stay."""
        told = self.model_dump(mode="json")
        return {k: v for k, v in told.items() if k not in LATER or v != type(self).model_fields[k].default}

    @model_validator(mode="after")
    def _weighs_something(self) -> SpatialSettings:
        if self.gdbn_side_weight + self.gdbn_corner_weight == 0:
            raise ValueError("both GDBN weights are 0. Hint: give the side or the corner neighbors a positive weight")
        return self
