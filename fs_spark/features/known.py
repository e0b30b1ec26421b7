"""Knowledge: which rows a view writes where results become known later than they were made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Known = Literal["at_event", "all"]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Feature rows: of which attempt or die, known when, and their values (columns, rows)."""

    of: Int64
    available_us: Int64
    values: Float64
    event_us: Int64 | None = None
    """Where it is not the attempt's own."""

    @classmethod
    def none(cls, columns: int) -> Rows:
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((columns, 0)), np.zeros(0, np.int64))


def joined(pieces: Sequence[Rows], columns: int) -> Rows:
    """One after the other."""
    if len(pieces) == 1:
        return pieces[0]
    if not pieces:
        return Rows.none(columns)
    events = [piece.event_us for piece in pieces if piece.event_us is not None]
    return Rows(
        np.concatenate([piece.of for piece in pieces]),
        np.concatenate([piece.available_us for piece in pieces]),
        np.concatenate([piece.values for piece in pieces], axis=1),
        np.concatenate(events) if events else None,
    )


def changed(now: Float64, before: Float64) -> Bools:
    """Which rows differ in a column; NaN equals NaN. Shapes (c, n), (c, n) -> (n,)."""
    return np.asarray(((now != before) & ~(np.isnan(now) & np.isnan(before))).any(axis=0))


def rows_by_knowledge(
    evaluate: Callable[[Bools], Float64], event_us: Int64, available_us: Int64, base_us: Int64, known: Known
) -> list[Rows]:
    """The row of each attempt at its base time, and with `known="all"` one for each later time that changes it.

    Where results are known as they are made, one replay gives all rows. Otherwise the wafer is replayed once for each
    time at which late results become known, with what was known by then; a replay in the order of events is right for
    every row whose time of knowledge lies before the next such time.

    Shapes     evaluate: which attempts are told (n,) -> (c, n); times (n,) in the order of the attempts
    """
    late = available_us > event_us
    everything = np.arange(len(event_us))
    if not late.any():
        return [Rows(everything, base_us, evaluate(~late))]
    moments = np.unique(available_us[late])
    base_epoch = np.searchsorted(moments, base_us, side="right")
    pieces: list[Rows] = []
    last: Float64 | None = None
    for epoch in range(len(moments) + 1):
        if known == "at_event" and not (base_epoch >= epoch).any():
            break
        told = ~late if epoch == 0 else ~late | (available_us <= moments[epoch - 1])
        values = evaluate(told)
        last = values.copy() if last is None else last
        first = base_epoch == epoch
        pieces.append(Rows(everything[first], base_us[first], values[:, first]))
        if epoch and known == "all":
            again = (base_epoch < epoch) & changed(values, last)
            moment = np.full(int(again.sum()), moments[epoch - 1])
            pieces.append(Rows(everything[again], moment, values[:, again]))
        last = values
    return [piece for piece in pieces if len(piece.of)]


@dataclass(frozen=True)
class End:
    """An end of a wafer's runs: what is told of it at a time of knowledge, attempts (n,)."""

    event_us: int
    available_us: int
    told: Bools


def ends_by_knowledge(run: NDArray[np.int32], event_us: Int64, available_us: Int64) -> list[list[End]]:
    """For each distinct end of a run, the states of knowledge about it: first its own, then each later one.

    A run has ended with its last touchdown, and counts from when all its attempts are available.
    """
    runs = np.unique(run)
    end = {int(r): int(event_us[run == r].max()) for r in runs}
    known = {int(r): int(available_us[run == r].max()) for r in runs}
    found = []
    for event in sorted(set(end.values())):
        ended = [r for r in end if end[r] <= event]
        first = min(known[r] for r in ended if end[r] == event)
        moments = sorted({first} | {known[r] for r in ended if known[r] > first})
        found.append(
            [
                End(event, max(moment, event), np.isin(run, [r for r in ended if known[r] <= moment]))
                for moment in moments
            ]
        )
    return found
