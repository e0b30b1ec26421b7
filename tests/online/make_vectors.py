"""Writes vectors.json from LAYOUT.md alone: it shares no code with fs_spark. `python tests/online/make_vectors.py`"""

from __future__ import annotations

import json
import math
import struct
import zlib
from datetime import date
from pathlib import Path
from typing import Any

FIXED = {"double": "<d", "float": "<f", "long": "<q", "int": "<i", "boolean": "<B", "date": "<i", "timestamp": "<q"}


def key(values: list[Any]) -> bytes:
    found = b""
    for value in values:
        if isinstance(value, str) and not value.startswith("date:"):
            body, tag = value.encode(), b"s"
        else:
            days = isinstance(value, str)
            number = (date.fromisoformat(value[5:]) - date(1970, 1, 1)).days if days else value
            count = (abs(number).bit_length() + 8) // 8
            body, tag = (number % (1 << (8 * count))).to_bytes(count, "big"), b"d" if days else b"i"
        found += tag + struct.pack("<I", len(body)) + body
    return found


def nulls(values: list[Any]) -> bytes:
    found = bytearray((len(values) + 7) // 8)
    for place, value in enumerate(values):
        if value is None:
            found[place // 8] |= 1 << (place % 8)
    return bytes(found)


def number(value: Any) -> float:
    return float(value) if isinstance(value, str) else value


def row(types: list[str], values: list[Any]) -> bytes:
    found = nulls(values)
    for kind, value in zip(types, values, strict=True):
        if kind in FIXED:
            found += struct.pack(FIXED[kind], number(value) if value is not None else 0)
    for kind, value in zip(types, values, strict=True):
        if kind == "string":
            body = (value or "").encode()
            found += struct.pack("<I", len(body)) + body
        elif kind == "array<double>":
            items = value or []
            found += struct.pack("<I", len(items)) + nulls(items)
            found += b"".join(struct.pack("<d", 0.0 if item is None else number(item)) for item in items)
    return found


def pushed(schema: dict[str, list[str]], order: list[int], values: list[Any]) -> bytes:
    head = b"".join(struct.pack(">Q", part + 2**63) for part in order)
    return head + struct.pack(">I", zlib.crc32(json.dumps(schema).encode())) + row(schema["types"], values)


KEYS: list[list[Any]] = [
    ["L1", "W01", 0, 0], ["L1", "W01", 127, -127], ["L1", "W01", 128, -128], ["L1", "W01", 129, -129],
    ["L1", "W01", 32767, -32769], ["", "", 2**63 - 1, -(2**63)], ["µ", "試験", 255, 256], ["🙂", "e\u0301", -1, 1],
    ["a", "bc"], ["ab", "c"], ["1"], [1], ["i\u0001"], ["{b}:*?[x]"], ["line\nbreak\u0000nul"],
    ["date:1970-01-01"], ["date:0001-01-01"], ["date:9999-12-31"], ["date:1969-12-31", 7],
]  # fmt: skip
TYPES = ["timestamp", "timestamp", "double", "float", "long", "int", "boolean", "date", "string", "array<double>"]
SCHEMA = {"names": ["event_timestamp", "available_timestamp", "d", "f", "l", "i", "b", "day", "s", "a"], "types": TYPES}
ROWS: list[list[Any]] = [
    [1_700_000_000_123_456, 1_700_000_000_999_999, 0.1, 0.5, 2**63 - 1, -(2**31), 1, 9, "µFlex", [1.5, None, -0.0]],
    [-1, 0, "-0.0", "inf", -(2**63), 2**31 - 1, 0, -1, "", []],
    [None, None, "nan", None, None, None, None, None, None, None],
    [0, 0, "-inf", 1.0, 0, 0, 1, 0, "試験", [None, None, None, None, None, None, None, None, "nan"]],
]  # fmt: skip


def vectors() -> dict[str, Any]:
    rows = [row(TYPES, one) for one in ROWS]
    value = struct.pack(">Qq", 258, -2) + rows[0] + rows[1]
    return {
        "layout": 2,
        "keys": [{"values": one, "bytes": key(one).hex(), "bucket": zlib.crc32(key(one)) % 256} for one in KEYS],
        "schema": SCHEMA,
        "rows": [{"values": one, "bytes": found.hex()} for one, found in zip(ROWS, rows, strict=True)],
        "values": [
            {"delta_version": 258, "sequence": -2, "rows": [0, 1], "bytes": value.hex()},
            {"delta_version": 2**40, "sequence": 0, "rows": [], "bytes": struct.pack(">Qq", 2**40, 0).hex()},
        ],
        "pushed": [
            {"order": [-5, 7, -1], "row": 0, "bytes": pushed(SCHEMA, [-5, 7, -1], ROWS[0]).hex()},
        ],
    }


if __name__ == "__main__":
    assert math.copysign(1, number("-0.0")) < 0
    text = json.dumps(vectors(), indent=1, ensure_ascii=True)
    Path(__file__).with_name("vectors.json").write_text(text + "\n", "utf-8")
