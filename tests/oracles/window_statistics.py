"""Statistics of the rows of a window, by exact arithmetic rounded once where the text fixes no other (section 6).

Where the text leaves a choice, these hold:
- `rows` of none is 0, like `count`; `distinct` of none is null, being another statistic;
- a mean is `math.fsum(values) / n`; where the sum is beyond a double, the exact mean rounded once;
- a sum of integers is an integer; a sum beyond its type is null, and so is a std whose squares are beyond a double;
- an infinite value counts: sum and mean follow IEEE, null for both signs at once; std and slope are null;
- quantiles, slopes and weighted means are exact here; text or engine may round between, so compare within a tolerance;
- the last row of a weighted mean is the last whose value is known;
- equal values give themselves as weighted mean and mean, 0.0 as std and slope.
"""

import math
from fractions import Fraction

from .sources import DAY

NUMBERS = ("sum", "mean", "std", "min", "max", "median", "quantile", "slope", "ewm")
KINDS = ("rows", "count", "distinct", "first", "last", "share", *NUMBERS)


def statistic(kind, rows, column=None, option=None):
    """One statistic of rows in their order. `option`: q of a quantile, half-life of `ewm`, category of `share`."""
    if kind not in KINDS:
        raise ValueError(f"unknown statistic {kind!r}")
    if kind == "rows":
        return len(rows)
    known = [row for row in rows if is_known(row[column])]
    values = [row[column] for row in known]
    times = [row["event"] for row in known]
    if kind == "count":
        return len(values)
    if not values:
        return None
    if kind == "distinct":
        return len(set(values))
    if kind == "share":
        return sum(1 for value in values if value == option) / len(values)
    if kind in ("first", "last"):
        return positive_zero(values[0] if kind == "first" else values[-1])
    if kind in ("min", "max"):
        return positive_zero(min(values) if kind == "min" else max(values))
    if kind == "sum":
        return positive_zero(total(values))
    numbers = [float(value) for value in values]
    if kind == "mean":
        return positive_zero(mean(numbers))
    if kind == "std":
        return std(numbers)
    if kind in ("median", "quantile"):
        return positive_zero(quantile(numbers, 0.5 if kind == "median" else option))
    if kind == "slope":
        return positive_zero(slope(times, numbers))
    return positive_zero(weighted_mean(times, numbers, option))


def is_known(value):
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def positive_zero(value):
    return 0.0 if isinstance(value, float) and value == 0 else value


def total(values):
    if all(isinstance(value, int) for value in values):
        exact = sum(values)
        return exact if -(2**63) <= exact < 2**63 else None
    if not all(math.isfinite(value) for value in values):
        return none_if_nan(sum(values))
    return rounded(sum(Fraction(value) for value in values))


def mean(values):
    if min(values) == max(values):
        return values[0]
    if not all(math.isfinite(value) for value in values):
        return none_if_nan(sum(values) / len(values))
    sum_of = total(values)
    if sum_of is None:
        return rounded(sum(Fraction(value) for value in values) / len(values))
    return sum_of / len(values)


def std(values):
    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        return None
    if min(values) == max(values):
        return 0.0
    center = mean(values)
    squares = [(value - center) * (value - center) for value in values]
    if not all(math.isfinite(square) for square in squares):
        return None
    sum_of = total(squares)
    return None if sum_of is None else math.sqrt(sum_of / (len(values) - 1))


def quantile(values, q):
    """Type 7: the place (n - 1) q of the sorted values, straight between two of them; q is the decimal as written."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * Fraction(str(q))
    below = math.floor(place)
    part = place - below
    if part == 0 or ordered[below] == ordered[below + 1]:
        return ordered[below]
    low, high = ordered[below], ordered[below + 1]
    if not (math.isfinite(low) and math.isfinite(high)):
        return none_if_nan(low + float(part) * (high - low))
    return rounded(Fraction(low) + part * (Fraction(high) - Fraction(low)))


def slope(times, values):
    """Least squares, in [value] per day of 86,400 s."""
    if len(set(times)) < 2 or not all(math.isfinite(value) for value in values):
        return None
    days = [Fraction(time, DAY) for time in times]
    exact = [Fraction(value) for value in values]
    center_day = sum(days) / len(days)
    center = sum(exact) / len(exact)
    above = sum((d - center_day) * (v - center) for d, v in zip(days, exact, strict=True))
    return rounded(above / sum((d - center_day) ** 2 for d in days))


def weighted_mean(times, values, half_life):
    if min(values) == max(values):
        return values[0]
    weights = [2.0 ** (-(times[-1] - time) / half_life) for time in times]
    if not all(math.isfinite(value) for value in values):
        return none_if_nan(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    above = sum(Fraction(w) * Fraction(v) for w, v in zip(weights, values, strict=True))
    return rounded(above / sum(Fraction(w) for w in weights))


def rounded(exact):
    """The nearest double, None where it is beyond one."""
    try:
        return float(exact)
    except OverflowError:
        return None


def none_if_nan(value):
    return None if math.isnan(value) else value
