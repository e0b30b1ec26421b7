"""Attempts as plain dicts, as the oracles take them, and the same as the Arrow table that the kernels' door takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa

from fs_spark.wafer import WaferGeometry, rows_of_dies

Row = dict[str, Any]

UTC_US = pa.timestamp("us", tz="UTC")
TIMES = ("event_timestamp", "available_timestamp")
KEYS = ("die_x", "die_y", "event_timestamp", "available_timestamp", "sequence")
NO_MAP = WaferGeometry(center_x=0.0, center_y=0.0)
COUNTS = ["neighbor_count", "fail__neighbor_count", "fail__neighbor_frac"]
MOMENTS = ["{p}__neighbor_mean", "{p}__neighbor_std"]
SMALL_VALUES = [None, float("nan"), -1.5, 0.0, 0.25, 2.0, 8.0]


def attempt(
    x: int | None,
    y: int | None,
    time: int,
    passed: bool | None = True,
    *,
    available: int | None = None,
    run_id: str = "r1",
    wafer_id: str | None = "W1",
    part_index: int = 0,
    **values: float | None,
) -> Row:
    """One attempt; times are microseconds, and an equal time is one touchdown."""
    return {
        "lot_id": "L1",
        "wafer_id": wafer_id,
        "die_x": x,
        "die_y": y,
        "event_timestamp": time,
        "available_timestamp": time if available is None else available,
        "run_id": run_id,
        "part_index": part_index,
        "touchdown": time,
        "passed": passed,
        **values,
    }


def in_file_order(rows: Iterable[Row]) -> list[Row]:
    """The rows with `part_index` counted."""
    return [{**row, "part_index": index} for index, row in enumerate(rows)]


def as_table(rows: Sequence[Row], parameters: Sequence[str] = ()) -> pa.Table:
    kinds = {
        **dict.fromkeys(("lot_id", "wafer_id", "run_id"), pa.string()),
        **dict.fromkeys(("die_x", "die_y", "part_index", "touchdown"), pa.int32()),
        **dict.fromkeys(TIMES, UTC_US),
        "passed": pa.bool_(),
        **dict.fromkeys(parameters, pa.float64()),
    }
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()})


def as_rows(table: pa.Table) -> list[Row]:
    """Feature rows with times as microseconds."""
    for name in TIMES:
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].cast(pa.int64()))
    rows: list[Row] = table.to_pylist()
    return rows


def map_of(dies: Iterable[tuple[int, int]], pitch: tuple[int, int] = (1, 1)) -> WaferGeometry:
    return WaferGeometry(0.0, 0.0, pitch_x=pitch[0], pitch_y=pitch[1], rows=rows_of_dies(dies, pitch[0]))


def sorted_rows(table: pa.Table) -> pa.Table:
    keys = [name for name in KEYS if name in table.column_names]
    return table.sort_by([(name, "ascending") for name in keys])


def bits(table: pa.Table) -> dict[str, list[Any]]:
    """Columns of the sorted rows; doubles as their 64 bits, so that equal means bit for bit."""
    table = sorted_rows(table)
    columns: dict[str, list[Any]] = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_floating(column.type):
            words = column.fill_null(0.0).to_numpy(zero_copy_only=False).view(np.int64).tolist()
            columns[name] = [
                w if there else None for w, there in zip(words, column.is_valid().to_pylist(), strict=True)
            ]
        else:
            columns[name] = column.to_pylist()
    return columns


@st.composite
def wafers(draw: st.DrawFn, *, late: bool = False, pitch: tuple[int, int] = (1, 1)) -> list[Row]:
    """A few touchdowns over a small block of dies: retests, partial touchdowns, equal times, missing places, values."""
    rows: list[Row] = []
    time = 100
    for _ in range(draw(st.integers(0, 9))):
        time += draw(st.sampled_from([0, 1, 1, 5]))
        x0, y0 = draw(st.integers(-1, 2)), draw(st.integers(0, 2))
        run_id = draw(st.sampled_from(["r1", "r2"]))
        available = time + (draw(st.sampled_from([0, 1, 3, 8])) if late else 0)
        for dx, dy in draw(st.sets(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1)):
            nowhere = draw(st.integers(0, 19)) == 0
            rows.append(
                attempt(
                    None if nowhere else (x0 + dx) * pitch[0],
                    (y0 + dy) * pitch[1],
                    time,
                    draw(st.sampled_from([True, False, None])),
                    available=available,
                    run_id=run_id,
                    vdd=draw(st.sampled_from(SMALL_VALUES)),
                )
            )
    return in_file_order(rows)
