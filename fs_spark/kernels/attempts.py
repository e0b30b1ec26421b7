"""The order of attempts on one wafer, and for each die its attempts one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts of one wafer and insertion in their one order (`event_us`, run, part).

    Shapes     die (n,): index into `dies`; dies (d, 2) of (x, y); table (d, k): the die's attempts in order, -1 = none
    """

    event_us: Int64
    available_us: Int64
    die: Int64
    dies: Int64
    table: Int64

    @classmethod
    def of(cls, x: Int64, y: Int64, event_us: Int64, available_us: Int64) -> Attempts:
        """From attempts that are already in order."""
        dies, die = np.unique(np.stack([x, y], axis=1), axis=0, return_inverse=True)
        die = die.reshape(-1)
        order = np.argsort(die, kind="stable")
        counts = np.bincount(die, minlength=len(dies))
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(dies) else np.zeros(0, np.int64)
        table = np.full((len(dies), int(counts.max(initial=0))), -1, np.int64)
        table[die[order], np.arange(len(die)) - starts[die[order]]] = order
        return cls(event_us, available_us, die, dies, table)

    def find(self, x: Int64, y: Int64) -> Int64:
        """Index of the die at each place, -1 where none was tested, same shape as `x`."""
        if not len(self.dies):
            return np.full(x.shape, -1, np.int64)
        low = self.dies.min(axis=0)
        span = self.dies.max(axis=0) - low + 1
        inside = (x >= low[0]) & (x < low[0] + span[0]) & (y >= low[1]) & (y < low[1] + span[1])
        key = (x - low[0]) * span[1] + (y - low[1])
        known = (self.dies[:, 0] - low[0]) * span[1] + (self.dies[:, 1] - low[1])
        at = np.clip(np.searchsorted(known, key), 0, len(known) - 1)
        return np.where(inside & (known[at] == key), at, -1)

    def latest(self, die: Int64, before_us: Int64, known_us: Int64) -> Int64:
        """The latest attempt of each die that ended strictly before and was available at or before; -1 = none.

        Shapes     die (n, m), before_us and known_us (n,)  ->  (n, m)
        """
        chosen = np.full(die.shape, -1, np.int64)
        before, known = before_us[:, None], known_us[:, None]
        for k in range(self.table.shape[1]):
            attempt = np.where(die >= 0, self.table[die, k], -1)
            there = attempt >= 0
            usable = there & (self.event_us[attempt] < before) & (self.available_us[attempt] <= known)
            chosen = np.where(usable, attempt, chosen)
        return chosen
