"""A registered definition -> the view, whatever its kind."""

from __future__ import annotations

import json

from pydantic import TypeAdapter

from fs_spark.features.definition import FeatureNote, View
from fs_spark.features.expectations import Expectation
from fs_spark.features.kinds.fitted import Fit
from fs_spark.features.spans import Span
from fs_spark.features.table_view import TableView
from fs_spark.features.view import FeatureView


def with_about(view: View, text: str) -> View:
    """The view with what its text said beside the definition, as `about` of it gave."""
    told = json.loads(text)
    given = {
        "description": told.get("description", ""),
        "owner": told.get("owner", ""),
        "tags": tuple(told.get("tags", ())),
        "sla": TypeAdapter(Span | None).validate_python(told.get("sla")),
        "expectations": tuple(Expectation.model_validate(one) for one in told.get("expectations", ())),
    }
    if isinstance(view, TableView):
        notes = told.get("notes", {})
        given["column_notes"] = {name: FeatureNote.model_validate(note) for name, note in notes.items()}
    return view.model_copy(update=given)


def read_view(text: str) -> View:
    """The view that `to_json` of it gave. Raises ValueError where the text is no definition"""
    kind = TableView if "transform" in json.loads(text) else FeatureView
    return kind.model_validate_json(text)


def with_fit(view: View, text: str) -> View:
    """The view with what was fitted for it, as `Fit.to_json` gave."""
    assert isinstance(view, TableView)
    return view.with_fit(Fit.model_validate_json(text))


def fit_digest(view: View) -> str | None:
    """The digest of what was fitted for a view; None where nothing was."""
    fit = view.fit if isinstance(view, TableView) else None
    return fit.digest if fit is not None else None
