"""Attempts in their one order: event time, run, part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fs_spark.errors import SchemaError
from fs_spark.features.attempts import UnitAttempts

Place = tuple[int, int, int]


def attempts_of(places: list[Place]) -> UnitAttempts:
    event, run, part = np.array(places, np.int64).reshape(-1, 3).T
    mark = np.arange(len(places))
    missing = np.full(len(places), -1, np.int32)
    return UnitAttempts(
        x=mark, y=mark, event_us=event, available_us=event, run=run.astype(np.int32), part=part, sequence=mark,
        outcome=missing.astype(np.int8), hard_bin=missing, site=missing, values=mark[None].astype(np.float64),
    )  # fmt: skip


def order_of(attempts: UnitAttempts) -> list[tuple[int, ...]]:
    columns = (attempts.event_us, attempts.run, attempts.part, attempts.x, attempts.values[0])
    return [tuple(int(value) for value in row) for row in zip(*columns, strict=True)]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 5)), max_size=12, unique=True),
    st.sampled_from(["as they come", "by part", "by time"]),
)
def test_attempts_are_sorted_by_time_run_and_part(places: list[Place], given_in: str) -> None:
    if given_in == "by part":
        places = sorted(places, key=lambda place: (place[1], place[2], place[0]))
    elif given_in == "by time":
        places = sorted(places)
    expected = [(*place, places.index(place), places.index(place)) for place in sorted(places)]
    assert order_of(attempts_of(places).in_order()) == expected


@pytest.mark.parametrize("places", [[(1, 0, 1), (1, 0, 1)], [(2, 0, 1), (1, 0, 1), (2, 0, 1)]])
def test_an_attempt_that_is_there_twice_is_refused(places: list[Place]) -> None:
    with pytest.raises(SchemaError, match="there twice"):
        attempts_of(places).in_order()
