"""Views that can tell nothing about the tests that a question asks about, said before anything is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fs_spark import names as n
from fs_spark.features.definition import CLASS_OF, View
from fs_spark.features.spine import SpineRequest
from fs_spark.features.table_view import SourceInput, TableView, ViewInput
from fs_spark.features.view import FeatureView
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables


def insertions_of(state: RegistryState, view: View) -> set[str]:
    """The insertions that a view's rows come from, down to the attempts."""
    if isinstance(view, FeatureView):
        return {view.insertion}
    found: set[str] = set()
    for one in view.inputs if isinstance(view, TableView) else ():
        if isinstance(one, SourceInput) and "insertion" in one.options:
            found.add(str(one.options["insertion"]))
        elif isinstance(one, ViewInput) and (below := state.registered(one.name, one.version)) is not None:
            found |= insertions_of(state, below)
    return found


def unanswerable(
    tables: Tables, state: RegistryState, views: Sequence[View], request: SpineRequest, ingested: set[str]
) -> Mapping[str, str]:
    """View -> why all of its features would be null for the question; views that are not materialized are left out."""
    found = {}
    for view in views:
        if not tables.exists(view.table):
            continue
        insertions = insertions_of(state, view)
        named = ", ".join(sorted(insertions))
        if tables.row_count(view.table) == 0:
            missing = insertions and not insertions & ingested
            found[view.qualified] = f"nothing was ingested of insertion {named}" if missing else "its table has no rows"
        elif _is_known_too_late(view, insertions, request):
            found[view.qualified] = (
                f"its rows are {view.knowledge} of insertion {named}, the very test that is asked about, and known "
                "after it"
            )
    return found


def _is_known_too_late(view: View, insertions: set[str], request: SpineRequest) -> bool:
    """Whether rows come from the very attempts that are asked about, or from their wafer's end."""
    late = CLASS_OF[view.knowledge] in ("at_event", "after_group")
    is_state = "last_event_timestamp" in view.times
    if request.question == "next_insertion":  # asked before the wafer's first run there
        asked = {n.LOT_ID, n.WAFER_ID} <= set(view.keys)
    else:
        first = request.question == "die_test" and request.label_attempts == "first"
        asked = first and set(n.DIE_KEYS) <= set(view.keys)
    return late and asked and not is_state and insertions == {request.insertion}
