"""Views at Delta versions: what a manifest says of them, and the join that it describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark.tables import Tables
from fs_spark.training.chosen import ChosenView, require_materialized
from fs_spark.training.rules import TrainingRules
from fs_spark.transforms.as_of import AsOfView


def pin_views(tables: Tables, chosen: Sequence[ChosenView], rules: TrainingRules) -> list[dict[str, Any]]:
    """The views' part of a manifest, each at its newest Delta version.

    Raises     RequestError that lists the views which were never materialized
    """
    require_materialized(tables, chosen)
    pinned = []
    for c in chosen:
        view = c.view
        version, made_from = tables.standing(view.table)
        ttl = rules.ttl.get(view.name, view.ttl)
        pinned.append(
            {
                "view": view.name,
                "version": view.version,
                "definition_hash": view.definition_hash,
                "bindings": made_from.get("bindings", {}),
                "sources": made_from.get("sources", {}),
                "kernels": made_from.get("kernels", {}),
                "table": view.table,
                "delta_version": version,
                "keys": list(view.keys),
                "parameters": list(view.parameters),
                "boundary": view.boundary,
                "availability": "ignored" if view.name in rules.ignore_availability else "respected",
                "offset_s": rules.offset.get(view.name, timedelta(0)).total_seconds(),
                "ttl_s": ttl.total_seconds() if ttl is not None else None,
                "columns": [list(pair) for pair in c.columns.items()],
                "times": rules.times and view.knowledge != "static",
            }
        )
    return pinned


def stored_rows(tables: Tables, pinned: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """How many rows each view has, as `heavy_keys` asks; None where the log alone does not say."""
    return {_name(p): tables.row_count(p["table"], p["delta_version"]) for p in pinned}


def _name(pinned: Mapping[str, Any]) -> str:
    return f"{pinned['view']}__v{pinned['version']}".replace(".", "_")


def joined_views(pinned: Sequence[Mapping[str, Any]], frames: Mapping[str, DataFrame]) -> list[AsOfView]:
    """What to join; `frames` are the views' rows by table."""
    views = []
    for p in pinned:
        views.append(
            AsOfView(
                name=_name(p),
                frame=frames[p["table"]],
                keys=tuple(p["keys"]),
                columns=dict(p["columns"]),
                boundary=p["boundary"],
                ttl=timedelta(seconds=p["ttl_s"]) if p["ttl_s"] is not None else None,
                offset=timedelta(seconds=p["offset_s"]),
                available_timestamp=None if p["availability"] == "ignored" else "available_timestamp",
                event_as=f"{p['view']}__event_timestamp" if p["times"] else None,
                age_as=f"{p['view']}__age_s" if p["times"] else None,
            )
        )
    return views


def pinned_frames(tables: Tables, pinned: Sequence[Mapping[str, Any]]) -> dict[str, DataFrame]:
    """The views' rows by table, each at its pinned version.

    Raises     RetentionError where a version is gone, before any job runs
    """
    return {p["table"]: tables.read(p["table"], p["delta_version"]) for p in pinned}


def pinned_views(tables: Tables, manifest: Mapping[str, Any]) -> list[AsOfView]:
    """The views of a training set at their pinned versions, as they are joined."""
    return joined_views(manifest["views"], pinned_frames(tables, manifest["views"]))


def spine_columns(frame: DataFrame, manifest: Mapping[str, Any]) -> DataFrame:
    """The spine of a training set's rows."""
    return frame.select(*(F.col(f"`{c}`") for c in manifest["spine"]["columns"]))
