"""Labels from the store's sources: brought in as by `materialize`, then read at the versions that they have now."""

from __future__ import annotations

from pyspark.sql import DataFrame

from fs_spark.config import Configuration
from fs_spark.errors import RequestError
from fs_spark.features.label_plan import plan_of_labels
from fs_spark.features.labels import LabelRequest
from fs_spark.features.source import SourceText
from fs_spark.features.table_view import UNIT_KEYS
from fs_spark.registry import Registry
from fs_spark.sources import SourceState, bring_in
from fs_spark.tables import Tables
from fs_spark.transforms.labels import known_until, labeled_spine


def label_spine(tables: Tables, registry: Registry, config: Configuration, request: LabelRequest) -> DataFrame:
    """The rows of a request for labels; see `FeatureStore.spine`.

    Raises     RequestError where a source cannot answer it, before any table changes, or holds no rows
    """
    plan = plan_of_labels(request, config.sources)
    states: dict[str, SourceState] = {}
    for source in (plan.asked, plan.counted):
        if source.name not in states:
            states[source.name] = bring_in(tables, registry, source, config.folder)
            if states[source.name].watermark_us is None:
                raise RequestError(
                    f"source {source.name} holds no rows{' that pass its filter' if source.filter else ''}.\n"
                    "Hint: look at its place in sources.yaml; `fs-spark plan` says how it is read"
                )
    counted = states[plan.counted.name]
    rows = {name: _rows(tables, state) for name, state in states.items()}
    as_of_us, watermark_us = _known(rows[plan.counted.name], plan.counted, counted, request)
    return labeled_spine(
        rows[plan.asked.name], rows[plan.counted.name], plan, as_of_us=as_of_us, watermark_us=watermark_us
    )


def _rows(tables: Tables, state: SourceState) -> DataFrame:
    return tables.read(state.table, state.version).drop(*UNIT_KEYS)


def _known(rows: DataFrame, source: SourceText, state: SourceState, request: LabelRequest) -> tuple[int, int]:
    """The time of knowledge, and how far the label's source reached then."""
    newest, as_of_us = state.watermark_us, request.as_of_us
    assert newest is not None
    if as_of_us is None or as_of_us >= newest:
        return (newest if as_of_us is None else as_of_us), newest
    watermark = known_until(rows, source, as_of_us).collect()[0]["watermark"]
    if watermark is None:
        raise RequestError(
            f"source {source.name} held no rows at {request.as_of}, so that no label was known.\n"
            "Hint: ask `as_of` later"
        )
    return as_of_us, int(watermark)
