"""A wafer's rows: the view's kernels over its attempts, at each time of knowledge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fs_spark.features.attempts import UnitAttempts
from fs_spark.features.engine import Engine, Plan
from fs_spark.features.known import Known, Rows, changed, ends_by_knowledge, joined, rows_by_knowledge
from fs_spark.features.mapped import MappedWafer, MappedWafers
from fs_spark.features.whole import wafer_columns
from fs_spark.kernels.replay import Replay, instants_of
from fs_spark.wafer import WaferGeometry

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


def dense(site: Int32) -> tuple[Int32, int]:
    """Sites as numbers from 0, -1 stays; and how many there are."""
    found = np.unique(site)
    found = found[found >= 0]
    if not len(found):
        return site, 0
    return np.where(site < 0, -1, np.searchsorted(found, site)).astype(np.int32), len(found)


def replay_of(attempts: UnitAttempts, mapped: MappedWafer, die: Int32, site: Int32) -> Replay:
    """All attempts, all told."""
    return Replay(
        die,
        instants_of(attempts.event_us),
        np.ones(len(die), np.bool_),
        attempts.outcome,
        attempts.hard_bin,
        site,
        np.ascontiguousarray(attempts.values),
        mapped.zones,
    )


def wafer_rows(plan: Plan, attempts: UnitAttempts, geometry: WaferGeometry, wafers: MappedWafers, known: Known) -> Rows:
    """Rows of a view whose unit is the wafer, from its attempts in their one order."""
    if not len(attempts):
        return Rows.none(len(plan.columns))
    mapped, die = wafers.find(attempts.x, attempts.y, geometry)
    site, sites = dense(attempts.site)
    replay = replay_of(attempts, mapped, die, site)
    knowledge = plan.features[0].knowledge
    if knowledge == "after_wafer":
        return joined(_whole_wafer(plan, attempts, replay, mapped, sites, geometry), len(plan.columns))

    def evaluate(told: NDArray[np.bool_]) -> Float64:
        return Engine(plan, mapped, sites=sites).walk(replay._replace(known=told))

    base = attempts.available_us if knowledge == "at_test" else attempts.event_us
    pieces = rows_by_knowledge(evaluate, attempts.event_us, attempts.available_us, base, known)
    return joined(pieces, len(plan.columns))


def _whole_wafer(
    plan: Plan, attempts: UnitAttempts, replay: Replay, mapped: MappedWafer, sites: int, geometry: WaferGeometry
) -> list[Rows]:
    """For each end of a run the complete wafer, once more for each later knowledge that changes a row."""
    dies = len(mapped.lattice.x)
    of_dies = plan.features[0].entity == "die"
    pieces = []
    for states in ends_by_knowledge(attempts.run, attempts.event_us, attempts.available_us):
        last: Float64 | None = None
        seen = np.zeros(dies, np.bool_)
        for state in states:
            latest = _latest(replay.die, state.told, dies)
            engine = Engine(plan, mapped, sites=sites)
            final = _final(replay, latest)
            engine.push(final, 0, len(latest))
            if of_dies:
                values = engine.ask(final, len(latest), 2 * len(latest))
                at, of = replay.die[latest], latest
            else:
                values = wafer_columns(plan, engine, final, len(latest), mapped, geometry)
                at, of = np.zeros(1, np.int32), latest[:1]
            last = np.full((len(plan.columns), dies), np.nan) if last is None else last
            new = ~seen[at] | changed(values, last[:, at])
            last[:, at], seen[at] = values, True
            count = int(new.sum())
            pieces.append(
                Rows(of[new], np.full(count, state.available_us), values[:, new], np.full(count, state.event_us))
            )
    return pieces


def _latest(die: Int32, told: NDArray[np.bool_], dies: int) -> Int64:
    """The latest told attempt of each die that has one, in order."""
    latest = np.full(dies, -1, np.int64)
    rows = np.flatnonzero(told)
    latest[die[rows]] = rows  # in order, so the last write is the latest
    return np.sort(latest[latest >= 0])


def _final(replay: Replay, latest: Int64) -> Replay:
    """The latest attempts, told one after the other, and then each of them asked at one instant."""
    twice = np.concatenate([latest, latest])
    count = len(latest)
    return replay._replace(
        die=replay.die[twice],
        instants=np.array([0, count, 2 * count], np.int64),
        known=np.arange(2 * count) < count,
        outcome=replay.outcome[twice],
        hard_bin=replay.hard_bin[twice],
        site=replay.site[twice],
        values=np.ascontiguousarray(replay.values[:, twice]),
    )
