"""Where the dies of a wafer lie, and in which order a 2x2 probe card touches them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fs_spark.synth.spec import LotSpec

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Dies(NamedTuple):
    """The dies of a product in the order of the first pass.

    Shapes  every array (n,)
    Units   mm from the wafer's center; `site` 1 to 4; `touchdown` numbers the places of the probe card
    """

    x: Ints
    y: Ints
    site: Ints
    touchdown: Ints
    x_mm: Floats
    y_mm: Floats


def wafer_dies(spec: LotSpec) -> Dies:
    """All whole dies inside the edge exclusion, touchdown by touchdown in serpentine order, site by site.

    The card covers 2x2 dies: site 1 and 2 below, 3 and 4 above. At the edge some of its sites find no die.
    """
    radius = spec.wafer_diameter_mm / 2 - spec.edge_exclusion_mm
    reach_x = int(radius / spec.die_width_mm) + 1
    reach_y = int(radius / spec.die_height_mm) + 1
    column, row = (
        axis.ravel() for axis in np.meshgrid(np.arange(-reach_x, reach_x + 1), np.arange(-reach_y, reach_y + 1))
    )
    corner = np.hypot((np.abs(column) + 0.5) * spec.die_width_mm, (np.abs(row) + 0.5) * spec.die_height_mm)
    column, row = column[corner <= radius], row[corner <= radius]

    right, up = column - column.min(), row - row.min()
    tile_x, tile_y = right // 2, up // 2
    along = np.where(tile_y % 2 == 0, tile_x, -tile_x)
    site = 1 + right % 2 + 2 * (up % 2)
    order = np.lexsort((site, along, tile_y))
    place = np.stack([tile_y, along], axis=1)[order]
    begins = np.any(np.diff(place, axis=0) != 0, axis=1)
    return Dies(
        x=column[order] + spec.center_x,
        y=row[order] + spec.center_y,
        site=site[order],
        touchdown=np.concatenate([[0], np.cumsum(begins)]),
        x_mm=np.asarray(column[order] * spec.die_width_mm, dtype=np.float64),
        y_mm=np.asarray(row[order] * spec.die_height_mm, dtype=np.float64),
    )


def renumbered(places: Ints) -> Ints:
    """Touchdown numbers 0, 1, ... from places that grow along the file; a place without dies gets no number.

    >>> renumbered(np.array([4, 4, 7, 9]))
    array([0, 0, 1, 2])
    """
    if len(places) == 0:
        return places
    return np.concatenate([[0], np.cumsum(np.diff(places) != 0)])
