"""`against`: a value beside those of the others of its population, as far as they were known."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from fs_spark.features.one_or_more import OneOrMore

Comparison = Literal["rank", "robust_z", "median_diff"]
COMPARISONS: Final[tuple[Comparison, ...]] = ("rank", "robust_z", "median_diff")


class AgainstFeature(BaseModel):
    """One column: how a row's value compares."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    column: str
    comparison: Comparison


class AgainstTransform(BaseModel):
    """`population` are the columns that the rows of one population share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gives_states: ClassVar[bool] = False
    kind: Literal["against"] = "against"
    population: tuple[str, ...]
    features: tuple[AgainstFeature, ...]
    revisions: Literal["all", "first"] = "all"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are compared, each once."""
        return tuple(dict.fromkeys(one.column for one in self.features))


class ComparisonsText(BaseModel):
    """Comparisons of a column: `rank` (percentile rank), `robust_z`, `median_diff`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    statistics: Annotated[tuple[Comparison, ...], OneOrMore, Field(min_length=1)]
    name: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]*$")
    """Stands for the column in names."""
    description: str = ""
    unit: str = ""
