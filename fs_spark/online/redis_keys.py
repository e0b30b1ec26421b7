"""What keys of a Redis are called: plain, so that other programs can read them; see LAYOUT.md."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

BUCKETS: Final = 256
"""Of a cluster: keys of one bucket lie in one slot, so that one command can write many."""


@dataclass(frozen=True)
class RedisKeys:
    """Names under a prefix. What is in braces decides in which slot of a cluster a key lies."""

    prefix: str
    is_cluster: bool = False

    @property
    def services(self) -> str:
        """A set: the names of the services."""
        return f"{self.prefix}:services"

    @property
    def counter(self) -> str:
        """The last generation that was begun."""
        return f"{self.prefix}:generation"

    def current(self, service: str) -> str:
        """`<generation>.<serial>` of what is published."""
        return f"{self.prefix}:{{{service}}}:current"

    def about(self, service: str) -> str:
        """A hash: record, key_types, report, pushed, schemas of what is published."""
        return f"{self.prefix}:{{{service}}}:about"

    def generations(self, service: str) -> str:
        """A hash: generation -> state and when it got there; those that have, or may have, rows."""
        return f"{self.prefix}:{{{service}}}:generations"

    def living(self, service: str) -> str:
        """A set: the generations that may be, or come, in force; the others are dead."""
        return f"{self.prefix}:{{{service}}}:living"

    def alive(self, service: str, generation: int) -> str:
        """Is there while a process writes a generation."""
        return f"{self.prefix}:{{{service}}}:alive:{generation}"

    def rows_prefix(self, generation: int) -> bytes:
        return f"{self.prefix}:{generation}:".encode()

    def rows(self, generation: int, position: int, bucket: int = 0) -> bytes:
        """What stands before the keys of a view."""
        place = f"{self.prefix}:{generation}:{position}:"
        return (f"{place}{{{bucket}}}:" if self.is_cluster else place).encode()

    def row(self, generation: int, position: int, key: bytes) -> bytes:
        return self.rows(generation, position, bucket_of(key) if self.is_cluster else 0) + key

    def pushed(self, service: str, label: str, key: bytes) -> bytes:
        bucket = f"{{{bucket_of(key)}}}:" if self.is_cluster else ""
        return f"{self.prefix}:pushed:{service}:{label}:{bucket}".encode() + key


def bucket_of(key: bytes) -> int:
    return zlib.crc32(key) % BUCKETS
