"""What a kind of view computes: its rows, and which units of them have to be computed again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pyspark.sql import DataFrame

from fs_spark.features.table_view import TableView


@dataclass(frozen=True)
class Reach:
    """How far rows reach, in microseconds.

    watermark_us  the greatest availability of the input that gives the rows, None where it has none
    bound_us      the least watermark of the states that are read as of an event, None where none are
    """

    watermark_us: int | None = None
    bound_us: int | None = None

    def of_view(self) -> int | None:
        """The view's own watermark."""
        if self.watermark_us is None or self.bound_us is None:
            return self.watermark_us
        return min(self.watermark_us, self.bound_us)


@dataclass(frozen=True)
class Scope:
    """Units to compute: `units` names them, or for states the instant of each bucket from which on they count."""

    units: DataFrame


class Computation(Protocol):
    """How a kind of view is computed; pure, frames in and out."""

    @property
    def revision(self) -> int:
        """Another one computes all units again."""

    def rows(
        self, frames: Sequence[DataFrame], view: TableView, *, reach: Reach, scope: Scope | None, buckets: int
    ) -> DataFrame:
        """The view's rows with their units, all or those of the scope."""

    def affected(
        self,
        frames: Sequence[DataFrame],
        changes: Sequence[DataFrame | None],
        view: TableView,
        *,
        before: Reach,
        reach: Reach,
        buckets: int,
    ) -> Scope | None:
        """The units that a change of inputs touches; `changes` are the changed rows of each, None where none are."""

    def within(self, stored: DataFrame, scope: Scope) -> DataFrame:
        """The stored rows of a scope."""


class SharedComputation(Computation, Protocol):
    """One whose rows are grouped by key first; several views can be computed from the same groups."""

    def moved(self, frames: Sequence[DataFrame], views: Sequence[TableView], buckets: int) -> DataFrame:
        """All rows of the input, shuffled once by bucket, with what any of the views reads of them."""

    def of_moved(self, moved: DataFrame, view: TableView, *, reach: Reach) -> DataFrame:
        """A view's rows from these."""
