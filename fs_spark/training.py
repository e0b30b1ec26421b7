"""Training sets: the point-in-time join of a spine with views at pinned versions, saved with a manifest.

The manifest names all that the rows came from, so that they can be rebuilt and compared bit for bit later.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType
from pyspark.storagelevel import StorageLevel

from fs_spark import names as n
from fs_spark.errors import (
    FeatureNotFoundError,
    ReproductionError,
    RequestError,
    SchemaError,
    TableConflictError,
    did_you_mean,
)
from fs_spark.features.view import FeatureReference, FeatureView
from fs_spark.registry import RegistryState
from fs_spark.schemas import TRAINING_SETS, TableLayout
from fs_spark.tables import Tables
from fs_spark.transforms.as_of import AsOfView, as_of_join
from fs_spark.transforms.digest import combine_digests, partition_digests

log = logging.getLogger(__name__)

MANIFEST_FORMAT: Final = 1
_PACKAGES: Final = ("fs_spark", "pyspark", "delta-spark", "pyarrow", "numpy")
Prefix = Literal["none", "view"]


@dataclass(frozen=True)
class TrainingSet:
    """`df` holds the spine's columns and the features; `manifest` what they came from."""

    name: str
    df: DataFrame = field(repr=False)
    manifest: dict[str, Any] = field(repr=False)

    @property
    def rows(self) -> int:
        return int(self.manifest["content"]["rows"])

    @property
    def digest(self) -> str:
        return str(self.manifest["content"]["digest"])


@dataclass(frozen=True)
class ChosenView:
    """A view version and which of its features are wanted: output column -> feature column."""

    view: FeatureView
    columns: dict[str, str]


def choose_views(references: Sequence[str], state: RegistryState, *, prefix: Prefix = "none") -> list[ChosenView]:
    """Resolves `view:feature` references against the registry, in the order in which views first appear.

    Raises     FeatureNotFoundError for an unknown view or feature, RequestError for text that is no reference
    """
    chosen: dict[str, ChosenView] = {}
    for text in references:
        try:
            wanted = FeatureReference.parse(text)
        except ValueError as fault:
            raise RequestError(str(fault)) from fault
        view = state.view(wanted.view, wanted.version)
        if wanted.feature not in view.columns:
            raise FeatureNotFoundError(
                f"view {view.qualified} has no feature {wanted.feature!r}.\n"
                f"{did_you_mean(wanted.feature, view.columns)}"
            )
        output = f"{view.name}__{wanted.feature}" if prefix == "view" else wanted.feature
        one = chosen.setdefault(view.qualified, ChosenView(view, {}))
        if output in one.columns:
            raise RequestError(f"{text!r} is asked for twice. Hint: name each feature once")
        one.columns[output] = wanted.feature
    if not chosen:
        raise RequestError("no feature was asked for. Hint: give references such as 'die_neighborhood:neighbor_count'")
    return list(chosen.values())


def digest_of(frame: DataFrame) -> tuple[str, int]:
    """Content digest and row count of a frame; the same for any order and partitioning of its rows."""
    parts = [(row["digest"], row["rows"]) for row in partition_digests(frame).collect()]
    return combine_digests(parts, list(frame.dtypes))


def _code_version() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _pinned(tables: Tables, chosen: Sequence[ChosenView]) -> list[dict[str, Any]]:
    """The views' part of a manifest, each at its newest Delta version."""
    missing = [c.view.qualified for c in chosen if not tables.exists(c.view.table)]
    if missing:
        raise RequestError(
            f"never materialized: {', '.join(missing)}. Hint: run `fs-spark materialize {' '.join(missing)}` first"
        )
    pinned = []
    for c in chosen:
        made_from = tables.watermark(c.view.table)
        pinned.append(
            {
                "view": c.view.name,
                "version": c.view.version,
                "definition_hash": c.view.definition_hash,
                "bindings": made_from.get("bindings", {}),
                "sources": made_from.get("sources", {}),
                "table": c.view.table,
                "delta_version": tables.version(c.view.table),
                "keys": list(c.view.keys),
                "boundary": c.view.boundary,
                "ttl_s": c.view.ttl.total_seconds() if c.view.ttl is not None else None,
                "columns": [list(pair) for pair in c.columns.items()],
            }
        )
    return pinned


def join_pinned(tables: Tables, spine: DataFrame, pinned: Sequence[dict[str, Any]], timestamp: str) -> DataFrame:
    """The join that a manifest describes."""
    views = [
        AsOfView(
            name=f"{p['view']}__v{p['version']}".replace(".", "_"),
            frame=tables.read(p["table"], p["delta_version"]),
            keys=tuple(p["keys"]),
            columns=dict(p["columns"]),
            boundary=p["boundary"],
            ttl=timedelta(seconds=p["ttl_s"]) if p["ttl_s"] is not None else None,
        )
        for p in pinned
    ]
    return as_of_join(spine, views, timestamp=timestamp)


def find_manifest(tables: Tables, name: str) -> dict[str, Any] | None:
    if not tables.exists(n.TRAINING_SETS):
        return None
    rows = tables.read(n.TRAINING_SETS).where(F.col("name") == name).collect()
    return dict(json.loads(rows[0]["manifest"])) if rows else None


def known_manifests(tables: Tables) -> list[str]:
    if not tables.exists(n.TRAINING_SETS):
        return []
    return sorted(row["name"] for row in tables.read(n.TRAINING_SETS).select("name").collect())


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise RequestError(f"{name!r} is no name of a training set. Hint: use [a-z0-9_], beginning with a letter")


def build_training_set(
    tables: Tables,
    state: RegistryState,
    spine: DataFrame,
    references: Sequence[str],
    *,
    name: str,
    timestamp: str,
    prefix: Prefix,
) -> TrainingSet:
    """Builds and saves a training set; see `FeatureStore.training_set`."""
    _check_name(name)
    chosen = choose_views(references, state, prefix=prefix)
    pinned = _pinned(tables, chosen)
    joined = join_pinned(tables, spine, pinned, timestamp)
    bad = [c for c in joined.columns if re.search(r"[ ,;{}()\n\t=]", c)]
    if bad:
        raise SchemaError(
            f"the spine's column names {bad} cannot be stored. Hint: rename them to letters, digits and _"
        )
    spine_digest, spine_rows = digest_of(spine)
    request = {
        "format": MANIFEST_FORMAT,
        "name": name,
        "timestamp": timestamp,
        "spine": {
            "columns": spine.columns,
            "types": [t for _, t in spine.dtypes],
            "rows": spine_rows,
            "digest": spine_digest,
        },
        "views": pinned,
    }
    before = find_manifest(tables, name)
    if before is not None and {key: before.get(key) for key in request} == request:
        log.info("training set %s exists with these very inputs", name)
        return _open(tables, before)
    joined = joined.persist(StorageLevel.DISK_ONLY)
    try:
        digest, rows = digest_of(joined)
        if before is not None:
            if before["content"]["digest"] == digest:
                return _open(tables, before)
            raise TableConflictError(
                f"training set {name!r} exists with other content: {before['content']['rows']} rows, digest "
                f"{before['content']['digest'][:12]}; these would be {rows} rows, digest {digest[:12]}.\n"
                "Hint: choose another name; a training set is never overwritten"
            )
        table = n.TRAINING_PREFIX + name
        tables.create(table, TableLayout(StructType(joined.schema.fields)), anew=True)
        tables.append(table, joined)
    finally:
        joined.unpersist()
    version = tables.version(table)
    content = {"table": table, "delta_version": version, "rows": rows, "digest": digest}
    stored, stored_rows = digest_of(tables.read(table, version))
    if (stored, stored_rows) != (digest, rows):
        raise ReproductionError(
            f"training set {name!r} was not stored as it was computed: {stored_rows} rows instead of {rows}.\n"
            "Hint: the inputs changed while they were read; run it again"
        )
    manifest = {**request, "content": content, "code": _code_version()}
    tables.create(n.TRAINING_SETS, TRAINING_SETS)
    text = json.dumps(manifest, sort_keys=True)
    row = tables.spark.createDataFrame([(name, digest, text)], TRAINING_SETS.schema)
    tables.append(n.TRAINING_SETS, row.coalesce(1), made_from={"training_set": manifest})
    return _open(tables, manifest)


def _open(tables: Tables, manifest: dict[str, Any]) -> TrainingSet:
    content = manifest["content"]
    return TrainingSet(manifest["name"], tables.read(content["table"], content["delta_version"]), manifest)


def load_training_set(tables: Tables, name: str) -> TrainingSet:
    """Raises FeatureNotFoundError with the names that exist."""
    manifest = find_manifest(tables, name)
    if manifest is None:
        raise FeatureNotFoundError(
            f"training set {name!r} does not exist.\n{did_you_mean(name, known_manifests(tables))}"
        )
    return _open(tables, manifest)


def reproduce_training_set(tables: Tables, name: str) -> TrainingSet:
    """Rebuilds a training set from the pinned versions and compares digests; see `FeatureStore.reproduce`."""
    saved = load_training_set(tables, name)
    manifest = saved.manifest
    spine = saved.df.select(*(F.col(f"`{c}`") for c in manifest["spine"]["columns"]))
    spine_digest, _ = digest_of(spine)
    if spine_digest != manifest["spine"]["digest"]:
        raise ReproductionError(f"the stored spine of {name!r} is not the one of its manifest: its table was changed")
    rebuilt = join_pinned(tables, spine, manifest["views"], manifest["timestamp"])
    digest, rows = digest_of(rebuilt)
    if digest != manifest["content"]["digest"]:
        differing = [c for c in rebuilt.columns if digest_of(rebuilt.select(c))[0] != digest_of(saved.df.select(c))[0]]
        raise ReproductionError(
            f"training set {name!r} came out different: {rows} rows, digest {digest[:12]}; recorded were "
            f"{saved.rows} rows, digest {saved.digest[:12]}. Columns that differ: "
            f"{', '.join(differing) or 'none alone'}"
        )
    return TrainingSet(name, rebuilt, manifest)
