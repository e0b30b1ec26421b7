"""Which tests of a file could be parameters, and which are metadata that would leak or mislead.

A test that is a function of the place, of the order of testing, of the site or of the outcome carries no measurement:
a model that learns from it learns the map, the clock or the label. What is proposed is for a person to choose from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.stdf.reader import StdfFile

Floats = NDArray[np.float64]

CLOCK_NAME: Final = re.compile(
    r"(?i)(^|[^a-z])(year|month|day|hour|minute|second|sec|date|time|clock|timestamp|epoch)s?($|[^a-z])"
    r"|sot_|eot_|secsince"
)
PLACE_NAME: Final = re.compile(
    r"(?i)coord|(^|[^a-z])(x|y|xy|die_?x|die_?y|row|col|column)($|[^a-z])|wafer.?(id|num)|lot.?(id|num)"
)
_ALMOST: Final = 0.9999
_ENOUGH: Final = 0.5
_SAME: Final = 0.98
_TOO_SMOOTH: Final = 0.995
"""Correlation of neighbors above which a test is taken for a place with outliers, not for a measurement."""


@dataclass(frozen=True)
class Candidate:
    """A test that could be a parameter. `spatial` is the correlation of neighboring dies' values."""

    name: str
    test_num: int
    test_name: str
    unit: str | None
    usable: float
    spatial: float


@dataclass(frozen=True)
class Suggestion:
    """`metadata` has (TEST_NUM, TEST_TXT, why) of the tests that should never be parameters."""

    candidates: tuple[Candidate, ...]
    metadata: tuple[tuple[int, str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "parameters": [vars(candidate) for candidate in self.candidates],
            "metadata": [{"test_num": num, "test_name": name, "why": why} for num, name, why in self.metadata],
        }

    def to_text(self) -> str:
        """Lines for products.yaml, with the reasons of what is left out as comments."""
        lines = ["parameters:"] if self.candidates else ["# no test looks like a measurement"]
        for c in self.candidates:
            unit = f", unit: {_quoted(c.unit)}" if c.unit else ""
            lines.append(
                f"  {c.name}: {{test_num: {c.test_num}, test_name: {_quoted(c.test_name)}{unit}}}"
                f"  # usable {100 * c.usable:.0f} %, neighbors correlate {c.spatial:+.2f}"
            )
        lines += [f"# not {num} {name}: {why}" for num, name, why in self.metadata]
        return "\n".join(lines)


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z_]\w*", text) else "'" + text.replace("'", "''") + "'"


def _values(found: StdfFile) -> Iterator[tuple[dict[str, Any], Floats]]:
    """Each PTR test with its first usable value in every part, (parts,), NaN = none."""
    tests = found.tests.to_pylist()
    structs = found.part_results.values
    index = np.asarray(structs.field("test_index"))
    value = np.asarray(structs.field("result").fill_null(float("nan")), np.float64)
    offsets = np.asarray(found.part_results.offsets)
    part = np.repeat(np.arange(found.parts.num_rows), np.diff(offsets))
    rows = np.flatnonzero(~np.isnan(value))
    rows = rows[np.argsort(index[rows], kind="stable")]
    edges = np.searchsorted(index[rows], np.arange(len(tests) + 1))
    for k, test in enumerate(tests):
        if test["record"] == "PTR":
            mine = rows[edges[k] : edges[k + 1]][::-1]  # of several in a part the first stays
            column = np.full(found.parts.num_rows, np.nan)
            column[part[mine]] = value[mine]
            yield test, column


@dataclass(frozen=True)
class _Context:
    """What a file's parts are, apart from their results; all (parts,)."""

    x: Floats
    y: Floats
    site: Floats
    order: Floats
    touchdown: NDArray[np.signedinteger[Any]]
    passing_in_touchdown: Floats
    parts_in_touchdown: Floats
    passed: Floats
    hard_bin: Floats

    @classmethod
    def of(cls, found: StdfFile) -> _Context:
        parts = found.parts

        def floats(name: str) -> Floats:
            return np.asarray(parts[name].cast("float64").fill_null(float("nan")), np.float64)

        runs = parts["run_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        touchdown = np.asarray(parts["touchdown"], np.int64)
        stride = int(touchdown.max(initial=0)) + 1
        _, td = np.unique(runs.astype(np.int64) * stride + touchdown, return_inverse=True)
        passed = np.asarray([np.nan if p is None else float(p) for p in parts["passed"].to_pylist()])
        counts = np.bincount(td)
        order = np.arange(parts.num_rows).astype(np.float64)
        passing = np.bincount(td, weights=np.nan_to_num(passed)).astype(np.float64)
        return cls(
            floats("die_x"), floats("die_y"), floats("site"), order,
            td, passing[td], counts[td].astype(np.float64), passed, floats("hard_bin"),
        )  # fmt: skip

    @property
    def has_parallel_sites(self) -> bool:
        return bool((self.parts_in_touchdown > 1).mean() > _ENOUGH) if len(self.x) else False


def _determines(keys: Sequence[Floats], value: Floats, *, at_least: int) -> bool:
    """Whether equal keys always have equal values, with enough keys that have several."""
    _, group = np.unique(np.stack(keys), axis=1, return_inverse=True)
    group = group.reshape(-1)
    count = np.bincount(group)
    if (count > 1).sum() < at_least:
        return False
    low, high = np.full(len(count), np.inf), np.full(len(count), -np.inf)
    np.minimum.at(low, group, value)
    np.maximum.at(high, group, value)
    return bool((low == high)[count > 1].all())


def _is_linear(columns: Sequence[Floats], value: Floats) -> bool:
    spread = ((value - value.mean()) ** 2).sum()
    if spread == 0 or len(value) < 10:
        return False
    design = np.stack([*(c - c.mean() for c in columns), np.ones(len(value))], axis=1)
    fitted = design @ np.linalg.lstsq(design, value, rcond=None)[0]
    return bool(1 - ((value - fitted) ** 2).sum() / spread > _ALMOST)


def why_metadata(name: str, value: Floats, context: _Context) -> str | None:
    """Why a test is no measurement; None where nothing speaks against it."""
    there = ~np.isnan(value)
    v = value[there]
    x, y, site, order = (a[there] for a in (context.x, context.y, context.site, context.order))
    placed = ~np.isnan(x) & ~np.isnan(y)
    distinct = len(np.unique(v))
    if distinct < 2:
        return None
    if placed.sum() >= 10 and (np.ptp(x[placed]) > 0 or np.ptp(y[placed]) > 0):
        if _is_linear([x[placed], y[placed]], v[placed]):
            return "a function of the die's place"
        for axis, which in ((x, "x"), (y, "y")):
            if distinct > 3 and _determines([axis[placed]], v[placed], at_least=3):
                return f"a function of {which}"
    passing, present = context.passing_in_touchdown[there], context.parts_in_touchdown[there]
    if context.has_parallel_sites:
        for count, what in ((passing, "passing sites"), (present - passing, "failing sites"), (present, "sites")):
            if len(np.unique(count)) > 1 and (v == count).mean() > 0.95:
                return f"the number of {what} in the touchdown"
    if distinct > 3 and _is_linear([order], v):
        return "grows with the order of testing: a clock or a counter"
    steps = np.diff(v)
    if distinct > 0.2 * len(v) and len(v) > 20 and ((steps >= 0).all() or (steps <= 0).all()):
        return "only grows or only falls with the order of testing: a clock or a counter"
    whole = bool((np.abs(v - np.rint(v)) < 1e-3 * np.maximum(np.abs(v), 1)).all())
    if context.has_parallel_sites and whole:
        td = context.touchdown[there].astype(np.float64)
        if _determines([td], v, at_least=20):
            return "one value for all sites of a touchdown: a clock, a counter or a count over them"
    if len(np.unique(site)) > 1 and _determines([site], v, at_least=2):
        return "a function of the site"
    passed, bins = context.passed[there], context.hard_bin[there]
    if distinct <= 50 and whole:
        for outcome, what in ((passed, "pass or fail"), (bins, "the hard bin")):
            known = ~np.isnan(outcome)
            if len(np.unique(outcome[known])) > 1 and _determines([outcome[known]], v[known], at_least=2):
                return f"a function of {what}"
    if CLOCK_NAME.search(name) and whole:
        return "a clock by its name and its whole numbers"
    if PLACE_NAME.search(name) and whole:
        return "a place or a name by its name and its whole numbers"
    return None


def spatial_correlation(x: Floats, y: Floats, value: Floats) -> float:
    """Correlation of a die's value with that of its right and lower neighbor; 0 where there are too few."""
    there = ~(np.isnan(x) | np.isnan(y) | np.isnan(value))
    if there.sum() < 20:
        return 0.0
    low, high = np.percentile(value[there], [1, 99])  # an outlier must not decide
    column, row = (np.rint(a[there] - a[there].min()).astype(np.int64) for a in (x, y))
    grid = np.full((column.max() + 2, row.max() + 2), np.nan)
    grid[column, row] = np.clip(value[there], low, high)
    one = np.concatenate([grid[:-1].ravel(), grid[:, :-1].ravel()])
    other = np.concatenate([grid[1:].ravel(), grid[:, 1:].ravel()])
    pairs = ~np.isnan(one) & ~np.isnan(other)
    one, other = one[pairs], other[pairs]
    if len(one) < 20:
        return 0.0
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def short_name(text: str, taken: set[str]) -> str:
    """A parameter's name: `[a-z0-9_]`, no double underscore, not taken."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:40].strip("_") or "test"
    unique, k = name, 2
    while unique in taken:
        unique, k = f"{name}_{k}", k + 1
    taken.add(unique)
    return unique


def suggest(found: StdfFile, *, deny: Sequence[str] = (), limit: int = 10) -> Suggestion:
    """Tests that look like measurements, those whose neighbors correlate most first, and the ones that are metadata.

    Left out besides: fewer than half of the parts with results have a value, ten distinct values or less, correlated
    above 0.98 with one that is proposed already, or the name matches `deny`.
    """
    context = _Context.of(found)
    denied = [re.compile(pattern) for pattern in deny]
    metadata: list[tuple[int, str, str]] = []
    usable: list[tuple[float, int, dict[str, Any], Floats]] = []
    measured = max(int((np.diff(np.asarray(found.part_results.offsets)) > 0).sum()), 1)  # testers log samples only
    for k, (test, value) in enumerate(_values(found)):
        name = test["test_name"]
        why = why_metadata(name, value, context)
        if why is None and any(pattern.search(name) for pattern in denied):
            why = "its name is denied"
        if why is not None:
            metadata.append((test["test_num"], name, why))
            continue
        there = value[~np.isnan(value)]
        if len(there) < _ENOUGH * measured or len(np.unique(there)) <= 10:
            continue
        spatial = spatial_correlation(context.x, context.y, value)
        if spatial > _TOO_SMOOTH:
            metadata.append((test["test_num"], name, f"neighbors correlate {spatial:.4f}: close to a place"))
        else:
            usable.append((spatial, k, test, value))
    usable.sort(key=lambda item: (-abs(item[0]), item[1]))
    taken: set[str] = set()
    chosen: list[tuple[Candidate, Floats]] = []
    for spatial, _, test, value in usable:
        if len(chosen) == limit:
            break
        if any(_correlation(value, other) > _SAME for _, other in chosen):
            continue
        name = short_name(test["test_name"] or f"test_{test['test_num']}", taken)
        share = float((~np.isnan(value)).sum()) / measured
        chosen.append((Candidate(name, test["test_num"], test["test_name"], test["unit"], share, spatial), value))
    return Suggestion(tuple(candidate for candidate, _ in chosen), tuple(metadata))


def _correlation(one: Floats, other: Floats) -> float:
    both = ~np.isnan(one) & ~np.isnan(other)
    if both.sum() < 3 or one[both].std() == 0 or other[both].std() == 0:
        return 0.0
    return abs(float(np.corrcoef(one[both], other[both])[0, 1]))
