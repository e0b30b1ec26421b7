"""StructType of every table, and the check that a frame has the columns that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql import DataFrame
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from fs_spark import names as n
from fs_spark.errors import SchemaError
from fs_spark.features.definition import View
from fs_spark.features.source import SourceText
from fs_spark.features.table_view import UNIT_KEYS, TableView

_STRING, _INT, _LONG, _TIME = StringType(), IntegerType(), LongType(), TimestampType()


def _struct(columns: dict[str, DataType], *, required: Sequence[str] = ()) -> StructType:
    return StructType([StructField(name, kind, name not in required) for name, kind in columns.items()])


@dataclass(frozen=True)
class TableLayout:
    """A table's columns, what its files are clustered by, and whether rows are replaced in place.

    Only the latter needs deletion vectors, which many readers beside Spark refuse.
    """

    schema: StructType
    cluster_by: tuple[str, ...] = ()
    replaced_in_place: bool = False
    has_change_feed: bool = False
    """Whether commits keep which rows they added and removed."""
    bounded: tuple[str, ...] = ()
    """Columns whose least and greatest value each file tells, beside those of `cluster_by`; none = the first 32.

    Texts cost most: all of `die_tests` double the time of writing it.
    """

    @property
    def statistics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.cluster_by, *self.bounded))) if self.bounded else ()


FILES: Final = TableLayout(
    _struct(
        {
            n.FILE_ID: _STRING,
            "path": _STRING,
            "status": _STRING,
            "reason": _STRING,
            "position": _LONG,
            "delivered_at": _TIME,
            "delivered_bytes": _LONG,
            "decompressed_bytes": _LONG,
            "byte_order": _STRING,
            "lot_id": _STRING,
            "tester": _STRING,
            "test_program": _STRING,
            "parts": _INT,
            "parts_without_key": _INT,
            "dropped": _STRING,
            "faults": _STRING,
            "warnings": _STRING,
            "run_keys": _STRING,
            "settings": _STRING,
            n.BATCH_ID: _STRING,
        },
        required=(n.FILE_ID, "status"),
    )
)

WAFER_RUNS: Final = TableLayout(
    _struct(
        {
            n.FILE_ID: _STRING,
            n.RUN_ID: _STRING,
            "run_key": _STRING,
            n.LOT_ID: _STRING,
            n.WAFER_ID: _STRING,
            n.HEAD: _INT,
            n.INSERTION: _STRING,
            n.PRODUCT_ID: _STRING,
            n.TEST_PROGRAM: _STRING,
            n.TESTER: _STRING,
            n.RUN_START: _TIME,
            "run_start_local": TimestampNTZType(),
            "run_finish": _TIME,
            "run_end": _TIME,
            n.TIME_QUALITY: _STRING,
            "touchdowns": _INT,
            "parts": _INT,
            "wafer_diameter_mm": DoubleType(),
            "die_width_mm": DoubleType(),
            "die_height_mm": DoubleType(),
            "center_x": _INT,
            "center_y": _INT,
            "flat": _STRING,
            "pos_x": _STRING,
            "pos_y": _STRING,
            n.BATCH_ID: _STRING,
        },
        required=(n.FILE_ID, n.RUN_ID, "run_key"),
    ),
    cluster_by=(n.LOT_ID, n.WAFER_ID),
)

DIE_TESTS: Final = TableLayout(
    _struct(
        {
            n.FILE_ID: _STRING,
            n.RUN_ID: _STRING,
            n.LOT_ID: _STRING,
            n.WAFER_ID: _STRING,
            n.DIE_X: _INT,
            n.DIE_Y: _INT,
            n.HEAD: _INT,
            n.SITE: _INT,
            n.TOUCHDOWN: _INT,
            n.PART_INDEX: _INT,
            n.PART_ID: _STRING,
            n.PASSED: BooleanType(),
            n.HARD_BIN: _INT,
            n.SOFT_BIN: _INT,
            n.TEST_TIME_MS: _LONG,
            n.RUN_START: _TIME,
            n.EVENT_TIMESTAMP: _TIME,
            n.TIME_QUALITY: _STRING,
            n.AVAILABLE_TIMESTAMP: _TIME,
            n.INSERTION: _STRING,
            n.PRODUCT_ID: _STRING,
            n.TEST_PROGRAM: _STRING,
            n.TESTER: _STRING,
            n.BATCH_ID: _STRING,
        },
        required=(n.FILE_ID, n.RUN_ID, n.PART_INDEX),
    ),
    cluster_by=(n.LOT_ID, n.WAFER_ID),
    bounded=(n.FILE_ID, n.EVENT_TIMESTAMP),
)

TESTS: Final = TableLayout(
    _struct(
        {
            n.FILE_ID: _STRING,
            n.TEST_INDEX: _INT,
            n.TEST_NUM: _LONG,
            n.TEST_NAME: _STRING,
            n.RECORD: _STRING,
            "unit": _STRING,
            "low_limit": FloatType(),
            "high_limit": FloatType(),
            "low_inclusive": BooleanType(),
            "high_inclusive": BooleanType(),
            "low_spec": FloatType(),
            "high_spec": FloatType(),
            "result_scale": _INT,
            "opt_flag": _INT,
            n.BATCH_ID: _STRING,
        },
        required=(n.FILE_ID, n.TEST_INDEX),
    )
)

TEST_RESULTS: Final = TableLayout(
    _struct(
        {
            n.FILE_ID: _STRING,
            n.RUN_ID: _STRING,
            n.LOT_ID: _STRING,
            n.WAFER_ID: _STRING,
            n.PART_INDEX: _INT,
            n.TEST_NUM: _LONG,
            n.TEST_NAME: _STRING,
            n.OCCURRENCE: _INT,
            n.ELEMENT: _INT,
            n.RESULT: FloatType(),
            n.PASSED: BooleanType(),
            n.RECORD: _STRING,
            n.BATCH_ID: _STRING,
        },
        required=(n.FILE_ID, n.RUN_ID, n.PART_INDEX),
    ),
    cluster_by=(n.LOT_ID, n.WAFER_ID, n.TEST_NUM),
    bounded=(n.FILE_ID,),
)

BATCHES: Final = TableLayout(
    _struct(
        {n.BATCH_ID: _STRING, "state": _STRING, "at": _TIME, "file_ids": ArrayType(_STRING)},
        required=(n.BATCH_ID, "state"),
    )
)

REGISTRY: Final = TableLayout(
    _struct(
        {
            "entry": _LONG,
            "kind": _STRING,
            "view": _STRING,
            "version": _STRING,
            n.PRODUCT_ID: _STRING,
            "digest": _STRING,
            "body": _STRING,
            "at": _TIME,
            "by": _STRING,
            "why": _STRING,
            "format": _INT,
        },
        required=("entry", "kind", "view", "version"),
    )
)

TRAINING_SETS: Final = TableLayout(
    _struct({"name": _STRING, "content_digest": _STRING, "manifest": _STRING}, required=("name",))
)

LAYOUTS: Final = {
    n.FILES: FILES,
    n.WAFER_RUNS: WAFER_RUNS,
    n.DIE_TESTS: DIE_TESTS,
    n.TESTS: TESTS,
    n.TEST_RESULTS: TEST_RESULTS,
    n.BATCHES: BATCHES,
    n.REGISTRY: REGISTRY,
    n.TRAINING_SETS: TRAINING_SETS,
}

_TYPES: Final[dict[str, DataType]] = {
    "boolean": BooleanType(),
    "int": _INT,
    "bigint": _LONG,
    "double": DoubleType(),
    "string": _STRING,
    "date": DateType(),
    "timestamp": _TIME,
    "array<double>": ArrayType(DoubleType()),
}


def column_type(name: str) -> DataType:
    """Spark's type of a column by its name, as `fs_spark.features.types` lists them."""
    return _TYPES[name]


def sql_type(kind: DataType) -> str:
    """A type in SQL; TIMESTAMP alone means what the session says that it means."""
    return "timestamp_ltz" if isinstance(kind, TimestampType) else kind.simpleString()


def view_layout(view: View) -> TableLayout:
    """Keys, times, sequence and features of a view's table; its keys take no null, nor the times of a dated view, so
    that no table holds static rows beside dated ones."""
    times = () if view.is_static else (n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP)
    unit, order = (UNIT_COLUMNS, view.order_columns) if isinstance(view, TableView) else ({}, {})
    return TableLayout(
        _struct(
            {
                **unit,
                **{key: _TYPES[kind] for key, kind in view.key_types.items()},
                n.EVENT_TIMESTAMP: _TIME,
                n.AVAILABLE_TIMESTAMP: _TIME,
                n.SEQUENCE: _LONG,
                **{column: _TYPES[kind] for column, kind in order.items()},
                **dict.fromkeys(view.times, _TIME),
                **{column: _TYPES[kind] for column, kind in view.columns.items()},
            },
            required=(*unit, *view.keys, *times, n.SEQUENCE),
        ),
        cluster_by=view.unit_keys,
        bounded=(n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP),
        replaced_in_place=True,
        has_change_feed=bool(unit),
    )


def source_layout(source: SourceText) -> TableLayout:
    """The rows of a source as the store keeps them."""
    times = () if source.is_static else (n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP)
    columns = {**UNIT_COLUMNS, n.EVENT_TIMESTAMP: _TIME, n.AVAILABLE_TIMESTAMP: _TIME}
    columns |= {"valid_to": _TIME} if source.valid_to is not None else {}
    columns |= {name: _TYPES[kind] for name, kind in source.columns.items() if name not in columns}
    return TableLayout(
        _struct(columns, required=(*UNIT_COLUMNS, *source.keys, *times)),
        cluster_by=UNIT_KEYS,
        bounded=(n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP),
        replaced_in_place=True,
        has_change_feed=True,
    )


UNIT_COLUMNS: Final[dict[str, DataType]] = dict(zip(UNIT_KEYS, (_INT, _TIME), strict=True))
"""What is replaced as one in tables of every kind but spatial: a hash of the keys, and a span's beginning."""


def require_columns(frame: DataFrame, columns: Sequence[str], *, what: str) -> None:
    """Raises SchemaError that lists every column that `frame` lacks."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise SchemaError(
            f"{what} lacks {', '.join(missing)}; it has {', '.join(frame.columns)}.\n"
            f"Hint: add the missing column{'s' if len(missing) > 1 else ''}, or rename yours"
        )
