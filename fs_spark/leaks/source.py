"""Another future at the source: the ingested tests after a sampled time are changed, more are added, the features are
computed anew with the registered definitions, and joined. What the set holds must come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.features.view import FeatureView
from fs_spark.leaks.future import ROW
from fs_spark.leaks.oracle import spine_frame
from fs_spark.leaks.report import Findings, Leak, NotRun, Ran
from fs_spark.leaks.rows import Sample, micros_of, plain, same
from fs_spark.leaks.rules import LeakLimits
from fs_spark.registry_state import RegistryState
from fs_spark.snapshot import Snapshot
from fs_spark.spatial_views import view_rows
from fs_spark.tables import Tables
from fs_spark.training.on_demand import asked_part
from fs_spark.training.pinned import joined_views
from fs_spark.transforms.as_of import AsOfView, as_of_join

Future = Literal["other", "own"]

_WORLD: Final = "__world"
_CUT: Final = "__at"
_LATER: Final = "|later"
_MUCH_LATER: Final = 36_525 * 86_400_000_000
"""A hundred years: after any cut, whatever the time of the test that is repeated."""


@dataclass(frozen=True)
class World:
    """A wafer (a lot, where the spine has no wafers) with the future of one time; `name` is its lot's there."""

    name: str
    lot: str
    wafer: str | None
    time: int
    places: list[int]


def worlds_of(sample: Sample, limits: LeakLimits) -> list[World]:
    """The first times of the sample, each with the rows that have it; rows without a lot or a time have no future."""
    found: dict[tuple[str, str | None, int], list[int]] = {}
    for place, row in enumerate(sample.rows):
        lot, wafer, time = row.get(n.LOT_ID), row.get(n.WAFER_ID), row[sample.timestamp]
        if lot is not None and time is not None and (wafer is not None or n.WAFER_ID not in row):
            found.setdefault((lot, wafer, time), []).append(place)
    chosen = list(found.items())[: limits.worlds]
    return [World(f"{lot}|{k}", lot, wafer, time, rows) for k, ((lot, wafer, time), rows) in enumerate(chosen)]


class ChangedTables(Tables):
    """The ingested tables as each world has them, to be read only: `view_rows` reads them as it reads the stored ones.

    Every world is a lot of its own. In it, tests that a label at its time may not know have another outcome, other
    bins and other results; and a hundred years later each wafer is tested once more, with other outcomes again, in a
    run of its own.
    """

    def __init__(
        self, tables: Tables, worlds: Sequence[World], view: FeatureView, pinned: Mapping[str, Any], future: Future
    ) -> None:
        super().__init__(tables.spark, root=tables.root, catalog=tables.catalog, horizon=tables.horizon)
        self._stored = tables
        self._lots = sorted({world.lot for world in worlds})
        self._unit = [key for key in view.unit_keys if worlds[0].wafer is not None or key != n.WAFER_ID]
        self._strict = pinned["boundary"] == "strictly_before"
        self._available = pinned["availability"] == "respected"
        self._future = future
        self._die_tests_version = pinned["sources"][n.DIE_TESTS]
        offset = micros_of(timedelta(seconds=pinned["offset_s"]))
        cuts = pa.table(
            {
                n.LOT_ID: pa.array([world.lot for world in worlds], pa.string()),
                n.WAFER_ID: pa.array([world.wafer for world in worlds], pa.string()),
                _WORLD: pa.array([world.name for world in worlds], pa.string()),
                _CUT: pa.array([world.time - offset for world in worlds], pa.int64()),
            }
        )
        self._worlds = F.broadcast(tables.spark.createDataFrame(cuts).select(*self._unit, _WORLD, _CUT))

    def read(self, name: str, version: int | None = None) -> DataFrame:
        rows = self._stored.read(name, version)
        if name in (n.FILES, n.TESTS):  # of no lot, and nothing of them comes later
            return rows
        rows = rows.where(F.col(n.LOT_ID).isin(self._lots))
        if name == n.WAFER_RUNS:
            worlds = self._worlds.select(n.LOT_ID, _WORLD).distinct()
            here = _of_world(rows.join(F.broadcast(worlds), n.LOT_ID)).select(*rows.columns)
            return here.unionByName(here.withColumn(n.RUN_ID, F.concat(n.RUN_ID, F.lit(_LATER))))
        if name == n.DIE_TESTS:
            return self._die_tests(rows)
        return self._test_results(rows, self._stored.read(n.DIE_TESTS, self._die_tests_version))

    def _unknown(self) -> Column:
        """Tests that no feature at the world's time may depend on: those at that time are too late for any class."""
        unknown = F.unix_micros(n.EVENT_TIMESTAMP) >= F.col(_CUT)
        if self._available:
            known = F.unix_micros(n.AVAILABLE_TIMESTAMP)
            unknown = unknown | (known >= F.col(_CUT) if self._strict else known > F.col(_CUT))
        return F.coalesce(unknown, F.lit(True)) if self._future == "other" else F.lit(False)

    def _in_worlds(self, rows: DataFrame) -> DataFrame:
        return rows.join(self._worlds, self._unit)

    def _die_tests(self, rows: DataFrame) -> DataFrame:
        columns = rows.columns
        here = _of_world(self._in_worlds(rows))
        now = here.select(*(_other(c, self._unknown()).alias(c) if c in _OTHER else F.col(c) for c in columns))
        if self._future == "own":
            return now
        again = {n.RUN_ID: F.concat(n.RUN_ID, F.lit(_LATER))}
        for time in (n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP):
            again[time] = F.timestamp_micros(F.unix_micros(time) + F.lit(_MUCH_LATER))
        later = here.select(
            *(
                _other(c, F.lit(True)).alias(c) if c in _OTHER else again[c].alias(c) if c in again else F.col(c)
                for c in columns
            )
        )
        return now.unionByName(later)

    def _test_results(self, rows: DataFrame, die_tests: DataFrame) -> DataFrame:
        tests = self._in_worlds(die_tests.where(F.col(n.LOT_ID).isin(self._lots)))
        part = [n.FILE_ID, n.RUN_ID, n.PART_INDEX]
        unknown = tests.select(*part, _WORLD, self._unknown().alias(_CUT)).dropDuplicates([*part, _WORLD])
        here = _of_world(rows.join(unknown, part))
        other = (F.lit(-1000.0) * F.col(n.RESULT) - F.lit(12345.0)).cast("float")
        now = here.withColumn(n.RESULT, F.when(F.col(_CUT), other).otherwise(F.col(n.RESULT))).select(*rows.columns)
        if self._future == "own":
            return now
        later = here.withColumn(n.RESULT, other).withColumn(n.RUN_ID, F.concat(n.RUN_ID, F.lit(_LATER)))
        return now.unionByName(later.select(*rows.columns))


def _of_world(rows: DataFrame) -> DataFrame:
    """Lots and runs under the names that they have in their world, in the order that they had: a run is of one lot."""
    run = F.concat(F.col(_WORLD), F.lit("|"), F.col(n.RUN_ID))
    return rows.withColumns({n.LOT_ID: F.col(_WORLD), n.RUN_ID: run})


_OTHER: Final = (n.PASSED, n.HARD_BIN, n.SOFT_BIN, n.TEST_TIME_MS)


def _other(column: str, where: Column) -> Column:
    """Another value, which is never the one that is there."""
    value = F.col(column)
    if column == n.PASSED:
        return F.when(where, F.coalesce(~value, F.lit(True))).otherwise(value)
    moved = F.coalesce((value + 1) % 100, F.lit(2)) if column != n.TEST_TIME_MS else F.coalesce(value + 1, F.lit(1))
    return F.when(where, moved.cast("bigint" if column == n.TEST_TIME_MS else "int")).otherwise(value)


def _not_registered(pinned: Mapping[str, Any], state: RegistryState) -> str | None:
    """Why the view's definition is not the one that the set was made with."""
    view = state.pinned(pinned["view"], pinned["version"])
    if not isinstance(view, FeatureView):
        return f"a view of kind {view.kind} is not computed in changed worlds yet"
    if view.definition_hash != pinned["definition_hash"]:
        return "it is registered with another definition than the manifest's"
    digests = state.binding_digests.get((view.name, view.version), {})
    moved = [product for product, digest in pinned["bindings"].items() if digests.get(product) != digest]
    return f"the wafer map or tests of {', '.join(moved)} are not those of the manifest" if moved else None


def _computed(
    tables: Tables, state: RegistryState, pinned: Mapping[str, Any], worlds: Sequence[World], future: Future
) -> DataFrame:
    """A view's rows in the worlds, by its registered definition."""
    view = state.pinned(pinned["view"], pinned["version"])
    assert isinstance(view, FeatureView)
    bound = state.bindings.get((view.name, view.version), {})
    bindings = {product: binding for product, binding in bound.items() if product in pinned["bindings"]}
    changed = ChangedTables(tables, worlds, view, pinned, future)
    return view_rows(Snapshot(changed, dict(pinned["sources"])), view, bindings, None)


def _joined(spine: DataFrame, views: Sequence[AsOfView], timestamp: str) -> dict[int, dict[str, Any]]:
    rows = plain(as_of_join(spine, views, timestamp=timestamp).toArrow()).to_pylist()
    return {row[ROW]: row for row in rows}


def check_source(
    tables: Tables, state: RegistryState, manifest: Mapping[str, Any], sample: Sample, limits: LeakLimits,
    findings: Findings,
) -> None:  # fmt: skip
    """Computes the sample's features from ingested rows with another future, and where they come out different once
    more with their own: rows that do not come out then either are not those of the ingested rows."""
    worlds = worlds_of(sample, limits)
    pinned = []
    for one in [part for each in manifest["views"] if (part := asked_part(each)) is not None]:
        reason = "no sampled row has a lot and a time" if not worlds else _not_registered(one, state)
        gone = [f"{t} at version {v}: {r}" for t, v in one["sources"].items() if (r := tables.unreadable(t, v))]
        reason = "; ".join(gone) or reason
        if not one["sources"]:
            reason = "its rows do not say what they were computed from"
        if reason is None:
            pinned.append(one)
        else:
            findings.not_run.append(NotRun("future at the source", f"{one['view']}__v{one['version']}", reason))
    if not pinned:
        return
    name_of = {place: world.name for world in worlds for place in world.places}
    places = sorted(name_of)
    keys = list(dict.fromkeys(key for one in pinned for key in one.get("by") or one["keys"]))
    table = sample.table.take(pa.array(places))
    lots = pa.array([name_of[place] for place in places], pa.string())
    table = table.set_column(table.column_names.index(n.LOT_ID), n.LOT_ID, lots)
    table = table.append_column(ROW, pa.array(places, pa.int64()))
    moved = Sample(table, [], sample.timestamp, sample.nan_is_null)
    spine = spine_frame(moved, [ROW, *keys, sample.timestamp], tables.spark)
    views = joined_views(pinned, {p["table"]: _computed(tables, state, p, worlds, "other") for p in pinned})
    given = _joined(spine, views, sample.timestamp)
    differing = {
        view.name: [p for p in places if any(not same(sample.rows[p][c], given[p][c]) for c in view.all_outputs)]
        for view in views
    }
    wrong = [p for p, view in zip(pinned, views, strict=True) if differing[view.name]]
    own: dict[int, dict[str, Any]] = {}
    if wrong:
        again = joined_views(wrong, {p["table"]: _computed(tables, state, p, worlds, "own") for p in wrong})
        own = _joined(spine, again, sample.timestamp)
    for view in views:
        for place in differing[view.name]:
            row = sample.named(place, view.keys)
            for name in view.all_outputs:
                _compare(
                    view.name, name, (sample.rows[place][name], given[place][name], own[place][name]), row, findings
                )
        findings.ran.append(Ran("future at the source", view.name, len(places)))


def _compare(view: str, feature: str, values: tuple[Any, Any, Any], row: dict[str, Any], findings: Findings) -> None:
    found, other, own = values
    if not same(found, own):
        detail = f"found {found!r}; the ingested rows give {own!r}"
        findings.add(Leak("source", view, feature, row, detail))
    if not same(own, other):
        detail = f"{own!r} by the ingested rows; {other!r} where tests at and after this time end otherwise"
        findings.add(Leak("future", view, feature, row, detail))
