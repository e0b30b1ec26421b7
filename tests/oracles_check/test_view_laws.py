"""Laws that the oracles of views keep on random histories, which have in them what goes wrong."""

import math
import random
from typing import Any

import pytest

from tests.oracles.complete_groups import complete_rows
from tests.oracles.event_views import EventView, event_rows
from tests.oracles.histories import random_attempts, random_history
from tests.oracles.joins import Join, features_at
from tests.oracles.labels import Every, LabelRequest, labeled_spine
from tests.oracles.sources import DAY, HOUR, Source, all_revisions, known_rows, watermark
from tests.oracles.state_views import StateView, Statistic, Window, run_ends, state_rows
from tests.oracles.window_statistics import KINDS, statistic

SEEDS = range(3)
OPTIONS = {"quantile": 0.9, "ewm": HOUR, "share": "a"}
READS = ("amount", "kind", "customer_id", "merchant", "ok")
SOURCE = Source(("row_id",), READS, ("number",), filter=lambda row: row["ok"])
WINDOWS = {"6h": Window(length=6 * HOUR), "3r": Window(last=3, max_age=DAY), "all": Window()}


def statistics():
    columns = {"share": "kind", "distinct": "kind", "rows": None}
    return tuple(
        Statistic(f"{kind}_{name}", kind, columns.get(kind, "amount"), window, OPTIONS.get(kind))
        for kind in KINDS
        for name, window in WINDOWS.items()
    )


def view_of(source, by="customer_id"):
    return StateView(source, {by: by}, statistics())


def shuffled(rows, seed):
    rows = list(rows)
    random.Random(seed).shuffle(rows)
    return rows


def in_one_order(rows):
    return sorted(rows, key=repr)


@pytest.mark.parametrize("seed", SEEDS)
def test_order_of_delivery_does_not_matter(seed):
    delivered = random_history(seed)
    again = shuffled(delivered, seed + 100)
    for source in (SOURCE, Source((), READS), Source((), READS, unique=True)):
        view = view_of(source)
        mark = watermark(delivered, source)
        assert in_one_order(state_rows(delivered, view, mark)) == in_one_order(state_rows(again, view, mark))
    for knowledge in ("question", "before_event", "at_event"):
        view = EventView(SOURCE, {"customer_id": "customer_id"}, {"a": "amount", "k": "kind"}, knowledge=knowledge)
        assert in_one_order(event_rows(delivered, view)) == in_one_order(event_rows(again, view))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_newest_row_before_t_holds_the_window_as_it_was_known_before_t(seed):
    delivered = random_history(seed)
    length = 6 * HOUR
    view = StateView(SOURCE, {"customer_id": "customer_id"}, (Statistic("s", "sum", "amount", Window(length=length)),))
    mark = watermark(delivered, SOURCE)
    rows = state_rows(delivered, view, mark)
    join = Join({"customer_id": "customer_id"}, ("s",), "strictly_before", is_state=True)
    rng = random.Random(seed)
    events = [row["event"] for row in delivered]
    times = [*rng.sample(events, 10), *(event + length for event in rng.sample(events, 10)), mark]
    for time in times:
        if time > mark:
            continue
        for customer in ("c0", "c1", "c2"):
            inside = []
            for revisions in all_revisions(delivered, SOURCE):
                known = [row for row in revisions if row["available"] < time and row["event"] < time]
                newest = known[-1] if known else None
                if newest and newest["ok"] is True and newest["customer_id"] == customer:
                    inside.append(newest)
            window = [row for row in inside if row["event"] >= time - length]
            expected = statistic("sum", window, "amount")
            assert features_at({"customer_id": customer}, time, rows, join)["s"] == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_known_later_changes_no_earlier_row(seed):
    delivered = random_history(seed)
    for a in random.Random(seed).sample(sorted({row["available"] for row in delivered}), 4):
        known = [row for row in delivered if row["available"] <= a]
        mark = watermark(known, SOURCE)
        if mark is None:
            continue
        for make, view in (
            (state_rows, view_of(SOURCE)),
            (complete_two, view_of(SOURCE)),
            (complete_late, view_of(SOURCE)),
        ):
            few, many = make(known, view, mark), make(delivered, view, watermark(delivered, SOURCE))
            assert few == [row for row in few if row["event_timestamp"] <= mark]
            assert in_one_order(few) == in_one_order(row for row in many if row["event_timestamp"] <= mark)
        plain = EventView(SOURCE, {"merchant": "merchant"}, {"a": "amount"})
        few, many = event_rows(known, plain), event_rows(delivered, plain)
        assert in_one_order(few) == in_one_order(row for row in many if row["available_timestamp"] <= a)


def complete_two(delivered, view, mark):
    return complete_rows(delivered, view, mark, count=2)


def complete_late(delivered, view, mark):
    return complete_rows(delivered, view, mark, grace=6 * HOUR)


@pytest.mark.parametrize("seed", SEEDS)
def test_state_rows_change_a_column_each_and_begin_once_for_a_group(seed):
    delivered = random_history(seed)
    last: dict[Any, Any] = {}
    times = ("event_timestamp", "available_timestamp")
    for row in state_rows(delivered, view_of(SOURCE), watermark(delivered, SOURCE)):
        values = {name: value for name, value in row.items() if name not in times}
        assert last.get(row["customer_id"]) != values
        last[row["customer_id"]] = values
        assert row["event_timestamp"] == row["available_timestamp"]
        for value in values.values():
            assert not isinstance(value, float) or not math.isnan(value)
    assert last


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("chosen", ["first", "latest", "all"])
def test_attempts_of_random_runs(seed, chosen):
    delivered = random_attempts(seed)
    keys = ("lot_id", "wafer_id", "die_x", "die_y", "insertion")
    source = Source((), ("vdd", "passed"), ("run_id", "part_index"), attempts=chosen, insertion="1")
    mark = watermark(delivered, source)
    known = known_rows(delivered, source, mark)
    dies = [tuple(row[key] for key in keys) for row in known if row["die_x"] is not None]
    assert chosen == "all" or len(dies) == len(set(dies))
    unit = ("lot_id", "wafer_id", "run_id")
    ends = run_ends([row for row in delivered if row["insertion"] == "1"], unit)
    stepped = StateView(source, {"lot_id": "lot_id"}, (Statistic("n", "rows"),), step=unit, ends=ends)
    found = state_rows(delivered, stepped, mark)
    instants = {max(end["event"], end["available"]) for end in ends}
    assert found
    assert all(row["event_timestamp"] in instants for row in found)


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_that_are_known_do_not_change_unless_a_row_comes_behind_the_lag(seed):
    delivered = random_history(seed, late=0, revised=0)
    keys = {"customer_id": "customer_id"}
    start = min(row["event"] for row in delivered)
    every = Every(5 * HOUR, start, start + 3 * DAY)

    def spine(as_of):
        asked = LabelRequest(
            keys, SOURCE, "y", "sum", as_of, column="amount", source=SOURCE, until=8 * HOUR, lag=HOUR, every=every
        )
        return labeled_spine(delivered, delivered, asked)

    early, late = spine(start + DAY), spine(start + 9 * DAY)
    assert all(row["label_available"] <= start + DAY for row in early)
    assert [row for row in late if row in early] == early
    assert len(late) > len(early)


def test_the_histories_hold_what_goes_wrong():
    delivered = [row for seed in SEEDS for row in random_history(seed)]
    source = Source(("row_id", "seed"), READS, ("number",))
    named = [{**row, "seed": seed} for seed in SEEDS for row in random_history(seed)]
    revised = [rows for rows in all_revisions(named, source) if len(rows) > 1]
    assert any(rows[0]["customer_id"] != rows[-1]["customer_id"] for rows in revised)
    assert any(rows[0]["available"] == rows[-1]["available"] and rows[0] != rows[-1] for rows in revised)
    assert any(rows[0] == rows[-1] for rows in revised)
    assert any(row["available"] > row["event"] + HOUR for row in delivered)
    assert any(row["available"] < row["event"] for row in delivered)
    amounts = [row["amount"] for row in delivered]
    assert None in amounts
    assert any(isinstance(amount, float) and math.isnan(amount) for amount in amounts)
    assert 1e300 in amounts
    assert any(row["customer_id"] is None for row in delivered)
    assert len({row["event"] for row in delivered}) < len({(row["event"], row["row_id"]) for row in delivered})
