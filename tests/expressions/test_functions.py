"""The published list: each line is documented, its example is right, and nothing else is called."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from fs_spark.errors import ExpressionError
from fs_spark.features.expressions import FUNCTIONS, Function, parse_expression
from fs_spark.features.expressions.functions import NAMES, OPERATORS
from fs_spark.features.expressions.refused import BY_NAME, INSTEAD
from fs_spark.features.expressions.tree import DTYPES, Call, walk


def shown(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value)
    )


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_documented(function: Function) -> None:
    assert function.doc.endswith(".")
    assert function.result in (*DTYPES, "same")
    parsed = parse_expression(function.example, {})
    called = {node.function for node in walk(parsed.tree) if isinstance(node, Call)}
    assert function.name in called or function.name == "if"
    assert function.result in (parsed.dtype, "same")
    assert parsed.needs_python == function.needs_python
    assert shown(parsed.evaluate({}, rows=1)[0].as_py()) == function.gives
    if not function.needs_python:
        assert parsed.spark_sql()


def test_names() -> None:
    names = [function.name for function in FUNCTIONS]
    assert len(set(names)) == len(names)
    assert not set(names) & set(BY_NAME), "allowed and refused"
    assert set(INSTEAD.values()) <= {*names, "-"}
    assert not set(INSTEAD) & set(NAMES)
    assert set(NAMES) == {f.name for f in FUNCTIONS[len(OPERATORS) :]}


def test_the_list() -> None:
    """A name that comes or goes is a visible decision: stored expressions hold these."""
    assert " ".join(NAMES) == (
        "if coalesce nullif least greatest abs sign sqrt floor ceil round pow bin exp ln log10 sin cos atan2 hypot "
        "upper lower trim length concat substring starts_with ends_with contains second minute hour day_of_week "
        "day_of_month day_of_year week_of_year month quarter year date_of start_of_day seconds_between days_between"
    )


@pytest.mark.parametrize("function", FUNCTIONS[len(OPERATORS) :], ids=lambda function: function.name)
def test_number_of_arguments(function: Function) -> None:
    with pytest.raises(ExpressionError):
        parse_expression(f"{function.name}()", {})
    if not any(form[-1].endswith("...") for form in function.forms):
        with pytest.raises(ExpressionError):
            parse_expression(f"{function.name}({', '.join(['1'] * 5)})", {})


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f.name not in ("IS NULL", "CAST")], ids=lambda f: f.name)
def test_null_in_each_place(function: Function) -> None:
    """A column of nulls in the first place gives null, where the description does not say otherwise."""
    kind = function.forms[0][0].removesuffix("...")
    dtype = {"number": "double", "text": "string", "same": "double", "ordered": "double"}.get(kind, kind)
    given = {
        "number": "1",
        "text": "'a'",
        "boolean": "TRUE",
        "date": "DATE '2026-01-01'",
        "timestamp": "TIMESTAMP '2026-01-01T00:00:00Z'",
        "zone": "'UTC'",
        "integer literal": "1",
        "number literal": "1",
        "text literal": "'a'",
    }
    rest = [given.get(one.removesuffix("..."), "1") for one in function.forms[0][1:]]
    if function.name == "bin":
        rest = ["0", "1"]
    name = function.name
    if name in NAMES:
        text = f"{name}({', '.join(['x', *rest])})"
    elif name == "CASE":
        text = "CASE WHEN x THEN 1 ELSE 2 END"
    elif name == "BETWEEN":
        text = "x BETWEEN 1 AND 2"
    elif name in ("NOT", "negative"):
        text = f"{'NOT' if name == 'NOT' else '-'} x"
    else:
        text = f"x {name} {f'({rest[0]})' if name == 'IN' else rest[0]}"
    from fs_spark.features.expressions.evaluate import ARROW

    found = parse_expression(text, {"x": dtype}).evaluate({"x": pa.nulls(1, ARROW[dtype])}, rows=1).to_pylist()
    skipping = {"OR": True, "CASE": 2, "if": 1.0, "least": 1.0, "greatest": 1.0}
    assert found == [skipping.get(name)], text
