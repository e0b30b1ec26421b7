"""A zip with one file -> the file's bytes, as a stream that no size in the zip's own headers decides."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Final

from fs_spark.errors import StdfError
from fs_spark.stdf.decompress import FAULTS, PIECE, Pieces, stream

_FILE: Final = b"PK\3\4"
_END: Final = b"PK\5\6"
MAGIC: Final = (_FILE, _END)
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_SIZED_LATER, _ENCRYPTED, _LZMA_END_MARK = 0x8, 0x2001, 0x2
_SIZED_ELSEWHERE: Final = 0xFFFFFFFF
_KINDS: Final = {8: "deflate", 12: "bzip2", 93: "zstd", 95: "xz"}
_NO_KINDS: Final = {1: "Shrink", 6: "Implode", 9: "Deflate64", 97: "WavPack", 98: "PPMd"}
_FAULTS: Final = (zipfile.BadZipFile, struct.error, NotImplementedError, *FAULTS)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file of a zip; `crc` is None where it is not known."""

    name: str
    flags: int
    method: int
    crc: int | None
    size: int
    data: memoryview


def _is_file(name: str) -> bool:
    return not (name.endswith(("/", "\\")) or name.startswith("__MACOSX/"))


def _directory(raw: bytes) -> list[zipfile.ZipInfo] | str:
    """The entries, or what is wrong with the directory at the end of the zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return archive.infolist()
    except _FAULTS as fault:
        return f"zip directory is damaged ({fault})" if raw.rfind(_END) >= 0 else "zip archive ends early"


def _only(infos: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    files = [info for info in infos if _is_file(info.filename)]
    if len(files) == 1:
        return files[0]
    names = [repr(info.filename) for info in files or infos]
    listed = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    raise StdfError(
        f"the zip holds {len(files) or 'no'} files{f' ({listed})' if listed else ''}, not one.\n"
        "Hint: unpack it and name the STDF files or their folder"
    )


def _entry_at(raw: bytes, at: int) -> _Entry | None:
    """The entry whose header stands there; its data goes to the end of the zip where no size is given."""
    if not 0 <= at <= len(raw) - _LOCAL.size or not raw.startswith(_FILE, at):
        return None
    _, _, flags, method, _, _, _, packed, size, name, extra = _LOCAL.unpack_from(raw, at)
    start = at + _LOCAL.size + name + extra
    stop = len(raw) if flags & _SIZED_LATER or packed == _SIZED_ELSEWHERE else start + packed
    text = raw[at + _LOCAL.size : at + _LOCAL.size + name].decode(errors="replace")
    return _Entry(text, flags, method, None, size, memoryview(raw)[start:stop])


def _listed(raw: bytes, info: zipfile.ZipInfo) -> _Entry | None:
    """The file as the directory describes it."""
    found = _entry_at(raw, info.header_offset)
    if found is None:
        return None
    start = info.header_offset + _LOCAL.size + sum(_LOCAL.unpack_from(raw, info.header_offset)[-2:])
    data = memoryview(raw)[start : start + info.compress_size]
    return _Entry(info.filename, info.flag_bits, info.compress_type, info.CRC, info.file_size, data)


def _first(raw: bytes) -> _Entry | None:
    """The first file, for a zip without a directory."""
    at = 0
    while found := _entry_at(raw, at):
        if _is_file(found.name):
            return found
        at = raw.find(_FILE, at + 1)
    return None


def _pieces(entry: _Entry) -> Pieces:
    again = "Hint: zip it anew with deflate and without a password, or deliver it as .gz"
    if entry.flags & _ENCRYPTED:
        raise StdfError(f"the zip's file {entry.name!r} is encrypted.\n{again}")
    if entry.method in _KINDS:
        return (yield from stream(entry.data, _KINDS[entry.method]))
    if entry.method == 14:  # 4 bytes, and what begins an .lzma file but for the size; APPNOTE 6.3.10, section 5.8.8
        size = (1 << 64) - 1 if entry.flags & _LZMA_END_MARK else entry.size
        head = bytes(entry.data[4:9]) + size.to_bytes(8, "little")
        return (yield from stream(entry.data[9:], "lzma", head=head))
    if entry.method != 0:
        name = _NO_KINDS.get(entry.method, "unknown")
        raise StdfError(f"the zip's file {entry.name!r} has compression method {entry.method} ({name}).\n{again}")
    for at in range(0, len(entry.data), PIECE):
        yield bytes(entry.data[at : at + PIECE])
    return None


def unzip(raw: bytes) -> Pieces:
    """The only file of a zip, folders and macOS's `__MACOSX` aside; of a cut or damaged one the first file.

    Raises     StdfError where the zip holds no file or several, or one that is encrypted or packed in an unknown way
    """
    infos = _directory(raw)
    trouble = infos if isinstance(infos, str) else None
    entry = _first(raw) if isinstance(infos, str) else _listed(raw, _only(infos))
    if entry is None:
        return trouble or "zip directory is damaged (no file where it says)"
    pieces, crc = _pieces(entry), 0
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            trouble = trouble or end.value
            break
        crc = zlib.crc32(piece, crc)
        yield piece
    return trouble or ("zip member does not fit its checksum" if entry.crc not in (None, crc) else None)
