"""Features by key for a process that predicts; publishing is behind `protocol.open_store`, and needs pyarrow."""

from fs_spark.online.reader import AsyncOnlineReader, OnlineReader, open_online, open_online_async

__all__ = ["AsyncOnlineReader", "OnlineReader", "open_online", "open_online_async"]
