"""The reference catalogue: all of its services on one question, documented, null nowhere throughout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from fs_spark.cli import main
from fs_spark.config import load_configuration
from fs_spark.errors import RequestError, SchemaError
from fs_spark.features.catalogue import CATALOGUE
from fs_spark.features.entity import Entity
from fs_spark.features.resolve import resolve_view
from fs_spark.features.resolve_inputs import Names
from fs_spark.features.spine import SpineRequest
from fs_spark.features.table_view import TableView
from fs_spark.features.texts import ViewText
from fs_spark.features.view import FeatureView
from fs_spark.unanswerable import _is_known_too_late
from tests.stores import CONF, new_folder, open_store, versions, write_lot

QUESTION = SpineRequest("next_insertion", insertion="2", earlier_insertion="1", attempts="first")
SERVICES = ("device_v1_0", "device_v1_1", "device_v1_2", "device_v2_0", "device_v2_1")


@dataclass
class World:
    store: FeatureStore
    folder: Path
    reports: tuple[Any, Any]


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = new_folder(tmp_path_factory.mktemp("catalogue"), views=None)
    late = {"name": "die_late", "version": "1.0", "insertion": "2", "features": ["{p}"], "parameters": ["vdd"]}
    (folder / "conf" / "views" / "die_late.yaml").write_text(yaml.safe_dump(late))
    asked = {
        "name": "asked_when", "version": "1.0", "entity": "die",
        "transform": {"kind": "expressions", "on_demand": True, "request": {"site": "int"}},
        "features": {"weekday": "day_of_week(event_timestamp, 'UTC')", "place": "site * 1000 + die_x"},
    }  # fmt: skip
    (folder / "conf" / "views" / "asked_when.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))
    services = yaml.safe_load((folder / "conf" / "services.yaml").read_text())
    services["services"]["too_late"] = {"features": ["die_late:vdd"]}
    (folder / "conf" / "services.yaml").write_text(yaml.safe_dump(services, sort_keys=False))
    for number in (1, 2):
        write_lot(folder / "in", number)
    store = open_store(folder, spark)
    store.ingest([folder / "in"])
    store.apply()
    first = store.materialize()
    store.fit("zscore_normalized")
    return World(store, folder, (first, store.materialize()))


def test_what_is_not_fitted_waits_and_is_named_where_it_is_asked_for(world: World) -> None:
    first, second = world.reports
    assert [view.view for view in first.views if view.waiting] == ["zscore_normalized__v2.1"]
    assert first.exit_code == second.exit_code == 0
    assert not [view for view in second.views if view.waiting or view.stopped]
    assert [view.view for view in second.views if view.units_changed] == ["zscore_normalized__v2.1"]


def test_two_services_on_one_question_can_be_compared(world: World) -> None:
    store = world.store
    built = {name: store.training_set(QUESTION, [name], name=name) for name in SERVICES}
    assert {one.rows for one in built.values()} == {built["device_v1_0"].rows}
    assert built["device_v1_0"].rows > 200
    for name, one in built.items():
        assert not [view for view, share in one.manifest["content"]["empty"].items() if share == 1], name
        rows = one.df.toArrow()
        empty = [c for views in one.features.values() for c in views if rows[c].null_count == rows.num_rows]
        assert empty == [], name
    first, other = built["device_v1_2"], built["device_v2_1"]
    assert store.reproduce("device_v2_1").digest == other.digest
    found = store.training_sets().diff("device_v1_2", "device_v2_1")
    assert found.rows == (first.rows, first.rows)
    keys = ["lot_id", "wafer_id", "die_x", "die_y", "event_timestamp", "fails", "vdd", "power_w"]
    both = [sorted(map(repr, one.df.select(*keys).toArrow().to_pylist())) for one in (first, other)]
    assert both[0] == both[1]
    assert sum(len(views) for views in other.features.values()) >= 50


def test_a_service_is_exported_and_answers_as_the_join_does(world: World) -> None:
    store = world.store
    store.export("device_v2_1")
    (row,) = store.training_set(QUESTION, ["device_v2_1"], name="again").df.orderBy("die_x", "die_y").take(1)
    told = row.asDict()
    columns = [f for f in told if f not in ("event_timestamp", "fails")]
    with store.online() as online:
        keys = ("lot_id", "wafer_id", "die_x", "die_y", "product_id", "tester", "head", "site")
        (answer,) = online.get("device_v2_1", [{key: told[key] for key in keys}])
    assert set(answer) == set(columns)
    assert answer["power_efficiency"] == told["power_efficiency"]
    assert answer["vdd__rank_lot"] == told["vdd__rank_lot"]


def test_a_service_that_can_tell_nothing_is_named_before_the_work(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = versions(world.folder)
    with pytest.raises(RequestError) as caught:
        world.store.training_set(QUESTION, ["device_v1_0", "too_late"], name="nothing")
    assert str(caught.value).splitlines()[:2] == [
        "service too_late can tell nothing about this question:",
        "- die_late__v1.0: its rows are at_test of insertion 2, the very test that is asked about, and known after it",
    ]
    with pytest.raises(RequestError, match=r"basic_params__v1\.0: its rows are at_event of insertion 1"):
        world.store.training_set(SpineRequest("die_test", insertion="1"), ["device_v1_0"], name="nothing")
    question = ["--question", "next_insertion", "--insertion", "2", "--earlier-insertion", "1"]
    conf = str(world.folder / "conf" / "store.yaml")
    assert main(["train", "nothing", "too_late", *question, "--conf", conf]) == 2
    assert "service too_late can tell nothing" in capsys.readouterr().err
    assert versions(world.folder) == before


def test_a_question_brings_what_features_on_demand_need(world: World) -> None:
    built = world.store.training_set(QUESTION, ["asked_when:weekday", "asked_when:place"], name="asked_when")
    rows = built.df.toArrow().to_pylist()
    assert {row["place"] - row["site"] * 1000 - row["die_x"] for row in rows} == {0.0}


def test_what_is_known_too_late_is_of_the_very_dies_that_are_asked_about() -> None:
    first, second = SpineRequest("die_test"), SpineRequest("die_test", insertion="2")
    names = Names({"place": Entity(name="place", keys={"lot_id": "string", "wafer_id": "string", "site": "int"})}, {},
                  lambda *_: None)  # fmt: skip
    for entity, late in (("place", False), ("die", True)):
        text = {"name": "v", "version": "1.0", "entity": entity, "features": ["test_time_ms"],
                "transform": {"kind": "columns", "source": "attempts"}}  # fmt: skip
        view, faults = resolve_view(ViewText.model_validate(text), names)
        assert view is not None, faults
        assert _is_known_too_late(view, {"1"}, first) is late
        assert _is_known_too_late(view, {"1"}, second) is False
        asked = SpineRequest("next_insertion", insertion="1", earlier_insertion="0")
        assert _is_known_too_late(view, {"1"}, asked) is True


def test_a_service_of_views_that_one_spine_cannot_key(world: World) -> None:
    spine = world.store.spine(QUESTION).drop("die_x")
    with pytest.raises(SchemaError, match="the spine lacks the key"):
        world.store.training_set(spine, ["device_v2_1"], name="unkeyed")


def test_every_feature_of_the_catalogue_says_what_it_is() -> None:
    config = load_configuration(CONF / "store.yaml")
    documented = 0
    for view in config.views:
        assert view.description, view.name
        if isinstance(view, TableView):
            notes = view.notes()
            assert [c for c in view.columns if not notes[c].description] == [], view.name
            documented += len(view.columns)
        else:
            assert isinstance(view, FeatureView)
            documented += len(view.columns)
    assert documented >= 50
    assert all(feature.undefined_when and feature.source for feature in CATALOGUE)
    assert set(SERVICES) == set(config.services)
    assert all(service.description for service in config.services.values())
