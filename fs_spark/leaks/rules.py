"""What a leak check is told beside the training set: its limits, and columns that say when features were."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fs_spark.errors import RequestError
from fs_spark.features.definition import Boundary


@dataclass(frozen=True)
class LeakLimits:
    """How much is looked at, and from where on a figure is implausible.

    sample      rows that are rebuilt; which ones depends on their content and the seed alone
    worlds      different futures of a wafer (or lot) that are computed from the ingested rows; each is the future of
                one time of the sample
    auc         a feature whose max(AUC, 1 - AUC) with a binary label reaches this is implausible
    class_rows  rows of each class below which no figure is trusted: by chance alone, 20 against 20 reach 0.95 once in
                some million times
    label_rows  rows that the label checks look at, a seeded share of a larger set; of wide sets fewer, so that never
                more than 20 million values are held
    view_rows   rows of a view that are held for the sample's keys; keys beyond it are left out, and counted
    """

    sample: int = 200
    seed: int = 0
    worlds: int = 8
    auc: float = 0.95
    class_rows: int = 20
    label_rows: int = 1_000_000
    view_rows: int = 200_000

    def __post_init__(self) -> None:
        for name in ("sample", "worlds", "class_rows", "label_rows", "view_rows"):
            if getattr(self, name) < 1:
                raise RequestError(f"LeakLimits: {name} is {getattr(self, name)}. Hint: give at least 1")
        if not 0.5 < self.auc <= 1.0:
            raise RequestError(f"LeakLimits: an auc of {self.auc}. Hint: give more than 0.5 and at most 1")


@dataclass(frozen=True)
class ViewTimes:
    """Columns of a training set that say when its features were: for sets whose views cannot be given.

    `event` and `available` are looked at as they are; `keys` name a row in the report.
    """

    name: str
    event: str | None = None
    available: str | None = None
    boundary: Boundary = "strictly_before"
    offset: timedelta = timedelta(0)
    keys: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        return [column for column in (self.event, self.available) if column is not None]
