"""Clusters of earlier fails, 8-connected, kept up to date as dies begin and cease to fail."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.kernel import Kernel
from fs_spark.kernels.replay import Lattice

Int32 = NDArray[np.int32]

COLUMNS: Final = ("fail__cluster_size",)

_AROUND: Final = np.array([0, 1, 2, 4, 7, 6, 5, 3])
"""Indices into KING_MOVES once around the die, from a corner; odd places are sides."""


class ClusterState(NamedTuple):
    """Labels of the failing dies, and the dies of each label.

    Shapes     label, size (d,): of a die its label, -1 = not failing; of a label its dies, 0 = free; free (d + 1,): the
               labels not in use, their number last; stamp (d,), counter (1,), queue (4, d): for searches
    """

    label: Int32
    size: Int32
    free: Int32
    stamp: NDArray[np.int64]
    counter: NDArray[np.int64]
    queue: Int32


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
    )


@njit(cache=True)
def _take_label(state: Any) -> Any:
    state.free[-1] -= 1
    return state.free[state.free[-1]]


@njit(cache=True)
def _give_label(state: Any, label: Any) -> None:
    state.free[state.free[-1]] = label
    state.free[-1] += 1


@njit(cache=True)
def _relabel(lattice: Any, state: Any, seed: Any, label: Any) -> None:
    """Gives the cluster of `seed` another label."""
    old = state.label[seed]
    queue = state.queue[0]
    queue[0] = seed
    state.label[seed] = label
    head, tail = 0, 1
    while head < tail:
        die = queue[head]
        head += 1
        for k in range(8):
            other = lattice.king[die, k]
            if other >= 0 and state.label[other] == old:
                state.label[other] = label
                queue[tail] = other
                tail += 1
    state.size[label] += state.size[old]
    state.size[old] = 0
    _give_label(state, old)


@njit(cache=True)
def _begin_to_fail(lattice: Any, state: Any, die: Any) -> None:
    most = -1
    for k in range(8):
        other = lattice.king[die, k]
        if other >= 0 and state.label[other] >= 0:
            label = state.label[other]
            if most < 0 or state.size[label] > state.size[most]:
                most = label
    if most < 0:
        most = _take_label(state)
    for k in range(8):
        other = lattice.king[die, k]
        if other >= 0 and state.label[other] >= 0 and state.label[other] != most:
            _relabel(lattice, state, other, most)
    state.label[die] = most
    state.size[most] += 1


@njit(cache=True)
def _seeds(lattice: Any, state: Any, die: Any, seeds: Any) -> Any:
    """One failing neighbor of each group that holds together around the die."""
    group = np.full(8, -1, np.int64)
    for k in range(8):
        other = lattice.king[die, _AROUND[k]]
        if other >= 0 and state.label[other] >= 0:
            group[k] = k
    for _ in range(8):
        for k in range(8):
            for reach in (1, 2):
                j = (k + reach) % 8
                joined = reach == 1 or k % 2 == 1  # two sides touch over the corner between them
                if joined and group[k] >= 0 and group[j] >= 0:
                    least = min(group[k], group[j])
                    group[k], group[j] = least, least
    found = 0
    for k in range(8):
        if group[k] == k:
            seeds[found] = lattice.king[die, _AROUND[k]]
            found += 1
    return found


@njit(cache=True)
def _cease_to_fail(lattice: Any, state: Any, die: Any) -> None:
    """Takes a die out of its cluster; what falls apart is found by searches in lock step from all sides."""
    label = state.label[die]
    state.label[die] = -1
    state.size[label] -= 1
    if state.size[label] == 0:
        _give_label(state, label)
        return
    seeds = np.empty(4, np.int32)
    count = _seeds(lattice, state, die, seeds)
    if count <= 1:
        return
    base = state.counter[0] + 1
    state.counter[0] += 4
    heads, tails = np.zeros(4, np.int64), np.zeros(4, np.int64)
    leader = np.arange(4)
    for s in range(count):
        state.queue[s, 0] = seeds[s]
        tails[s] = 1
        state.stamp[seeds[s]] = base + s
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
            at = state.queue[s, heads[s]]
            heads[s] += 1
            for k in range(8):
                other = lattice.king[at, k]
                if other < 0 or state.label[other] != label:
                    continue
                if state.stamp[other] < base:
                    state.stamp[other] = base + s
                    state.queue[s, tails[s]] = other
                    tails[s] += 1
                elif leader[state.stamp[other] - base] != leader[s]:
                    gone, kept = leader[state.stamp[other] - base], leader[s]
                    for t in range(count):
                        if leader[t] == gone:
                            leader[t] = kept
    for s in range(count):
        if leader[s] != s:
            continue
        exhausted = True
        for other in range(count):
            exhausted &= leader[other] != s or heads[other] == tails[other]
        if not exhausted:
            continue
        members = 0
        for other in range(count):
            members += tails[other] if leader[other] == s else 0
        if members == state.size[label]:  # it is all there is
            continue
        fresh = _take_label(state)
        for other in range(count):
            if leader[other] == s:
                for k in range(tails[other]):
                    state.label[state.queue[other, k]] = fresh
        state.size[fresh] = members
        state.size[label] -= members


@njit(cache=True)
def query(lattice: Any, replay: Any, state: Any, first: Any, last: Any, out: Any) -> None:
    """Columns of the attempts [first, last): the largest cluster with one of the die's neighbors, 0 without.

    Shapes     out (1, n) by COLUMNS
    """
    for i in range(first, last):
        die = replay.die[i]
        most = 0
        for k in range(8):
            other = lattice.king[die, k]
            if other >= 0 and state.label[other] >= 0:
                most = max(most, state.size[state.label[other]])
        out[0, i] = most


@njit(cache=True)
def push(lattice: Any, replay: Any, state: Any, first: Any, last: Any) -> None:
    """Takes the attempts [first, last) in."""
    for j in range(first, last):
        if replay.known[j]:
            die = replay.die[j]
            fails = replay.outcome[j] == 0
            if fails and state.label[die] < 0:
                _begin_to_fail(lattice, state, die)
            elif not fails and state.label[die] >= 0:
                _cease_to_fail(lattice, state, die)


@njit(cache=True)
def walk(lattice: Any, replay: Any, state: Any, out: Any) -> None:
    """The whole replay: each instant is asked, then told."""
    for k in range(len(replay.instants) - 1):
        query(lattice, replay, state, replay.instants[k], replay.instants[k + 1], out)
        push(lattice, replay, state, replay.instants[k], replay.instants[k + 1])


KERNEL: Final = Kernel(revision=1, columns=COLUMNS, new_state=new_state, query=query, push=push, walk=walk)
