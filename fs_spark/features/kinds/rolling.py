"""`rolling`: statistics of a group's last rows, as they were known before each instant."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict

from fs_spark.features.kinds.statistics import StatisticFeature

YEAR_US: Final = 365 * 86_400_000_000


class RollingTransform(BaseModel):
    """`max_age_us` is how old a row may be among the last N."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gives_states: ClassVar[bool] = True
    kind: Literal["rolling"] = "rolling"
    features: tuple[StatisticFeature, ...]
    max_age_us: int = YEAR_US

    @property
    def reach_us(self) -> int:
        """How long a row can count."""
        return max(
            feature.window.size if feature.window.kind == "time" else self.max_age_us for feature in self.features
        )
