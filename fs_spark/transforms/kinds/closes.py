"""When a group is complete, and the state that is in force then."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fs_spark.features.expressions import parse_condition
from fs_spark.features.kinds.aggregate import Close
from fs_spark.kernels.sliding import NEVER, History

Int64 = NDArray[np.int64]


@dataclass
class _Group:
    """What is known of a group while its instants are walked, and how it differs from its last close."""

    unit: list[int]
    event: list[int]
    alive: set[int] = field(default_factory=set)
    new: set[int] = field(default_factory=set)
    lost: int = 0
    units: Counter[int] = field(default_factory=Counter)
    newest: list[tuple[int, int]] = field(default_factory=list)

    def comes(self, version: int) -> None:
        self.alive.add(version)
        self.new.add(version)
        self.units[self.unit[version]] += 1
        heapq.heappush(self.newest, (-self.event[version], version))

    def goes(self, version: int) -> None:
        self.alive.discard(version)
        if version in self.new:
            self.new.discard(version)
            self.units[self.unit[version]] -= 1
            if not self.units[self.unit[version]]:
                del self.units[self.unit[version]]
        else:
            self.lost += 1

    @property
    def newest_event(self) -> int:
        while self.newest[0][1] not in self.alive:
            heapq.heappop(self.newest)
        return -self.newest[0][0]

    def close(self) -> None:
        self.new.clear()
        self.units.clear()
        self.lost = 0


def closing_instants(
    close: Close,
    history: History,
    columns: Mapping[str, pa.Array],
    kinds: Mapping[str, str],
    state_group: Int64,
    state_instant: Int64,
    until_us: int,
) -> tuple[Int64, Int64]:
    """Instants of closes, and of each the state row that is in force then, by group and instant.

    A close is a change of what is known since the last one: when so many rows (or different values) have come since, at
    a row that says so, or when the grace after the newest row has passed. Each is over all rows so far.
    """
    version_edges = np.searchsorted(history.row, history.edges)
    versions = len(history.row)
    marks = np.zeros(versions, np.bool_)
    if close.where is not None:
        passed = parse_condition(close.where, columns=kinds).evaluate(columns, rows=versions)
        marks = np.asarray(pc.fill_null(passed, False).to_numpy(zero_copy_only=False), np.bool_)
    unit = np.arange(versions)
    if close.of is not None:
        encoded = columns[close.of].dictionary_encode()
        unit = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    events = history.event_us[history.row] if versions else np.zeros(0, np.int64)
    first_state = np.searchsorted(state_group, np.arange(len(history.edges)))
    instants: list[int] = []
    states: list[int] = []
    for g in range(len(history.edges) - 1):
        low, high = int(version_edges[g]), int(version_edges[g + 1])
        begin, end = int(first_state[g]), int(first_state[g + 1])
        if begin == end:
            continue
        found = _closes(
            close, history.start_us[low:high], history.end_us[low:high], events[low:high], unit[low:high],
            marks[low:high], until_us,
        )  # fmt: skip
        at = begin + np.searchsorted(state_instant[begin:end], found, "right") - 1
        instants += found.tolist()
        states += at.tolist()
    return np.array(instants, np.int64), np.array(states, np.int64)


def _closes(
    close: Close, start: Int64, end: Int64, event: Int64, unit: NDArray[np.int64], marks: NDArray[np.bool_], until: int
) -> Int64:
    """Instants of one group's closes."""
    ended = np.flatnonzero(end != NEVER)
    times = [start, end[ended]]
    if close.grace_us is not None:
        times.append(event + close.grace_us)
    instants = np.unique(np.concatenate(times))
    by_start, by_end = np.argsort(start, kind="stable"), ended[np.argsort(end[ended], kind="stable")]
    starts, ends = start[by_start].tolist(), end[by_end].tolist()
    comes, goes = by_start.tolist(), by_end.tolist()
    group, found = _Group(unit.tolist(), event.tolist()), []
    s = e = 0
    for u in instants[instants <= until].tolist():
        said = False
        while e < len(ends) and ends[e] <= u:
            group.goes(goes[e])
            e += 1
        while s < len(starts) and starts[s] <= u:
            group.comes(comes[s])
            said = said or bool(marks[comes[s]])
            s += 1
        if not group.alive or not (group.new or group.lost):
            continue
        if close.count is not None:
            is_close = len(group.units) >= close.count
        elif close.where is not None:
            is_close = said
        else:
            assert close.grace_us is not None
            is_close = group.newest_event + close.grace_us <= u
        if is_close:
            group.close()
            found.append(u)
    return np.array(found, np.int64)
