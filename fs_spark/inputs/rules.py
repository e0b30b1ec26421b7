"""What a site tells about files that are not STDF: which ones to take, how they are named, timed and laid out."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NaiveDatetime, model_validator

from fs_spark.stdf.rules import Availability, Duration, Frozen, Pattern, _zone, known_encoding

NameField = Literal["file_name", "path", "lot_id", "wafer_id", "product_id", "time"]
"""Where a rule looks: the name of the file, its whole path, or what the file's own header says."""


def _format(value: str) -> str:
    moment = datetime(2000, 2, 3, 4, 5, 6, tzinfo=UTC)
    try:
        read = datetime.strptime(moment.strftime(value), value)  # noqa: DTZ007
    except ValueError as fault:
        raise ValueError(f"{value!r} is no format of a time: {fault}") from fault
    if read.date() != moment.date():
        raise ValueError(f"{value!r} does not tell year, month and day. Hint: such as '%Y-%m-%d %H:%M:%S'")
    return value


def _wall_format(value: str) -> str:
    if "%z" in value:
        raise ValueError(f"{value!r} has a zone. Hint: leave out %z; such times are on the wall clock of `zone`")
    return value


Zone = Annotated[str, AfterValidator(_zone)]
Encoding = Annotated[str, AfterValidator(known_encoding)]
Format = Annotated[str, AfterValidator(_format)]
WallFormat = Annotated[Format, AfterValidator(_wall_format)]
Letter = Annotated[str, Field(min_length=1, max_length=1)]


class NameRule(Frozen):
    """Reads `value` (a regular expression template) out of `field` where `pattern` is found in it."""

    field: NameField = "file_name"
    pattern: Pattern
    value: str = r"\1"

    @model_validator(mode="after")
    def _groups_exist(self) -> NameRule:
        found = re.compile(self.pattern + "|").search("")  # the empty alternative always matches
        try:
            if found is not None:
                found.expand(self.value)
        except (re.error, IndexError) as fault:
            raise ValueError(f"value {self.value!r} does not fit pattern {self.pattern!r}: {fault}") from fault
        return self


class TimeRule(NameRule):
    """A time on the wall clock of the entry's zone; `format` is that of `strptime`."""

    format: WallFormat = "%Y-%m-%d %H:%M:%S"


Words = str | tuple[NameRule, ...]
"""A constant, or rules of which the first that matches wins."""
Moments = NaiveDatetime | tuple[TimeRule, ...]


class LotReport(Frozen):
    """A CSV beside the map files of a lot, one row per wafer, which gives the times of the runs.

    `pattern` is searched in the map's file name and `file`, its template, names the report. `wafer_id`, `start` and
    `finish` are columns; lines above the row that names them are skipped, and blank times are missing.
    """

    pattern: Pattern
    file: str
    wafer_id: str = "Wafer ID"
    start: str | None = "Start Time"
    finish: str | None = "Stop Time"
    format: WallFormat = "%Y-%m-%d %H:%M:%S"
    encoding: Encoding = "utf-8"


class _Entry(Frozen):
    match: str = Field(min_length=1)
    lot_id: Words | None = None
    wafer_id: Words | None = None
    product_id: Words | None = None
    insertion: Words = "1"
    test_program: Words | None = None
    tester: Words | None = None
    start: Moments | None = None
    finish: Moments | None = None
    passing_bins: tuple[int, ...] = Field(default=(1,), min_length=1)
    encoding: Encoding = "utf-8"
    availability: Availability | None = None
    availability_margin: Duration | None = None


class _MapEntry(_Entry):
    """`pos_x` and `pos_y` say where coordinates grow to, seen as the text maps show the wafer.

    The real `.WaferMap` files and the text maps of the same wafers agree on right and down.
    """

    zone: Zone
    order: Literal["none", "serpentine"] = "none"
    pos_x: Literal["L", "R"] = "R"
    pos_y: Literal["U", "D"] = "D"
    report: LotReport | None = None


class WaferMapEntry(_MapEntry):
    """A list of `x y bin` under a header (`.WaferMap`)."""

    kind: Literal["wafer_map"]
    skip_bins: tuple[int, ...] = (257,)


class TextMapEntry(_MapEntry):
    """A picture of the wafer, one character a die, under a header (`_mapEx.txt` and its like).

    `skip_bins` are marks, `bins` the bins of characters other than digits, and `origin` the coordinates of the first
    column and the first row of the map, which such a file does not tell. `columns` and `rows` are the map's size where
    the header does not tell it: the corner of a picture that has this size is the map's.
    """

    kind: Literal["text_map"]
    skip_bins: tuple[Letter, ...] = ("S", "*")
    bins: dict[Letter, int] = {}
    origin: tuple[int, int] = (0, 0)
    columns: int | None = Field(default=None, gt=0)
    rows: int | None = Field(default=None, gt=0)


class DieColumns(Frozen):
    """The source column of each thing."""

    die_x: str
    die_y: str
    lot_id: str | None = None
    wafer_id: str | None = None
    insertion: str | None = None
    product_id: str | None = None
    test_program: str | None = None
    tester: str | None = None
    passed: str | None = None
    hard_bin: str | None = None
    soft_bin: str | None = None
    head: str | None = None
    site: str | None = None
    touchdown: str | None = None
    part_id: str | None = None
    test_time_ms: str | None = None
    event_timestamp: str | None = None
    run_start: str | None = None
    run_finish: str | None = None
    order: str | None = None


class ColumnParameter(Frozen):
    """The test that a column of measured values stands for."""

    test_num: int = Field(ge=0)
    test_name: str
    unit: str | None = None
    low_limit: float | None = None
    high_limit: float | None = None


class DieTableEntry(_Entry):
    """A table with a row for each test of a die. `zone` is needed for times without one.

    `pass_values` are the values of `passed` that mean a pass, where it is not boolean; every other is a fail.
    """

    kind: Literal["die_table"]
    columns: DieColumns
    zone: Zone | None = None
    format: Literal["parquet", "csv"] | None = None
    delimiter: Letter = ","
    time_format: Format | None = None
    pass_values: tuple[str | int, ...] = ()
    parameters: dict[str, ColumnParameter] = {}

    @model_validator(mode="after")
    def _whole(self) -> DieTableEntry:
        faults, columns, given = list[str](), self.columns, self.model_fields_set
        words = ("lot_id", "wafer_id", "insertion", "product_id", "test_program", "tester")
        timed = {"start": columns.run_start, "finish": columns.run_finish}
        twice: list[str] = [name for name in words if name in given and getattr(columns, name)]
        twice += [name for name, column in timed.items() if getattr(self, name) is not None and column]
        faults += [f"{name} is given both as a column and for the whole file" for name in twice]
        faults += [
            f"{name} is not given. Hint: name its column, or give {name} for the whole file"
            for name in ("lot_id", "wafer_id")
            if name not in given and not getattr(columns, name)
        ]
        if columns.passed is None and columns.hard_bin is None:
            faults.append("nothing tells a pass. Hint: name columns.passed, or columns.hard_bin with passing_bins")
        if columns.event_timestamp is None and not any((self.start, self.finish, *timed.values())):
            faults.append(
                "nothing tells a time. Hint: name columns.event_timestamp, or columns.run_start and columns.order"
            )
        if (self.start is not None or self.finish is not None) and self.zone is None:
            faults.append("start and finish are local times. Hint: give the entry its `zone`")
        if columns.order and columns.event_timestamp:
            faults.append("columns.order is of no use beside columns.event_timestamp")
        if columns.order and columns.touchdown:
            faults.append("columns.order is of no use beside columns.touchdown, whose numbers are an order")
        tests = [(p.test_num, p.test_name) for p in self.parameters.values()]
        faults += [f"test {test} is given for two columns" for test in sorted({t for t in tests if tests.count(t) > 1})]
        if faults:
            raise ValueError("; ".join(faults))
        return self


InputEntry = Annotated[WaferMapEntry | TextMapEntry | DieTableEntry, Field(discriminator="kind")]


class InputsFile(Frozen):
    """`inputs.yaml`: the first entry whose pattern matches the name of a file (`*` and `?` are wild) wins."""

    inputs: tuple[InputEntry, ...] = ()
