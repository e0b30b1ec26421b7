"""Compares two Spark frames: keys, types and integers exactly, floats within a stated tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from chispa.rows_comparer import assert_basic_rows_equality
from chispa.schema_comparer import assert_schema_equality
from pyspark.sql import DataFrame, Row
from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType


def assert_frames_close(
    actual: DataFrame, expected: DataFrame, *, keys: Sequence[str], rtol: float = 0.0, atol: float = 0.0
) -> None:
    """Fails unless both frames have the same rows under `keys`, in any order, and the same columns in the same order.

    Nullability is not compared. Floats, and floats in arrays, are equal within `rtol` and `atol` (0: bit for bit but
    for the sign of zero); null equals null and NaN equals NaN, but null is not NaN. All else is equal exactly.
    """
    assert_schema_equality(actual.schema, expected.schema, ignore_nullable=True)
    left, right = _rows(actual, keys), _rows(expected, keys)
    floating = [field.name for field in expected.schema.fields if _is_floating(field.dataType)]
    exact = [name for name in expected.columns if name not in floating]
    assert_basic_rows_equality(_only(left, exact), _only(right, exact))
    if len(left) != len(right):  # without an exact column chispa has nothing to compare
        raise AssertionError(f"{len(left)} rows, expected {len(right)}")
    for name in floating:
        numbers, shape = _flat([row[name] for row in left])
        wanted, wanted_shape = _flat([row[name] for row in right])
        if shape != wanted_shape:
            raise AssertionError(f"column {name!r} has nulls, or arrays of a length, where the expected frame has not")
        np.testing.assert_allclose(numbers, wanted, rtol=rtol, atol=atol, equal_nan=True, err_msg=f"column {name!r}")


def _rows(frame: DataFrame, keys: Sequence[str]) -> list[Row]:
    rows = frame.collect()
    if len({tuple(row[key] for key in keys) for row in rows}) != len(rows):
        raise AssertionError(f"the keys {list(keys)} do not tell the rows of a frame apart")
    return sorted(rows, key=lambda row: [(row[key] is not None, row[key]) for key in keys])


def _only(rows: list[Row], names: Sequence[str]) -> list[Row]:
    make = Row(*names)
    return [make(*(row[name] for name in names)) for row in rows] if names else []


def _is_floating(kind: DataType) -> bool:
    return isinstance(kind.elementType if isinstance(kind, ArrayType) else kind, (FloatType, DoubleType))


def _flat(values: list[Any]) -> tuple[np.ndarray, list[Any]]:
    """All numbers in a row, and beside them where there are nulls and how long arrays are."""
    shape: list[Any] = []
    numbers: list[float] = []
    for value in values:
        if isinstance(value, list):
            shape.append([element is None for element in value])
            numbers.extend(element for element in value if element is not None)
        else:
            shape.append(value is None)
            if value is not None:
                numbers.append(value)
    return np.asarray(numbers, np.float64), shape
