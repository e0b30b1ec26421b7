"""Why a view can tell nothing, where its table is empty: said from the log alone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fs_spark.features.resolve import resolve_view
from fs_spark.features.resolve_inputs import Names
from fs_spark.features.spine import SpineRequest
from fs_spark.features.texts import ViewText
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables
from fs_spark.unanswerable import unanswerable


class Counted:
    """Tables of which only their rows are known."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def exists(self, name: str) -> bool:
        return True

    def row_count(self, name: str) -> int:
        return self.rows


@pytest.mark.parametrize(
    ("rows", "ingested", "reason"),
    [
        (0, {"1", "3"}, "its table has no rows"),
        (0, {"1"}, "nothing was ingested of insertion 3"),
        (1, {"1", "3"}, None),
    ],
)
def test_a_view_without_rows(rows: int, ingested: set[str], reason: str | None) -> None:
    text: dict[str, Any] = {
        "name": "v", "version": "1.0", "entity": "die", "features": ["site"],
        "transform": {"kind": "columns", "source": "attempts", "insertion": "3"},
    }  # fmt: skip
    view, faults = resolve_view(ViewText.model_validate(text), Names({}, {}, lambda *_: None))
    assert view is not None, faults
    found = unanswerable(cast(Tables, Counted(rows)), RegistryState(), [view], SpineRequest("die_test"), ingested)
    assert found.get("v__v1.0") == reason
