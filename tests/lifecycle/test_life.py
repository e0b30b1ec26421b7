"""The life of a view in a store: planned, registered, compared, rolled back, retired; and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from fs_spark.cli import main
from fs_spark.errors import ConfigError, FeatureNotFoundError, RequestError, SetupError, TableConflictError
from fs_spark.lifecycle import compare
from fs_spark.registry import Registry
from tests.stores import label_spine, new_folder, open_store, write_lot

DIE = "die_measured"
OLD = ("entry", "kind", "view", "version", "product_id", "digest", "body")
"""The registry's columns before it kept who, when and why."""


@pytest.fixture(scope="module")
def ready(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one lot and two views that are materialized."""
    folder = new_folder(
        tmp_path_factory.mktemp("life") / "store_folder", views=(DIE, "die_neighborhood", "die_geometry")
    )
    store = open_store(folder, spark)
    store.ingest(write_lot(folder / "in", 1))
    store.apply(reason="the first ones")
    store.materialize()
    return folder


@pytest.fixture
def folder(ready: Path, tmp_path: Path) -> Iterator[Path]:
    copied = tmp_path / "own"
    shutil.copytree(ready, copied)
    yield copied
    shutil.rmtree(copied)


def text_of(folder: Path, view: str = DIE) -> Path:
    return folder / "conf" / "views" / f"{view}.yaml"


def change(folder: Path, *, version: str = "1.1") -> None:
    """A next version of `die_measured`: without one parameter."""
    file = text_of(folder)
    before = file.read_text("utf-8")
    after = before.replace('version: "1.0"', f'version: "{version}"')
    assert after != before
    kept = after.replace("parameters: [vdd, idd, freq, temp]", "parameters: [vdd, idd]")
    assert kept != after
    file.write_text(kept, "utf-8")


def next_version(folder: Path, spark: SparkSession) -> FeatureStore:
    change(folder)
    store = open_store(folder, spark)
    store.apply(reason="fewer parameters")
    store.materialize([DIE])
    return store


def test_a_plan_tells_what_a_version_means_and_costs(
    folder: Path, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    assert open_store(folder, spark).plan().is_empty
    change(folder)
    text_of(folder, "die_geometry").unlink()
    store = open_store(folder, spark)
    plan = store.plan()
    assert [(c.view, c.action) for c in plan if c.action != "unchanged"] == [
        (DIE, "register"), ("die_geometry", "removed"),
    ]  # fmt: skip
    new = next(c for c in plan if c.action == "register")
    assert (new.version, new.before) == ("1.1", "1.0")
    assert any(line.startswith("~ parameters: ") for line in new.meaning), new.meaning
    cost = plan.costs[f"{DIE}__v1.1"]
    assert (cost.table, cost.lots) == (f"{DIE}__v1_1", 1)
    assert cost.rows["die_tests"] == store.table("die_tests").count()
    assert plan.to_dict()["costs"][f"{DIE}__v1.1"]["lots"] == 1
    conf = ["--conf", str(folder / "conf" / "store.yaml")]
    assert main(["plan", *conf]) == 0
    assert main(["plan", "--check", *conf]) == 5
    assert main(["apply", *conf]) == 0
    assert main(["plan", "--check", *conf]) == 0
    capsys.readouterr()


def test_versions_side_by_side_are_shown_compared_and_rolled_back(
    folder: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FS_SPARK_USER", "ada")
    store = next_version(folder, spark)
    views = store.views()
    listed = {(one.view, one.version): one.stands for one in views.list(all_versions=True)}
    assert (listed[DIE, "1.0"], listed[DIE, "1.1"]) == ("registered", "promoted")
    assert (DIE, "1.0") not in {(one.view, one.version) for one in views.list()}

    card = views.show(f"{DIE}__v1.1")
    assert [(e.kind, e.by, e.why) for e in card.history] == [
        ("view_version", "ada", "fewer parameters"), ("promotion", "ada", "fewer parameters"),
    ]  # fmt: skip
    assert all(event.at is not None for event in card.history)
    assert (card.delta_version, card.rows) == (1, store.table(DIE).count())
    assert "ada: fewer parameters" in card.to_text()

    found = views.diff(f"{DIE}__v1.0", f"{DIE}__v1.1")
    assert found.sampled == (card.rows, 0, 0)
    assert {one.equal for one in found.columns.values()} == {1.0}
    assert any("parameters" in line for line in found.meaning)
    assert json.dumps(found.to_dict(), default=str)

    commits = store._tables.version("registry")
    before = set(spark.sparkContext.statusTracker().getJobIdsForGroup(None))
    assert store.rollback(DIE, reason="yield fell").version == "1.0"
    assert len(set(spark.sparkContext.statusTracker().getJobIdsForGroup(None)) - before) <= 3
    assert store._tables.version("registry") == commits + 1
    assert store._state().promoted[DIE] == "1.0"
    assert views.show(DIE).history[-1].why == "yield fell"
    with pytest.raises(RequestError, match=r"no version of die_measured was promoted before v1\.0"):
        store.rollback(DIE)
    assert views.promote(DIE, "1.1").version == "1.1"
    assert store.rollback(DIE).version == "1.0"  # and not back and forth


def test_the_sample_of_a_comparison_tells_what_differs(folder: Path, spark: SparkSession) -> None:
    store = next_version(folder, spark)
    table = str(folder / "store" / f"{DIE}__v1_1")
    name = next(name for name, kind in store._state().view(DIE).columns.items() if kind == "double")
    where = "die_x = 0 AND die_y = 0"
    spark.sql(f"UPDATE delta.`{table}` SET `{name}` = `{name}` + 2.5 WHERE {where}").collect()
    spark.sql(f"DELETE FROM delta.`{table}` WHERE die_x = 1 AND die_y = 0").collect()
    touched = store.table(DIE).where(where).count()
    deleted = store.table(f"{DIE}__v1.0").where("die_x = 1 AND die_y = 0").count()
    assert touched
    assert deleted
    found = store.views().diff(f"{DIE}__v1.0", f"{DIE}__v1.1")
    assert found.sampled is not None
    assert found.sampled[1:] == (deleted, 0)
    column = found.columns[name]
    assert column.equal == pytest.approx(1 - touched / found.sampled[0])
    assert column.largest == pytest.approx(2.5)
    assert [(row["die_x"], row["die_y"]) for row in column.first] == [(0, 0)] * min(touched, 10)
    assert column.first[0]["after"] - column.first[0]["before"] == pytest.approx(2.5)
    few = store.views().diff(f"{DIE}__v1.0", f"{DIE}__v1.1", sample=20)
    assert few.sampled is not None
    assert 0 < few.sampled[0] < found.sampled[0]
    with pytest.raises(FeatureNotFoundError):
        store.views().diff(f"{DIE}__v1.0", f"{DIE}__v9.0")


def test_a_version_in_use_is_not_retired(folder: Path, spark: SparkSession) -> None:
    services = folder / "conf" / "services.yaml"
    name = next(iter(open_store(folder, spark)._state().view(DIE).columns))
    services.write_text(f"services: {{one: {{features: ['{DIE}__v1.0:{name}']}}}}\n", "utf-8")
    store = open_store(folder, spark)
    store.training_set(label_spine(store), "one", name="kept")
    store.export("one")
    views = store.views()
    commits = store._tables.version("registry")
    with pytest.raises(RequestError) as fault:
        views.retire(DIE, "1.0")
    for word in ("service one", "training set kept", "published online in one"):
        assert word in str(fault.value)
    services.write_text("services: {}\n", "utf-8")
    with pytest.raises(RequestError, match="training set kept"):
        open_store(folder, spark).views().retire(DIE, "1.0")
    assert store._tables.version("registry") == commits


def test_a_retired_version_is_out_of_use_until_it_is_taken_back(folder: Path, spark: SparkSession) -> None:
    services = folder / "conf" / "services.yaml"
    services.write_text("services: {}\n", "utf-8")
    store = next_version(folder, spark)
    with pytest.raises(RequestError, match=r"is what `die_measured` means.*\n.*promote another"):
        store.views().retire(DIE, "1.1")
    store.views().retire(DIE, "1.0", reason="wrong unit")
    commits = store._tables.version("registry")
    store.views().retire(DIE, "1.0")
    assert store._tables.version("registry") == commits  # it is already
    name = next(iter(store._state().view(DIE).columns))
    with pytest.raises(FeatureNotFoundError, match=r"v1\.0 is retired \(.*wrong unit\)"):
        store.training_set(label_spine(store), f"{DIE}__v1.0:{name}", name="x")
    with pytest.raises(FeatureNotFoundError, match="is retired"):
        store.materialize([f"{DIE}__v1.0"])
    with pytest.raises(RequestError, match="no version"):
        store.rollback(DIE)
    services.write_text(f"services: {{one: {{features: ['{DIE}__v1.0:{name}']}}}}\n", "utf-8")
    for verb in ("plan", "apply"):
        with pytest.raises(ConfigError, match=r"one: die_measured__v1\.0 is retired \(.*wrong unit\).*Hint"):
            getattr(open_store(folder, spark), verb)()
    assert store._tables.version("registry") == commits
    assert store.views().show(f"{DIE}__v1.0").version.stands == "retired"
    assert store.table(f"{DIE}__v1.0").count() == store.table(DIE).count()  # what is there can be read
    store.views().promote(DIE, "1.0")
    assert open_store(folder, spark).plan().is_empty
    assert store._state().view(DIE).version == "1.0"


def test_nothing_reads_what_is_retired(folder: Path, spark: SparkSession) -> None:
    """A new view, a view that is taken back; and what was pinned before stays reproducible."""
    (folder / "conf" / "services.yaml").write_text("services: {}\n", "utf-8")
    text = "name: above\nversion: '1.0'\nentity: die\ntransform: {{kind: expressions, view: {}}}\n" \
           "features:\n  - {{name: p, expression: vdd + 1}}\n"  # fmt: skip
    text_of(folder, "above").write_text(text.format(DIE), "utf-8")
    store = open_store(folder, spark)
    store.apply()
    store.materialize(["above"])
    with pytest.raises(RequestError, match=r"is used: view above__v1\.0"):
        store.views().retire(DIE, "1.0")
    store.training_set(label_spine(store), "above:p", name="pinned")
    with pytest.raises(RequestError, match="training set pinned"):
        store.views().retire("above", "1.0")
    registry = Registry(store._tables)  # as a training set that was saved while the version was retired
    for name in ("above", DIE):
        registry.retire(registry.state(), registry.state().versions[name, "1.0"], lambda _: None)
    assert store.reproduce("pinned").rows == store.reproduce("pinned", from_source=True).rows
    with pytest.raises(
        RequestError, match=r"above__v1\.0 reads die_measured__v1\.0, which is retired.*promote die_measured"
    ):
        store.views().promote("above", "1.0")
    text_of(folder, "above").write_text(text.format(f"{DIE}__v1.0").replace("name: above", "name: beside"), "utf-8")
    with pytest.raises(ConfigError, match=r"beside__v1\.0: its input die_measured__v1\.0 is retired.*Hint"):
        open_store(folder, spark).plan()
    store.views().promote(DIE, "1.0")
    assert store.views().promote("above", "1.0").name == "above"


def test_the_last_version_may_be_retired_and_its_text_is_told(folder: Path, spark: SparkSession) -> None:
    (folder / "conf" / "services.yaml").write_text("services: {}\n", "utf-8")
    store = open_store(folder, spark)
    store.views().retire(DIE, "1.0")
    assert DIE not in store._state().promoted
    assert [c.action for c in open_store(folder, spark).apply() if c.view == DIE] == ["retired"]
    assert DIE not in store._state().promoted
    with pytest.raises(FeatureNotFoundError, match="every version of view 'die_measured' is retired"):
        store.materialize([DIE])
    store.materialize()  # the others


def test_a_definition_that_changed_under_its_version_is_told_line_by_line(folder: Path, spark: SparkSession) -> None:
    change(folder, version='1.0"#"')
    with pytest.raises(ConfigError, match=r"(?s)registered with another definition.*~ parameters: "):
        open_store(folder, spark).plan()


@pytest.mark.parametrize("writers", [3, pytest.param(8, marks=pytest.mark.soak)])
def test_writers_at_once(folder: Path, spark: SparkSession, writers: int) -> None:
    """Different views: all are there. Different texts of one version: one stands, the others are told."""
    text = "name: {name}\nversion: '1.0'\ninsertion: '1'\nfeatures: [{feature}]\n"

    def at_once(texts: list[tuple[str, str]]) -> list[str]:
        stores = []
        for name, feature in texts:
            text_of(folder, name).write_text(text.format(name=name, feature=feature), "utf-8")
            stores.append(open_store(folder, spark))
            text_of(folder, name).unlink()

        def told(store: FeatureStore) -> str:
            try:
                store.apply(reason="at once")
            except TableConflictError as fault:
                return "told" if "first one stands" in str(fault) else str(fault)
            return "applied"

        with ThreadPoolExecutor(writers) as pool:
            return list(pool.map(told, stores))

    assert at_once([(f"one_{k}", "neighbor_count") for k in range(writers)]) == ["applied"] * writers
    counted = ("neighbor_count", "fail__neighbor_count", "fail__neighbor_frac", "ring5_count")
    features = [*counted, *(f"{one}, fail__ring5_count" for one in counted)]
    assert sorted(at_once([("two", feature) for feature in features[:writers]])) == [
        "applied",
        *["told"] * (writers - 1),
    ]
    store = open_store(folder, spark)
    state = store._state()
    assert {f"one_{k}" for k in range(writers)} | {"two"} <= set(state.promoted)
    entries = [row["entry"] for row in store._tables.read("registry").select("entry").collect()]
    assert sorted(entries) == list(range(1, len(entries) + 1))
    assert len(state.events["two", "1.0"]) == 2


def test_a_registry_of_newer_software_is_not_touched(folder: Path, spark: SparkSession) -> None:
    store = open_store(folder, spark)
    table = folder / "store" / "registry"
    rows = "(1000, 'view_version', 'x', '1.0', NULL, '', '{}', now(), 'b', 'w', 3)"
    spark.sql(f"INSERT INTO delta.`{table}` VALUES {rows}").collect()
    version = store._tables.version("registry")
    verbs: list[Callable[[], object]] = [
        store.plan, store.apply, store.materialize, lambda: store.rollback(DIE), lambda: store.table(DIE),
    ]  # fmt: skip
    for verb in verbs:
        with pytest.raises(SetupError, match=r"written by a newer fs_spark(?s:.*)Hint: install"):
            verb()
    assert store._tables.version("registry") == version


def make_old(folder: Path, spark: SparkSession) -> None:
    """The registry as it was before it kept who, when and why."""
    table = folder / "store" / "registry"
    old = spark.read.format("delta").load(str(table)).selectExpr(*OLD).toArrow()
    frame = spark.createDataFrame(old)
    shutil.rmtree(table)
    properties = "'delta.logRetentionDuration' = 'interval 3650 days', 'delta.deletedFileRetentionDuration' = " \
                 "'interval 3650 days', 'delta.enableInCommitTimestamps' = 'true'"  # fmt: skip
    columns = "entry bigint NOT NULL, kind string NOT NULL, view string NOT NULL, version string NOT NULL, " \
              "product_id string, digest string, body string"  # fmt: skip
    spark.sql(f"CREATE TABLE delta.`{table}` ({columns}) USING delta TBLPROPERTIES ({properties})").collect()
    frame.write.format("delta").mode("append").save(str(table))


def test_a_registry_of_before_gets_its_columns_at_the_first_write(folder: Path, spark: SparkSession) -> None:
    make_old(folder, spark)
    store = open_store(folder, spark)
    before = store._state()
    assert store.plan().is_empty
    assert {event.by for events in before.events.values() for event in events} == {None}
    assert "registered\n" in store.views().show(DIE).to_text()
    assert set(store._tables.columns("registry")) == set(OLD)  # reading changes nothing
    store = next_version(folder, spark)
    state = store._state()
    assert state.promotions[DIE] == ["1.0", "1.1"]
    assert state.versions[DIE, "1.0"] == before.versions[DIE, "1.0"]
    assert state.events[DIE, "1.1"][0].why == "fewer parameters"


def test_a_registry_of_before_that_two_write_to_first(
    folder: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second reads after the first one's new columns and before its entries, and writes after them."""
    make_old(folder, spark)
    text = "name: two\nversion: '1.0'\ninsertion: '1'\nfeatures: [{}]\n"
    stores = []
    for feature in ("neighbor_count", "fail__neighbor_count"):
        text_of(folder, "two").write_text(text.format(feature), "utf-8")
        stores.append(open_store(folder, spark))
    first, second = stores
    plain_first, plain_second = first._tables.swap, second._tables.swap
    written: list[Any] = []

    def first_swap(*args: Any, **more: Any) -> Any:
        """The second one runs up to its write, where the first one's comes before it."""

        def second_swap(*others: Any, **rest: Any) -> Any:
            if not written:
                written.append(plain_first(*args, **more))
            return plain_second(*others, **rest)

        monkeypatch.setattr(second._tables, "swap", second_swap)
        with pytest.raises(TableConflictError, match="first one stands"):
            second.apply()
        return written[0]

    monkeypatch.setattr(first._tables, "swap", first_swap)
    first.apply()
    assert written != [None]
    monkeypatch.undo()
    entries = [row["entry"] for row in first._tables.read("registry").select("entry").collect()]
    assert sorted(entries) == list(range(1, len(entries) + 1))
    assert list(first._state().view("two").columns) == ["neighbor_count"]


def test_a_table_that_was_dropped_by_hand(folder: Path, spark: SparkSession) -> None:
    store = open_store(folder, spark)
    shutil.rmtree(folder / "store" / f"{DIE}__v1_0")
    store = open_store(folder, spark)
    name = next(iter(store._state().view(DIE).columns))
    with pytest.raises(RequestError, match="never materialized, or dropped: die_measured"):
        store.training_set(label_spine(store), f"{DIE}:{name}", name="x")
    with pytest.raises(RequestError, match="has no table"):
        store.table(DIE)
    assert "not materialized, or dropped" in store.views().show(DIE).to_text()
    assert Registry(store._tables).state().promoted[DIE] == "1.0"
    store.materialize([DIE])
    assert store.table(DIE).count()


def test_a_table_that_was_made_again_is_told_by_those_that_read_it(folder: Path, spark: SparkSession) -> None:
    """Also where its version is the one of before."""
    text = "name: above\nversion: '1.0'\nentity: die\ntransform: {kind: expressions, view: die_measured}\n" \
           "features:\n  - {name: p, expression: vdd + 1}\n"  # fmt: skip
    text_of(folder, "above").write_text(text, "utf-8")
    store = open_store(folder, spark)
    store.apply()
    store.materialize(["above"])
    before = store._tables.version(f"{DIE}__v1_0")
    shutil.rmtree(folder / "store" / f"{DIE}__v1_0")
    store = open_store(folder, spark)
    store.ingest(write_lot(folder / "in", 2))
    store.materialize([DIE])
    assert store._tables.version(f"{DIE}__v1_0") == before
    with pytest.raises(RequestError, match=r"dropped and made again since.*\n.*--full above"):
        store.materialize()
    store.materialize(["above"], full=True)
    assert store.table("above").count() == store.table(DIE).count()
    assert all(view.units_changed == 0 for view in store.materialize([DIE, "above"]).views)


def test_a_plan_tells_what_stands_beside_definitions(folder: Path, spark: SparkSession) -> None:
    file = text_of(folder)
    file.write_text(file.read_text("utf-8") + "owner: the probe team\nsla: 2 d\n", "utf-8")
    plan = open_store(folder, spark).plan()
    assert {change.action for change in plan} == {"unchanged"}
    assert not plan.is_empty
    assert plan.beside == (f"{DIE}__v1.0: owner, sla",)
    assert plan.to_text().endswith(f"changed    {DIE}__v1.0: owner, sla")
    store = open_store(folder, spark)
    store.apply()
    assert store.plan().is_empty


def test_a_fault_in_services_hides_no_user(folder: Path, spark: SparkSession) -> None:
    (folder / "conf" / "services.yaml").write_text("services: [no mapping]\n", "utf-8")
    with pytest.raises(ConfigError):
        open_store(folder, spark).views().retire(DIE, "1.0")


def test_columns_of_other_types_and_no_rows_are_told(folder: Path, spark: SparkSession) -> None:
    store = next_version(folder, spark)
    table = folder / "store" / f"{DIE}__v1_1"
    spark.sql(f"DELETE FROM delta.`{table}`").collect()
    found = store.views().diff(f"{DIE}__v1.0", f"{DIE}__v1.1")
    assert {one.equal for one in found.columns.values()} == {None}
    assert "nothing to compare" in found.to_text()
    one = compare._column("a", "double", ["k", "t"], [((1, None, 0), {"a": "x"}, {"a": 1.0})])
    assert (one.equal, one.largest, one.first[0]["before"]) == (0.0, None, "x")


@pytest.mark.parametrize("what", ["views", "services", "entities", "sources", "training-sets"])
def test_lists(folder: Path, what: str, spark: SparkSession, capsys: pytest.CaptureFixture[str]) -> None:
    conf = ["--conf", str(folder / "conf" / "store.yaml")]
    assert main(["list", what, "--json", *conf]) == 0
    rows = json.loads(capsys.readouterr().out)[what]
    assert bool(rows) == (what != "training-sets")
    assert main(["list", what, *conf]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == (len(rows) + 1 if rows else 1)
