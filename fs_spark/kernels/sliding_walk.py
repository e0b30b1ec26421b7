"""The instants of groups at which what a window holds changes, and what comes and goes at each."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fs_spark.compiled import njit
from fs_spark.kernels.sliding_order import count_in, find, power_of_two

Int64 = NDArray[np.int64]

NEVER: Final = np.iinfo(np.int64).max
NONE: Final = np.iinfo(np.int64).min


class Log(NamedTuple):
    """What came into one window and left it.

    A group's first state, with instant -1, is what was known just before the first instant that is written; each other
    one begins at an instant.

    Shapes     ops (p,): a version that comes, ~version for one that goes; begin (s + 1,): ops [begin[k], begin[k + 1])
               lead to state k; instant (s,)
    """

    ops: Int64
    begin: Int64
    instant: Int64


@njit(cache=True)
def _pushed(tree: Any, size: Any, at: Any, held: Any, most: Any, sign: Any) -> Any:
    """Adds or takes a place among `held` ones; the highest place that is not among the last `most`, -1 = none."""
    if sign > 0:
        count_in(tree, at, size, sign)
        held += 1
    pushed = np.int64(-1)
    if held > most:
        pushed, _ = find(tree, size, held - most - 1)
    if sign < 0:
        count_in(tree, at, size, sign)
    return pushed


@njit(cache=True)
def walk(
    edges: Any, event_us: Any, start_us: Any, end_us: Any, keep: Any, by_start: Any, by_end: Any, end_edges: Any,
    where: Any, span_us: Any, most: Any, earlier_us: Any, from_us: Any, until_us: Any,
    trees: Any, state: Any, ops: Any, begin: Any, instant: Any, sizes: Any, rows: Any, written: Any,
) -> Any:  # fmt: skip
    """Fills the windows' logs and the instants; gives the number of instants.

    Shapes     edges (g + 1,) over versions; event_us, start_us, end_us, by_start (v,); keep (m, v); by_end (e,): the
               versions that end, by group and end; end_edges (g + 1,) over these; where, span_us, most (w,), `most` 0 =
               all rows; earlier_us (g,); ops (w, p), begin, instant (w, s): room for logs; sizes (2, w): zeros, then
               ops and states in them; rows (3, i): group, instant and newest row; written (i,): where the newest row
               is another one. trees (w + 1, t), state (4, w): room, t above twice the versions of
               any group
    """
    windows = len(span_us)
    held, head, due, marks = state[0], state[1], state[2], state[3]
    op_count, state_count = sizes[0], sizes[1]
    alive = trees[windows]
    instants = np.int64(0)
    for g in range(len(edges) - 1):
        low, high = edges[g], edges[g + 1]
        size = power_of_two(high - low + 1)
        started, ended, stop = low, end_edges[g], end_edges[g + 1]
        ends = stop > ended
        for w in range(windows + 1):
            if (w < windows and most[w] > 0) or (w == windows and ends):
                for k in range(size + 1):
                    trees[w, k] = 0
        for w in range(windows):
            held[w], head[w], due[w] = 0, low, NEVER
            if span_us[w] < NEVER and low < high:
                due[w] = event_us[low] + span_us[w]
            instant[w, state_count[w]] = -1
            begin[w, state_count[w]] = op_count[w]
            state_count[w] += 1
        newest = earlier_us[g]
        alive_count = 0
        while True:
            now = NEVER
            if started < high:
                now = start_us[by_start[started]]
            if ended < stop and end_us[by_end[ended]] < now:
                now = end_us[by_end[ended]]
            for w in range(windows):
                if due[w] < now:
                    now = due[w]
                marks[w] = op_count[w]
            if now == NEVER or now > until_us:
                break
            before = newest
            # each: what ends (0), then what grows too old (1), then what becomes known (2)
            phase, old = 0, 0
            while True:
                first, last, sign, v = 0, windows, -1, np.int64(-1)
                if phase == 0:
                    if ended < stop and end_us[by_end[ended]] == now:
                        v = by_end[ended]
                        ended += 1
                        count_in(alive, v - low, size, sign)
                        alive_count -= 1
                        if event_us[v] == newest:
                            newest = earlier_us[g]
                            if alive_count > 0:
                                top, _ = find(alive, size, alive_count - 1)
                                if event_us[low + top] > newest:
                                    newest = event_us[low + top]
                    else:
                        phase = 1
                elif phase == 1:
                    while old < windows and due[old] > now:
                        old += 1
                    if old < windows:
                        v = head[old]
                        head[old] += 1
                        due[old] = event_us[v + 1] + span_us[old] if v + 1 < high else NEVER
                        first, last = old, old + 1
                        if start_us[v] >= now or end_us[v] < now:
                            last = old
                    else:
                        phase = 2
                else:
                    if started >= high or start_us[by_start[started]] != now:
                        break
                    v, sign = by_start[started], 1
                    started += 1
                    if end_us[v] > now:
                        if event_us[v] > newest:
                            newest = event_us[v]
                        if ends:
                            count_in(alive, v - low, size, sign)
                            alive_count += 1
                    else:
                        last = 0
                if v < 0:
                    continue
                for w in range(first, last):
                    if not keep[where[w], v]:
                        continue
                    if phase != 1 and span_us[w] < NEVER and event_us[v] + span_us[w] <= now:
                        continue  # it has left already, leaves now by its age, or never enters
                    pushed = np.int64(-1)
                    if most[w] > 0:
                        pushed = _pushed(trees[w], size, v - low, held[w], most[w], sign)
                        held[w] += sign
                        if v - low <= pushed:
                            continue
                    ops[w, op_count[w]] = v if sign > 0 else ~v
                    op_count[w] += 1
                    if pushed >= 0:  # out by the new one, or in again
                        pushed += low
                        ops[w, op_count[w]] = ~pushed if sign > 0 else pushed
                        op_count[w] += 1
            changed = newest != before  # as it is at the first row of a group
            for w in range(windows):
                changed = changed or op_count[w] > marks[w]
            if now >= from_us and changed:
                for w in range(windows):
                    if op_count[w] > marks[w]:
                        instant[w, state_count[w]] = instants
                        begin[w, state_count[w]] = marks[w]
                        state_count[w] += 1
                rows[0, instants] = g
                rows[1, instants] = now
                rows[2, instants] = newest
                written[instants] = newest != before
                instants += 1
    for w in range(windows):
        begin[w, state_count[w]] = op_count[w]
    return instants


@njit(cache=True)
def mark_changes(bits: Any, instant: Any, written: Any) -> None:
    """Marks the instants at which a column has another value than before.

    Shapes     bits, instant (s,): a column of a window's states; written (i,)
    """
    for s in range(1, len(instant)):
        if instant[s] >= 0 and bits[s] != bits[s - 1]:
            written[instant[s]] = True


@njit(cache=True)
def states_at(instant: Any, group_of: Any, written: Any, out: Any) -> None:
    """The state of a window that holds at each instant that is written.

    Shapes     instant (s,); group_of, written (i,); out (o,)
    """
    s = group = -1
    k = 0
    for i in range(len(group_of)):
        while group < group_of[i]:
            s += 1
            if instant[s] < 0:
                group += 1
        if s + 1 < len(instant) and instant[s + 1] == i:
            s += 1
        if written[i]:
            out[k] = s
            k += 1
