"""Random expressions as the oracle's tuples and as text, and rows of values that break careless arithmetic."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from fs_spark.features.expressions.evaluate import ARROW

Tree = tuple[Any, ...]

TYPES = {
    "x": "double",
    "y": "double",
    "m.z": "double",
    "i": "int",
    "k": "bigint",
    "b": "boolean",
    "s": "string",
    "t": "string",
    "d": "date",
    "e": "date",
    "u": "timestamp",
    "v": "timestamp",
}
_EDGES = [0.0, 1.0, 0.5, 1.5, 2.5, 0.1, 2.0**53 + 2, 2.0**31, 2147483647.5, 2147483648.5, 2.0**63, 2.0**62, 1e300]
_EDGES += [1.7976931348623157e308, 5e-324, 1e-300, 0.49999999999999994, 4503599627370495.5, 1.005, 123.456, 999.5, 1e16]
_WORDS = [
    "",
    "a",
    "A",
    "ab",
    "aab",
    "a_b",
    "a%b",
    " a ",
    "straße",
    "ÄB",
    "İi",
    "𝄞x",
    "a\nb",
    "a\n",
    "\ta",
    "it's",
    "$x",
]
_WORDS += ["${x}", "12", "+12", "-12", " 12", "12.5", "1e5", "1e999", ".5", "5.", "-.5e-3", "nan", "Infinity", "0x1p3"]
_WORDS += ["1d", "１２", "12\n", "2147483648", "-2147483648", "9223372036854775807", "9223372036854775808", "00012"]
_WORDS += ["-9223372036854775808", "-9223372036854775809", "99999999999999999999", "0.1", "123456789.123456789e-7"]
_WORDS += ["true", "TRUE", "false", "2026-02-29", "2024-02-29", "0000-01-01", "0001-01-01", "9999-12-31", "2026-1-1"]
_WORDS += ["2026-01-31T23:59:59Z", "2026-01-31T23:59:59.5Z", "2026-01-31T24:00:00Z", "2026-01-31T23:59:60Z"]
_WORDS += [
    "2026-01-31 23:59:59Z",
    "2026-01-31T23:59:59",
    "9999-12-31T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-01-31\n",
]
_MOMENTS = [
    datetime(2026, 3, 29, 0, 59, 59, 999_999, UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    datetime(2018, 11, 4, 3, tzinfo=UTC),
    datetime(2018, 11, 4, 12, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2025, 12, 31, 23, 30, tzinfo=UTC),
    datetime(2027, 1, 1, 0, 0, 0, 1, UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    datetime(2077, 7, 1, 22, 15, tzinfo=UTC),
    datetime(2000, 2, 29, 23, 59, 59, 500_000, UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1, 1, 2, tzinfo=UTC),
    datetime(9999, 12, 30, 23, 59, 59, 999_999, UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
]
_DAYS = [date(1, 1, 1), date(9999, 12, 31), date(1970, 1, 1), date(1969, 12, 31), date(2024, 2, 29)]
_DAYS += [date(2026, 12, 31), date(2027, 1, 1), date(2021, 1, 3), date(1900, 3, 1)]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo"]
POOLS: dict[str, list[Any]] = {
    "boolean": [True, False],
    "int": [0, 1, -1, 2, 7, -7, 2**31 - 1, -(2**31)],
    "bigint": [0, 1, -1, 3, 2**31, -(2**31) - 1, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), -(2**53) - 1],
    "double": [*_EDGES, *(-x for x in _EDGES), math.nan, math.inf, -math.inf],
    "string": [*_WORDS, "x\\y"],
    "date": _DAYS,
    "timestamp": _MOMENTS,
}
_SMALL = [0.0, 1.0, -1.0, 0.5, -2.5, 3.25, 1000.0, -1000.5, 0.1]


def rows(rng: random.Random, count: int) -> list[dict[str, Any]]:
    """Rows that hold every value of the pools, as far as there are enough of them, in columns of any order."""

    def one(dtype: str) -> Any:
        if rng.random() < 0.4:
            return None
        if dtype == "double":
            return rng.choice(_SMALL) if rng.random() < 0.5 else rng.uniform(-50, 50)
        if dtype == "timestamp":
            return datetime(1971, 1, 1, tzinfo=UTC) + timedelta(microseconds=rng.randrange(4 * 10**15))
        return rng.choice(POOLS[dtype])

    def column(dtype: str) -> list[Any]:
        pool = rng.sample(POOLS[dtype], len(POOLS[dtype]))[: max(1, count - 3)]
        values = pool + [one(dtype) for _ in range(count - len(pool))]
        return rng.sample(values, count)

    columns = {name: column(dtype) for name, dtype in TYPES.items()}
    return [{name: values[place] for name, values in columns.items()} for place in range(count)]


def arrays(given: list[dict[str, Any]]) -> dict[str, pa.Array]:
    return {name: pa.array([row[name] for row in given], ARROW[dtype]) for name, dtype in TYPES.items()}


class Maker:
    """Makes expressions of a type, at most so deep. `python` allows functions that Spark does not have."""

    def __init__(self, rng: random.Random, *, python: bool) -> None:
        self.rng = rng
        self.python = python

    def literal(self, dtype: str) -> Tree:
        if self.rng.random() < 0.05:
            return ("CAST", dtype, ("literal", None, dtype))
        value = self.rng.choice([one for one in POOLS[dtype] if not _unwritable(one)])
        return (
            "literal",
            value,
            "bigint" if dtype == "bigint" and not -(2**31) <= value < 2**31 else _as(value, dtype),
        )

    def leaf(self, dtype: str) -> Tree:
        names = [name for name, one in TYPES.items() if one == dtype]
        return ("column", self.rng.choice(names)) if self.rng.random() < 0.7 else self.literal(dtype)

    def number(self, depth: int) -> Tree:
        return self.make(self.rng.choice(["double", "double", "double", "int", "bigint"]), depth)

    def alike(self, depth: int, *, ordered: bool = False) -> Callable[[], Tree]:
        dtype = self.rng.choice(["number", "number", "string", "date", "timestamp"] + ([] if ordered else ["boolean"]))
        return (lambda: self.number(depth)) if dtype == "number" else (lambda: self.make(dtype, depth))

    def written(self, tree: Tree) -> Tree:
        """A literal of the same type as a tree."""
        dtype = _type(tree)
        value = self.rng.choice([one for one in POOLS[dtype] if not _unwritable(one)])
        return ("literal", value, _as(value, dtype))

    def make(self, dtype: str, depth: int) -> Tree:
        if depth <= 0 or self.rng.random() < 0.15:
            return self.leaf(dtype)
        return self.choice(dtype, depth) if self.rng.random() < 0.2 else getattr(self, f"make_{dtype}")(depth - 1)

    def choice(self, dtype: str, depth: int) -> Tree:
        depth -= 1
        name = self.rng.choice(["CASE", "if", "coalesce", "nullif", "least", "greatest", "CAST"])
        if name == "CAST":
            return ("CAST", dtype, self.make(dtype, depth))
        count = {"if": 2, "nullif": 2, "least": 3, "greatest": 2}.get(name, self.rng.randrange(1, 4))
        values = [self.make(dtype, depth) for _ in range(count)]
        if name in ("least", "greatest") and dtype == "boolean":
            name = "coalesce"
        if name == "if":
            return _one_type("if", [self.make("boolean", depth), *values], values)
        if name == "CASE":
            given = [one for value in values for one in (self.make("boolean", depth), value)]
            other = self.make(dtype, depth)
            return _one_type("CASE", [*given, other], [*values, other])
        return _one_type(name, values, values)

    def make_double(self, depth: int) -> Tree:
        names = [
            "+",
            "-",
            "*",
            "/",
            "%",
            "negative",
            "abs",
            "sign",
            "sqrt",
            "round",
            "pow",
            "between",
            "cast",
            "*",
            "+",
        ]
        names += ["exp", "ln", "log10", "sin", "cos", "atan2", "hypot"] if self.python else []
        name = self.rng.choice(names)
        if name == "between":
            dtype = self.rng.choice(["timestamp", "date"])
            name = "seconds_between" if dtype == "timestamp" and self.rng.random() < 0.5 else "days_between"
            return (name, "double", self.make(dtype, depth), self.make(dtype, depth))
        if name == "cast":
            return ("CAST", "double", self.make(self.rng.choice(["int", "bigint", "boolean", "string"]), depth))
        if name in ("round", "pow"):
            other = self.rng.randrange(-15, 16) if name == "round" else self.rng.randrange(1, 17)
            more = [("literal", other, "int")] if name == "pow" or self.rng.random() < 0.6 else []
            return (name, "double", self.number(depth), *more)
        if name == "negative":  # of a literal it would be a literal
            return (name, "double", ("abs", "double", self.number(depth)))
        count = 2 if name in ("+", "-", "*", "/", "%", "atan2", "hypot") else 1
        return (name, "double", *(self.number(depth) for _ in range(count)))

    def make_int(self, depth: int) -> Tree:
        parts = ["day_of_week", "day_of_month", "day_of_year", "week_of_year", "month", "quarter", "year"]
        name = self.rng.choice(["bin", "length", "CAST", "second", "minute", "hour", *parts])
        if name == "bin":
            finite = {float(one) + 0.0 for one in POOLS["double"] if math.isfinite(one)}
            edges = sorted(self.rng.sample(sorted(finite), self.rng.randrange(2, 8)))
            return ("bin", "int", self.number(depth), *(("literal", edge, "double") for edge in edges))
        if name == "length":
            return (name, "int", self.make("string", depth))
        if name == "CAST":
            return (name, "int", self.make(self.rng.choice(["double", "bigint", "boolean", "string"]), depth))
        if name in parts and self.rng.random() < 0.5:
            return (name, "int", self.make("date", depth))
        return (name, "int", self.make("timestamp", depth), self.zone())

    def zone(self) -> Tree:
        return ("literal", self.rng.choice(ZONES), "string")

    def make_bigint(self, depth: int) -> Tree:
        name = self.rng.choice(["floor", "ceil", "CAST"])
        if name == "CAST":
            return (name, "bigint", self.make(self.rng.choice(["double", "int", "boolean", "string"]), depth))
        return (name, "bigint", self.number(depth))

    def make_boolean(self, depth: int) -> Tree:
        names = ["=", "<>", "<", "<=", ">", ">=", "AND", "OR", "NOT", "IS NULL", "IN", "BETWEEN", "CAST"]
        name = self.rng.choice([*names, "LIKE", "starts_with", "ends_with", "contains"])
        if name in ("AND", "OR", "NOT"):
            return (name, "boolean", *(self.make("boolean", depth) for _ in range(1 if name == "NOT" else 2)))
        if name == "CAST":
            return (name, "boolean", self.make(self.rng.choice(["double", "int", "bigint", "string"]), depth))
        if name in ("LIKE", "starts_with", "ends_with", "contains"):
            part = self.rng.choice(["a", "", "%", "a%", "%b", "_", "a_b", "%a%", "1%", "%\n%", "_x", "'", "$x", "%_"])
            return (name, "boolean", self.make("string", depth), ("literal", part, "string"))
        one = self.alike(depth, ordered=name not in ("=", "<>", "IN"))
        if name == "IS NULL":
            return (name, "boolean", one())
        if name == "IN":
            first = one()
            return (name, "boolean", first, *(self.written(first) for _ in range(self.rng.randrange(1, 4))))
        return (name, "boolean", *(one() for _ in range(3 if name == "BETWEEN" else 2)))

    def make_string(self, depth: int) -> Tree:
        name = self.rng.choice(["upper", "lower", "trim", "concat", "substring", "CAST"])
        if name == "CAST":
            return (name, "string", self.make(self.rng.choice(["int", "bigint", "boolean"]), depth))
        if name == "concat":
            return (name, "string", *(self.make("string", depth) for _ in range(self.rng.randrange(1, 4))))
        more = [("literal", self.rng.randrange(1, 4), "int"), ("literal", self.rng.randrange(4), "int")]
        more = more[: self.rng.randrange(1, 3)] if name == "substring" else []
        return (name, "string", self.make("string", depth), *more)

    def make_date(self, depth: int) -> Tree:
        if self.rng.random() < 0.4:
            return ("CAST", "date", ("column", self.rng.choice("st")))
        return ("date_of", "date", self.make("timestamp", depth), self.zone())

    def make_timestamp(self, depth: int) -> Tree:
        if self.rng.random() < 0.4:
            return ("CAST", "timestamp", ("column", self.rng.choice("st")))
        return ("start_of_day", "timestamp", self.make("timestamp", depth), self.zone())


def _unwritable(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, datetime):
        return not datetime(1, 1, 2, tzinfo=UTC) <= value < datetime(9999, 12, 31, tzinfo=UTC)
    return isinstance(value, str) and "\\" in value


def _as(value: Any, dtype: str) -> str:
    """The type that a literal has where it is written."""
    return "int" if dtype == "bigint" and -(2**31) <= value < 2**31 else dtype


def _type(tree: Tree) -> str:
    return str(TYPES[tree[1]] if tree[0] == "column" else tree[2] if tree[0] == "literal" else tree[1])


def _one_type(name: str, given: list[Tree], values: list[Tree]) -> Tree:
    dtypes = {_type(one) for one in values}
    widest = next((one for one in ("double", "bigint") if one in dtypes), _type(values[0]))
    return (name, widest, *given)


def text_of(tree: Tree) -> str:
    """The expression as it could be typed, with all parentheses."""
    name = tree[0]
    if name == "column":
        return str(tree[1])
    if name == "literal":
        value = tree[1]
        if isinstance(value, str):
            return f'"{value}"' if "'" in value else f"'{value}'"
        if isinstance(value, datetime):
            return f"TIMESTAMP '{value.isoformat()}'"
        return f"date '{value.isoformat()}'" if isinstance(value, date) else "NULL" if value is None else str(value)
    given = [text_of(one) for one in tree[2:]]
    if name in ("+", "-", "*", "/", "%", "=", "<>", "<", "<=", ">", ">=", "AND", "OR", "LIKE"):
        return f"({given[0]} {name} {given[1]})"
    if name in ("NOT", "negative"):
        return f"({'NOT' if name == 'NOT' else '-'} ({given[0]}))"
    if name == "IS NULL":
        return f"({given[0]} is null)"
    if name == "IN":
        return f"({given[0]} in ({', '.join(given[1:])}))"
    if name == "BETWEEN":
        return f"({given[0]} between {given[1]} and {given[2]})"
    if name == "CASE":
        branches = " ".join(f"when {a} then {b}" for a, b in zip(given[:-1:2], given[1::2], strict=True))
        return f"case {branches} else {given[-1]} end"
    return f"cast({given[0]} as {tree[1]})" if name == "CAST" else f"{name}({', '.join(given)})"
