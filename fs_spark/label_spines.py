"""Labels from sources, each read at the version that it has now: those of sources.yaml are brought in first, as by
`materialize`; the ingested tables are read as they stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame

from fs_spark import names as n
from fs_spark.binding import tests_of
from fs_spark.config import Configuration
from fs_spark.errors import RequestError, did_you_mean
from fs_spark.features.label_plan import LabelSource, plan_of_labels
from fs_spark.features.labels import LabelRequest
from fs_spark.features.table_view import UNIT_KEYS, SourceInput
from fs_spark.ingested_sources import INGESTED_SOURCES
from fs_spark.registry import Registry
from fs_spark.snapshot import Snapshot
from fs_spark.sources import bring_in
from fs_spark.tables import Tables
from fs_spark.transforms.labels import known_until, labeled_spine
from fs_spark.transforms.spatial import ProductBinding


@dataclass(frozen=True)
class _Rows:
    """A source's rows at one version, and how far they reach: now, and at a time before."""

    frame: DataFrame
    newest_us: int
    reached: Callable[[int], int | None]


def label_spine(tables: Tables, registry: Registry, config: Configuration, request: LabelRequest) -> DataFrame:
    """The rows of a request for labels; see `FeatureStore.spine`.

    Raises     RequestError where a source cannot answer it, before any table changes, or holds no rows
    """
    plan = plan_of_labels(request, config.sources)
    asked = _rows(tables, registry, config, plan.asked)
    counted = asked
    if plan.counted != plan.asked:
        counted = _rows(tables, registry, config, plan.counted)
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


def _rows(tables: Tables, registry: Registry, config: Configuration, source: LabelSource) -> _Rows:
    if source.text is None:
        return _ingested(tables, config, source)
    return _brought_in(tables, registry, config, source)


def _brought_in(tables: Tables, registry: Registry, config: Configuration, source: LabelSource) -> _Rows:
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

    return _Rows(rows, state.watermark_us, reached)


def _ingested(tables: Tables, config: Configuration, source: LabelSource) -> _Rows:
    snapshot, made = Snapshot.newest(tables), INGESTED_SOURCES[source.name]
    one = SourceInput(
        name=source.name, keys=dict.fromkeys(source.keys, "string"), columns=dict(source.columns),  # type: ignore[arg-type]
        knowledge="at_event", options=dict(source.options), by={},
    )  # fmt: skip
    insertion = source.options["insertion"]
    newest = made.watermark(tables, snapshot.versions, one, None)
    if newest is None:
        known = snapshot.read(n.WAFER_RUNS).select(n.INSERTION).distinct().collect()
        raise RequestError(
            f"source {source.name} holds no rows of insertion {insertion!r}.\n"
            f"{did_you_mean(insertion, [row[0] for row in known])}"
        )
    bindings = _bindings(config, source)
    rows = made.rows(tables, snapshot.versions, one, bindings)
    return _Rows(rows, newest, lambda at_us: made.watermark(tables, snapshot.versions, one, at_us))


def _bindings(config: Configuration, source: LabelSource) -> dict[str, ProductBinding]:
    """The tests of the parameters that are asked for, as the configuration names them now."""
    wanted = source.options.get("parameters", ())
    if not wanted:
        return {}
    config.require("products")
    known = {name for product in config.products for name in product.parameters}
    for name in wanted:
        if name not in known:
            raise RequestError(f"no product in products.yaml has a parameter {name!r}.\n{did_you_mean(name, known)}")
    return {one.product_id: ProductBinding(parameters=tests_of(one, wanted)) for one in config.products}
