"""Row expressions, one row at a time in plain Python, right by reading.

An expression is a tuple: ("column", name), ("literal", value, type), or (function, type, argument, ...), where the type
is that of the result. Values are None, bool, int, float, str, date and datetime in UTC.
"""

import math
import re
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from fs_spark.kernels.elementary import arctangents, exponentials, hypotenuses, logarithms, sines_and_cosines

NUMBERS = ("int", "bigint", "double")
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def finite(x):
    return None if x is None or not math.isfinite(x) else x + 0.0


def usable(value):
    """What a column's value counts as."""
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, datetime):
        return value if EARLIEST <= value < LATEST else None
    return value


def whole_half_away(x):
    if not math.isfinite(x):
        return x
    exact = Fraction(x)
    whole = math.floor(abs(exact) + Fraction(1, 2))
    return float(whole if exact >= 0 else -whole)


def rounded(x, digits):
    scale = 10.0 ** abs(digits)
    return whole_half_away(x * scale) / scale if digits >= 0 else whole_half_away(x / scale) * scale


def power(x, n):
    product = x
    for _ in range(n - 1):
        product *= x
    return product


def bin_of(x, edges):
    for k in range(len(edges) - 1):
        if edges[k] <= x < edges[k + 1]:
            return k
    return len(edges) - 2 if x == edges[-1] else None


def like(text, pattern):
    if not pattern:
        return not text
    if pattern[0] == "%":
        return any(like(text[k:], pattern[1:]) for k in range(len(text) + 1))
    return bool(text) and pattern[0] in ("_", text[0]) and like(text[1:], pattern[1:])


def fits(whole, dtype):
    half = 2 ** (31 if dtype == "int" else 63)
    return whole if -half <= whole < half else None


def cast(value, of, dtype):
    if of == dtype:
        return value
    if of == "string":
        return cast_text(value, dtype)
    if dtype == "boolean":
        return value != 0
    if dtype == "string":
        return str(value).lower()
    return finite(float(value)) if dtype == "double" else fits(int(value), dtype)


def cast_text(text, dtype):
    if dtype == "boolean":
        return {"true": True, "false": False}.get(text)
    if dtype == "double":
        form = r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,5})?"
        return finite(float(text)) if re.fullmatch(form, text) else None
    if dtype in ("int", "bigint"):
        return fits(int(text), dtype) if re.fullmatch("[+-]?[0-9]{1,19}", text) else None
    try:
        if dtype == "date":
            return date.fromisoformat(text) if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else None
        form = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z"
        if not re.fullmatch(form, text):
            return None
        seconds, _, fraction = text[:-1].partition(".")
        read = datetime.strptime(seconds, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        if seconds[-2:] >= "60":
            return None
        return usable(read + timedelta(microseconds=int((fraction + "000000")[:6])))
    except ValueError:
        return None


def ascii_only(text, change):
    return "".join(getattr(c, change)() if c.isascii() else c for c in text)


def micros(span):
    return span // timedelta(microseconds=1)


def of_time(name, values):
    when = values[0]
    if len(values) > 1:
        when = when.astimezone(ZoneInfo(values[1]))
    if name in ("second", "minute", "hour", "month", "year"):
        return getattr(when, name)
    if name == "start_of_day":
        begin = datetime(when.year, when.month, when.day)
        offset = begin.replace(tzinfo=ZoneInfo(values[1])).utcoffset() or timedelta(0)
        return usable((begin - offset).replace(tzinfo=UTC)) if begin >= datetime(1, 1, 2) + offset else None
    day = date(when.year, when.month, when.day)
    return {
        "date_of": day,
        "day_of_week": day.isoweekday(),
        "day_of_month": day.day,
        "day_of_year": (day - date(day.year, 1, 1)).days + 1,
        "week_of_year": day.isocalendar().week,
        "quarter": (day.month + 2) // 3,
    }[name]


def type_of(node, types):
    if node[0] == "column":
        return types[node[1]]
    return node[2] if node[0] == "literal" else node[1]


def common(dtypes):
    numbers = [dtype for dtype in dtypes if dtype in NUMBERS]
    if not numbers:
        return dtypes[0]
    return "double" if "double" in numbers else "bigint" if "bigint" in numbers else "int"


def alike(values, dtypes):
    """Numbers in double where one of them is one."""
    if common(dtypes) == "double":
        return [None if value is None else float(value) for value in values]
    return values


def order(value):
    return value.encode() if isinstance(value, str) else value


COMPARES: dict[str, Any] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
ARITHMETIC: dict[str, Any] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else None,
    "%": lambda a, b: math.fmod(a, b) if b else None,
    "negative": lambda a: -a,
    "abs": abs,
    "sign": lambda a: float((a > 0) - (a < 0)),
    "sqrt": lambda a: math.sqrt(a) if a >= 0 else None,
    "exp": lambda a: exponentials(a).item(),
    "ln": lambda a: logarithms(a).item(),
    "log10": lambda a: logarithms(a, base_10=True).item(),
    "sin": lambda a: sines_and_cosines(a)[0].item() if abs(a) <= 1000 else None,
    "cos": lambda a: sines_and_cosines(a)[1].item() if abs(a) <= 1000 else None,
    "atan2": lambda a, b: arctangents(a, b).item(),
    "hypot": lambda a, b: hypotenuses(a, b).item(),
}
TEXTS: dict[str, Any] = {
    "upper": lambda s: ascii_only(s, "upper"),
    "lower": lambda s: ascii_only(s, "lower"),
    "trim": lambda s: s.strip(" "),
    "length": len,
    "concat": lambda *s: "".join(s),
    "substring": lambda s, start, length=None: s[start - 1 :][:length],
    "starts_with": str.startswith,
    "ends_with": str.endswith,
    "contains": lambda s, part: part in s,
    "LIKE": like,
}


def kleene(name, a, b):
    decides = name == "OR"
    if decides in (a, b):
        return decides
    return None if a is None or b is None else not decides


def value(node, row, types):
    """The value of an expression in one row."""
    name = node[0]
    if name == "column":
        return usable(row[node[1]])
    if name == "literal":
        return usable(node[1])
    given = node[2:]
    dtypes = [type_of(one, types) for one in given]
    values = [value(one, row, types) for one in given]
    if name == "IS NULL":
        return values[0] is None
    if name in ("AND", "OR"):
        return kleene(name, *values)
    if name == "BETWEEN":
        x, low, high = (order(one) for one in alike(values, dtypes))
        return kleene(
            "AND",
            None if x is None or low is None else x >= low,
            None if x is None or high is None else x <= high,
        )
    if name == "CASE":
        chosen = [*values[1:-1:2], values[-1]]
        chosen = alike(chosen, [*dtypes[1:-1:2], dtypes[-1]])
        for condition, then in zip(values[:-1:2], chosen, strict=False):
            if condition:
                return then
        return chosen[-1]
    if name == "if":
        then, other = alike(values[1:], dtypes[1:])
        return then if values[0] else other
    if name in ("coalesce", "least", "greatest"):
        known = [one for one in alike(values, dtypes) if one is not None]
        if name == "coalesce":
            return known[0] if known else None
        return (min if name == "least" else max)(known, key=order) if known else None
    if name == "nullif":
        first, second = alike(values, dtypes)
        return None if first == second else first
    if None in values:
        return None
    if name in COMPARES:
        return COMPARES[name](*map(order, alike(values, dtypes)))
    if name == "NOT":
        return not values[0]
    if name == "IN":
        first, *members = alike(values, dtypes)
        return first in members
    if name == "CAST":
        return cast(values[0], dtypes[0], node[1])
    if name in ARITHMETIC:
        return finite(ARITHMETIC[name](*map(float, values)))
    if name == "round":
        return finite(rounded(float(values[0]), values[1] if len(values) > 1 else 0))
    if name == "pow":
        return finite(power(float(values[0]), values[1]))
    if name in ("floor", "ceil"):
        whole = (math.floor if name == "floor" else math.ceil)(float(values[0]))
        return whole if -(2**63) < whole < 2**63 else None
    if name == "bin":
        return bin_of(float(values[0]), [float(edge) for edge in values[1:]])
    if name in TEXTS:
        return TEXTS[name](*values)
    if name == "seconds_between":
        return micros(values[1] - values[0]) / 1e6
    if name == "days_between":
        elapsed = values[1] - values[0]
        return float(elapsed.days) if dtypes[0] == "date" else micros(elapsed) / 86_400e6
    return of_time(name, values)
