"""State views and event views, worked by hand from the sentences of semantics, section 6."""

from typing import Any

import pytest

from tests.oracles.complete_groups import complete_rows, rows_behind
from tests.oracles.event_views import EventView, event_rows
from tests.oracles.joins import Join, joined
from tests.oracles.populations import bin_of, one_hot, percentile_rank, population, robust_z, terms
from tests.oracles.sources import HOUR, Source, watermark
from tests.oracles.state_views import StateView, Statistic, Window, run_ends, state_rows, window_at
from tests.oracles_check.view_rows import (
    NAN,
    PAYMENTS,
    TEN,
    attempt,
    attempts_source,
    column,
    count_in,
    payment,
    state_view,
)

# state views: windows in time


def test_one_payment_at_ten_and_a_window_of_an_hour():
    rows = state_rows([payment(TEN)], state_view(count_in(HOUR)), TEN + HOUR)
    assert column(rows, "n", "last_event_timestamp") == [(TEN, 1, TEN), (TEN + HOUR, 0, TEN)]
    assert rows[0] == {
        "customer_id": "c",
        "event_timestamp": TEN,
        "available_timestamp": TEN,
        "sequence": 0,
        "last_event_timestamp": TEN,
        "n": 1,
    }
    join = Join({"customer_id": "customer"}, ("n",), "strictly_before", is_state=True)
    spine = [{"customer": "c", "event_timestamp": TEN + after} for after in (0, 1, HOUR // 2, HOUR, HOUR + 1)]
    assert [row["n"] for row in joined(spine, rows, join)] == [None, 1, 1, 1, 0]


def test_the_row_of_leaving_is_due_at_the_watermark_which_another_group_moves():
    view = state_view(count_in(HOUR))
    alone = [payment(TEN)]
    assert column(state_rows(alone, view, watermark(alone, PAYMENTS)), "n") == [(TEN, 1)]
    moved = [*alone, payment(12 * HOUR, customer="d")]
    rows = state_rows(moved, view, watermark(moved, PAYMENTS))
    assert column([row for row in rows if row["customer_id"] == "c"], "n") == [(TEN, 1), (TEN + HOUR, 0)]
    assert state_rows([], view, None) == []


def test_rows_of_one_instant_are_one_state_row():
    rows = state_rows([payment(10, id=1), payment(10, id=2), payment(12)], state_view(count_in(2)), 99)
    # 10: both; 12: both leave as the third comes; 14: it leaves
    assert column(rows, "n") == [(10, 2), (12, 1), (14, 0)]


def test_a_late_row_enters_when_it_is_known_and_not_behind_its_window():
    late, later = payment(10, available=15), payment(11, available=40)
    rows = state_rows([payment(14), late, later], state_view(count_in(10)), 99)
    # 20: the late one leaves; 24: the first leaves; 40: the other is known, its window (30, 40] has passed it, and it
    # is not the newest either, so that no column changes
    assert column(rows, "n", "last_event_timestamp") == [(14, 1, 14), (15, 2, 14), (20, 1, 14), (24, 0, 14)]


def test_the_first_row_is_written_even_where_its_windows_are_empty():
    rows = state_rows([payment(10, available=40)], state_view(count_in(5)), 99)
    assert column(rows, "n", "last_event_timestamp") == [(40, 0, 10)]


def test_a_row_said_beforehand_counts_from_its_event_on():
    rows = state_rows([payment(10, available=3)], state_view(count_in(5)), 99)
    assert column(rows, "n") == [(10, 1), (15, 0)]


def test_a_row_that_changes_no_column_is_not_written_but_last_event_is_a_column():
    view = state_view(Statistic("top", "max", "amount", Window(length=10)))
    rows = state_rows([payment(10, 5.0), payment(12, 3.0), payment(12, 2.0, id=7)], view, 30)
    # 12: the maximum stays, the newest row does not; 20: 3.0 is left; 22: none
    assert column(rows, "top", "last_event_timestamp") == [(10, 5.0, 10), (12, 5.0, 12), (20, 3.0, 12), (22, None, 12)]
    again = state_rows([payment(10, 5.0), payment(10, 5.0, id=7, available=11)], view, 12)
    assert column(again, "top") == [(10, 5.0)]


def test_several_windows_share_one_row_an_instant():
    view = state_view(count_in(2), Statistic("m", "sum", "amount", Window(length=3)))
    rows = state_rows([payment(10, 4.0)], view, 99)
    assert column(rows, "n", "m") == [(10, 1, 4.0), (12, 0, 4.0), (13, 0, None)]


def test_a_revision_changes_value_group_and_filter_at_its_own_instant():
    rows = [payment(10, 1.0), payment(10, 8.0, available=12), payment(10, 8.0, available=14, customer="d")]
    view = state_view(Statistic("s", "sum", "amount", Window(length=100)))
    rows = state_rows(rows, view, 50)
    assert column(rows, "s", "last_event_timestamp") == [(10, 1.0, 10), (12, 8.0, 10), (14, None, None), (14, 8.0, 10)]
    assert [row["customer_id"] for row in rows] == ["c", "c", "c", "d"]


def test_a_row_that_no_longer_passes_leaves_and_one_that_passes_later_enters():
    source = Source(("id",), ("amount", "ok"), ("number",), where=lambda row: row["ok"])
    rows = [payment(10), payment(10, ok=False, available=12), payment(11, ok=False), payment(11, available=13)]
    found = state_rows(rows, state_view(count_in(50), source=source), 20)
    assert column(found, "n", "last_event_timestamp") == [(10, 1, 10), (12, 0, None), (13, 1, 11)]


def test_an_attempt_that_is_pushed_out_leaves_at_the_other_ones_instant():
    view = StateView(
        attempts_source("first"), {"lot_id": "lot_id"}, (Statistic("mean", "mean", "vdd", Window(length=100)),)
    )
    rows = state_rows([attempt(1, 10, vdd=1.0, available=40), attempt(1, 20, vdd=2.0)], view, 60)
    assert column(rows, "mean", "last_event_timestamp") == [(20, 2.0, 20), (40, 1.0, 10)]


# state views: the last N


def test_last_n_by_event_then_order_none_older_than_max_age():
    window = Window(last=2, max_age=20)
    view = state_view(Statistic("s", "sum", "amount", window), Statistic("r", "rows", None, window))
    rows = [payment(10, 1.0), payment(12, 2.0, number=1, id=2), payment(12, 4.0, number=0, id=1), payment(25, 8.0)]
    found = state_rows(rows, view, 99)
    # 12: of three the last two are those of 12; 25: the order 1 of 12 comes behind order 0
    # 30: the one of 10 grows too old, which changes nothing; 32: those of 12 do; 45: that of 25 does
    assert column(found, "s", "r") == [(10, 1.0, 1), (12, 6.0, 2), (25, 10.0, 2), (32, 8.0, 1), (45, None, 0)]


def test_a_row_that_a_revision_removes_lets_an_older_one_back_in():
    source = Source(("id",), ("amount", "ok"), ("number",), filter=lambda row: row["ok"])
    window = Window(last=1)
    view = state_view(Statistic("last", "last", "amount", window), source=source)
    rows = [payment(10, 1.0), payment(12, 2.0), payment(12, 2.0, ok=False, available=15)]
    assert column(state_rows(rows, view, 50), "last") == [(10, 1.0), (12, 2.0), (15, 1.0)]


def test_nulls_take_their_places_among_the_last_n():
    view = state_view(Statistic("n", "count", "amount", Window(last=2)), Statistic("r", "rows", None, Window(last=2)))
    rows = state_rows([payment(10, 1.0), payment(12, NAN), payment(14, None)], view, 50)
    assert column(rows, "n", "r") == [(10, 1, 1), (12, 1, 2), (14, 0, 2)]


def test_window_at_any_instant():
    rows = [payment(10), payment(12, available=20), payment(15)]
    view = state_view(count_in(5))
    assert [row["id"] for row in window_at(rows, 16, view, ("c",), Window(length=5))] == [15]
    assert [row["id"] for row in window_at(rows, 20, view, ("c",), Window(length=10))] == [12, 15]
    assert [row["id"] for row in window_at(rows, 20, view, ("c",), Window(last=2))] == [12, 15]


# state views: so far, step, complete


def test_so_far_and_a_step_of_wafers():
    rows = [attempt(1, 10), attempt(2, 11, vdd=3.0), attempt(1, 20, wafer="W2", run="r2", vdd=5.0)]
    rows.append(attempt(1, 30, run="r3", vdd=7.0, available=35))  # a second run of W1
    lot = {"lot_id": "lot_id"}
    mean = (Statistic("mean", "mean", "vdd"),)
    plain = StateView(attempts_source("latest"), lot, mean)
    assert column(state_rows(rows, plain, 99), "mean") == [(10, 1.0), (11, 2.0), (20, 3.0), (35, 5.0)]
    run = ("lot_id", "wafer_id", "run_id")
    ends = run_ends(rows, run)
    assert [(end["event"], end["available"]) for end in ends] == [(11, 11), (20, 20), (30, 35)]
    stepped = StateView(attempts_source("latest"), lot, mean, step=run, ends=ends)
    found = column(state_rows(rows, stepped, 99), "mean", "last_event_timestamp")
    assert found == [(11, 2.0, 11), (20, 3.0, 20), (35, 5.0, 30)]


SO_FAR = state_view(Statistic("s", "sum", "amount"))


def test_an_attempt_of_a_run_that_has_not_ended_pushes_nothing_out():
    rows = [attempt(1, 10), attempt(1, 20, run="r2", vdd=5.0), attempt(2, 25, run="r2", vdd=9.0)]
    run = ("lot_id", "wafer_id", "run_id")
    mean = (Statistic("mean", "mean", "vdd"),)
    view = StateView(attempts_source("latest"), {"lot_id": "lot_id"}, mean, step=run, ends=run_ends(rows, run))
    assert column(state_rows(rows, view, 99), "mean") == [(10, 1.0), (25, 7.0)]


def test_a_row_waits_for_an_end_not_before_its_event_and_a_late_one_enters_when_it_is_known():
    rows = [attempt(1, 10), attempt(2, 12, available=50), attempt(3, 15)]
    unit = ("lot_id", "wafer_id")
    ends = [{"lot_id": "L1", "wafer_id": "W1", "event": event, "available": event} for event in (12, 30)]
    counted = (Statistic("n", "rows"),)
    view = StateView(attempts_source("all"), {"lot_id": "lot_id"}, counted, step=unit, ends=ends)
    assert column(state_rows(rows, view, 99), "n") == [(12, 1), (30, 2), (50, 3)]


def test_complete_at_a_count():
    rows = [payment(10, 1.0), payment(11, 2.0), payment(12, 4.0), payment(13, 8.0), payment(14, 16.0)]
    # two rows close the group; the next close needs two others, over all rows so far; the fifth stays behind
    assert column(complete_rows(rows, SO_FAR, 99, count=2), "s") == [(11, 3.0), (13, 15.0)]
    assert len(rows_behind(rows, SO_FAR, 99, {("c",): 13})["c",]) == 1
    assert complete_rows(rows, SO_FAR, 10, count=2) == []


def test_complete_at_a_count_of_wafers_that_ended():
    rows = [attempt(1, 10), attempt(2, 11), attempt(1, 20, wafer="W2", run="r2"), attempt(2, 22, wafer="W2", run="r2")]
    unit = ("lot_id", "wafer_id")
    ends = run_ends(rows, unit)
    counted = (Statistic("n", "rows"),)
    view = StateView(attempts_source("all"), {"lot_id": "lot_id"}, counted, step=unit, ends=ends)
    assert column(complete_rows(rows, view, 99, count=2, of=unit), "n") == [(22, 4)]


def test_complete_at_explicit_closes():
    rows = [payment(10, 1.0), payment(20, 2.0), payment(30, 4.0)]
    closes = [
        {"customer_id": "c", "event": event, "available": available}
        for event, available in ((5, 5), (15, 21), (25, 25), (40, 40))
    ]
    # nothing is known at 5; the close of 15 is known at 21, when two rows are; at 25 nothing is new
    assert column(complete_rows(rows, SO_FAR, 99, closes=closes), "s") == [(21, 3.0), (40, 7.0)]


def test_a_close_behind_which_nothing_came_gives_no_row():
    closes = [{"customer_id": "c", "event": event, "available": event} for event in (12, 30)]
    # the window has emptied by 30, but no row was added, replaced or removed since the close of 12
    assert column(complete_rows([payment(10)], state_view(count_in(5)), 99, closes=closes), "n") == [(12, 1)]


def test_complete_after_a_grace_time():
    rows = [payment(10, 1.0), payment(13, 2.0), payment(14, 4.0, available=40)]
    # 15 would be a close but for the row of 13; 18 is one; the late row's 19 has passed when it is known
    assert column(complete_rows(rows, SO_FAR, 99, grace=5), "s", "last_event_timestamp") == [
        (18, 3.0, 13),
        (40, 7.0, 14),
    ]
    assert complete_rows(rows, SO_FAR, 17, grace=5) == []  # due at the watermark
    with pytest.raises(ValueError, match="a close is"):
        complete_rows(rows, SO_FAR, 99, grace=5, count=2)


# event views


def test_a_revision_gives_one_more_row_where_a_value_changes():
    rows = [payment(10, 1.0, available=12), payment(10, 1.0, available=20, ok=False), payment(10, 3.0, available=30)]
    view = EventView(PAYMENTS, {"customer_id": "customer"}, {"amount": "amount"})
    found = event_rows(rows, view)
    assert column(found, "available_timestamp", "amount", "number", "sequence") == [
        (10, 12, 1.0, 0, 0),
        (10, 30, 3.0, 0, 0),
    ]
    only_first = EventView(PAYMENTS, {"customer_id": "customer"}, {"amount": "amount"}, revisions="first")
    assert column(event_rows(rows, only_first), "available_timestamp", "amount") == [(10, 12, 1.0)]


def test_the_sequence_is_the_order_where_that_is_one_integer():
    view = EventView(PAYMENTS, {"customer_id": "customer"}, {"amount": "amount"})
    assert event_rows([payment(10, number=4)], view)[0]["sequence"] == 4
    text = event_rows([payment(10, number="four")], view)[0]
    assert (text["sequence"], text["number"]) == (0, "four")


def test_what_the_question_brings_is_known_at_its_event():
    rows = [payment(10, 5.0, available=25), payment(10, 6.0, available=40)]
    keys = {"customer_id": "customer"}
    brought = event_rows(rows, EventView(PAYMENTS, keys, {"amount": "amount"}, knowledge="question"))
    assert column(brought, "available_timestamp", "amount") == [(10, 10, 5.0), (10, 40, 6.0)]
    holds = event_rows(rows, EventView(PAYMENTS, keys, {"amount": "amount"}, knowledge="before_event"))
    assert column(holds, "available_timestamp", "amount") == [(10, 25, 5.0), (10, 40, 6.0)]


def test_a_price_said_beforehand_holds_from_its_own_instant():
    rows = [payment(10, 5.0, available=3, until=20), payment(10, 6.0, available=7, until=30)]
    view = EventView(
        PAYMENTS, {"customer_id": "customer"}, {"price": "amount"}, knowledge="before_event", valid_to="until"
    )
    assert column(event_rows(rows, view), "available_timestamp", "price", "valid_to") == [(10, 10, 6.0, 30)]


def test_a_row_that_leaves_has_one_more_row_of_nulls():
    source = Source(("id",), ("amount", "ok"), ("number",), filter=lambda row: row["ok"])
    rows = [payment(10, 5.0), payment(10, 5.0, ok=False, available=20), payment(10, 5.0, available=30)]
    found = event_rows(rows, EventView(source, {"customer_id": "customer"}, {"amount": "amount"}))
    assert column(found, "available_timestamp", "amount") == [(10, 10, 5.0), (10, 20, None), (10, 30, 5.0)]


def test_rows_with_a_null_key_are_not_written():
    view = EventView(PAYMENTS, {"customer_id": "customer"}, {"amount": "amount"})
    assert event_rows([payment(10, customer=None)], view) == []


def test_expressions_give_null_where_arithmetic_fails():
    compute: dict[str, Any] = {
        "ratio": lambda row: row["amount"] / row["base"],
        "power": lambda row: row["amount"] * 1e308,
        "cast": lambda row: int(row["word"]),
        "bare": "amount",
    }
    view = EventView(PAYMENTS, {"customer_id": "customer"}, compute)
    row = event_rows([payment(10, 9.0, base=0.0, word="x")], view)[0]
    assert [row[name] for name in compute] == [None, None, None, 9.0]
    row = event_rows([payment(10, NAN, base=1.0, word="3")], view)[0]
    assert [row[name] for name in compute] == [None, None, 3, None]
    row = event_rows([payment(10, 3.0, base=None, word="3")], view)[0]
    assert row["ratio"] is None


def test_ready_made_expressions():
    assert [bin_of(x, [0, 1, 5]) for x in (-0.1, 0, 0.9, 1, 5, 5.1, None, NAN)] == [None, 0, 0, 1, 1, None, None, None]
    assert one_hot("b", ["a", "b"]) == [0, 1]
    assert one_hot("z", ["a", "b"]) == [0, 0]
    assert one_hot(None, ["a", "b"]) == [None, None]
    found = terms({"vdd": 2.0, "idd": 3.0}, ["vdd", "idd"])
    assert list(found.items()) == [("vdd__pow2", 4.0), ("vdd__x__idd", 6.0), ("idd__pow2", 9.0)]


def test_against_a_population():
    rows = [attempt(1, 10, vdd=1.0), attempt(1, 20, vdd=2.0), attempt(2, 20, vdd=4.0), attempt(3, 20, vdd=None)]
    rows += [attempt(4, 21, vdd=9.0, available=50), attempt(5, 30, vdd=3.0), attempt(6, 30, vdd=8.0)]
    die = rows[-2]
    values = population(rows, die, 30, group=("lot_id",), column="vdd")
    assert sorted(values) == [
        2.0,
        4.0,
    ]  # die 1 in its latest attempt; neither itself, nor its touchdown, nor what is late
    assert sorted(population(rows, die, 50, group=("lot_id",), column="vdd")) == [2.0, 4.0, 9.0]
    assert percentile_rank(3.0, values) == 0.5
    assert percentile_rank(2.0, values) == 0.25
    assert percentile_rank(3.0, []) is None
    # median 3, quartiles 2.5 and 3.5
    assert robust_z(5.0, values) == 2.0 / (1.0 / 1.35)
    assert robust_z(5.0, [2.0, 2.0]) is None
