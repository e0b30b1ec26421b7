"""The online store in Redis 7 or later (extra `redis`): one server, behind sentinels, or a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fs_spark.online.redis_address import redis_address
from fs_spark.online.redis_source import AsyncRedisSource, RedisSource

if TYPE_CHECKING:
    from fs_spark.online.redis_writer import RedisOnline


def open_source(url: str) -> RedisSource:
    return RedisSource(redis_address(url))


def open_async_source(url: str) -> AsyncRedisSource:
    return AsyncRedisSource(redis_address(url))


def open_store(url: str, *, mode: int = 0o600) -> RedisOnline:
    """`mode` says nothing here: who may read is the server's matter."""
    from fs_spark.online.redis_writer import RedisOnline

    return RedisOnline(redis_address(url))


def is_published(url: str) -> bool:
    """Only the server knows."""
    redis_address(url)
    return True
