"""A small store, the verbs that change it, and what it holds: for jobs that die and jobs at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore
from fs_spark.ingest.ledger import ROWS
from tests.stores import INGESTED, VIEWS, label_spine, new_folder, open_store, rows, write_lot

SERVICE = "device_v2_0"
NAME = "bin_model"
DIE = {"lot_id": "SYN0001", "wafer_id": "W01", "die_x": 0, "die_y": 0}

Verb = Callable[[FeatureStore, Path], Any]
VERBS: dict[str, Verb] = {
    "ingest": lambda store, folder: store.ingest([folder / "in"]),
    "ingest again": lambda store, folder: store.ingest([folder / "in"], again=True),
    "apply": lambda store, folder: store.apply(),
    "materialize": lambda store, folder: store.materialize(),
    "train": lambda store, folder: store.training_set(label_spine(store), [SERVICE], name=NAME),
    "export": lambda store, folder: store.export(SERVICE),
    "vacuum": lambda store, folder: store.vacuum(keep_days=1),
    "repair": lambda store, folder: store.repair(),
}
ORDER = ("ingest", "apply", "materialize", "train", "export", "vacuum")


def walked(spark: SparkSession, folder: Path, verbs: tuple[str, ...], *, lots: tuple[int, ...] = (1,)) -> Path:
    """A store after these verbs; its delivered files lie in `folder`/in."""
    new_folder(folder)
    for lot in lots:
        write_lot(folder / "in", lot, wafers=1)
    store = open_store(folder, spark)
    for verb in verbs:
        VERBS[verb](store, folder)
    return folder


def copied(folder: Path, to: Path) -> Path:
    """A store can be moved as a whole; the paths of its files stay those of the first folder."""
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("in"))
    return to


def content(spark: SparkSession, folder: Path) -> dict[str, Any]:
    """Everything that a store tells, without places, times at which files came, and names of batches."""
    store = open_store(folder, spark)
    found: dict[str, Any] = {}
    for name in INGESTED:
        if (folder / "store" / name).exists():
            frame = store.table(name)
            named = {"path": F.substring_index("path", "/", -1)} if name == "files" else {}
            found[name] = rows(frame.drop("delivered_at", "batch_id").withColumns(named) if named else frame)
    for name in ROWS:  # rows that do not count are gone as well
        if name in found:
            found[f"all rows of {name}"] = store._tables.read(name).count()
    state = store._state()
    bound = sorted((key, sorted(digests.items())) for key, digests in state.binding_digests.items())
    found["registry"] = repr((sorted(state.versions), sorted(state.promoted.items()), bound, state.entries))
    for name in VIEWS:
        if name in state.promoted and (folder / "store" / f"{name}__v1_0").exists():
            found[name] = rows(store.table(name))
    for name, saved in store.training_sets().items():
        found[f"training set {name}"] = (saved.rows, saved.digest, rows(store.table(name)) == rows(saved.df))
    if (folder / "store" / "online.sqlite").exists():
        with store.online() as online:
            found["online"] = json.dumps(online.get(SERVICE, [DIE]), default=str)
    return found
