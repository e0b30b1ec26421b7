"""State rows that are not due yet: what the same rows of a source give when its watermark moves on and no row comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.features.table_view import TableView
from fs_spark.registry_state import RegistryState
from fs_spark.table_views import table_view_rows
from fs_spark.tables import Tables
from fs_spark.transforms.kinds import Reach, Scope
from fs_spark.transforms.kinds.state_kernel import FROM
from fs_spark.transforms.unit_columns import UNIT_BUCKET, span_start


def due_rows(
    tables: Tables, state: RegistryState, view: TableView, made_from: Mapping[str, Any], until_us: int
) -> DataFrame:
    """The rows of a view of states behind its watermark, up to `until_us`, from the inputs that `made_from` names.

    Raises  RetentionError where a version of an input is gone
    """
    watermark, buckets = made_from["watermark"], made_from.get("buckets") or state.buckets[view.table]
    units = tables.spark.range(buckets).select(
        F.col("id").cast("int").alias(UNIT_BUCKET), F.lit(span_start(watermark)).cast("bigint").alias(FROM)
    )
    reach = Reach(until_us)
    rows = table_view_rows(tables, view, made_from["sources"], reach, state, scope=Scope(units), buckets=buckets)
    return rows.where(F.unix_micros(n.EVENT_TIMESTAMP) > F.lit(watermark))
