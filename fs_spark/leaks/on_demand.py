"""Features on demand of a sample, against the same expressions over what the naive loop finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from fs_spark.features.expressions import parse_expression
from fs_spark.features.types import ARROW
from fs_spark.leaks.oracle import ViewHistory, newest, outputs_of
from fs_spark.leaks.report import Findings, Leak, NotRun, Ran
from fs_spark.leaks.rows import Sample, plain, same
from fs_spark.training.chosen import EVENT
from fs_spark.training.pinned import view_name


def check_on_demand(
    parts: Sequence[Mapping[str, Any]], histories: Sequence[ViewHistory], sample: Sample, findings: Findings
) -> None:
    """Compares the sample's features on demand, where the rows of all of its keys are held."""
    places = [place for place in range(len(sample.rows)) if all(place in one.of for one in histories)]
    joined: dict[str, list[Any]] = {}
    tied: set[int] = set()
    for history in histories:
        found = []
        for place in places:
            time = sample.rows[place][sample.timestamp]
            rows = newest(history.view, [history.rows[at] for at in history.of[place]], time)
            tied |= {place} if len(rows) > 1 else set()
            found.append(outputs_of(history.view, rows[0] if rows else None, time))
        for at, name in enumerate(history.view.all_outputs):
            joined[name] = [values[at] for values in found]
    for part in parts:
        columns = {}
        for shown, kind in part["types"].items():
            if shown in part["reads"]:
                columns[shown] = _array(joined[part["reads"][shown]], kind)
            else:
                name = sample.timestamp if shown == EVENT else part["brought"][shown]
                columns[shown] = _array([sample.rows[place][name] for place in places], kind)
        for output, name in part["columns"]:
            expression = parse_expression(part["values"][name], part["types"])
            values = expression.evaluate(columns, rows=len(places))
            expected = plain(pa.table({output: values}))[output].to_pylist()
            for place, value in zip(places, expected, strict=True):
                given = sample.rows[place][output]
                if place not in tied and not same(sample.kept(output, value), given):
                    told = f"expected {sample.shown(output, value)!r}, found {sample.shown(output, given)!r}"
                    row = sample.named(place, list(dict.fromkeys(key for one in histories for key in one.view.keys)))
                    findings.add(Leak("oracle", view_name(part), output, row, told))
        findings.ran.append(Ran("oracle", view_name(part), len(places)))
    if len(places) < len(sample.rows):
        reason = f"{len(sample.rows) - len(places)} of {len(sample.rows)} sampled rows have keys with too many rows"
        findings.not_run.append(NotRun("oracle", "features on demand", f"{reason}. Hint: raise LeakLimits.view_rows"))


def _array(values: Sequence[Any], kind: str) -> pa.Array:
    if kind == "timestamp":
        return pa.array(values, pa.int64()).cast(ARROW[kind])
    return pa.array(values, ARROW[kind])
