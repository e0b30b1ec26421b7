"""The dies of a wafer on its product's map: lattice, zones and possible neighbors, made once and kept."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.features.settings import SpatialSettings
from fs_spark.kernels.radial import radial_features
from fs_spark.kernels.replay import KING_MOVES, Int32, Int64, Lattice, distinct_places, make_lattice
from fs_spark.wafer import WaferGeometry

Float64 = NDArray[np.float64]

_KEPT: Final = 16
_MOST_OF_TABLE: Final = 1 << 22


@dataclass(frozen=True)
class MappedWafer:
    """A lattice of dies and what the map says of each.

    Shapes     ring, sector, reticle, possible (d,), -1 or NaN = undefined; table: die by coordinate from `low`, -1
    """

    lattice: Lattice
    ring: Int32
    sector: Int32
    reticle: Int32
    possible: Float64
    center: tuple[float, float]
    low: tuple[int, int]
    table: Int32

    def find(self, x: Int64, y: Int64) -> Int32:
        """The die at each place, -1 where the lattice has none."""
        if not self.table.size:  # dies too far apart for a table
            numbers = {
                place: k for k, place in enumerate(zip(self.lattice.x.tolist(), self.lattice.y.tolist(), strict=True))
            }
            return np.array([numbers.get(p, -1) for p in zip(x.tolist(), y.tolist(), strict=True)], np.int32)
        return _look_up(self.table, self.low[0], self.low[1], x, y)


@njit(cache=True)
def _look_up(table: Int32, low_x: int, low_y: int, x: Int64, y: Int64) -> Int32:
    out = np.empty(len(x), np.int32)
    for i in range(len(x)):
        a, b = x[i] - low_x, y[i] - low_y
        inside = a >= 0 and b >= 0 and a < table.shape[0] and b < table.shape[1]
        out[i] = table[a, b] if inside else -1
    return out


def possible_neighbors(x: Int64, y: Int64, geometry: WaferGeometry) -> Float64:
    """How many of the eight neighbors the wafer map has, (n,); NaN everywhere when the map is empty."""
    if not len(geometry.dies):
        return np.full(len(x), np.nan)
    known = {(int(a), int(b)) for a, b in geometry.dies}
    moves = (KING_MOVES * [geometry.pitch_x, geometry.pitch_y]).tolist()
    places = zip(x.tolist(), y.tolist(), strict=True)
    return np.array([sum((a + dx, b + dy) in known for dx, dy in moves) for a, b in places], np.float64)


def _zones(values: Float64) -> Int32:
    return np.where(np.isnan(values), -1, values).astype(np.int32)


def make_mapped(x: Int64, y: Int64, geometry: WaferGeometry, settings: SpatialSettings, reach_mm: float) -> MappedWafer:
    """From distinct dies."""
    lattice = make_lattice(x, y, geometry=geometry, reach_mm=reach_mm)
    places = radial_features(x, y, geometry=geometry, rings=settings.rings, sectors=settings.sectors)
    low, high = (int(x.min()), int(y.min())), (int(x.max()), int(y.max()))
    shape = (high[0] - low[0] + 1, high[1] - low[1] + 1)
    table = np.full(shape if shape[0] * shape[1] <= _MOST_OF_TABLE else (0, 0), -1, np.int32)
    if table.size:
        table[x - low[0], y - low[1]] = np.arange(len(x), dtype=np.int32)
    return MappedWafer(
        lattice,
        _zones(places["ring"]),
        _zones(places["sector"]),
        _zones(places["reticle_position"]),
        possible_neighbors(x, y, geometry),
        (geometry.center_x, geometry.center_y),
        low,
        table,
    )


class MappedWafers:
    """Finds the dies of wafers; a map is laid out once for all wafers whose dies are all on it."""

    def __init__(self, settings: SpatialSettings, reach_mm: float) -> None:
        self.settings, self.reach_mm = settings, reach_mm
        self._kept: OrderedDict[WaferGeometry, MappedWafer | None] = OrderedDict()

    def of_map(self, geometry: WaferGeometry) -> MappedWafer | None:
        """None where the map is empty."""
        if geometry in self._kept:
            self._kept.move_to_end(geometry)
            return self._kept[geometry]
        dies = geometry.dies
        mapped = None
        if len(dies):
            x, y, _ = distinct_places(dies[:, 0], dies[:, 1])
            mapped = make_mapped(x, y, geometry, self.settings, self.reach_mm)
        self._kept[geometry] = mapped
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return mapped

    def find(self, x: Int64, y: Int64, geometry: WaferGeometry) -> tuple[MappedWafer, Int32]:
        """The wafer and the die of each attempt (n,), n >= 1."""
        mapped = self.of_map(geometry)
        if mapped is not None:
            die = mapped.find(x, y)
            if (die >= 0).all():
                return mapped, die
        xs, ys, die = distinct_places(x, y)
        return make_mapped(xs, ys, geometry, self.settings, self.reach_mm), die
