"""STDF V4 in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fs_spark.stdf.reader import StdfFile, read_stdf

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["StdfFile", "read_stdf", "register_source"]


def register_source(spark: SparkSession) -> None:
    """Makes `spark.read.format("stdf")` and `readStream` known to a session; `build_session` has done it.

    Raises     ImportError before Spark 4.2
    Source     options: `fs_spark.stdf.source`
    """
    from fs_spark.stdf.source import register_source as register  # here: reading a file needs no Spark

    register(spark)
