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
_FEED: Final = 1 << 16
_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
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
    """gzip with any number of members; what could be decompressed, and what was wrong.

    Fed in pieces: zlib copies all input that it has not used at each call.
    """
    out, view, at = bytearray(), memoryview(raw), 0
    while at < len(raw):
        if not raw.startswith(_GZIP, at):
            return bytes(out), (None if not raw[at:].strip(b"\0") else "bytes after the gzip stream are not gzip")
        member = zlib.decompressobj(wbits=31)
        try:
            while not member.eof:
                piece: bytes | memoryview = member.unconsumed_tail
                if not piece:
                    piece = view[at : at + _FEED]
                    at += len(piece)
                if not piece:
                    return bytes(out + member.flush()), "gzip stream ends early"
                out += member.decompress(piece, _CHUNK)
                if len(out) > cap:
                    raise StdfError(f"decompresses to more than {cap} bytes. Hint: raise the cap if that is wanted")
        except zlib.error as fault:
            return bytes(out), f"gzip stream is damaged ({fault})"
        at -= len(member.unused_data)
    return bytes(out), None


def _bunzip(raw: bytes, cap: int) -> tuple[bytes, str | None]:
    """bzip2 with any number of members (pbzip2 writes one per block)."""
    out, view, at = bytearray(), memoryview(raw), 0
    while raw.startswith(_BZIP2, at):
        member = bz2.BZ2Decompressor()
        try:
            while not member.eof:
                piece = view[at : at + _FEED] if member.needs_input else view[:0]
                at += len(piece)
                if member.needs_input and not piece:
                    return bytes(out), "bzip2 stream ends early"
                out += member.decompress(piece, _CHUNK)
                if len(out) > cap:
                    raise StdfError(f"decompresses to more than {cap} bytes. Hint: raise the cap if that is wanted")
        except OSError as fault:
            return bytes(out), f"bzip2 stream is damaged ({fault})"
        at -= len(member.unused_data)
    return bytes(out), (None if at == len(raw) else "bytes after the bzip2 stream are not bzip2")


def unpack(raw: bytes, *, cap: int = DEFAULT_CAP) -> Delivered:
    """Delivered bytes to STDF bytes. Raises StdfError only where the size passes `cap`."""
    if raw.startswith(_GZIP):
        data, damage = _inflate(raw, cap)
    elif raw.startswith(_BZIP2):
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
