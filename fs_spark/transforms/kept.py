"""Which ingested rows readers see: those of the batch that `files` names, of files whose status keeps rows."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n

_COUNTED = "__batch"


def batch_of(frame: DataFrame) -> Column:
    """The batch of a row; rows of tables from before there were batches are of the batch ''."""
    return F.coalesce(F.col(n.BATCH_ID), F.lit("")) if n.BATCH_ID in frame.columns else F.lit("")


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True)
class KeptFiles:
    """The files whose rows count, and of each the batch that does."""

    files: DataFrame
    """`files`, or its columns that say so."""
    few: frozenset[tuple[str, str]] | None = None
    """The same as pairs, where they are few: a filter by values, which needs no join."""

    def of(self, rows: DataFrame) -> DataFrame:
        """Their rows, with the batch as a column more."""
        with_batch = rows.withColumn(_COUNTED, batch_of(rows))
        if self.few is None:
            kept = self.files.where(F.col("status").isin(list(n.KEPT)))
            kept = kept.select(n.FILE_ID, batch_of(kept).alias(_COUNTED))
            return with_batch.join(F.broadcast(kept), [n.FILE_ID, _COUNTED], "left_semi")
        if not self.few:
            return with_batch.where("false")
        ids = ", ".join(_text(file_id) for file_id in sorted({file_id for file_id, _ in self.few}))
        pairs = ", ".join(_text(f"{batch} {file_id}") for file_id, batch in sorted(self.few))
        # the first alone reaches the statistics of the data files
        return with_batch.where(f"{n.FILE_ID} IN ({ids}) AND concat({_COUNTED}, ' ', {n.FILE_ID}) IN ({pairs})")


def only_kept(rows: DataFrame, *, kept: KeptFiles) -> DataFrame:
    """Rows of files that are ingested (or truncated, with their complete parts), each once.

    Nothing of an ingest that died half way or is running, of one that another ingest of the same file overtook, or of
    rows that were written anew since. The batch is no column of the result.
    """
    wanted = [name for name in rows.columns if name != n.BATCH_ID]
    return kept.of(rows).select(*wanted)


def only_runs(rows: DataFrame, *, runs: DataFrame) -> DataFrame:
    """Rows of these runs (some of `KeptFiles.of`), of the batches that count."""
    wanted = [name for name in rows.columns if name != n.BATCH_ID]
    keys = [n.RUN_ID, _COUNTED]
    with_batch = rows.withColumn(_COUNTED, batch_of(rows))
    return with_batch.join(F.broadcast(runs.select(*keys)), keys, "left_semi").select(*wanted)


def only_units(rows: DataFrame, *, units: DataFrame) -> DataFrame:
    """Rows whose keys are among the units, a small frame of keys."""
    return rows.join(F.broadcast(units), units.columns, "left_semi").select(*rows.columns)
