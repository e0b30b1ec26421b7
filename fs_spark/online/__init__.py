"""Features by key for a process that predicts; publishing is in `sqlite`, and needs pyarrow."""

from fs_spark.online.reader import OnlineReader, open_online

__all__ = ["OnlineReader", "open_online"]
