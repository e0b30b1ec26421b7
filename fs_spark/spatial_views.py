"""Tables of spatial views: which lots changed, their recomputation, and the replacement of what came out different."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from fs_spark import names as n
from fs_spark.binding import file_units
from fs_spark.features.engine import changed_kernels
from fs_spark.features.view import FeatureView
from fs_spark.outcomes import ViewOutcome
from fs_spark.registry_state import RegistryState
from fs_spark.schemas import view_layout
from fs_spark.snapshot import Snapshot
from fs_spark.tables import Tables, is_one_of
from fs_spark.transforms.digest import unit_checksum
from fs_spark.transforms.kept import only_runs, only_units
from fs_spark.transforms.spatial import ProductBinding, per_unit_features
from fs_spark.transforms.units import plan_of_view
from fs_spark.unit_tables import write_first_rows

log = logging.getLogger(__name__)


def _changed_lots(snapshot: Snapshot, made_from: dict[str, Any]) -> list[str] | None:
    """Lots of the files that came, went or were read anew since the stored rows were made; None = all of them."""
    sources = made_from.get("sources", {})
    if n.FILES not in sources:
        return None
    return snapshot.changed_lots(sources[n.FILES], sources.get(n.WAFER_RUNS))


def _is_gone(tables: Tables, made_from: dict[str, Any]) -> bool:
    """Whether a version that the stored rows were made from can no longer be read: then all lots are compared."""
    versions = {name: made_from["sources"].get(name) for name in (n.FILES, n.WAFER_RUNS)}
    reasons = [tables.unreadable(name, version) for name, version in versions.items() if version is not None]
    for reason in filter(None, reasons):
        log.info("a version that rows were made from is gone, so that all lots are compared: %s", reason)
    return any(reasons)


def view_rows(
    snapshot: Snapshot, view: FeatureView, bindings: dict[str, ProductBinding], lots: Sequence[str] | None
) -> DataFrame:
    """A view's rows over the kept rows of its insertion, of all lots or of some."""
    runs, dies = snapshot.kept_runs(), snapshot.read(n.DIE_TESTS)
    results = snapshot.tables.read(n.TEST_RESULTS, snapshot.versions[n.TEST_RESULTS]) if view.parameters else None
    if view.knowledge != "static":
        runs, dies = (frame.where(F.col(n.INSERTION) == view.insertion) for frame in (runs, dies))
    if lots is not None:
        chosen = F.col(n.LOT_ID).isin(list(lots))
        dies = dies.where(chosen)
        results = results.where(chosen) if results is not None else None
    if results is not None:
        results = only_runs(results, runs=runs)
    units = file_units(snapshot, view, bindings) if results is not None else None
    return per_unit_features(dies, results, view=view, bindings=bindings, units=units)


def rows_at(
    snapshot: Snapshot, view: FeatureView, bindings: dict[str, ProductBinding], only: Mapping[str, Sequence[Any]]
) -> DataFrame:
    """A view's rows of at least the lots that are named, where some are."""
    lots = only.get(n.LOT_ID)
    return view_rows(snapshot, view, bindings, None if lots is None else [str(lot) for lot in lots])


def materialize_spatial_view(
    snapshot: Snapshot, view: FeatureView, state: RegistryState, *, full: bool
) -> ViewOutcome | None:
    """Brings one view's table up to the snapshot, in one commit; a unit that comes out the same is not written.

    None where another job wrote the table meanwhile, or had brought it up to newer rows before: look again from a
    newer snapshot, since rows must not go back.
    """
    tables, key = snapshot.tables, (view.name, view.version)
    tables.create(view.table, view_layout(view))
    version, made_from = tables.standing(view.table)
    bindings, digests = state.bindings.get(key, {}), state.binding_digests.get(key, {})
    made_of = made_from.get("sources", {})
    if any(made_of.get(name, -1) > at for name, at in snapshot.versions.items()) or not (
        set(made_from.get("bindings", {})) <= set(digests)
    ):
        log.info("%s: another job has brought it up to newer rows", view.qualified)
        return None
    source: dict[str, Any] = {
        "view": view.qualified,
        "definition_hash": view.definition_hash,
        "bindings": digests,
        "sources": snapshot.versions,
        "kernels": plan_of_view(view).revisions,
    }
    lots: list[str] | None = None
    unit: Literal["wafer", "lot"] = "lot" if tuple(view.unit_keys) == n.LOT_KEYS else "wafer"
    moved = changed_kernels(made_from.get("kernels", {}), source["kernels"]) if made_from else {}
    for kernel, (then, now) in moved.items():
        log.info("%s: kernel %s has revision %d, its rows were made by %d", view.qualified, kernel, now, then)
    same_bindings = set(made_from.get("bindings", {}).items()) <= set(digests.items())
    if not full and made_from and same_bindings and not moved:
        if made_of[n.FILES] == snapshot.versions[n.FILES]:
            return ViewOutcome(view.qualified, view.table, 0, 0, 0, version, unit)
        try:
            lots = _changed_lots(snapshot, made_from)
        except Exception:
            if not _is_gone(tables, made_from):
                raise
            lots = None
        if lots == []:
            return ViewOutcome(view.qualified, view.table, 0, 0, 0, version, unit)
    log.info("%s: computing %s", view.qualified, "all lots" if lots is None else f"{len(lots)} lots")
    rows = view_rows(snapshot, view, bindings, lots)
    if tables.is_empty(view.table, version):
        first = write_first_rows(tables, view.table, rows, based_on=version, units=view.unit_keys, made_from=source)
        if first is None:
            log.info("%s: another job has written it meanwhile", view.qualified)
            return None
        log.info("%s: %d %ss written, the first ones", view.qualified, first.changed, unit)
        n_lots = tables.read(view.table, first.version).select(n.LOT_ID).distinct().count()
        return ViewOutcome(view.qualified, view.table, n_lots, first.changed, 0, first.version, unit)
    rows = rows.persist(StorageLevel.DISK_ONLY)
    try:
        changed, removed, all_new = _differences(tables.read(view.table, version), view, rows, lots)
        n_lots = len(lots) if lots is not None else len({unit[n.LOT_ID] for unit in [*changed, *removed]})
        again = changed
        if moved and not changed and not removed:
            # All came out the same: one unit is written again to say so, since Delta makes no commit of nothing.
            one = rows.select(*view.unit_keys).orderBy(*view.unit_keys).limit(1).collect()
            again = [row.asDict() for row in one]
        if again or removed:
            written = _replace(tables, view, rows, again, removed, based_on=version, source=source, all_new=all_new)
            if written is None:
                log.info("%s: another job has written it meanwhile", view.qualified)
                return None
            version = written
    finally:
        rows.unpersist()
    log.info("%s: %d %ss written, %d removed", view.qualified, len(changed), unit, len(removed))
    return ViewOutcome(view.qualified, view.table, n_lots, len(changed), len(removed), version, unit)


def _replace(
    tables: Tables,
    view: FeatureView,
    rows: DataFrame,
    changed: Sequence[dict[str, str]],
    removed: Sequence[dict[str, str]],
    *,
    based_on: int,
    source: dict[str, Any],
    all_new: bool,
) -> int | None:
    """Writes the units that changed and takes out those that are gone, in one commit, so that nobody sees half."""
    replacing: str | Sequence[str] | None = view.unit_keys if not all_new else None
    if removed:  # a unit without rows has no row to replace it by: the lots of all of them are written as a whole
        lots = sorted({unit[n.LOT_ID] for unit in [*changed, *removed]})
        units = tables.spark.createDataFrame([(lot,) for lot in lots], f"{n.LOT_ID} string")
        replacing = is_one_of(n.LOT_ID, lots)
    else:
        units = tables.spark.createDataFrame(
            [tuple(unit[k] for k in view.unit_keys) for unit in changed],
            ", ".join(f"{k} string" for k in view.unit_keys),
        )
    chosen = only_units(rows, units=units)
    return tables.swap(view.table, chosen, based_on=based_on, replacing=replacing, made_from=source)


def _differences(
    stored: DataFrame, view: FeatureView, rows: DataFrame, lots: Sequence[str] | None
) -> tuple[list[dict[str, str]], list[dict[str, str]], bool]:
    """Units to write and units to remove, and whether none of the units to write has rows already."""
    keys, columns = list(view.unit_keys), rows.columns
    if lots is not None:
        stored = stored.where(F.col(n.LOT_ID).isin(list(lots)))

    def sums(frame: DataFrame, name: str) -> DataFrame:
        return frame.groupBy(*keys).agg(F.struct(F.count(F.lit(1)), unit_checksum(columns)).alias(name))

    found = sums(rows, "new").join(sums(stored, "old"), keys, "full").where(~F.col("new").eqNullSafe(F.col("old")))
    told = found.select(*keys, F.col("new").isNull().alias("gone"), F.col("old").isNull().alias("is_new"))
    differing = told.collect()
    changed = [{k: row[k] for k in keys} for row in differing if not row["gone"]]
    removed = [{k: row[k] for k in keys} for row in differing if row["gone"]]
    return changed, removed, bool(changed) and all(row["is_new"] for row in differing)
