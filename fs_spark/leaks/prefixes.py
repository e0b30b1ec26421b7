"""Functions of views against their declared class: what they give for a row where those known after it are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.features.kinds.function import FunctionTransform
from fs_spark.features.table_view import Input, TableView, ViewInput
from fs_spark.leaks.report import Findings, Leak, NotRun, Ran
from fs_spark.leaks.rows import plain, same
from fs_spark.leaks.rules import LeakLimits
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables
from fs_spark.training.pinned import view_name
from fs_spark.transforms.kinds import COMPUTATIONS, Reach
from fs_spark.view_inputs import input_frame

_ROWS: Final = 3
"""How many rows are computed anew: each is a call of the function."""


def check_prefixes(
    tables: Tables, state: RegistryState, manifest: Mapping[str, Any], limits: LeakLimits, findings: Findings
) -> None:
    """Calls the function of each view that the set reads, for some rows, without what was known after them."""
    for pinned in manifest["views"]:
        view = state.versions.get((pinned["view"], pinned["version"]))
        if not isinstance(view, TableView) or not isinstance(view.transform, FunctionTransform) or view.is_static:
            continue
        if not view.is_repeatable:
            findings.not_run.append(NotRun("prefix", view_name(pinned), "its function is not repeatable"))
            continue
        gone = [f"{t} at version {v}: {r}" for t, v in pinned["sources"].items() if (r := tables.unreadable(t, v))]
        if gone:
            findings.not_run.append(NotRun("prefix", view_name(pinned), "; ".join(gone)))
            continue
        try:
            _check(tables, view, pinned, limits, findings)
        except Exception as fault:  # the user's own code, and whatever it raises
            reason = str(fault).strip().splitlines() or [type(fault).__name__]
            findings.not_run.append(NotRun("prefix", view_name(pinned), f"its function failed: {reason[0]}"))


def _check(tables: Tables, view: TableView, pinned: Mapping[str, Any], limits: LeakLimits, findings: Findings) -> None:
    stored = tables.read(view.table, pinned["delta_version"])
    identity = [*view.keys, n.EVENT_TIMESTAMP, n.AVAILABLE_TIMESTAMP, n.SEQUENCE, *view.order_columns]
    drawn = F.xxhash64(F.lit(limits.seed), *(F.col(f"`{c}`") for c in identity))
    chosen = stored.select(*(f"`{c}`" for c in (*identity, *view.columns))).orderBy(drawn).limit(_ROWS)
    transform = view.transform
    assert isinstance(transform, FunctionTransform)
    rows = plain(chosen.toArrow()).to_pylist()
    for row in rows:
        cut = max(row[n.EVENT_TIMESTAMP], row[n.AVAILABLE_TIMESTAMP])
        frames = [
            _until(input_frame(tables, one, pinned["sources"], {}), one, cut, _group(view, row) if at == 0 else {})
            for at, one in enumerate(view.inputs)
        ]
        reach = Reach(pinned.get("watermark_us"), pinned.get("bound_us"))
        found = COMPUTATIONS[view.kind].rows(frames, view, reach=reach, scope=None, buckets=1)
        again = [
            one for one in plain(found.select(*(f"`{c}`" for c in (*identity, *view.columns))).toArrow()).to_pylist()
            if all(same(one[c], row[c]) for c in identity)
        ]  # fmt: skip
        for name in view.columns:
            value = again[0][name] if again else None
            if not same(row[name], value):
                told = (
                    f"{row[name]!r} with all rows, {value!r} without those that were known after it: it is not "
                    f"{view.knowledge}, as its text says"
                )
                named = {key: row[key] for key in view.keys}
                findings.add(Leak("future", view_name(pinned), name, named, told))
    findings.ran.append(Ran("prefix", view_name(pinned), len(rows)))


def _group(view: TableView, row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the first input that name the row's group, and their values."""
    transform = view.transform
    assert isinstance(transform, FunctionTransform)
    return {view.inputs[0].by[key]: row[key] for key in transform.group}


def _until(frame: DataFrame, one: Input, cut: int, group: Mapping[str, Any]) -> DataFrame:
    assert isinstance(one, ViewInput)
    for column, value in group.items():
        frame = frame.where(F.col(f"`{column}`") == F.lit(value))
    if one.knowledge == "static":
        return frame
    known = F.greatest(F.unix_micros(n.EVENT_TIMESTAMP), F.unix_micros(n.AVAILABLE_TIMESTAMP))
    return frame.where(known <= F.lit(cut))
