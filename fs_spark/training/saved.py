"""Saved training sets: by name, with their rows and manifests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.errors import FeatureNotFoundError, SchemaError, did_you_mean
from fs_spark.tables import Tables
from fs_spark.training.compare import TrainingSetDiff, describe, diff_manifests
from fs_spark.training.manifest import read_manifest
from fs_spark.training.on_demand import outputs_by_view, with_demanded
from fs_spark.training.pinned import pinned_views
from fs_spark.transforms.as_of import AsOfView, as_of_join

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from fs_spark.training.outputs import ParquetFiles


@dataclass(frozen=True)
class TrainingSet:
    """`df` holds the spine's columns and the features; `manifest` what they came from; `tables` is its store."""

    name: str
    df: DataFrame = field(repr=False)
    manifest: dict[str, Any] = field(repr=False)
    tables: Tables | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        views = self.features
        count = sum(map(len, views.values()))
        told = f"{self.rows} rows, {count} features of {len(views)} views, digest {self.digest[:12]}"
        return f"TrainingSet({self.name!r}: {told})"

    @property
    def rows(self) -> int:
        return int(self.manifest["content"]["rows"])

    @property
    def digest(self) -> str:
        return str(self.manifest["content"]["digest"])

    @property
    def features(self) -> dict[str, list[str]]:
        """View -> its feature columns in `df`."""
        return outputs_by_view(self.manifest)

    def to_pandas(self) -> pd.DataFrame:
        """All rows in memory, times in UTC; integers and booleans with nulls are of pandas' nullable types."""
        from fs_spark.training.outputs import to_pandas

        return to_pandas(self.df)

    def to_arrow_batches(self, rows: int = 65536) -> pa.RecordBatchReader:
        """Record batches of at most `rows`, fetched as they are asked for, in no promised order."""
        from fs_spark.training.outputs import arrow_batches

        return arrow_batches(self.df, rows=rows)

    def to_parquet(
        self, folder: str | Path, *, rows_per_file: int = 1_000_000, split: str | None = None
    ) -> ParquetFiles:
        """Writes rows/part-*.parquet and manifest.json to `folder`, with `split` one folder per value of that column.

        Raises     RequestError where the folder holds anything but these very files
        """
        from fs_spark.training.outputs import write_parquet

        return write_parquet(self.df, folder, manifest=self.manifest, rows_per_file=rows_per_file, split=split)

    def log_to_mlflow(
        self, *, context: str = "training", tags: Mapping[str, str] | None = None, run_id: str | None = None
    ) -> str:
        """Logs it as an input of the active MLflow run (or of `run_id`) with its manifest, and gives the run's id.

        Raises     SetupError without MLflow, RequestError where no run is active
        """
        from fs_spark.training.outputs import log_input

        return log_input(self, context=context, tags=tags, run_id=run_id)


def spine_of(tables: Tables, manifest: Mapping[str, Any]) -> DataFrame:
    """The spine that a manifest describes, from the table that keeps it.

    Raises     RetentionError where its version is gone
    """
    content, pinned = manifest["content"], manifest["spine"]["pinned"]
    if content["table"] is None:
        return pinned_spine(tables, pinned)
    stored = tables.read(content["table"], content["delta_version"])
    return stored.select(*(F.col(f"`{c}`") for c in manifest["spine"]["columns"]))


def pinned_spine(tables: Tables, pinned: Mapping[str, Any]) -> DataFrame:
    """A table at a version, its chosen rows and columns under their new names."""
    rows = tables.read(pinned["table"], pinned["delta_version"])
    if pinned["where"] is not None:
        rows = rows.where(pinned["where"])
    columns = pinned["columns"] or rows.columns
    missing = [c for c in (*columns, *pinned["rename"]) if c not in rows.columns]
    if missing:
        raise SchemaError(f"table {pinned['table']} lacks {', '.join(missing)}; it has {', '.join(rows.columns)}")
    return rows.select(*(F.col(f"`{c}`").alias(pinned["rename"].get(c, c)) for c in columns))


def opened(tables: Tables, manifest: dict[str, Any]) -> TrainingSet:
    """Its rows as they are kept, or joined anew from its pinned versions where only its spine is."""
    content = manifest["content"]
    if content["keep"] == "rows":
        return TrainingSet(manifest["name"], tables.read(content["table"], content["delta_version"]), manifest, tables)
    spine = spine_of(tables, manifest)
    return TrainingSet(manifest["name"], joined_as(manifest, spine, pinned_views(tables, manifest)), manifest, tables)


def joined_as(manifest: Mapping[str, Any], spine: DataFrame, views: Sequence[AsOfView], **how: Any) -> DataFrame:
    """The rows that a manifest describes, of a spine and of views as they are joined."""
    timestamp = manifest["timestamp"]
    joined = as_of_join(spine, views, timestamp=timestamp, **how) if views else spine
    return with_demanded(joined, manifest["spine"]["columns"], timestamp, manifest.get("on_demand", ()))


def manifests(tables: Tables) -> dict[str, dict[str, Any]]:
    """Every saved manifest by name."""
    if not tables.exists(n.TRAINING_SETS):
        return {}
    by_name: dict[str, list[Mapping[str, str]]] = {}
    for row in tables.rows(n.TRAINING_SETS, ["name", "manifest"]).to_pylist():
        by_name.setdefault(row["name"], []).append(row)
    return {name: read_manifest(_first(rows)["manifest"], name) for name, rows in sorted(by_name.items())}


def find_manifest(tables: Tables, name: str, version: int | None = None) -> dict[str, Any] | None:
    """The saved manifest of this name (at a version of their table); of several, by `_first`, the same one always."""
    if not tables.exists(n.TRAINING_SETS):
        return None
    import pyarrow.compute as pc

    rows = tables.rows(
        n.TRAINING_SETS, ["name", "manifest"], version=version, where=pc.field("name") == name
    ).to_pylist()
    return read_manifest(_first(rows)["manifest"], name) if rows else None


def _first(rows: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """Of the manifests that builds at once saved under one name, before that was refused: the least kept version."""

    def order(row: Mapping[str, str]) -> tuple[int, str]:
        kept = json.loads(row["manifest"]).get("content", {}).get("delta_version")
        return (kept if kept is not None else -1, row["manifest"])

    return min(rows, key=order)


class TrainingSets(Mapping[str, TrainingSet]):
    """The saved training sets of a store, by name."""

    def __repr__(self) -> str:
        return f"TrainingSets({', '.join(self._manifests) or 'none is saved'})"

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._manifests = manifests(tables)

    def manifest(self, name: str) -> dict[str, Any]:
        """Raises FeatureNotFoundError with the names that exist."""
        if name not in self._manifests:
            raise FeatureNotFoundError(f"training set {name!r} does not exist.\n{did_you_mean(name, self._manifests)}")
        return self._manifests[name]

    def __getitem__(self, name: str) -> TrainingSet:
        return opened(self._tables, self.manifest(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._manifests)

    def __len__(self) -> int:
        return len(self._manifests)

    def describe(self, name: str) -> str:
        """What a training set was made of, readable by a person."""
        return describe(self.manifest(name))

    def diff(self, name: str, other: str) -> TrainingSetDiff:
        """Which views, versions, rows and columns differ between two."""
        return diff_manifests(self.manifest(name), self.manifest(other))
