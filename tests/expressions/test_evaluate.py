"""Evaluation in Arrow equals the row-by-row oracle to the bit."""

from __future__ import annotations

import math
import random
import struct
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fs_spark.errors import SchemaError
from fs_spark.features.expressions import FUNCTIONS, parse_expression
from fs_spark.features.expressions.evaluate import ARROW
from fs_spark.features.expressions.zones import instants_of, micros, wall_clock
from tests.expressions.random_expressions import TYPES, ZONES, Maker, arrays, rows, text_of
from tests.oracles.expressions import value


def bits(one: Any) -> Any:
    return struct.pack(">d", one) if isinstance(one, float) else one


def expected(tree: Any, given_rows: list[dict[str, Any]]) -> list[Any]:
    return [value(tree, row, TYPES) for row in given_rows]


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(list(ARROW)))
def test_equal_to_the_oracle(rng: random.Random, dtype: str) -> None:
    tree = Maker(rng, python=True).make(dtype, 4)
    text = text_of(tree)
    given_rows = rows(rng, 12)
    parsed = parse_expression(text, TYPES)
    found = parsed.evaluate(arrays(given_rows), rows=12)
    assert found.type == ARROW[parsed.dtype]
    assert list(map(bits, found.to_pylist())) == list(map(bits, expected(tree, given_rows))), text
    assert parse_expression(parsed.text, TYPES).tree == parsed.tree


@pytest.mark.parametrize("seed", range(4))
def test_many_seeds(seed: int) -> None:
    rng = random.Random(seed)
    given_rows = rows(rng, 150)
    columns = arrays(given_rows)
    for _ in range(250):
        tree = Maker(rng, python=seed % 2 == 0).make(rng.choice(list(ARROW)), rng.randrange(1, 5))
        text = text_of(tree)
        parsed = parse_expression(text, TYPES)
        found = parsed.evaluate(columns, rows=150).to_pylist()
        assert list(map(bits, found)) == list(map(bits, expected(tree, given_rows))), text


def test_every_function_is_met() -> None:
    rng = random.Random(0)
    met: set[str] = set()

    def meet(tree: Any) -> None:
        met.add(tree[0])
        for one in tree[2:] if tree[0] not in ("column", "literal") else ():
            meet(one)

    for _ in range(3000):
        meet(Maker(rng, python=True).make(rng.choice(list(ARROW)), 3))
    assert met >= {function.name for function in FUNCTIONS}


def test_slices_chunks_and_other_widths() -> None:
    numbers = pa.array([9.0, None, -0.0, math.nan, 2.5, math.inf])
    product = parse_expression("x * i", {"x": "double", "i": "int"})
    given_columns = {"x": numbers[1:], "i": pa.array([1, 2, 3, 4, 5], pa.int8())}
    assert product.evaluate(given_columns, rows=5).to_pylist() == [None, 0.0, None, 10.0, None]
    alone = parse_expression("x", {"x": "double"})
    for form in (numbers[1:], pa.chunked_array([numbers[1:3], numbers[3:]])):
        found = alone.evaluate({"x": form}, rows=5).to_pylist()
        assert list(map(bits, found)) == list(map(bits, [None, 0.0, None, 2.5, None]))
    word = parse_expression("upper(s)", {"s": "string"})
    for kind in (pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        assert word.evaluate({"s": pa.array(["a", None]).cast(kind)}, rows=2).to_pylist() == ["A", None]
    assert word.evaluate({"s": pa.nulls(2)}, rows=2).to_pylist() == [None, None]
    assert alone.evaluate({"x": pa.array([], pa.float64())}, rows=0).to_pylist() == []


def test_every_function_over_no_rows() -> None:
    empty = {name: pa.array([], ARROW[dtype]) for name, dtype in TYPES.items()}
    rng = random.Random(5)
    for _ in range(300):
        text = text_of(Maker(rng, python=True).make(rng.choice(list(ARROW)), 3))
        assert len(parse_expression(text, TYPES).evaluate(empty, rows=0)) == 0, text


@pytest.mark.parametrize(
    ("dtype", "array", "message"),
    [
        ("double", pa.array(["a"]), r"declared as double, and its array has the type string"),
        ("timestamp", pa.array([datetime(2026, 1, 1)]), r"Hint: an instant has a zone"),
        ("int", pa.array([2**40]), r"a value does not fit it"),
        ("double", pa.array([1.0, 2.0]), r"has 2 values where the batch has 1 rows"),
        ("double", [1.0], r"is a list\. Hint: an Arrow array"),
        ("bigint", pa.array([1.0]), r"declared as bigint"),
    ],
)
def test_arrays_that_do_not_fit(dtype: str, array: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        parse_expression("x IS NULL", {"x": dtype}).evaluate({"x": array}, rows=1)


def test_a_missing_column() -> None:
    with pytest.raises(SchemaError, match=r"column 'x' is missing\. Given: y\."):
        parse_expression("x + 1", {"x": "double"}).evaluate({"y": pa.array([1.0])}, rows=1)


@pytest.mark.parametrize("zone", [*ZONES, "Pacific/Apia", "Africa/Casablanca", "America/St_Johns"])
def test_clocks_of_zones(zone: str) -> None:
    rng = random.Random(11)
    there = ZoneInfo(zone)
    instants = [datetime(1950, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(5 * 10**9)) for _ in range(3000)]
    instants += [datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, 23, 59, 59, tzinfo=UTC)]
    for year in range(2005, 2030):  # each hour of days on which clocks are set
        instants += [
            datetime(year, month, 25, tzinfo=UTC) + timedelta(hours=h) for month in (3, 10) for h in range(168)
        ]
    plain = np.array([micros(one) for one in instants], np.int64)
    walls = wall_clock(plain, zone)
    naive = [one.astimezone(there).replace(tzinfo=None) for one in instants]
    assert walls.tolist() == [micros(one.replace(tzinfo=UTC)) for one in naive]
    back = [one.replace(tzinfo=there, fold=0).astimezone(UTC) for one in naive[:3000]]
    assert instants_of(walls[:3000], zone).tolist() == [micros(one) for one in back]


def test_days_that_begin_late_or_twice() -> None:
    begin = parse_expression("start_of_day(u, 'America/Sao_Paulo')", {"u": "timestamp"})
    noon = pa.array([datetime(2018, 11, 4, 15, tzinfo=UTC)], ARROW["timestamp"])
    assert begin.evaluate({"u": noon}, rows=1).to_pylist() == [datetime(2018, 11, 4, 3, tzinfo=UTC)]  # 01:00 there
    twice = parse_expression("start_of_day(u, 'America/Havana')", {"u": "timestamp"})
    noon = pa.array([datetime(2025, 11, 2, 17, tzinfo=UTC)], ARROW["timestamp"])
    assert twice.evaluate({"u": noon}, rows=1).to_pylist() == [datetime(2025, 11, 2, 4, tzinfo=UTC)]  # the first 0:00


def test_beyond_the_calendar() -> None:
    ends = pa.array([-(2**63), 2**63 - 1, 0], pa.int64()).cast(ARROW["timestamp"])
    assert parse_expression("year(u, 'UTC')", {"u": "timestamp"}).evaluate({"u": ends}, rows=3).to_pylist() == [
        None,
        None,
        1970,
    ]
    days = pa.array([-(2**31), 2**31 - 1, 0], pa.int32()).cast(pa.date32())
    assert parse_expression("d", {"d": "date"}).evaluate({"d": days}, rows=3).to_pylist() == [
        None,
        None,
        date(1970, 1, 1),
    ]
