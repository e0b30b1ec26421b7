"""Arithmetic of row expressions on Arrow arrays: finite doubles or null, the same bits as Spark's.

Sums, products and quotients are first computed as IEEE gives them and checked once at their end (`finite`): what has
become infinite or NaN does not become finite again by adding, multiplying, or dividing it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
TURNS: Final = 1000.0
"""Beyond it sine and cosine are null: the reduction of the angle has no more bits."""


def finite(values: Any) -> Any:
    """Doubles without NaN and infinity, which become null, and without -0.0, which becomes 0.0."""
    if isinstance(values, pa.Scalar):
        value = values.as_py()
        return pa.scalar(value + 0.0 if value is not None and np.isfinite(value) else None, pa.float64())
    plain = np.frombuffer(values.buffers()[1], np.float64, len(values), values.offset * 8) if len(values) else _NONE
    bits = values.buffers()[0] if values.null_count else None
    checked = plain + 0.0
    usable = np.isfinite(checked)
    if usable.all() and not values.offset:
        return pa.Array.from_buffers(pa.float64(), len(values), [bits, pa.py_buffer(checked)], values.null_count)
    if bits is not None:
        usable &= pc.is_valid(values).to_numpy(zero_copy_only=False)
    return pa.array(checked, pa.float64(), mask=~usable)


_NONE: Final = np.empty(0)


def doubles(values: Any) -> Any:
    """Numbers as doubles, not checked; integers beyond 2^53 are rounded to the nearest."""
    return values if values.type == pa.float64() else values.cast(pa.float64(), safe=False)


def _plain(values: Any, rows: int) -> Float64:
    """Doubles as numpy sees them, NaN for null."""
    if isinstance(values, pa.Scalar):
        value = values.as_py()
        return np.full(rows, np.nan if value is None else value)
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64)


def by_numpy(function: Callable[..., Float64], given: Sequence[Any], rows: int) -> Any:
    """A function over plain doubles, NaN where it is undefined."""
    with np.errstate(all="ignore"):
        return pa.array(np.asarray(function(*(_plain(one, rows) for one in given)), np.float64), pa.float64())


def half_away(x: Float64) -> Float64:
    """To the nearest integer, halves away from zero."""
    whole = np.trunc(x)
    return np.asarray(whole + np.copysign(np.abs(x - whole) >= 0.5, x), np.float64)


def rounded(values: Any, digits: int, rows: int) -> Any:
    """x * 10^d rounded, divided by 10^d; of negative digits the other way round."""
    scale = 10.0 ** abs(digits)

    def both(x: Float64) -> Float64:
        return half_away(x * scale) / scale if digits >= 0 else half_away(x / scale) * scale

    return by_numpy(both, [values], rows)


def power(values: Any, exponent: int) -> Any:
    """x * x * ... from the left."""
    product = values
    for _ in range(exponent - 1):
        product = pc.multiply(product, values)
    return product


def whole(values: Any, toward: Callable[[Float64], Float64], dtype: str, rows: int, *, least: bool = True) -> Any:
    """Finite doubles made integers; null where they do not fit, and at the least integer unless it is allowed."""
    kind: Any = np.int32 if dtype == "int" else np.int64
    limit = 2.0**31 if dtype == "int" else 2.0**63
    with np.errstate(invalid="ignore"):
        moved = toward(_plain(values, rows))
        usable = ((moved >= -limit) if least else (moved > -limit)) & (moved < limit)
        return pa.array(np.where(usable, moved, 0.0).astype(kind), mask=~usable)


def bins(values: Any, edges: Sequence[float], rows: int) -> Any:
    """k where edges[k] <= x < edges[k + 1], the last closed; null outside."""
    x = _plain(values, rows)
    inside = (x >= edges[0]) & (x <= edges[-1])
    place = np.minimum(np.searchsorted(np.asarray(edges), x, side="right") - 1, len(edges) - 2)
    return pa.array(place.astype(np.int32), mask=~inside)


def _sine(x: Float64) -> Float64:
    from fs_spark.kernels.elementary import sines_and_cosines

    return sines_and_cosines(np.where(np.abs(x) <= TURNS, x, np.nan))[0]


def _cosine(x: Float64) -> Float64:
    from fs_spark.kernels.elementary import sines_and_cosines

    return sines_and_cosines(np.where(np.abs(x) <= TURNS, x, np.nan))[1]


def _exponential(x: Float64) -> Float64:
    from fs_spark.kernels.elementary import exponentials

    return exponentials(x)


def _logarithm(x: Float64) -> Float64:
    from fs_spark.kernels.elementary import logarithms

    return logarithms(x)


def _logarithm10(x: Float64) -> Float64:
    from fs_spark.kernels.elementary import logarithms

    return logarithms(x, base_10=True)


def _angle(y: Float64, x: Float64) -> Float64:
    from fs_spark.kernels.elementary import arctangents

    return arctangents(y, x)


def _hypotenuse(x: Float64, y: Float64) -> Float64:
    from fs_spark.kernels.elementary import hypotenuses

    return np.where(np.isnan(x) | np.isnan(y), np.nan, hypotenuses(x, y))


OWN: Final[dict[str, Callable[..., Float64]]] = {
    "exp": _exponential,
    "ln": _logarithm,
    "log10": _logarithm10,
    "sin": _sine,
    "cos": _cosine,
    "atan2": _angle,
    "hypot": _hypotenuse,
}
"""Of our own arithmetic. Its compiled code is loaded when an expression first needs it."""
