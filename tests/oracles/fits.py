"""Fitted views: what is fitted of named rows, and each row beside it (section 6). Groups are tuples of `by`.

Where the text leaves a choice, these hold:
- an event is fitted once, as it was known last; of revisions known together the greatest content counts;
- values that are null, NaN or infinite are left out; a group without a value is not fitted, and its rows are null;
- quantile bins are open at both ends; -1 is the code of a word that is not among the fitted ones;
- limits and robust scores take IQR / 1.35 for sigma; no spread gives a null score, and limits at the median.
"""

import math

import numpy as np


def newest(view_rows, identity):
    """Each event as it was known last."""
    found: dict[tuple[object, ...], dict[str, object]] = {}
    for row in view_rows:
        name = tuple(row[part] for part in identity)
        if name not in found or row["available_timestamp"] >= found[name]["available_timestamp"]:
            found[name] = row
    return list(found.values())


def values_of(rows, column, by, group):
    """The finite values of a group."""
    found = [row[column] for row in rows if tuple(row[part] for part in by) == group and row[column] is not None]
    return [x for x in found if not isinstance(x, float) or math.isfinite(x)]


def score(rows, row, column, by=(), *, robust=False):
    x, fitted = row[column], values_of(rows, column, by, tuple(row[part] for part in by))
    if x is None or not math.isfinite(x) or None in [row[part] for part in by] or len(fitted) < 2:
        return None
    if robust:
        low, middle, high = np.quantile(fitted, [0.25, 0.5, 0.75])
        spread = (high - low) / 1.35
    else:
        middle, spread = np.mean(fitted), np.std(fitted, ddof=1)
    if min(fitted) == max(fitted) or spread == 0:
        return None
    return float((x - middle) / spread)


def limits(rows, row, column, by=(), sigmas=6.0):
    """(low, high, outside)."""
    fitted = values_of(rows, column, by, tuple(row[part] for part in by))
    if len(fitted) < 2 or None in [row[part] for part in by]:
        return None, None, None
    low, middle, high = np.quantile(fitted, [0.25, 0.5, 0.75])
    reach = sigmas * (high - low) / 1.35
    x = row[column]
    known = x is not None and math.isfinite(x)
    return float(middle - reach), float(middle + reach), abs(x - middle) > reach if known else None


def bin_of(rows, row, column, bins, by=()):
    fitted, x = values_of(rows, column, by, tuple(row[part] for part in by)), row[column]
    if not fitted or x is None or not math.isfinite(x) or None in [row[part] for part in by]:
        return None
    return sum(1 for k in range(1, bins) if np.quantile(fitted, k / bins) <= x)


def code_of(rows, row, column, most):
    if row[column] is None:
        return None
    words = [each[column] for each in rows if each[column] is not None]
    ranked = sorted(set(words), key=lambda word: (-words.count(word), word))[:most]
    return ranked.index(row[column]) if row[column] in ranked else -1


def offset(rows, row, column, by, against, statistic=np.median):
    if None in [row[part] for part in by]:
        return None
    own = values_of(rows, column, by, tuple(row[part] for part in by))
    wider = values_of(rows, column, against, tuple(row[part] for part in against))
    return float(statistic(own) - statistic(wider)) if own and wider else None
