"""The oracles against cases worked by hand and against facts known of the real files."""

import bz2
import gzip
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.oracles.as_of import as_of
from tests.oracles.attempts import number_attempts
from tests.oracles.lots import lot_so_far
from tests.oracles.neighbors import neighborhood, neighborhood_all
from tests.oracles.stdf_scan import scan
from tests.oracles.times import touchdown_ends

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


# neighbors


def attempt(x, y, time, passed, *, available=None, part_index=0, **values):
    return {
        "lot_id": "L1",
        "wafer_id": "W1",
        "die_x": x,
        "die_y": y,
        "event_timestamp": time,
        "available_timestamp": time if available is None else available,
        "run_id": "r1",
        "part_index": part_index,
        "passed": passed,
        **values,
    }


def column(rows, name):
    return [row[name] for row in rows]


WAFER = [
    attempt(0, 0, 10, False, vdd=1.0),
    attempt(1, 0, 10, True, vdd=2.0),  # same touchdown as the first
    attempt(0, 1, 20, True, vdd=4.0),
    attempt(0, 0, 30, True, vdd=3.0),  # retest of the first
    attempt(1, 1, 40, None, vdd=None),
    attempt(0, 2, 50, True, vdd=9.0),
]


def test_neighborhood_worked_by_hand():
    rows = neighborhood(WAFER, wafer_map={(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)}, parameters=["vdd"])
    assert column(rows, "event_timestamp") == [10, 10, 20, 30, 40, 50]
    assert column(rows, "available_timestamp") == [10, 10, 20, 30, 40, 50]
    assert column(rows, "neighbor_possible") == [3, 3, 4, 3, 4, 2]
    # the same touchdown sees nothing; the retest at 30 does not see its own first attempt
    assert column(rows, "neighbor_count") == [0, 0, 2, 2, 3, 2]
    # the fail of 10 is still a fail at 20, and replaced by its retest at 40
    assert column(rows, "fail__neighbor_count") == [0, 0, 1, 0, 0, 0]
    assert column(rows, "fail__neighbor_frac") == [None, None, 0.5, 0.0, 0.0, 0.0]
    assert column(rows, "vdd__neighbor_mean") == [None, None, 1.5, 3.0, 3.0, 4.0]
    # (1, 2), (2, 4), (3, 2, 4) with ddof 1; the last has one usable value
    assert column(rows, "vdd__neighbor_std") == [
        None,
        None,
        pytest.approx(0.5**0.5),
        pytest.approx(2**0.5),
        1.0,
        None,
    ]


def test_neighborhood_denominator_is_the_known_neighbors():
    wafer = [attempt(0, 0, 1, False), attempt(2, 0, 1, None), attempt(1, 0, 2, True), attempt(3, 0, 3, True)]
    rows = neighborhood(wafer)
    # (1, 0) has one known neighbor of two: 1 / 1; (3, 0) has only (2, 0), of which nothing is known
    assert column(rows, "neighbor_count") == [0, 0, 2, 1]
    assert column(rows, "fail__neighbor_count") == [0, 0, 1, 0]
    assert column(rows, "fail__neighbor_frac") == [None, None, 1.0, None]
    assert column(rows, "neighbor_possible") == [None] * 4


def test_neighborhood_pitch_of_two():
    wafer = [attempt(0, 0, 1, False), attempt(1, 0, 1, True), attempt(2, 3, 2, True), attempt(4, 0, 3, True)]
    rows = neighborhood(wafer, pitch=(2, 3), wafer_map={(0, 0), (4, 0), (2, 0), (1, 1)})
    assert column(rows, "neighbor_count") == [0, 0, 1, 1]
    assert column(rows, "fail__neighbor_count") == [0, 0, 1, 0]
    assert column(rows, "neighbor_possible") == [1, 0, 3, 1]


def test_neighborhood_skips_nan_and_null_places():
    wafer = [
        attempt(0, 0, 1, True, vdd=float("nan")),
        attempt(None, 0, 1, False, vdd=7.0),
        attempt(2, 0, 1, True, vdd=5.0),
        attempt(1, 0, 2, True, vdd=0.0),
    ]
    rows = neighborhood(wafer, parameters=["vdd"])
    assert column(rows, "die_x") == [0, 2, 1]
    assert rows[2]["neighbor_count"] == 2
    assert rows[2]["vdd__neighbor_mean"] == 5.0
    assert rows[2]["vdd__neighbor_std"] is None


def test_neighborhood_latest_attempt_of_equal_time_is_the_greater_part_index():
    low, high, die = attempt(0, 0, 1, True, part_index=3), attempt(0, 0, 1, False, part_index=8), attempt(1, 0, 2, True)
    for wafer in ([low, high, die], [high, low, die]):
        assert neighborhood(wafer)[2]["fail__neighbor_count"] == 1
        assert neighborhood(wafer)[2]["neighbor_count"] == 1


def test_neighborhood_all_adds_a_row_where_knowledge_changes_a_value():
    wafer = [
        attempt(0, 0, 10, False),
        attempt(0, 0, 20, True, available=35),  # changes the outcome of a neighbor
        attempt(2, 1, 22, True, available=40),  # a neighbor not seen so far
        attempt(2, 1, 24, True, available=45),  # changes no value
        attempt(9, 9, 25, False, available=50),  # no neighbor
        attempt(1, 0, 30, True),
        attempt(0, 1, 31, False, available=60),  # later than the attempt: never counts for it
    ]
    rows = [row for row in neighborhood_all(wafer) if (row["die_x"], row["die_y"]) == (1, 0)]
    assert column(rows, "event_timestamp") == [30, 30, 30]
    assert column(rows, "available_timestamp") == [30, 35, 40]
    assert column(rows, "neighbor_count") == [1, 1, 2]
    assert column(rows, "fail__neighbor_count") == [1, 0, 0]
    assert column(rows, "fail__neighbor_frac") == [1.0, 0.0, 0.0]


def test_neighborhood_all_in_streaming_is_the_base_rows():
    assert neighborhood_all(WAFER, parameters=["vdd"]) == neighborhood(WAFER, parameters=["vdd"])


# as_of


def view_row(event, value, *, key="k", available=None, sequence=0):
    return {
        "key": key,
        "event_timestamp": event,
        "available_timestamp": event if available is None else available,
        "sequence": sequence,
        "value": value,
    }


def seen(times, rows, boundary="at_or_before", **options):
    spine = [{"key": "k", "event_timestamp": time} for time in times]
    chosen = as_of(spine, rows, keys=["key"], boundary=boundary, features=["value"], **options)
    return [row and row["value"] for row in chosen]


def test_as_of_boundaries():
    rows = [view_row(10, "a"), view_row(20, "b"), view_row(15, "other", key="j")]
    assert seen([9, 10, 11, 20, 21], rows) == [None, "a", "a", "b", "b"]
    assert seen([9, 10, 11, 20, 21], rows, "strictly_before") == [None, None, "a", "a", "b"]
    with pytest.raises(ValueError, match="unknown boundary"):
        seen([1], rows, "before")


def test_as_of_needs_both_times():
    rows = [view_row(10, "a"), view_row(12, "late", available=30)]
    assert seen([12, 29, 30, 31], rows) == ["a", "a", "late", "late"]
    assert seen([12, 29, 30, 31], rows, "strictly_before") == ["a", "a", "a", "late"]
    # an older event that becomes available later does not replace a newer one
    rows = [view_row(10, "old", available=30), view_row(12, "new")]
    assert seen([40], rows) == ["new"]


def test_as_of_ties():
    rows = [view_row(10, "first", sequence=1), view_row(10, "second", sequence=2), view_row(10, "zero", sequence=0)]
    assert seen([10], rows) == ["second"]
    rows = [view_row(10, "z", sequence=5), view_row(10, "revised", available=12, sequence=0)]
    assert seen([11, 12], rows) == ["z", "revised"]
    # equal in everything else: the greater content, null below all and NaN above all
    assert seen([10], [view_row(10, 1.0), view_row(10, 2.0), view_row(10, None)]) == [2.0]
    chosen = as_of(
        [{"key": "k", "event_timestamp": 10}],
        [view_row(10, float("nan")), view_row(10, 2.0)],
        keys=["key"],
        boundary="at_or_before",
        features=["value"],
    )
    assert str(chosen[0]["value"]) == "nan"


def test_as_of_one_row_out_per_spine_row_and_row_wise_nulls():
    rows = [view_row(10, "a"), view_row(20, None), view_row(20, None)]
    spine = [{"key": "k", "event_timestamp": 25}, {"key": "k", "event_timestamp": 25}]
    chosen = as_of(spine, rows, keys=["key"], boundary="at_or_before", features=["value"])
    assert column(chosen, "event_timestamp") == [20, 20]
    assert column(chosen, "value") == [None, None]


def test_as_of_null_keys_match_nothing():
    rows = [view_row(10, "a", key=None)]
    spine = [{"key": None, "event_timestamp": 20}]
    assert as_of(spine, rows, keys=["key"], boundary="at_or_before", features=["value"]) == [None]
    assert seen([None], [view_row(10, "a")]) == [None]


def test_as_of_keys_are_compared_column_by_column():
    rows = [{**view_row(1, "1|11"), "x": 1, "y": 11}, {**view_row(2, "11|1"), "x": 11, "y": 1}]
    spine = [{"x": 1, "y": 11, "event_timestamp": 5}]
    chosen = as_of(spine, rows, keys=["x", "y"], boundary="at_or_before", features=["value"])
    assert column(chosen, "value") == ["1|11"]


def test_as_of_ttl_is_inclusive_and_offset_moves_back():
    rows = [view_row(10, "a")]
    assert seen([15, 16], rows, ttl=5) == ["a", None]
    assert seen([12, 13, 18, 19], rows, offset=3) == [None, "a", "a", "a"]
    assert seen([12, 13, 18, 19], rows, offset=3, ttl=5) == [None, "a", "a", None]
    # the ttl is counted on event time, not on availability
    assert seen([20], [view_row(10, "a", available=19)], ttl=5) == [None]


def test_as_of_with_datetimes_and_another_time_column():
    noon = datetime(2025, 1, 28, 12, tzinfo=UTC)
    chosen = as_of(
        [{"key": "k", "labeled_at": noon + timedelta(days=30)}],
        [view_row(noon, "a"), view_row(noon + timedelta(microseconds=1), "b")],
        keys=["key"],
        boundary="at_or_before",
        offset=timedelta(days=30),
        timestamp="labeled_at",
        features=["value"],
    )
    assert column(chosen, "value") == ["a"]


def test_as_of_static_view_by_key_alone():
    rows = [{**view_row(None, 7.0), "available_timestamp": None}]
    assert seen([1, None], rows, "strictly_before", ttl=1, offset=1) == [7.0, 7.0]


def test_as_of_static_row_stands_in_where_no_dated_row_is_visible():
    rows = [{**view_row(None, 7.0), "available_timestamp": None}, view_row(4, 2.0), view_row(9, 3.0, available=12)]
    assert seen([3, 5, 7, 10, 13], rows, ttl=2) == [7.0, 2.0, 7.0, 7.0, 7.0]
    assert seen([3, 5, 10, 13], rows) == [7.0, 2.0, 2.0, 3.0]


# lots


def of_run(run_id, wafer_id, rows, *, available=None):
    return [
        {
            **attempt(x, 0, time, passed, available=available, part_index=index, vdd=vdd),
            "run_id": run_id,
            "wafer_id": wafer_id,
        }
        for index, (x, time, passed, vdd) in enumerate(rows)
    ]


FIRST = [(0, 1, True, 1.0), (1, 2, False, 3.0)]
SECOND = [(0, 3, True, 5.0), (1, 4, True, 7.0)]
RETEST = [(1, 6, True, 9.0)]


def test_lot_so_far_worked_by_hand():
    lot = of_run("r1", "W1", FIRST) + of_run("r2", "W2", SECOND) + of_run("r3", "W1", RETEST)
    rows = lot_so_far(lot, parameters=["vdd"])
    assert column(rows, "event_timestamp") == [2, 4, 6]
    assert column(rows, "available_timestamp") == [2, 4, 6]
    assert column(rows, "wafers_done") == [1, 2, 2]  # the retested wafer counts once
    assert column(rows, "yield_mean") == [0.5, 0.75, 1.0]
    assert column(rows, "yield_std") == [None, pytest.approx(0.125**0.5), 0.0]
    # wafer means: 2 | 2, 6 | (1 + 9) / 2 = 5, 6
    assert column(rows, "vdd__lot_mean") == [2.0, 4.0, 5.5]
    assert column(rows, "vdd__lot_std") == [None, pytest.approx(8**0.5), pytest.approx(0.5**0.5)]
    # dies: 1, 3 | 1, 3, 5, 7 | 1, 9, 5, 7
    assert column(rows, "vdd__lot_die_mean") == [2.0, 4.0, 5.5]
    assert column(rows, "vdd__lot_die_std") == [
        pytest.approx(2**0.5),
        pytest.approx((20 / 3) ** 0.5),
        pytest.approx((35 / 3) ** 0.5),
    ]


def test_lot_so_far_later_knowledge():
    lot = of_run("r1", "W1", FIRST, available=10) + of_run("r2", "W2", SECOND)
    rows = lot_so_far(lot)
    assert [(row["event_timestamp"], row["available_timestamp"]) for row in rows] == [(2, 10), (4, 4), (4, 10)]
    assert column(rows, "wafers_done") == [1, 1, 2]
    assert column(rows, "yield_mean") == [0.5, 1.0, 0.75]


def test_lot_so_far_two_runs_with_one_end():
    lot = of_run("r1", "W1", [(0, 5, True, 1.0)], available=7) + of_run("r2", "W2", [(0, 5, False, 1.0)], available=9)
    rows = lot_so_far(lot)
    assert [(row["event_timestamp"], row["available_timestamp"]) for row in rows] == [(5, 7), (5, 9)]
    assert column(rows, "yield_mean") == [1.0, 0.5]
    assert len(lot_so_far(of_run("r1", "W1", FIRST) + of_run("r2", "W2", FIRST))) == 1


def test_lot_so_far_without_a_change_there_is_no_later_row():
    # the first run repeats with the same outcome, in a run that becomes known after the end of the second wafer
    lot = of_run("r1", "W1", FIRST) + of_run("r2", "W1", [(0, 3, True, 1.0)], available=9)
    lot += of_run("r3", "W2", [(0, 4, True, 1.0)])
    rows = lot_so_far(lot, parameters=["vdd"])
    assert [(row["event_timestamp"], row["available_timestamp"]) for row in rows] == [(2, 2), (3, 9), (4, 4)]


def test_lot_so_far_nulls():
    undefined = of_run("r1", "W1", [(0, 1, None, None), (1, 2, None, float("nan"))])
    nowhere = of_run("r2", "W2", [(0, 3, True, 4.0), (None, 8, False, 400.0)])  # ends its run, is no die
    homeless = of_run("r3", None, [(0, 5, True, 1.0)])
    placeless = of_run("r4", "W4", [(None, 6, True, 1.0)])  # a run without a die is none
    rows = lot_so_far(undefined + nowhere + homeless + placeless, parameters=["vdd"])
    assert column(rows, "event_timestamp") == [2, 8]
    assert column(rows, "wafers_done") == [1, 2]
    assert column(rows, "yield_mean") == [None, 1.0]
    assert column(rows, "yield_std") == [None, None]
    assert column(rows, "vdd__lot_mean") == [None, 4.0]
    assert column(rows, "vdd__lot_die_std") == [None, None]


# attempts


def test_number_attempts_worked_by_hand():
    def row(x, time, run_id, part_index, insertion="1"):
        return {**attempt(x, 0, time, True, part_index=part_index), "run_id": run_id, "insertion": insertion}

    rows = [
        row(1, 30, "r2", 0),
        row(1, 10, "r1", 5),
        row(1, 10, "r1", 4),  # the same time: numbered by part
        row(1, 20, "r1", 9, insertion="2"),
        row(None, 10, "r1", 6),
        row(None, 20, "r1", 7),
    ]
    numbered = number_attempts(rows)
    assert column(numbered, "attempt") == [3, 2, 1, 1, 1, 1]
    assert column(numbered, "is_first") == [False, False, True, True, True, True]
    assert column(numbered, "is_final") == [True, False, False, True, True, True]
    assert "attempt" not in rows[0]


# times


def test_interpolated_ends_meet_the_finish():
    # longest: 2000 and 1000 ms of 9 s, so 6 s of index time in 2 equal parts
    assert touchdown_ends(100, 109, [(0, 500), (0, 2000), (1, 1000)]) == ([105_000_000, 109_000_000], "interpolated")
    # 1 s left over 3 touchdowns: whole microseconds, rounded down
    ends, _ = touchdown_ends(0, 4, [(0, 1000), (1, 1000), (2, 1000)])
    assert ends == [1_333_333, 2_666_666, 4_000_000]
    # no index time left is not a negative one
    assert touchdown_ends(0, 3, [(0, 1000), (1, 2000)]) == ([1_000_000, 3_000_000], "interpolated")


def test_equally_spaced_ends():
    assert touchdown_ends(0, 1, [(0, 0), (1, 0), (2, 0)]) == ([333_333, 666_666, 1_000_000], "equally_spaced")
    assert touchdown_ends(0, 2, [(0, 1000), (1, None)]) == ([1_000_000, 2_000_000], "equally_spaced")  # one missing
    assert touchdown_ends(0, 2, [(0, 1000), (1, 1001)]) == ([1_000_000, 2_000_000], "equally_spaced")  # negative index
    assert touchdown_ends(5, 5, [(0, 0), (1, 0), (2, 0)]) == ([5_000_000, 5_000_001, 5_000_002], "equally_spaced")


def test_ends_without_a_finish_or_a_start():
    assert touchdown_ends(9, 8, [(0, 1000)]) == ([10_000_000], "cumulative")  # a finish before the start is none
    assert touchdown_ends(1, None, [(0, 1000), (1, 2)]) == ([2_000_000, 2_002_000], "cumulative")
    assert touchdown_ends(1, None, [(0, 1000), (1, 0)]) == ([1_000_000, 1_000_001], "run_start")
    assert touchdown_ends(None, 7, [(0, 1000), (1, 0)]) == ([None, None], None)
    assert touchdown_ends(1, 2, []) == ([], "interpolated")


# stdf_scan


def record(order, typ, sub, body):
    return struct.pack(order + "HBB", len(body), typ, sub) + body


def cn(text):
    return bytes([len(text)]) + text.encode()


def small_file(order):
    """Two sites touched together, then one alone with a repeated test, then a pseudo-part, and half a record."""

    def pir(site):
        return record(order, 5, 10, bytes([1, site]))

    def ptr(site, number, result, *, test_flg=0, parm_flg=0, name=None):
        body = struct.pack(order + "IBBBBf", number, 1, site, test_flg, parm_flg, result)
        return record(order, 15, 10, body + (b"" if name is None else cn(name)))

    def prr(site, flag, x, y, part_id, *, hard_bin=1, soft_bin=2):
        body = struct.pack(order + "BBBHHHhhI", 1, site, flag, 3, hard_bin, soft_bin, x, y, 250)
        return record(order, 5, 20, body + cn(part_id))

    return b"".join(
        [
            record(order, 0, 10, bytes([1 if order == ">" else 2, 4])),
            record(order, 1, 10, struct.pack(order + "IIB", 1000, 1010, 1) + b"P"),
            record(order, 2, 10, struct.pack(order + "BBI", 1, 255, 1011) + cn("W7")),
            pir(0),
            pir(1),
            ptr(0, 5, 1.5),  # its name comes with the next PTR of this number
            ptr(1, 5, 2.5, name="vdd"),
            ptr(0, 6, 9.0, test_flg=0b10, name="idd"),  # invalid
            ptr(1, 6, 9.0, parm_flg=0b100),  # invalid
            ptr(0, 7, 8.0, test_flg=0b1100_0000, parm_flg=0b1111_1000),  # failed, but measured
            prr(1, 0b0000_1000, 3, -4, "2"),
            prr(0, 0b0000_0000, 2, -4, "1", soft_bin=65535),
            pir(255),
            prr(255, 0b0001_0000, -32768, -32768, "Test Plan Delimiter", hard_bin=65535),
            pir(0),
            ptr(0, 5, 1.0),
            ptr(0, 5, float("nan")),
            prr(0, 0b0001_1000, -32768, 5, "3"),
            record(order, 2, 20, struct.pack(order + "BBIIIIII", 1, 255, 1019, 3, 0, 0, 1, 0) + cn("W7")),
            record(order, 1, 20, struct.pack(order + "I", 1020)),
            pir(0)[:-1],
        ]
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_scan_of_a_file_made_by_hand(order):
    found = scan(small_file(order))
    assert found["byte_order"] == order
    assert found["records"][:2] == [(0, 10, 0, 2), (1, 10, 6, 10)]
    assert len(found["records"]) == 20
    assert found["trailing_bytes"] == 5
    assert (found["start_t"], found["finish_t"]) == (1010, 1020)
    (wir,), (wrr,) = found["wafers"], found["wafer_ends"]
    places = {(kind, sub): at for kind, sub, at, _ in found["records"]}
    assert (wir.pop("at"), wrr.pop("at")) == (places[2, 10], places[2, 20])
    assert wir == {"head": 1, "start_t": 1011, "wafer_id": "W7", "run": 0}
    assert wrr == {"head": 1, "finish_t": 1019, "wafer_id": "W7"}
    assert found["pseudo_parts"] == 1
    parts = found["parts"]
    assert column(parts, "part_id") == ["2", "1", "3"]
    assert column(parts, "site") == [1, 0, 0]
    assert column(parts, "run") == [0, 0, 0]
    assert column(parts, "touchdown") == [0, 0, 1]  # the pseudo-part's is none
    assert column(parts, "passed") == [False, True, None]
    assert [(part["x"], part["y"]) for part in parts] == [(3, -4), (2, -4), (None, 5)]
    assert [(part["hard_bin"], part["soft_bin"]) for part in parts] == [(1, 2), (1, None), (1, 2)]
    assert column(parts, "test_t") == [250, 250, 250]
    assert column(parts, "results") == [
        [("PTR", 5, "vdd", 0, None, 2.5, True), ("PTR", 6, "idd", 0, None, None, True)],
        [
            ("PTR", 5, "vdd", 0, None, 1.5, True),
            ("PTR", 6, "idd", 0, None, None, True),
            ("PTR", 7, "", 0, None, 8.0, None),
        ],
        [("PTR", 5, "vdd", 0, None, 1.0, True), ("PTR", 5, "vdd", 1, None, None, True)],
    ]
    assert (found["damage"], found["position"], found["faults"]) == (
        None,
        len(small_file(order)) - 5,
        {"trailing_bytes": 5},  # behind the MRR nothing is cut
    )


def test_scan_touchdowns_and_runs_by_hand():
    def pir(head, site):
        return record("<", 5, 10, bytes([head, site]))

    def prr(head, site):
        body = struct.pack("<BBBHHHhhI", head, site, 0, 0, 1, 1, 0, 0, 0)
        return record("<", 5, 20, body + cn(f"{head}.{site}"))

    def wir(head, name):
        return record("<", 2, 10, struct.pack("<BBI", head, 255, 0) + cn(name))

    far = record("<", 0, 10, bytes([2, 4]))
    # site 1 opens while site 0 is open: one touchdown, until all are closed; head 2 is on its own wafer
    data = [far, wir(1, "A"), pir(1, 0), wir(2, "B"), pir(2, 0), pir(1, 1), prr(1, 0), pir(1, 2), prr(1, 1)]
    data += [prr(2, 0), prr(1, 2), pir(1, 0), prr(1, 0), wir(1, "C"), pir(1, 0), prr(1, 0), pir(1, 1)]
    found = scan(b"".join(data))
    assert [(wafer["wafer_id"], wafer["run"]) for wafer in found["wafers"]] == [("A", 0), ("B", 1), ("C", 2)]
    assert [(part["part_id"], part["run"], part["touchdown"]) for part in found["parts"]] == [
        ("1.0", 0, 0),
        ("1.1", 0, 0),
        ("2.0", 1, 0),
        ("1.2", 0, 0),
        ("1.0", 0, 1),
        ("1.0", 2, 0),
    ]


def file_of_parts(*records):
    return b"".join([record("<", 0, 10, bytes([2, 4])), *records])


def bare_pir(site):
    return record("<", 5, 10, bytes([1, site]))


def bare_prr(site, part_id="", hard_bin=1):
    return record("<", 5, 20, struct.pack("<BBBHHHhhI", 1, site, 0, 0, hard_bin, 1, 0, 0, 0) + cn(part_id))


@pytest.mark.parametrize(
    ("site", "part_id", "hard_bin", "dropped"),
    [
        (255, "7", 1, 1),
        (1, "Test Plan Delimiter", 1, 1),
        (1, "7", 32768, 1),
        (1, "7", 32767, 0),
    ],
)
def test_scan_drops_pseudo_parts_by_each_sign(site, part_id, hard_bin, dropped):
    # open around two real parts, which it must not glue into one touchdown
    found = scan(
        file_of_parts(
            *(bare_pir(site), bare_pir(2), bare_prr(2), bare_pir(3), bare_prr(3), bare_prr(site, part_id, hard_bin))
        )
    )
    assert found["pseudo_parts"] == dropped
    assert column(found["parts"], "touchdown") == ([0, 1] if dropped else [0, 0, 0])


def test_scan_a_pir_whose_prr_never_came():
    # site 1 begins alone and begins again: the first is no part, no touchdown, and keeps none open
    found = scan(file_of_parts(bare_pir(1), bare_pir(1), bare_prr(1, "a"), bare_pir(2), bare_prr(2, "b"), bare_pir(3)))
    assert [(part["part_id"], part["touchdown"]) for part in found["parts"]] == [("a", 0), ("b", 1)]


def test_scan_refuses_what_is_not_stdf():
    for data in (b"", b"PK\x03\x04 no STDF", record("<", 1, 10, bytes(8))):
        with pytest.raises(ValueError, match="FAR"):
            scan(data)


# real files


def scan_real(pattern):
    paths = sorted(DATA.glob(pattern))
    assert len(paths) == 1, f"{pattern} under {DATA} gave {paths}: the development data is needed"
    data = paths[0].read_bytes()
    if paths[0].suffix == ".gz":
        data = gzip.decompress(data)
    elif paths[0].suffix == ".bz2":
        data = bz2.decompress(data)
    return scan(data)


def numbered_parts(*scans):
    """The parts of files in order of time, as attempts of one wafer."""
    rows = []
    for file, found in enumerate(scans):
        for index, part in enumerate(found["parts"]):
            keys = {"lot_id": "L", "wafer_id": "W", "insertion": "1", "die_x": part["x"], "die_y": part["y"]}
            order = {"event_timestamp": (file, part["touchdown"]), "run_id": file, "part_index": index}
            rows.append({**keys, **order, "passed": part["passed"]})
    return number_attempts(rows)


def percent_passed(rows):
    return round(100 * sum(1 for row in rows if row["passed"]) / len(rows), 2)


def ptr_count(found):
    return sum(1 for typ, sub, _, _ in found["records"] if (typ, sub) == (15, 10))


def test_lot2():
    found = scan_real("noonchen-rust-stdf/lot2.stdf.gz")
    rows = numbered_parts(found)
    first = [row for row in rows if row["is_first"]]
    final = [row for row in rows if row["is_final"]]
    assert found["byte_order"] == ">"
    assert (len(rows), len(first), len(final), found["pseudo_parts"]) == (1569, 1456, 1456, 0)
    assert (percent_passed(first), percent_passed(final)) == (92.24, 95.40)
    retests = [row for row in rows if row["attempt"] == 2]
    assert rows[-113:] == retests
    assert sum(1 for row in retests if row["passed"]) == 46
    assert ptr_count(found) == 52_403
    assert sum(1 for part in found["parts"] if part["results"]) == 784
    assert {part["test_t"] for part in found["parts"]} == {0}
    assert [wafer["wafer_id"] for wafer in found["wafers"]] == ["GAL-LOT-02"]
    # 2001-06-05T20:50:22 and 22:10:08 on the tester's clock
    assert (found["start_t"], found["finish_t"]) == (991_774_222, 991_779_008)


def test_prod_retest_file():
    first_file = scan_real("jervinkhoo-stdf-archive/PROD_69208_*_R0_*")
    retest_file = scan_real("jervinkhoo-stdf-archive/PROD_69208_*_R1_*")
    assert (len(first_file["parts"]), first_file["pseudo_parts"], first_file["wafers"]) == (748, 1, [])
    assert (len(retest_file["parts"]), retest_file["pseudo_parts"], retest_file["wafers"]) == (118, 1, [])
    assert (ptr_count(first_file), ptr_count(retest_file)) == (75_648, 10_261)
    after_first = [row for row in numbered_parts(first_file) if row["is_final"]]
    rows = numbered_parts(first_file, retest_file)
    after_both = [row for row in rows if row["is_final"]]
    assert (len(after_first), len(after_both)) == (747, 747)
    assert (percent_passed(after_first), percent_passed(after_both)) == (84.20, 85.81)
    fails = {(row["die_x"], row["die_y"]) for row in after_first if row["passed"] is False}
    retests = [row for row in rows if row["run_id"] == 1]
    assert {(row["die_x"], row["die_y"]) for row in retests} == fails
    assert sum(1 for row in retests if row["passed"]) == 12
    in_line = [row for row in numbered_parts(first_file) if row["attempt"] == 2]
    assert [(row["die_x"], row["die_y"]) for row in in_line] == [(2, 22)]


def test_prod_lot_so_far_counts_the_wafer_once():
    first_file = scan_real("jervinkhoo-stdf-archive/PROD_69208_*_R0_*")
    retest_file = scan_real("jervinkhoo-stdf-archive/PROD_69208_*_R1_*")
    rows = [{**row, "available_timestamp": row["event_timestamp"]} for row in numbered_parts(first_file, retest_file)]
    lot = lot_so_far(rows)
    assert column(lot, "wafers_done") == [1, 1]
    assert [round(100 * value, 2) for value in column(lot, "yield_mean")] == [84.20, 85.81]


def test_diamond40():
    found = scan_real("nerohmot-stdf/diamond40_*")
    parts = found["parts"]
    assert (len(parts), found["pseudo_parts"]) == (4057, 0)
    assert len({(part["x"], part["y"]) for part in parts}) == 4056
    assert ptr_count(found) == 1_454_710
    assert sum(1 for typ, sub, _, _ in found["records"] if (typ, sub) == (15, 20)) == 84_103
    assert [wafer["wafer_id"] for wafer in found["wafers"]] == ["Q4RA40-18"]

    touchdowns: dict[Any, Any] = {}
    logged: dict[Any, Any] = {}  # the file's own number -> touchdown numbers found here
    for part in parts:
        touchdowns.setdefault(part["touchdown"], set()).add((part["x"], part["y"]))
        (own,) = {row[5] for row in part["results"] if row[2].startswith("NB_TouchDownNumber")}
        logged.setdefault(own, set()).add(part["touchdown"])
    assert sorted(touchdowns) == list(range(1041))
    assert len(logged) == 1041
    assert all(len(numbers) == 1 for numbers in logged.values())

    def is_full_2x2(dies):
        x0, y0 = min(x for x, _ in dies), min(y for _, y in dies)
        return dies == {(x0, y0), (x0 + 1, y0), (x0, y0 + 1), (x0 + 1, y0 + 1)}

    assert sum(1 for dies in touchdowns.values() if is_full_2x2(dies)) == 979


def test_a595_three_wafers_in_one_file():
    found = scan_real("gattrell-stdf-radar/a595.stdf.gz")
    assert [wafer["wafer_id"] for wafer in found["wafers"]] == ["02", "03", "09"]
    dies = [{(part["x"], part["y"]) for part in found["parts"] if part["run"] == run} for run in range(3)]
    assert [len(of_run) for of_run in dies] == [112, 112, 112]
    assert len(found["parts"]) == 336
    assert (ptr_count(found), sum(len(part["results"]) for part in found["parts"])) == (31_605, 31_605 + 4_649)


def test_2a816_a_wafer_run_twice():
    found = scan_real("jervinkhoo-stdf-archive/2a816*")
    assert [wafer["wafer_id"] for wafer in found["wafers"]] == ["1748RSB011", "1748RSB010", "1748RSB001", "1748RSB011"]
    sizes: dict[Any, Any] = {}
    for part in found["parts"]:
        sizes.setdefault((part["run"], part["touchdown"]), set()).add((part["site"], part["test_t"]))
    assert len(sizes) == 48
    assert {len(of_touchdown) for of_touchdown in sizes.values()} == {20, 30}
    assert all(len({test_t for _, test_t in of_touchdown}) == 1 for of_touchdown in sizes.values())
    assert len(found["parts"]) == 1280


@pytest.mark.parametrize(
    ("pattern", "parts", "with_place", "ptrs"),
    [
        ("nerohmot-stdf/v93k74_*", 140, 0, 51_045),
        ("jervinkhoo-stdf-archive/stt009pc_WS_TM728*", 52, 52, 2_651),
        ("jervinkhoo-stdf-archive/*W4B402-09E7*", 0, 0, 0),
        ("jervinkhoo-stdf-archive/*W4B402-10F4*", 0, 0, 0),
        ("jervinkhoo-stdf-archive/testMPR.stdf", 1, 0, 0),
        ("perl6-Parse-STDF/gdr.stdf.gz", 4, 0, 8_924),
        ("tang8560-stdf_reader/main_Lot_1*", 13, 13, 0),
        ("dugloon-pystdf/tfile.std", 1, 1, 1),
    ],
)
def test_odd_files(pattern, parts, with_place, ptrs):
    found = scan_real(pattern)
    assert len(found["parts"]) == parts
    assert sum(1 for part in found["parts"] if part["x"] is not None and part["y"] is not None) == with_place
    assert ptr_count(found) == ptrs
    assert found["trailing_bytes"] == 0
