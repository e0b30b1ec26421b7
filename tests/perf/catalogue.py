"""Views that compare: a die's values against its lot so far, over a floor that moves the rows once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore
from fs_spark.features.resolve import resolve_view
from fs_spark.features.resolve_inputs import Names
from fs_spark.features.table_view import TableView, ViewInput
from fs_spark.features.texts import ViewText
from fs_spark.synth import LotSpec, generate_lot
from fs_spark.transforms.kinds import COMPUTATIONS, Reach
from tests.perf.spatial import PARAMETERS, write_wide
from tests.stores import new_folder, open_store

Measurement = dict[str, Any]
Measured = Callable[[str, float, float, int], Measurement]
LOTS, WAFERS_A_LOT = 40, 25


def view_of() -> TableView:
    text = {
        "name": "die_in_lot", "version": "1.0", "entity": "die",
        "transform": {"kind": "against", "source": "attempts", "parameters": list(PARAMETERS), "population": "lot"},
        "features": [{"column": name, "statistics": ["rank", "robust_z"]} for name in PARAMETERS],
    }  # fmt: skip
    view, faults = resolve_view(ViewText.model_validate(text), Names({}, {}, lambda *_: None))
    assert view is not None, faults
    return view


def _write(frame: DataFrame, place: Path) -> None:
    frame.write.mode("overwrite").parquet(str(place))


def against(
    spark: SparkSession, folder: Path, best_of: Callable[..., list[float]], measured: Measured, scale: float
) -> Iterator[Measurement]:
    """Rank and robust z-score of four parameters; floor: attempts read and shuffled, ready output written."""
    wafers = max(round(LOTS * scale), 2) * WAFERS_A_LOT
    geometry = write_wide(folder / "wide", wafers)
    view = view_of()

    def attempts() -> DataFrame:
        """As the ingested source gives them: each lot in one task, rows of a lot together."""
        number = F.floor(F.substring("wafer_id", 2, 6).cast("int") / WAFERS_A_LOT).cast("string")
        known = F.unix_micros("event_timestamp")
        sequence = F.col("touchdown").cast("bigint") * (1 << 32) + F.col("part_index")
        rows = spark.read.parquet(str(folder / "wide")).withColumns(
            {"lot_id": number, "sequence": sequence, "__start": known, "__end": F.lit(2**63 - 1)}
        )
        kept = [*view.inputs[0].columns, "available_timestamp", "event_timestamp", "sequence", "__start", "__end"]
        moved = rows.select(*dict.fromkeys(kept)).repartition(F.col("lot_id"))
        return moved

    ready = folder / "ready"

    def made() -> DataFrame:
        rows = attempts().sortWithinPartitions("lot_id")
        return COMPUTATIONS["against"].rows([rows], view, reach=Reach(None), scope=None, buckets=16)

    _write(made(), ready)

    def floor() -> None:
        attempts().write.format("noop").mode("overwrite").save()
        _write(spark.read.parquet(str(ready)), folder / "floor")

    floor_s, run_s = best_of(2, floor, lambda: _write(made(), folder / "out"))
    yield measured("against", floor_s, run_s, wafers * len(geometry.dies))


def device_v2_1(spark: SparkSession, folder: Path, measured: Measured, scale: float) -> Iterator[Measurement]:
    """All views of a service from the ingested rows on, over the slowest of them alone (with its inputs there)."""
    wafers = max(round(14 * scale), 1)
    base = _ingested(spark, folder / "base", lots=max(round(22 * scale), 2), wafers=wafers)
    store = open_store(base, spark)
    dies = store.table("die_tests").where("insertion = '1'").count()
    views = {view.name: view for view in (store._state().view(name) for name in _views_of(store))}
    together = sorted(views)
    seconds: dict[str, float] = {}
    for name in ("all", *together, "all"):  # the first round warms the JVM
        chosen = together if name == "all" else [name]
        place = folder / "copy"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(base, place)
        if name == "all":
            shutil.rmtree(place / "store" / "basic_params__v1_0")
        copied = open_store(place, spark)
        below = [one.name for one in getattr(views.get(name), "inputs", ()) if isinstance(one, ViewInput)]
        if below:
            copied.materialize(below)
        start = time.perf_counter()
        report = copied.materialize(chosen, full=name == "basic_params")
        seconds[name] = time.perf_counter() - start
        assert name == "basic_params" or all(view.units_changed for view in report.views)
    alone = {name: round(took, 2) for name, took in seconds.items() if name != "all"}
    slowest = max(alone.values())
    yield {**measured("device_v2_1", slowest, seconds["all"], dies), "alone_s": alone}


def _views_of(store: FeatureStore) -> list[str]:
    return list(dict.fromkeys(one.view for one in store.config.services["device_v2_1"].references))


def _ingested(spark: SparkSession, folder: Path, *, lots: int, wafers: int) -> Path:
    """A store with lots that are ingested and views that are registered, the fitted one fitted."""
    new_folder(folder, views=None)
    for number in range(1, lots + 1):
        start = datetime(2025, 3, 3, 8) + timedelta(days=number)
        generate_lot(LotSpec(lot_id=f"SYN{number:04}", seed=number, wafers=wafers, start=start), folder / "in")
    store = open_store(folder, spark)
    store.ingest([folder / "in"])
    shutil.rmtree(folder / "in")
    store.apply()
    store.materialize(["basic_params"])
    store.fit("zscore_normalized")
    return folder
