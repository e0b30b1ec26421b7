"""The published list: every operator and function of a row expression. What is not here is refused.

Numbers are computed in double, whatever integers go in; a result that is no finite number (an overflow, a division by
zero, the root of a negative number) is null, and -0.0 is 0.0. A null among the arguments gives null, where the
description does not say otherwise. NaN and infinity in a column count as null; so do a date outside of the years 1 to
9999 and a timestamp outside of 0001-01-02 to 9999-12-30 (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SAME: Final = "same"


@dataclass(frozen=True, slots=True)
class Function:
    """One line of the list.

    `forms` are the kinds of arguments that it takes, one tuple for each way to call it; a kind that ends in `...` may
    come again. Kinds: number, text, boolean, date, timestamp; `same` (arguments of one type, int and bigint and double
    being one), `ordered` (the same, without booleans); `integer literal`, `number literal`, `text literal`, `zone` (a
    text literal: `UTC` or a name of the IANA table such as Europe/Berlin). `result` is a type, or `same`.
    `example` gives `gives`, written as text.
    """

    name: str
    forms: tuple[tuple[str, ...], ...]
    result: str
    doc: str
    example: str
    gives: str
    needs_python: bool = False

    @property
    def signature(self) -> str:
        """How it is called: `hour(timestamp, zone)`."""
        if not self.name.isidentifier() or self.name.isupper():
            return self.example
        forms = (
            ", ".join(kind.replace("same", "value").replace("ordered", "value") for kind in one) for one in self.forms
        )
        return " or ".join(f"{self.name}({form})" for form in forms)


_TWO_NUMBERS: Final = (("number", "number"),)
_NUMBER: Final = (("number",),)
_TEXT: Final = (("text",),)
_WITH_LITERAL: Final = (("text", "text literal"),)
_WHEN: Final = (("timestamp", "zone"), ("date",))
_SUMMER: Final = "TIMESTAMP '2026-06-30T22:30:45Z'"

OPERATORS: Final = (
    Function("+", _TWO_NUMBERS, "double", "Sum.", "1 + 0.5", "1.5"),
    Function("-", _TWO_NUMBERS, "double", "Difference.", "1 - 0.25", "0.75"),
    Function("*", _TWO_NUMBERS, "double", "Product.", "1e300 * 1e300", "null"),
    Function("/", _TWO_NUMBERS, "double", "Quotient in double; null where the divisor is 0.", "7 / 2", "3.5"),
    Function(
        "%", _TWO_NUMBERS, "double", "Rest of the division, with the sign of the dividend; exact.", "-7 % 3", "-1.0"
    ),
    Function("negative", _NUMBER, "double", "Written -x. Before a literal it makes a literal.", "-abs(2)", "-2.0"),
    Function(
        "=",
        (("same", "same"),),
        "boolean",
        "Equal. Integers are compared exactly, texts byte by byte in UTF-8, an integer with a double in double.",
        "9007199254740993 = 9007199254740992",
        "false",
    ),
    Function("<>", (("same", "same"),), "boolean", "Not equal; also written !=.", "'a' <> 'b'", "true"),
    Function("<", (("ordered", "ordered"),), "boolean", "Less.", "'B' < 'a'", "true"),
    Function("<=", (("ordered", "ordered"),), "boolean", "Less or equal.", "1 <= 1.0", "true"),
    Function(">", (("ordered", "ordered"),), "boolean", "Greater.", "1 > NULL", "null"),
    Function(">=", (("ordered", "ordered"),), "boolean", "Greater or equal.", "2 >= 3", "false"),
    Function(
        "AND",
        (("boolean", "boolean"),),
        "boolean",
        "False where either is false, else null where either is null.",
        "NULL AND FALSE",
        "false",
    ),
    Function(
        "OR",
        (("boolean", "boolean"),),
        "boolean",
        "True where either is true, else null where either is null.",
        "NULL OR TRUE",
        "true",
    ),
    Function("NOT", (("boolean",),), "boolean", "Null stays null.", "NOT 1 = 2", "true"),
    Function("IS NULL", (("any",),), "boolean", "Never null; also IS NOT NULL.", "1 / 0 IS NULL", "true"),
    Function(
        "IN",
        (("same", "same literal..."),),
        "boolean",
        "Whether a value is one of the literals. NULL is no such literal.",
        "2 IN (1, 2.0)",
        "true",
    ),
    Function(
        "BETWEEN",
        (("ordered", "ordered", "ordered"),),
        "boolean",
        "x >= low AND x <= high.",
        "2 BETWEEN 1 AND 2",
        "true",
    ),
    Function(
        "LIKE",
        _WITH_LITERAL,
        "boolean",
        "The whole text matches: % stands for any characters, _ for one; nothing is escaped.",
        "'vdd_max' LIKE 'vdd%'",
        "true",
    ),
    Function(
        "CASE",
        (("boolean", "same", "same..."),),
        SAME,
        "The value of the first condition that is true, else the last value (null where there is no ELSE).",
        "CASE WHEN NULL THEN 1 WHEN TRUE THEN 2 ELSE 3 END",
        "2",
    ),
    Function(
        "CAST",
        (("any",),),
        SAME,
        "Numbers to int and bigint: toward zero, null where it does not fit; to boolean: whether it is not 0. Texts to "
        "int and bigint: a sign and up to 19 digits; to double: up to 40 digits before and behind the point, an "
        "exponent or none; to boolean: 'true' or 'false'; to date: 2026-01-31; to timestamp: "
        "2026-01-31T23:59:59.123456Z, with a fraction or without. No spaces, and null for every other text. Integers "
        "and booleans to string.",
        "CAST('1e3' AS double)",
        "1000.0",
    ),
)
"""Written between, before or behind their operands, or with words of their own."""

FUNCTIONS: Final = (
    *OPERATORS,
    Function(
        "if", (("boolean", "same", "same"),), SAME, "CASE WHEN condition THEN a ELSE b END.", "if(NULL, 'a', 'b')", "b"
    ),
    Function("coalesce", (("same...",),), SAME, "The first value that is not null.", "coalesce(NULL, 1 / 0, 3)", "3.0"),
    Function(
        "nullif", (("same", "same"),), SAME, "Null where both are equal, else the first.", "nullif(3, 3.0)", "null"
    ),
    Function("least", (("ordered", "ordered..."),), SAME, "The least; nulls are skipped.", "least(2, NULL, 1)", "1"),
    Function(
        "greatest", (("ordered", "ordered..."),), SAME, "The greatest; nulls are skipped.", "greatest('a', 'b')", "b"
    ),
    Function("abs", _NUMBER, "double", "Absolute value.", "abs(-2)", "2.0"),
    Function("sign", _NUMBER, "double", "-1, 0 or 1.", "sign(-0.5)", "-1.0"),
    Function("sqrt", _NUMBER, "double", "Square root; null below 0.", "sqrt(2.25)", "1.5"),
    Function(
        "floor",
        _NUMBER,
        "bigint",
        "The greatest integer that is not greater; null where it does not fit, and at the least bigint.",
        "floor(-1.5)",
        "-2",
    ),
    Function(
        "ceil",
        _NUMBER,
        "bigint",
        "The least integer that is not less; null where it does not fit, and at the least bigint.",
        "ceil(-1.5)",
        "-1",
    ),
    Function(
        "round",
        (("number",), ("number", "integer literal")),
        "double",
        "To the nearest integer, halves away from zero. With d digits, -15 to 15: x * 10^d (for d < 0 x / 10^-d) is "
        "rounded like that and divided by 10^d, each step in double: no decimal number is looked at.",
        "round(-2.5)",
        "-3.0",
    ),
    Function(
        "pow",
        (("number", "integer literal"),),
        "double",
        "x * x * ... from the left, for 1 to 16.",
        "pow(1.5, 3)",
        "3.375",
    ),
    Function(
        "bin",
        (("number", "number literal", "number literal..."),),
        "int",
        "bin(x, e0, ..., en) is k where ek <= x < ek+1, the last with its upper edge; outside null. Edges rise.",
        "bin(2, 0, 1, 2)",
        "1",
    ),
    Function("exp", _NUMBER, "double", "e to the power of x.", "exp(1)", "2.718281828459045", True),
    Function("ln", _NUMBER, "double", "Natural logarithm; null at 0 and below.", "ln(2)", "0.6931471805599453", True),
    Function("log10", _NUMBER, "double", "Logarithm to the base 10; null at 0 and below.", "log10(1000)", "3.0", True),
    Function(
        "sin",
        _NUMBER,
        "double",
        "Sine of an angle in rad; null beyond 1000 and -1000.",
        "sin(1)",
        "0.8414709848078965",
        True,
    ),
    Function(
        "cos",
        _NUMBER,
        "double",
        "Cosine of an angle in rad; null beyond 1000 and -1000.",
        "cos(1)",
        "0.5403023058681398",
        True,
    ),
    Function(
        "atan2",
        _TWO_NUMBERS,
        "double",
        "Angle of (x, y) as atan2(y, x), above -pi and up to pi; 0 at the origin.",
        "atan2(1, 1)",
        "0.7853981633974483",
        True,
    ),
    Function("hypot", _TWO_NUMBERS, "double", "Square root of x^2 + y^2.", "hypot(3, 4)", "5.0", True),
    Function(
        "upper",
        _TEXT,
        "string",
        "The letters a to z as capitals; no other letter changes.",
        "upper('straße')",
        "STRAßE",
    ),
    Function(
        "lower", _TEXT, "string", "The letters A to Z as small ones; no other letter changes.", "lower('ÄB')", "Äb"
    ),
    Function(
        "trim",
        _TEXT,
        "string",
        "Without spaces at both ends; no other character is taken off.",
        "trim('  a b ')",
        "a b",
    ),
    Function("length", _TEXT, "int", "Number of characters (code points).", "length('µA')", "2"),
    Function("concat", (("text...",),), "string", "One after the other; also written a || b.", "'a' || 'b'", "ab"),
    Function(
        "substring",
        (("text", "integer literal"), ("text", "integer literal", "integer literal")),
        "string",
        "From a position, 1 being the first character, to the end or of at most so many characters.",
        "substring('wafer', 2, 3)",
        "afe",
    ),
    Function("starts_with", _WITH_LITERAL, "boolean", "Whether a text begins so.", "starts_with('vdd', 'v')", "true"),
    Function("ends_with", _WITH_LITERAL, "boolean", "Whether a text ends so.", "ends_with('vdd', 'v')", "false"),
    Function("contains", _WITH_LITERAL, "boolean", "Whether a text holds another.", "contains('vdd', 'dd')", "true"),
    Function("second", (("timestamp", "zone"),), "int", "0 to 59.", f"second({_SUMMER}, 'UTC')", "45"),
    Function("minute", (("timestamp", "zone"),), "int", "0 to 59.", f"minute({_SUMMER}, 'Asia/Kolkata')", "0"),
    Function("hour", (("timestamp", "zone"),), "int", "0 to 23.", f"hour({_SUMMER}, 'Europe/Berlin')", "0"),
    Function("day_of_week", _WHEN, "int", "1 is Monday, 7 Sunday.", "day_of_week(DATE '2026-01-01')", "4"),
    Function("day_of_month", _WHEN, "int", "1 to 31.", f"day_of_month({_SUMMER}, 'Europe/Berlin')", "1"),
    Function("day_of_year", _WHEN, "int", "1 to 366.", "day_of_year(DATE '2026-02-01')", "32"),
    Function(
        "week_of_year",
        _WHEN,
        "int",
        "ISO 8601's week, 1 to 53: week 1 has the year's first Thursday.",
        "week_of_year(DATE '2027-01-01')",
        "53",
    ),
    Function("month", _WHEN, "int", "1 to 12.", f"month({_SUMMER}, 'UTC')", "6"),
    Function("quarter", _WHEN, "int", "1 to 4.", f"quarter({_SUMMER}, 'Europe/Berlin')", "3"),
    Function("year", _WHEN, "int", "The calendar's year, not ISO's year of a week.", "year(DATE '2027-01-01')", "2027"),
    Function(
        "date_of",
        (("timestamp", "zone"),),
        "date",
        "The date on the zone's clock.",
        f"date_of({_SUMMER}, 'Europe/Berlin')",
        "2026-07-01",
    ),
    Function(
        "start_of_day",
        (("timestamp", "zone"),),
        "timestamp",
        "The instant at which the zone's day began.",
        f"start_of_day({_SUMMER}, 'Europe/Berlin')",
        "2026-06-30 22:00:00+00:00",
    ),
    Function(
        "seconds_between",
        (("timestamp", "timestamp"),),
        "double",
        "From the first to the second, of elapsed time.",
        f"seconds_between({_SUMMER}, TIMESTAMP '2026-06-30T22:30:46.5Z')",
        "1.5",
    ),
    Function(
        "days_between",
        (("timestamp", "timestamp"), ("date", "date")),
        "double",
        "From the first to the second; a day of elapsed time has 86,400 s.",
        "days_between(DATE '2026-01-31', DATE '2026-02-02')",
        "2.0",
    ),
)
"""All of them, in the order of the documentation."""

BY_NAME: Final = {function.name: function for function in FUNCTIONS}
NAMES: Final = tuple(name for name in BY_NAME if name.isidentifier() and name.islower() and name != "negative")
"""What is called by name, with its arguments in parentheses."""
