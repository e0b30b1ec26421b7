"""Rows of a source as they lie in its own place -> its rows as all views read them: typed, timed, filtered."""

from __future__ import annotations

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ByteType,
    DataType,
    DecimalType,
    FloatType,
    IntegerType,
    ShortType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from fs_spark import names as n
from fs_spark.errors import SchemaError, zone_hint
from fs_spark.features.expressions import parse_condition
from fs_spark.features.source import SourceText
from fs_spark.schemas import column_type, sql_type

FAULT: Final = "__fault"
VALID_TO: Final = "valid_to"
_EPOCH_NTZ: Final = "TIMESTAMP_NTZ'1970-01-01 00:00:00'"
_ZONED: Final = r"(?i)(Z|UTC|GMT|[+-]\\d{2}(:?\\d{2})?|[A-Za-z]+/[A-Za-z_]+)\\s*$"
_WIDER: Final[dict[str, tuple[type[DataType], ...]]] = {
    "int": (ByteType, ShortType),
    "bigint": (ByteType, ShortType, IntegerType),
    "double": (FloatType, DecimalType, ByteType, ShortType, IntegerType),
}
"""Types that a declared one holds without loss (a decimal becomes the nearest double)."""


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _instant(naive: str, zone: str) -> str:
    """A wall clock's time as an instant, whatever the session's zone; of two the earlier one."""
    utc = f"convert_timezone('{zone}', 'UTC', {naive})"
    return f"timestamp_micros(timestampdiff(MICROSECOND, {_EPOCH_NTZ}, {utc}))"


def _unreal(naive: str, zone: str) -> str:
    """Whether a wall clock of the zone never showed this time."""
    there = f"convert_timezone('{zone}', 'UTC', {naive})"
    return f"convert_timezone('UTC', '{zone}', {there}) <> {naive}"


def _typed(source: SourceText, name: str, found: DataType) -> tuple[str, str | None]:
    """A declared column as SQL, and where it is told: a text that says what is wrong with a row's value, or null.

    Raises     SchemaError where the column's type is another than declared
    """
    wanted, given = column_type(source.columns[name]), _quoted(source.rename.get(name, name))
    kind = source.columns[name]
    is_text = isinstance(found, StringType) and source.csv is not None
    if kind == "timestamp":
        naive = given if isinstance(found, TimestampNTZType) else f"try_cast({given} AS TIMESTAMP_NTZ)"
        if isinstance(found, TimestampNTZType) or (is_text and source.zone is not None):
            if source.zone is None:
                raise SchemaError(
                    f"source {source.name}: {name} has times without a zone. Hint: write `zone: UTC`, or the zone of "
                    "the clock that wrote them"
                )
            told = f"CASE WHEN {_unreal(naive, source.zone)} THEN concat('{name}: ', {given}, ' is a time that '," \
                   f" '{source.zone} never had') END"  # fmt: skip
            if is_text:
                told = f"coalesce({told}, {_unread(name, given, naive, 'a time')})"
            return _instant(naive, source.zone), told
        if is_text:
            zoned = f"try_cast({given} AS TIMESTAMP)"
            told = (
                f"CASE WHEN {given} IS NOT NULL AND NOT {given} RLIKE '{_ZONED}' THEN concat('{name}: ', {given}, "
                f"' has no zone. Hint: write `zone:` at the source') ELSE {_unread(name, given, zoned, 'a time')} END"
            )
            return zoned, told
    if is_text and kind != "string":
        cast = f"try_cast(trim({given}) AS {sql_type(wanted)})"
        empty = f"nullif(trim({given}), '')"
        return cast, _unread(name, empty, cast, kind)
    if found == wanted or isinstance(found, _WIDER.get(kind, ())):
        return f"CAST({given} AS {sql_type(wanted)})", None
    if kind == "timestamp" and isinstance(found, (TimestampType,)):
        return given, None
    hint = f"declare it as {found.simpleString()}" if not isinstance(found, TimestampNTZType) else zone_hint("", "")
    raise SchemaError(
        f"source {source.name}: column {name} is {found.simpleString()}, declared as {kind}. Hint: {hint}"
    )


def _unread(name: str, given: str, cast: str, kind: str) -> str:
    return f"CASE WHEN {given} IS NOT NULL AND {cast} IS NULL THEN concat('{name}: ', {given}, ' is not {kind}') END"


def _time(source: SourceText, name: str, at: str = "end") -> Column:
    """A time of a row: a date counts at its end, the next midnight in UTC, unless it counts at its start."""
    if source.columns[name] == "timestamp":
        return F.col(_quoted(name))
    day = F.unix_date(F.col(_quoted(name))).cast("bigint")
    midnight = day + F.lit(1 if at == "end" else 0)
    return F.timestamp_micros(midnight * F.lit(86_400_000_000))


def passes(source: SourceText) -> Column:
    """Whether a row passes the source's filter; null where it cannot be told."""
    if source.filter is None:
        return F.lit(True)
    return F.expr(parse_condition(source.filter, columns=dict(source.columns)).spark_sql())


def source_rows(raw: DataFrame, source: SourceText) -> DataFrame:
    """The declared columns with their types, `event_timestamp`, `available_timestamp` and `valid_to`.

    The filter is not applied: a revision that does not pass ends the one before it, which only a view can see.

    Adds       `__fault`: what is wrong with a row's values, null where nothing is
    Raises     SchemaError for columns that are absent or of another type
    """
    there = {f.name: f.dataType for f in raw.schema.fields}
    missing = [source.rename.get(name, name) for name in source.columns if source.rename.get(name, name) not in there]
    if missing:
        raise SchemaError(
            f"source {source.name}: its table lacks {', '.join(missing)}; it has {', '.join(there)}.\n"
            "Hint: correct `columns` or `rename` in sources.yaml"
        )
    selected, faults = [], []
    for name in source.columns:
        value, told = _typed(source, name, there[source.rename.get(name, name)])
        selected.append(f"{value} AS {_quoted(name)}")
        faults += [told] if told is not None else []
    faults_sql = (
        f"coalesce({', '.join(faults)})" if len(faults) > 1 else faults[0] if faults else "CAST(NULL AS STRING)"
    )
    rows = raw.selectExpr(*selected, f"{faults_sql} AS {FAULT}")
    times = {}
    if source.event is not None:
        event = _time(source, source.event.column, source.event.at)
        given = source.available
        if given is None:
            available = event
        elif given.column is not None:
            available = _time(source, given.column)
        else:
            assert given.after_event is not None
            margin = given.after_event.total_seconds() * 1e6
            available = F.timestamp_micros(F.unix_micros(event) + F.lit(round(margin)))
        times = {n.EVENT_TIMESTAMP: event, n.AVAILABLE_TIMESTAMP: available}
        if source.valid_to is not None:
            times[VALID_TO] = _time(source, source.valid_to)
    else:
        times = {name: F.lit(None).cast("timestamp_ltz") for name in (n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP)}
    rows = rows.withColumns(times)
    if source.unique and not source.order:
        # equal rows are known from the least availability of them on
        known = [c for c in rows.columns if c != n.AVAILABLE_TIMESTAMP]
        rows = rows.groupBy(*map(_quoted, known)).agg(F.min(n.AVAILABLE_TIMESTAMP).alias(n.AVAILABLE_TIMESTAMP))
    names = [*times, *(name for name in source.columns if name not in times)]
    return rows.select(*(F.col(_quoted(name)) for name in names), F.col(FAULT))
