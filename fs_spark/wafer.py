"""A product's wafer map: die index -> millimeters, radius, angle, edge distance; and where the geometry came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fs_spark.errors import GeometryError

GeometrySource = Literal["configuration", "wcr", "box_center"]
DieRow = tuple[int, int, int]
"""(y, first x, last x): one unbroken run of dies, a pitch apart."""


def place_codes(x: ArrayLike, y: ArrayLike) -> NDArray[np.int64]:
    """One number for each place, in the order of (x, y)."""
    return (np.asarray(x, np.int64) << 32) + (np.asarray(y, np.int64) + (1 << 31))


def _modal_step(values: NDArray[np.int64]) -> int:
    """The commonest step between neighboring coordinates; 1 where there is none. Ties go to the smaller step."""
    steps = np.diff(np.unique(values))
    if not len(steps):
        return 1
    sizes, counts = np.unique(steps, return_counts=True)
    return int(sizes[np.argmax(counts)])


def rows_of_dies(dies: Iterable[tuple[int, int]], pitch_x: int) -> tuple[DieRow, ...]:
    """The dies as runs by row, sorted by (y, x)."""
    rows: list[DieRow] = []
    for y, x in sorted({(int(y), int(x)) for x, y in dies}):
        if rows and rows[-1][0] == y and rows[-1][2] + pitch_x == x:
            rows[-1] = (y, rows[-1][1], x)
        else:
            rows.append((y, x, x))
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class WaferGeometry:
    """One wafer map. Sizes are None where nobody said them; `rows` are the possible dies.

    `pos_x` R and `pos_y` U say that x grows to the right and y upwards (notch down) [STDF V4 p.39]. `notch` is the side
    of the flat or notch: U, D, L or R. `reticle` is (columns, rows, x, y): a shot's dies on x and y, and the place of a
    die that is the first of its shot on both.
    """

    center_x: float
    center_y: float
    pitch_x: int = 1
    pitch_y: int = 1
    die_width_mm: float | None = None
    die_height_mm: float | None = None
    wafer_diameter_mm: float | None = None
    pos_x: str | None = None
    pos_y: str | None = None
    edge_exclusion_mm: float = 3.0
    rows: tuple[DieRow, ...] = ()
    geometry_source: GeometrySource = "configuration"
    notch: str | None = None
    reticle: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.pitch_x < 1 or self.pitch_y < 1:
            raise GeometryError(f"die pitch {self.pitch_x} x {self.pitch_y}. Hint: give steps of 1 or more")
        for name in ("die_width_mm", "die_height_mm", "wafer_diameter_mm"):
            size = getattr(self, name)
            if size is not None and not size > 0:
                raise GeometryError(f"{name} is {size}. Hint: give a positive size, or none")
        if self.notch not in (None, "U", "D", "L", "R"):
            raise GeometryError(f"notch {self.notch!r}. Hint: give U, D, L or R, or none")
        if self.reticle is not None and (self.reticle[0] < 1 or self.reticle[1] < 1):
            raise GeometryError(f"a shot of {self.reticle[0]} x {self.reticle[1]} dies. Hint: give 1 or more of each")

    @property
    def dies(self) -> NDArray[np.int64]:
        """The possible dies, (n, 2) of (x, y), sorted by (y, x)."""
        if not self.rows:
            return np.zeros((0, 2), np.int64)
        return np.concatenate(
            [
                np.stack([xs, np.full(len(xs), y, np.int64)], axis=1)
                for y, first, last in self.rows
                for xs in (np.arange(first, last + 1, self.pitch_x, dtype=np.int64),)
            ]
        )

    def to_millimeters(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Die centers in mm from the wafer's center, x to the right and y up where the directions are known.

        Undefined  NaN without die sizes
        """
        dx, dy = np.asarray(x, np.float64) - self.center_x, np.asarray(y, np.float64) - self.center_y
        width = np.nan if self.die_width_mm is None else self.die_width_mm / self.pitch_x
        height = np.nan if self.die_height_mm is None else self.die_height_mm / self.pitch_y
        right = dx * width * (-1.0 if self.pos_x == "L" else 1.0)
        up = dy * height * (-1.0 if self.pos_y == "D" else 1.0)
        return right + 0.0, up + 0.0  # -0.0 would turn an angle by pi or 2 pi

    def to_json(self) -> str:
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        unset = [name for name in ("notch", "reticle") if fields[name] is None]  # older maps keep their digest
        return json.dumps({name: value for name, value in fields.items() if name not in unset}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> WaferGeometry:
        fields: dict[str, Any] = json.loads(text)
        if fields.get("reticle"):
            fields["reticle"] = tuple(fields["reticle"])
        return cls(**{**fields, "rows": tuple((y, a, b) for y, a, b in fields["rows"])})

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def outside(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """Which dies are not on the map, (n,)."""
        known = place_codes(*self.dies.T)
        return ~np.isin(place_codes(x, y), known)


def _corners_fit(dies: NDArray[np.int64], geometry: WaferGeometry) -> bool:
    """Whether every die's center lies within the wafer's radius of the geometry's center."""
    if geometry.wafer_diameter_mm is None or geometry.die_width_mm is None or geometry.die_height_mm is None:
        return False
    x_mm, y_mm = geometry.to_millimeters(dies[:, 0], dies[:, 1])
    radius = geometry.wafer_diameter_mm / 2
    return bool((x_mm * x_mm + y_mm * y_mm <= radius * radius).all())


def _reticle(configured: dict[str, Any]) -> tuple[int, int, int, int] | None:
    given = configured.get("reticle")
    return (given["columns"], given["rows"], *given["first_die"]) if given else None


def resolve_geometry(
    dies: Sequence[tuple[int, int]] | NDArray[np.int64],
    *,
    recorded: dict[str, Any] | None = None,
    configured: dict[str, Any] | None = None,
    edge_exclusion_mm: float = 3.0,
) -> WaferGeometry:
    """A product's map from its configuration, else from what its files recorded (WCR), else from its dies.

    A recorded center is believed when every die lies within the wafer's radius of it; without a wafer size, when it
    lies in the dies' box. Otherwise the center is the middle of the box. Pitch is the modal step of each axis.

    Shapes     dies (n, 2) of (x, y), n >= 1
    Raises     GeometryError where there is no die
    Source     STDF V4 p.38-39
    """
    recorded, configured = recorded or {}, configured or {}
    given = configured.get("rows") or ()
    points = np.asarray(list(dies), np.int64).reshape(-1, 2)
    if not len(points) and not given:
        raise GeometryError(
            "no die to make a wafer map of. Hint: ingest a wafer with coordinates, or configure the map"
        )

    def told(name: str) -> Any:
        return configured.get(name) if configured.get(name) is not None else recorded.get(name)

    pitch = configured.get("pitch") or (
        (_modal_step(points[:, 0]), _modal_step(points[:, 1])) if len(points) else (1, 1)
    )
    rows = tuple((y, a, b) for y, a, b in given) or rows_of_dies([(int(x), int(y)) for x, y in points], pitch[0])
    geometry = WaferGeometry(
        center_x=0.0,
        center_y=0.0,
        pitch_x=pitch[0],
        pitch_y=pitch[1],
        die_width_mm=told("die_width_mm"),
        die_height_mm=told("die_height_mm"),
        wafer_diameter_mm=told("wafer_diameter_mm"),
        pos_x=told("pos_x"),
        pos_y=told("pos_y"),
        edge_exclusion_mm=edge_exclusion_mm,
        rows=rows,
        geometry_source="box_center",
        notch=configured.get("notch")
        or (recorded.get("flat") if recorded.get("flat") in ("U", "D", "L", "R") else None),
        reticle=_reticle(configured),
    )
    mapped = geometry.dies
    low, high = mapped.min(axis=0), mapped.max(axis=0)
    box = replace(geometry, center_x=float(low[0] + high[0]) / 2, center_y=float(low[1] + high[1]) / 2)
    if configured.get("center") is not None:
        x, y = configured["center"]
        return replace(geometry, center_x=float(x), center_y=float(y), geometry_source="configuration")
    if recorded.get("center_x") is not None and recorded.get("center_y") is not None:
        x, y = float(recorded["center_x"]), float(recorded["center_y"])
        claimed = replace(geometry, center_x=x, center_y=y, geometry_source="wcr")
        in_box = low[0] <= x <= high[0] and low[1] <= y <= high[1]
        if _corners_fit(mapped, claimed) or (geometry.wafer_diameter_mm is None and in_box):
            return claimed
    return box
