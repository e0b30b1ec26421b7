"""`aggregate`: statistics of all rows of an entity that closes: so far, or once it is complete."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from fs_spark.features.kinds.statistics import StatisticFeature


class Close(BaseModel):
    """When a group is complete: a number of rows or of different values, a row of a source, or a time without rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int | None = None
    of: str | None = None
    """The column whose different values are counted; absent: rows."""
    grace_us: int | None = None
    where: str | None = None
    """A row that says so, in canonical form."""


class AggregateTransform(BaseModel):
    """`so_far` gives states, as `rolling` does; `complete` one row at each close."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gives_states: ClassVar[bool] = True
    kind: Literal["aggregate"] = "aggregate"
    mode: Literal["so_far", "complete"] = "so_far"
    features: tuple[StatisticFeature, ...]
    close: Close | None = None
