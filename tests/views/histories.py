"""Random histories of the oracles as frames of the engine, and views of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from fs_spark.features.entity import Entity
from fs_spark.features.resolve import resolve_view
from fs_spark.features.resolve_inputs import Names
from fs_spark.features.source import SourceText
from fs_spark.features.table_view import TableView
from fs_spark.features.texts import ViewText

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS = {
    "row_id": "bigint", "number": "bigint", "customer_id": "string", "merchant": "string", "amount": "double",
    "kind": "string", "ok": "boolean", "paid_at": "timestamp", "known_at": "timestamp",
}  # fmt: skip
ENTITIES = {
    "customer": Entity(name="customer", keys={"customer_id": "string"}),
    "merchant": Entity(name="merchant", keys={"merchant": "string"}),
    "payment": Entity(name="payment", keys={"row_id": "bigint"}),
}


def at(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def us(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (zoned - EPOCH) // timedelta(microseconds=1)


def source(**more: Any) -> SourceText:
    given: dict[str, Any] = {
        "name": "payments", "parquet": "payments", "keys": ["row_id"], "columns": COLUMNS, "event": "paid_at",
        "available": "known_at", "order": ["number"],
    }  # fmt: skip
    return SourceText.model_validate({**given, **more})


def view_of(text: dict[str, Any], *sources: SourceText) -> TableView:
    named = {one.name: one for one in (sources or (source(),))}
    view, faults = resolve_view(ViewText.model_validate(text), Names(ENTITIES, named, lambda name, version: None))
    assert view is not None, faults
    return view


def raw_table(delivered: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows of a history as a source's own table holds them."""
    kinds = {"bigint": pa.int64(), "string": pa.string(), "double": pa.float64(), "boolean": pa.bool_(),
             "timestamp": pa.timestamp("us", "UTC")}  # fmt: skip
    names = {**{name: name for name in COLUMNS}, "paid_at": "event", "known_at": "available"}
    return pa.table(
        {
            name: pa.array([row[names[name]] for row in delivered], pa.int64()).cast(kinds[kind])
            if kind == "timestamp" else pa.array([row[names[name]] for row in delivered], kinds[kind])
            for name, kind in COLUMNS.items()
        }
    )  # fmt: skip


def frame(spark: SparkSession, delivered: Sequence[dict[str, Any]], text: SourceText) -> DataFrame:
    """The rows of a history as views read them."""
    from fs_spark.transforms.source_rows import FAULT, source_rows

    return source_rows(spark.createDataFrame(raw_table(delivered)), text).drop(FAULT)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return left == right or math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)
    return bool(left == right)


def write_parquet(folder: Path, name: str, delivered: Sequence[dict[str, Any]]) -> Path:
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(raw_table(delivered), folder / name)
    return folder / name
