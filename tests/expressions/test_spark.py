"""Spark SQL of an expression gives the same bits as its evaluation in Arrow, under any settings of the session."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from fs_spark.features.expressions import FUNCTIONS, parse_expression
from fs_spark.features.expressions.evaluate import ARROW
from tests.expressions.random_expressions import TYPES, ZONES, Maker, arrays, rows, text_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SETTINGS = {
    "ansi": {
        "spark.sql.ansi.enabled": "true",
        "spark.sql.ansi.enforceReservedKeywords": "true",
        "spark.sql.session.timeZone": "America/Los_Angeles",
    },
    "old": {
        "spark.sql.ansi.enabled": "false",
        "spark.sql.session.timeZone": "Pacific/Kiritimati",
        "spark.sql.parser.escapedStringLiterals": "true",
        "spark.sql.timestampType": "TIMESTAMP_NTZ",
        "spark.sql.legacy.exponentLiteralAsDecimal.enabled": "true",
        "spark.sql.ansi.doubleQuotedIdentifiers": "true",
    },
}
BY_HAND = [
    "-9223372036854775808",
    "k = -9223372036854775808",
    " + ".join(["x"] * 120),
    " * ".join(["x"] * 40),
    "nullif(" * 20 + "x" + ", 1)" * 20,
    "bin(x * y, " + ", ".join(str(one) for one in range(-300, 300, 2)) + ")",
    "pow(pow(x, 3) + pow(y, 2), 16)",
    "x / (0.0 * y)",
    "-x * 0.0",
    "(x * 1e308 * 1e308) IS NULL",
    "s = '${spark.app.name}'",
    "s = \"it's\" OR s LIKE '%\n%' OR s = '\t'",
    "x % 3 % -2.5",
    "round(x, 15) / round(y, -15)",
    "CASE WHEN b THEN 1 WHEN x > 0 THEN k ELSE 0.5 END",
]
BY_HAND += [f"CAST({name} AS {dtype})" for name in "xikb" for dtype in ("boolean", "int", "bigint", "double")]
BY_HAND += [f"CAST(s AS {dtype})" for dtype in ("boolean", "int", "bigint", "double", "date", "timestamp")]
BY_HAND += [f"{name}(x)" for name in ("floor", "ceil", "round", "sign", "sqrt", "abs")]
BY_HAND += [f"{name}(u, '{zone}')" for name in ("hour", "year", "date_of", "start_of_day") for zone in ZONES]
COUNT = 240
ROWS = 90


def plain(column: pa.ChunkedArray, dtype: str) -> list[object]:
    """Doubles as their bits, times as integers."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if dtype == "timestamp":
        array = array.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    if dtype != "double":
        return list(array.to_pylist())
    missing = array.is_null().to_numpy(zero_copy_only=False)
    whole = array.fill_null(0.0).to_numpy(zero_copy_only=False).view(np.int64)
    return [None if gone else int(bits) for gone, bits in zip(missing, whole, strict=True)]


@pytest.fixture
def own_session(spark: SparkSession) -> Iterator[SparkSession]:
    """A session with settings of its own; afterwards types are read by the shared one's settings again."""
    yield spark.newSession()
    spark.createDataFrame([(0,)], "n int")  # makes its session the active one


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_same_bits(own_session: SparkSession, settings: str) -> None:
    rng = random.Random(26)
    given_rows = rows(rng, ROWS)
    columns = arrays(given_rows)
    texts = [text_of(Maker(rng, python=False).make(rng.choice(list(ARROW)), rng.randrange(1, 5))) for _ in range(COUNT)]
    examples = [function.example for function in FUNCTIONS if not function.needs_python]
    expressions = [parse_expression(text, TYPES) for text in [*BY_HAND, *examples, *list(TYPES), *texts]]

    session = own_session
    for name, value in SETTINGS[settings].items():
        session.conf.set(name, value)
    inner = pa.StructArray.from_arrays([columns["m.z"]], ["z"])
    table = pa.table(
        {"n": np.arange(ROWS), "m": inner, **{name: array for name, array in columns.items() if name != "m.z"}}
    )
    frame = session.createDataFrame(table).repartition(2)
    found = (
        frame.selectExpr("n", *(f"{one.spark_sql()} AS c{place}" for place, one in enumerate(expressions)))
        .toArrow()
        .sort_by("n")
    )
    wrong = []
    for place, expression in enumerate(expressions):
        spark_says = found.column(f"c{place}")
        arrow_says = expression.evaluate(columns, rows=ROWS)
        kind = spark_says.type
        assert kind == arrow_says.type or (pa.types.is_timestamp(kind) and kind.tz is not None), expression.text
        pairs = zip(plain(spark_says, expression.dtype), plain(arrow_says, expression.dtype), strict=True)
        wrong += [(expression.text, given_rows[n], pair) for n, pair in enumerate(pairs) if pair[0] != pair[1]][:1]
    assert not wrong, f"{len(wrong)} of {len(expressions)}: {wrong[:3]}"
