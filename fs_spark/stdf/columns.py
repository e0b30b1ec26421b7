"""Arrow columns over numpy memory.

`pa.array` and `pa.scalar` import pandas, to see whether they are given a Series: 0.2 s of a process that reads one
small file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def _bits(values: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    return np.dtype(np.int64) if pa.types.is_timestamp(kind) else np.dtype(kind.to_pandas_dtype())


def numbers(values: NDArray[Any], kind: pa.DataType, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers, booleans or times (n,), null where `missing` (n,); of a fitting dtype they are not copied."""
    data = np.ascontiguousarray(values, _dtype(kind))
    buffer = _bits(data) if pa.types.is_boolean(kind) else pa.py_buffer(data)
    valid = _bits(~missing) if missing is not None and missing.any() else None
    return pa.Array.from_buffers(kind, len(data), [valid, buffer])


def texts(values: Sequence[str | None]) -> pa.Array:
    """Texts, null where None."""
    raw = [b"" if value is None else value.encode() for value in values]
    offsets = np.zeros(len(raw) + 1, np.int32)
    np.cumsum([len(one) for one in raw], out=offsets[1:])
    valid = _bits(np.array([value is not None for value in values], np.bool_)) if None in values else None
    return pa.Array.from_buffers(pa.string(), len(raw), [valid, pa.py_buffer(offsets), pa.py_buffer(b"".join(raw))])


def constant(value: str | None, rows: int) -> pa.Array:
    """The same text in every row."""
    return spread([value], np.zeros(rows, np.int64))


def spread(values: Sequence[str | None], index: NDArray[Any]) -> pa.Array:
    """Few texts over many rows (n,)."""
    return texts(values).take(numbers(index, pa.int64()))


def listed(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Values of a list, null where None."""
    if pa.types.is_string(kind):
        return texts(values)
    missing = np.array([value is None for value in values], np.bool_)
    return numbers(np.array([0 if value is None else value for value in values], _dtype(kind)), kind, missing)
