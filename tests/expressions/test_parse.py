"""What is read, what is refused and how that is said; the canonical text; limits."""

from __future__ import annotations

import random
import time

import pytest
import yaml
from sqlglot import exp

from fs_spark.errors import ConfigError, ExpressionError
from fs_spark.features.expressions import parse_condition, parse_expression
from fs_spark.features.expressions.evaluate import ARROW
from fs_spark.features.expressions.parse import _Reader
from fs_spark.features.expressions.reading import DEEPEST, LONGEST, TALLEST
from tests.expressions.random_expressions import TYPES, Maker, text_of

COLUMNS = {
    "vdd": "double",
    "idd": "double",
    "n": "int",
    "big": "bigint",
    "ok": "boolean",
    "color": "string",
    "day": "date",
    "event": "timestamp",
    "m.temp": "double",
    "p.temp": "double",
    "m.only": "double",
    "order": "int",
    "m.odd name": "int",
}


def text(given: str) -> str:
    return parse_expression(given, COLUMNS).text


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("n not between 1 and 2", "NOT n BETWEEN 1 AND 2"),
        ("not color not like 'a'", "NOT NOT color LIKE 'a'"),
        ("vdd*idd", "vdd * idd"),
        ("  ( (vdd)\n* -- why\n (idd) ) ", "vdd * idd"),
        ("`vdd` * /* so */ idd", "vdd * idd"),
        ("vdd * (idd * n)", "vdd * (idd * n)"),
        ("(vdd * idd) * n", "vdd * idd * n"),
        ("vdd + (idd * n)", "vdd + idd * n"),
        ("(vdd + idd) * n", "(vdd + idd) * n"),
        ("vdd - (idd - n)", "vdd - (idd - n)"),
        ("+vdd", "vdd"),
        ("- (vdd)", "-vdd"),
        ("-(-vdd)", "-(-vdd)"),
        ("-(-5)", "5"),
        ("vdd - -5.50", "vdd - -5.5"),
        ("-(vdd + 1)", "-(vdd + 1)"),
        ("-0.0", "0.0"),
        ("1e3", "1000.0"),
        (".5e-7", "5e-08"),
        ("1 == n", "1 = n"),
        ("n != 1", "n <> 1"),
        ("not (ok AND (n=1 or n=2))", "NOT (ok AND (n = 1 OR n = 2))"),
        ("NOT ok and ok OR n is not null", "NOT ok AND ok OR NOT n IS NULL"),
        ("(n = 1) = ok", "(n = 1) = ok"),
        ("n NOT in (1,2)", "NOT n IN (1, 2)"),
        ("vdd + 1 between 0 and 2*n", "vdd + 1 BETWEEN 0 AND 2 * n"),
        ("color not LIKE 'a%'", "NOT color LIKE 'a%'"),
        ('"it\'s" = color', '"it\'s" = color'),
        ('"a" || color || "b"', "concat(concat('a', color), 'b')"),
        ("IF(ok, 1, 2.0)", "CASE WHEN ok THEN 1 ELSE 2.0 END"),
        ("case n when 1 then 'a' end", "CASE WHEN n = 1 THEN 'a' ELSE NULL END"),
        ("Coalesce( vdd , NULL)", "coalesce(vdd, NULL)"),
        ("vdd::BIGINT", "CAST(vdd AS bigint)"),
        ("try_cast(vdd as integer)", "CAST(vdd AS int)"),
        ("1L + 1D", "CAST(1 AS bigint) + CAST(1 AS double)"),
        ("only", "m.only"),
        ("m.temp", "m.temp"),
        ("`m`.`odd name` + `order`", "m.`odd name` + `order`"),
        ("`odd name`", "m.`odd name`"),
        ("cast('2026-01-31' as date)", "DATE '2026-01-31'"),
        ("timestamp '2026-01-31 01:00:00.5+02:00'", "TIMESTAMP '2026-01-30T23:00:00.500000Z'"),
        ("Hour(event,\n'Europe/Berlin')", "hour(event, 'Europe/Berlin')"),
        ("true And FALSE", "TRUE AND FALSE"),
    ],
)
def test_canonical_text(given: str, canonical: str) -> None:
    assert text(given) == canonical
    assert parse_expression(canonical, COLUMNS) == parse_expression(given, COLUMNS)


def test_canonical_text_of_random_expressions() -> None:
    rng = random.Random(3)
    for _ in range(800):
        given = text_of(Maker(rng, python=True).make(rng.choice(list(ARROW)), 5))
        parsed = parse_expression(given, TYPES)
        assert parse_expression(parsed.text, TYPES) == parsed, given
        assert len(parsed.text) <= len(given) + 40 * given.count("if("), given


def test_what_an_expression_says_of_itself() -> None:
    parsed = parse_expression("only + exp(n)", COLUMNS)
    assert (parsed.columns, parsed.dtype, parsed.needs_python) == (frozenset({"m.only", "n"}), "double", True)
    with pytest.raises(
        ExpressionError, match=r"no Spark SQL with the same bits: exp of Java(.|\n)*Hint: evaluate it in"
    ):
        parsed.spark_sql()
    assert not parse_expression("floor(n)", COLUMNS).needs_python


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        ("n + n", "double"),
        ("n", "int"),
        ("coalesce(n, big)", "bigint"),
        ("coalesce(n, 1.0)", "double"),
        ("2147483648", "bigint"),
        ("-2147483648", "int"),
        ("-9223372036854775808", "bigint"),
        ("floor(vdd)", "bigint"),
        ("date_of(event, 'UTC')", "date"),
        ("start_of_day(event, 'UTC')", "timestamp"),
        ("upper(color)", "string"),
        ("n = 1", "boolean"),
        ("CAST(NULL AS date)", "date"),
    ],
)
def test_types(given: str, dtype: str) -> None:
    assert parse_expression(given, COLUMNS).dtype == dtype


REFUSED = {
    "vd * idd": r"character 1: column 'vd' is not visible here\.\nVisible: big, .*\nHint: did you mean 'vdd'\?",
    "idd + VDD": r"character 7: column 'VDD' is not visible(.|\n)*did you mean 'vdd'",
    "nly": r"column 'nly' is not visible(.|\n)*did you mean 'm.only'",
    "temp": r"more than one input\.\nHint: say which: m\.temp, p\.temp",
    "1 + flor(vdd)": r"character 5: 'flor' is not a function of row expressions(.|\n)*Hint: did you mean 'floor'\?",
    "nvl(vdd, 1)": r"'nvl' is not a function of row expressions\.\nHint: 'coalesce' does this",
    "hour(event)": r"its zone is missing\.\nHint: hour\(timestamp, zone\)",
    "hour(event, 'Berlin')": r"character 13: hour does not know the zone 'Berlin'.*such as 'Europe/Berlin'",
    "hour(event, 'EST')": r"an IANA name with a slash",
    "hour(event, color)": r"needs its zone as a text literal",
    "now()": r"now reads the clock",
    "current_date": r"current_date reads the clock",
    "1 = current_timestamp()": r"character 5: current_timestamp reads the clock",
    "current_timestamp": r"current_timestamp reads the clock",
    "unix_timestamp()": r"reads the clock",
    "rand() < 0.5": r"rand is random",
    "uuid()": r"uuid is random",
    "sum(vdd)": r"sum looks at more than one row(.|\n)*Hint: a `rolling` or `aggregate` view",
    "count(*)": r"count looks at more than one row",
    "vdd - lag(vdd) over (order by event)": r"a window function looks at more than one row",
    "max(vdd) filter (where ok)": r"looks at more than one row",
    "(select 1)": r"a subquery reads other rows",
    "exists (select 1 from t)": r"a subquery reads other rows",
    "vdd in (select 1)": r"a subquery reads other rows",
    "monotonically_increasing_id()": r"depends on the order or the place of rows",
    "input_file_name()": r"depends on the order or the place of rows",
    "current_user()": r"depends on who runs it",
    "regexp_extract(color, 'a', 0)": r"regular expressions(.|\n)*Hint: LIKE",
    "color rlike 'a'": r"regular expressions",
    "color ilike 'a'": r"Hint: lower\(x\) LIKE",
    "color like 'a' escape '!'": r"ESCAPE is not part",
    "java_method('a', 'b')": r"'java_method' is not a function",
    "my.func(vdd)": r"a function of a schema",
    "transform(vdd, x -> x)": r"lists",
    "vdd[0]": r"lists and maps",
    "*": r"Hint: name the columns",
    "@x": r"a parameter cannot be set",
    "${x}": r"a parameter cannot be set",
    "interval 1 day": r"INTERVAL is not part",
    "vdd +": r"character 5: an operand is missing beside '\+'",
    "vdd idd": r"character 5: 'idd' is not expected here",
    "vdd as x": r"'as' is not expected",
    "vdd, idd": r"',' is not expected",
    "(vdd": r"a parenthesis is opened and not closed",
    "'abc": r"a quote or a comment is opened and not closed",
    "": r"the text is empty",
    " -- nothing": r"the text is empty",
    "vdd; drop table x": r"character 4: ';' ends an expression",
    "drop table x": r"'drop' is not expected",
    r"color = 'a\'": r"character 11: '\\' is not part of row expressions",
    "'it''s'": r"two texts side by side",
    "color = '\ud800'": r"character 10: this is half of a character",
    "color + 1": r"\+ needs a number, and this is a text",
    "vdd = color": r"= needs values of one type: double, text",
    "event = day": r"= needs values of one type: timestamp, date",
    "vdd and ok": r"AND needs a boolean, and this is a double",
    "case when vdd then 1 end": r"character 11: a condition is a boolean",
    "if(ok, 1, 'a')": r"the values of CASE are of no one type: int, text",
    "1 < n < 3": r"< does not order booleans",
    "cast(vdd as string)": r"its digits differ between versions of Java",
    "cast(event as date)": r"Hint: date_of\(event, 'UTC'\)",
    "cast(vdd as decimal(3,1))": r"'decimal\(3, 1\)' is not a type of row expressions",
    "date '2026-02-30'": r"'2026-02-30' is not a date",
    "timestamp '2026-01-01 00:00:00'": r"with its zone",
    "timestamp '0001-01-01T00:00:00Z'": r"outside of the timestamps",
    "NULL": r"nothing says of which type NULL is\.\nHint: CAST\(NULL AS double\)",
    "NULL = NULL": r"nothing says of which type",
    "vdd in (1, NULL)": r"has no use for NULL",
    "vdd in (idd)": r"needs a value that is written out here",
    "pow(vdd, idd)": r"needs an integer that is written out",
    "pow(vdd, 17)": r"an integer from 1 to 16",
    "round(vdd, 16)": r"-15 to 15 digits",
    "substring(color, 0)": r"substring counts from 1",
    "bin(vdd, 1)": r"bin needs other arguments",
    "bin(vdd, 0, 1, 1)": r"the edges of bin rise strictly",
    "bin(vdd, 0, n)": r"needs a number that is written out here",
    "contains(color, color)": r"needs a text that is written out here",
    "vdd is true": r"IS stands before NULL alone",
    "1e999": r"beyond the greatest double",
    "9223372036854775808": r"does not fit a bigint",
    "vdd ^ 2": r"Hint: pow\(x, 2\)",
}


@pytest.mark.parametrize("given", REFUSED)
def test_refused(given: str) -> None:
    with pytest.raises(ExpressionError, match=REFUSED[given]) as caught:
        parse_expression(given, COLUMNS)
    assert isinstance(caught.value, ConfigError)
    assert isinstance(caught.value, ValueError)
    assert "sqlglot" not in str(caught.value)


def test_a_part_that_a_later_parser_may_add_is_not_passed_over() -> None:
    node = exp.EQ(this=exp.Null(), expression=exp.Literal.number(1), ignoring_case=True)
    with pytest.raises(ExpressionError, match="'eq' with 'ignoring_case' is not part of row expressions"):
        _Reader("NULL = 1", COLUMNS).read(node)


def test_a_condition_is_a_boolean() -> None:
    assert parse_condition("vdd > 1", COLUMNS).dtype == "boolean"
    with pytest.raises(ExpressionError, match=r"'vdd' is a double, and a condition is true or false"):
        parse_condition("vdd", COLUMNS)


def test_columns_that_cannot_be() -> None:
    with pytest.raises(ExpressionError, match=r"column 'a' has the type 'float'"):
        parse_expression("1", {"a": "float"})
    with pytest.raises(ExpressionError, match="is not a name of a column"):
        parse_expression("1", {"${x}": "int"})
    with pytest.raises(ExpressionError, match="an expression is a text"):
        parse_expression(7, {})  # type: ignore[arg-type]


def test_what_yaml_makes_of_a_text() -> None:
    loaded = yaml.safe_load("a: 'color = ''x''; SET spark.x = 1'\nb: color = '!!python/object:os.system'\nc: yes\n")
    with pytest.raises(ExpressionError, match="';' ends an expression"):
        parse_expression(loaded["a"], COLUMNS)
    assert parse_expression(loaded["b"], COLUMNS).spark_sql() == "(`color` = '!!python/object:os.system')"
    with pytest.raises(ExpressionError, match="has the type bool"):
        parse_expression(loaded["c"], COLUMNS)


def test_what_a_session_could_change_is_written_as_bytes() -> None:
    written = parse_expression("color = '${env:HOME}' OR `order` = 1", COLUMNS).spark_sql()
    assert "$" not in written
    assert f"X'{b'${env:HOME}'.hex().upper()}'" in written
    ticked = parse_expression("`a``) OR (``1`", {"a`) OR (`1": "boolean"})
    assert ticked.spark_sql() == "`a``) OR (``1`"


@pytest.mark.parametrize(
    "given",
    [
        "(" * 5000 + "vdd" + ")" * 5000,
        "abs(" * 400 + "vdd" + ")" * 400,
        "case when ok then " * 600 + "1" + " else 2 end" * 600,
        "not " * 4000 + "ok",
        "- " * 4000 + "vdd",
        "+".join(["vdd"] * 4000),
        "cast(" * 200 + "vdd" + " as int)" * 200,
        "[" * 3000,
        "case " * 3000,
        "if(ok, " * 100 + "1",
    ],
)
def test_too_deep(given: str) -> None:
    began = time.monotonic()
    with pytest.raises(ExpressionError, match=r"(inside of|above) each other(.|\n)*Hint: give a part of it a name"):
        parse_expression(given, COLUMNS)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "given",
    [
        "(" * DEEPEST + "vdd" + ")" * DEEPEST,
        "abs(" * DEEPEST + "vdd" + ")" * DEEPEST,
        "case when ok then " * DEEPEST + "1" + " else 2 end" * DEEPEST,
        "+".join(["vdd"] * (TALLEST - 2)),
        " and ".join(["ok"] * (TALLEST - 2)),
        "vdd in (" + ", ".join(map(str, range(2500))) + ")",
    ],
)
def test_as_deep_as_may_be(given: str) -> None:
    parsed = parse_expression(given, COLUMNS)
    assert parse_expression(parsed.text, COLUMNS) == parsed
    assert len(parsed.spark_sql()) < 100 * len(given)


def test_too_long() -> None:
    began = time.monotonic()
    with pytest.raises(ExpressionError, match=r"the text has 100,000 characters, and 20,000 are allowed"):
        parse_expression(" + 1" * 25_000, COLUMNS)
    assert time.monotonic() - began < 0.1
    with pytest.raises(ExpressionError, match="characters"):
        parse_expression("x" * (LONGEST + 1), COLUMNS)
