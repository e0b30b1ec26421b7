"""State views by loops over instants, each window anew from the rows that are known: right by reading."""

import math
import sys
from fractions import Fraction

DAY_US = 86_400_000_000


def known_by(group, u):
    """The version of each row that is known at u, rows in their order; [(event, version), ...]."""
    known = []
    for row in group["rows"]:
        for version in row["versions"]:
            if version["start"] <= u < version["end"]:
                known.append((row["event"], version))
    return known


def content(known, window, u):
    """What a window holds at u of the rows known by then."""
    where, span, last = window
    rows = [(t, v) for t, v in known if v["keep"][where] and t <= u]
    if last is not None:
        rows = [(t, v) for t, v in rows if span is None or t > u - span]
        return rows[-last:]
    return [(t, v) for t, v in rows if span is None or u - span < t]


def rounded(value):
    """A number as double * 2^exponent, an even exponent: rounded to 53 bits, whatever its size."""
    if value == 0:
        return 0.0, 0
    exponent = abs(value.numerator).bit_length() - value.denominator.bit_length()
    exponent -= exponent % 2
    return float(value / Fraction(2) ** exponent), exponent  # near 1: Python rounds quotients of integers once


def std(x):
    """Two-pass about the mean; the sum of squares without rounding, then rounded once."""
    if len(x) < 2:
        return None
    if min(x) == max(x):
        return 0.0
    mean = Fraction(math.fsum(x) / len(x))
    squares, exponent = rounded(sum((Fraction(v) - mean) ** 2 for v in x))
    return math.ldexp(math.sqrt(squares / (len(x) - 1)), exponent // 2)


def slope(t, x):
    """Least squares over days, about the means; rounded once."""
    if len(set(t)) < 2:
        return None
    days = [Fraction(u, DAY_US) for u in t]
    x = [Fraction(v) for v in x]
    middle, mean = sum(days) / len(days), sum(x) / len(x)
    over = sum((d - middle) * (v - mean) for d, v in zip(days, x, strict=True))
    value, exponent = rounded(over / sum((d - middle) ** 2 for d in days))
    return math.ldexp(value, exponent)


def quantile(x, q):
    """Type 7: linear between the closest ranks."""
    if not x:
        return None
    x = sorted(x)
    h = (len(x) - 1) * q
    k = math.floor(h)
    return x[k] if h == k else x[k] + (h - k) * (x[k + 1] - x[k])


def weighted_mean(t, x, half_life, weight):
    """Weights from `weight(age, half_life)`, or as (mantissa, power) of each time from `weight.of`."""
    if not x:
        return None
    w = [weight(u, t[-1], half_life) for u in t]
    return math.fsum(a * b for a, b in zip(w, x, strict=True)) / math.fsum(w)


def plain_weight(t, last, half_life):
    """2^(-(t(last) - t) / half-life), as the C library has it."""
    return 2.0 ** (-(last - t) / half_life)


def value_of(rows, feature, weight):
    """A statistic of what a window holds; of `first` and `last` (value, number of the version)."""
    statistic, column, parameter, coded = feature
    if statistic == "rows":
        return float(len(rows))
    kind = "codes" if coded else "values"
    counted = [(t, v[kind][column], v["number"]) for t, v in rows if v[kind][column] is not None]
    if not coded:
        counted = [(t, x + 0.0, n) for t, x, n in counted if not math.isnan(x) and abs(x) < 1e150]
    t, x = [c[0] for c in counted], [c[1] for c in counted]
    if statistic == "count":
        return float(len(x))
    if not x:
        return None
    if statistic == "sum":
        return math.fsum(x)
    if statistic == "mean":
        return math.fsum(x) / len(x)
    if statistic == "distinct":
        return float(len(set(x)))
    if statistic == "share":
        return sum(code == parameter for code in x) / len(x)
    if statistic in ("first", "last"):
        return counted[0 if statistic == "first" else -1][1:]
    if statistic == "std":
        return std(x)
    if statistic == "slope":
        return slope(t, x)
    if statistic == "ewm":
        return weighted_mean(t, x, parameter, weight)
    return quantile(x, {"min": 0.0, "median": 0.5, "max": 1.0}.get(statistic, parameter))


def one_group(group, windows, features, from_us, until_us, weight=plain_weight):
    """[(instant, last event, [value of each feature])] of one group."""
    instants = set()
    for row in group["rows"]:
        for version in row["versions"]:
            instants |= {version["start"], version["end"]}
            instants |= {row["event"] + span for _, span, _ in windows if span is not None}
    existed = group["earlier"] is not None
    before, out = None, []
    for u in sorted(instants):
        if u > until_us:
            break
        known = known_by(group, u)
        if not known and not existed:
            continue
        if before is None and existed:
            before = (group["earlier"], *state([], windows, features, u, weight))
        existed = True
        events = [t for t, _ in known]
        if group["earlier"] is not None:
            events.append(group["earlier"])
        newest = max(events, default=None)
        now = (newest, *state(known, windows, features, u, weight))
        if before is None or compared(now) != compared(before):
            if u >= from_us:
                out.append((u, now[0], list(now[1:])))
            before = now
    return out


def compared(row):
    """A row without the numbers of versions: two that hold the same value are the same."""
    return [x[0] if isinstance(x, tuple) else x for x in row]


def state(known, windows, features, u, weight):
    return [value_of(content(known, windows[w], u), feature, weight) for w, feature in features]


def state_rows(groups, windows, features, from_us=-sys.maxsize, until_us=sys.maxsize, weight=plain_weight):
    """[(group, instant, last event, [value of each feature])]; windows (where, span, last), features (window,
    (statistic, column, parameter, coded))."""
    return [
        (number, *row)
        for number, group in enumerate(groups)
        for row in one_group(group, windows, features, from_us, until_us, weight)
    ]
