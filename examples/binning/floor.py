"""The program beside the tester: a bin for each die of a touchdown, and what was seen of it goes online.

    python -m examples.binning.floor FOLDER [--rate 1000] [--seconds 5] [--check]

`prepare` made FOLDER. The last wafers of the lots on the floor are played, a touchdown of each in turn, one request for
each touchdown: its results have come, and a bin is decided for each of its dies. Requests come at their times whether
the one before is done or not, and the decision counts from that time, so that waiting counts too.

No Spark and no JVM in here. With --check they come afterwards: the wafers' files are ingested, and every row that was
pushed and every bin that was decided is compared with what the tables say.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from examples.binning.model import BEFORE, OWN, SERVICE, Model
from examples.binning.prepare import DIE, conf_of
from examples.binning.pushing import Pushing, Told
from fs_spark import FeatureStore, FeatureView, WaferGeometry, WaferSession, open_online
from fs_spark.names import EVENT_TIMESTAMP as EVENT

Die = Mapping[str, Any]
Row = dict[str, Any]
AFTER: Final = timedelta(milliseconds=1)
STAGES: Final = ("waiting", "features", "retrieval", "model", "handing on")
SHOWN: Final = {
    "waiting": "waiting for the requests before",
    "features": "features of the wafer so far",
    "retrieval": "retrieval of the lot's context",
    "model": "model",
    "decision": "decision, from the request's time on",
    "handing on": "results told, rows handed on",
    "online": "rows online, from the request's time on",
}
LIMITS_MS: Final = {"retrieval": 10.0, "decision": 50.0}
_SEEN: Final = ("die_x", "die_y", "site", "passed", "hard_bin", "vdd", "idd", "freq", "temp")


@dataclass(frozen=True)
class Touchdown:
    """The dies that were measured at one instant of one wafer, and their keys."""

    wafer: tuple[str, str]
    at: datetime
    dies: Sequence[Die]
    keys: Sequence[Row]


@dataclass(frozen=True)
class Played:
    """What came of a run; `seconds` by stage, (n,) of n touchdowns, `bins` and `pushed` the last one of each die."""

    seconds: Mapping[str, NDArray[np.float64]]
    rate: float
    told: Told
    bins: Mapping[tuple[Any, ...], int]
    pushed: Mapping[str, Mapping[tuple[Any, ...], Row]]

    def p99_ms(self, stage: str) -> float:
        return float(np.percentile(self.seconds[stage], 99) * 1000)

    def to_text(self) -> str:
        lines = [f"{'ms':40}{'p50':>9}{'p95':>9}{'p99':>9}"]
        for stage, shown in SHOWN.items():
            told = np.percentile(self.seconds[stage], [50, 95, 99]) * 1000
            lines.append(f"{shown:40}" + "".join(f"{one:9.3f}" for one in told))
        counts = ", ".join(f"{count} in bin {number}" for number, count in sorted(Counter(self.bins.values()).items()))
        lines.append(
            f"{len(self.seconds['decision'])} touchdowns at {self.rate:.0f}/s, {len(self.bins)} dies: {counts}"
        )
        lines.append(f"{self.told.stood} of {self.told.rows} rows pushed in {self.told.pushes} pushes")
        for stage, limit in LIMITS_MS.items():
            lines.append(f"{stage} < {limit:g} ms at p99: {'holds' if self.p99_ms(stage) < limit else 'DOES NOT HOLD'}")
        return "\n".join(lines)


def touchdowns(folder: Path) -> Iterator[Touchdown]:
    """Those of each lot's last wafer, a touchdown of each wafer in turn, as the testers would give them."""
    wafers = [list(_touchdowns_of(path)) for path in sorted((folder / "floor" / "truth.parquet").glob("*.parquet"))]
    for some in itertools.zip_longest(*wafers):
        yield from (one for one in some if one is not None)


def _touchdowns_of(path: Path) -> Iterator[Touchdown]:
    rows = pq.read_table(path, filters=[("insertion", "=", "CP1")]).to_pylist()
    last = max(row["wafer_id"] for row in rows)
    for _, some in itertools.groupby((r for r in rows if r["wafer_id"] == last), key=lambda row: row["touchdown"]):
        dies = list(some)
        at = dies[0]["event_local"].replace(tzinfo=UTC)  # these testers' clocks are in UTC
        yield Touchdown(
            (dies[0]["lot_id"], last), at,
            [{name: die[name] for name in _SEEN} for die in dies], [{name: die[name] for name in DIE} for die in dies],
        )  # fmt: skip


class Program:
    """What runs beside the testers: a session for each wafer, the model, and the online table."""

    def __init__(self, folder: Path) -> None:
        config = FeatureStore.open(conf_of(folder)).config
        self.url = config.online_url
        self.model = Model.load(folder)
        self._map = WaferGeometry.from_json(self.model.wafer_map)
        views = {view.name: view for view in config.views if isinstance(view, FeatureView)}
        self._before, self._own = views[BEFORE], tuple(views[OWN].columns)
        references = config.services[SERVICE].references
        self._context = [one.feature for one in references if one.view not in (BEFORE, OWN)]
        self._online = open_online(self.url)
        self._sessions: dict[tuple[str, str], WaferSession] = {}

    def begin(self, wafer: tuple[str, str]) -> None:
        """A session for a wafer that is loaded, before its first touchdown."""
        self._sessions[wafer] = WaferSession(self._map, self._before)

    def features(self, one: Touchdown) -> dict[str, list[Row]]:
        """By view a row for each die: the surroundings as they were before this touchdown, and the own values."""
        own = [{name: die[name] for name in self._own} for die in one.dies]
        return {BEFORE: self._sessions[one.wafer].ask(one.dies), OWN: own}

    def context(self, one: Touchdown) -> list[Row]:
        """What the online table knows of the dies' lot."""
        return self._online.get(SERVICE, one.keys, self._context, at=one.at + AFTER)

    def bins(self, one: Touchdown, found: Mapping[str, Sequence[Row]], context: Sequence[Row]) -> list[int]:
        rows = [{**a, **b, **c} for a, b, c in zip(context, found[BEFORE], found[OWN], strict=True)]
        return self.model.bins(rows, one.dies)

    def tell(self, one: Touchdown) -> None:
        """The results of a touchdown, for those that come."""
        self._sessions[one.wafer].push(one.dies)

    def warm_up(self, some: Sequence[Touchdown]) -> None:
        """Compiles, connects and fills caches with a wafer that nobody asks for."""
        nobody = ("", "")
        self.begin(nobody)
        for one in some:
            fake = replace(one, wafer=nobody)
            self.bins(fake, self.features(fake), self.context(fake))
            self.tell(fake)
        del self._sessions[nobody]

    def close(self) -> None:
        self._online.close()


def rows_of(one: Touchdown, found: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """By view the rows as they are pushed: keys, the touchdown's time, features."""
    return {
        view: [{**key, EVENT: one.at, **row} for key, row in zip(one.keys, rows, strict=True)]
        for view, rows in found.items()
    }


def play(folder: Path, *, rate: float = 1000.0, seconds: float | None = None) -> Played:
    """Plays touchdowns at their times, until the wafers end or the seconds do."""
    program = Program(folder)
    asked = list(itertools.islice(touchdowns(folder), None if seconds is None else round(rate * seconds)))
    for wafer in {one.wafer for one in asked}:
        program.begin(wafer)
    program.warm_up(asked[:100])
    pushing = Pushing(program.url)
    done: list[tuple[Touchdown, list[int], dict[str, list[Row]]]] = []
    times: list[tuple[float, ...]] = []
    gc.collect()
    gc.freeze()  # the collector need not look again at what stays
    begin = time.monotonic() + 0.1
    for i, one in enumerate(asked):
        due = begin + i / rate
        if (ahead := due - time.monotonic()) > 0:
            time.sleep(ahead)
        started = time.monotonic()
        found = program.features(one)
        known = time.monotonic()
        context = program.context(one)
        got = time.monotonic()
        bins = program.bins(one, found, context)
        decided = time.monotonic()
        program.tell(one)
        rows = rows_of(one, found)
        pushing.hand_over(rows)
        times.append((due, started, known, got, decided, time.monotonic()))
        done.append((one, bins, rows))
    gc.unfreeze()
    told = pushing.finish()
    program.close()
    moments = np.array(times)
    due_at = moments[:, 0]
    return Played(
        seconds={
            **dict(zip(STAGES, np.diff(moments, axis=1).T, strict=True)),
            "decision": moments[:, 4] - due_at,
            "online": np.array(told.online_at) - due_at,
        },
        rate=len(asked) / (moments[-1, -1] - begin),
        told=told,
        bins={_die(key): number for one, bins, _ in done for key, number in zip(one.keys, bins, strict=True)},
        pushed={
            view: {_die(row): row for *_, rows in done for row in rows[view]} for view in (BEFORE, OWN)
        },
    )  # fmt: skip


def _die(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in DIE)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, default=1000.0, help="touchdowns a second (1000)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long (5); --check plays whole wafers")
    parser.add_argument("--check", action="store_true", help="compare with the tables afterwards; starts Spark")
    given = parser.parse_args(argv)
    folder = given.folder.absolute()
    played = play(folder, rate=given.rate, seconds=None if given.check else given.seconds)
    print(played.to_text(), flush=True)  # noqa: T201
    if given.check:
        from examples.binning.catch_up import catch_up

        print(catch_up(folder, played).to_text())  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
