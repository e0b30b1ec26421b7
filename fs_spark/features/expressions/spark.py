"""The tree of a row expression as Spark SQL: the same value for every row, under any settings of the session.

What the settings change is not used: no cast without `try_`, no division that may fail, no function that looks at the
session's zone, no backslash, `$` or bare decimal in the text. Each operand is written once, or a few times where it is
short, so that the length grows with the expression and not with its depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from itertools import count
from typing import Any, Final

from fs_spark.features.expressions import texts
from fs_spark.features.expressions.evaluate import literal, widest
from fs_spark.features.expressions.tree import Call, Column, Constant, Node, walk
from fs_spark.features.expressions.zones import DAY, EARLIEST, LATEST, SECOND, micros

_TYPES: Final = {"string": "STRING", "timestamp": "TIMESTAMP_LTZ"}
_UNCHECKED: Final = ("+", "-", "*", "/", "%", "negative", "abs", "sqrt", "pow", "round")
_SAFE: Final = re.compile(r"[A-Za-z0-9 _.,:;/+=()<>!%*&|^~\[\]{}-]*")
_AGAIN: Final = 2_000
"""An operand that is needed more than once is written again up to so many characters, else bound by a lambda."""
_SHIFT: Final = 800_000
"""Days that make every instant positive, so that a division cuts off downward."""
_OF_DATE: Final = {
    "day_of_week": "(weekday({}) + 1)",
    "day_of_month": "dayofmonth({})",
    "day_of_year": "dayofyear({})",
    "week_of_year": "weekofyear({})",
    "month": "month({})",
    "quarter": "quarter({})",
    "year": "year({})",
}
_OF_CLOCK: Final = {"second": (SECOND, 60), "minute": (60 * SECOND, 60), "hour": (3600 * SECOND, 24)}
_TEXT_FUNCTIONS: Final = {"starts_with": "startswith", "ends_with": "endswith", "contains": "contains"}
_SMALL, _LARGE = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _text(value: str) -> str:
    """A text literal; as bytes where a setting of the session could change what is written."""
    return f"'{value}'" if _SAFE.fullmatch(value) else f"CAST(X'{value.encode().hex().upper()}' AS STRING)"


def _double(value: float) -> str:
    return f"{value!r}D"


def _number_of(node: Node) -> str:
    return _double(float(literal(node)))


def _finite(sql: str) -> str:
    """Null for NaN and infinity (x % infinity is x, or NaN where x is infinite), 0.0 for -0.0."""
    return f"(nanvl({sql} % double('Infinity'), CAST(NULL AS DOUBLE)) + 0.0D)"


def _wall(sql: str, zone: str) -> str:
    """Microseconds that the zone's clock shows, as if they were UTC: no session's zone is asked."""
    return f"unix_micros({sql})" if zone == "UTC" else f"unix_micros(from_utc_timestamp({sql}, '{zone}'))"


def _day_number(sql: str, zone: str) -> str:
    return f"(({_wall(sql, zone)} + {_SHIFT * DAY}L) div {DAY}L - {_SHIFT}L)"


class _Writer:
    def __init__(self, columns: frozenset[str]) -> None:
        self.taken = {part for name in columns for part in name.lower().split(".")}

    def once(self, sql: str, body: Callable[[str], str], uses: int = 2) -> str:
        """A text that needs an operand several times, which is computed once."""
        if len(sql) * (uses - 1) <= _AGAIN:
            return body(sql)
        name = next(one for one in (f"operand_{k}" for k in count(1)) if one not in self.taken)
        self.taken.add(name)
        return f"element_at(transform(array({sql}), {name} -> {body(name)}), 1)"

    def value(self, node: Node) -> str:
        """A value of the node's type; doubles are finite."""
        if isinstance(node, Constant):
            return self.constant(node)
        if isinstance(node, Column):
            return self.column(node, checked=True)
        if node.function in _UNCHECKED:
            return _finite(self.unchecked(node))
        return self.call(node)

    def constant(self, node: Constant) -> str:
        value = node.value
        if value is None:
            return f"CAST(NULL AS {_TYPES.get(node.dtype, node.dtype.upper())})"
        if isinstance(value, bool):
            return str(value).upper()
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, datetime):
            return f"timestamp_micros({micros(value)}L)"
        if isinstance(value, date):
            return f"DATE'{value.isoformat()}'"
        if node.dtype == "double":
            return f"({_double(float(value))})"
        return f"({value}{'L' if node.dtype == 'bigint' else ''})"

    def column(self, node: Column, *, checked: bool) -> str:
        name = ".".join(f"`{part.replace('`', '``')}`" for part in node.name.split("."))
        if not checked or node.dtype not in ("double", "date", "timestamp"):
            return name
        if node.dtype == "double":
            return _finite(name)
        low, high = (
            ("DATE'0001-01-01'", "DATE'9999-12-31'")
            if node.dtype == "date"
            else (f"timestamp_micros({micros(EARLIEST)}L)", f"timestamp_micros({micros(LATEST) - 1}L)")
        )
        return f"CASE WHEN {name} >= {low} AND {name} <= {high} THEN {name} END"

    def number(self, node: Node) -> str:
        """A finite double."""
        if isinstance(node, Constant) and node.value is not None:
            return f"({_number_of(node)})"
        return self.value(node) if node.dtype == "double" else f"CAST({self.value(node)} AS DOUBLE)"

    def unchecked(self, node: Node) -> str:
        """A double that may be infinite or NaN, where it is not finite."""
        if isinstance(node, Column) and node.dtype == "double":
            return self.column(node, checked=False)
        if not isinstance(node, Call) or node.function not in _UNCHECKED:
            return self.number(node)
        name, given = node.function, node.arguments
        first = self.unchecked(given[0])
        if name in ("+", "-", "*"):
            chained = isinstance(given[0], Call) and given[0].function in (("*",) if name == "*" else ("+", "-"))
            return f"({first[1:-1] if chained else first} {name} {self.unchecked(given[1])})"
        if name == "/":
            return f"try_divide({first}, {self.number(given[1])})"
        if name == "%":
            return f"try_mod({first}, {self.number(given[1])})"
        if name == "negative":
            return f"(0.0D - {first})"
        if name == "pow":
            times = int(literal(given[1]))
            return self.once(first, lambda x: f"({' * '.join([x] * times)})", uses=times)
        if name == "round":
            digits = int(literal(given[1])) if len(given) > 1 else 0
            scale = _double(10.0 ** abs(digits))
            if digits == 0:
                return f"round({first}, 0)"
            there, back = ("*", "/") if digits > 0 else ("/", "*")
            return f"(round({first} {there} {scale}, 0) {back} {scale})"
        return f"{name}({first})"

    def alike(self, nodes: Sequence[Node]) -> list[str]:
        """Values in their one type."""
        dtype = widest(nodes)
        if dtype == "double":
            return [self.number(node) for node in nodes]
        if dtype == "bigint":
            return [
                self.constant(Constant(node.value, dtype)) if isinstance(node, Constant) else self.as_bigint(node)
                for node in nodes
            ]
        return [self.value(node) for node in nodes]

    def as_bigint(self, node: Node) -> str:
        return self.value(node) if node.dtype == "bigint" else f"CAST({self.value(node)} AS BIGINT)"

    def call(self, node: Call) -> str:
        name, given = node.function, node.arguments
        if name in ("=", "<>", "<", "<=", ">", ">="):
            first, second = self.alike(given)
            return f"({first} {name} {second})"
        if name in ("AND", "OR"):
            chained = isinstance(given[0], Call) and given[0].function == name
            first = self.value(given[0])
            return f"({first[1:-1] if chained else first} {name} {self.value(given[1])})"
        if name == "NOT":
            return f"(NOT {self.value(given[0])})"
        if name == "IS NULL":
            return f"({self.value(given[0])} IS NULL)"
        if name == "IN":
            first, *members = self.alike(given)
            return f"({first} IN ({', '.join(members)}))"
        if name == "BETWEEN":
            first, low, high = self.alike(given)
            return self.once(first, lambda x: f"({x} >= {low} AND {x} <= {high})")
        if name in ("CASE", "coalesce", "nullif", "least", "greatest"):
            return self.choice(node)
        if name == "CAST":
            return self.cast(given[0], node.dtype)
        if name in ("floor", "ceil"):
            # Both stop at the ends of bigint; the sums leave what is inside as it is and make the ends null.
            least = f"try_subtract({name}({self.number(given[0])}), 1L)"
            return f"try_subtract(try_add({least}, 2L), 1L)"
        if name == "sign":
            return f"sign({self.number(given[0])})"
        if name == "bin":
            return self.bins(given)
        return self.of_time(node) if given[0].dtype in ("date", "timestamp") else self.of_text(node)

    def choice(self, node: Call) -> str:
        given = node.arguments
        if node.function == "CASE":
            *values, other = self.alike([*given[1::2], given[-1]])
            branches = [
                f"WHEN {self.value(condition)} THEN {value}"
                for condition, value in zip(given[:-1:2], values, strict=True)
            ]
            return f"CASE {' '.join(branches)} ELSE {other} END"
        values = self.alike(given)
        if node.function == "nullif":
            return self.once(values[0], lambda x: f"CASE WHEN {x} = {values[1]} THEN NULL ELSE {x} END")
        return values[0] if len(values) == 1 else f"{node.function}({', '.join(values)})"

    def bins(self, given: Sequence[Node]) -> str:
        edges = [_number_of(one) for one in given[1:]]

        def places(x: str) -> str:
            branches = [f"WHEN {x} < {edge} THEN {place}" for place, edge in enumerate(edges[1:-1])]
            last = len(edges) - 2
            return f"CASE WHEN {x} < {edges[0]} THEN NULL {' '.join(branches)} WHEN {x} <= {edges[-1]} THEN {last} END"

        x = self.number(given[0])
        return self.once(x, places, uses=len(edges))

    def cast(self, node: Node, dtype: str) -> str:
        value, spark_type = self.value(node), _TYPES.get(dtype, dtype.upper())
        if node.dtype == dtype:
            return value
        if node.dtype == "string":
            if dtype == "boolean":
                return f"try_element_at(map('true', TRUE, 'false', FALSE), {value})"
            pattern = {
                "int": texts.INTEGER,
                "bigint": texts.INTEGER,
                "double": texts.NUMBER,
                "date": f"(?!0000){texts.DATE}",
                "timestamp": texts.TIMESTAMP,
            }[dtype]
            # $ also stands before a last line break, and is a sign of the session's variables.
            found = f"try_cast(regexp_extract({value}, '(?s)^({pattern})(?!.)', 0) AS {spark_type})"
            if dtype == "timestamp":
                low, high = (self.constant(Constant(one, dtype)) for one in (EARLIEST, LATEST))
                return self.once(found, lambda x: f"CASE WHEN {x} >= {low} AND {x} < {high} THEN {x} END")
            return _finite(found) if dtype == "double" else found
        if dtype == "boolean":
            return f"({value} <> {'0.0D' if node.dtype == 'double' else '0'})"
        if node.dtype == "double" and dtype == "bigint":
            # 2^63 itself would become the greatest bigint.
            return f"try_subtract(try_add(try_cast({value} AS BIGINT), 1L), 1L)"
        return f"try_cast({value} AS {spark_type})"

    def of_text(self, node: Call) -> str:
        name, given = node.function, node.arguments
        value = self.value(given[0])
        if name in _TEXT_FUNCTIONS:
            return f"{_TEXT_FUNCTIONS[name]}({value}, {self.value(given[1])})"
        if name == "LIKE":
            return f"({value} LIKE {self.value(given[1])})"
        if name == "concat":
            return f"concat({', '.join(self.value(one) for one in given)})"
        if name == "substring":
            return f"substring({', '.join([value, *(str(literal(one)) for one in given[1:])])})"
        if name in ("upper", "lower"):
            letters = (_SMALL, _LARGE) if name == "upper" else (_LARGE, _SMALL)
            return f"translate({value}, '{letters[0]}', '{letters[1]}')"
        return f"{name}({value})"

    def of_time(self, node: Call) -> str:
        name, given = node.function, node.arguments
        values = [self.value(one) for one in given if one.dtype != "string"]
        if name in ("seconds_between", "days_between"):
            if given[0].dtype == "date":
                return f"CAST(datediff({values[1]}, {values[0]}) AS DOUBLE)"
            unit = _double(float(SECOND if name == "seconds_between" else DAY))
            return f"(CAST(unix_micros({values[1]}) - unix_micros({values[0]}) AS DOUBLE) / {unit})"
        value = values[0]
        zone: Any = literal(given[1]) if len(given) > 1 else None
        if name in _OF_CLOCK:
            unit_us, modulus = _OF_CLOCK[name]
            return f"CAST(pmod({_wall(value, zone)}, {unit_us * modulus}L) div {unit_us}L AS INT)"
        if name == "start_of_day":
            begin = f"timestamp_micros({_day_number(value, zone)} * {DAY}L)"
            instant = begin if zone == "UTC" else f"to_utc_timestamp({begin}, '{zone}')"
            first = self.constant(Constant(EARLIEST, "timestamp"))
            return self.once(instant, lambda x: f"CASE WHEN {x} >= {first} THEN {x} END")
        day = value if zone is None else f"date_from_unix_date(CAST({_day_number(value, zone)} AS INT))"
        return day if name == "date_of" else _OF_DATE[name].format(day)


def written(tree: Node) -> str:
    """The expression as Spark SQL, without an alias."""
    columns = frozenset(node.name for node in walk(tree) if isinstance(node, Column))
    return _Writer(columns).value(tree)
