"""One record's payload -> its fields, by the layouts; a record may stop before any of its optional fields."""

from __future__ import annotations

import struct
from typing import Any, Final

from fs_spark.stdf.layouts import RECORDS, STRUCT_CODES

Fields = dict[str, Any]

_WITH_CONVENTION: Final = ("C1", "I2", "U2", "U4")
"""Types whose missing value is told apart from every real one; a 0.0 limit, scale or flag is a value like others."""

_ARRAYS: Final = {"kxU1": "B", "kxU2": "H", "kxR4": "f"}
_GENERIC: Final = {1: "B", 2: "H", 3: "I", 4: "b", 5: "h", 6: "i", 7: "f", 8: "d"}
"""GDR data types of fixed length; 0 is a pad byte, 10 Cn, 11 Bn, 12 Dn, 13 N1 [STDF V4 p.64]."""


class _CutError(Exception):
    """The payload ends inside a field."""


class _Bytes:
    """A payload read from front to back."""

    def __init__(self, payload: bytes, order: str) -> None:
        self.payload, self.order, self.at = payload, order, 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.payload):
            raise _CutError
        self.at += size
        return self.payload[self.at - size : self.at]

    def number(self, code: str) -> Any:
        return struct.unpack(self.order + code, self.take(struct.calcsize(self.order + code)))[0]

    def numbers(self, code: str, count: int) -> list[Any]:
        return list(struct.unpack(f"{self.order}{count}{code}", self.take(count * struct.calcsize(self.order + code))))

    def text(self) -> str | None:
        return self.take(self.number("B")).decode("latin-1").rstrip(" \0") or None

    def nibbles(self, count: int) -> list[int]:
        return [half for byte in self.take((count + 1) // 2) for half in (byte & 15, byte >> 4)][:count]

    def bits(self) -> bytes:
        return self.take((self.number("H") + 7) // 8)


def read_fields(name: str, payload: bytes, *, big_endian: bool) -> Fields:
    """The fields of the record `name` by their lower-case specification names.

    A field that is absent, cut off or holds its missing-value convention is None; trailing blanks of texts are
    dropped and an empty text is None. Texts are decoded as Latin-1, which every byte has. Arrays are lists, bit
    strings bytes.
    """
    source = _Bytes(payload, ">" if big_endian else "<")
    fields: Fields = {field.name: None for field in RECORDS[name].fields}
    try:
        for field in RECORDS[name].fields:
            if source.at >= len(payload):
                break
            if field.type == "Cn":
                value: Any = source.text()
            elif field.type in STRUCT_CODES:
                value = source.number(STRUCT_CODES[field.type])
                if field.type == "C1":
                    value = value.decode("latin-1")
                if field.type in _WITH_CONVENTION and value == field.missing:
                    value = None
            elif field.type == "Bn":
                value = source.take(source.number("B"))
            elif field.type == "Dn":
                value = source.bits()
            elif field.type == "kxN1":
                value = source.nibbles(fields[field.length] or 0)
            else:
                value = source.numbers(_ARRAYS[field.type], fields[field.length] or 0)
            fields[field.name] = value
    except _CutError:
        pass
    return fields


def read_generic(payload: bytes, *, big_endian: bool) -> list[Any]:
    """The values of a GDR in their order, without its pad bytes; what stands behind an unknown type is left out.

    Source     STDF V4 p.64-65: U2 FLD_CNT, then a type byte and a value per field
    """
    source = _Bytes(payload, ">" if big_endian else "<")
    values: list[Any] = []
    try:
        source.number("H")
        while source.at < len(payload):
            kind = source.number("B")
            if kind == 0:
                continue
            if kind == 10:
                values.append(source.text())
            elif kind == 11:
                values.append(source.take(source.number("B")))
            elif kind == 12:
                values.append(source.bits())
            elif kind == 13:
                values.append(source.number("B") & 15)
            elif kind in _GENERIC:
                values.append(source.number(_GENERIC[kind]))
            else:
                break
    except _CutError:
        pass
    return values
