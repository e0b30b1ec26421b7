"""Texts of row expressions on Arrow arrays: parts, patterns and casts, by rules that hold in Spark too."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fs_spark.features.expressions.zones import DAY, EARLIEST, LATEST, SECOND, micros

NUMBER: Final = "[+-]?([0-9]{1,40}([.][0-9]{0,40})?|[.][0-9]{1,40})([eE][+-]?[0-9]{1,5})?"
INTEGER: Final = "[+-]?[0-9]{1,19}"
DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
TIMESTAMP: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z"
"""What a text has to be, whole, for a cast; the same in Java's regular expressions and in RE2."""
_LIMITS: Final = {"int": ("2147483647", "2147483648"), "bigint": ("9223372036854775807", "9223372036854775808")}
_WIDTH: Final = 19


def _those(texts: Any, pattern: str, instead: str) -> tuple[Any, Any]:
    """Which texts are wholly of a pattern, and the texts with `instead` in the places of others."""
    fits = pc.fill_null(pc.match_substring_regex(texts, f"^({pattern})$"), False)
    return fits.to_numpy(zero_copy_only=False), pc.if_else(fits, texts, instead)


def to_double(texts: Any) -> Any:
    """Numbers written out, correctly rounded, not checked for infinity."""
    fits, usable = _those(texts, NUMBER, "0")
    values = np.array(usable.to_numpy(zero_copy_only=False), "S").astype(np.float64) if len(texts) else np.empty(0)
    return pa.array(values, pa.float64(), mask=~fits)


def to_whole(texts: Any, dtype: str) -> Any:
    """Integers written out; null where they do not fit."""
    fits, usable = _those(texts, INTEGER, "0")
    minus = pc.starts_with(usable, "-")
    digits = pc.utf8_lpad(pc.utf8_ltrim(usable, "+-"), _WIDTH, "0")
    most, most_below = (limit.rjust(_WIDTH, "0") for limit in _LIMITS[dtype])
    within = pc.less_equal(digits, pc.if_else(minus, most_below, most))
    written = pc.binary_join_element_wise(pc.if_else(minus, "-", ""), pc.if_else(within, digits, "0"), "")
    values = written.cast(pa.int64()).cast(pa.int32() if dtype == "int" else pa.int64())
    return pc.if_else(pc.and_(within, pa.array(fits)), values, None)


def to_boolean(texts: Any) -> Any:
    return pc.if_else(pc.or_(pc.equal(texts, "true"), pc.equal(texts, "false")), pc.equal(texts, "true"), None)


def _number(texts: Any, start: int, stop: int) -> Any:
    return pc.utf8_slice_codeunits(texts, start, stop).cast(pa.int64()).to_numpy(zero_copy_only=False)


def _days(texts: Any) -> tuple[Any, Any]:
    """Days since 1970 of texts that begin with a date, and which of these dates there are."""
    year, month, day = _number(texts, 0, 4), _number(texts, 5, 7), _number(texts, 8, 10)
    months = ((year - 1970) * 12 + month - 1).astype("M8[M]")
    first = months.astype("M8[D]").astype(np.int64)
    length = (months + 1).astype("M8[D]").astype(np.int64) - first
    return first + day - 1, (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= length)


def to_date(texts: Any) -> Any:
    """Dates as 2026-01-31; null where there is no such day."""
    fits, usable = _those(texts, DATE, "1970-01-01")
    days, real = _days(usable)
    return pa.array(days.astype(np.int32), pa.int32(), mask=~(fits & real)).cast(pa.date32())


def to_timestamp(texts: Any) -> Any:
    """Instants as 2026-01-31T23:59:59Z, with up to six digits behind a point; null where there is no such time."""
    fits, usable = _those(texts, TIMESTAMP, "1970-01-01T00:00:00Z")
    days, real = _days(usable)
    hour, minute, second = (_number(usable, start, start + 2) for start in (11, 14, 17))
    fraction = _number(pc.utf8_rpad(pc.utf8_slice_codeunits(usable, 20, -1), 6, "0"), 0, 6)
    instants = days * DAY + ((hour * 60 + minute) * 60 + second) * SECOND + fraction
    real &= (hour < 24) & (minute < 60) & (second < 60) & (instants >= micros(EARLIEST)) & (instants < micros(LATEST))
    return pa.array(instants, pa.int64(), mask=~(fits & real)).cast(pa.timestamp("us", "UTC"))


def substring(texts: Any, start: int, length: int | None) -> Any:
    """From the `start`-th character, counted from 1."""
    return pc.utf8_slice_codeunits(texts, start - 1, None if length is None else start - 1 + length)
