"""Labels from sources, each read at the version that it has now: those of sources.yaml are brought in first, as by
`materialize`; the ingested tables are read as they stand."""

from __future__ import annotations

from pyspark.sql import DataFrame

from fs_spark.config import Configuration
from fs_spark.errors import RequestError
from fs_spark.features.label_plan import LabelSource, plan_of_labels
from fs_spark.features.labels import LabelRequest
from fs_spark.features.table_view import UNIT_KEYS
from fs_spark.ingested_sources import RowsNow, ingested_rows
from fs_spark.registry import Registry
from fs_spark.snapshot import Snapshot
from fs_spark.sources import bring_in
from fs_spark.tables import Tables
from fs_spark.transforms.labels import known_until, labeled_spine


def label_spine(tables: Tables, registry: Registry, config: Configuration, request: LabelRequest) -> DataFrame:
    """The rows of a request for labels; see `FeatureStore.spine`.

    Raises     RequestError where a source cannot answer it, before any table changes, or holds no rows
    """
    plan = plan_of_labels(request, config.sources)
    snapshot = Snapshot.newest(tables) if any(s.text is None for s in (plan.asked, plan.counted)) else None

    def rows(source: LabelSource) -> RowsNow:
        if source.text is not None:
            return _brought_in(tables, registry, config, source)
        assert snapshot is not None
        return ingested_rows(snapshot, config, source.name, source.columns, source.options)

    asked = rows(plan.asked)
    counted = rows(plan.counted) if plan.counted != plan.asked else asked
    as_of_us = counted.newest_us if request.as_of_us is None else request.as_of_us
    reached: int | None = counted.newest_us
    if as_of_us < counted.newest_us:
        reached = counted.reached(as_of_us)
    if reached is None:
        raise RequestError(
            f"source {plan.counted.name} held no rows at {request.as_of}, so that no label was known.\n"
            "Hint: ask `as_of` later"
        )
    return labeled_spine(asked.frame, counted.frame, plan, as_of_us=as_of_us, watermark_us=reached)


def _brought_in(tables: Tables, registry: Registry, config: Configuration, source: LabelSource) -> RowsNow:
    assert source.text is not None
    state = bring_in(tables, registry, source.text, config.folder)
    if state.watermark_us is None:
        raise RequestError(
            f"source {source.name} holds no rows{' that pass its filter' if source.text.filter else ''}.\n"
            "Hint: look at its place in sources.yaml; `fs-spark plan` says how it is read"
        )
    rows = tables.read(state.table, state.version).drop(*UNIT_KEYS)

    def reached(at_us: int) -> int | None:
        found: int | None = known_until(rows, source, at_us).collect()[0]["watermark"]
        return found

    return RowsNow(rows, state.watermark_us, reached)
