"""A registered definition -> the view, whatever its kind."""

from __future__ import annotations

import json

from fs_spark.features.definition import View
from fs_spark.features.table_view import TableView
from fs_spark.features.view import FeatureView


def read_view(text: str) -> View:
    """The view that `to_json` of it gave. Raises ValueError where the text is no definition"""
    kind = TableView if "transform" in json.loads(text) else FeatureView
    return kind.model_validate_json(text)
