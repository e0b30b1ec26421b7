"""What a site tells about its testers and products: time zones, identity rules, parameters, wafer maps."""

from __future__ import annotations

import codecs
import re
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Availability = Literal["streaming", "file_close", "arrival"]
MirField = Literal[
    "lot_id", "sblot_id", "part_typ", "node_nam", "tstr_typ", "job_nam", "test_cod", "flow_id", "user_txt", "file_name"
]

_DURATION = re.compile(r"^\s*(\d+)\s*(us|ms|s|min|h|d|days?)\s*$")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0}


def _duration(value: object) -> object:
    if isinstance(value, str):
        found = _DURATION.match(value)
        if not found:
            raise ValueError(f"{value!r} is not a duration. Hint: write a number and a unit, such as '90 s' or '30 d'")
        return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as fault:
        raise ValueError(
            f"{value!r} is no time zone. Hint: use an IANA name such as 'Europe/Berlin' or 'UTC'"
        ) from fault
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as fault:
        raise ValueError(f"{value!r} is no regular expression: {fault}") from fault
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Pattern = Annotated[str, AfterValidator(_pattern)]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


class ClockConfig(Frozen):
    """The tests by which a tester logs its own clock, each a number that is rounded to an integer.

    Either `epoch` (seconds since 1970, UTC) or `year` to `second` on the wall clock of `zone`, which need not be that
    of the header. `gives: start` is the start of the test: the touchdown's longest TEST_T is added.
    """

    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    gives: Literal["start", "end"]
    year: str | None = None
    month: str | None = None
    day: str | None = None
    hour: str | None = None
    minute: str | None = None
    second: str | None = None
    epoch: str | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the tests, in the order of a date and time; one for `epoch`."""
        if self.epoch is not None:
            return (self.epoch,)
        return tuple(getattr(self, name) for name in ("year", "month", "day", "hour", "minute", "second"))

    @model_validator(mode="after")
    def _whole(self) -> ClockConfig:
        parts = [getattr(self, name) for name in ("year", "month", "day", "hour", "minute", "second")]
        if (self.epoch is None) == (None in parts) or (self.epoch is not None and any(parts)):
            raise ValueError("a logged clock needs either epoch, or all of year, month, day, hour, minute and second")
        return self


def known_encoding(value: str) -> str:
    try:
        codecs.lookup(value)
    except LookupError as fault:
        raise ValueError(f"{value!r} is not an encoding. Hint: such as 'utf-8' or 'gb18030'") from fault
    return value


LONGEST_RUN: Final = timedelta(days=31)


class TesterConfig(Frozen):
    """The first entry whose pattern matches NODE_NAM or TSTR_TYP (`*` and `?` are wild) wins.

    `encoding` is that of the tester's texts where it is neither UTF-8 nor cp1252, such as gbk. A FINISH_T more than
    `longest_run` after its start is taken as missing.
    """

    match: str
    zone: Annotated[str, AfterValidator(_zone)]
    clock: ClockConfig | None = None
    availability: Availability | None = None
    availability_margin: Duration | None = None
    encoding: Annotated[str, AfterValidator(known_encoding)] | None = None
    longest_run: Duration = LONGEST_RUN


class Rule(Frozen):
    """Reads `value` (a regular expression template) out of `field` where `pattern` is found in it."""

    field: MirField
    pattern: Pattern
    value: str = r"\1"


class ProductMatch(Frozen):
    part_typ: str = "*"
    job_nam: str = "*"
    lot_id: str = "*"


class ParameterConfig(Frozen):
    test_num: int = Field(ge=0)
    test_name: str
    element: int | None = Field(default=None, ge=0, description="of an MPR; none for a PTR")
    occurrence: Literal["first", "last"] = "first"
    unit: str = ""


class ReticleConfig(Frozen):
    """One shot of the stepper: its dies on x and y, and a die that is the first of its shot on both."""

    columns: int = Field(ge=1)
    rows: int = Field(ge=1)
    first_die: tuple[int, int]


class WaferMapConfig(Frozen):
    """A product's wafer map as far as it is known; what is left out comes from the tester's files."""

    die_width_mm: float | None = Field(default=None, gt=0)
    die_height_mm: float | None = Field(default=None, gt=0)
    wafer_diameter_mm: float | None = Field(default=None, gt=0)
    center: tuple[float, float] | None = None
    pitch: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    pos_x: Literal["L", "R"] | None = None
    pos_y: Literal["U", "D"] | None = None
    rows: tuple[tuple[int, int, int], ...] = Field(default=(), description="(y, first x, last x) of each run of dies")
    notch: Literal["U", "D", "L", "R"] | None = None
    reticle: ReticleConfig | None = None


class ProductConfig(Frozen):
    product_id: str = Field(min_length=1)
    match: ProductMatch = ProductMatch()
    lot_id: tuple[Rule, ...] = ()
    wafer_id: tuple[Rule | Literal["wrr", "wir"], ...] = ("wrr", "wir")
    insertion: tuple[Rule, ...] = ()
    parameters: dict[str, ParameterConfig] = {}
    deny: tuple[Pattern, ...] = Field(default=(), description="names of tests that may never be a parameter")
    wafer_map: WaferMapConfig = WaferMapConfig()

    @model_validator(mode="after")
    def _one_unit_a_name(self) -> ProductConfig:
        bad = [name for name in self.parameters if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name)]
        if bad:
            raise ValueError(f"parameter names take [a-z0-9_] and no double underscore, found {bad}")
        denied = [
            f"{name} ({test.test_name!r} matches {pattern!r})"
            for name, test in self.parameters.items()
            for pattern in self.deny
            if re.search(pattern, test.test_name)
        ]
        if denied:
            raise ValueError(f"deny forbids these parameters: {', '.join(denied)}")
        return self
