"""When touchdowns ended: the oracle, and local clocks around daylight saving."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from fs_spark.errors import StdfError
from fs_spark.stdf import read_stdf
from fs_spark.stdf.clock import finish_to_utc, start_to_utc, touchdown_ends
from tests.oracles.times import touchdown_ends as naive_ends
from tests.stdf.files import START, Maker, in_zone, utc

BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # half an hour of daylight saving


def wall(text: str) -> int:
    """Seconds since 1970 as STDF has them: of the wall clock, as if it were UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def shown(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat()[:19]


# ends of touchdowns


def ends(longest_ms: list[int], start: int, finish: int | None) -> tuple[list[int], str]:
    found, quality = touchdown_ends(np.array(longest_ms, np.int64), start_s=start, finish_s=finish)
    return found.tolist(), quality


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from([0, 1, 7, 999, 1000, 2500, 4_294_967_295]), min_size=1, max_size=8),
    st.sampled_from([0, 5, START]),
    st.sampled_from([None, -1, 0, 1, 3, 10, 86_400]),
)
@example([999, 7], 5, 1)  # a remainder that does not divide
def test_any_run_equals_the_oracle(longest_ms: list[int], start: int, seconds: int | None) -> None:
    finish = None if seconds is None else start + seconds
    assert ends(longest_ms, start, finish) == naive_ends(start, finish, list(enumerate(longest_ms)))


def test_an_interpolated_run_meets_its_finish() -> None:
    # 3 s of test in 9 s: 3 s of index time for each of the two
    assert ends([2000, 1000], 100, 109) == ([105_000_000, 109_000_000], "interpolated")
    assert ends([1000, 2000], 0, 3) == ([1_000_000, 3_000_000], "interpolated")  # no index time is not a negative one


def test_equal_spacing_where_a_time_is_missing_or_the_index_time_negative() -> None:
    assert ends([1000, 0, 0], 0, 3) == ([1_000_000, 2_000_000, 3_000_000], "equally_spaced")
    assert ends([2000, 1001], 0, 3) == ([1_500_000, 3_000_000], "equally_spaced")


def test_without_a_finish_the_test_times_add_up_or_nothing_is_known() -> None:
    assert ends([1000, 2], 1, None) == ([2_000_000, 2_002_000], "cumulative")
    assert ends([1000, 2], 9, 8) == ([10_000_000, 10_002_000], "cumulative")  # a finish before the start is none
    assert ends([1000, 0], 1, None) == ([1_000_000, 1_000_001], "run_start")


def test_times_increase_by_a_microsecond_where_nothing_else_separates_them() -> None:
    found, quality = ends([0] * 5, 7, 7)
    assert (found, quality) == ([7_000_000 + k for k in range(5)], "equally_spaced")


def test_a_run_without_touchdowns() -> None:
    assert ends([], 5, 9)[0] == []


# local clocks


@pytest.mark.parametrize(
    ("local", "zone", "expected"),
    [
        ("2025-01-28T12:05:56", "UTC", "2025-01-28T12:05:56"),
        ("2025-01-28T12:05:56", "Europe/Berlin", "2025-01-28T11:05:56"),
        ("2025-07-28T12:05:56", "Europe/Berlin", "2025-07-28T10:05:56"),
        ("2025-03-30T01:59:59", "Europe/Berlin", "2025-03-30T00:59:59"),
        ("2025-03-30T03:00:00", "Europe/Berlin", "2025-03-30T01:00:00"),
        ("2025-10-26T01:59:59", "Europe/Berlin", "2025-10-25T23:59:59"),
        ("2025-10-26T02:30:00", "Europe/Berlin", "2025-10-26T00:30:00"),  # twice: the earlier, in summer time
        ("2025-10-26T03:00:00", "Europe/Berlin", "2025-10-26T02:00:00"),
        ("2025-11-02T01:30:00", "America/New_York", "2025-11-02T05:30:00"),
        ("2025-06-01T12:00:00", "Asia/Shanghai", "2025-06-01T04:00:00"),
        ("2025-04-06T01:45:00", "Australia/Lord_Howe", "2025-04-05T14:45:00"),
    ],
)
def test_a_start_takes_the_earlier_instant(local: str, zone: str, expected: str) -> None:
    assert shown(start_to_utc(wall(local), ZoneInfo(zone))) == expected


@pytest.mark.parametrize(
    ("start_utc", "expected"),
    [
        ("2025-10-25T22:00:00", "2025-10-26T00:30:00"),
        ("2025-10-26T00:30:00", "2025-10-26T00:30:00"),  # not before the start includes the start itself
        ("2025-10-26T00:30:01", "2025-10-26T01:30:00"),  # the run began after the first 02:30
        ("2025-10-26T01:29:00", "2025-10-26T01:30:00"),
        ("2025-10-26T05:00:00", "2025-10-26T01:30:00"),  # a finish before its start stays before it
    ],
)
def test_a_finish_takes_the_first_instant_not_before_its_start(start_utc: str, expected: str) -> None:
    assert shown(finish_to_utc(wall("2025-10-26T02:30:00"), wall(start_utc), BERLIN)) == expected


@pytest.mark.parametrize(
    ("local", "zone"),
    [("2025-03-30T02:00:00", BERLIN), ("2025-03-30T02:59:59", BERLIN), ("2025-10-05T02:15:00", LORD_HOWE)],
)
def test_a_time_that_the_zone_skips_is_refused(local: str, zone: ZoneInfo) -> None:
    with pytest.raises(StdfError, match=f"does not exist in {zone.key}.*\\s?Hint: check the tester's zone"):
        start_to_utc(wall(local), zone)
    with pytest.raises(StdfError, match="does not exist"):
        finish_to_utc(wall(local), 0, zone)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata"]))
def test_every_instant_is_found_from_its_wall_clock(instant: int, zone: str) -> None:
    local = datetime.fromtimestamp(instant, ZoneInfo(zone))
    seconds = int(local.replace(tzinfo=UTC).timestamp())
    if seconds >= 0:
        assert start_to_utc(seconds, ZoneInfo(zone)) == instant - (3600 if local.fold else 0)
        assert finish_to_utc(seconds, instant, ZoneInfo(zone)) == instant


def run_through(start: str, finish: str) -> bytes:
    begin = wall(start) - START
    out = Maker().begin(start_t=wall(start)).wir("W1", start=begin)
    for k in range(4):
        out.pir(0).prr(0, k, 0)
    return out.wrr("W1", finish=wall(finish) - START).end(finish=wall(finish) - START)


def test_a_run_through_the_hour_that_comes_twice() -> None:
    # from 02:30 to 02:30 on the wall clock is an hour, unless it is no time at all: the finish is not before the start
    found = read_stdf(run_through("2025-10-26T01:30:00", "2025-10-26T02:10:00"), testers=[in_zone("Europe/Berlin")])
    assert found.runs["run_finish"].to_pylist() == [utc("2025-10-26T00:10:00")]
    found = read_stdf(run_through("2025-10-26T02:50:00", "2025-10-26T02:10:00"), testers=[in_zone("Europe/Berlin")])
    assert found.runs["run_start"].to_pylist() == [utc("2025-10-26T00:50:00")]
    assert found.runs["run_finish"].to_pylist() == [utc("2025-10-26T01:10:00")]  # 20 minutes later, not 40 before
    assert found.parts["event_timestamp"].to_pylist() == [utc(f"2025-10-26T00:{minute}:00") for minute in ("55",)] + [
        utc(f"2025-10-26T01:{minute}:00") for minute in ("00", "05", "10")
    ]
    assert set(found.parts["time_quality"].to_pylist()) == {"interpolated"}


def test_a_file_whose_clock_showed_a_skipped_hour_is_refused_with_a_hint() -> None:
    with pytest.raises(StdfError, match="2025-03-30 02:30:00 does not exist in Europe/Berlin"):
        read_stdf(run_through("2025-03-30T02:30:00", "2025-03-30T04:00:00"), testers=[in_zone("Europe/Berlin")])


def test_a_wafer_without_a_finish_takes_the_files() -> None:
    out = Maker().begin().wir("W1", start=0)
    out.pir(0).prr(0, 0, 0, test_t=1000).pir(0).prr(0, 1, 0, test_t=1000)
    found = read_stdf(out.end(finish=10), testers=[in_zone()])
    assert found.parts["event_timestamp"].to_pylist() == [utc("2001-09-09T01:46:45"), utc("2001-09-09T01:46:50")]


def test_the_longest_part_of_a_touchdown_is_its_time() -> None:
    out = Maker().begin().wir("W1", start=0).pir(0, 1)
    out.prr(0, 0, 0, test_t=3000).prr(1, 1, 0, test_t=200).pir(0).prr(0, 2, 0, test_t=1000)
    found = read_stdf(out.wrr("W1", finish=8).end(), testers=[in_zone()])
    first, again, last = (t.second + t.microsecond / 1e6 - 40 for t in found.parts["event_timestamp"].to_pylist())
    assert (first, again, last) == (5.0, 5.0, 8.0)
