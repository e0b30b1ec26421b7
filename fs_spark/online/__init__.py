"""Features by key for a process that predicts. Reading needs no pyarrow; publishing (`protocol.open_store`) does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fs_spark.online.reader import AsyncOnlineReader, OnlineReader, open_online, open_online_async

if TYPE_CHECKING:
    from fs_spark.online.pushes import OnlinePusher, open_pusher

__all__ = ["AsyncOnlineReader", "OnlinePusher", "OnlineReader", "open_online", "open_online_async", "open_pusher"]


def __getattr__(name: str) -> Any:
    if name in ("OnlinePusher", "open_pusher"):
        from fs_spark.online import pushes

        return getattr(pushes, name)
    raise AttributeError(f"module 'fs_spark.online' has no attribute {name!r}")
