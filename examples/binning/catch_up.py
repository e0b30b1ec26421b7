"""After the wafers have run: their files are ingested, and the tables say what was pushed and decided before."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.binning.floor import Played
from examples.binning.model import SERVICE, Model
from examples.binning.prepare import DIE, asked, conf_of, is_last
from fs_spark import FeatureStore
from fs_spark.names import EVENT_TIMESTAMP

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KEYS_AT_ONCE = 2000


@dataclass(frozen=True)
class Caught:
    """How many pushed rows, answers and bins there are, and how many are the same."""

    rows: int
    same_rows: int
    answers: int
    same_before_export: int
    same_after_export: int
    bins: int
    same_bins: int

    @property
    def all_same(self) -> bool:
        return (
            self.rows == self.same_rows
            and self.answers == self.same_before_export == self.same_after_export
            and self.bins == self.same_bins
        )

    def to_text(self) -> str:
        return (
            f"{self.same_rows} of {self.rows} pushed rows are in the tables with the same bits\n"
            f"{self.same_before_export} of {self.answers} dies are answered online with these bits before the export, "
            f"{self.same_after_export} after it\n"
            f"{self.same_bins} of {self.bins} bins are those of the offline join and the same model"
        )


def bits(value: Any) -> Any:
    """Equal for equal bits; a missing value is None here and NaN there."""
    if isinstance(value, float):
        return None if value != value else struct.pack("<d", value)
    return value


def tables_of(store: FeatureStore, played: Played) -> dict[str, dict[tuple[Any, ...], dict[str, Any]]]:
    """By pushed view the newest row of each die in its table."""
    found: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    for view, pushed in played.pushed.items():
        wafers = {(lot, wafer) for lot, wafer, *_ in pushed}
        where = " OR ".join(f"(lot_id = '{lot}' AND wafer_id = '{wafer}')" for lot, wafer in sorted(wafers))
        rows = store.table(view).where(where).toArrow().sort_by(EVENT_TIMESTAMP).to_pylist()
        found[view] = {tuple(row[name] for name in DIE): row for row in rows}
    return found


def same_answers(store: FeatureStore, played: Played) -> int:
    """How many dies are answered online as their rows were pushed, event times too."""
    views = list(played.pushed)
    dies = list(played.pushed[views[0]])
    known = store.config.services[SERVICE].references
    features = [one.feature for one in known if one.view in views]
    same = 0
    with store.online() as online:
        times = {
            one.view.partition("__v")[0]: f"{one.prefix}{EVENT_TIMESTAMP}" for one in online.describe(SERVICE).views
        }
        for start in range(0, len(dies), KEYS_AT_ONCE):
            some = dies[start : start + KEYS_AT_ONCE]
            keys = [dict(zip(DIE, die, strict=True)) for die in some]
            for die, answer in zip(some, online.get(SERVICE, keys, features, with_times=True), strict=True):
                same += all(
                    _same(played.pushed[view][die], {**answer, EVENT_TIMESTAMP: answer[times[view]]}) for view in views
                )
    return same


def _same(pushed: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    return all(bits(value) == bits(row[name]) for name, value in pushed.items())


def offline_bins(store: FeatureStore, played: Played, model: Model, name: str) -> dict[tuple[Any, ...], int]:
    """The bins that the model gives to the rows of a training set, each die asked at the end of its last touchdown."""
    lots = ", ".join(f"'{lot}'" for lot in sorted({die[0] for die in played.bins}))
    rows: Sequence[dict[str, Any]] = store.training_set(
        asked(store, f"lot_id IN ({lots})"), [SERVICE], name=name
    ).df.toArrow().to_pylist()  # fmt: skip
    wafers = {die[:2] for die in played.bins}
    rows = [row for row in rows if (row["lot_id"], row["wafer_id"]) in wafers]
    bins = model.bins(rows, rows)
    return {tuple(row[name] for name in DIE): number for row, number in zip(rows, bins, strict=True)}


def catch_up(folder: Path, played: Played, spark: SparkSession | None = None, *, name: str = "played") -> Caught:
    """Ingests and materializes the wafers that were played, and compares; `played` are whole wafers."""
    store = FeatureStore.open(conf_of(folder), spark)
    store.ingest([path for path in sorted((folder / "floor").glob("*_CP1.stdf")) if is_last(path)])
    store.materialize()
    tables = tables_of(store, played)
    pairs = [(row, tables[view].get(die)) for view, rows in played.pushed.items() for die, row in rows.items()]
    before = same_answers(store, played)
    store.export(SERVICE)
    bins = offline_bins(store, played, Model.load(folder), name)
    return Caught(
        rows=len(pairs),
        same_rows=sum(row is not None and _same(pushed, row) for pushed, row in pairs),
        answers=len(next(iter(played.pushed.values()))),
        same_before_export=before,
        same_after_export=same_answers(store, played),
        bins=len(played.bins),
        same_bins=sum(bins.get(die) == number for die, number in played.bins.items()),
    )
