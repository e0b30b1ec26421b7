"""Files by `fs_spark.stdf.writer` for peers to read: every record with every field, and with its tail left out."""

from __future__ import annotations

import random
import string
import struct
from collections.abc import Iterable
from typing import Any

from fs_spark.stdf.layouts import RECORDS, Field
from fs_spark.stdf.writer import ByteOrder, FieldValue, StdfWriter, Tail

Record = tuple[str, dict[str, Any]]

_RANGES = {
    "U1": (0, 255), "U2": (0, 65535), "U4": (0, 2**32 - 1), "B1": (0, 255),
    "I1": (-128, 127), "I2": (-32768, 32767), "I4": (-(2**31), 2**31 - 1),
}  # fmt: skip
_NOTHING: list[list[Any]] = [[None, []], [[], None]]
"""An empty array at the end of a record is none: one peer reads it so, the other the other way."""
_LETTERS = string.ascii_letters + string.digits + " _-.%/"


def _single(rng: random.Random, value: float) -> float:
    found: float = struct.unpack("f", struct.pack("f", value))[0]
    return found


def _value(rng: random.Random, field: Field, counts: dict[str, int]) -> FieldValue:
    length = counts.get(field.length, 0)
    if field.type in _RANGES:
        low, high = _RANGES[field.type]
        return rng.choice([low, high, rng.randint(low, high)])
    if field.type == "R4":
        return _single(rng, rng.choice([0.0, -0.0, 1e-40, 3.4e38, rng.uniform(-1e3, 1e3)]))
    if field.type == "C1":
        return rng.choice(_LETTERS)
    if field.type == "Cn":
        return "".join(rng.choices(_LETTERS, k=rng.choice([0, 1, 7, 40, 255]))).strip()  # as peers do
    if field.type == "Bn":
        return rng.randbytes(rng.choice([0, 1, 5, 255]))
    if field.type == "Dn":
        return [rng.randrange(2) for _ in range(rng.choice([0, 1, 7, 8, 9, 31]))]
    if field.type == "kxN1":
        return [rng.randrange(16) for _ in range(length)]
    if field.type == "kxR4":
        return [_single(rng, rng.uniform(-1e3, 1e3)) for _ in range(length)]
    return [rng.randrange(_RANGES[field.type.removeprefix("kx")][1] + 1) for _ in range(length)]


def _fields(rng: random.Random, name: str, order: ByteOrder) -> dict[str, Any]:
    """A value for every field; arrays have the length that their count says."""
    layout = RECORDS[name].fields
    counts = {field.length: rng.choice([0, 1, 2, 5, 17]) for field in layout if field.length}
    values = {field.name: counts.get(field.name, _value(rng, field, counts)) for field in layout}
    if name == "FAR":
        values = {"cpu_type": {"big": 1, "little": 2}[order], "stdf_ver": 4}
    return values


def written(seed: int, order: ByteOrder, tail: Tail, rounds: int = 40) -> tuple[bytes, list[Record]]:
    """A file and the fields of its records as they were given to the writer.

    With `tail="omit"` each record, but FAR, ends behind a field that is drawn. Records with arrays come last, as pystdf
    cannot read one that stops before its counts.
    """
    rng = random.Random(f"{seed}:{order}:{tail}")
    out, given = StdfWriter(order), list[Record]()
    names = rng.choices([name for name in RECORDS if name != "FAR"], k=rounds * len(RECORDS))
    names.sort(key=lambda name: any(field.length for field in RECORDS[name].fields))
    for name in ["FAR", *names]:
        values = _fields(rng, name, order)
        if tail == "omit" and name != "FAR":
            needed = [k for k, field in enumerate(RECORDS[name].fields) if field.missing is None]
            last = rng.randint(max(needed, default=-1), len(values) - 1)
            values = dict(list(values.items())[: last + 1])
            there = {field.length for field in RECORDS[name].fields if field.name in values}
            counts = {field.length for field in RECORDS[name].fields} & values.keys()
            values |= dict.fromkeys(counts - there, 0)  # arrays that are not there have no elements
        out.record(name, tail=tail, **values)
        given.append((name, values))
    return out.content, given


def as_dumped(field: Field, value: Any, *, counts_bits: bool) -> Any:
    """A value in the form of the peers' dumps."""
    if field.type == "Bn":
        return list(value)
    if field.type == "Dn" and not counts_bits:
        return [sum(bit << k for k, bit in enumerate(value[at : at + 8])) for at in range(0, len(value), 8)]
    if field.type == "kxN1" and not counts_bits:
        padded = [*value, 0]
        return [low | high << 4 for low, high in zip(padded[0:-1:2], padded[1::2], strict=True)]
    return value


def differences(given: list[Record], dumped: Iterable[Record], *, counts_bits: bool) -> tuple[int, list[str]]:
    """How many records were read, and in which fields which of them are not what was written."""
    found, count = list[str](), 0
    for (name, values), (other, dump) in zip(given, dumped, strict=False):
        if other != name:
            found.append(f"record {count} is {other}, not {name}")
            break
        fields = {field.name: field for field in RECORDS[name].fields}
        # Semi-ATE-STDF sets the count of an array that is empty or behind the record to the length of its missing value
        untold = {field.length for field in fields.values() if field.length and not values.get(field.name)}
        wanted = {key: as_dumped(fields[key], value, counts_bits=counts_bits) for key, value in values.items()}
        for key in (wanted.keys() | dump.keys()) - untold:
            value, read = wanted.get(key), dump.get(key)
            if value != read and [value, read] not in _NOTHING:
                found.append(f"{name}, record {count}: {key} is {read!r}, not {value!r}")
        count += 1
    return count, found
