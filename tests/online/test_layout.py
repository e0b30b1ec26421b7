"""The bytes are those that LAYOUT.md describes: the vectors are made from it by a program of its own."""

from __future__ import annotations

import json
import struct
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from fs_spark.online.codec import RowSchema, decode_key, encode_key, row_codec
from fs_spark.online.redis_keys import bucket_of
from fs_spark.online.values import HEAD, head, order_of, pushed_row, pushed_value, schema_mark
from tests.online.make_vectors import FIXED, vectors

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))
SCHEMA = RowSchema(tuple(VECTORS["schema"]["names"]), tuple(VECTORS["schema"]["types"]))


def key_values(told: list[Any]) -> list[Any]:
    return [date.fromisoformat(one[5:]) if isinstance(one, str) and one.startswith("date:") else one for one in told]


def row_values(told: list[Any]) -> list[Any]:
    found: list[Any] = []
    for kind, value in zip(SCHEMA.types, told, strict=True):
        if isinstance(value, list):
            found.append([float(one) if isinstance(one, str) else one for one in value])
        elif value is not None and kind in ("double", "float"):
            found.append(float(value))
        else:
            found.append(bool(value) if kind == "boolean" and value is not None else value)
    return found


def test_the_file_is_what_the_program_writes() -> None:
    assert json.loads(json.dumps(vectors())) == VECTORS


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=str)
def test_keys(vector: dict[str, Any]) -> None:
    values = key_values(vector["values"])
    encoded = encode_key(values)
    assert encoded is not None
    assert encoded.hex() == vector["bytes"]
    assert list(decode_key(encoded)) == values
    assert bucket_of(encoded) == vector["bucket"]


def test_no_two_keys_are_alike() -> None:
    assert len({vector["bytes"] for vector in VECTORS["keys"]}) == len(VECTORS["keys"])


@pytest.mark.parametrize("vector", VECTORS["rows"], ids=str)
def test_rows(vector: dict[str, Any]) -> None:
    codec = row_codec(SCHEMA)
    assert codec.encode(row_values(vector["values"])).hex() == vector["bytes"]
    again = codec.decode(bytes.fromhex(vector["bytes"]))
    assert codec.encode(list(again)).hex() == vector["bytes"]


def test_values_and_tombstones() -> None:
    codec = row_codec(SCHEMA)
    rows = [bytes.fromhex(one["bytes"]) for one in VECTORS["rows"]]
    for vector in VECTORS["values"]:
        value = bytes.fromhex(vector["bytes"])
        made = head(vector["delta_version"], vector["sequence"]) + b"".join(rows[at] for at in vector["rows"])
        assert made == value
        assert len(value) == HEAD.size or len(codec.decode_rows(value, HEAD.size)) == len(vector["rows"])


def test_pushed_rows() -> None:
    (vector,) = VECTORS["pushed"]
    row = bytes.fromhex(VECTORS["rows"][vector["row"]]["bytes"])
    order = order_of(*vector["order"])
    assert pushed_value(order, SCHEMA, row).hex() == vector["bytes"]
    assert pushed_row(bytes.fromhex(vector["bytes"])) == (order, schema_mark(SCHEMA), row)


def test_every_type_has_a_vector() -> None:
    assert set(FIXED) | {"string", "array<double>"} == set(SCHEMA.types)
    assert struct.calcsize("<q") == 8
