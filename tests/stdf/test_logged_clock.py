"""A clock that a tester logs as tests: diamond40's own, and the odd cases by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from pydantic import ValidationError

from fs_spark.stdf import StdfFile, read_stdf
from fs_spark.stdf.rules import ClockConfig
from tests.stdf.files import START, Maker, in_zone, real_file, seconds_after, utc

FIELDS = ("year", "month", "day", "hour", "minute", "second")
NB_SOT = dict(zip(FIELDS, (f"NB_SOT_{n}" for n in ("Year", "Month", "Day", "Hour", "Min", "Sec")), strict=True))


def test_diamond40_by_its_own_clock(shared_data: Path) -> None:
    """Start of test on the clock of Dresden, to which the longest TEST_T is added; the header runs on UTC."""
    clock = {"zone": "Europe/Berlin", "gives": "start", **NB_SOT}
    path = real_file(shared_data, "nerohmot-stdf/diamond40_*")
    found = read_stdf(path, testers=[in_zone("UTC", match="diamond40", clock=clock)])
    assert set(found.parts["time_quality"].to_pylist()) == {"logged"}
    assert found.report.warnings == []
    values = {}
    for name, text in NB_SOT.items():
        rows = found.results.filter(np.array(found.results["test_name"].to_pylist(), object) == text)
        assert rows["part_index"].to_pylist() == list(range(4057))
        values[name] = np.rint(rows["result"].to_numpy()).astype(int)
    zone = ZoneInfo("Europe/Berlin")
    starts = [datetime(*(int(values[name][k]) for name in FIELDS), tzinfo=zone) for k in range(4057)]  # type: ignore[arg-type, misc]
    parts = found.parts.select(["touchdown", "test_time_ms", "event_timestamp", "event_local"]).to_pylist()
    longest: dict[int, int] = {}
    first: dict[int, datetime] = {}
    for part, start in zip(parts, starts, strict=True):
        longest[part["touchdown"]] = max(longest.get(part["touchdown"], 0), part["test_time_ms"])
        first[part["touchdown"]] = min(first.get(part["touchdown"], start), start)
    for part in parts:
        expected = first[part["touchdown"]] + timedelta(milliseconds=longest[part["touchdown"]])
        assert abs((part["event_timestamp"] - expected) / timedelta(microseconds=1)) < 1000, part
        assert part["event_local"] - part["event_timestamp"].replace(tzinfo=None) == timedelta(hours=1)
    interpolated = read_stdf(path, testers=[in_zone("UTC", match="diamond40")]).parts["event_timestamp"].to_pylist()
    assert max(abs(a - b["event_timestamp"]) for a, b in zip(interpolated, parts, strict=True)) < timedelta(seconds=120)


def made(*clocks: float | None, gives: str = "end", zone: str = "UTC", **more: Any) -> StdfFile:
    """A wafer of single parts, each 2 s long, that log seconds of the epoch (None: nothing)."""
    out = Maker().begin().wir("W")
    for x, clock in enumerate(clocks):
        out.pir(0)
        if clock is not None:
            out.ptr(0, 9, clock, "CLOCK")
        out.prr(0, x, 0, test_t=2000)
    config = {"gives": gives, "zone": zone, "epoch": "CLOCK", **more}
    return read_stdf(out.wrr("W").end(), testers=[in_zone(clock=config)])


BASE = 2**24  # seconds that a float32 holds exactly: 1970-07-14


def ends(found: StdfFile) -> list[float]:
    return seconds_after(
        utc("1970-01-01T00:00:00") + timedelta(seconds=BASE), found.parts["event_timestamp"].to_pylist()
    )


def test_start_or_end_of_the_test() -> None:
    assert ends(made(BASE, BASE + 10)) == [0, 10]
    assert ends(made(BASE, BASE + 10, gives="start")) == [2, 12]


def test_a_touchdown_without_a_clock_stands_between_those_with_one() -> None:
    found = made(BASE, None, BASE + 10)
    qualities = found.parts["time_quality"].to_pylist()
    assert qualities[0] == qualities[2] == "logged"
    assert qualities[1] == "interpolated"
    first, middle, last = ends(found)
    assert (first, last) == (0, 10)
    assert 0 < middle < 10
    assert found.report.warnings == ["1 of 3 parts have no clock of their own in CLOCK"]


def test_no_clock_at_all_leaves_the_times_of_the_header() -> None:
    found = made(None, None)
    assert set(found.parts["time_quality"].to_pylist()) == {"interpolated"}
    assert found.parts["event_timestamp"].to_pylist()[-1] == utc("1970-01-01T00:00:00") + timedelta(seconds=START + 100)


def test_a_clock_that_goes_back_is_told_and_times_still_grow() -> None:
    found = made(BASE + 10, BASE, BASE + 20)
    assert ends(found) == pytest.approx([10, 10.000001, 20], abs=1e-7)
    assert any("goes back 1 times" in text for text in found.report.warnings)


def test_numbers_that_are_no_date_are_no_clock() -> None:
    names = {name: name for name in FIELDS}
    out = Maker().begin().wir("W").pir(0)
    for number, name in enumerate(FIELDS):
        out.ptr(0, number, {"year": 2025.0, "month": 13.0}.get(name, 1.0), name)
    data = out.prr(0, 0, 0).wrr("W").end()
    found = read_stdf(data, testers=[in_zone(clock={"gives": "end", **names})])
    assert found.parts["time_quality"].to_pylist() == ["interpolated"]


@pytest.mark.parametrize("given", [{}, {"epoch": "a", "year": "b"}, dict(list(NB_SOT.items())[:5])])
def test_a_clock_is_whole_or_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="either epoch, or all of"):
        ClockConfig(gives="end", **given)  # type: ignore[arg-type]
