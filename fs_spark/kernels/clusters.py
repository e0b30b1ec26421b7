"""Clusters of earlier fails, 8-connected, kept up to date as dies begin and cease to fail."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from fs_spark.compiled import njit
from fs_spark.kernels.kernel import Kernel
from fs_spark.kernels.replay import Float64, Int32, Int64, Lattice, Replay

COLUMNS: Final = ("fail__cluster_size",)

_AROUND: Final = np.array([0, 1, 2, 4, 7, 6, 5, 3])
"""Indices into KING_MOVES once around the die, from a corner; odd places are sides."""


class ClusterState(NamedTuple):
    """Labels of the failing dies, and the dies of each label.

    Shapes     label, size (d,): of a die its label, -1 = not failing; of a label its dies, 0 = free; free (d + 1,): the
               labels not in use, their number last; stamp (d,), counter (1,), queue (4, d), room (5, 8): for searches
    """

    label: Int32
    size: Int32
    free: Int32
    stamp: Int64
    counter: Int64
    queue: Int32
    room: Int64


def new_state(lattice: Lattice) -> ClusterState:
    """No fail yet."""
    dies = len(lattice.x)
    return ClusterState(
        np.full(dies, -1, np.int32),
        np.zeros(dies, np.int32),
        np.append(np.arange(dies, dtype=np.int32)[::-1], np.int32(dies)),
        np.zeros(dies, np.int64),
        np.zeros(1, np.int64),
        np.zeros((4, dies), np.int32),
        np.zeros((5, 8), np.int64),
    )


@njit(inner=True)
def _begin_to_fail(king: Any, label: Any, size: Any, free: Any, queue: Any, die: Any) -> None:
    """Puts a die into the largest of the clusters around it, and the others with it."""
    most = -1
    for k in range(8):
        other = king[die, k]
        if other >= 0 and label[other] >= 0 and (most < 0 or size[label[other]] > size[most]):
            most = label[other]
    dies = len(label)
    if most < 0:
        free[dies] -= 1
        most = free[free[dies]]
    for k in range(8):
        seed = king[die, k]
        if seed < 0 or label[seed] < 0 or label[seed] == most:
            continue
        old = label[seed]
        queue[0, 0] = seed
        label[seed] = most
        head, tail = 0, 1
        while head < tail:
            at = queue[0, head]
            head += 1
            for j in range(8):
                other = king[at, j]
                if other >= 0 and label[other] == old:
                    label[other] = most
                    queue[0, tail] = other
                    tail += 1
        size[most] += size[old]
        size[old] = 0
        free[free[dies]] = old
        free[dies] += 1
    label[die] = most
    size[most] += 1


@njit(inner=True)
def _cease_to_fail(
    king: Any, label: Any, size: Any, free: Any, stamp: Any, counter: Any, queue: Any, room: Any, die: Any
) -> None:
    """Takes a die out of its cluster; what falls apart is found by searches in lock step from all sides."""
    own = label[die]
    dies = len(label)
    label[die] = -1
    size[own] -= 1
    if size[own] == 0:
        free[free[dies]] = own
        free[dies] += 1
        return
    # one failing neighbor of each group that holds together around the die
    group, seeds, heads, tails, leader = room[0], room[1], room[2], room[3], room[4]
    for k in range(8):
        other = king[die, _AROUND[k]]
        group[k] = k if other >= 0 and label[other] >= 0 else -1
    for _ in range(8):
        for k in range(8):
            for reach in range(1, 2 + k % 2):  # two sides touch over the corner between them
                j = (k + reach) % 8
                if group[k] >= 0 and group[j] >= 0:
                    least = group[k] if group[k] < group[j] else group[j]
                    group[k] = least
                    group[j] = least
    count = 0
    for k in range(8):
        if group[k] == k:
            seeds[count] = king[die, _AROUND[k]]
            count += 1
    if count <= 1:
        return
    base = counter[0] + 1
    counter[0] += 4
    for s in range(count):
        queue[s, 0] = seeds[s]
        heads[s] = 0
        tails[s] = 1
        leader[s] = s
        stamp[seeds[s]] = base + s
    while True:
        open_groups = 0
        for s in range(count):
            is_open = False
            for other in range(count):
                is_open |= leader[other] == s and heads[other] < tails[other]
            open_groups += leader[s] == s and is_open
        if open_groups <= 1:
            break
        for s in range(count):
            if heads[s] == tails[s]:
                continue
            at = queue[s, heads[s]]
            heads[s] += 1
            for k in range(8):
                beside = king[at, k]
                if beside < 0 or label[beside] != own:
                    continue
                if stamp[beside] < base:
                    stamp[beside] = base + s
                    queue[s, tails[s]] = beside
                    tails[s] += 1
                elif leader[stamp[beside] - base] != leader[s]:
                    gone, kept = leader[stamp[beside] - base], leader[s]
                    for t in range(count):
                        if leader[t] == gone:
                            leader[t] = kept
    for s in range(count):
        if leader[s] != s:
            continue
        members = 0
        exhausted = True
        for other in range(count):
            if leader[other] == s:
                exhausted &= heads[other] == tails[other]
                members += tails[other]
        if not exhausted or members == size[own]:  # the rest, or all there is
            continue
        free[dies] -= 1
        fresh = free[free[dies]]
        for other in range(count):
            if leader[other] == s:
                for k in range(tails[other]):
                    label[queue[other, k]] = fresh
        size[fresh] = members
        size[own] -= members


@njit(cache=True)
def _run(
    king: Any, die_of: Any, known: Any, outcome_of: Any, label: Any, size: Any, free: Any, stamp: Any, counter: Any,
    queue: Any, room: Any, bounds: Any, ask: Any, tell: Any, out: Any,
) -> None:  # fmt: skip
    for instant in range(len(bounds) - 1):
        first, last = bounds[instant], bounds[instant + 1]
        for i in range(first, last if ask else first):
            die = die_of[i]
            most = 0
            for k in range(8):
                other = king[die, k]
                if other >= 0 and label[other] >= 0 and size[label[other]] > most:
                    most = size[label[other]]
            out[0, i] = most
        for j in range(first, last if tell else first):
            if known[j]:
                die = die_of[j]
                fails = outcome_of[j] == 0
                if fails and label[die] < 0:
                    _begin_to_fail(king, label, size, free, queue, die)
                elif not fails and label[die] >= 0:
                    _cease_to_fail(king, label, size, free, stamp, counter, queue, room, die)


def run(
    lattice: Lattice, replay: Replay, state: ClusterState, bounds: Int64, ask: bool, tell: bool, out: Float64
) -> None:
    """As `Kernel.run`: the largest cluster with one of the die's neighbors, 0 without.

    Shapes     out (1, n) by COLUMNS
    """
    _run(lattice.king, replay.die, replay.known, replay.outcome, *state, bounds, ask, tell, out)


KERNEL: Final = Kernel(revision=1, columns=COLUMNS, new_state=new_state, run=run)
