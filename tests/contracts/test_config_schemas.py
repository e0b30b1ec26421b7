"""The JSON Schemas of configuration files accept what is shipped and documented, and refuse what the files refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fs_spark.cli import main
from fs_spark.config_schemas import config_schemas, write_config_schemas
from tests.conftest import ROOT
from tests.views.stores import ENTITIES, SOURCES, VIEWS

SCHEMAS = config_schemas()


def check(name: str, content: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(content)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_each_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda path: path.name)
def test_shipped_files_fit(path: Path) -> None:
    name = "views" if path.parent.name == "views" else path.stem
    check(name, yaml.safe_load(path.read_text()) or {})


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_views_of_other_kinds_fit(name: str) -> None:
    check("views", {"name": name, "version": "1.0", **VIEWS[name]})
    check("sources", {"sources": SOURCES})
    check("entities", {"entities": ENTITIES})


def test_a_view_against_a_population_fits() -> None:
    transform = {"kind": "against", "source": "attempts", "parameters": ["vdd"], "population": "lot"}
    features = [{"column": "vdd", "statistics": ["rank", "robust_z"]}, {"column": "vdd", "statistics": "median_diff"}]
    check("views", {"name": "v", "version": "1.0", "entity": "die", "transform": transform, "features": features})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("entities", {"entities": {"customer": {"keys": {"customer_id": "text"}}}}),
        ("sources", {"sources": {"payments": {"keys": ["a"], "column": {"a": "string"}}}}),
        ("views", {"name": "v", "version": "1.0", "entity": "customer", "transform": {"kind": "rollin"}}),
        ("views", {"name": "v", "version": 1.0, "features": ["radius_mm"]}),
        ("services", {"services": {"s": {"features": [{"nulls": "skip"}]}}}),
    ],
)
def test_wrong_files_do_not(name: str, content: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(name, content)


def test_init_writes_them_beside_the_files_that_name_them(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "conf")]) == 0
    assert (tmp_path / "conf" / "sources.yaml").exists()
    for path in (tmp_path / "conf").glob("*.yaml"):
        first = path.read_text().splitlines()[0]
        if "$schema=" in first:
            schema = tmp_path / "conf" / first.split("$schema=")[1]
            assert json.loads(schema.read_text())["$schema"].startswith("https://json-schema.org/")
    assert {path.name for path in (tmp_path / "conf" / "schemas").iterdir()} == {
        path.name for path in write_config_schemas(tmp_path)
    }
