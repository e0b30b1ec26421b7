"""Fits a view once, from the rows that its text names, and keeps what was fitted in the registry."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window
from pyspark.storagelevel import StorageLevel

from fs_spark import names as n
from fs_spark.errors import RequestError
from fs_spark.features.kinds.fitted import Fit, FitRows, FittedTransform
from fs_spark.features.table_view import TableView, ViewInput
from fs_spark.registry import Registry
from fs_spark.tables import Tables
from fs_spark.transforms.kinds.fitted import fitted_measures, values_of
from fs_spark.view_inputs import as_defined

log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class FitReport:
    """What was fitted for a view version: from how many rows, known until when, into how many groups."""

    view: str
    rows: int
    groups: int
    known_until: datetime
    digest: str
    sources: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def fit_view(tables: Tables, registry: Registry, name: str) -> FitReport:
    """See `FeatureStore.fit`."""
    view = registry.state().view(name)
    if not isinstance(view, TableView) or not isinstance(view.transform, FittedTransform):
        raise RequestError(f"{view.qualified} is of kind {view.kind}: there is nothing to fit")
    if view.fit is not None:
        raise RequestError(
            f"{view.qualified} is fitted already, from {view.fit.rows} rows (digest {view.fit.digest[:12]}).\n"
            f"Hint: another fit is another version: `fs-spark fit {view.name} --from ... --to ...` writes its text"
        )
    one = view.inputs[0]
    assert isinstance(one, ViewInput)
    if not tables.exists(one.table):
        raise RequestError(
            f"{one.name} v{one.version}, from which {view.name} is fitted, was never materialized. "
            f"Hint: run `fs-spark materialize {one.name}`"
        )
    version, _ = tables.standing(one.table)
    if not set(one.order) <= set(tables.columns(one.table, version)):
        raise RequestError(
            f"{one.name} v{one.version} was made before rows of one event kept their order. "
            f"Hint: run `fs-spark materialize {one.name}__v{one.version}` first"
        )
    rows = _chosen(_newest(as_defined(tables.read(one.table, version), one), one), view.transform.rows)
    rows = rows.persist(StorageLevel.DISK_ONLY)
    try:
        count, known_us = _counted(rows, view, one)
        values = values_of([row.asDict() for row in fitted_measures(rows, view.transform).collect()])
    finally:
        rows.unpersist()
    lacking = sorted({m.column for m in view.transform.measures if m.key not in values})
    if lacking:
        raise RequestError(
            f"{view.qualified}: {', '.join(lacking)} has no value in any of the {count} rows. Hint: fit other rows"
        )
    fit = Fit(sources={one.table: version}, rows=count, known_us=known_us, values=values)
    registry.add_fit(view, fit.digest, fit.to_json())
    groups = max(len(listed) for listed in values.values())
    log.info("%s: fitted from %d rows, %d groups", view.qualified, count, groups)
    known = _EPOCH + timedelta(microseconds=known_us)
    return FitReport(view.qualified, count, groups, known, fit.digest, dict(fit.sources))


def _newest(rows: DataFrame, one: ViewInput) -> DataFrame:
    """Of each event what was known last; rows that nothing tells apart count once, by their content."""
    identity = [*one.keys, n.EVENT_TIMESTAMP, n.SEQUENCE, *one.order]
    content = sorted(c for c in rows.columns if c not in identity and c != n.AVAILABLE_TIMESTAMP)
    order = Window.partitionBy(*(F.col(f"`{c}`") for c in identity)).orderBy(
        F.col(n.AVAILABLE_TIMESTAMP).desc(), F.struct(*(F.col(f"`{c}`") for c in content)).desc()
    )
    return rows.withColumn("__nth", F.row_number().over(order)).where("__nth = 1").drop("__nth")


def _chosen(rows: DataFrame, wanted: FitRows) -> DataFrame:
    event = F.unix_micros(n.EVENT_TIMESTAMP)
    if wanted.begin_us is not None:
        rows = rows.where(event >= F.lit(wanted.begin_us))
    if wanted.end_us is not None:
        rows = rows.where(event < F.lit(wanted.end_us))
    for column, values in wanted.among.items():
        rows = rows.where(F.col(f"`{column}`").isin(list(values)))
    return rows


def _counted(rows: DataFrame, view: TableView, one: ViewInput) -> tuple[int, int]:
    """How many rows there are, and when the last of them was known.

    Raises     RequestError where there are none, or none of a value that the text names
    """
    assert isinstance(view.transform, FittedTransform)
    wanted = view.transform.rows
    known = F.greatest(F.unix_micros(n.EVENT_TIMESTAMP), F.unix_micros(n.AVAILABLE_TIMESTAMP))
    told = rows.agg(
        F.count(F.lit(1)).alias("rows"), F.max(known).alias("known"),
        *(F.collect_set(f"`{column}`").alias(f"has_{k}") for k, column in enumerate(wanted.among)),
    ).collect()[0]  # fmt: skip
    gone = [
        f"{column} {', '.join(map(str, lacking))}"
        for k, (column, values) in enumerate(wanted.among.items())
        if (lacking := [value for value in values if value not in told[f"has_{k}"]])
    ]
    if gone or not told["rows"]:
        what = f"no row of {'; '.join(gone)}" if gone else "no row of what its text names"
        raise RequestError(
            f"{view.qualified} cannot be fitted: {one.name} v{one.version} has {what}.\n"
            "Hint: bring these rows in and materialize it, or name others in a new version"
        )
    return int(told["rows"]), int(told["known"])
