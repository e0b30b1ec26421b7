"""Ready-made expressions of event views, and values against a population (semantics, section 6).

Where the text leaves a choice, these hold:
- a population's n counts the dies whose value is known; a die's own value missing gives null;
- the latest attempt of a die is chosen first, and then its value is looked at: an older one does not step in;
- the quartiles are of type 7, as in state views; no spread in the middle half (IQR 0) gives null, as no spread at all.
"""

import bisect
from typing import Any

from .as_of import sortable
from .sources import DIE, is_dated
from .window_statistics import is_known, quantile


def bin_of(x, edges):
    """The k of edges[k] <= x < edges[k + 1], the last bin closed; None outside and for an unknown x."""
    if not is_known(x) or x < edges[0] or x > edges[-1]:
        return None
    return min(bisect.bisect_right(edges, x), len(edges) - 1) - 1


def one_hot(word, words):
    """0 or 1 for each word: all 0 for an unknown one, all None for null."""
    return [None if word is None else int(word == each) for each in words]


def terms(row, columns):
    """Squares and pairs in the order of the text: vdd__pow2, vdd__x__idd, idd__pow2; no constant."""
    names = {}
    for index, one in enumerate(columns):
        for other in columns[index:]:
            name = f"{one}__pow2" if other == one else f"{one}__x__{other}"
            names[name] = row[one] * row[other] if is_known(row[one]) and is_known(row[other]) else None
    return names


def population(delivered, die, a, *, group, column, order=("run_id", "part_index")):
    """The known values of the group's other dies: latest attempt with t(j) < t(i), known by a, in one insertion."""
    latest: dict[Any, Any] = {}
    for other in delivered:
        if not is_dated(other) or other["event"] >= die["event"] or other["available"] > a:
            continue
        if any(other[part] is None for part in DIE) or any(other[part] != die[part] for part in (*group, "insertion")):
            continue
        place = tuple(other[part] for part in DIE)
        if place == tuple(die[part] for part in DIE):
            continue
        if place not in latest or when(other, order) > when(latest[place], order):
            latest[place] = other
    return [other[column] for other in latest.values() if is_known(other[column])]


def when(row, order):
    return (row["event"], [sortable(row[name]) for name in order])


def percentile_rank(x, values):
    """(smaller + half of the equal) / n; None where n is 0."""
    if not is_known(x) or not values:
        return None
    return (sum(1 for v in values if v < x) + sum(1 for v in values if v == x) / 2) / len(values)


def robust_z(x, values):
    """(x - median) / (IQR / 1.35); None where n is 0 or the IQR is."""
    if not is_known(x) or not values:
        return None
    spread = quantile(values, 0.75) - quantile(values, 0.25)
    return None if spread == 0 else (x - quantile(values, 0.5)) / (spread / 1.35)


def median_diff(x, values):
    """x - median; None where n is 0."""
    return x - quantile(values, 0.5) if is_known(x) and values else None
