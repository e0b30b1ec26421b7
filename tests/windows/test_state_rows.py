"""State rows of random histories, to the bit against loops over instants; and what the rows promise."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fs_spark.kernels import sliding, sliding_ewm
from fs_spark.kernels.sliding import NEVER, NONE, Feature, History, StateRows, Window, state_rows
from tests.oracles import windows as oracle
from tests.windows.histories import VALUES, Group, history_of, listed, numbers, plain, random_groups

FOREVER = 1 << 61
WINDOWS = (
    Window(span_us=30),
    Window(where=1, span_us=100),
    Window(span_us=200, last=3),
    Window(where=1, last=2),
    Window(),
    Window(where=1, span_us=70, last=4),
)
OF_VALUES = ("count", "sum", "mean", "std", "min", "max", "median", "slope", "distinct", "first", "last")
OF_CODES = ("count", "distinct", "first", "last")


def every_feature(windows: tuple[Window, ...] = WINDOWS) -> list[Feature]:
    found = []
    for w in range(len(windows)):
        found.append(Feature(w, "rows"))
        for c in range(2):
            found += [Feature(w, statistic, c) for statistic in OF_VALUES]  # type: ignore[arg-type]
            found += [Feature(w, "quantile", c, 0.3), Feature(w, "quantile", c, 0.95), Feature(w, "ewm", c, 25)]
            found += [Feature(w, statistic, c, coded=True) for statistic in OF_CODES]  # type: ignore[arg-type]
            found += [Feature(w, "share", c, 5, coded=True), Feature(w, "share", c, 9, coded=True)]
    return found


def weight(t: int, last: int, half_life: int) -> float:
    """As the kernel's table gives it; that is judged in `test_powers`."""
    m, k = sliding_ewm.powers(np.array([t, last]), half_life, sliding_ewm._ROOTS)
    return math.ldexp(m[0], int(k[0] - k[1]))


def found_and_wanted(
    groups: list[Group], features: list[Feature], from_us: int, until_us: int
) -> tuple[list[Any], list[Any]]:
    found = state_rows(history_of(groups), windows=WINDOWS, features=features, from_us=from_us, until_us=until_us)
    windows, plainly = plain(WINDOWS, features)
    return listed(found), numbers(oracle.state_rows(groups, windows, plainly, from_us, until_us, weight))


@pytest.mark.parametrize("seed", range(60))
def test_rows_are_those_of_the_loops(seed: int) -> None:
    r = random.Random(seed)
    features = every_feature() if seed % 6 == 0 else r.sample(every_feature(), r.randint(1, 6))
    from_us, until_us = r.choice([-FOREVER, 50, 120, 250]), r.choice([FOREVER, 150, 300, 500])
    found, wanted = found_and_wanted(random_groups(seed), features, from_us, until_us)
    assert found == wanted


@pytest.mark.parametrize("kind", VALUES)
def test_all_kinds_of_values(kind: str) -> None:
    """Equal ones, steps, neighbors on the line of doubles, subnormal ones, and such as have no square."""
    features = [Feature(w, s, c) for w in (1, 2, 4) for c in (0, 1) for s in ("mean", "std", "slope", "median", "ewm")]  # type: ignore[arg-type]
    features = [replace(f, parameter=17) if f.statistic == "ewm" else f for f in features]
    for seed in range(8):
        groups = random_groups(seed, kind=kind, rows=25, tick=(1, 10**9, 86_400_000_000)[seed % 3])
        found, wanted = found_and_wanted(groups, features, -FOREVER, FOREVER)
        assert found == wanted


def test_one_payment_and_one_hour() -> None:
    """At 10:00 it is 1 from then on, at 11:00 it has left."""
    group: Group = {"rows": [_row(10, 1.0)], "earlier": None}
    found = _rows([group], [Window(span_us=1)], [Feature(0, "rows"), Feature(0, "sum", 0)])
    assert listed(found) == [(0, 10, 10, [1.0, 1.0]), (0, 11, 10, [0.0, None])]


def _row(event: int, value: float, *, start: int | None = None, end: int = NEVER) -> dict[str, Any]:
    start = event if start is None else start
    version = {"start": start, "end": end, "number": 0, "values": [value, value], "codes": [None, None]}
    return {"event": event, "versions": [{**version, "keep": [True, True]}]}


def _rows(groups: list[Group], windows: list[Window], features: list[Feature], until: int = FOREVER) -> StateRows:
    return state_rows(history_of(groups), windows=windows, features=features, from_us=-FOREVER, until_us=until)


def test_what_is_known_after_its_window_never_enters_but_begins_a_group() -> None:
    group: Group = {"rows": [_row(10, 1.0, start=30)], "earlier": None}
    found = _rows([group], [Window(span_us=20), Window(span_us=20, last=5)], [Feature(0, "rows"), Feature(1, "rows")])
    assert listed(found) == [(0, 30, 10, [0.0, 0.0])]


def test_a_late_row_pushes_out_the_oldest_and_an_end_lets_it_back_in() -> None:
    rows = [_row(1, 1.0), _row(2, 2.0, start=4, end=6), _row(3, 3.0)]
    found = _rows([{"rows": rows, "earlier": None}], [Window(last=2)], [Feature(0, "sum", 0)])
    assert listed(found) == [(0, 1, 1, [1.0]), (0, 3, 3, [4.0]), (0, 4, 3, [5.0]), (0, 6, 3, [4.0])]


def test_a_group_of_before_is_compared_with_what_it_held() -> None:
    """Nothing is written where a late row changes no column; a new group is written even if it holds nothing."""
    rows = [_row(10, math.nan, start=50)]
    features = [Feature(0, "count", 0)]
    assert listed(_rows([{"rows": rows, "earlier": 20}], [Window(span_us=5)], features)) == []
    assert listed(_rows([{"rows": rows, "earlier": None}], [Window(span_us=5)], features)) == [(0, 50, 10, [0.0])]


def test_nothing_is_written_beyond_the_watermark() -> None:
    group: Group = {"rows": [_row(10, 1.0)], "earlier": None}
    assert [row[1] for row in listed(_rows([group], [Window(span_us=5)], [Feature(0, "rows")], until=15))] == [10, 15]
    assert [row[1] for row in listed(_rows([group], [Window(span_us=5)], [Feature(0, "rows")], until=14))] == [10]


def test_all_that_is_withdrawn_leaves_no_newest_row() -> None:
    group: Group = {"rows": [_row(10, 1.0, end=12)], "earlier": None}
    found = _rows([group], [Window(span_us=5)], [Feature(0, "rows")])
    assert found.last_event_us.tolist() == [10, NONE]
    assert found.columns[0].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("seed", range(20))
def test_rows_do_not_depend_on_where_the_computation_began(seed: int) -> None:
    """Rows of one window's look-back give what all rows give; the earlier ones are said by their newest event."""
    groups = random_groups(seed, rows=40, groups=2)
    windows = [Window(span_us=30), Window(where=1, span_us=70), Window(span_us=70, last=4)]
    features = [f for f in every_feature() if f.window < 3]
    from_us, reach = 150, 70
    whole = state_rows(history_of(groups), windows=windows, features=features, from_us=from_us, until_us=FOREVER)
    cut: list[Group] = []
    for group in groups:
        kept, gone = [], [] if group["earlier"] is None else [group["earlier"]]
        for row in group["rows"]:
            settled = all(v["start"] < from_us and v["end"] in (NEVER,) for v in row["versions"])
            if row["event"] + reach < from_us and settled:
                gone.append(row["event"])
            else:
                kept.append(row)
        cut.append({"rows": kept, "earlier": max(gone, default=None)})
    assert sum(len(g["rows"]) for g in cut) < sum(len(g["rows"]) for g in groups)
    part = state_rows(history_of(cut), windows=windows, features=features, from_us=from_us, until_us=FOREVER)
    assert numbered(part, cut) == numbered(whole, groups)


def numbered(found: StateRows, groups: list[Group]) -> list[tuple[Any, ...]]:
    """`first` and `last` by the number that a version has in its group, wherever it stands."""
    number = [v["number"] for group in groups for row in group["rows"] for v in row["versions"]]
    return [
        (*row[:3], [number[x] if isinstance(x, int) else x for x in row[3]])
        for row in listed(found)
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_groups_do_not_depend_on_each_other(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    groups, features = random_groups(seed, groups=7), every_feature()
    together = listed(_rows(groups, list(WINDOWS), features))
    monkeypatch.setattr(sliding, "VERSIONS_AT_ONCE", 1)
    assert listed(_rows(groups, list(WINDOWS), features)) == together
    alone, base = [], 0
    for k, group in enumerate(groups):
        for _, u, last, values in listed(_rows([group], list(WINDOWS), features)):
            alone.append((k, u, last, [x + base if isinstance(x, int) else x for x in values]))
        base += sum(len(row["versions"]) for row in group["rows"])
    assert alone == together


@pytest.mark.parametrize("seed", range(10))
def test_each_row_says_something_new(seed: int) -> None:
    rows = listed(_rows(random_groups(seed), list(WINDOWS), [f for f in every_feature() if f.window in (0, 2)]))
    for before, after in pairwise(rows):
        assert before[0] != after[0] or before[2:] != after[2:]
        assert before[:2] < after[:2]


@pytest.mark.parametrize("seed", range(10))
def test_no_statistic_depends_on_the_origin_of_times(seed: int) -> None:
    groups, by = random_groups(seed), 1_700_000_000_123_457
    features = [f for f in every_feature() if f.statistic != "ewm"]
    history = history_of(groups)
    there = np.where(history.end_us == NEVER, NEVER, history.end_us + by)
    earlier = np.where(history.earlier_event_us == NONE, NONE, history.earlier_event_us + by)
    moved = replace(
        history, event_us=history.event_us + by, start_us=history.start_us + by, end_us=there, earlier_event_us=earlier
    )
    a, b = (
        state_rows(h, windows=WINDOWS, features=features, from_us=-FOREVER, until_us=FOREVER) for h in (history, moved)
    )
    assert (a.instant_us + by).tolist() == b.instant_us.tolist()
    for one, other in zip(a.columns, b.columns, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_groups_rows_or_features() -> None:
    empty: list[list[Group]] = [[], [{"rows": [], "earlier": None}], [{"rows": [], "earlier": 7}]]
    for groups in empty:
        found = _rows(groups, list(WINDOWS), every_feature())
        assert listed(found) == []
        assert len(found.columns) == len(every_feature())
    found = _rows([{"rows": [_row(1, 1.0)], "earlier": None}], [], [])
    assert (found.instant_us.tolist(), found.columns) == ([1], ())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"edges": np.array([0, 1])}, "edges must rise"),
        ({"event_us": np.array([9, 5])}, "sorted by event"),
        ({"start_us": np.array([0, 5])}, "before its row's event"),
        ({"row": np.array([1, 0])}, "sorted by row"),
        ({"row": np.array([0, 0])}, "must not overlap"),
        ({"values": np.zeros((2, 3))}, "values must have one entry"),
        ({"keep": np.zeros((1, 2), bool)}, "true everywhere"),
        ({"earlier_event_us": np.zeros(2, np.int64)}, "earlier_event_us must"),
    ],
)
def test_a_history_that_is_none_is_refused(change: dict[str, Any], text: str) -> None:
    good = history_of([{"rows": [_row(1, 1.0), _row(5, 1.0)], "earlier": None}])
    with pytest.raises(ValueError, match=text):
        state_rows(replace(good, **change), windows=[Window()], features=[], from_us=0, until_us=9)


@pytest.mark.parametrize(
    ("window", "feature", "text"),
    [
        (Window(where=2), Feature(0, "rows"), "where 2"),
        (Window(span_us=0), Feature(0, "rows"), "positive span"),
        (Window(last=0), Feature(0, "rows"), "positive"),
        (Window(), Feature(1, "rows"), "window that does not exist"),
        (Window(), Feature(0, "sum"), "column that does not exist"),
        (Window(), Feature(0, "mean", 0, coded=True), "not a statistic of codes"),
        (Window(), Feature(0, "share", 0, 1), "not a statistic of values"),
        (Window(), Feature(0, "quantile", 0), "share from 0 to 1"),
        (Window(), Feature(0, "ewm", 0), "half-life"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(window: Window, feature: Feature, text: str) -> None:
    history: History = history_of([{"rows": [_row(1, 1.0)], "earlier": None}])
    with pytest.raises(ValueError, match=text):
        state_rows(history, windows=[window], features=[feature], from_us=0, until_us=9)
