"""One record's payload -> its fields, by the layouts; a record may stop before any of its optional fields."""

from __future__ import annotations

import struct
from typing import Any, Final

from fs_spark.stdf.layouts import STRUCT_CODES, Field
from fs_spark.stdf.read_layouts import BY_FLAG, LAYOUTS
from fs_spark.stdf.texts import decode_text

Fields = dict[str, Any]

_WITH_CONVENTION: Final = ("C1", "I2", "U2", "U4")
"""Types whose missing value is told apart from every real one; a 0.0 limit, scale or flag is a value like others."""

_ARRAYS: Final = {"kxU1": "B", "kxU2": "H", "kxU4": "I", "kxU8": "Q", "kxR4": "f"}
_WIDTHS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
_GENERIC: Final = {1: "B", 2: "H", 3: "I", 4: "b", 5: "h", 6: "i", 7: "f", 8: "d"}
"""GDR data types of fixed length; 0 is a pad byte, 10 Cn, 11 Bn, 12 Dn, 13 N1 [STDF V4 p.64]."""


class _CutError(Exception):
    """The payload ends inside a field."""


class _Bytes:
    """A payload read from front to back."""

    def __init__(self, payload: bytes, order: str, encoding: str | None) -> None:
        self.payload, self.order, self.encoding, self.at = payload, order, encoding, 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.payload):
            raise _CutError
        self.at += size
        return self.payload[self.at - size : self.at]

    def number(self, code: str) -> Any:
        return struct.unpack(self.order + code, self.take(struct.calcsize(self.order + code)))[0]

    def numbers(self, code: str, count: int) -> list[Any]:
        return list(struct.unpack(f"{self.order}{count}{code}", self.take(count * struct.calcsize(self.order + code))))

    def text(self, length: str = "B") -> str | None:
        return self.told(self.number(length))

    def told(self, size: int) -> str | None:
        return decode_text(self.take(size), self.encoding) or None

    def nibbles(self, count: int) -> list[int]:
        return [half for byte in self.take((count + 1) // 2) for half in (byte & 15, byte >> 4)][:count]

    def bits(self) -> bytes:
        return self.take((self.number("H") + 7) // 8)

    def field(self, field: Field, fields: Fields) -> Any:
        """The next field; `fields` are those before it."""
        count = fields[field.length] or 0 if field.length else 0
        if field.type == "Cn":
            return self.text()
        if field.type in STRUCT_CODES:
            value = self.number(STRUCT_CODES[field.type])
            if field.type == "C1":
                value = value.decode("latin-1")
            return None if field.type in _WITH_CONVENTION and value == field.missing else value
        if field.type == "Sn":
            return self.text("H")
        if field.type == "Bn":
            return self.take(self.number("B"))
        if field.type == "Dn":
            return self.bits()
        if field.type == "kxN1":
            return self.nibbles(count)
        if field.type in ("kxCn", "kxSn"):
            return [self.text("B" if field.type == "kxCn" else "H") for _ in range(count)]
        if field.type == "kxCf":
            return [self.told(fields[field.size] or 0) for _ in range(count)]
        if field.type == "kxUf":
            if not count:
                return []
            if fields[field.size] not in _WIDTHS:
                raise _CutError
            return self.numbers(_WIDTHS[fields[field.size]], count)
        return self.numbers(_ARRAYS[field.type], count)


def _by_layout(layout: tuple[Field, ...], source: _Bytes) -> tuple[Fields, int]:
    """The fields, and how they fit: 2 where the last one ends with the payload, 0 where one reaches beyond."""
    fields: Fields = {field.name: None for field in layout}
    read = 0
    try:
        for field in layout:
            if source.at >= len(source.payload):
                break
            fields[field.name] = source.field(field, fields)
            read += 1
    except _CutError:
        return fields, 0
    return fields, 2 if read == len(layout) and source.at == len(source.payload) else 1


def read_fields(name: str, payload: bytes, *, big_endian: bool, encoding: str | None = None) -> Fields:
    """The fields of the record `name` by their lower-case specification names.

    A field that is absent, cut off or holds its missing-value convention is None; trailing blanks of texts are
    dropped and an empty text is None. Texts are decoded as `decode_text` says. Arrays are lists, bit strings bytes.
    """
    order, layouts = ">" if big_endian else "<", LAYOUTS[name]
    fields, fit = _by_layout(layouts[0], _Bytes(payload, order, encoding))
    if len(layouts) == 1:
        return fields
    others = layouts[1:] if fit < 2 else ()
    if others and name in BY_FLAG:
        flag = fields[BY_FLAG[name]] or 0
        others = layouts[flag & 15 : (flag & 15) + 1]
    for layout in others:
        other, fit_of_other = _by_layout(layout, _Bytes(payload, order, encoding))
        if fit_of_other > fit:
            fields, fit = other, fit_of_other
    return {field.name: fields.get(field.name) for layout in layouts for field in layout}


def runs_over(name: str, payload: bytes, *, big_endian: bool) -> bool:
    """Whether a field of the record, such as a text by its length, reaches beyond the payload."""
    order = ">" if big_endian else "<"
    return not any(_by_layout(layout, _Bytes(payload, order, None))[1] or not payload for layout in LAYOUTS[name])


def read_generic(payload: bytes, *, big_endian: bool, encoding: str | None = None) -> list[Any]:
    """The values of a GDR in their order, without its pad bytes; what stands behind an unknown type is left out.

    Source     STDF V4 p.64-65: U2 FLD_CNT, then a type byte and a value per field
    """
    source = _Bytes(payload, ">" if big_endian else "<", encoding)
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
