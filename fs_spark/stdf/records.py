"""One record's payload -> its fields, by the layouts; a record may stop before any of its optional fields."""

from __future__ import annotations

import struct
from typing import Any, Final

from fs_spark.stdf.layouts import RECORDS, STRUCT_CODES

Fields = dict[str, Any]

_WITH_CONVENTION: Final = ("C1", "I2", "U2", "U4")
"""Types whose missing value is told apart from every real one; a 0.0 limit, scale or flag is a value like others."""


def read_fields(name: str, payload: bytes, *, big_endian: bool) -> Fields:
    """The fields of the record `name` by their lower-case specification names.

    A field that is absent, cut off or holds its missing-value convention is None; trailing blanks of texts are
    dropped and an empty text is None. Texts are decoded as Latin-1, which every byte has.
    """
    order, at = (">" if big_endian else "<"), 0
    fields: Fields = {field.name: None for field in RECORDS[name].fields}
    for field in RECORDS[name].fields:
        if at >= len(payload):
            break
        if field.type == "Cn":
            size = payload[at]
            if at + 1 + size > len(payload):
                break
            fields[field.name] = payload[at + 1 : at + 1 + size].decode("latin-1").rstrip(" \0") or None
            at += 1 + size
        elif field.type in STRUCT_CODES:
            code = STRUCT_CODES[field.type]
            size = struct.calcsize(code)
            if at + size > len(payload):
                break
            (value,) = struct.unpack_from(order + code, payload, at)
            if field.type == "C1":
                value = value.decode("latin-1")
            conventional = field.type in _WITH_CONVENTION and value == field.missing
            fields[field.name] = None if conventional else value
            at += size
        else:  # arrays and bit strings end what the readers of single fields need
            break
    return fields
