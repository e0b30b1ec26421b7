"""Views that compare: a die's values against its lot so far, over a floor that moves the rows once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark.features.resolve import resolve_view
from fs_spark.features.resolve_inputs import Names
from fs_spark.features.table_view import TableView
from fs_spark.features.texts import ViewText
from fs_spark.transforms.kinds import COMPUTATIONS, Reach
from tests.perf.spatial import PARAMETERS, write_wide

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
