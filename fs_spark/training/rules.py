"""What a training set is asked for beside its spine and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from fs_spark.errors import FeatureNotFoundError, LeakageError, RequestError, did_you_mean
from fs_spark.training.chosen import ChosenView

Keep = Literal["rows", "spine", "manifest"]


@dataclass(frozen=True)
class PinnedTable:
    """A spine that is a table of the store at one of its Delta versions: `where` and `columns` choose from it.

    `rename` maps columns of the table to those of the spine, such as `{"run_start": "event_timestamp"}`.
    """

    table: str
    version: int
    columns: tuple[str, ...] = ()
    where: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingRules:
    """Rules of the join by view name, and what is kept of the result.

    offset              features as they stood that long before the spine's time
    ttl                 the oldest row that counts, instead of the view's own
    ignore_availability views whose rows count from their event on, however late they could be known
    times               adds `<view>__event_timestamp` and `<view>__age_s` of the chosen rows
    keep                `rows`: all of it; `spine`: the spine, whose features are joined anew at each reading;
                        `manifest`: nothing but the manifest, for a spine that is a PinnedTable
    """

    offset: Mapping[str, timedelta] = field(default_factory=dict)
    ttl: Mapping[str, timedelta] = field(default_factory=dict)
    ignore_availability: Sequence[str] = ()
    times: bool = False
    keep: Keep = "rows"

    def check(self, chosen: Sequence[ChosenView]) -> None:
        """Raises FeatureNotFoundError for a view that is not asked for, LeakageError for an offset that looks ahead."""
        names = [c.view.name for c in chosen]
        for what, views in (
            ("offset", self.offset),
            ("ttl", self.ttl),
            ("ignore_availability", self.ignore_availability),
        ):
            for name in views:
                if name not in names:
                    raise FeatureNotFoundError(f"{what}: view {name!r} is not asked for.\n{did_you_mean(name, names)}")
        for name, offset in self.offset.items():
            if offset < timedelta(0):
                raise LeakageError(f"view {name}: an offset of {offset} would look ahead. Hint: give it positive")
        for name, ttl in self.ttl.items():
            if ttl < timedelta(0):
                raise RequestError(f"view {name}: a ttl of {ttl} is negative. Hint: give it positive")
