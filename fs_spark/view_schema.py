"""The JSON Schema of the text of a view of any kind but spatial."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from fs_spark.features.kinds.against import ComparisonsText
from fs_spark.features.kinds.fitted import FittedText
from fs_spark.features.kinds.statistics import StatisticsText
from fs_spark.features.texts import FeatureText, ViewText


def view_text_schema() -> dict[str, Any]:
    """Of `ViewText`, with what its features may be: entries, or a mapping of names to expressions."""
    _, together = models_json_schema(
        [(one, "validation") for one in (ViewText, FeatureText, StatisticsText, ComparisonsText, FittedText)],
        by_alias=True,
    )
    parts = together["$defs"]
    schema = parts.pop("ViewText")
    body = {**parts["FeatureText"]}
    body["required"] = []
    named = {"anyOf": [{"type": "string"}, body]}
    schema["properties"]["features"] = {
        "anyOf": [
            {"type": "object", "additionalProperties": named},
            {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/FeatureText"},
                                                  {"$ref": "#/$defs/StatisticsText"},
                                                  {"$ref": "#/$defs/ComparisonsText"},
                                                  {"$ref": "#/$defs/FittedText"}]}},
        ]
    }  # fmt: skip
    return {**schema, "$defs": parts}
