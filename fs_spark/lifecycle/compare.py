"""Two versions of a view: what they mean differently, and on a sample of keys what their values are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.errors import RequestError
from fs_spark.features.definition import View
from fs_spark.features.differences import differences
from fs_spark.tables import Tables

SAMPLE: Final = 10_000
_SHOWN: Final = 10
_NUMBERS: Final = ("int", "bigint", "double")


@dataclass(frozen=True)
class ColumnDifference:
    """A column in the rows that both versions have.

    equal    share of these rows in which the values are the same; two nulls are, two NaN too; None of no rows
    largest  the largest absolute difference of two numbers; None where there are no two numbers
    first    the first rows that differ: the row's keys and time, `before`, `after`
    """

    equal: float | None
    largest: float | None
    first: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class ViewDiff:
    """What two versions of a view differ in.

    meaning   lines of the definition: `+` only in the other, `-` only in the first, `~` in both
    sampled   rows of the sample that both have, only the first has, only the other has; None where a table is not there
    """

    names: tuple[str, str]
    meaning: tuple[str, ...]
    sampled: tuple[int, int, int] | None = None
    columns: Mapping[str, ColumnDifference] = field(default_factory=dict)
    unread: str | None = None
    """Why no values were compared."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __repr__(self) -> str:
        return f"ViewDiff({' and '.join(self.names)}: {len(self.meaning)} differences of meaning)"

    def to_text(self) -> str:
        meaning = "another meaning" if self.meaning else "the same meaning"
        lines = [f"{self.names[0]} and {self.names[1]}: {meaning}"]
        lines += [f"  {line}" for line in self.meaning]
        if self.sampled is None:
            return "\n".join([*lines, f"values   not compared: {self.unread}"])
        both, mine, theirs = self.sampled
        lines.append(f"sample   {both} rows in both, {mine} only in the first, {theirs} only in the other")
        for name, found in self.columns.items():
            largest = f", largest difference {found.largest:.6g}" if found.largest else ""
            share = f"{100 * found.equal:.2f} % equal" if found.equal is not None else "nothing to compare"
            lines.append(f"column   {name}: {share}{largest}")
            for row in found.first:
                keys = ", ".join(f"{key}={value}" for key, value in row.items() if key not in ("before", "after"))
                lines.append(f"           {keys}: {row['before']} -> {row['after']}")
        return "\n".join(lines)


def compare_views(tables: Tables, before: View, after: View, *, sample: int = SAMPLE) -> ViewDiff:
    """The definitions line by line, and the values of about `sample` rows, chosen by a hash of their keys.

    Raises     RequestError where the two are keyed by other columns
    """
    if dict(before.key_types) != dict(after.key_types):
        raise RequestError(
            f"{before.qualified} is keyed by {', '.join(before.keys)}, {after.qualified} by {', '.join(after.keys)}: "
            "no row of one is a row of the other"
        )
    names, meaning = (before.qualified, after.qualified), tuple(map(str, differences(before, after)))
    lacking = [view.qualified for view in (before, after) if view.is_on_demand or not tables.exists(view.table)]
    if lacking:
        return ViewDiff(names, meaning, unread=f"{', '.join(lacking)} has no table")
    common = [name for name in after.columns if name in before.columns]
    count = max(_count(tables, view) for view in (before, after))
    keys, one_in = list(after.keys), max(1, count // max(sample, 1))
    mine, theirs = (_sampled(tables, view, keys, common, one_in, 4 * sample) for view in (before, after))
    first, other = mine.keys(), theirs.keys()
    both = [key for key in mine if key in theirs]
    pairs = [(key, mine[key], theirs[key]) for key in both]
    told = [*keys, n.EVENT_TIMESTAMP]
    columns = {name: _column(name, after.columns[name], told, pairs) for name in common}
    return ViewDiff(names, meaning, (len(both), len(first - other), len(other - first)), columns)


_Row = Mapping[str, Any]


def _count(tables: Tables, view: View) -> int:
    count = tables.row_count(view.table)
    return count if count is not None else tables.read(view.table).count()


def _sampled(
    tables: Tables, view: View, keys: Sequence[str], common: Sequence[str], one_in: int, most: int
) -> dict[tuple[Any, ...], _Row]:
    """Rows of the sample by keys, event, and their place among the rows of that event; never more than `most`."""
    rows = tables.read(view.table)
    times = [name for name in (n.EVENT_TIMESTAMP,) if name in rows.columns and not view.is_static]
    known = [name for name in (n.AVAILABLE_TIMESTAMP,) if name in rows.columns]
    hashed = F.xxhash64(*(F.col(f"`{name}`") for name in (*keys, *times)))
    chosen = rows.where(F.pmod(hashed, F.lit(one_in)) == 0).orderBy(hashed).limit(most)
    wanted = dict.fromkeys([*keys, *times, *known, *common])
    table: pa.Table = chosen.select(*(F.col(f"`{name}`") for name in wanted)).toArrow()
    order = [(name, "ascending") for name in (*keys, *times, *known, *common) if _sorts(table, name)]
    table = table.take(pc.sort_indices(table, sort_keys=order))
    found: dict[tuple[Any, ...], _Row] = {}
    counts: dict[tuple[Any, ...], int] = {}
    for row in table.to_pylist():
        key = (*(row[name] for name in keys), row.get(n.EVENT_TIMESTAMP))
        counts[key] = counts.get(key, -1) + 1
        found[*key, counts[key]] = row
    return found


def _sorts(table: pa.Table, name: str) -> bool:
    return not pa.types.is_nested(table.schema.field(name).type)


def _column(
    name: str, kind: str, keys: Sequence[str], pairs: Sequence[tuple[tuple[Any, ...], _Row, _Row]]
) -> ColumnDifference:
    differing, largest = [], None
    for key, mine, theirs in pairs:
        a, b = mine[name], theirs[name]
        if kind in _NUMBERS and _is_number(a) and _is_number(b):
            gap = 0.0 if _is_same(a, b) else abs(a - b)
            if not math.isnan(gap):
                largest = gap if largest is None else max(largest, gap)
        if not _is_same(a, b):
            differing.append((key, a, b))
    first = tuple({**dict(zip(keys, key, strict=False)), "before": a, "after": b} for key, a, b in differing[:_SHOWN])
    return ColumnDifference(1 - len(differing) / len(pairs) if pairs else None, largest, first)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_is_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
