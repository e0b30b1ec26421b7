"""Spans of time and windows as texts say them: `90 s`, `24h`, `7 d`, `100r`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_serializer, model_validator

_SPAN: Final = re.compile(r"\s*(\d+)\s*(s|min|h|days?|d)\s*")
_ROWS: Final = re.compile(r"\s*(\d+)\s*(r|rows?)\s*")
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "day": 86_400, "days": 86_400}
LONGEST: Final = timedelta(days=365)
MOST_ROWS: Final = 1_000_000


def read_span(value: object) -> object:
    """A text with a number and a unit as a timedelta; what is no text stays as it is."""
    if isinstance(value, str) and not value.startswith("P"):  # P90D is how registered definitions hold it
        found = _SPAN.fullmatch(value)
        if not found:
            raise ValueError(f"{value!r} is not a span. Hint: write a number and a unit, such as '90 s', '24 h', '7 d'")
        return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    return value


def micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


Span = Annotated[timedelta, BeforeValidator(read_span)]


class Window(BaseModel):
    """The last rows of a group: of a span of time, the last N, or all so far.

    `text` is how names of columns end: `24h`, `7d`, `100r`; empty for all so far.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\s*\d+\s*(s|min|h|days?|d|r|rows?)\s*$"}

    kind: Literal["time", "rows", "all"]
    size: int = 0
    """Microseconds, or rows."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given == "so far":
            return {"kind": "all"}
        rows = _ROWS.fullmatch(given)
        if rows:
            count = int(rows[1])
            if not 0 < count <= MOST_ROWS:
                raise ValueError(f"a window of {count} rows cannot be used. Hint: give 1 to {MOST_ROWS} rows")
            return {"kind": "rows", "size": count}
        if not _SPAN.fullmatch(given):
            raise ValueError(f"{given!r} is not a window. Hint: write '24 h', '7 d' or '100 r' (the last 100 rows)")
        span = read_span(given)
        assert isinstance(span, timedelta)
        if not timedelta(0) < span <= LONGEST:
            raise ValueError(f"a window of {given} cannot be used. Hint: give more than 0 and at most 365 d")
        return {"kind": "time", "size": micros(span)}

    @model_serializer
    def _text(self) -> str:
        return self.text or "so far"

    @property
    def text(self) -> str:
        if self.kind == "rows":
            return f"{self.size}r"
        if self.kind == "all":
            return ""
        seconds = self.size // 1_000_000
        for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
            if seconds % length == 0 and (unit != "d" or seconds // length > 1):
                return f"{seconds // length}{unit}"
        return f"{seconds}s"
