"""A store whose views read a source of random histories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from tests.views.histories import COLUMNS

SOURCES: dict[str, Any] = {
    "payments": {
        "parquet": "../in/payments", "keys": ["row_id"], "columns": COLUMNS, "event": "paid_at",
        "available": "known_at", "order": ["number"],
    },
}  # fmt: skip
ENTITIES = {"customer": {"keys": {"customer_id": "string"}}, "payment": {"keys": {"row_id": "bigint"}}}
VIEWS: dict[str, Any] = {
    "activity": {
        "entity": "customer", "ttl": "30 d",
        "transform": {"kind": "rolling", "source": "payments"},
        "features": [{"column": "amount", "statistics": ["mean", "std", "median", "slope"],
                      "windows": ["6 h", "1 d", "3 r"]},
                     {"statistics": "rows", "windows": "1 d"}],
    },
    "values": {
        "entity": "payment",
        "transform": {"kind": "expressions", "source": "payments"},
        "features": {"doubled": "amount * 2", "is_a": "kind = 'a'"},
    },
    "relative": {
        "entity": "payment",
        "transform": {"kind": "expressions", "inputs": [
            {"view": "paid", "as": "p"},
            {"view": "activity", "as": "c", "as_of": True, "by": {"customer_id": "customer"}},
        ]},
        "features": {"ratio": "p.amount / c.amount__mean_24h", "before": "c.rows_24h"},
    },
    "paid": {
        "entity": "payment",
        "transform": {"kind": "columns", "source": "payments"},
        "features": ["amount", {"name": "customer", "column": "customer_id"}],
    },
}  # fmt: skip


def write_conf(
    folder: Path, views: Mapping[str, Any] = VIEWS, *, sources: Mapping[str, Any] = SOURCES,
    entities: Mapping[str, Any] = ENTITIES, services: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    conf = folder / "conf"
    (conf / "views").mkdir(parents=True, exist_ok=True)
    (conf / "store.yaml").write_text("root: ../store\nonline: sqlite:///../store/online.sqlite\n")
    (conf / "entities.yaml").write_text(yaml.safe_dump({"entities": dict(entities)}, sort_keys=False))
    (conf / "sources.yaml").write_text(yaml.safe_dump({"sources": dict(sources)}, sort_keys=False))
    if services is not None:
        (conf / "services.yaml").write_text(yaml.safe_dump({"services": dict(services)}, sort_keys=False))
    for name, text in views.items():
        body = {"name": name, "version": "1.0", **text}
        (conf / "views" / f"{name}.yaml").write_text(yaml.safe_dump(body, sort_keys=False))
    return conf / "store.yaml"


def open_views(folder: Path, spark: SparkSession) -> FeatureStore:
    return FeatureStore.open(folder / "conf" / "store.yaml", spark)
