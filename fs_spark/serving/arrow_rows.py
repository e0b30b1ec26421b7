"""Answers as one Arrow IPC stream, with the types of the tables that they come from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import pyarrow as pa

from fs_spark.errors import RequestError
from fs_spark.features.types import ARROW
from fs_spark.online.request import Answer
from fs_spark.serving.layout import Layout

_TYPES: Final = {**ARROW, "long": pa.int64(), "float": pa.float32(), "integer": pa.int64()}


def arrow_rows(head: Mapping[str, Any], rows: list[Answer], layout: Layout) -> bytes:
    """The key's columns, then those of the answer; `head` is the schema's metadata.

    Raises  RequestError for keys that Arrow cannot hold, such as an integer of more than 64 bits
    """
    given = {column for row in rows for column in row}
    kinds = {**layout.keys, **{name: kind for name, kind in layout.brought.items() if name in given}, **layout.answers}
    columns = {name: _column(name, kind, rows) for name, kind in kinds.items()}
    schema = pa.schema(
        [(name, column.type) for name, column in columns.items()], {key: str(value) for key, value in head.items()}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
    return bytes(sink.getvalue())


def _column(name: str, kind: str, rows: list[Answer]) -> pa.Array:
    values = [row.get(name) for row in rows]
    if kind == "date":  # a key may bring one as text
        values = [date.fromisoformat(value) if isinstance(value, str) else value for value in values]
    try:
        return pa.array(values, _TYPES[kind] if kind else None)
    except (OverflowError, pa.ArrowInvalid, pa.ArrowTypeError) as fault:
        raise RequestError(
            f"column {name!r} cannot be held in one Arrow type: {fault}.\n"
            "Hint: give texts or integers of 64 bits, of one kind in all keys; JSON takes any."
        ) from fault
