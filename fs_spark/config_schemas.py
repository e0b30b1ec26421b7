"""JSON Schemas of the configuration files, so that editors complete and check them.

`fs-spark init` writes them beside the starter files, which name them in their first line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from fs_spark.config import EntitiesFile, ProductsFile, ServicesFile, SourcesFile, StoreConfig, TestersFile
from fs_spark.features.view import FeatureView
from fs_spark.inputs.rules import InputsFile
from fs_spark.view_schema import view_text_schema

FOLDER: Final = "schemas"
_FILES: Final[dict[str, type[BaseModel]]] = {
    "store": StoreConfig,
    "testers": TestersFile,
    "products": ProductsFile,
    "inputs": InputsFile,
    "entities": EntitiesFile,
    "sources": SourcesFile,
    "services": ServicesFile,
}
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def _without(schema: dict[str, Any], name: str) -> None:
    """Entries of a mapping by name do not say their name again."""
    schema.get("properties", {}).pop(name, None)
    schema["required"] = [one for one in schema.get("required", []) if one != name]


def _plain(schema: Any) -> Any:
    """Spans are texts such as `24 h`, and single values may stand for lists of one."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: _plain(value) for key, value in schema.items()}
    if found.get("type") == "string" and found.get("format") == "duration":
        return {"type": "string", "pattern": r"^\s*\d+\s*(us|ms|s|min|h|d|days?)\s*$",
                **{k: v for k, v in found.items() if k not in ("type", "format")}}  # fmt: skip
    return found


def config_schemas() -> dict[str, dict[str, Any]]:
    """The schema of each file by its name, `views` for the files of that folder."""
    found = {}
    for name, model in _FILES.items():
        schema = _plain(model.model_json_schema(by_alias=True))
        for entry, part in (("entities", "Entity"), ("sources", "SourceText"), ("services", "FeatureService")):
            if name == entry:
                _without(schema["$defs"][part], "name")
        found[name] = {"$schema": _DIALECT, **schema}
    spatial = _plain(FeatureView.model_json_schema())
    spatial["properties"]["families"] = {"type": "array", "items": {"type": "string"}}
    spatial["properties"]["transform"] = {"type": "object", "properties": {"kind": {"const": "spatial"}}}
    spatial["required"] = [one for one in spatial["required"] if one != "features"]
    other = _plain(view_text_schema())
    parts = {**spatial.pop("$defs", {}), **other.pop("$defs", {})}
    found["views"] = {
        "$schema": _DIALECT, "title": "A view", "$defs": parts,
        "if": {"properties": {"transform": {"properties": {"kind": {"not": {"const": "spatial"}}},
                                            "required": ["kind"]}}, "required": ["transform"]},
        "then": other, "else": spatial,
    }  # fmt: skip
    return found


def write_config_schemas(folder: Path) -> list[Path]:
    """Writes `schemas/<name>.schema.json` under a folder."""
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    written = []
    for name, schema in config_schemas().items():
        path = folder / FOLDER / f"{name}.schema.json"
        path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written
