"""Views that are computed from the same rows: these cross the shuffle once for all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from pyspark.sql import DataFrame
from pyspark.storagelevel import StorageLevel

from fs_spark.features.definition import View
from fs_spark.features.table_view import Input, SourceInput, TableView
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables
from fs_spark.transforms.kinds import SHARED
from fs_spark.view_inputs import ingested, input_frame


class SharedPasses:
    """The moved rows of one run, by what they are; each lies on disk from its first reader to the end of the run."""

    def __init__(self, tables: Tables, views: Sequence[View]) -> None:
        self._tables = tables
        self._views = [view for view in views if isinstance(view, TableView) and view.kind in SHARED]
        self._moved: dict[str, DataFrame] = {}
        self._readers: dict[str, list[TableView]] = {}
        for view in views:
            if isinstance(view, TableView) and (named := _group_of(view)) is not None:
                self._readers.setdefault(named, []).append(view)
        self._lock = Lock()

    def frame(self, view: TableView, one: Input, versions: Mapping[str, int], state: RegistryState) -> DataFrame:
        """The rows of an input at these versions; of an ingested source they are made once for all views of the run
        that read it alike."""
        bindings = state.bindings.get((view.name, view.version), {})
        whole = self._whole(view, versions, state) if one is view.inputs[0] else None
        if whole is None:
            return input_frame(self._tables, one, versions, bindings)
        source = ingested(one)
        assert source is not None
        assert source.narrowed is not None
        assert isinstance(one, SourceInput)
        return source.narrowed(whole, one)

    def _whole(self, view: TableView, versions: Mapping[str, int], state: RegistryState) -> DataFrame | None:
        named = _group_of(view)
        readers = self._readers.get(named, []) if named is not None else []
        source = ingested(view.inputs[0])
        if len(readers) < 2 or source is None or source.widest is None:
            return None
        inputs = [one for reader in readers if isinstance(one := reader.inputs[0], SourceInput)]
        bound = [state.bindings.get((reader.name, reader.version), {}) for reader in readers]
        together = source.widest(inputs, bound)
        if together is None:
            return None
        one, bindings = together
        of = [one.model_dump(mode="json"), {product: repr(bindings[product]) for product in sorted(bindings)}]
        key = json.dumps(["whole", of, dict(versions)], sort_keys=True, default=str)
        with self._lock:
            if key not in self._moved:
                made = source.rows(self._tables, versions, one, bindings)
                self._moved[key] = made.persist(StorageLevel.DISK_ONLY)
            return self._moved[key]

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
        frame = self.frame(view, view.inputs[0], versions, state)
        with self._lock:
            if named not in self._moved:
                moved = SHARED[view.kind].moved([frame], readers, buckets)
                self._moved[named] = moved.persist(StorageLevel.DISK_ONLY)
            return self._moved[named]

    def close(self) -> None:
        for frame in self._moved.values():
            frame.unpersist()
        self._moved.clear()


def _group_of(view: TableView) -> str | None:
    """What views have in common whose ingested rows can be made together; None for others."""
    one = view.inputs[0] if view.inputs else None
    source = ingested(one) if one is not None else None
    if not isinstance(one, SourceInput) or source is None or source.widest is None:
        return None
    return json.dumps([one.name, {k: v for k, v in one.options.items() if k not in ("parameters", "others")}])


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
