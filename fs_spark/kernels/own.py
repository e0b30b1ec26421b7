"""A die's own value, and the same against what is near it or known of the wafer so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.kernels.kernel import ColumnOf, Kernel

Float64 = NDArray[np.float64]

IQR_OF_SIGMA: Final = 1.35
"""The interquartile range of a normal distribution in sigmas, as AEC-Q001 rounds it."""

MADE_OF: Final[dict[str, tuple[ColumnOf, ...]]] = {
    "value": (),
    "nnr_median": (("local_values", "neighbor_median"),),
    "nnr_mean": (("local_values", "neighbor_mean"),),
    "nnr_ratio": (("local_values", "neighbor_median"),),
    "zscore": (("wafer_values", "wafer_mean"), ("wafer_values", "wafer_std")),
    "robust_zscore": (("order_statistics", "wafer_median"), ("order_statistics", "wafer_iqr")),
    "plane_residual": (("local_values", "gradient_value"),),
}


def _over(above: Float64, below: Float64) -> Float64:
    """The quotient, NaN where `below` is 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(below != 0, above / below, np.nan)


def own_column(name: str, own: Float64, context: Sequence[Float64]) -> Float64:
    """A die's own value against its context, NaN where either is, and where there is nothing to divide by."""
    if name == "value":
        return own
    if name == "nnr_ratio":
        return _over(own, context[0])
    above = own - context[0] + 0.0  # one zero only
    if name == "zscore":
        return _over(above, context[1])
    return _over(above, context[1] / IQR_OF_SIGMA) if name == "robust_zscore" else above


KERNEL: Final = Kernel(revision=2, columns=tuple(MADE_OF), made_of=MADE_OF, combine=own_column)
