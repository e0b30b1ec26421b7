"""Views that are computed from the same rows: these cross the shuffle once for all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from pyspark.sql import DataFrame
from pyspark.storagelevel import StorageLevel

from fs_spark.features.definition import View
from fs_spark.features.table_view import TableView
from fs_spark.registry import RegistryState
from fs_spark.tables import Tables
from fs_spark.transforms.kinds import SHARED
from fs_spark.view_inputs import ingested, input_frame


class SharedPasses:
    """The moved rows of one run, by what they are; each lies on disk from its first reader to the end of the run."""

    def __init__(self, tables: Tables, views: Sequence[View]) -> None:
        self._tables = tables
        self._views = [view for view in views if isinstance(view, TableView) and view.kind in SHARED]
        self._moved: dict[str, DataFrame] = {}
        self._lock = Lock()

    def moved(
        self, view: TableView, versions: Mapping[str, int], state: RegistryState, *, buckets: int
    ) -> DataFrame | None:
        """The rows that a view is computed from, grouped as it needs them; None where no other view of this run reads
        the same ones."""
        of = _rows_of(view, state)
        readers = [one for one in self._views if _rows_of(one, state) == of]
        if len(readers) < 2:
            return None
        named = json.dumps([of, dict(versions), buckets], sort_keys=True, default=str)
        with self._lock:
            if named not in self._moved:
                bindings = state.bindings.get((view.name, view.version), {})
                frames = [input_frame(self._tables, view.inputs[0], versions, bindings)]
                moved = SHARED[view.kind].moved(frames, readers, buckets)
                self._moved[named] = moved.persist(StorageLevel.DISK_ONLY)
            return self._moved[named]

    def close(self) -> None:
        for frame in self._moved.values():
            frame.unpersist()
        self._moved.clear()


def _rows_of(view: TableView, state: RegistryState) -> dict[str, Any]:
    """What decides which rows a view reads, and how they are grouped."""
    one = view.inputs[0]
    said = one.model_dump(mode="json", exclude={"columns", "meaning", "called"})
    said["keys_of_view"] = dict(view.key_types)
    said["by_meaning"] = {name: getattr(one, "meaning", {}).get(name) for name in ("order", "filter")}
    if ingested(one) is not None:  # its rows are made for the view that reads them
        said["columns"] = dict(one.columns)
        said["bindings"] = state.binding_digests.get((view.name, view.version), {})
    return said
