"""Which rows of a source count, and statistics of them, worked by hand from semantics, section 6."""

import math
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from tests.oracles.sources import DAY, HOUR, Source, as_instant, known_rows, view_watermark, watermark
from tests.oracles.window_statistics import statistic
from tests.oracles_check.view_rows import NAN, PAYMENTS, attempt, attempts_source, payment


def test_times_of_events():
    midnight = as_instant(datetime(2024, 3, 2, tzinfo=UTC))
    assert as_instant(date(2024, 3, 1)) == midnight  # a date counts at its end, the next midnight in UTC
    assert as_instant(date(2024, 3, 1), at="start") == midnight - DAY
    assert as_instant(date(2024, 3, 1), zone="America/New_York") == midnight  # in UTC, whatever the zone
    assert as_instant(datetime(2024, 3, 2, 1, tzinfo=timezone(timedelta(hours=1)))) == midnight
    assert as_instant(datetime(2024, 3, 2), zone="Europe/Berlin") == midnight - HOUR
    assert as_instant(5) == 5
    assert as_instant(None) is None
    with pytest.raises(ValueError, match="needs a zone"):
        as_instant(datetime(2024, 3, 2))


def test_local_times_at_a_change_of_clocks():
    # 02:30 comes twice on 2024-10-27 in Berlin, at 00:30 and 01:30 UTC; it never comes on 2024-03-31
    twice = as_instant(datetime(2024, 10, 27, 2, 30), zone="Europe/Berlin")
    assert twice == as_instant(datetime(2024, 10, 27, 1, 30, tzinfo=UTC))
    with pytest.raises(ValueError, match="does not exist"):
        as_instant(datetime(2024, 3, 31, 2, 30), zone="Europe/Berlin")


def test_the_newest_known_revision_counts_and_of_equal_ones_the_greatest_content():
    first = payment(10, 5.0)
    second = payment(10, 7.0, available=20)
    third = payment(10, None, available=30)
    fourth = payment(10, 2.0, available=30)
    rows = [fourth, second, first, third]
    assert [known_rows(rows, PAYMENTS, a) for a in (9, 10, 19, 20)] == [[], [first], [first], [second]]
    assert known_rows(rows, PAYMENTS, 30) == [fourth]  # null is smallest


def test_filter_applies_to_the_revision_that_counts():
    rows = [payment(10), payment(10, ok=False, available=20), payment(11), payment(11, ok=None, available=12)]
    source = Source(("id",), ("amount", "ok"), ("number",), filter=lambda row: row["ok"])
    assert [len(known_rows(rows, source, a)) for a in (10, 11, 12, 20)] == [1, 2, 1, 0]


def test_without_order_equal_rows_all_count_unless_unique_is_said():
    rows = [payment(10, available=30), payment(10, available=20), payment(10, 2.0)]
    plain = Source(keys=("id",), reads=("amount",))
    assert [len(known_rows(rows, plain, a)) for a in (10, 20, 30)] == [1, 2, 3]
    unique = Source(keys=("id",), reads=("amount",), unique=True)
    assert [len(known_rows(rows, unique, a)) for a in (10, 20, 30)] == [1, 2, 2]


def test_attempts_of_each_die_inside_its_insertion():
    first, second = attempt(1, 10, vdd=1.0, available=40), attempt(1, 20, vdd=2.0)
    other = attempt(1, 5, insertion="2")
    rows = [second, other, first]
    assert known_rows(rows, attempts_source("first"), 30) == [second]  # the first that is known
    assert known_rows(rows, attempts_source("first"), 40) == [first]  # which pushes the second out
    assert known_rows(rows, attempts_source("latest"), 40) == [second]
    assert len(known_rows(rows, attempts_source("all"), 40)) == 2


def test_where_applies_after_the_choice_of_attempts():
    rows = [attempt(1, 10, vdd=1.0), attempt(1, 20, vdd=9.0)]
    passing = attempts_source("latest", where=lambda row: row["vdd"] < 5)
    assert known_rows(rows, passing, 10) == [rows[0]]
    assert known_rows(rows, passing, 20) == []  # the latest does not pass, and the older one is no stand-in


def test_parts_without_a_place_are_dies_of_their_own():
    rows = [{**attempt(1, t), "die_x": None, "key": t} for t in (10, 20)]
    source = Source(("key",), ("vdd",), attempts="first")
    assert len(known_rows(rows, source, 20)) == 2


def test_watermarks():
    rows = [payment(10, available=50), payment(20, ok=False, available=90), payment(30, customer=None, available=60)]
    source = Source(("id",), ("amount",), ("number",), filter=lambda row: row["ok"])
    assert watermark(rows, source) == 60  # after the filter, whatever the group
    assert watermark([], source) is None
    assert view_watermark([50, 70], [65]) == 65
    assert view_watermark([50, 70]) == 70
    assert view_watermark([50], [None]) is None


def of_values(kind, *values, option=None, times=None):
    times = times or range(len(values))
    return statistic(kind, [{"event": t, "x": v} for t, v in zip(times, values, strict=True)], "x", option)


def test_statistics_of_none():
    for kind in ("sum", "mean", "std", "min", "max", "median", "slope", "first", "last", "distinct"):
        assert of_values(kind, None, NAN) is None
    assert of_values("share", None, option="a") is None
    assert of_values("count", None, NAN) == 0
    assert of_values("rows", None, NAN) == 2
    assert of_values("rows") == 0
    with pytest.raises(ValueError, match="unknown statistic"):
        of_values("mode", 1.0)


def test_statistics_of_numbers():
    assert of_values("sum", 1e16, 1.0, -1e16, None) == 1.0  # correctly rounded
    assert of_values("mean", 1e16, 1.0, -1e16, 1.0) == 0.5
    assert of_values("sum", 2, 3) == 5
    assert of_values("std", 1.0, 3.0, NAN) == math.sqrt(2)
    assert of_values("std", 1.0, None) is None
    assert of_values("median", 4.0, 1.0, 3.0, 2.0) == 2.5
    assert of_values("quantile", 0.0, 10.0, 20.0, option=0.9) == 18.0  # place 1.8 of 0, 1, 2
    assert of_values("min", 2.0, -1.0, 5.0) == -1.0
    assert of_values("distinct", "a", "b", None, "a") == 2
    assert of_values("first", None, 7.0, 8.0) == 7.0
    assert of_values("last", 7.0, 8.0, NAN) == 8.0
    assert of_values("share", "a", "b", None, "a", option="a") == 2 / 3
    assert of_values("share", True, False, option=True) == 0.5


def test_slope_and_weighted_mean():
    assert of_values("slope", 1.0, 3.0, None, 7.0, times=[0, DAY, DAY, 3 * DAY]) == 2.0
    assert of_values("slope", 1.0, 3.0, times=[5, 5]) is None
    assert of_values("slope", 1.0) is None
    # weights 1/4, 1/2 and 1 of the last known value: (1 + 4 + 16) / 1.75
    assert of_values("ewm", 4.0, 8.0, 16.0, None, times=[0, 5, 10, 99], option=5) == 21 / 1.75


def test_no_spread_is_exactly_no_spread():
    assert of_values("std", 0.1, 0.1, 0.1) == 0.0
    assert of_values("mean", 0.1, 0.1, 0.1) == 0.1
    assert of_values("slope", 0.1, 0.1, times=[0, 1]) == 0.0
    assert of_values("ewm", 0.1, 0.1, 0.1, option=3) == 0.1
    for kind in ("sum", "mean", "min", "max", "first", "last", "median"):
        assert math.copysign(1, of_values(kind, -0.0)) == 1


def test_values_beyond_a_double():
    assert of_values("sum", 1e308, 1e308) is None
    assert of_values("mean", 1e308, 1.5e308) == 1.25e308
    assert of_values("mean", 1e308, 1.7e308, -1e308) == pytest.approx(1.7e308 / 3)
    assert of_values("std", 1e300, -1e300) is None
    assert of_values("sum", math.inf, 1.0) == math.inf
    assert of_values("mean", math.inf, -math.inf) is None
    assert of_values("median", math.inf, 1.0) == math.inf
    assert of_values("median", math.inf, -math.inf) is None
    assert of_values("std", math.inf, 1.0) is None
    assert of_values("slope", math.inf, 1.0) is None
    assert of_values("sum", 2**62, 2**62) is None
