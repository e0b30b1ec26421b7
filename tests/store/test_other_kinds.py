"""Views of other kinds over tester files: attempts as a source, and views of spatial views."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore
from tests.oracles import state_views
from tests.oracles.populations import median_diff, percentile_rank, population, robust_z
from tests.oracles.sources import Source, known_rows, watermark
from tests.oracles.state_views import StateView, Statistic, Window
from tests.stores import new_folder, open_store, rows, versions, write_lot
from tests.views.histories import same, us

HOUR = 3_600_000_000
VIEWS: dict[str, Any] = {
    "site_recent": {
        "entity": "tester_site",
        "transform": {"kind": "rolling", "source": "attempts", "parameters": ["vdd"]},
        "features": [
            {"column": "vdd", "statistics": ["mean", "std", "count"], "windows": ["1 h", "20 r"]},
            {"column": "hard_bin", "statistics": ["distinct"], "windows": ["1 h"]},
        ],
    },
    "lot_yield": {
        "entity": "lot",
        "transform": {"kind": "aggregate", "source": "attempts", "attempts": "latest"},
        "features": [{"statistics": "rows"}, {"column": "passed", "statistics": [{"share": True}], "name": "yield"}],
    },
    "lot_of_wafers": {
        "entity": "lot",
        "transform": {"kind": "aggregate", "source": "attempts", "attempts": "latest", "step": "wafer"},
        "features": [{"statistics": "rows"}, {"column": "passed", "statistics": [{"share": True}], "name": "yield"}],
    },
    "die_in_lot": {
        "entity": "die",
        "transform": {"kind": "against", "source": "attempts", "parameters": ["vdd"], "population": "lot"},
        "features": [{"column": "vdd", "statistics": ["rank", "robust_z", "median_diff"]},
                     {"column": "hard_bin", "statistics": "rank", "name": "bin"}],
    },
    "die_in_wafer": {
        "entity": "die",
        "transform": {"kind": "against", "source": "attempts", "attempts": "all", "parameters": ["vdd"],
                      "population": "wafer"},
        "features": [{"column": "vdd", "statistics": "rank"}],
    },
    "device_derived": {
        "entity": "die",
        "transform": {"kind": "expressions", "view": "die_measured"},
        "features": {"power": "vdd * idd", "efficiency": "freq / power"},
        "terms": {"degree": 2, "of": ["vdd", "idd"]},
    },
    "lot_ends": {
        "entity": "lot",
        "transform": {"kind": "columns", "source": "lots"},
        "features": ["wafers", "runs", "parts", "judged", "fails", "product_id"],
    },
    "lot_recent": {
        "entity": "lot",
        "transform": {"kind": "rolling", "view": "die_measured"},
        "features": [{"column": "vdd", "statistics": "mean", "windows": "50 r"}],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def store(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, Path]:
    folder = new_folder(tmp_path_factory.mktemp("kinds"))
    for name, text in VIEWS.items():
        body = yaml.safe_dump({"name": name, "version": "1.0", **text}, sort_keys=False)
        (folder / "conf" / "views" / f"{name}.yaml").write_text(body)
    opened = open_store(folder, spark)
    opened.ingest(write_lot(folder / "in", 1))
    opened.apply()
    opened.materialize()
    opened.ingest(write_lot(folder / "in", 2, wafers=1))
    opened.materialize()
    return opened, folder


def attempts(store: FeatureStore, spark: SparkSession) -> list[dict[str, Any]]:
    """Delivered attempts with `vdd` as the view of measured values has it."""
    tests = store.table("die_tests").drop("attempt", "is_first", "is_final")
    sequence = (F.col("touchdown").cast("bigint") * 2**32 + F.col("part_index")).alias("sequence")
    measured = store.table("die_measured").select(
        "lot_id", "wafer_id", "die_x", "die_y", "event_timestamp", "sequence", "vdd"
    )
    keys = ["lot_id", "wafer_id", "die_x", "die_y", "event_timestamp", "sequence"]
    joined = tests.withColumn("sequence", sequence).join(measured, keys, "left")
    found = []
    for row in joined.toArrow().to_pylist():
        found.append({**row, "event": us(row["event_timestamp"]), "available": us(row["available_timestamp"])})
    return found


def differing(found: list[dict[str, Any]], wanted: list[dict[str, Any]], keys: tuple[str, ...]) -> list[Any]:
    def by_place(listed: list[dict[str, Any]]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
        return {(*(row[k] for k in keys), row["event_timestamp"]): row for row in listed}

    ours, theirs = by_place(found), by_place(wanted)
    odd: list[Any] = sorted(set(ours) ^ set(theirs), key=str)
    return odd + [
        (place, name, ours[place][name], value)
        for place in set(ours) & set(theirs)
        for name, value in theirs[place].items()
        if not same(ours[place][name], value)
    ]


def stored(store: FeatureStore, view: str) -> list[dict[str, Any]]:
    times = ("event_timestamp", "available_timestamp", "last_event_timestamp", "unit_from")
    return [{k: us(v) if k in times else v for k, v in row.items()} for row in store.table(view).toArrow().to_pylist()]


DIE = ("lot_id", "wafer_id", "die_x", "die_y")
READS = ("vdd", "hard_bin", "passed", "tester", "head", "site")


def lots_so_far(tests: list[dict[str, Any]]) -> dict[tuple[str, int], list[Any]]:
    """By lot and end of a run: what its runs that ended by then gave together."""
    runs: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in tests:
        if row["insertion"] == "1":
            runs.setdefault((row["lot_id"], row["wafer_id"], row["run_id"], row["head"]), []).append(row)
    ends = {run: max(row["event"] for row in parts) for run, parts in runs.items()}
    found = {}
    for lot, end in {(run[0], end) for run, end in ends.items()}:
        ended = [run for run in runs if run[0] == lot and ends[run] <= end]
        parts = [row for run in ended for row in runs[run]]
        found[lot, end] = [
            len({run[1] for run in ended}), len(ended), len(parts),
            sum(row["passed"] is not None for row in parts), sum(row["passed"] is False for row in parts),
            min(row["product_id"] for run in ended if ends[run] == end for row in runs[run]),
            max(end, *(row["available"] for row in parts)),
        ]  # fmt: skip
    return found


def test_lots_as_far_as_their_runs_have_ended(store: tuple[FeatureStore, Path], spark: SparkSession) -> None:
    wanted = lots_so_far(attempts(store[0], spark))
    assert len(wanted) >= 3
    names = ("wafers", "runs", "parts", "judged", "fails", "product_id")
    found = {
        (row["lot_id"], row["event_timestamp"]): [
            *(row[name] for name in names), max(row["event_timestamp"], row["available_timestamp"])
        ]
        for row in stored(store[0], "lot_ends")
    }  # fmt: skip
    assert found == wanted


def test_statistics_of_a_site_equal_the_oracle(store: tuple[FeatureStore, Path], spark: SparkSession) -> None:
    delivered = attempts(store[0], spark)
    source = Source(keys=DIE, reads=READS, order=("run_id", "part_index"), attempts="first", insertion="1")
    hour, twenty = Window(HOUR), Window(last=20)
    names = {"1h": hour, "20r": twenty}
    statistics = [
        Statistic(f"vdd__{kind}_{end}", kind, "vdd", window)
        for kind in ("mean", "std", "count")
        for end, window in names.items()
    ]
    statistics.append(Statistic("hard_bin__distinct_1h", "distinct", "hard_bin", hour))
    until = watermark([row for row in delivered if row["insertion"] == "1"], source)
    groups = {key: key for key in ("tester", "head", "site")}
    wanted = state_views.state_rows(delivered, StateView(source, groups, tuple(statistics)), until)
    assert len(wanted) > 200
    assert differing(stored(store[0], "site_recent"), wanted, ("tester", "head", "site"))[:5] == []


def test_a_lots_latest_attempts_so_far_equal_the_oracle(store: tuple[FeatureStore, Path], spark: SparkSession) -> None:
    delivered = attempts(store[0], spark)
    source = Source(keys=DIE, reads=READS, order=("run_id", "part_index"), attempts="latest", insertion="1")
    statistics = (Statistic("rows", "rows"), Statistic("yield__share_true", "share", "passed", option=True))
    until = watermark([row for row in delivered if row["insertion"] == "1"], source)
    wanted = state_views.state_rows(delivered, StateView(source, {"lot_id": "lot_id"}, statistics), until)
    assert differing(stored(store[0], "lot_yield"), wanted, ("lot_id",))[:5] == []


def ends_of_runs(delivered: list[dict[str, Any]]) -> list[dict[str, Any]]:
    runs: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in delivered:
        if row["insertion"] == "1":
            runs.setdefault((row["lot_id"], row["wafer_id"], row["run_id"]), []).append(row)
    return [
        {
            "lot_id": lot, "wafer_id": wafer, "run_id": run, "event": max(row["event"] for row in parts),
            "available": max(row["available"] for row in parts),
        }
        for (lot, wafer, run), parts in runs.items()
    ]  # fmt: skip


def test_what_changes_at_the_end_of_a_wafer_alone(store: tuple[FeatureStore, Path], spark: SparkSession) -> None:
    delivered = attempts(store[0], spark)
    source = Source(keys=DIE, reads=READS, order=("run_id", "part_index"), attempts="latest", insertion="1")
    statistics = (Statistic("rows", "rows"), Statistic("yield__share_true", "share", "passed", option=True))
    ends = ends_of_runs(delivered)
    view = StateView(source, {"lot_id": "lot_id"}, statistics, step=("lot_id", "wafer_id", "run_id"), ends=ends)
    until = watermark([row for row in delivered if row["insertion"] == "1"], source)
    wanted = state_views.state_rows(delivered, view, until)
    assert len(wanted) == len(ends) == 3
    assert differing(stored(store[0], "lot_of_wafers"), wanted, ("lot_id",))[:5] == []


AGAINST = {
    "die_in_lot": ("first", ("lot_id",), {
        "vdd__rank_lot": ("vdd", percentile_rank), "vdd__robust_z_lot": ("vdd", robust_z),
        "vdd__median_diff_lot": ("vdd", median_diff), "bin__rank_lot": ("hard_bin", percentile_rank),
    }),
    "die_in_wafer": ("all", ("lot_id", "wafer_id"), {"vdd__rank_wafer": ("vdd", percentile_rank)}),
}  # fmt: skip


@pytest.mark.parametrize("view", AGAINST)
def test_a_die_against_its_population_equals_the_oracle(
    store: tuple[FeatureStore, Path], spark: SparkSession, view: str
) -> None:
    kept, group, columns = AGAINST[view]
    delivered = [row for row in attempts(store[0], spark) if row["insertion"] == "1"]
    source = Source(keys=DIE, reads=READS, order=("run_id", "part_index"), attempts=kept, insertion="1")
    giving = [row for row in delivered if kept == "all" or any(
        row is other for other in known_rows(delivered, source, max(row["event"], row["available"])))]  # fmt: skip
    wanted = []
    for row in giving:
        values = {}
        for name, (column, compared) in columns.items():
            others = population(delivered, row, row["available"], group=group, column=column)
            values[name] = compared(row[column], others)
        wanted.append({**{key: row[key] for key in DIE}, "event_timestamp": row["event"],
                       "available_timestamp": row["available"], "sequence": row["sequence"], **values})  # fmt: skip
    assert len(wanted) > 300
    found = stored(store[0], view)
    assert len(found) == len(wanted)
    assert differing(found, wanted, (*DIE, "sequence"))[:5] == []
    assert sum(row[next(iter(columns))] is not None for row in found) > 300


def test_values_of_views_are_computed_row_by_row(store: tuple[FeatureStore, Path]) -> None:
    keys = [*DIE, "event_timestamp", "available_timestamp", "sequence"]
    measured = store[0].table("die_measured")
    both = store[0].table("device_derived").join(measured, keys)
    assert both.count() == measured.count() > 300
    wrong = both.where(
        "NOT (power <=> vdd * idd AND efficiency <=> freq / (vdd * idd) AND vdd__pow2 <=> vdd * vdd "
        "AND vdd__x__idd <=> vdd * idd)"
    )
    assert wrong.count() == 0


def test_a_view_over_a_spatial_view_reaches_its_newest_row(store: tuple[FeatureStore, Path]) -> None:
    newest = store[0].table("die_measured").groupBy("lot_id").agg(F.max("available_timestamp").alias("newest"))
    reached = store[0].table("lot_recent").groupBy("lot_id").agg(F.max("event_timestamp").alias("reached"))
    both = newest.join(reached, "lot_id").collect()
    assert len(both) == 2
    assert all(row["reached"] == row["newest"] for row in both)


def test_incremental_equals_full(store: tuple[FeatureStore, Path]) -> None:
    opened, folder = store
    before, tables = versions(folder), {name: rows(opened.table(name)) for name in VIEWS}
    assert {view.units_changed for view in opened.materialize().views} == {0}
    full = opened.materialize(list(VIEWS), full=True)
    assert {(view.units_changed, view.units_removed) for view in full.views} == {(0, 0)}
    assert versions(folder) == before
    assert {name: rows(opened.table(name)) for name in VIEWS} == tables
