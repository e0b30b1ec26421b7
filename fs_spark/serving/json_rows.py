"""Answers as JSON: moments in ISO 8601 with microseconds and Z, dates in ISO 8601, NaN and infinities as texts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

import orjson

from fs_spark.online.request import Answer
from fs_spark.serving.layout import Layout

_TIMES: Final = orjson.OPT_PASSTHROUGH_DATETIME  # orjson itself leaves microseconds out where they are 0


def json_bytes(told: Any) -> bytes:
    return orjson.dumps(told, _time, _TIMES)


def json_rows(head: Mapping[str, Any], rows: list[Answer], layout: Layout) -> bytes:
    """`head` and the rows as one object; the rows are changed."""
    floats, lists = layout.floats, layout.lists
    isfinite = math.isfinite
    for row in rows:
        for name in floats:
            value = row.get(name)
            if type(value) is float and not isfinite(value):
                row[name] = _text(value)
        for name in lists:
            values = row.get(name)
            if isinstance(values, list):
                row[name] = [one if one is None or isfinite(one) else _text(one) for one in values]
        for name in layout.hidden:
            del row[name]
    return json_bytes({**head, "rows": rows})


def _text(value: float) -> str:
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value.isoformat(timespec='microseconds')[:-6]}Z"  # the reader gives UTC
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
