"""What a materialization did, view by view."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class ViewOutcome:
    """What one materialization of a view did; `version` is its table's Delta version afterwards.

    A unit is what is computed and written as one: a wafer, for views of lots a lot, and for views of other kinds the
    rows of some keys in a span of 30 days, as `unit` says.
    """

    view: str
    table: str
    lots_recomputed: int
    units_changed: int
    units_removed: int
    version: int
    unit: str = "wafer"
    warnings: tuple[str, ...] = ()
    """Expectations that do not hold."""
    stopped: str | None = None
    """Why the rows of before stay in force, where they do."""

    waiting: str | None = None
    """Why it has no new rows yet: it, or a view that it reads, is not fitted."""

    @property
    def is_computed(self) -> bool:
        """Whether rows were computed anew, be they others or not."""
        return bool(self.lots_recomputed)


@dataclass(frozen=True)
class MaterializeReport:
    views: tuple[ViewOutcome, ...]
    dies_outside_map: dict[str, int] = field(default_factory=dict)
    sources: dict[str, int] = field(default_factory=dict)
    """Sources that were brought in -> the version of their rows."""

    def __repr__(self) -> str:
        told = [f"{v.view}: {v.units_changed} {v.unit}s written, {v.units_removed} removed" for v in self.views]
        told += [f"{count} dies of {product} off its map" for product, count in self.dies_outside_map.items()]
        return f"MaterializeReport({'; '.join(told)})"

    @property
    def exit_code(self) -> int:
        """0, or 4 where rows were not what was expected of them."""
        return 4 if any(view.stopped for view in self.views) else 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
