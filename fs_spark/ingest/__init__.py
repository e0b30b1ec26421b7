"""Delivered files -> the ingested tables."""

from fs_spark.ingest.run import FileOutcome, IngestReport, ingest

__all__ = ["FileOutcome", "IngestReport", "ingest"]
