"""Delivered bytes -> STDF bytes: recognized by content and not by name, with what is readable of a cut file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fs_spark.errors import StdfError
from fs_spark.stdf import archive, decompress
from fs_spark.stdf.sources import read_bytes

_LEVELS: Final = 2


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest size after decompression, in bytes and against the delivered size: no file of a tester is a bomb.

    The ratio is asked of what is larger than 64 KiB.
    """

    largest_bytes: int = 2 << 30
    largest_ratio: int = 200

    def of(self, delivered: int) -> tuple[int, str]:
        """The most bytes of a file of this size, and which of the two limits that is."""
        by_ratio = max(self.largest_ratio * delivered, 64 << 10)
        if by_ratio < self.largest_bytes:
            return by_ratio, f"{self.largest_ratio} times its size. Hint: raise `decompression.largest_ratio`"
        return self.largest_bytes, f"{self.largest_bytes} bytes. Hint: raise `decompression.largest_bytes`"


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Delivered:
    """One delivered file after decompression.

    `file_id` is the SHA-256 of the decompressed bytes, so that a re-zipped file is the same file; of the
    delivered bytes where these cannot be decompressed to the end.
    """

    data: bytes
    delivered_bytes: int
    file_id: str
    damage: str | None


def _opened(raw: bytes) -> decompress.Pieces | None:
    """The stream that the bytes begin, if it is one."""
    if raw.startswith(archive.MAGIC):
        return archive.unzip(raw)
    kind = next((kind for kind, magic in decompress.MAGIC.items() if magic.match(raw)), None)
    return decompress.stream(memoryview(raw), kind) if kind else None


def unpack(raw: bytes, *, limits: Limits = DEFAULT_LIMITS) -> Delivered:
    """Delivered bytes to STDF bytes: plain, gzip, bzip2, xz, lzma, zstd, a zip with one file, or one in another.

    Raises     StdfError where the size passes the limits, a zip holds not one readable file, or a container in a
               container holds a third one
    """
    data, troubles, level = raw, list[str](), 0
    while pieces := _opened(data):
        if level == _LEVELS:
            raise StdfError(f"packed more than {_LEVELS} times. Hint: unpack it and deliver what is in it")
        level += 1
        data, trouble = decompress.collect(pieces, *limits.of(len(raw)))
        troubles += [trouble] if trouble else []
    file_id = hashlib.sha256(raw if troubles else data).hexdigest()
    return Delivered(data, len(raw), file_id, "; in it: ".join(troubles) or None)


def read_delivered(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> Delivered:
    """Reads and unpacks a file or URI. Raises StdfError where it cannot be opened or `unpack` raises."""
    return unpack(read_bytes(path), limits=limits)
