"""A store of payments and of readings of every type, without a tester's file, to export in tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from tests.views.histories import COLUMNS, write_parquet

NOON = datetime(2025, 3, 3, 12, tzinfo=UTC)
TYPES = {
    "flag": ("boolean", pa.bool_()), "small": ("int", pa.int32()), "big": ("bigint", pa.int64()),
    "ratio": ("double", pa.float64()), "note": ("string", pa.string()), "due": ("date", pa.date32()),
    "seen": ("timestamp", pa.timestamp("us", "UTC")), "profile": ("array<double>", pa.list_(pa.float64())),
}  # fmt: skip
KEYS = {
    "day": ("date", pa.date32()), "site": ("int", pa.int32()), "line": ("bigint", pa.int64()),
    "name": ("string", pa.string()),
}  # fmt: skip
ACTIVITY: dict[str, Any] = {
    "name": "activity", "version": "1.0", "entity": "customer", "ttl": "3 d", "sla": "12 h",
    "transform": {"kind": "rolling", "source": "payments", "max_age": "2 d"},
    "features": [
        {"column": "amount", "statistics": ["sum", "mean"], "windows": ["6 h", "1 d"]},
        {"column": "kind", "statistics": ["last"], "windows": ["6 h"]},
        {"statistics": ["rows"], "windows": ["3 r"]},
    ],
}  # fmt: skip
READINGS: dict[str, Any] = {
    "name": "readings", "version": "1.0", "entity": "place", "ttl": "10 d", "sla": "1 d",
    "transform": {"kind": "columns", "source": "readings"}, "features": list(TYPES),
}  # fmt: skip
PAID: dict[str, Any] = {
    "feature": "payer.activity:amount__mean_24h", "as": "payer_mean", "nulls": "skip",
}  # fmt: skip
SERVICES: dict[str, Any] = {
    "spending": {
        "features": [
            "activity:amount__sum_6h", "activity:amount__sum_24h", "activity:rows_3r", "activity:since_last",
            {"feature": "activity:kind__last_6h", "nulls": "skip"}, PAID, "payer.activity:rows_3r",
        ],
        "roles": {"payer": {"customer_id": "payer_id"}},
    },
    "places": {"features": [f"readings:{name}" for name in TYPES]},
}  # fmt: skip


def reading(hours: int, known: int | None = None, **values: Any) -> dict[str, Any]:
    """A row of the source `readings`: of a place, some hours from noon, known after as many."""
    place = {"day": date(2025, 3, 3), "site": 1, "line": 2**40, "name": "µ"}
    times = {
        "happened": NOON + timedelta(hours=hours),
        "told": NOON + timedelta(hours=hours if known is None else known),
    }
    plain: dict[str, Any] = dict.fromkeys([*TYPES, "ends"])
    return {**plain, **place, **times, **values}


def write_readings(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    utc = pa.timestamp("us", "UTC")
    kinds = {name: kind for name, (_, kind) in {**KEYS, **TYPES}.items()} | {"happened": utc, "told": utc, "ends": utc}
    table = pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()})
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "all.parquet")


def open_payments(
    folder: Path,
    spark: SparkSession,
    payments: Sequence[dict[str, Any]],
    readings: Sequence[dict[str, Any]],
    files: Mapping[str, Any] | None = None,
) -> FeatureStore:
    """A store with both sources, its views applied and materialized; `files` are further ones of its configuration."""
    write_parquet(folder / "payments", "one.parquet", payments)
    write_readings(folder / "readings", readings)
    kinds = {name: kind for name, (kind, _) in {**KEYS, **TYPES}.items()}
    conf = {
        "store.yaml": {"root": "../store", "online": "sqlite:///../store/online.sqlite"},
        "entities.yaml": {"entities": {
            "customer": {"keys": {"customer_id": "string"}}, "place": {"keys": {k: kinds[k] for k in KEYS}},
        }},
        "sources.yaml": {"sources": {
            "payments": {"parquet": "../payments", "keys": ["row_id"], "columns": COLUMNS, "event": "paid_at",
                         "available": "known_at", "order": ["number"]},
            "readings": {"parquet": "../readings", "keys": list(KEYS), "event": "happened", "available": "told",
                         "valid_to": "ends",
                         "columns": {**kinds, "happened": "timestamp", "told": "timestamp", "ends": "timestamp"}},
        }},
        "services.yaml": {"services": SERVICES},
        "views/activity.yaml": ACTIVITY,
        "views/readings.yaml": READINGS,
    }  # fmt: skip
    for name, text in {**conf, **(files or {})}.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(text, sort_keys=False))
    store = FeatureStore.open(folder / "conf" / "store.yaml", spark)
    store.apply()
    store.materialize()
    return store
