"""Mean and sample standard deviation of plain lists, exact enough to judge others by."""

import math


def is_usable(value):
    """Whether a measured value counts: neither missing nor NaN."""
    return value is not None and not math.isnan(value)


def mean(values):
    """Arithmetic mean. Undefined: None when `values` is empty, or holds infinities of both signs."""
    if not values:
        return None
    if not all(math.isfinite(v) for v in values):
        return none_if_nan(sum(values) / len(values))
    if min(values) == max(values):
        return values[0]
    return math.fsum(values) / len(values)


def sample_std(values):
    """Two-pass standard deviation with ddof 1. Undefined: None under two values, or with an infinite one."""
    if len(values) < 2 or not all(math.isfinite(v) for v in values):
        return None
    if min(values) == max(values):
        return 0.0
    center = mean(values)
    return math.sqrt(math.fsum((v - center) ** 2 for v in values) / (len(values) - 1))


def none_if_nan(value):
    return None if math.isnan(value) else value
