"""The wafer runs of a die table: which rows are one run, its touchdowns and their times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fs_spark.errors import StdfError
from fs_spark.inputs import layout, run_clock
from fs_spark.inputs.die_rows import WORDS, DieRows
from fs_spark.inputs.rules import DieTableEntry
from fs_spark.inputs.run_clock import Delivery
from fs_spark.stdf.clock import TimeQuality

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RunRows:
    """Which rows are one run: `run` (rows,) and `first` (runs,), the first row of each, by which they are numbered."""

    run: Int64
    first: Int64

    def rows(self) -> list[Int64]:
        """The rows of each run, in their order."""
        by_run = np.argsort(self.run, kind="stable")
        return np.split(by_run, np.searchsorted(self.run[by_run], np.arange(1, len(self.first))))[: len(self.first)]


def group_runs(dies: DieRows) -> RunRows:
    """Rows of the same lot, wafer, insertion, head, start, tester, product and program, null like a value."""
    started = pa.array(dies.start.us, mask=~dies.start.known)
    code = np.zeros(len(started), np.int64)
    for column in (*(dies.plain[name] for name in (*WORDS, "head")), started):
        encoded = column.dictionary_encode()
        own = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
        code = np.unique(code * (len(encoded.dictionary) + 1) + own, return_inverse=True)[1]
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return RunRows(run=np.argsort(order)[place], first=first[order])


def _at_given_times(event_us: Int64, given: Int64 | None) -> tuple[Int64, Int64]:
    """Touchdown of each row and end of each touchdown; rows of one time are one touchdown where none is given."""
    if given is None:
        ends, touchdown = np.unique(event_us, return_inverse=True)
        return touchdown, ends
    number, place = np.unique(given, return_inverse=True)
    last = np.full(len(number), np.iinfo(np.int64).min)
    np.maximum.at(last, place, event_us)
    order = np.lexsort((number, last))
    step = np.arange(len(order))
    return np.argsort(order)[place], np.maximum.accumulate(last[order] - step) + step


@dataclass(frozen=True, slots=True)
class DieRun:
    """One run, and of each of its `rows` the touchdown, `event_us` and `available_us` (rows,)."""

    rows: Int64
    run_id: str
    run_key: str
    names: dict[str, str | int | None]
    start_us: int | None
    finish_us: int | None
    end_us: int
    quality: TimeQuality
    touchdowns: int
    touchdown: Int64
    event_us: Int64
    available_us: Int64


def read_runs(dies: DieRows, entry: DieTableEntry, *, file_id: str, delivery: Delivery) -> list[DieRun]:
    """The runs by their first row, with their times. Raises StdfError where some finish before they start."""
    grouped, found, backward = group_runs(dies), list[DieRun](), 0
    first = pa.array(grouped.first)
    named = {name: dies.plain[name].take(first).to_pylist() for name in (*WORDS, "head")}
    for k, mine in enumerate(grouped.rows()):
        start_us = int(dies.start.us[mine[0]]) if dies.start.known[mine[0]] else None
        finished = mine[dies.finish.known[mine]]
        finish_us = int(dies.finish.us[finished].max()) if len(finished) else None
        if start_us is not None and finish_us is not None and finish_us < start_us:
            backward += 1
            continue
        given = dies.sequence[mine] if dies.sequence is not None else None
        quality: TimeQuality
        if dies.event is not None:
            touchdown, ends = _at_given_times(dies.event.us[mine], given)
            quality = "logged"
        else:
            touchdown = np.zeros(len(mine), np.int64) if given is None else np.unique(given, return_inverse=True)[1]
            longest = np.zeros(int(touchdown.max()) + 1, np.int64)
            np.maximum.at(longest, touchdown, dies.test_time_ms[mine])
            ends, quality = run_clock.touchdown_times(longest, start_us=start_us, finish_us=finish_us)
        names = {name: values[k] for name, values in named.items()}
        # the first time where no start is known: rows that are added later leave it as it is
        known = start_us, int(ends[0]) if dies.event is not None else None, finish_us
        end_us = int(ends[-1])
        found.append(
            DieRun(
                rows=mine,
                run_id=layout.run_id(file_id, k),
                run_key=layout.run_key(names, time_us=next(t for t in known if t is not None)),
                names=names,
                start_us=start_us,
                finish_us=finish_us,
                end_us=end_us,
                quality=quality,
                touchdowns=len(ends),
                touchdown=touchdown,
                event_us=ends[touchdown],
                available_us=delivery.available_us(
                    ends[touchdown], close_us=end_us if finish_us is None else finish_us, entry=entry
                ),
            )
        )
    if backward:
        raise StdfError(f"{backward} runs finish before they start. Hint: check the columns of their times")
    return found


def warnings_of(runs: list[DieRun]) -> list[str]:
    """Rows tested before their run began, and runs of one wafer that overlap in time."""
    early = sum(int((run.event_us < run.start_us).sum()) for run in runs if run.start_us is not None)
    found = [f"{early} rows were tested before the start of their run"] if early else []
    last: dict[tuple[str | int | None, ...], DieRun] = {}
    begun = [(run.start_us if run.start_us is not None else int(run.event_us.min()), run) for run in runs]
    for begin, run in sorted(begun, key=lambda pair: pair[0]):
        wafer = run.names["lot_id"], run.names["wafer_id"]
        before = last.get(wafer)
        if before is not None and None not in wafer and begin < before.end_us:
            found.append(f"runs {before.run_id} and {run.run_id} of wafer {run.names['wafer_id']} overlap in time")
        last[wafer] = run
    return found
