"""How well one number tells two classes apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rank_auc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The chance that a positive has the greater value than a negative; a tie counts half.

    Mann-Whitney's U over the number of pairs: U = R - n1 (n1 + 1) / 2, where R sums the positives' ranks and equal
    values share the mean of theirs.

    Shapes     (n,), (n,) -> a number
    Undefined  NaN where a class has no row
    Source     Mann, Whitney, On a test of whether one of two random variables is stochastically larger than the other,
               1947; Hanley, McNeil, The meaning and use of the area under a ROC curve, 1982, section II

    >>> rank_auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, False, True, True]))
    0.875
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = last - (counts - 1) / 2.0
    u = rank[place.reshape(-1)[positive]].sum() - positives * (positives + 1) / 2.0
    return float(u / (positives * negatives))
