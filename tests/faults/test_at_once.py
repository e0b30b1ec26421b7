"""Two jobs at once. The second one runs whole at a write of the first, which is the worst moment for the first.

Most run in `make soak`, which also runs every pair of verbs at every write of the first.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore
from fs_spark.errors import TableConflictError
from fs_spark.ingest.ledger import ROWS
from tests.faults.verbs import NAME, SERVICE, VERBS, content, copied, walked
from tests.faults.writes import When, writes_noted
from tests.stores import label_spine, open_store, rows, versions, write_lot

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def ready(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One lot, through every verb."""
    verbs = ("ingest", "apply", "materialize", "train", "export")
    return walked(spark, tmp_path_factory.mktemp("ready") / "one", verbs)


def own(folder: Path, tmp_path: Path) -> Path:
    made = copied(folder, tmp_path / "store")
    shutil.copytree(folder / "in", made / "in")
    return made


def meeting(table: str, second: Any, *, count: int = 1, when: When = "before") -> Any:
    """At the `count`-th write of `table` by the first job, the second job runs whole."""
    seen = 0

    def stop(at: int, reached: When, name: str) -> None:
        nonlocal seen
        if reached == when and name == table:
            seen += 1
            if seen == count:
                second()

    return writes_noted(stop)


def stored_once(store: FeatureStore, *, swept: bool = True) -> None:
    """Each row counts once; with `swept` none lies there that does not count (rows of a superseded file do)."""
    files = store.table("files").where("status = 'ingested'").agg(F.sum("parts")).collect()[0][0]
    for name in ROWS if swept else ():
        assert store.table(name).count() == store._tables.read(name).count(), name
    dies = store.table("die_tests")
    assert dies.count() == dies.select("run_id", "part_index").distinct().count() == files


@pytest.mark.parametrize("table", [pytest.param("die_tests", marks=pytest.mark.soak), "files"])
def test_two_ingests_of_overlapping_folders(spark: SparkSession, tmp_path: Path, table: str) -> None:
    folder = walked(spark, tmp_path / "one", ("ingest", "apply"), lots=(1,))
    shared, second = write_lot(tmp_path / "two", 2, wafers=1), write_lot(tmp_path / "three", 3, wafers=1)
    first_job, second_job = open_store(folder, spark), open_store(folder, spark)
    reports = []
    with meeting(table, lambda: reports.append(second_job.ingest([*shared, *second]))):
        reports.append(first_job.ingest([folder / "in", *shared]))
    assert [f.status for f in reports[0].files] == ["ingested"] * 4
    assert sorted(f.status for f in reports[1].files) == ["duplicate"] * 4
    stored_once(first_job)
    first_job.materialize()
    before = versions(folder)
    assert second_job.ingest([folder / "in", *shared, *second]).exit_code == 0
    assert versions(folder) == before  # nothing is left to tidy


@pytest.mark.soak
def test_a_cut_file_and_its_whole_at_once(spark: SparkSession, tmp_path: Path) -> None:
    """Who comes second decides from what the first one wrote: one run is never there twice."""
    folder = walked(spark, tmp_path / "one", ("ingest",), lots=(1,))
    whole = write_lot(tmp_path / "two", 2, wafers=1)[0]
    cut = tmp_path / "cut.stdf"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    for number, (first, second) in enumerate(((cut, whole), (whole, cut))):
        at = copied(folder, tmp_path / f"store {number}")
        one, two = open_store(at, spark), open_store(at, spark)
        with meeting("files", lambda two=two, second=second: two.ingest([second])):  # type: ignore[misc]
            one.ingest([first])
        stored_once(one, swept=number == 0)
        status = {Path(row["path"]).name: row["status"] for row in one.table("files").collect()}
        assert status["cut.stdf"] == ("conflicting_run" if number == 0 else "superseded")
        assert status[whole.name] == "ingested"


def test_a_longer_delivery_of_a_run_at_once_supersedes_the_shorter(spark: SparkSession, tmp_path: Path) -> None:
    """Whether one file extends the other is asked again of what came meanwhile."""
    folder = walked(spark, tmp_path / "one", ("ingest",), lots=(1,))
    whole = write_lot(tmp_path / "two", 2, wafers=1)[0]
    longer = tmp_path / "longer.stdf"
    longer.write_bytes(whole.read_bytes() + b"\x02\x00\x32\x1e\x01 ")  # one more record, a DTR
    one, two = open_store(folder, spark), open_store(folder, spark)
    with meeting("files", lambda: two.ingest([whole])):
        one.ingest([longer])
    status = {Path(row["path"]).name: row["status"] for row in one.table("files").collect()}
    assert (status[whole.name], status["longer.stdf"]) == ("superseded", "ingested")
    dies = one.table("die_tests")
    assert dies.count() == dies.select("run_id", "part_index").distinct().count()


def test_the_first_definition_of_a_version_stands(spark: SparkSession, tmp_path: Path, ready: Path) -> None:
    folder = own(ready, tmp_path)
    view = folder / "conf" / "views" / "die_context.yaml"
    text = "name: die_context\nversion: '1.0'\ninsertion: '1'\nfeatures: [{}]\n"
    view.write_text(text.format("neighbor_count"))
    one = open_store(folder, spark)
    view.write_text(text.format("fail__neighbor_count"))
    two, late = open_store(folder, spark), open_store(folder, spark)
    with meeting("registry", two.apply), pytest.raises(TableConflictError, match=r"v1\.0.*first one stands.*Hint"):
        one.apply()
    state = one._state()
    assert list(state.view("die_context").columns) == ["fail__neighbor_count"]
    entries = store_entries(one)
    assert len(entries) == len(set(entries))
    assert [change.action for change in late.apply() if change.view == "die_context"] == ["unchanged"]
    # one that began before and looks only now is told the same
    with pytest.raises(TableConflictError, match="while this one ran"):
        one.apply()


def store_entries(store: FeatureStore) -> list[int]:
    return [row["entry"] for row in store._tables.read("registry").select("entry").collect()]


def test_different_views_at_once_are_both_registered(spark: SparkSession, tmp_path: Path, ready: Path) -> None:
    folder = own(ready, tmp_path)
    stores = []
    for name in ("die_one", "die_two"):
        view = folder / "conf" / "views" / f"{name}.yaml"
        view.write_text(f"name: {name}\nversion: '1.0'\ninsertion: '1'\nfeatures: [neighbor_count]\n")
        stores.append(open_store(folder, spark))
        view.unlink()
    with meeting("registry", stores[1].apply):
        stores[0].apply()
    state = stores[0]._state()
    assert {"die_one", "die_two"} <= set(state.promoted)
    assert {"die_one", "die_two"} <= {view for view, _ in state.bindings}
    entries = store_entries(stores[0])
    assert sorted(entries) == list(range(1, len(entries) + 1))


@pytest.mark.parametrize("table", [pytest.param("training__other", marks=pytest.mark.soak), "training_sets"])
def test_two_training_sets_under_one_name(spark: SparkSession, tmp_path: Path, ready: Path, table: str) -> None:
    folder = own(ready, tmp_path)
    one, two = open_store(folder, spark), open_store(folder, spark)
    spine = label_spine(one)
    few = spine.where("die_x < 0")
    with (
        meeting(table, lambda: two.training_set(few, [SERVICE], name="other")),
        pytest.raises(TableConflictError, match="exists with other content"),
    ):
        one.training_set(spine, [SERVICE], name="other")
    kept = one.training_sets()["other"]
    assert kept.rows == few.count()
    assert rows(one.table("other")) == rows(kept.df)
    assert rows(spark.read.format("delta").load(str(folder / "store" / "training__other"))) == rows(kept.df)
    assert one.reproduce("other").digest == kept.digest
    with meeting("training_sets", lambda: two.training_set(few, [SERVICE], name="same")):
        again = one.training_set(few, [SERVICE], name="same")
    assert again.digest == one.reproduce("same").digest
    assert one._tables.read("training_sets").where("name = 'same'").count() == 1


def test_rows_of_a_view_never_go_back(spark: SparkSession, tmp_path: Path, ready: Path) -> None:
    """The first job looked before a lot came, the second one after it; the first must not undo the second's rows."""
    folder = own(ready, tmp_path)
    more = write_lot(tmp_path / "two", 2, wafers=1)
    write_lot(folder / "in", 3, wafers=1)
    one, two = open_store(folder, spark), open_store(folder, spark)
    one.ingest([folder / "in"])

    def second() -> None:
        two.ingest(more)
        two.materialize()

    with meeting("die_neighborhood__v1_0", second):
        one.materialize()
    made_from = one._tables.watermark("die_neighborhood__v1_0")["sources"]
    assert made_from["files"] == one._tables.version("files")
    incremental = {name: rows(one.table(name)) for name in one._state().promoted}
    before = versions(folder)
    one.materialize(full=True)
    assert versions(folder) == before
    assert {name: rows(one.table(name)) for name in incremental} == incremental


def test_a_snapshot_is_of_one_moment(spark: SparkSession, tmp_path: Path, ready: Path) -> None:
    """Rows written anew while a job looks: it sees all of the old or all of the new ones."""
    folder = own(ready, tmp_path)
    zone = folder / "conf" / "testers.yaml"
    store = open_store(folder, spark)
    whole = store.table("die_tests").count()
    zone.write_text(zone.read_text().replace('match: "SYN-*", zone: UTC', 'match: "SYN-*", zone: Asia/Tokyo'))
    other = open_store(folder, spark)
    seen: list[int] = []
    for table in (*ROWS, "files"):
        with meeting(table, lambda: seen.append(store.table("die_tests").count()), when="after"):
            other.ingest(again=True)
    assert set(seen) == {whole}
    stored_once(store)


def test_an_older_export_does_not_cover_a_newer_one(spark: SparkSession, tmp_path: Path, ready: Path) -> None:
    folder = own(ready, tmp_path)
    one, two = open_store(folder, spark), open_store(folder, spark)
    for lot in (2, 3):
        write_lot(folder / "in", lot, wafers=1)
        one.ingest([folder / "in"])
        one.materialize()
        if lot == 2:
            first = one._tables.version("die_neighborhood__v1_0")

            def second() -> None:
                write_lot(folder / "in", 3, wafers=1)
                two.ingest([folder / "in"])
                two.materialize()
                two.export(SERVICE)

            with meeting("online", second):
                report = one.export(SERVICE)
            assert report.current
    with one.online() as online:
        row = online.get(SERVICE, [{"lot_id": "SYN0003", "wafer_id": "W01", "die_x": 0, "die_y": 0}])[0]
    assert row["neighbor_count"] is not None
    assert one._tables.version("die_neighborhood__v1_0") > first


@pytest.mark.soak
def test_two_processes_ingest_overlapping_folders(spark: SparkSession, tmp_path: Path) -> None:
    """Real processes with a JVM each; one folder of two is the same."""
    folder = walked(spark, tmp_path / "one", (), lots=(1, 2))
    more = write_lot(tmp_path / "two", 3, wafers=1)[0].parent
    conf = ["--conf", str(folder / "conf" / "store.yaml"), "--json"]
    words = [["ingest", str(folder / "in"), *conf], ["ingest", str(folder / "in"), str(more), *conf]]
    jobs = [
        subprocess.Popen([sys.executable, "-m", "fs_spark.cli", *some], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for some in words
    ]
    faults = [job.communicate(timeout=400)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], faults
    store = open_store(folder, spark)
    stored_once(store)
    assert store.table("files").count() == 6
    VERBS["apply"](store, folder)
    VERBS["materialize"](store, folder)
    assert content(spark, folder)["die_neighborhood"]
    assert NAME not in store.training_sets()
