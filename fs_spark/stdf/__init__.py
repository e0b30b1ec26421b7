"""STDF V4 in and out."""

from fs_spark.stdf.reader import StdfFile, read_stdf

__all__ = ["StdfFile", "read_stdf"]
