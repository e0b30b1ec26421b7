"""Which ingested rows readers see: those of the batch that `files` names, of files whose status keeps rows."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n

_COUNTED = "__batch"


def batch_of(frame: DataFrame) -> Column:
    """The batch of a row; rows of tables from before there were batches are of the batch ''."""
    return F.coalesce(F.col(n.BATCH_ID), F.lit("")) if n.BATCH_ID in frame.columns else F.lit("")


def kept_files(files: DataFrame) -> DataFrame:
    """file_id and batch of the files whose rows count."""
    kept = files.where(F.col("status").isin(list(n.KEPT)))
    return kept.select(n.FILE_ID, batch_of(kept).alias(_COUNTED))


def only_kept(rows: DataFrame, *, files: DataFrame) -> DataFrame:
    """Rows of files that are ingested (or truncated, with their complete parts), each once.

    Nothing of an ingest that died half way or is running, of one that another ingest of the same file overtook, or of
    rows that were written anew since. The batch is no column of the result.
    """
    wanted = [name for name in rows.columns if name != n.BATCH_ID]
    with_batch = rows.withColumn(_COUNTED, batch_of(rows))
    return with_batch.join(F.broadcast(kept_files(files)), [n.FILE_ID, _COUNTED], "left_semi").select(*wanted)


def kept_runs(runs: DataFrame, *, files: DataFrame) -> DataFrame:
    """The kept rows of `wafer_runs` with their batch, for `only_runs`."""
    with_batch = runs.withColumn(_COUNTED, batch_of(runs))
    return with_batch.join(F.broadcast(kept_files(files)), [n.FILE_ID, _COUNTED], "left_semi")


def only_runs(rows: DataFrame, *, runs: DataFrame) -> DataFrame:
    """Rows of these runs (some of `kept_runs`), of the batches that count."""
    wanted = [name for name in rows.columns if name != n.BATCH_ID]
    keys = [n.RUN_ID, _COUNTED]
    with_batch = rows.withColumn(_COUNTED, batch_of(rows))
    return with_batch.join(F.broadcast(runs.select(*keys)), keys, "left_semi").select(*wanted)


def only_units(rows: DataFrame, *, units: DataFrame) -> DataFrame:
    """Rows whose keys are among the units, a small frame of keys."""
    return rows.join(F.broadcast(units), units.columns, "left_semi").select(*rows.columns)
