"""Kinds of arguments: which types fit which place, and the one type of values that stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from fs_spark.features.expressions.functions import NAMES, Function
from fs_spark.features.expressions.tree import DTYPES, NULL, NUMBERS, Constant, Node
from fs_spark.features.expressions.zones import is_zone, like

CASTS: Final = {
    "boolean": ("boolean", *NUMBERS, "string"),
    "int": ("boolean", *NUMBERS, "string"),
    "bigint": ("boolean", *NUMBERS, "string"),
    "double": ("boolean", *NUMBERS, "string"),
    "string": ("string", "int", "bigint", "boolean"),
    "date": ("date", "string"),
    "timestamp": ("timestamp", "string"),
}
"""To a type, from which."""
CAST_HINTS: Final = {
    ("double", "string"): "its digits differ between versions of Java. Hint: round it and cast it to bigint",
    ("timestamp", "date"): "a date needs a zone. Hint: date_of(event, 'UTC')",
    ("timestamp", "string"): "a text of a time needs a zone and a form. Hint: date_of, hour and others give numbers",
    ("date", "timestamp"): "an instant needs a zone. Hint: keep the date, or bring the instant as a column",
}
_KINDS: Final = {
    "number": NUMBERS,
    "text": ("string",),
    "boolean": ("boolean",),
    "date": ("date",),
    "timestamp": ("timestamp",),
    "same": DTYPES,
    "ordered": tuple(dtype for dtype in DTYPES if dtype != "boolean"),
    "any": (*DTYPES, NULL),
}
OF_NULL: Final = {"number": "double", "text": "string", "boolean": "boolean", "date": "date", "timestamp": "timestamp"}
ONE_TYPE: Final = ("same", "ordered", "same literal")


def common_type(dtypes: Sequence[str]) -> str | None:
    """The one type of values that are compared or chosen among; None where there is none."""
    known = {dtype for dtype in dtypes if dtype != NULL}
    if len(known) > 1 and known <= set(NUMBERS):
        return "double" if "double" in known else "bigint"
    return known.pop() if len(known) == 1 else None


def is_null(node: Node) -> bool:
    return isinstance(node, Constant) and node.value is None


def typed(node: Node, dtype: str) -> Node:
    return Constant(None, dtype) if isinstance(node, Constant) and node.dtype == NULL and dtype else node


def called(dtype: str) -> str:
    return {"string": "text", NULL: "NULL"}.get(dtype, dtype)


def listed(nodes: Sequence[Node]) -> str:
    return ", ".join(dict.fromkeys(called(one.dtype) for one in nodes))


def operator(function: Function) -> str:
    return "-" if function.name == "negative" else function.name


def usage(function: Function) -> str:
    return function.signature if function.name in NAMES else f"such as {function.example}"


def stretched(form: tuple[str, ...], count: int) -> tuple[str, ...] | None:
    if form[-1].endswith("..."):
        kind = form[-1].removesuffix("...")
        return (*form[:-1], *[kind] * (count - len(form) + 1)) if count >= len(form) else None
    return form if len(form) == count else None


def misfit(kind: str, argument: Node) -> str:
    """Why an argument is not of a kind; empty where it is."""
    if kind == "zone":
        if not isinstance(argument, Constant) or argument.dtype != "string":
            return "needs its zone as a text literal"
        zone = str(argument.value)
        return (
            "" if is_zone(zone) else f"does not know the zone {zone!r}: UTC, or an IANA name with a slash{like(zone)}"
        )
    base = kind.removesuffix(" literal")
    if kind == "same literal" and is_null(argument):
        return "has no use for NULL among its literals, which nothing equals"
    if kind != base and not (isinstance(argument, Constant) and argument.value is not None):
        return f"needs {'a value' if base == 'same' else f'{_article(base)} {base}'} that is written out here"
    if base == "integer":
        return "" if argument.dtype == "int" else "needs an integer that is written out here"
    if argument.dtype == NULL or argument.dtype in _KINDS[base]:
        return ""
    if base in ("same", "ordered"):
        return f"does not order {called(argument.dtype)}s"
    return f"needs {_article(base)} {base}, and this is a {called(argument.dtype)}"


def _article(noun: str) -> str:
    return "an" if noun[0] in "aio" else "a"


def misfit_literals(name: str, given: Sequence[Node]) -> str:
    """What is wrong with the literals of a function that takes only some; empty where nothing is."""
    values: list[Any] = [one.value if isinstance(one, Constant) else None for one in given]
    if name == "pow" and not 1 <= values[1] <= 16:
        return "the exponent of pow is an integer from 1 to 16. Hint: 1 / pow(x, 2), sqrt(x)"
    if name == "round" and len(values) == 2 and not -15 <= values[1] <= 15:
        return "round takes -15 to 15 digits"
    if name == "substring" and (values[1] < 1 or min(values[2:], default=0) < 0):
        return "substring counts from 1, and takes a length of 0 or more"
    if name == "bin" and any(low >= high for low, high in pairwise(map(float, values[1:]))):
        return "the edges of bin rise strictly, each written as a number"
    return ""
