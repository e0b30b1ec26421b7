"""Write STDF V4 records, in either byte order."""

from __future__ import annotations

import bz2
import gzip
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Literal

from fs_spark.errors import StdfError, did_you_mean
from fs_spark.stdf.layouts import CPU_TYPES, OPT_FLAGS, RECORDS, STRUCT_CODES, Field

ByteOrder = Literal["little", "big"]
Compression = Literal["none", "gz", "bz2"]
Tail = Literal["missing", "omit"]
FieldValue = int | float | str | bytes | Sequence[int] | Sequence[float] | None
_Encoder = Callable[[dict[str, Any]], bytes]

LONGEST_RECORD: Final = 65_535
LONGEST_TEXT: Final = 255


class StdfWriter:
    """Collects records; `content` is the file, `save` puts it on disk.

    >>> writer = StdfWriter("little")
    >>> writer.record("FAR")
    >>> writer.record("PIR", head_num=1, site_num=3)
    >>> writer.content.hex(" ")
    '02 00 00 0a 02 04 02 00 05 0a 01 03'
    """

    def __init__(self, byte_order: ByteOrder = "little") -> None:
        self.byte_order: Final = byte_order
        self._records: list[bytes] = []

    def record(self, name: str, /, *, tail: Tail = "missing", **fields: FieldValue) -> None:
        """Append one record; the arguments are those of `encode_record`."""
        self._records.append(encode_record(name, self.byte_order, tail=tail, **fields))

    @property
    def content(self) -> bytes:
        """All records so far, in the order in which they were given."""
        return b"".join(self._records)

    def save(self, path: Path, *, compress: Compression = "none") -> None:
        """Write the file under exactly this path; the same records give the same bytes."""
        content = self.content
        if compress == "gz":
            content = gzip.compress(content, mtime=0)
        elif compress == "bz2":
            content = bz2.compress(content)
        path.write_bytes(content)


def encode_record(name: str, byte_order: ByteOrder, /, *, tail: Tail = "missing", **fields: FieldValue) -> bytes:
    """The bytes of one record, header included, from fields in the specification's names in lower case.

    A field that is not given, or None, gets the specification's missing value. `tail="omit"` ends the record after
    the last field that is given. Filled in unless given: CPU_TYPE from the byte order, counts of arrays from the
    arrays, and OPT_FLAG from which of its fields are given. Text is ASCII (`bytes` go out as they are), bits of a
    `Dn` are a sequence of 0 and 1.

    Raises  StdfError for an unknown record or field, a needed field that is absent, or a value that does not fit.
    """
    given: dict[str, Any] = {key: value for key, value in fields.items() if value is not None}
    encoder = _encoder(name, byte_order, tail, tuple(given))
    try:
        return encoder(given)
    except (struct.error, UnicodeEncodeError, TypeError, OverflowError) as error:
        raise StdfError(f"A field of {name} does not fit its type: {error}.\nGiven: {given}.") from error


@lru_cache(maxsize=4096)
def _encoder(name: str, byte_order: ByteOrder, tail: Tail, given: tuple[str, ...]) -> _Encoder:
    """The function that encodes records of this shape, made once per set of given fields."""
    fields = _written_fields(name, tail, given)
    prefix = {"little": "<", "big": ">"}[byte_order]
    defaults = _defaults(name, byte_order, fields, given)
    parts = _parts(fields, prefix)
    layout = RECORDS[name]
    header = struct.Struct(prefix + "HBB")
    chars = [field.name for field in fields if field.type == "C1" and field.name in given]
    arrays = [(field.name, field.length) for field in fields if field.length]
    texts = [field.name for field in fields if field.type == "Cn" and field.name in given]

    def encode(values: dict[str, Any]) -> bytes:
        merged = {**defaults, **values}
        for char in chars:
            if isinstance(merged[char], str):
                merged[char] = merged[char].encode("ascii")
        for text in texts:
            merged[text] = _text(f"{name}.{text}", merged[text])
        for array, count in arrays:
            if array in values and count not in values:
                merged[count] = len(merged[array])
        for array, count in arrays:
            if len(merged[array]) != merged[count]:
                raise StdfError(f"{name}.{array} has {len(merged[array])} elements, but {count} is {merged[count]}.")
        body = b"".join([part(merged) for part in parts])
        if len(body) > LONGEST_RECORD:
            raise StdfError(f"{name} would have {len(body)} bytes, a record holds at most {LONGEST_RECORD}.")
        return header.pack(len(body), layout.typ, layout.sub) + body

    return encode


def _written_fields(name: str, tail: Tail, given: tuple[str, ...]) -> tuple[Field, ...]:
    """The fields that go into the file, after checking the names."""
    if name not in RECORDS:
        raise StdfError(f"{name!r} is not a record that can be written.\n{did_you_mean(name, RECORDS)}")
    fields = RECORDS[name].fields
    names = [field.name for field in fields]
    for unknown in (key for key in given if key not in names):
        raise StdfError(f"{name} has no field {unknown!r}.\n{did_you_mean(unknown, names)}")
    if tail == "omit":
        needed = [i for i, field in enumerate(fields) if field.name in given or field.missing is None]
        fields = fields[: max(needed, default=-1) + 1]
    counted = {field.length for field in fields if field.name in given}
    absent = [f.name for f in fields if _needed(f) and f.name not in given and f.name not in counted]
    if absent:
        raise StdfError(f"{name} needs {', '.join(absent)}.\nHint: give a value, the specification has no missing one.")
    return fields


def _needed(field: Field) -> bool:
    return field.missing is None and field.name != "cpu_type"


def _defaults(
    name: str, byte_order: ByteOrder, fields: tuple[Field, ...], given: tuple[str, ...]
) -> dict[str, int | float | bytes]:
    """The values of the fields that are not given."""
    values: dict[str, int | float | bytes] = {}
    for field in fields:
        if field.name == "cpu_type":
            values[field.name] = CPU_TYPES[byte_order]
        elif isinstance(field.missing, str):
            values[field.name] = field.missing.encode("ascii")
        elif field.missing is not None:
            values[field.name] = field.missing
    if name in OPT_FLAGS:
        flag = OPT_FLAGS[name]
        bits = flag.reserved
        for field_name, bit in flag.absent.items():
            bits |= 0 if field_name in given else bit
        values["opt_flag"] = bits
    return values


def _parts(fields: tuple[Field, ...], prefix: str) -> list[_Encoder]:
    """One encoder per run of fields of fixed length, and one per field of variable length."""
    parts: list[_Encoder] = []
    run: list[Field] = []
    for field in fields:
        if field.type in STRUCT_CODES:
            run.append(field)
            continue
        parts.extend(_fixed(run, prefix))
        run = []
        parts.append(_variable(field, prefix))
    parts.extend(_fixed(run, prefix))
    return parts


def _fixed(run: list[Field], prefix: str) -> list[_Encoder]:
    if not run:
        return []
    pack = struct.Struct(prefix + "".join(STRUCT_CODES[field.type] for field in run)).pack
    if len(run) == 1:
        only = run[0].name
        return [lambda values: pack(values[only])]
    pick = itemgetter(*(field.name for field in run))
    return [lambda values: pack(*pick(values))]


def _variable(field: Field, prefix: str) -> _Encoder:
    name = field.name
    if field.type in ("Cn", "Bn"):
        return lambda values: _counted(name, values[name])
    if field.type == "Dn":
        return lambda values: struct.pack(prefix + "H", len(values[name])) + _bits(values[name])
    if field.type == "kxN1":
        return lambda values: _nibbles(values[name])
    code = STRUCT_CODES[field.type.removeprefix("kx")]
    return lambda values: struct.pack(f"{prefix}{len(values[name])}{code}", *values[name])


def _text(place: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise StdfError(f"{place} must be text, got {value!r}.")
    return value.encode("ascii")


def _counted(place: str, value: bytes) -> bytes:
    if len(value) > LONGEST_TEXT:
        raise StdfError(f"{place} has {len(value)} bytes, the longest allowed is {LONGEST_TEXT}: {value[:40]!r}...")
    return bytes((len(value),)) + value


def _bits(values: Sequence[int]) -> bytes:
    """Eight bits a byte, the first in the lowest bit."""
    return sum(1 << i for i, bit in enumerate(values) if bit).to_bytes((len(values) + 7) // 8, "little")


def _nibbles(values: Sequence[int]) -> bytes:
    """Two values a byte, the first in the low half; an odd last one leaves the high half 0."""
    padded = [*values, 0]
    if any(not 0 <= value <= 15 for value in padded):
        raise StdfError(f"A four-bit field holds 0 to 15, got {list(values)}.")
    return bytes(low | high << 4 for low, high in zip(padded[0:-1:2], padded[1::2], strict=True))
