"""The dies of a wafer on its product's map: lattice, zones and possible neighbors, made once and kept."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.features.settings import SpatialSettings
from fs_spark.kernels.map import possible_neighbors
from fs_spark.kernels.radial import radial_features
from fs_spark.kernels.replay import Int32, Int64, Lattice, distinct_places, make_lattice
from fs_spark.wafer import WaferGeometry, place_codes

Float64 = NDArray[np.float64]

_KEPT: Final = 16
_TABLE: Final = 4096
_TABLE_PER_DIE: Final = 16
"""A table of coordinates may have so many cells: one die far away must not cost more than the wafer."""


@dataclass(frozen=True)
class MappedWafer:
    """A lattice of dies, by x, then y, and what the map says of each.

    Shapes     zones (3, d): ring, sector and place in the shot, -1 = undefined; possible (d,), NaN = undefined; table:
               die by coordinate from `low`, -1; empty where the dies lie too far apart for a table
    """

    lattice: Lattice
    zones: Int32
    possible: Float64
    center: tuple[float, float]
    low: tuple[int, int]
    table: Int32

    @property
    def ring(self) -> Int32:
        ring: Int32 = self.zones[0]
        return ring

    @property
    def sector(self) -> Int32:
        sector: Int32 = self.zones[1]
        return sector

    def find(self, x: Int64, y: Int64) -> Int32:
        """The die at each place, -1 where the lattice has none."""
        if self.table.size:
            a, b = x - self.low[0], y - self.low[1]
            inside = (a >= 0) & (b >= 0) & (a < self.table.shape[0]) & (b < self.table.shape[1])
            if inside.all():
                die: Int32 = self.table[a, b]
                return die
            return np.where(inside, self.table[np.where(inside, a, 0), np.where(inside, b, 0)], -1)
        every, wanted = place_codes(self.lattice.x, self.lattice.y), place_codes(x, y)
        at = np.minimum(np.searchsorted(every, wanted), len(every) - 1)
        return np.where(every[at] == wanted, at, -1).astype(np.int32)


def _zones(values: Float64) -> Int32:
    return np.where(np.isnan(values), -1, values).astype(np.int32)


def make_mapped(x: Int64, y: Int64, geometry: WaferGeometry, settings: SpatialSettings, reach_mm: float) -> MappedWafer:
    """From distinct dies, sorted by (x, y)."""
    lattice = make_lattice(x, y, geometry=geometry, reach_mm=reach_mm)
    places = radial_features(x, y, geometry=geometry, rings=settings.rings, sectors=settings.sectors)
    low, high = (int(x.min()), int(y.min())), (int(x.max()), int(y.max()))
    shape = (high[0] - low[0] + 1, high[1] - low[1] + 1)
    bounded = shape[0] * shape[1] <= _TABLE + _TABLE_PER_DIE * len(x)
    table = np.full(shape if bounded else (0, 0), -1, np.int32)
    if table.size:
        table[x - low[0], y - low[1]] = np.arange(len(x), dtype=np.int32)
    return MappedWafer(
        lattice,
        np.stack([_zones(places[name]) for name in ("ring", "sector", "reticle_position")]),
        possible_neighbors(x, y, geometry),
        (geometry.center_x, geometry.center_y),
        low,
        table,
    )


class MappedWafers:
    """Finds the dies of wafers; a map is laid out once for all wafers with the same dies off it, as a rule none."""

    def __init__(self, settings: SpatialSettings, reach_mm: float) -> None:
        self.settings, self.reach_mm = settings, reach_mm
        self._kept: OrderedDict[tuple[WaferGeometry, tuple[int, ...]], MappedWafer] = OrderedDict()
        self._codes: OrderedDict[WaferGeometry, Int64] = OrderedDict()

    def of_map(self, geometry: WaferGeometry) -> MappedWafer | None:
        """None where the map is empty."""
        return self._laid_out(geometry, np.zeros(0, np.int64)) if len(self._codes_of(geometry)) else None

    def find(self, x: Int64, y: Int64, geometry: WaferGeometry) -> tuple[MappedWafer, Int32]:
        """The wafer and the die of each attempt (n,), n >= 1. Dies off the map are laid out with it."""
        on_map = self._codes_of(geometry)
        if not len(on_map):
            xs, ys, die = distinct_places(x, y)
            return make_mapped(xs, ys, geometry, self.settings, self.reach_mm), die
        codes = place_codes(x, y)
        at = np.minimum(np.searchsorted(on_map, codes), len(on_map) - 1)
        mapped = self._laid_out(geometry, np.unique(codes[on_map[at] != codes]))
        return mapped, mapped.find(x, y)

    def _codes_of(self, geometry: WaferGeometry) -> Int64:
        if geometry not in self._codes:
            dies = geometry.dies
            self._codes[geometry] = np.unique(place_codes(dies[:, 0], dies[:, 1]))
            if len(self._codes) > _KEPT:
                self._codes.popitem(last=False)
        return self._codes[geometry]

    def _laid_out(self, geometry: WaferGeometry, strays: Int64) -> MappedWafer:
        key = (geometry, tuple(strays.tolist()))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        codes = np.union1d(self._codes_of(geometry), strays)
        x, y = codes >> 32, (codes & 0xFFFFFFFF) - (1 << 31)
        self._kept[key] = make_mapped(x, y, geometry, self.settings, self.reach_mm)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]
