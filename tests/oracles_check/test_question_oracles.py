"""Views of views, joins, labels and online answers, worked by hand from semantics, sections 4 and 6."""

import pytest

from tests.oracles.combined_views import Input, ViewOfViews, as_delivered, combined_rows
from tests.oracles.joins import Join, joined, rows_beyond
from tests.oracles.labels import Every, LabelRequest, group_split, labeled_spine, time_split
from tests.oracles.online import event_answer, state_answer
from tests.oracles.sources import HOUR, Source, watermark
from tests.oracles.state_views import StateView, Statistic, Window, state_rows
from tests.oracles_check.view_rows import PAYMENTS, TEN, column, count_in, feature, payment, state_view

# views of views


def combine(*inputs, **more):
    return combined_rows(ViewOfViews(("customer_id",), inputs, **more))


def test_inputs_of_the_same_event_give_a_row_for_each_availability_from_which_all_are_known():
    one = [feature(10, 11, a=1), feature(10, 20, a=2), feature(12, 12, a=9), feature(10, 11, sequence=1, a=7)]
    two = [feature(10, 15, b=5), feature(10, 18, b=5), feature(10, 30, b=6), feature(99, 99, b=0)]
    inputs = (Input(one, ("a",)), Input(two, ("b",)))
    found = combine(*inputs)
    # the row of 12 and that of sequence 1 lack the second input; 18 changes nothing
    assert column(found, "available_timestamp", "a", "b") == [(10, 15, 1, 5), (10, 20, 2, 5), (10, 30, 2, 6)]
    assert column(combine(*inputs, revisions="first"), "a", "b") == [(10, 1, 5)]


def test_an_optional_input_is_null_until_it_is_known():
    found = combine(
        Input([feature(10, a=1), feature(12, a=2)], ("a",)),
        Input([feature(10, 15, b=5)], ("b",), optional=True),
        compute={"sum": lambda row: row["a"] + row["b"]},
    )
    expected = [(10, 10, 1, None, None), (10, 15, 1, 5, 6), (12, 12, 2, None, None)]
    assert column(found, "available_timestamp", "a", "b", "sum") == expected


def test_an_as_of_input_is_asked_at_the_rows_event_by_its_own_keys_and_boundary():
    shops = [
        {"shop": "s", "event_timestamp": t, "available_timestamp": t, "sequence": 0, "last_event_timestamp": t, "n": t}
        for t in (8, 10)
    ]
    join = Join({"shop": "shop_id"}, ("n",), "strictly_before", is_state=True)
    payments = [
        feature(10, shop_id="s"),
        feature(11, shop_id="s"),
        feature(12, shop_id="other"),
        feature(15, shop_id="s"),
    ]
    state = Input(shops, ("n",), match="as_of", join=join, is_state=True, watermark=12)
    found = combine(Input(payments, ("shop_id",)), state)
    # that of 15 waits for the watermark; an as_of input without a usable row gives null though it is required
    assert column(found, "n") == [(10, 8), (11, 10), (12, None)]
    empty = Input([], ("n",), match="as_of", join=join, is_state=True)
    assert combine(Input(payments, ("shop_id",)), empty) == []


def test_static_inputs_match_by_key_and_validity_is_the_least():
    static = {"customer_id": "c", "event_timestamp": None, "available_timestamp": None, "sequence": 0, "area": "north"}
    one = [feature(10, a=1, valid_to=50), feature(11, key="d", a=2, valid_to=None)]
    two = [feature(10, 12, b=3, valid_to=40), feature(11, key="d", b=4, valid_to=60)]
    inputs = (Input(one, ("a",)), Input(two, ("b",)))
    required = combine(*inputs, Input([static], ("area",), match="static"))
    assert column(required, "customer_id", "b", "area", "valid_to") == [(10, "c", 3, "north", 40)]
    optional = combine(*inputs, Input([static], ("area",), match="static", optional=True))
    assert column(optional, "customer_id", "b", "area", "valid_to") == [
        (10, "c", 3, "north", 40),
        (11, "d", 4, None, 60),
    ]
    alone = combine(Input([static], ("area",), match="static"))
    assert column(alone, "available_timestamp", "area") == [(None, None, "north")]


def test_a_state_view_over_a_view():
    rows = as_delivered([feature(10, a=1.0), feature(10, 14, a=5.0), feature(12, a=2.0)])
    source = Source(keys=("customer_id",), reads=("a",), order=("sequence",))
    view = StateView(source, {"customer_id": "customer_id"}, (Statistic("s", "sum", "a", Window(length=50)),))
    assert column(state_rows(rows, view, 20), "s") == [(10, 1.0), (12, 3.0), (14, 7.0)]


# joins


def ask(rows, *times, **said):
    join = Join(**{"keys": {"customer_id": "customer"}, "features": ("x",), "boundary": "at_or_before", **said})
    spine = [{"customer": "c", "event_timestamp": time} for time in times]
    return [tuple(list(row.values())[2:]) for row in joined(spine, rows, join)]


def test_boundary_offset_and_ttl():
    rows = [feature(10, x=1), feature(20, 25, x=2)]
    assert ask(rows, 9, 10, 24, 25, None) == [(None,), (1,), (1,), (2,), (None,)]
    assert ask(rows, 10, 11, 25, 26, boundary="strictly_before") == [(None,), (1,), (1,), (2,)]
    assert ask(rows, 14, 15, 30, offset=5) == [(None,), (1,), (2,)]
    assert ask(rows, 20, 21, 30, 31, ttl=10) == [(1,), (None,), (2,), (None,)]
    assert ask(rows, 35, 36, ttl=10, offset=5) == [(2,), (None,)]  # the TTL counts from T less the offset
    with pytest.raises(ValueError, match="unknown boundary"):
        ask(rows, 10, boundary="about")


def test_keys_of_roles_and_null_keys():
    rows = [feature(10, x=1), feature(10, key="d", x=2)]
    spine = [
        {"payer": "c", "payee": "d", "event_timestamp": 11},
        {"payer": "c", "payee": "d", "event_timestamp": 11},
        {"payer": None, "payee": "z", "event_timestamp": 11},
    ]
    for role, expected in (("payer", [1, 1, None]), ("payee", [2, 2, None])):
        join = Join({"customer_id": role}, ("x",), "at_or_before", role=role)
        assert [row[f"{role}__x"] for row in joined(spine, rows, join)] == expected


def test_the_end_of_validity_is_asked_of_the_winner():
    rows = [feature(10, x=1, valid_to=None), feature(20, x=2, valid_to=30)]
    assert ask(rows, 15, 20, 29, 30) == [(1,), (2,), (2,), (None,)]  # the row of 10 does not step in
    assert ask(rows, 34, 35, offset=5) == [(2,), (None,)]


def test_a_static_row_stands_in_where_no_dated_row_is_usable():
    static = feature(None, key="c", x=0)
    rows = [static, feature(10, x=1), feature(20, x=2, valid_to=25), feature(40, x=None)]
    assert ask(rows, 9, 10, 20, 25, 41) == [(0,), (1,), (2,), (0,), (None,)]
    assert ask(rows[:2], 15, 16, ttl=5) == [(1,), (0,)]


def test_nulls_skip_takes_the_newest_known_value_of_each_column():
    rows = [feature(10, x=1, y=1), feature(20, x=None, y=2), feature(30, x=None, y=None)]
    both = ("x", "y")
    assert ask(rows, 31, features=both) == [(None, None)]
    assert ask(rows, 31, 35, 45, features=both, skip_nulls=True, ttl=20) == [(None, 2), (None, 2), (None, None)]
    assert ask(rows, 30, 9, features=both, skip_nulls=True) == [(1, 2), (None, None)]
    ended = [feature(10, x=1), feature(20, x=2, valid_to=25), feature(30, x=None)]
    assert ask(ended, 31, skip_nulls=True) == [(None,)]  # the newest known value has ended; an older one is no answer


def test_age_of_state_rows_is_that_of_their_last_event():
    rows = [feature(10, x=1, last_event_timestamp=10), feature(20, x=0, last_event_timestamp=10)]
    rows.append(feature(30, x=0, last_event_timestamp=None))
    said = {"boundary": "strictly_before", "is_state": True, "since_last": "since"}
    assert ask(rows, 10, 15, 25, 31, **said) == [(None, None), (1, 5), (0, 15), (0, None)]
    assert ask(rows, 25, 26, 31, ttl=15, **said) == [(0, 15), (None, None), (None, None)]
    assert ask(rows, 30, offset=5, **said) == [(0, 15)]
    static = [feature(None, x=9)]
    assert ask(static, 30, since_last="since") == [(9, None)]
    assert ask([feature(10, x=1)], 30, since_last="since") == [(1, 20)]


def test_ties_are_decided_by_sequence_and_then_content():
    rows = [feature(10, x=5), feature(10, sequence=1, x=1), feature(10, sequence=1, x=2)]
    assert ask(rows, 10) == [(2,)]
    odd = [feature(10, x=1, z=9), feature(10, x=2, z=3)]
    assert ask(odd, 10, content=("z", "x")) == [(1,)]


def test_rows_beyond_a_watermark():
    spine = [{"event_timestamp": time} for time in (10, 20, 21, None)]
    join = Join({}, (), "strictly_before")
    assert rows_beyond(spine, 20, join) == 1
    assert rows_beyond(spine, None, join) == 3
    assert rows_beyond(spine, 15, Join({}, (), "strictly_before", offset=5)) == 1


# labels


def request(**said):
    defaults = {"keys": {"customer": "customer"}, "spine": PAYMENTS, "label": "y", "kind": "count", "as_of": 999}
    return LabelRequest(**{**defaults, "source": PAYMENTS, **said})


def labels(rows, others=None, **said):
    found = labeled_spine(rows, rows if others is None else others, request(**said))
    return [(row["customer"], row["event_timestamp"], row["y"], row["label_available"]) for row in found]


def test_a_count_label_is_known_at_t_plus_until_plus_lag():
    rows = [payment(10), payment(12), payment(15), payment(20)]
    # (10, 15] holds 12 and 15; (12, 17] holds 15; 15 + 5 + 2 = 22 is behind the watermark of 20
    assert labels(rows, until=5, lag=2) == [("c", 10, 2, 17), ("c", 12, 1, 19)]
    assert labels(rows, until=5, lag=3) == [("c", 10, 2, 18), ("c", 12, 1, 20)]
    assert labels(rows, until=5, lag=4) == [("c", 10, 2, 19)]
    assert labels(rows, after=2, until=5) == [("c", 10, 1, 15), ("c", 12, 1, 17), ("c", 15, 1, 20)]
    assert labels(rows, until=5, as_of=15) == [("c", 10, 2, 15)]


def test_a_late_row_and_a_revision_make_a_label_available_later():
    rows = [payment(10), payment(12, 4.0, available=40), payment(13, 1.0), payment(13, 9.0, available=30), payment(60)]
    assert labels(rows, kind="sum", column="amount", until=5)[0] == ("c", 10, 13.0, 40)
    assert labels(rows, kind="sum", column="amount", until=5, as_of=30)[0] == ("c", 10, 9.0, 30)
    assert labels(rows, kind="sum", column="amount", until=5, as_of=29)[:1] == []  # watermark 13
    moved = [*rows, payment(25, customer="d")]
    assert labels(moved, kind="sum", column="amount", until=5, as_of=29)[0] == ("c", 10, 1.0, 15)


def test_a_removed_row_makes_a_label_available_later_and_the_sum_of_none_is_null():
    source = Source(("id",), ("amount", "ok"), ("number",), filter=lambda row: row["ok"])
    events = [payment(12, 4.0), payment(12, 4.0, ok=False, available=30), payment(50)]
    asked = [payment(10)]
    assert labels(asked, events, kind="sum", column="amount", until=5, source=source) == [("c", 10, None, 30)]
    assert labels(asked, events, until=5, source=source) == [("c", 10, 0, 30)]


def test_a_column_label_is_that_of_the_revision_known_by_as_of():
    rows = [payment(10, fraud=None), payment(10, fraud=True, available=40), payment(20, fraud=False)]
    assert labels(rows, kind="column", column="fraud") == [("c", 10, True, 40), ("c", 20, False, 20)]
    assert labels(rows, kind="column", column="fraud", as_of=39) == [("c", 20, False, 20)]
    assert labels(rows, kind="column", column="fraud", lag=25) == [("c", 10, True, 40)]  # 20 + 25 > 40
    grid = labels([payment(5), payment(30)], until=5, every=Every(5, 5, 20))
    assert [time for _, time, _, _ in grid] == [5, 10, 15]
    with pytest.raises(ValueError, match="a grid has no row"):
        labels(rows, kind="column", column="fraud", every=Every(1, 0, 5))


def test_a_grid_takes_a_key_from_its_first_known_row_on():
    rows = [payment(8, available=12), payment(21), payment(5, customer="d"), payment(30, customer="d")]
    found = labels(rows, until=10, every=Every(5, 0, 25))
    # c begins at 12, with 15; d at 5; 25 is the end of the grid, and 20 + 10 = 30 the watermark
    assert found == [
        ("c", 15, 1, 25),
        ("c", 20, 1, 30),
        ("d", 5, 0, 15),
        ("d", 10, 0, 20),
        ("d", 15, 0, 25),
        ("d", 20, 1, 30),
    ]


def test_time_splits_look_at_t_and_at_the_label():
    def side(time, available):
        row = {"event_timestamp": time, "label_available": available}
        return time_split(row, cuts=(100, 200), embargo=10)

    assert [side(99, 99), side(99, 100), side(100, 101), side(109, 120)] == ["train", "embargo", "embargo", "embargo"]
    assert [side(110, 199), side(190, 200), side(209, 300), side(210, 900)] == [
        "validation",
        "embargo",
        "embargo",
        "test",
    ]


def test_group_splits_keep_a_key_together():
    fractions = {"train": 0.5, "test": 0.5}
    sides = {
        key: {group_split({"k": key, "t": t}, keys=("k",), fractions=fractions, seed=7) for t in range(3)}
        for key in range(40)
    }
    assert all(len(of_key) == 1 for of_key in sides.values())
    assert set().union(*sides.values()) == {"train", "test"}


# online


def test_a_state_view_online_up_to_and_beyond_its_watermark():
    rows = [payment(TEN), payment(TEN + HOUR // 4, customer="d")]
    view = state_view(count_in(HOUR))
    join = Join({"customer_id": "customer"}, ("n",), "strictly_before", ttl=3 * HOUR, is_state=True)
    mark = watermark(rows, PAYMENTS)

    def answer(time, key="c", **said):
        return state_answer({"customer": key}, time, rows, view, join, watermark=mark, **said)

    assert answer(TEN) == ({"n": None}, "missing")
    assert answer(TEN + 1) == ({"n": 1}, "present")
    assert answer(TEN + HOUR + 1) == ({"n": 0}, "present")  # beyond the watermark the window goes on emptying
    assert answer(TEN + 3 * HOUR + 1) == ({"n": None}, "stale")  # past its TTL
    assert answer(TEN + HOUR + 1, "z") == ({"n": None}, "missing")
    assert answer(TEN + HOUR + 1, reach=HOUR // 2) == ({"n": None}, "beyond")
    assert answer(TEN + 3 * HOUR // 4, reach=HOUR // 2) == ({"n": 1}, "present")
    assert answer(TEN + HOUR // 2, reach=HOUR // 2, sla=HOUR // 4) == ({"n": 1}, "present")
    assert answer(TEN + HOUR // 2 + 1, sla=HOUR // 4) == ({"n": 1}, "stale")


def test_other_views_online():
    rows = [feature(10, x=1), feature(20, x=2), feature(40, 25, x=3)]
    join = Join({"customer_id": "customer"}, ("x",), "at_or_before")

    def answer(time, **said):
        return event_answer({"customer": "c"}, time, rows, join, exported_at=30, **said)

    assert answer(30) == ({"x": 2}, "present")
    assert answer(40) == ({"x": 3}, "present")  # known at the export, usable from its event on
    assert answer(15) == ({"x": None}, "missing")  # the store holds the newest row alone
    assert answer(36, sla=5) == ({"x": 2}, "stale")
