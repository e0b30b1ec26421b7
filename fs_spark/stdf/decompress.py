"""Packed streams -> bytes: gzip, bzip2, xz, lzma and zstd, any number of members, up to where they are damaged."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import zlib
from collections.abc import Callable, Generator
from typing import Final, Protocol

import pyarrow as pa

from fs_spark.errors import StdfError

Pieces = Generator[bytes, None, str | None]
"""Decompressed bytes, at most `PIECE` at a time; returns what was wrong with the stream."""

PIECE: Final = 1 << 20
FAULTS: Final = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)
"""What the decompressors of the standard library raise on bytes that they cannot read."""

_FEED: Final = 1 << 16
_LZMA_MEMORY: Final = 1 << 30
"""`xz -9` needs 65 MB; a header can ask for 4 GB."""
_NULS: Final = re.compile(rb"\0*")
_TAIL: Final = re.compile(rb"[\0\r\n\x1a]*\Z")
"""What transfers and old systems add to a file: no damage to what is before it."""
_ZSTD_FRAME: Final = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
MAGIC: Final = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "bzip2": re.compile(rb"BZh"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "lzma": re.compile(rb"\x5d\0\0[\s\S]{2}(?:\xff{8}|[\s\S]{5}\0{3})"),  # its size is unknown or below 2^40
    "zstd": _ZSTD_FRAME,
}


class Member(Protocol):
    """What the decompressors of `bz2` and `lzma` have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes: ...


class _Inflater:
    """zlib's decompressor as a `Member`."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes | memoryview, max_length: int) -> bytes:
        out = self._inner.decompress(data or self._inner.unconsumed_tail, max_length)
        self.needs_input = not self._inner.unconsumed_tail and len(out) < max_length
        return out


_START: Final[dict[str, Callable[[], Member]]] = {
    "gzip": lambda: _Inflater(31),
    "deflate": lambda: _Inflater(-15),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _LZMA_MEMORY),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, _LZMA_MEMORY),
}


def stream(raw: memoryview, kind: str, *, head: bytes = b"") -> Pieces:
    """Members one after the other (pbzip2 writes one per block), with NULs after each as tapes and xz pad.

    `head` goes before the bytes. Fed in pieces: zlib copies all input that it has not used at each call.
    """
    if kind == "zstd":
        return (yield from _zstd(raw))
    at = 0
    while True:
        member = _START[kind]()
        try:
            if head:
                yield member.decompress(head, PIECE)
            while not member.eof:
                piece = raw[at : at + _FEED] if member.needs_input else raw[:0]
                at += len(piece)
                if member.needs_input and not piece:
                    return f"{kind} stream ends early"
                yield member.decompress(piece, PIECE)
        except FAULTS as fault:
            return f"{kind} stream is damaged ({fault})"
        at = _after_nuls(raw, at - len(member.unused_data))
        if at == len(raw) or _TAIL.match(raw, at):
            return None
        if head or kind not in MAGIC or not MAGIC[kind].match(raw, at):
            return f"bytes after the {kind} stream are not {kind}"


def _after_nuls(raw: memoryview, at: int) -> int:
    found = _NULS.match(raw, at)
    return found.end() if found else at


def _zstd_end(raw: memoryview) -> int:
    """Where the last frame ends by the lengths in the frames: Arrow fails on bytes after it.

    Source     RFC 8878, sections 3.1.1 and 3.1.2
    """
    at = 0
    while _ZSTD_FRAME.match(raw, at) and at + 8 <= len(raw):
        if raw[at] != 0x28:  # a skippable frame
            at += 8 + int.from_bytes(raw[at + 4 : at + 8], "little")
            continue
        flags = raw[at + 4]
        single = flags >> 5 & 1
        at += 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
        last = 0
        while not last and at + 3 <= len(raw):
            block = int.from_bytes(raw[at : at + 3], "little")
            last, kind, size = block & 1, block >> 1 & 3, block >> 3
            at += 3 + (1 if kind == 1 else size)  # 1: one byte, repeated
        at = at + (flags & 4) if last else len(raw)  # 4: the checksum's flag, and its length
    return len(raw) if at > len(raw) or _ZSTD_FRAME.match(raw, at) else at


def _zstd(raw: memoryview) -> Pieces:
    end, given, trouble = _zstd_end(raw), 0, None
    for step in (PIECE, 1):  # a read that fails loses what it had: the last piece of a cut stream comes byte by byte
        try:
            with pa.CompressedInputStream(pa.BufferReader(pa.py_buffer(raw[:end])), "zstd") as source:
                again = given
                while again:
                    again -= len(source.read(min(again, PIECE)))
                while piece := source.read(step):
                    given += len(piece)
                    yield piece
            break
        except (OSError, pa.ArrowException) as fault:
            trouble = "stream ends early" if "Truncated" in str(fault) else f"stream is damaged ({fault})"
    if trouble:
        return f"zstd {trouble}"
    return None if _TAIL.match(raw, end) else "bytes after the zstd stream are not zstd"


def collect(pieces: Pieces, cap: int, limit: str) -> tuple[bytes, str | None]:
    """What could be decompressed, and what was wrong.

    Raises     StdfError where the size passes `cap`, at most `PIECE` after it; `limit` says which limit that is
    """
    out = io.BytesIO()  # its `getvalue` hands over the bytes; joining pieces or a bytearray would copy them
    try:
        while (size := out.tell()) <= cap:
            out.write(next(pieces))
    except StopIteration as end:
        return out.getvalue(), end.value
    except MemoryError:
        raise StdfError(f"decompresses to more than {size} bytes, for which there is no memory") from None
    raise StdfError(f"decompresses to more than {limit} in store.yaml if that is wanted")
