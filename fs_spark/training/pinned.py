"""Views at Delta versions: what a manifest says of them, and the join that it describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark.features.table_view import TableView
from fs_spark.tables import Tables
from fs_spark.training.chosen import ChosenView, require_materialized
from fs_spark.training.rules import TrainingRules
from fs_spark.transforms.as_of import AsOfView
from fs_spark.transforms.ordering import in_order


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
                "by": list(c.keys),
                "role": c.role,
                "parameters": list(view.bound_parameters),
                "boundary": view.boundary,
                "availability": "ignored" if view.name in rules.ignore_availability else "respected",
                "offset_s": rules.offset.get(view.name, timedelta(0)).total_seconds(),
                "ttl_s": ttl.total_seconds() if ttl is not None else None,
                "columns": [list(pair) for pair in c.columns.items()],
                "order": list(view.order_columns) if isinstance(view, TableView) else [],
                "times": rules.times and not view.is_static and c.is_asked,
                "skipping": sorted(c.skipping),
                "since": c.since,
                "last_event": "last_event_timestamp" if "last_event_timestamp" in view.times else None,
                "valid_to": "valid_to" if "valid_to" in view.times else None,
                "fit": made_from.get("fit"),
                "watermark_us": made_from.get("watermark"),
                "bound_us": made_from.get("bound"),
            }
        )
    return pinned


def stored_rows(tables: Tables, pinned: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """How many rows each view has, as `heavy_keys` asks; None where the log alone does not say."""
    return {view_name(p): tables.row_count(p["table"], p["delta_version"]) for p in pinned}


def view_called(pinned: Mapping[str, Any]) -> str:
    """How columns about a joined view begin: with its role, where it has one."""
    return f"{pinned['role']}__{pinned['view']}" if pinned.get("role") else str(pinned["view"])


def view_name(pinned: Mapping[str, Any]) -> str:
    """What a joined view is called in the join and in reports."""
    role = f"{pinned['role']}__" if pinned.get("role") else ""
    return f"{role}{pinned['view']}__v{pinned['version']}".replace(".", "_")


def joined_views(pinned: Sequence[Mapping[str, Any]], frames: Mapping[str, DataFrame]) -> list[AsOfView]:
    """What to join; `frames` are the views' rows by table."""
    views = []
    for p in pinned:
        frame, keys = frames[p["table"]], tuple(p.get("by") or p["keys"])
        for key, column in zip(p["keys"], keys, strict=True):
            if key != column:
                frame = frame.withColumnRenamed(key, column)
        frame = in_order(frame, p.get("order", ()))
        called = view_called(p)
        skipping = set(p.get("skipping") or ())
        plain = AsOfView(
            name=view_name(p),
            frame=frame,
            keys=keys,
            columns={output: column for output, column in p["columns"] if output not in skipping},
            boundary=p["boundary"],
            ttl=timedelta(seconds=p["ttl_s"]) if p["ttl_s"] is not None else None,
            offset=timedelta(seconds=p["offset_s"]),
            available_timestamp=None if p["availability"] == "ignored" else "available_timestamp",
            event_as=f"{called}__event_timestamp" if p["times"] else None,
            age_as=f"{called}__age_s" if p["times"] else None,
            last_event=p.get("last_event"),
            since_as=p.get("since"),
            valid_to=p.get("valid_to"),
        )
        if plain.all_outputs:
            views.append(plain)
        if skipping:
            columns = {output: column for output, column in p["columns"] if output in skipping}
            views.append(replace(
                plain, name=f"{plain.name}__known", columns=columns, event_as=None, age_as=None, since_as=None,
                nulls="skip",
            ))  # fmt: skip
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
