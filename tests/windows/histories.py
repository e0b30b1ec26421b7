"""Random histories of groups, for the kernel and for the oracle."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fs_spark.kernels.sliding import NEVER, NONE, Feature, History, StateRows, Window

Group = dict[str, Any]
VALUES: dict[str, Callable[[random.Random], float]] = {
    "few": lambda r: float(r.randint(-2, 2)),
    "normal": lambda r: r.gauss(10, 1),
    "large": lambda r: 1e15 + r.random(),
    "wide": lambda r: r.uniform(-1, 1) * 10.0 ** r.uniform(-320, 151),
    "tiny": lambda r: r.choice([5e-324, -5e-324, 1e-310, 0.0, -0.0]),
    "alike": lambda r: 0.1,
    "steps": lambda r: r.choice([3.3, 3.35]),
    "near": lambda r: 1.0 + r.randint(0, 1) * 2.0**-52,
    "whole": lambda r: float(r.randint(-(2**53), 2**53)),
}


def random_groups(
    seed: int, *, groups: int = 3, rows: int = 14, tick: int = 10, kind: str | None = None
) -> list[Group]:
    """Rows with ties, late ones, revisions, withdrawals, nulls and two `where`s; two columns, two codes."""
    r = random.Random(seed)
    number = 0
    found: list[Group] = []
    for _ in range(groups):
        makes = [VALUES[kind or r.choice(list(VALUES))] for _ in range(2)]
        span = r.choice([3, 10, 40])
        events = sorted(r.randint(0, span) * tick for _ in range(r.randint(0, rows)))
        of_group: list[Group] = []
        for event in events:
            versions = []
            start = event + r.choice([0, 0, 0, 1, 3, 30]) * tick
            for _ in range(r.choice([1, 1, 1, 2, 3])):
                end = start + r.choice([0, 1, 2, 5, 20]) * tick if r.random() < 0.4 else NEVER
                versions.append(
                    {
                        "start": start, "end": end, "number": number,
                        "values": [float("nan") if r.random() < 0.2 else make(r) for make in makes],
                        "codes": [r.choice([None, 0, 1, 5]), r.choice([None, 7])],
                        "keep": [True, r.random() < 0.6],
                    }
                )  # fmt: skip
                number += 1
                if end == NEVER:
                    break
                start = end + r.choice([0, 0, 1]) * tick
            of_group.append({"event": event, "versions": versions})
        earlier = r.choice([None, None, -50 * tick, -tick])
        found.append({"rows": of_group, "earlier": earlier})
    return found


def history_of(groups: Sequence[Group]) -> History:
    rows = [row for group in groups for row in group["rows"]]
    versions = [(k, version) for k, row in enumerate(rows) for version in row["versions"]]
    columns = [[v["values"][c] for _, v in versions] for c in range(2)]
    codes = [[-1 if v["codes"][c] is None else v["codes"][c] for _, v in versions] for c in range(2)]
    return History(
        edges=np.cumsum([0, *(len(group["rows"]) for group in groups)]).astype(np.int64),
        event_us=np.array([row["event"] for row in rows], np.int64),
        row=np.array([k for k, _ in versions], np.int64),
        start_us=np.array([v["start"] for _, v in versions], np.int64),
        end_us=np.array([v["end"] for _, v in versions], np.int64),
        values=np.array(columns, np.float64).reshape(2, len(versions)),
        codes=np.array(codes, np.int64).reshape(2, len(versions)),
        keep=np.array([[v["keep"][m] for _, v in versions] for m in range(2)], bool).reshape(2, len(versions)),
        earlier_event_us=np.array([NONE if g["earlier"] is None else g["earlier"] for g in groups], np.int64),
    )


def listed(found: StateRows) -> list[tuple[Any, ...]]:
    """As the oracle lists rows; of `first` and `last` the number of the version."""
    columns = [c.tolist() for c in found.columns]
    return [
        (group, instant, None if last == NONE else last, [_value(c[k]) for c in columns])
        for k, (group, instant, last) in enumerate(
            zip(found.group.tolist(), found.instant_us.tolist(), found.last_event_us.tolist(), strict=True)
        )
    ]


def _value(x: float | int) -> float | int | None:
    if isinstance(x, int):
        return None if x < 0 else x
    return None if x != x else x


def numbers(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows of the oracle, of `first` and `last` the number of the version alone."""
    return [(*row[:3], [x[1] if isinstance(x, tuple) else x for x in row[3]]) for row in rows]


def plain(windows: Sequence[Window], features: Sequence[Feature]) -> tuple[list[Any], list[Any]]:
    """Windows and features as the oracle takes them."""
    return (
        [(w.where, w.span_us, w.last) for w in windows],
        [(f.window, (f.statistic, f.column, f.parameter, f.coded)) for f in features],
    )
