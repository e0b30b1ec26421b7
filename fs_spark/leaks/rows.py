"""A training set's rows, from Spark or from pandas: samples of them, and those that are later than they may be."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import MapType, TimestampType, VariantType

from fs_spark.errors import SchemaError, zone_hint

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHARES: Final = 1 << 30


def micros_of(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def shown(value: Any, kind: pa.DataType | None = None) -> Any:
    """A value as a report shows it: a time in ISO 8601, else as it is where JSON knows it."""
    if value is not None and kind is not None and pa.types.is_timestamp(kind):
        return (_EPOCH + timedelta(microseconds=value)).isoformat()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def plain(table: pa.Table) -> pa.Table:
    """Times as microseconds, dictionaries as their values: what compares by `==` in Python."""
    for index, field in enumerate(table.schema):
        column = table[field.name]
        if pa.types.is_dictionary(field.type):
            column = column.cast(field.type.value_type)
        if pa.types.is_timestamp(field.type):
            column = column.cast(pa.timestamp("us", tz=field.type.tz), safe=False).cast(pa.int64())
        table = table.set_column(index, field.name, column)
    return table


@dataclass(frozen=True)
class LateRows:
    """How many rows are later than they may be, the first of them, and of how many rows that was asked."""

    late: int
    first: Row | None
    asked: int


@dataclass(frozen=True)
class SparkRows:
    """Rows of a Spark frame; only samples and counts leave it."""

    frame: DataFrame

    @property
    def columns(self) -> list[str]:
        return self.frame.columns

    def _hash(self, seed: int) -> Column:
        """By content alone: the same rows are chosen whatever their order and partitions."""
        unhashed = (MapType, VariantType)
        known = [f.name for f in self.frame.schema.fields if not isinstance(f.dataType, unhashed)]
        return F.xxhash64(F.lit(seed), *(F.col(f"`{c}`") for c in known))

    def _picked(self, columns: Sequence[str]) -> list[Column]:
        return [F.col(f"`{c}`") for c in columns]

    def sample(self, columns: Sequence[str], rows: int, seed: int) -> pa.Table:
        """Some rows, first those whose content has the least hash."""
        return self.frame.orderBy(self._hash(seed)).limit(rows).select(*self._picked(columns)).toArrow()

    def share(self, columns: Sequence[str], rows: int, seed: int) -> pa.Table:
        """All rows, or of more than `rows` the share whose hash is small."""
        total = self.frame.count()
        frame = self.frame
        if total > rows:
            least = int(_SHARES * 0.99 * rows / total)
            frame = frame.where(F.pmod(self._hash(seed), F.lit(_SHARES)) < least).limit(rows)
        return frame.select(*self._picked(columns)).toArrow()

    def require_time(self, column: str) -> None:
        """Raises SchemaError where it is no time with a zone."""
        kind = self.frame.schema[column].dataType
        if not isinstance(kind, TimestampType):
            text = f"F.col({column!r}).cast('string')"
            hint = zone_hint(
                f"F.concat({text}, F.lit(' UTC')).cast('timestamp')",
                f"F.concat({text}, F.lit(' ' + zone)).cast('timestamp')",
            )
            raise SchemaError(f"{column!r} is {kind.simpleString()}, not a time with a zone. {hint}")

    def late(self, moments: Sequence[str], time: str, offset: int, *, strict: bool, show: Sequence[str]) -> LateRows:
        """Rows one of whose moments is after the time less the offset, with `strict` also those at it."""
        at = F.unix_micros(F.col(f"`{time}`")) - F.lit(offset)
        conditions = []
        for name in moments:
            moment = F.unix_micros(F.col(f"`{name}`"))
            passed = moment >= at if strict else moment > at
            conditions.append(F.coalesce(passed | (at.isNull() & moment.isNotNull()), F.lit(False)))
        late = reduce(lambda a, b: a | b, conditions)
        given = reduce(lambda a, b: a | b, [F.col(f"`{name}`").isNotNull() for name in moments])
        asked, count = self.frame.agg(F.count_if(given), F.count_if(late)).collect()[0]
        if not count:
            return LateRows(0, None, asked)
        return LateRows(count, _named(SparkRows(self.frame.where(late)).sample(show, 1, 0)), asked)


@dataclass(frozen=True)
class ArrowRows:
    """Rows of a pandas frame, where NaN and null are one."""

    table: pa.Table
    hashes: np.ndarray[Any, np.dtype[np.uint64]]

    @classmethod
    def of(cls, frame: pd.DataFrame, seed: int) -> ArrowRows:
        import pandas as pd

        hashable = frame[[c for c in frame.columns if not frame[c].map(lambda v: isinstance(v, list | dict)).any()]]
        hashes = pd.util.hash_pandas_object(hashable, index=False, hash_key=f"{seed:016d}"[-16:])
        return cls(pa.Table.from_pandas(frame, preserve_index=False), np.asarray(hashes, np.uint64))

    @property
    def columns(self) -> list[str]:
        return list(self.table.column_names)

    def sample(self, columns: Sequence[str], rows: int, seed: int) -> pa.Table:
        """Some rows, first those whose content has the least hash."""
        return self.table.select(list(columns)).take(pa.array(np.argsort(self.hashes, kind="stable")[:rows]))

    def share(self, columns: Sequence[str], rows: int, seed: int) -> pa.Table:
        return self.sample(columns, rows, seed)

    def require_time(self, column: str) -> None:
        """Raises SchemaError where it is no time with a zone."""
        kind = self.table.schema.field(column).type
        if not pa.types.is_timestamp(kind) or kind.tz is None:
            time = f"pd.to_datetime(frame[{column!r}]).dt.tz_localize"
            hint = zone_hint(f"{time}('UTC')", f"{time}(zone)")
            raise SchemaError(f"{column!r} is {kind}, not a time with a zone. {hint}")

    def late(self, moments: Sequence[str], time: str, offset: int, *, strict: bool, show: Sequence[str]) -> LateRows:
        """Rows one of whose moments is after the time less the offset, with `strict` also those at it."""
        numbers = plain(self.table.select([*dict.fromkeys([*moments, time])]))
        at = pc.subtract(numbers[time], offset)
        late = given = pa.array(np.zeros(len(numbers), bool))
        for name in moments:
            there = pc.is_valid(numbers[name])
            passed = (pc.greater_equal if strict else pc.greater)(numbers[name], at)
            late = pc.or_(late, pc.or_(pc.fill_null(passed, False), pc.and_(pc.is_null(at), there)))
            given = pc.or_(given, there)
        count, asked = pc.sum(late).as_py() or 0, pc.sum(given).as_py() or 0
        first = _named(self.table.filter(late).select(list(show)).slice(0, 1)) if count else None
        return LateRows(count, first, asked)


TrainingRows = SparkRows | ArrowRows


def _named(table: pa.Table) -> Row:
    return {name: shown(plain(table)[name][0].as_py(), table.schema.field(name).type) for name in table.column_names}


@dataclass(frozen=True)
class Sample:
    """The rows that are rebuilt: as Python values, with times in microseconds."""

    table: pa.Table
    rows: list[Row]
    timestamp: str
    nan_is_null: bool

    @classmethod
    def of(cls, table: pa.Table, timestamp: str, *, nan_is_null: bool) -> Sample:
        return cls(table, plain(table).to_pylist(), timestamp, nan_is_null)

    def named(self, row: int, keys: Sequence[str]) -> Row:
        """How a report names a row: its keys and its time."""
        names = dict.fromkeys([*keys, self.timestamp])
        return {name: shown(self.rows[row][name], self.table.schema.field(name).type) for name in names}

    def shown(self, column: str, value: Any) -> Any:
        return shown(value, self.table.schema.field(column).type)

    def kept(self, column: str, value: Any) -> Any:
        """A value as the set's column holds it: narrowed to its float width; in pandas NaN is null."""
        if isinstance(value, float):
            if self.nan_is_null and value != value:
                return None
            if pa.types.is_float32(self.table.schema.field(column).type):
                return float(np.float32(value))
        return value


def same(value: Any, other: Any) -> bool:
    """Bit for bit but for the width of numbers: NaN is NaN, null is null, and the sign of zero counts."""
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(same(a, b) for a, b in zip(value, other, strict=True))
    if isinstance(value, float) and isinstance(other, float):
        if value != value or other != other:
            return value != value and other != other
        return value == other and np.signbit(value) == np.signbit(other)
    return (value is None) == (other is None) and bool(value == other)


def all_same(values: Sequence[Any], others: Sequence[Any]) -> bool:
    return all(same(a, b) for a, b in zip(values, others, strict=True))


def unknown_column(what: str, wanted: str, columns: Sequence[str]) -> str:
    near = difflib.get_close_matches(wanted, columns, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "name a column of the training set"
    return f"the training set lacks {what} {wanted!r}; it has {', '.join(columns)}.\nHint: {hint}"


def require(given: TrainingRows, wanted: Mapping[str, str]) -> None:
    """Raises SchemaError for a column that is not there; `wanted` says what each is."""
    for column, what in wanted.items():
        if column not in given.columns:
            raise SchemaError(unknown_column(what, column, given.columns))
