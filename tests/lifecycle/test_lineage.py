"""Where features come from and what uses them, and the events that tell a catalogue of lineage the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pyspark.sql import SparkSession

from fs_spark import FeatureStore
from fs_spark.cli import main
from fs_spark.errors import FeatureNotFoundError, RequestError
from fs_spark.events import place_of
from fs_spark.lifecycle.lineage import Lineage, Node
from fs_spark.lifecycle.uses import view_of
from tests.stores import label_spine, new_folder, open_store, write_lot

FEATURE = "die_neighborhood:fail__neighbor_frac"


def _facets(**contents: dict[str, Any]) -> dict[str, Any]:
    """Facets by name, each with what its own schema asks besides what every facet has; others have that alone."""
    known = {name: {"$ref": "#/$defs/facet", **asked} for name, asked in contents.items()}
    return {"type": "object", "properties": known, "additionalProperties": {"$ref": "#/$defs/facet"}}


def _texts(*required: str, more: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"required": list(required), "properties": {name: {"type": "string"} for name in (*required, *more)}}


_NAMED = {"namespace": {"type": "string", "minLength": 1}, "name": {"type": "string", "minLength": 1}}
_RUN_ID = {"type": "object", "required": ["runId"], "properties": {"runId": {"type": "string", "format": "uuid"}}}
_COUNT = {"type": "integer"}
_DATASET = {"type": "object", "required": ["namespace", "name"], "properties": {
    **_NAMED,
    "facets": _facets(
        version=_texts("datasetVersion"),
        schema={"properties": {"fields": {"$ref": "#/$defs/columns"}}},
    ),
    "inputFacets": _facets(),
    "outputFacets": _facets(
        outputStatistics={"properties": {"rowCount": _COUNT, "size": _COUNT, "fileCount": _COUNT}},
    ),
}}  # fmt: skip
EVENT = {
    "$defs": {
        "facet": {"type": "object", "required": ["_producer", "_schemaURL"], "properties": {
            "_producer": {"type": "string", "format": "uri"}, "_schemaURL": {"type": "string", "format": "uri"},
            "_deleted": {"type": "boolean"}}},
        "columns": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"}, "type": {"type": "string"}, "description": {"type": "string"},
            "ordinal_position": _COUNT, "fields": {"$ref": "#/$defs/columns"}}}},
    },
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "run", "job"],
    "properties": {
        "eventTime": {"type": "string", "format": "date-time"},
        "producer": {"type": "string", "format": "uri"},
        "schemaURL": {"const": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"},
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "run": {"allOf": [_RUN_ID], "properties": {"facets": _facets(
            processing_engine=_texts("version", more=("name", "openlineageAdapterVersion")),
            errorMessage=_texts("message", "programmingLanguage", more=("stackTrace",)),
            parent={"required": ["run", "job"], "properties": {"run": _RUN_ID, "job": {
                "type": "object", "required": ["namespace", "name"], "properties": _NAMED}}},
            tags={"properties": {"tags": {"type": "array", "items": _texts("key", "value", more=("source",))}}},
        )}},
        "job": {"type": "object", "required": ["namespace", "name"], "properties": {
            **_NAMED, "facets": _facets(jobType=_texts("processingType", "integration", more=("jobType",)))}},
        "inputs": {"type": "array", "items": _DATASET},
        "outputs": {"type": "array", "items": _DATASET},
    },
}  # fmt: skip
"""What OpenLineage asks of a run event and of the facets that ours have, from what it publishes.

https://openlineage.io/spec/2-0-2/OpenLineage.json; spec/facets: DatasetVersion 1-0-1, ErrorMessage 1-0-1, JobType
2-0-4, OutputStatistics 1-0-2, ParentRun 1-2-0, ProcessingEngine 1-1-1, Schema 1-2-0, TagsRun 1-0-0. Names are not empty
and `schemaURL` is the one of a run event, which is more than it asks.
"""
_FORMATS = {
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
    "uri": r"[A-Za-z][A-Za-z0-9+.-]*:[!#$&-;=?-Z\[\]_a-z~%]+",
}
"""Those that jsonschema passes unread unless further packages are there (RFC 3339; characters of RFC 3986)."""


def faults_of(event: dict[str, Any]) -> list[str]:
    formats = FormatChecker()
    for name, pattern in _FORMATS.items():
        formats.checks(name)(re.compile(pattern).fullmatch)
    return [fault.json_path for fault in Draft202012Validator(EVENT, format_checker=formats).iter_errors(event)]


@pytest.fixture(scope="module")
def told(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[dict[str, Any]]]]:
    """A store whose verbs were told to a file, and the events in it."""
    folder = new_folder(tmp_path_factory.mktemp("lineage") / "whole", views=("die_neighborhood", "die_measured"))
    log = folder / "events.json"
    name = "die_neighborhood__v1.0:fail__neighbor_frac"
    (folder / "conf" / "services.yaml").write_text(f"services: {{one: {{features: ['{name}']}}}}\n", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "file")
        patch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(log))
        patch.setenv("OPENLINEAGE__TRANSPORT__APPEND", "true")
        patch.setenv("MLFLOW_TRACKING_URI", f"file:{folder / 'runs'}")
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        store = open_store(folder, spark)
        store.ingest(write_lot(folder / "in", 1))
        store.apply()
        store.materialize()
        built = store.training_set(label_spine(store), "one", name="kept")
        mlflow.set_tracking_uri(f"file:{folder / 'runs'}")
        with mlflow.start_run() as run:
            built.log_to_mlflow()
        (folder / "run").write_text(run.info.run_id, "utf-8")
        store.export("one")
        with pytest.raises(FeatureNotFoundError):
            store.materialize(["no_such_view"])
        yield folder, [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # "" is a folder of its own


def names(found: list[Node]) -> set[tuple[str, str]]:
    return {(node.kind, node.name) for node in found}


def kinds(found: Lineage) -> set[str]:
    return {node.kind for node in found.nodes}


def test_a_feature_leads_up_to_testers_and_down_to_models(
    told: tuple[Path, list[dict[str, Any]]], spark: SparkSession
) -> None:
    folder, _ = told
    views = open_store(folder, spark).views()
    found = views.lineage(FEATURE)
    view = Node("view", "die_neighborhood__v1.0")
    assert found.of == Node("feature", "die_neighborhood__v1.0:fail__neighbor_frac")
    assert found.above(found.of) == [view]
    assert names(found.above(view)) == {
        ("table", "die_tests"), ("table", "wafer_runs"), ("table", "test_results"),
    }  # fmt: skip
    assert names(found.above(Node("table", "die_tests"))) == names(found.above(Node("table", "wafer_runs")))
    files = found.above(Node("table", "wafer_runs"))
    assert {Path(file.name) for file in files} == set((folder / "in").glob("*.stdf*"))
    assert {names(found.above(file)) == {("tester", "SYN-T01")} for file in files} == {True}
    assert names(found.below(found.of)) == {("service", "one"), ("training set", "kept"), ("online", "one")}
    run = (folder / "run").read_text("utf-8")
    assert names(found.below(Node("training set", "kept"))) == {("model", run)}
    measured = views.lineage("die_measured__v1.0")
    assert ("table", "test_results") in names(measured.above(measured.of))
    assert measured.below(measured.of) == []
    assert views.lineage("die_neighborhood:neighbor_count", direction="down").below(Node("feature", "x")) == []


def test_one_direction_alone(told: tuple[Path, list[dict[str, Any]]], spark: SparkSession) -> None:
    views = open_store(told[0], spark).views()
    assert kinds(views.lineage(FEATURE, direction="up")) == {"feature", "view", "table", "file", "tester"}
    assert kinds(views.lineage(FEATURE, direction="down")) == {
        "feature", "view", "service", "training set", "online", "model",
    }  # fmt: skip


def test_text_json_and_mermaid(
    told: tuple[Path, list[dict[str, Any]]], spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = ["--conf", str(told[0] / "conf" / "store.yaml")]
    assert main(["lineage", FEATURE, *conf]) == 0
    text = capsys.readouterr().out
    assert "made from\n  view die_neighborhood__v1.0 (Delta version 1)\n" in text
    assert "used by\n" in text
    assert main(["lineage", FEATURE, "--down", "--json", *conf]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"from": f"feature {found['of']['name']}", "to": "service one"} in found["edges"]
    assert main(["lineage", FEATURE, "--mermaid", *conf]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0] == "flowchart LR"
    nodes = [line for line in lines if "-->" not in line and '"' in line]
    for line in lines[1:]:
        assert re.fullmatch(r'  n\d+ --> n\d+|  n\d+[\[({/>]{1,2}"[^"]+"[\])}/]{1,2}', line), line
    assert len(nodes) == len(set(nodes)) > 6


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ("die_neighborhod:x", FeatureNotFoundError), ("die_neighborhood:fail__neighbor_fraction", FeatureNotFoundError),
        ("die_neighborhood:", RequestError), ("die_neighborhood__v9.0", FeatureNotFoundError),
    ],
)  # fmt: skip
def test_unknown_names(
    told: tuple[Path, list[dict[str, Any]]], spark: SparkSession, asked: str, fault: type[Exception]
) -> None:
    with pytest.raises(fault):
        open_store(told[0], spark).views().lineage(asked)


def test_no_secret_is_in_a_lineage() -> None:
    node = Node("source", "s3://me:pass@bucket/x", "csv https://h/x.csv?sig=SECRET123")
    assert "SECRET123" not in str(node)
    assert "pass" not in node.name


def test_a_published_view_in_a_role_is_known() -> None:
    assert view_of("payer.own_score__v1.0") == view_of("own_score__v1.0") == "own_score__v1.0"
    assert view_of("payer.own__v1.10:ratio") == "own__v1.10"


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("abfss://raw@account.dfs.core.windows.net/a/b", "abfss://raw@account.dfs.core.windows.net", "a/b"),
        ("s3://Bucket/a", "s3://Bucket", "a"), ("hdfs://host:8020/a/b", "hdfs://host:8020", "a/b"),
        ("https://me:secret@host/a", "https://host", "a"), ("/data/a", "file", "/data/a"),
        ("file:///data/a", "file", "/data/a"),
    ],
)  # fmt: skip
def test_names_of_datasets(path: str, namespace: str, name: str) -> None:
    place = place_of(path)
    assert (place.namespace, place.name) == (namespace, name)


def test_events_are_as_the_specification_has_them(told: tuple[Path, list[dict[str, Any]]]) -> None:
    _, events = told
    for event in events:
        assert not faults_of(event), event
    runs: dict[str, list[str]] = {}
    for event in events:
        runs.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert {tuple(states) for states in runs.values()} == {("START", "COMPLETE"), ("START", "FAIL")}
    done = {event["job"]["name"]: event for event in events if event["eventType"] != "START"}
    assert set(done) == {
        "ingest", "materialize", "materialize.die_neighborhood__v1.0", "materialize.die_measured__v1.0",
        "train.kept", "export.one",
    }  # fmt: skip
    failed = next(event for event in events if event["eventType"] == "FAIL")
    assert "no_such_view" in failed["run"]["facets"]["errorMessage"]["message"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.eventTime", "2025-03-03T08:00:00"), ("$.producer", "fs spark"), ("$.run.runId", "1"),
        ("$.job.facets.jobType.integration", 1), ("$.run.facets.processing_engine.version", None),
        ("$.run.facets.parent.run.runId", "1"), ("$.outputs[0].facets.version['_schemaURL']", "facet"),
        ("$.outputs[0].facets.schema.fields[0].name", 1), ("$.outputs[0].outputFacets.outputStatistics.rowCount", "7"),
    ],
)  # fmt: skip
def test_a_fault_in_an_event_is_found(
    told: tuple[Path, list[dict[str, Any]]], path: str, value: str | int | None
) -> None:
    within = (event for event in told[1] if event["eventType"] == "COMPLETE" and "parent" in event["run"]["facets"])
    event = place = json.loads(json.dumps(next(within)))
    *steps, last = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", path)]
    for step in steps:
        place = place[step]
    place[last] = value
    assert faults_of(event) == [path]


def test_events_name_what_was_read_and_written(told: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, events = told
    done = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}

    def places(job: str, which: str) -> set[str]:
        assert {one["namespace"] for one in done[job][which]} == {"file"}
        return {str(Path(one["name"]).relative_to(folder)) for one in done[job][which]}

    assert places("ingest", "inputs") == {f"in/{file.name}" for file in (folder / "in").glob("*.stdf*")}
    assert "store/die_tests" in places("ingest", "outputs")
    part = done["materialize.die_measured__v1.0"]
    assert places("materialize.die_measured__v1.0", "outputs") == {"store/die_measured__v1_0"}
    assert "store/test_results" in places("materialize.die_measured__v1.0", "inputs")
    assert part["run"]["facets"]["parent"]["run"]["runId"] == done["materialize"]["run"]["runId"]
    out = part["outputs"][0]
    assert out["facets"]["version"]["datasetVersion"] == "1"
    assert out["outputFacets"]["outputStatistics"]["rowCount"] > 100
    assert {"name": "vdd", "type": "double"}.items() <= next(
        one for one in out["facets"]["schema"]["fields"] if one["name"] == "vdd"
    ).items()
    assert places("train.kept", "inputs") == {"store/die_neighborhood__v1_0"}
    assert places("train.kept", "outputs") == {"store/training__kept"}
    assert places("export.one", "inputs") == {"store/die_neighborhood__v1_0"}


def test_a_catalogue_that_cannot_be_reached_stops_nothing(
    told: tuple[Path, list[dict[str, Any]]], spark: SparkSession, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "file")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", "/proc/no/such/folder/events.json")
    store: FeatureStore = open_store(told[0], spark)
    assert store.materialize().views
    assert "event" in caplog.text
    assert "not sent" in caplog.text or "no event is sent" in caplog.text
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    caplog.clear()
    assert store.materialize().views
    assert "sent" not in caplog.text
