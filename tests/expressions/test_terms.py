"""Texts of expressions that are made by rule."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fs_spark.errors import ExpressionError
from fs_spark.features.expressions import bins, one_hot, parse_expression, terms


def test_squares_and_pairs() -> None:
    assert terms(degree=2, of=["vdd", "idd", "m.temp"]) == [
        ("vdd__pow2", "vdd * vdd"),
        ("vdd__x__idd", "vdd * idd"),
        ("vdd__x__temp", "vdd * m.temp"),
        ("idd__pow2", "idd * idd"),
        ("idd__x__temp", "idd * m.temp"),
        ("temp__pow2", "m.temp * m.temp"),
    ]
    assert [name for name, _ in terms(degree=2, of=["idd", "vdd"])] == ["idd__pow2", "idd__x__vdd", "vdd__pow2"]


def test_cubes_and_triples() -> None:
    made = terms(degree=3, of=["a", "b", "c", "d"])
    assert [name for name, _ in made] == [
        "a__pow3",
        "a__x__b__x__c",
        "a__x__b__x__d",
        "a__x__c__x__d",
        "b__pow3",
        "b__x__c__x__d",
        "c__pow3",
        "d__pow3",
    ]
    values = {name: pa.array([value]) for name, value in zip("abcd", (2.0, 3.0, 5.0, 7.0), strict=True)}
    found = [
        parse_expression(text, dict.fromkeys("abcd", "double")).evaluate(values, rows=1)[0].as_py() for _, text in made
    ]
    assert found == [8.0, 30.0, 42.0, 70.0, 27.0, 105.0, 125.0, 343.0]


def test_names_that_need_quotes() -> None:
    ((_, text),) = terms(degree=2, of=["order"])
    assert text == "`order` * `order`"
    assert parse_expression(text, {"order": "int"}).text == text


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["a", "a"], "two expressions would be called 'a__x__a'|called 'a__pow2'"),
        (["m.a", "p.a"], "two expressions would be called"),
        ([], "terms need columns"),
    ],
)
def test_terms_that_cannot_be(columns: list[str], message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        terms(degree=2, of=columns)
    with pytest.raises(ExpressionError, match="degree 2 or 3"):
        terms(degree=4, of=["a"])  # type: ignore[arg-type]


def test_bins() -> None:
    ((name, text),) = bins("m.vdd", [-1.5, 0, 2])
    assert (name, text) == ("vdd__bin", "bin(m.vdd, -1.5, 0, 2)")
    parsed = parse_expression(text, {"m.vdd": "double"})
    given = pa.array([-1.6, -1.5, -0.1, -0.0, 1.9, 2.0, 2.1, None, float("nan"), float("inf")])
    assert parsed.dtype == "int"
    assert parsed.evaluate({"m.vdd": given}, rows=10).to_pylist() == [None, 0, 0, 1, 1, 1, None, None, None, None]


@pytest.mark.parametrize("edges", [[1], [1, 1], [2, 1], [0, float("nan")], [0, float("inf")], [True, 2]])
def test_edges_that_cannot_be(edges: list[float]) -> None:
    with pytest.raises(ExpressionError, match="edges"):
        bins("vdd", edges)


def test_one_hot() -> None:
    made = one_hot("m.color", ["Red", "light-blue", "it's"])
    assert made == [
        ("color__is_red", "CAST(m.color = 'Red' AS int)"),
        ("color__is_light_blue", "CAST(m.color = 'light-blue' AS int)"),
        ("color__is_it_s", 'CAST(m.color = "it\'s" AS int)'),
    ]
    columns = {"m.color": pa.array(["Red", "red", "it's", None, ""])}
    found = [parse_expression(text, {"m.color": "string"}).evaluate(columns, rows=5).to_pylist() for _, text in made]
    assert found == [[1, 0, 0, None, 0], [0, 0, 0, None, 0], [0, 0, 1, None, 0]]
    assert parse_expression(made[0][1], {"m.color": "string"}).dtype == "int"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a b", "a-b"], "two expressions would be called 'color__is_a_b'"),
        (["a", "a"], "two expressions would be called"),
        (["-"], "gives no name"),
        ([], "needs the words"),
        (["a\\b"], r"holds \\"),
        ([1], "gives no name"),
    ],
)
def test_words_that_cannot_be(words: list[str], message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        one_hot("color", words)
