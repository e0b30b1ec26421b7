"""The tables that every input gives: the columns of the STDF reader's, in its types."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fs_spark.stdf.arrow import LOCAL_US, PART_RESULT, UTC_US
from fs_spark.stdf.identity import DEFAULT_INSERTION
from fs_spark.stdf.reader import ReadReport

_TEXT, _INT, _LONG, _SHORT, _REAL, _BOOL = (
    pa.string(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_()
)  # fmt: skip
_WORD: Final = pa.dictionary(_INT, _TEXT)

PARTS: Final = pa.schema(
    {
        **dict.fromkeys(("file_id", "run_id", "lot_id", "wafer_id"), _TEXT),
        **dict.fromkeys(("die_x", "die_y", "head", "site", "touchdown", "part_index"), _INT),
        "part_id": _TEXT,
        "passed": _BOOL,
        "hard_bin": _INT,
        "soft_bin": _INT,
        "test_time_ms": _LONG,
        "run_start": UTC_US,
        "run_start_local": LOCAL_US,
        "event_timestamp": UTC_US,
        "event_local": LOCAL_US,
        "time_quality": _TEXT,
        "available_timestamp": UTC_US,
        **dict.fromkeys(("insertion", "product_id", "test_program", "tester"), _TEXT),
    }
)
RUNS: Final = pa.schema(
    {
        **dict.fromkeys(("file_id", "run_id", "run_key", "lot_id", "wafer_id"), _TEXT),
        "head": _INT,
        **dict.fromkeys(("insertion", "product_id", "test_program", "tester"), _TEXT),
        "run_start": UTC_US,
        "run_start_local": LOCAL_US,
        "run_finish": UTC_US,
        "run_end": UTC_US,
        "time_quality": _TEXT,
        "touchdowns": _INT,
        "parts": _INT,
        **dict.fromkeys(("wafer_diameter_mm", "die_width_mm", "die_height_mm"), _REAL),
        "center_x": _INT,
        "center_y": _INT,
        **dict.fromkeys(("flat", "pos_x", "pos_y"), _TEXT),
    }
)
TESTS: Final = pa.schema(
    {
        "file_id": _TEXT,
        "test_index": _INT,
        "test_num": _LONG,
        "test_name": _TEXT,
        "record": _TEXT,
        "unit": _TEXT,
        "low_limit": _SHORT,
        "high_limit": _SHORT,
        "low_inclusive": _BOOL,
        "high_inclusive": _BOOL,
        "low_spec": _SHORT,
        "high_spec": _SHORT,
        "result_scale": _INT,
        "opt_flag": _INT,
    }
)
RESULTS: Final = pa.schema(
    {
        **dict.fromkeys(("file_id", "run_id", "lot_id", "wafer_id"), _WORD),
        "part_index": _INT,
        "test_num": _LONG,
        "test_name": _WORD,
        "occurrence": _INT,
        "element": _INT,
        "result": _SHORT,
        "passed": _BOOL,
        "record": _WORD,
    }
)

USUAL: Final = {"insertion": DEFAULT_INSERTION, "product_id": "unknown"}
"""What stands for an insertion and a product that nothing tells, as in STDF."""

Int64 = NDArray[np.int64]


def table_of(schema: pa.Schema, rows: int, columns: Mapping[str, Any]) -> pa.Table:
    """A table of `rows` rows: arrays as they are, anything else in every row, what is not given null."""
    arrays = []
    for field in schema:
        value = columns.get(field.name)
        if isinstance(value, pa.ChunkedArray):
            value = value.combine_chunks()
        if not isinstance(value, pa.Array):
            value = pa.repeat(value if isinstance(value, pa.Scalar) else pa.scalar(value, field.type), rows)
        arrays.append(value if value.type == field.type else value.cast(field.type))
    return pa.table(arrays, schema=schema)


def times_of(values_us: Int64 | Sequence[int | None], kind: pa.DataType) -> pa.Array:
    return pa.array(values_us, pa.int64()).cast(kind)


def scalar_of(value_us: int | None, kind: pa.DataType) -> pa.Scalar:
    return pa.scalar(value_us, pa.int64()).cast(kind)


def run_id(file_id: str, number: int) -> str:
    return f"{file_id[:16]}_{number:04d}"


def run_key(names: Mapping[str, Any], *, time_us: int | None) -> str:
    """A run is the same run again when tester, lot, wafer, insertion, head and time agree, whatever tells of it."""
    own = [names.get(name) for name in ("tester", "lot_id", "wafer_id", "insertion", "head")]
    return hashlib.sha256(json.dumps([*own, time_us]).encode()).hexdigest()


def empty_part_results(parts: int) -> pa.Array:
    return part_results(np.zeros(parts + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))


def part_results(begins: Int64, test_index: NDArray[np.int32], result: NDArray[np.float32]) -> pa.Array:
    """One list of structs per part, which is how results travel; NaN is null, and nothing says pass or fail.

    Shapes     begins (parts + 1,): where each part's results begin among test_index, result (n,)
    """
    n = len(result)
    columns = {
        "test_index": pa.array(test_index, pa.int32()),
        "occurrence": pa.array(np.zeros(n, np.int32)),
        "result": pa.array(result, pa.float32(), mask=np.isnan(result)),
    }
    arrays = [columns.get(field.name, pa.nulls(n, field.type)) for field in PART_RESULT]
    structs = pa.StructArray.from_arrays(arrays, fields=list(PART_RESULT))
    return pa.ListArray.from_arrays(pa.array(begins.astype(np.int32)), structs)


@dataclass(frozen=True)
class InputFile:
    """One read file with the attributes of an `StdfFile`, so that both are ingested alike."""

    header: Mapping[str, Any]
    parts: pa.Table
    runs: pa.Table
    tests: pa.Table
    report: ReadReport
    part_results: pa.Array
    """Results as one list of structs per part, which is how they travel."""

    @cached_property
    def results(self) -> pa.Table:
        """One row per result, by part and then in the order of the tests."""
        values, part = self.part_results.flatten(), pc.list_parent_indices(self.part_results)
        own = {field.name: values.field(k) for k, field in enumerate(PART_RESULT)}
        of_part = ("file_id", "run_id", "lot_id", "wafer_id", "part_index")
        of_test = ("test_num", "test_name", "record")
        columns = {
            **own,
            **{name: self.parts[name].take(part) for name in of_part},
            **{name: self.tests[name].take(own["test_index"]) for name in of_test},
        }
        words = {field.name: columns[field.name].dictionary_encode() for field in RESULTS if field.type == _WORD}
        return table_of(RESULTS, len(values), {**columns, **words})
