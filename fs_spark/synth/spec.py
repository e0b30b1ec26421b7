"""What a synthetic lot is: its wafers, its tester, its four tests and its bins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from fs_spark.errors import RequestError
from fs_spark.stdf.writer import ByteOrder, Compression

EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001
"""STDF times count seconds of the tester's wall clock from here; they have no zone."""

INSERTIONS: Final = ("CP1", "CP2")
SITES: Final = (1, 2, 3, 4)


class Parameter(NamedTuple):
    """A parametric test; results are in `unit`, limits too."""

    name: str
    test_num: int
    unit: str
    display_scale: int
    low: float
    high: float
    hard_bin: int
    soft_bin: int


class Bin(NamedTuple):
    """A bin of the test program."""

    number: int
    name: str
    passes: bool = False


PARAMETERS: Final = (
    Parameter("vdd", 1001, "V", 0, 1.10, 1.30, 3, 31),
    Parameter("idd", 1002, "A", 3, 0.004, 0.018, 4, 41),
    Parameter("freq", 1003, "MHz", 0, 137.0, 172.0, 5, 51),
    Parameter("temp", 1004, "degC", 0, -8.0, 8.0, 2, 21),
)
"""Limits before `LIMIT_SHIFT`; those of `temp` are around the set point. RES_SCAL (3: shown in mA) scales no result."""

SET_POINT: Final = {"CP1": 25.0, "CP2": 85.0}
LIMIT_SHIFT: Final = {"CP1": (0.0, 0.0, 0.0, SET_POINT["CP1"]), "CP2": (0.0, 0.002, -6.0, SET_POINT["CP2"])}
"""Added to both limits of the four parameters: hot dies draw more and are slower."""

PASS_BIN: Final = 1
FUNCTION_HARD_BIN: Final = 6
FUNCTION_SOFT_BIN: Final = 61
HARD_BINS: Final = (
    Bin(PASS_BIN, "PASS", True),
    Bin(2, "TEMPERATURE"),
    Bin(3, "SUPPLY"),
    Bin(4, "CURRENT"),
    Bin(5, "SPEED"),
    Bin(FUNCTION_HARD_BIN, "FUNCTION"),
)
SOFT_BINS: Final = (
    Bin(PASS_BIN, "PASS", True),
    *(Bin(p.soft_bin, p.name.upper()) for p in PARAMETERS),
    Bin(FUNCTION_SOFT_BIN, "FUNCTION"),
)


@dataclass(frozen=True, kw_only=True)
class LotSpec:
    """A lot to generate; equal specs give equal bytes.

    The first k wafers of a lot do not depend on `wafers` at CP1. Times are the tester's wall clock, without a zone.
    The default has 6 wafers of 653 dies; dies of 2.4 mm x 2.4 mm on 200 mm give about 5,000.
    Raises  RequestError that lists every fault.
    """

    lot_id: str = "SYN0001"
    seed: int = 1
    wafers: int = 6
    wafer_diameter_mm: float = 200.0
    edge_exclusion_mm: float = 3.0
    die_width_mm: float = 6.0
    die_height_mm: float = 7.0
    center_x: int = 2
    center_y: int = -3
    start: datetime = datetime(2025, 3, 3, 8, 0, 0)  # noqa: DTZ001
    second_insertion_after: timedelta = timedelta(hours=9)
    index_time_ms: int = 700
    product: str = "SYNCHIP"
    tester: str = "SYN-T01"
    tester_type: str = "SYNTEST"
    program: str = "SYNCHIP_CP"
    program_revision: str = "A1"
    byte_order: ByteOrder = "little"
    compress: Compression = "none"

    def __post_init__(self) -> None:
        radius = self.wafer_diameter_mm / 2 - self.edge_exclusion_mm
        checks = {
            "lot_id must be 1 to 60 letters, digits, '-' or '.'": bool(self.lot_id)
            and len(self.lot_id) <= 60
            and self.lot_id.isascii()
            and self.lot_id.replace("-", "").replace(".", "").isalnum(),
            "seed must not be negative": self.seed >= 0,
            "wafers must be 1 to 99": 1 <= self.wafers <= 99,
            "die_width_mm and die_height_mm must be at least 0.5": min(self.die_width_mm, self.die_height_mm) >= 0.5,
            "the wafer must be at least 6 dies wide and 6 high": 2 * radius
            >= 6 * max(self.die_width_mm, self.die_height_mm),
            "start must be a wall clock time without a zone, in whole seconds, after 1970": self.start.tzinfo is None
            and self.start.microsecond == 0
            and self.start.year >= 1971,
            "second_insertion_after must be at least 0": self.second_insertion_after >= timedelta(0),
            "index_time_ms must be at least 1": self.index_time_ms >= 1,
            "center_x and center_y must be within -10000 and 10000": max(abs(self.center_x), abs(self.center_y))
            <= 10_000,
        }
        faults = [text for text, holds in checks.items() if not holds]
        if faults:
            raise RequestError(f"This lot cannot be generated: {'; '.join(faults)}.\nFound: {self}.")
