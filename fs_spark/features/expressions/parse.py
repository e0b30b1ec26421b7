"""A text -> the typed tree of a row expression, by the published list."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final, NoReturn

from sqlglot import exp

from fs_spark.errors import ExpressionError
from fs_spark.features.expressions.functions import BY_NAME, NAMES, SAME, Function
from fs_spark.features.expressions.kinds import (
    CAST_HINTS,
    CASTS,
    OF_NULL,
    ONE_TYPE,
    called,
    common_type,
    listed,
    misfit,
    misfit_literals,
    operator,
    stretched,
    typed,
    usage,
)
from fs_spark.features.expressions.reading import BINARY, PARTS, TYPES, Source, nearest
from fs_spark.features.expressions.refused import BY_KIND, INSTEAD
from fs_spark.features.expressions.refused import BY_NAME as REFUSED
from fs_spark.features.expressions.tree import DTYPES, NULL, Call, Column, Constant, Node
from fs_spark.features.expressions.zones import EARLIEST, LATEST

_WHOLE: Final = re.compile(r"[0-9]+", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


class _Reader:
    def __init__(self, text: str, columns: Mapping[str, str]) -> None:
        self.source = Source(text)
        self.columns = columns

    def fault(self, node: Any, wrong: str) -> NoReturn:
        self.source.fault(self.source.place(node), wrong)

    def read(self, node: Any) -> Node:
        kind = type(node).__name__
        while kind == "Paren":
            node = node.this
            kind = type(node).__name__
        reader = getattr(self, f"read_{kind.lower()}", None)
        if kind not in BINARY and reader is None:
            self.refuse(node, kind)
        # What a later version of the parser says of a node in a new place must not be passed over.
        known = PARTS.get(kind, ("this", "expression"))
        more = [part for part, given in node.args.items() if given not in (None, False, []) and part not in known]
        if more:
            self.fault(node, f"{node.key!r} with {more[0]!r} is not part of row expressions")
        read = reader(node) if reader else self.call(node, BINARY[kind], [node.this, node.expression])
        return Call("NOT", (read,), "boolean") if node.args.get("negate") else read

    def refuse(self, node: Any, kind: str) -> NoReturn:
        if kind in BY_KIND:
            self.fault(node, BY_KIND[kind])
        for name, reason in REFUSED.items():
            if name.replace("_", "") == node.key:
                self.fault(node, f"{name} {reason}")
        self.fault(node, f"{node.key!r} is not part of row expressions")

    def read_column(self, node: Any) -> Node:
        if type(node.this).__name__ == "Star":
            self.fault(node, BY_KIND["Star"])
        name = ".".join(part.name for part in node.parts)
        found = [name] if name in self.columns else [c for c in self.columns if c.endswith(f".{name}")]
        if len(found) == 1:
            return Column(found[0], self.columns[found[0]])
        if found:
            self.fault(node, f"column {name!r} is in more than one input. Hint: say which: {', '.join(sorted(found))}")
        if name.lower() in REFUSED:
            self.fault(node, f"{name} is not a column, and as a function it {REFUSED[name.lower()]}")
        self.fault(node, f"column {name!r} is not visible here{nearest(name, self.columns, what='Visible')}")

    def read_literal(self, node: Any, sign: int = 1) -> Node:
        said = str(node.this)
        if node.is_string:
            return Constant(said, "string")
        if _WHOLE.fullmatch(said):
            whole = sign * int(said[:40])
            if -(2**63) <= whole < 2**63:
                return Constant(whole, "int" if -(2**31) <= whole < 2**31 else "bigint")
            self.fault(node, f"{said} does not fit a bigint. Hint: write a double, {float(said[:300])!r}")
        try:
            value = float(said)
        except ValueError:
            self.fault(node, f"{said!r} is not a number")
        if not math.isfinite(value):
            self.fault(node, f"{said} is beyond the greatest double, 1.7976931348623157e308")
        return Constant(sign * value + 0.0, "double")

    def read_boolean(self, node: Any) -> Node:
        return Constant(bool(node.this), "boolean")

    def read_null(self, node: Any) -> Node:
        return Constant(None, NULL)

    def read_neg(self, node: Any) -> Node:
        below, sign = node, 1
        while type(below).__name__ in ("Neg", "Paren"):
            sign = -sign if type(below).__name__ == "Neg" else sign
            below = below.this
        if type(below).__name__ == "Literal" and not below.is_string:
            return self.read_literal(below, sign)
        return self.call(node, "negative", [node.this])

    def read_not(self, node: Any) -> Node:
        return self.call(node, "NOT", [node.this])

    def read_is(self, node: Any) -> Node:
        if type(node.expression).__name__ != "Null":
            self.fault(node, "IS stands before NULL alone. Hint: a = TRUE, or coalesce(a, FALSE)")
        return self.call(node, "IS NULL", [node.this])

    def read_in(self, node: Any) -> Node:
        if node.args.get("query") is not None:
            self.fault(node, BY_KIND["Subquery"])
        given = node.expressions
        if not given:
            self.fault(node, "IN needs literals in parentheses behind it. Hint: a IN (1, 2)")
        return self.call(node, "IN", [node.this, *given])

    def read_between(self, node: Any) -> Node:
        if node.args.get("symmetric") is not None:
            self.fault(node, "SYMMETRIC is not part of row expressions. Hint: BETWEEN least(a, b) AND greatest(a, b)")
        return self.call(node, "BETWEEN", [node.this, node.args["low"], node.args["high"]])

    def read_case(self, node: Any) -> Node:
        branches = [(one.this, one.args["true"]) for one in node.args["ifs"]]
        if node.this is not None:
            branches = [(exp.EQ(this=node.this, expression=value), then) for value, then in branches]
        return self.case(node, branches, node.args.get("default"))

    def read_if(self, node: Any) -> Node:
        return self.case(node, [(node.this, node.args["true"])], node.args.get("false"))

    def case(self, node: Any, branches: list[tuple[Any, Any]], default: Any) -> Node:
        conditions = [self.read(condition) for condition, _ in branches]
        for read, (condition, _) in zip(conditions, branches, strict=True):
            if read.dtype not in ("boolean", NULL):
                self.fault(condition, f"a condition is a boolean, and this is a {called(read.dtype)}")
        values = [self.read(value) for _, value in branches]
        values.append(Constant(None, NULL) if default is None else self.read(default))
        dtype = common_type([value.dtype for value in values])
        if dtype is None:
            self.fault(node, f"the values of CASE are of no one type: {listed(values)}")
        values = [typed(value, dtype) for value in values]
        given = [one for pair in zip(conditions, values, strict=False) for one in (typed(pair[0], "boolean"), pair[1])]
        return Call("CASE", (*given, values[-1]), dtype)

    def read_trycast(self, node: Any) -> Node:
        return self.read_cast(node)

    def read_cast(self, node: Any) -> Node:
        to = node.args["to"]
        said = getattr(to.this, "name", str(to.this))
        dtype = TYPES.get(said)
        if dtype is None or to.expressions or node.args.get("format") is not None:
            self.fault(node, f"{to.sql().lower()!r} is not a type of row expressions: {', '.join(DTYPES)}")
        value = self.read(node.this)
        if isinstance(value, Constant) and value.dtype == "string" and dtype in ("date", "timestamp"):
            return self.moment(node, str(value.value), dtype)
        if value.dtype == NULL:
            value = typed(value, dtype)
        elif value.dtype not in CASTS[dtype]:
            why = CAST_HINTS.get((value.dtype, dtype), f"it can be cast from {', '.join(CASTS[dtype])}")
            self.fault(node, f"a {value.dtype} cannot be cast to {dtype}: {why}")
        return Call("CAST", (value,), dtype)

    def moment(self, node: Any, said: str, dtype: str) -> Node:
        form = "DATE '2026-01-31'" if dtype == "date" else "TIMESTAMP '2026-01-31T23:59:59Z', with its zone"
        value: date | None = None
        try:
            if dtype == "date" and _DATE.fullmatch(said):
                value = date.fromisoformat(said)
            elif dtype == "timestamp" and _TIMESTAMP.fullmatch(said):
                value = datetime.fromisoformat(said).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        if value is None:
            self.fault(node, f"{said!r} is not a {dtype}. Hint: write {form}")
        if isinstance(value, datetime) and not EARLIEST <= value < LATEST:
            self.fault(node, f"{said!r} is outside of the timestamps that there are, 0001-01-02 to 9999-12-30")
        return Constant(value, dtype)

    def read_anonymous(self, node: Any) -> Node:
        name = str(getattr(node.this, "name", "") or node.this).lower()
        if name in NAMES:
            if name == "if":
                self.fault(node, "IF needs a condition and two values")
            return self.call(node, name, node.expressions)
        if name in REFUSED:
            self.fault(node, f"{name} {REFUSED[name]}")
        other = INSTEAD.get(name)
        hint = f"\nHint: {other!r} does this" if other else nearest(name, NAMES, what="Functions")
        self.fault(node, f"{name!r} is not a function of row expressions{hint}")

    def call(self, node: Any, name: str, given: Sequence[Any]) -> Node:
        function = BY_NAME[name]
        arguments = [self.read(one) for one in given]
        form = self.form(node, function, arguments)
        for kind, one, argument in zip(form, given, arguments, strict=True):
            wrong = misfit(kind, argument)
            if wrong:
                self.fault(one, f"{operator(function)} {wrong}. Hint: {usage(function)}")
        alike = [argument for kind, argument in zip(form, arguments, strict=True) if kind in ONE_TYPE]
        dtype = common_type([one.dtype for one in alike]) if alike else None
        if alike and dtype is None:
            why = "nothing says of which type" if {one.dtype for one in alike} == {NULL} else listed(alike)
            self.fault(node, f"{operator(function)} needs values of one type: {why}")
        fitted = tuple(
            typed(argument, (dtype or "") if kind in ONE_TYPE else OF_NULL.get(kind, "boolean"))
            for kind, argument in zip(form, arguments, strict=True)
        )
        wrong = misfit_literals(name, fitted)
        if wrong:
            self.fault(node, wrong)
        result = (dtype or NULL) if function.result == SAME else function.result
        return Call(name, fitted, result)

    def form(self, node: Any, function: Function, arguments: Sequence[Node]) -> tuple[str, ...]:
        """The form that fits best, with one kind for each argument."""
        fitting = [form for form in (stretched(one, len(arguments)) for one in function.forms) if form is not None]
        if not fitting:
            zone = any("zone" in form for form in function.forms) and len(arguments) == 1
            found = "its zone is missing" if zone else f"{len(arguments)} cannot be given"
            self.fault(node, f"{function.name} needs other arguments: {found}. Hint: {usage(function)}")
        return min(fitting, key=lambda form: sum(bool(misfit(k, a)) for k, a in zip(form, arguments, strict=True)))


def parsed(text: str, columns: Mapping[str, str]) -> Node:
    """The typed tree of a text.

    Raises     ExpressionError, with the place in the text
    """
    if not isinstance(text, str):
        raise ExpressionError(
            f"an expression is a text, and {text!r} has the type {type(text).__name__}. Hint: put it in quotes"
        )
    for name, dtype in columns.items():
        if dtype not in DTYPES:
            raise ExpressionError(f"column {name!r} has the type {dtype!r}; row expressions know {', '.join(DTYPES)}")
        if not name or "${" in name or not name.isprintable():
            raise ExpressionError(f"{name!r} is not a name of a column that an expression can read")
    reader = _Reader(text, columns)
    root = reader.source.syntax_tree()
    try:
        tree = reader.read(root)
    except RecursionError:
        reader.source.fault(0, "too many operators inside of each other. Hint: give a part of it a name of its own")
    if tree.dtype == NULL:
        reader.source.fault(0, "nothing says of which type NULL is. Hint: CAST(NULL AS double)")
    return tree
