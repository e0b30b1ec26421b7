"""Delivered bytes -> STDF bytes: plain, gzip or bzip2, recognized by content, with what is readable of a cut file."""

from __future__ import annotations

import bz2
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fs_spark.errors import StdfError

_CHUNK: Final = 1 << 20
DEFAULT_CAP: Final = 16 << 30
"""Largest decompressed size that is accepted, against compression bombs."""


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


def _inflate(raw: bytes, cap: int) -> tuple[bytes, str | None]:
    """gzip with any number of members; what could be decompressed, and what was wrong."""
    out, rest = bytearray(), raw
    while rest:
        if not rest.startswith(b"\x1f\x8b"):
            return bytes(out), (None if not rest.strip(b"\0") else "bytes after the gzip stream are not gzip")
        member = zlib.decompressobj(wbits=31)
        try:
            piece = rest
            while piece and not member.eof:
                out += member.decompress(piece, _CHUNK)
                piece = member.unconsumed_tail
                if len(out) > cap:
                    raise StdfError(f"decompresses to more than {cap} bytes. Hint: raise the cap if that is wanted")
            out += member.flush()
        except zlib.error as fault:
            return bytes(out), f"gzip stream is damaged ({fault})"
        if not member.eof:
            return bytes(out), "gzip stream ends early"
        rest = member.unused_data
    return bytes(out), None


def _bunzip(raw: bytes, cap: int) -> tuple[bytes, str | None]:
    out, rest = bytearray(), raw
    while rest.startswith(b"BZh"):
        member = bz2.BZ2Decompressor()
        feed = rest
        try:
            while not member.eof:
                out += member.decompress(feed, _CHUNK)
                feed = b""
                if len(out) > cap:
                    raise StdfError(f"decompresses to more than {cap} bytes. Hint: raise the cap if that is wanted")
                if member.needs_input and not member.eof:
                    return bytes(out), "bzip2 stream ends early"
        except OSError as fault:
            return bytes(out), f"bzip2 stream is damaged ({fault})"
        rest = member.unused_data
    return bytes(out), (None if not rest else "bytes after the bzip2 stream are not bzip2")


def unpack(raw: bytes, *, cap: int = DEFAULT_CAP) -> Delivered:
    """Delivered bytes to STDF bytes. Raises StdfError only where the size passes `cap`."""
    if raw.startswith(b"\x1f\x8b"):
        data, damage = _inflate(raw, cap)
    elif raw.startswith(b"BZh"):
        data, damage = _bunzip(raw, cap)
    else:
        data, damage = raw, None
    file_id = hashlib.sha256(raw if damage else data).hexdigest()
    return Delivered(data=data, delivered_bytes=len(raw), file_id=file_id, damage=damage)


def read_delivered(path: str | Path, *, cap: int = DEFAULT_CAP) -> Delivered:
    """Reads and unpacks a local file. Raises StdfError where it cannot be opened."""
    try:
        raw = Path(path).read_bytes()
    except OSError as fault:
        raise StdfError(f"{path} cannot be read: {fault.strerror or fault}") from fault
    return unpack(raw, cap=cap)
