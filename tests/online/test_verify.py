"""What a comparison of two values says, byte by byte."""

from __future__ import annotations

import dataclasses

from fs_spark.online.codec import row_codec
from fs_spark.online.values import head
from fs_spark.online.verify import _difference
from tests.online.samples import LOTS

EVENTS = dataclasses.replace(LOTS, boundary="at_or_before")
ROWS = [row_codec(EVENTS.stored).encode([at, at, None, "a"]) for at in (10, 20, 30)]


def test_any_byte_that_differs_is_found() -> None:
    wanted = head(5, 7) + ROWS[0] + ROWS[1]
    assert _difference(EVENTS, wanted, wanted) is None
    for place in range(8, len(wanted)):
        spoiled = wanted[:place] + bytes([wanted[place] ^ 1]) + wanted[place + 1 :]
        assert _difference(EVENTS, wanted, spoiled) in ("different", "unreadable"), place


def test_kinds_of_differences() -> None:
    wanted = head(5) + ROWS[1]
    assert _difference(EVENTS, wanted, None) == "missing"
    assert _difference(EVENTS, wanted, head(5)) == "missing"
    assert _difference(EVENTS, wanted, wanted[:3]) == "unreadable"
    assert _difference(EVENTS, wanted, wanted[:-1]) == "unreadable"
    assert _difference(EVENTS, wanted, head(6) + ROWS[1]) == "newer"
    assert _difference(EVENTS, wanted, head(5) + ROWS[1] + ROWS[2]) == "different"
    assert _difference(EVENTS, wanted, head(4) + ROWS[0] + ROWS[1]) is None  # of an earlier export: a row of before


def test_states_reach_at_least_as_far_as_is_said() -> None:
    states = dataclasses.replace(EVENTS, until_us=20)
    assert _difference(states, head(5) + ROWS[1], head(5, 9) + ROWS[1] + ROWS[2]) is None
    assert _difference(states, head(5) + ROWS[1], head(5) + ROWS[2]) == "different"
