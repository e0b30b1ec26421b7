"""The tree of a row expression: constants, columns and calls, each with its type, and its canonical text.

The text is made from this tree alone, with as few parentheses as it can have: it depends neither on how an expression
was typed nor on the version of the parser, so that it can be hashed. Parsed again it gives the same tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

DTYPES: Final = ("boolean", "int", "bigint", "double", "string", "date", "timestamp")
"""The types of columns and results, by Spark's names."""
NULL: Final = "null"
"""The type of a NULL whose type nothing says yet."""
NUMBERS: Final = ("int", "bigint", "double")

Value = bool | int | float | str | date | datetime | None


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; a timestamp's is in UTC."""

    value: Value
    dtype: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its full name."""

    name: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Call:
    """A published function or operator over its arguments.

    CASE has condition, value, condition, value, ..., other value; CAST has one argument, and its type is `dtype`.
    """

    function: str
    arguments: tuple[Node, ...]
    dtype: str


Node = Constant | Column | Call


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, Call):
            waiting.extend(reversed(one.arguments))


def substituted(node: Node, values: Mapping[str, Node]) -> Node:
    """The tree with other trees in place of columns."""
    if isinstance(node, Column):
        return values.get(node.name, node)
    if isinstance(node, Call):
        return replace(node, arguments=tuple(substituted(one, values) for one in node.arguments))
    return node


_OR, _AND, _NOT, _COMPARES, _ADDS, _MULTIPLIES, _NEGATES, _ATOM = range(8)
_BINARY: Final = {
    "OR": _OR,
    "AND": _AND,
    **dict.fromkeys(("=", "<>", "<", "<=", ">", ">="), _COMPARES),
    **dict.fromkeys("+-", _ADDS),
    **dict.fromkeys("*/%", _MULTIPLIES),
}
"""Operators between two operands, and how tightly they bind."""
_SUFFIXED: Final = ("IN", "BETWEEN", "LIKE", "IS NULL")
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_RESERVED: Final = (
    "all and any anti array as asc at between both by case cast collate column constraint create cross cube current "
    "current_date current_time current_timestamp current_user database date delete desc describe distinct div drop "
    "else end escape except exists explain false fetch filter for from full function group grouping having if ilike in "
    "inner insert intersect interval is join last lateral leading left like limit map minus natural not null offset on "
    "or order outer over partition pivot regexp replace right rlike rollup row rows select semi session_user set show "
    "some struct table then timestamp to trailing true try_cast union unique unknown unnest update use user using "
    "values view when where window with"
)
_KEYWORDS: Final = frozenset(_RESERVED.split())


def quoted(name: str) -> str:
    """A column's name as it is written in an expression: dots between its parts, back quotes where they are needed."""
    return ".".join(
        part if _PLAIN.fullmatch(part) and part.lower() not in _KEYWORDS else "`" + part.replace("`", "``") + "`"
        for part in name.split(".")
    )


def text_literal(value: str) -> str:
    """A text between the quotes that it does not hold itself."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def _constant(node: Constant) -> str:
    value = node.value
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return text_literal(value)
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.astimezone(UTC).isoformat().removesuffix('+00:00')}Z'"
    return f"DATE '{value.isoformat()}'" if isinstance(value, date) else repr(value)


def _binding(node: Node) -> int:
    if isinstance(node, Constant):
        value = node.value
        return _NEGATES if isinstance(value, int | float) and not isinstance(value, bool) and value < 0 else _ATOM
    if isinstance(node, Column):
        return _ATOM
    if node.function in _SUFFIXED:
        return _COMPARES
    return {"NOT": _NOT, "negative": _NEGATES}.get(node.function, _BINARY.get(node.function, _ATOM))


def canonical(node: Node, at_least: int = _OR) -> str:
    """The text of a node, in parentheses where it binds less tightly than `at_least`."""
    written = _written(node)
    return written if _binding(node) >= at_least else f"({written})"


def _written(node: Node) -> str:
    if isinstance(node, Constant):
        return _constant(node)
    if isinstance(node, Column):
        return quoted(node.name)
    name, given = node.function, node.arguments
    if name in _BINARY:
        binding = _BINARY[name]
        first = binding + (binding == _COMPARES)
        return f"{canonical(given[0], first)} {name} {canonical(given[1], binding + 1)}"
    if name == "NOT":
        return f"NOT {canonical(given[0], _NOT)}"
    if name == "negative":
        return f"-{canonical(given[0], _ATOM)}"
    if name in _SUFFIXED:
        operands = [canonical(one, _ADDS) for one in given]
        if name == "IN":
            return f"{operands[0]} IN ({', '.join(operands[1:])})"
        if name == "BETWEEN":
            return f"{operands[0]} BETWEEN {operands[1]} AND {operands[2]}"
        return f"{operands[0]} IS NULL" if name == "IS NULL" else f"{operands[0]} LIKE {operands[1]}"
    if name == "CASE":
        branches = [
            f"WHEN {canonical(condition)} THEN {canonical(value)}"
            for condition, value in zip(given[:-1:2], given[1::2], strict=True)
        ]
        return f"CASE {' '.join(branches)} ELSE {canonical(given[-1])} END"
    if name == "CAST":
        return f"CAST({canonical(given[0])} AS {node.dtype})"
    return f"{name}({', '.join(canonical(one) for one in given)})"
