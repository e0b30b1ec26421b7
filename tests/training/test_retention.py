"""VACUUM and the horizon on real Delta tables: what a training set needs stays, and what would break it is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

from fs_spark import names as n
from fs_spark.commits import Commit
from fs_spark.errors import RequestError, RetentionError
from fs_spark.registry import Registry
from fs_spark.retention import VacuumReport, vacuum
from fs_spark.schemas import TableLayout
from fs_spark.tables import Tables
from tests.rows import frame_of, rows_of, settings
from tests.training.manifests import manifest_of, save, view_part

HORIZON = "interval 3650 days"
SCHEMA = "lot_id string, value double"
LAYOUT = TableLayout(
    StructType([StructField("lot_id", StringType(), False), StructField("value", DoubleType())]),
    cluster_by=("lot_id",),
    replaced_in_place=True,
)
FEATURES = "training__features"  # stands for a feature table: tables that training sets keep are the store's own


@pytest.fixture(autouse=True)
def small_listing(spark: SparkSession) -> Iterator[None]:
    """VACUUM lists a table's files in 10,000 tasks by default: half a minute for a table of three files."""
    with settings(spark, {"spark.sql.sources.parallelPartitionDiscovery.parallelism": "2"}):
        yield


def store_at(spark: SparkSession, folder: Path, horizon: str = HORIZON) -> Tables:
    return Tables(spark, root=str(folder / "store"), catalog=None, horizon=horizon)


def write(tables: Tables, name: str, *lots: str, value: float, replace: bool = False) -> int:
    rows = frame_of(tables.spark, [{"lot_id": lot, "value": value} for lot in lots], SCHEMA).coalesce(1)
    tables.create(name, LAYOUT)
    if replace:
        tables.swap(name, rows, based_on=tables.version(name), replacing=["lot_id"])
    else:
        tables.append(name, rows)
    return tables.version(name)


def content(tables: Tables, name: str, version: int | None = None) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in rows_of(tables.read(name, version)))


def files(tables: Tables, name: str) -> set[str]:
    """Data files and deletion vectors on the disk."""
    return {p.name for p in Path(tables.path(name)).iterdir() if p.suffix in (".parquet", ".bin")}


def state(tables: Tables, *names: str) -> dict[str, tuple[int, set[str]]]:
    return {name: (tables.version(name), files(tables, name)) for name in names}


@pytest.fixture(scope="module")
def built(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stores, written once; a store's folder can be copied as a whole.

    pinned   two tables with replaced states; `bin_model` keeps one as it is now, `yield_model` joins the other at the
             state before its last replacement
    safe     nothing pinned but the last replaced state, and a pure append behind it
    """
    folder = tmp_path_factory.mktemp("built")
    tables = store_at(spark, folder / "pinned")
    for name in ("training__bin_model", FEATURES):
        write(tables, name, "A", "B", value=1.0)
        write(tables, name, "A", value=2.0, replace=True)
    pinned = write(tables, FEATURES, "C", value=3.0)
    write(tables, FEATURES, "A", "C", value=4.0, replace=True)
    now = tables.version("training__bin_model")
    save(
        tables,
        manifest_of("bin_model", table="training__bin_model", version=now, rows=2),
        manifest_of("features", table=FEATURES, version=tables.version(FEATURES), rows=3),
        manifest_of("yield_model", views=(view_part("features", FEATURES, pinned, {n.FILES: 1}),)),
    )
    tables = store_at(spark, folder / "safe")
    write(tables, FEATURES, "A", "B", value=1.0)
    write(tables, FEATURES, "A", value=2.0, replace=True)
    pinned = write(tables, FEATURES, "A", "B", value=3.0, replace=True)
    save(tables, manifest_of("features", table=FEATURES, version=pinned, rows=2))
    write(tables, FEATURES, "C", value=4.0)
    return folder


@pytest.fixture
def tables(spark: SparkSession, built: Path, tmp_path: Path) -> Tables:
    shutil.copytree(built / "pinned" / "store", tmp_path / "store")
    return store_at(spark, tmp_path)


@pytest.fixture
def safe(spark: SparkSession, built: Path, tmp_path: Path) -> Tables:
    shutil.copytree(built / "safe" / "store", tmp_path / "store")
    return store_at(spark, tmp_path)


def outcome(report: VacuumReport, name: str) -> Any:
    return next(one for one in report.tables if one.table == name)


# VACUUM.


def test_a_safe_vacuum_removes_files_and_what_is_pinned_stays(safe: Tables) -> None:
    before = files(safe, FEATURES)
    report = vacuum(safe, keep_days=0)
    after = files(safe, FEATURES)
    assert after < before
    assert outcome(report, FEATURES).files == len(before - after) > 1
    assert safe.unreadable(FEATURES, 3) is None
    assert content(safe, FEATURES, 3) == [("A", 3.0), ("B", 3.0)]
    assert content(safe, FEATURES) == [("A", 3.0), ("B", 3.0), ("C", 4.0)]
    assert safe.retention(FEATURES) == (HORIZON, HORIZON)  # the promise is back


def test_a_forced_removal_is_told(safe: Tables) -> None:
    assert safe.unreadable(FEATURES, 1) is None
    safe.vacuum(FEATURES, days=0, shorten=True)  # without the guard
    reason = safe.unreadable(FEATURES, 1)
    assert reason is not None
    assert "data files were removed" in reason
    assert safe.unreadable(FEATURES, 3) is None


def test_an_unsafe_vacuum_is_refused_and_named_and_changes_nothing(tables: Tables) -> None:
    names = ("training__bin_model", FEATURES, n.TRAINING_SETS)
    before = state(tables, *names)
    for keep_days in (0, 1):  # a removed file may bear an earlier time than its commit, so a day is left over
        with pytest.raises(RetentionError) as fault:
            vacuum(tables, keep_days=keep_days)
        text = str(fault.value)
        assert f"- {FEATURES} at version 3 (WRITE made version 4 on " in text
        assert "needed by yield_model\n" in text
        assert "bin_model at" not in text
        assert "Hint: keep_days=2 is the smallest that is safe now" in text
    assert state(tables, *names) == before
    assert tables.retention(FEATURES) == (HORIZON, HORIZON)
    assert content(tables, FEATURES, 3) == [("A", 2.0), ("B", 1.0), ("C", 3.0)]
    report = vacuum(tables, keep_days=2)  # the hint helps
    assert outcome(report, FEATURES).files == 0
    assert content(tables, FEATURES, 3) == [("A", 2.0), ("B", 1.0), ("C", 3.0)]


def test_every_training_set_that_needs_a_version_is_named(tables: Tables) -> None:
    part = view_part("features", FEATURES, 3, {})
    save(tables, manifest_of("also", views=(part,)), manifest_of("older", table=FEATURES, version=1))
    with pytest.raises(RetentionError) as fault:
        vacuum(tables, keep_days=0)
    assert "needed by also, yield_model\n" in str(fault.value)
    assert f"- {FEATURES} at version 1 (WRITE made version 2 on " in str(fault.value)
    assert "needed by older\n" in str(fault.value)


def test_a_rebuild_from_source_is_protected_too(tables: Tables) -> None:
    """Its ingested rows at the pinned version, though the feature table has its own."""
    safe = store_at(tables.spark, Path(str(tables.root)) / "other")
    write(safe, n.FILES, "A", value=1.0)
    write(safe, n.FILES, "A", value=2.0, replace=True)
    write(safe, FEATURES, "A", value=1.0)
    part = view_part("features", FEATURES, 1, {n.FILES: 1})
    save(safe, manifest_of("bin_model", table=FEATURES, version=1, views=(part,)))
    with pytest.raises(RetentionError, match=r"- files at version 1 .*needed by bin_model"):
        vacuum(safe, keep_days=0)


def test_by_default_the_promise_of_each_table_is_kept(tables: Tables) -> None:
    before = files(tables, FEATURES)
    report = vacuum(tables)
    assert outcome(report, FEATURES).files == 0
    assert files(tables, FEATURES) == before
    assert [c.operation for c in tables.history(FEATURES, 2)] == ["VACUUM END", "VACUUM START"]
    assert content(tables, FEATURES, 1) == [("A", 1.0), ("B", 1.0)]
    assert report.expired == {}


def test_only_the_tables_of_the_store_are_vacuumed(safe: Tables) -> None:
    write(safe, "mine", "A", value=1.0)
    write(safe, "mine", "A", value=2.0, replace=True)
    registry = Registry(safe)
    before = state(safe, "mine")
    report = vacuum(safe, keep_days=0)
    assert {one.table for one in report.tables} == {FEATURES, n.TRAINING_SETS}
    assert state(safe, "mine") == before
    assert registry.state().entries == 0


def test_a_dry_run_counts_and_changes_nothing(safe: Tables) -> None:
    before = state(safe, FEATURES, n.TRAINING_SETS)
    default, short = vacuum(safe, dry_run=True), vacuum(safe, keep_days=0, dry_run=True)
    assert state(safe, FEATURES, n.TRAINING_SETS) == before
    assert outcome(default, FEATURES).files == 0
    assert outcome(short, FEATURES).files == 2  # replaced twice; each replacement took the one file
    assert f"{FEATURES}: 2 files would be removed" in short.to_text()
    vacuum(safe, keep_days=0)
    assert outcome(vacuum(safe, keep_days=0, dry_run=True), FEATURES).files == 0


def test_a_dry_run_is_refused_as_the_run_would_be(tables: Tables) -> None:
    with pytest.raises(RetentionError, match="needed by yield_model"):
        vacuum(tables, keep_days=0, dry_run=True)


def test_bad_requests(tables: Tables) -> None:
    with pytest.raises(RequestError, match="two requests"):
        vacuum(tables, keep_days=7, horizon="interval 3650 days")
    with pytest.raises(RequestError, match="negative"):
        vacuum(tables, keep_days=-1)
    with pytest.raises(RequestError, match="Delta refuses months"):
        vacuum(tables, horizon="interval 3 months")


# A VACUUM that dies.


def test_a_failed_vacuum_puts_the_promise_back(safe: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(name: str, limit: int | None = None) -> list[Commit]:
        raise KeyboardInterrupt

    monkeypatch.setattr(safe, "history", failing)
    with pytest.raises(KeyboardInterrupt):
        safe.vacuum(FEATURES, days=0, shorten=True)
    assert safe.retention(FEATURES) == (HORIZON, HORIZON)


@pytest.mark.parametrize("mended_by", ["the hint", "the horizon"])
def test_after_a_killed_vacuum_every_call_says_what_to_do(safe: Tables, mended_by: str) -> None:
    assert safe.exists(FEATURES)
    safe.set_retention(FEATURES, "interval 0 days", HORIZON)  # as the killed process left it
    with pytest.raises(RetentionError) as fault:  # the same process and a new one
        safe.exists(FEATURES)
    fresh = Tables(safe.spark, root=safe.root, catalog=None, horizon=HORIZON)
    for call in (lambda: vacuum(fresh), lambda: vacuum(fresh, keep_days=0), lambda: fresh.create(FEATURES, LAYOUT)):
        with pytest.raises(RetentionError, match="Hint: ALTER TABLE"):
            call()
    if mended_by == "the hint":
        safe.spark.sql(str(fault.value).split("Hint: ")[1].split(";")[0]).collect()
    else:
        assert outcome(vacuum(fresh, horizon=HORIZON), FEATURES).left_alone is None
    assert fresh.exists(FEATURES)
    assert fresh.retention(FEATURES) == (HORIZON, HORIZON)
    assert content(fresh, FEATURES, 3) == [("A", 3.0), ("B", 3.0)]


# The horizon.


def test_a_horizon_is_set_on_every_table(tables: Tables) -> None:
    longer = "interval 4000 days"
    assert vacuum(tables, horizon=longer, dry_run=True).to_text().count(f"retention would be set to {longer}") == 3
    assert tables.retention(FEATURES) == (HORIZON, HORIZON)
    report = vacuum(tables, horizon=longer)
    assert {one.table for one in report.tables} == {FEATURES, "training__bin_model", n.TRAINING_SETS}
    before = state(tables, FEATURES)
    for one in report.tables:
        assert tables.retention(one.table) == (longer, longer)
    again = vacuum(store_at(tables.spark, Path(str(tables.root)).parent, longer), horizon=longer)  # store.yaml first
    assert {one.left_alone for one in again.tables} == {f"keeps {longer} already"}
    assert state(tables, FEATURES) == before


def test_a_horizon_below_the_configured_one_is_refused(tables: Tables) -> None:
    with pytest.raises(RequestError, match=r"Hint: lower `horizon` in store\.yaml first"):
        vacuum(tables, horizon="interval 30 days")
    assert tables.retention(FEATURES) == (HORIZON, HORIZON)


def aged(monkeypatch: pytest.MonkeyPatch, tables: Tables, days: float) -> None:
    """The guard sees every commit that much older than it is."""
    real = Tables.history

    def older(self: Tables, name: str, limit: int | None = None) -> list[Commit]:
        commits = real(self, name, limit)
        for commit in commits:
            assert commit.timestamp is not None
            object.__setattr__(commit, "timestamp", commit.timestamp - timedelta(days=days))
        return commits

    monkeypatch.setattr(Tables, "history", older)


def test_a_horizon_too_short_for_a_training_set_is_refused(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aged(monkeypatch, tables, 40)
    lowered = store_at(tables.spark, tmp_path, "interval 30 days")  # as store.yaml says now
    before = state(tables, FEATURES, "training__bin_model")
    for horizon in ("interval 30 days", "interval 40 days", "interval 41 days"):
        with pytest.raises(RetentionError) as fault:
            vacuum(lowered, horizon=horizon)
        assert f"- {FEATURES} at version 3 (40.0 days old): needed by yield_model\n" in str(fault.value)
        # a newest version too: the change is a commit, and then it is not the newest
        assert "- training__bin_model at version 2 (40.0 days old): needed by bin_model\n" in str(fault.value)
        assert "Hint: 'interval 42 days' is the shortest" in str(fault.value)
    assert state(tables, FEATURES, "training__bin_model") == before
    assert tables.retention(FEATURES) == (HORIZON, HORIZON)
    vacuum(lowered, horizon="interval 42 days")
    assert tables.retention(FEATURES) == ("interval 42 days", "interval 42 days")


def test_a_horizon_of_no_days_makes_delta_refuse(tables: Tables) -> None:
    """What the guard is for: the version's files are all there, and yet it cannot be read."""
    tables.set_retention(FEATURES, "interval 0 days", HORIZON)
    reason = tables.unreadable(FEATURES, 3)
    assert reason is not None
    assert "DELTA_UNSUPPORTED_TIME_TRAVEL_BEYOND_DELETED_FILE_RETENTION_DURATION" in reason


def test_what_is_beyond_the_horizon_does_not_block_and_is_named(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delta refuses it already, and the VACUUM at the horizon takes its files as well."""
    aged(monkeypatch, tables, 4000)
    seen: list[str] = []
    monkeypatch.setattr(Tables, "vacuum", lambda self, name, *, days, shorten: seen.append(name))
    report = vacuum(tables, keep_days=7)
    assert report.expired == {"yield_model": [f"{FEATURES} at version 3"]}
    assert f"training set yield_model is beyond the horizon: {FEATURES} at version 3" in report.to_text()
    # read only because it is the newest: the commits of a VACUUM would end that
    assert seen == [n.TRAINING_SETS]
    assert outcome(report, "training__bin_model").left_alone == (
        "left alone: a commit more, and Delta refuses version 2, which bin_model needs"
    )


def test_the_views_of_the_registry_are_the_stores_own(safe: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    write(safe, "die_extra__v1_0", "A", value=1.0)

    class View:
        table = "die_extra__v1_0"

    class State:
        versions = {("die_extra", "1.0"): View()}
        buckets: dict[str, int] = {}

    monkeypatch.setattr(Registry, "state", lambda self: State())
    assert outcome(vacuum(safe), "die_extra__v1_0").files == 0


# What a commit tells.


@pytest.mark.parametrize(
    ("operation", "parameters", "removes"),
    [
        ("WRITE", {"mode": "Append"}, False),
        ("WRITE", {"mode": "Overwrite"}, True),
        ("STREAMING UPDATE", {"outputMode": "Append"}, False),
        ("STREAMING UPDATE", {"outputMode": "Complete"}, True),
        ("SET TBLPROPERTIES", {}, False),
        ("VACUUM END", {}, False),
        ("CREATE TABLE", {}, False),
        ("OPTIMIZE", {}, True),
        ("RESTORE", {}, True),
        ("REPLACE TABLE", {}, True),
        ("DELETE", {}, True),
        ("SOMETHING NEW", {}, True),
    ],
)
def test_which_commits_may_remove_files(operation: str, parameters: dict[str, str | None], removes: bool) -> None:
    assert Commit(1, operation, {}, None, parameters=parameters).may_remove is removes


def test_the_history_has_times_and_parameters(safe: Tables) -> None:
    commits = safe.history(FEATURES)
    times = [commit.timestamp for commit in commits]
    assert all(time is not None and time.tzinfo is not None for time in times)
    assert times == sorted(times, reverse=True)  # type: ignore[type-var]
    assert [commit.may_remove for commit in commits] == [False, True, True, False, False]
    assert commits[0].parameters["mode"] == "Append"
