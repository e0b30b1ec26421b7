"""Which ingested rows readers see: those of files whose status keeps rows."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n


def only_kept(rows: DataFrame, *, files: DataFrame) -> DataFrame:
    """Rows of files that are ingested (or truncated, with their complete parts); nothing of a half-done ingest."""
    kept = files.where(F.col("status").isin(list(n.KEPT))).select(n.FILE_ID)
    return rows.join(F.broadcast(kept), n.FILE_ID, "left_semi").select(*rows.columns)


def only_units(rows: DataFrame, *, units: DataFrame) -> DataFrame:
    """Rows whose keys are among the units, a small frame of keys."""
    return rows.join(F.broadcast(units), units.columns, "left_semi").select(*rows.columns)
