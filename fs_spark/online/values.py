"""What is stored for a key around its rows: the Delta version that said so, and what a pushed row compares by.

Exported  Delta version of the view (eight bytes, unsigned), sequence of the newest row (eight bytes, signed), both big
          endian, then the rows. A key without rows is a tombstone: the version says since when it has none.
Pushed    event, availability and sequence of the row (eight bytes each, big endian, plus 2^63, so that greater bytes
          are later rows), the CRC-32 of its schema's JSON (four bytes, big endian), then the row.
"""

from __future__ import annotations

import functools
import struct
import zlib
from typing import Final

from fs_spark.online.codec import RowSchema

HEAD: Final = struct.Struct(">Qq")
ORDER: Final = struct.Struct(">QQQ")
SCHEMA: Final = struct.Struct(">I")
_BIAS: Final = 1 << 63


def head(delta_version: int, sequence: int = 0) -> bytes:
    """What stands before the rows of an exported key; alone it is a tombstone."""
    return HEAD.pack(delta_version, sequence)


def order_of(event_us: int, available_us: int, sequence: int) -> bytes:
    """Bytes that compare as the three numbers do."""
    return ORDER.pack(event_us + _BIAS, available_us + _BIAS, sequence + _BIAS)


@functools.lru_cache(maxsize=256)
def schema_mark(schema: RowSchema) -> int:
    return zlib.crc32(schema.to_json().encode())


def pushed_value(order: bytes, schema: RowSchema, row: bytes) -> bytes:
    return order + SCHEMA.pack(schema_mark(schema)) + row


def pushed_row(value: bytes) -> tuple[bytes, int, bytes]:
    """The order of a pushed row, the mark of its schema, and the row."""
    (mark,) = SCHEMA.unpack_from(value, ORDER.size)
    return value[: ORDER.size], mark, value[ORDER.size + SCHEMA.size :]
