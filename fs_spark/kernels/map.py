"""What the product's wafer map says of a die, beside its place: how many neighbors it can have."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.kernels.kernel import Kernel
from fs_spark.kernels.replay import KING_MOVES, Int64
from fs_spark.wafer import WaferGeometry

Float64 = NDArray[np.float64]


def possible_neighbors(x: Int64, y: Int64, geometry: WaferGeometry) -> Float64:
    """How many of the eight neighbors the wafer map has, (n,); NaN everywhere when the map is empty."""
    dies = geometry.dies
    if not len(dies):
        return np.full(len(x), np.nan)
    known = set(zip(*dies.T.tolist(), strict=True))
    moves = (KING_MOVES * [geometry.pitch_x, geometry.pitch_y]).tolist()
    places = zip(x.tolist(), y.tolist(), strict=True)
    return np.array([sum((a + dx, b + dy) in known for dx, dy in moves) for a, b in places], np.float64)


KERNEL: Final = Kernel(revision=1, columns=("neighbor_possible",))
