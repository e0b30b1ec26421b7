"""Manifests written by hand, of the published format."""

from __future__ import annotations

import json
from typing import Any

from fs_spark import names as n
from fs_spark.schemas import TRAINING_SETS
from fs_spark.tables import Tables
from fs_spark.training.manifest import read_manifest


def view_part(view: str, table: str, version: int, sources: dict[str, int]) -> dict[str, Any]:
    return {
        "view": view,
        "version": "1.0",
        "definition_hash": "0" * 64,
        "bindings": {},
        "sources": sources,
        "table": table,
        "delta_version": version,
        "keys": ["lot_id"],
        "parameters": [],
        "boundary": "strictly_before",
        "availability": "respected",
        "offset_s": 0.0,
        "ttl_s": None,
        "columns": [["value", "value"]],
        "times": False,
    }


def manifest_of(
    name: str, *, table: str | None = None, version: int | None = None, rows: int = 0, views: tuple[Any, ...] = ()
) -> dict[str, Any]:
    """One that keeps its rows in `table`, or else nothing: then its spine is `spines` at version 1."""
    pinned = {"table": "spines", "delta_version": 1, "columns": [], "where": None, "rename": {}}
    return {
        "format": 2,
        "name": name,
        "timestamp": "event_timestamp",
        "spine": {
            "columns": ["lot_id"],
            "types": ["string"],
            "rows": rows,
            "digest": "1" * 64,
            "pinned": None if table else pinned,
        },
        "views": list(views),
        "configuration": None,
        "content": {
            "keep": "rows" if table else "manifest",
            "table": table,
            "delta_version": version,
            "rows": rows,
            "digest": "0123456789abcdef" * 4,
            "columns": {},
            "empty": {},
        },
        "code": {"spark": "4.2.0"},
    }


def save(tables: Tables, *manifests: dict[str, Any]) -> None:
    tables.create(n.TRAINING_SETS, TRAINING_SETS)
    rows = [(m["name"], m["content"]["digest"], json.dumps(m)) for m in manifests]
    for name, _, text in rows:
        read_manifest(text, name)
    tables.append(n.TRAINING_SETS, tables.spark.createDataFrame(rows, TRAINING_SETS.schema).coalesce(1))
