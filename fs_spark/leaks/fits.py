"""Rows of a training set that come before what was fitted for their features was known, or that the fit saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark.features.kinds.fitted import FittedTransform
from fs_spark.features.table_view import TableView, ViewInput
from fs_spark.leaks.report import Findings, Kind, Leak, NotRun, Ran
from fs_spark.leaks.rows import shown
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables
from fs_spark.training.pinned import joined_views, pinned_frames, view_name
from fs_spark.transforms.as_of import as_of_join

_EVENT: Final = "__fit_event"
_BEFORE: Final = "__fit_before"
_SEEN: Final = "__fit_seen"


def fitted_below(state: RegistryState, name: str, version: str) -> list[TableView]:
    """The fitted views that a view's values come from, itself among them."""
    view = state.versions.get((name, version))
    if not isinstance(view, TableView):
        return []
    found = [view] if view.fit is not None else []
    for one in view.inputs:
        if isinstance(one, ViewInput):
            found += fitted_below(state, one.name, one.version)
    return list({each.qualified: each for each in found}.values())


def check_fits(
    rows: DataFrame, time: str, tables: Tables, manifest: Mapping[str, Any], state: RegistryState, findings: Findings,
) -> None:  # fmt: skip
    """Looks at every row of the set: whether its time is before a fit was known, and whether its row was fitted."""
    for pinned in manifest["views"]:
        fitted = fitted_below(state, pinned["view"], pinned["version"])
        if not fitted:
            continue
        gone = tables.unreadable(pinned["table"], pinned["delta_version"])
        if gone is not None:
            findings.not_run.append(NotRun("fit", view_name(pinned), gone))
            continue
        alone = {**pinned, "columns": [], "skipping": [], "since": None, "times": True}
        (joined,) = joined_views([alone], pinned_frames(tables, [alone]))
        keys = dict(zip(pinned["keys"], joined.keys, strict=True))
        plain = replace(joined, event_as=_EVENT, age_as=None)
        wanted = list(dict.fromkeys([*joined.keys, time]))
        spine = rows.select(*(F.col(f"`{column}`") for column in wanted))
        asked = as_of_join(spine, [plain], timestamp=time)
        for view in fitted:
            _check(asked, time, keys, view, findings, pinned)


def _check(
    asked: DataFrame, time: str, keys: Mapping[str, str], view: TableView, findings: Findings, pinned: Mapping[str, Any]
) -> None:
    transform = view.transform
    assert isinstance(transform, FittedTransform)
    fit, wanted = transform.fit, transform.rows
    assert fit is not None
    before = F.coalesce(F.unix_micros(F.col(f"`{time}`")) < F.lit(fit.known_us), F.lit(False))
    seen = F.col(_EVENT).isNotNull()
    if wanted.begin_us is not None:
        event = F.unix_micros(_EVENT)
        seen = seen & (event >= F.lit(wanted.begin_us)) & (event < F.lit(wanted.end_us))
    untold = [column for column in wanted.among if column not in keys]
    for column, values in wanted.among.items():
        if column in keys:
            seen = seen & F.coalesce(F.col(f"`{keys[column]}`").isin(list(values)), F.lit(False))
    if untold:
        seen = F.lit(False)
        reason = f"the set does not hold {', '.join(untold)}, by which {view.qualified} chose the rows that it fitted"
        findings.not_run.append(NotRun("rows that were fitted", view_name(pinned), reason))
    columns = [*dict.fromkeys([*keys.values(), time])]
    row = F.struct(*(F.col(f"`{column}`") for column in columns))
    told = asked.select("*", before.alias(_BEFORE), seen.alias(_SEEN)).agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_if(_BEFORE).alias("before"), F.min(F.when(F.col(_BEFORE), row)).alias("first_before"),
        F.count_if(_SEEN).alias("seen"), F.min(F.when(F.col(_SEEN), row)).alias("first_seen"),
    )  # fmt: skip
    found = told.toArrow().to_pylist()[0]
    last = shown(fit.known_us, pa.timestamp("us", tz="UTC"))
    details: dict[Kind, tuple[str, str]] = {
        "fit": ("before", f"its time is before {view.qualified} was fitted: the last row was known at {last}"),
        "fitted": ("seen", f"its row is one of the {fit.rows} that {view.qualified} was fitted from"),
    }
    for kind, (what, detail) in details.items():
        if found[what]:
            first = {name: _plain(value) for name, value in found[f"first_{what}"].items()}
            findings.add(Leak(kind, view_name(pinned), None, first, detail, found[what]))
    findings.ran.append(Ran(f"fit of {view.qualified}", view_name(pinned), found["rows"]))


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
