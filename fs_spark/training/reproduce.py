"""Rebuilds a training set from what its manifest pins, and compares digests."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame

from fs_spark.errors import FeatureNotFoundError, ReproductionError, RetentionError, did_you_mean
from fs_spark.recompute import moved_kernels, rows_from_source, versions_below
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables
from fs_spark.training.content import column_digests, digest_and_seen, digest_of
from fs_spark.training.pinned import joined_views, pinned_frames, stored_rows
from fs_spark.training.saved import TrainingSet, find_manifest, joined_as, manifests, spine_of
from fs_spark.training.statistics import heavy_keys, pruning_keys, pruning_of

log = logging.getLogger(__name__)


def needed_versions(
    manifest: Mapping[str, Any], *, from_source: bool, tables: Tables | None = None, state: RegistryState | None = None
) -> set[tuple[str, int]]:
    """Tables and Delta versions that a rebuild reads; from the source those of all levels, where the store is given."""
    content, pinned = manifest["content"], manifest["spine"]["pinned"]
    needed = {(pinned["table"], pinned["delta_version"])} if content["table"] is None else set()
    if content["table"] is not None:
        needed.add((content["table"], content["delta_version"]))
    for view in manifest["views"]:
        if not from_source:
            needed.add((view["table"], view["delta_version"]))
        elif tables is None or state is None or (view["view"], view["version"]) not in state.versions:
            needed |= set(view["sources"].items())
        else:
            of = state.versions[view["view"], view["version"]]
            needed |= versions_below(tables, state, of, view["sources"])
    return needed


def _check_versions(tables: Tables, state: RegistryState, manifest: Mapping[str, Any], *, from_source: bool) -> None:
    """Raises RetentionError that lists every version that cannot be read, before any job runs."""
    gone = []
    for table, version in sorted(needed_versions(manifest, from_source=from_source, tables=tables, state=state)):
        reason = tables.unreadable(table, version)
        if reason is not None:
            gone.append(f"- {table} at version {version}: {reason}")
    if gone:
        other = "the feature tables (without --from-source)" if from_source else "the ingested rows (--from-source)"
        raise RetentionError(
            f"training set {manifest['name']!r} cannot be rebuilt, versions are gone:\n"
            + "\n".join(gone)
            + f"\nHint: try {other}; `fs-spark vacuum` refuses to remove what a training set needs"
        )


def _frames_from_source(
    tables: Tables, state: RegistryState, manifest: Mapping[str, Any], only: Mapping[str, Sequence[Any]]
) -> dict[str, DataFrame]:
    """The views' rows by table, computed anew from the ingested rows with the pinned definitions and bindings."""
    frames = {}
    for pinned in manifest["views"]:
        view = state.pinned(pinned["view"], pinned["version"])
        name = manifest["name"]
        if view.definition_hash != pinned["definition_hash"]:
            raise ReproductionError(
                f"{view.qualified} is registered with another definition than the one of training set {name!r}.\n"
                "Hint: the registry table was changed; read it at an older version"
            )
        made_from = {
            "bindings": pinned["bindings"],
            "sources": pinned["sources"],
            "watermark": pinned.get("watermark_us"),
            "bound": pinned.get("bound_us"),
            "fit": pinned.get("fit"),
        }
        frames[pinned["table"]] = rows_from_source(tables, state, view, made_from, only)
    return frames


def _other_kernels(state: RegistryState, manifest: Mapping[str, Any]) -> list[str]:
    """Kernels that have another revision now than the rows were made by, a line for each view."""
    lines = []
    for pinned in manifest["views"]:
        moved = moved_kernels(state.pinned(pinned["view"], pinned["version"]), pinned.get("kernels", {}))
        named = ", ".join(f"{kernel} (revision {a} then, {b} now)" for kernel, (a, b) in moved.items())
        lines += [f"- {pinned['view']}__v{pinned['version']}: {named}"] if named else []
    return lines


def reproduce_training_set(
    tables: Tables, state: RegistryState, name: str, *, from_source: bool = False
) -> TrainingSet:
    """Rebuilds a training set from the pinned versions and compares digests; see `FeatureStore.reproduce`."""
    manifest = find_manifest(tables, name)
    if manifest is None:
        raise FeatureNotFoundError(f"training set {name!r} does not exist.\n{did_you_mean(name, manifests(tables))}")
    _check_versions(tables, state, manifest, from_source=from_source)
    spine = spine_of(tables, manifest)
    views, timestamp = manifest["views"], manifest["timestamp"]
    keys = pruning_keys([view.get("by") or view["keys"] for view in views])
    spine_digest, spine_rows, seen = digest_and_seen(spine, time=timestamp, keys=keys)
    if spine_digest != manifest["spine"]["digest"]:
        raise ReproductionError(f"the stored spine of {name!r} is not the one of its manifest: its table was changed")
    stored = joined_views(views, pinned_frames(tables, views)) if not from_source else None
    if stored is None:
        only = {key: sorted(values) for key, values in seen.keys.items() if values is not None}
        stored = joined_views(views, _frames_from_source(tables, state, manifest, only))
    counts = stored_rows(tables, views)
    heavy = heavy_keys(spine, stored, timestamp, spine_rows, stored=counts) if not from_source else []
    rebuilt = joined_as(manifest, spine, stored, pruning=pruning_of(seen), heavy=heavy)
    log.info("%s: %d spine rows are joined with %d views", name, spine_rows, len(views))
    digest, rows = digest_of(rebuilt)
    others = _other_kernels(state, manifest) if from_source else []
    if digest != manifest["content"]["digest"]:
        text = _differences(tables, manifest, rebuilt, digest, rows)
        if others:
            text += (
                "\nIts features were computed by other kernels:\n"
                + "\n".join(others)
                + "\nHint: reproduce it from the feature tables (without --from-source), or with the fs_spark that its "
                "manifest names"
            )
        raise ReproductionError(text)
    if others:
        log.warning("%s came out the same by other kernels than those it was made by:\n%s", name, "\n".join(others))
    return TrainingSet(name, rebuilt, manifest, tables)


def _differences(tables: Tables, manifest: Mapping[str, Any], rebuilt: DataFrame, digest: str, rows: int) -> str:
    """The columns that differ and, where the rows were kept, in how many values."""
    content = manifest["content"]
    found = column_digests(rebuilt)
    differing = [c for c, told in content["columns"].items() if found.get(c) != told]
    counts = dict.fromkeys(differing, "")
    if content["keep"] == "rows":
        saved = tables.read(content["table"], content["delta_version"])
        for name in differing:
            column = f"`{name}`"
            other = saved.select(column).exceptAll(rebuilt.select(column)).count()
            counts[name] = f" ({other} of {rows} values)"
    return (
        f"training set {manifest['name']!r} came out different: {rows} rows, digest {digest[:12]}; recorded were "
        f"{content['rows']} rows, digest {content['digest'][:12]}. Columns that differ: "
        f"{', '.join(name + count for name, count in counts.items()) or 'none alone'}"
    )
