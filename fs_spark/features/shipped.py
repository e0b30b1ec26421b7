"""Sources that need no text: the store's own ingested tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fs_spark.features.types import KeyType

_RUN: Final = {
    "insertion": "string", "product_id": "string", "test_program": "string", "tester": "string", "head": "int",
    "run_id": "string",
}  # fmt: skip
"""What is known of a run before any of its dies is tested."""


@dataclass(frozen=True)
class ShippedSource:
    """An ingested table as a source; `options` are what a view may say of it, with their defaults."""

    name: str
    keys: Mapping[str, KeyType]
    columns: Mapping[str, str]
    order: tuple[str, ...]
    known_before: frozenset[str]
    options: Mapping[str, Any]
    is_numbered: bool = False
    """Whether its rows come with a `sequence` that orders them."""
    grouped_by: str = "lot_id"
    """The column of which all rows of one value come together."""
    steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Finer entity -> the columns that tell one whose end is known: an option `step` that is no part of the others."""
    tells_others: bool = False
    """Whether it can give the rows that never count too: an option `others`, of those that compare rows."""

    def options_of(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The options of a view, and what is wrong with them."""
        known = {*self.options, *(["step"] if self.steps else []), *(["others"] if self.tells_others else [])}
        faults = [f"{name} is not an option of source {self.name}" for name in given if name not in known]
        chosen = {**self.options, **{k: v for k, v in given.items() if k in known}}
        if "parameters" in chosen:
            chosen["parameters"] = tuple(dict.fromkeys(chosen["parameters"] or ()))
            odd = [name for name in chosen["parameters"] if name in self.columns]
            if odd:
                told = f"parameter {odd[0]!r} is called like a column of {self.name}"
                faults.append(f"{told}. Hint: give it another name in products.yaml")
        if chosen.get("step", "") not in ("", *self.steps):
            faults.append(f"step: no end of {chosen['step']!r} is known. Hint: {' or '.join(self.steps)}")
        if "attempts" in chosen and chosen["attempts"] not in ("first", "latest", "all"):
            faults.append(f"attempts: {chosen['attempts']!r} is not known. Hint: first, latest or all")
        return chosen, faults


ATTEMPTS: Final = ShippedSource(
    name="attempts",
    keys={"lot_id": "string", "wafer_id": "string", "die_x": "int", "die_y": "int"},
    columns={
        "lot_id": "string", "wafer_id": "string", "die_x": "int", "die_y": "int", **_RUN, "site": "int",
        "touchdown": "int", "part_index": "int", "part_id": "string", "passed": "boolean", "hard_bin": "int",
        "soft_bin": "int", "test_time_ms": "bigint",
    },
    order=("run_id", "part_index"),
    known_before=frozenset({*_RUN, "site", "touchdown", "part_index"}),
    options={"insertion": "1", "attempts": "first", "parameters": ()},
    is_numbered=True,
    tells_others=True,
    steps={"wafer": ("lot_id", "wafer_id", "run_id")},
)  # fmt: skip
WAFER_RUNS: Final = ShippedSource(
    name="wafer_runs",
    keys={"lot_id": "string", "wafer_id": "string"},
    columns={
        "lot_id": "string", "wafer_id": "string", **_RUN, "parts": "bigint", "judged": "bigint", "fails": "bigint",
        "touchdowns": "bigint", "run_start": "timestamp",
    },
    order=("run_id",),
    known_before=frozenset(_RUN),
    options={"insertion": "1"},
)  # fmt: skip
_LOT: Final = {"insertion": "string", "product_id": "string", "test_program": "string"}
LOTS: Final = ShippedSource(
    name="lots",
    keys={"lot_id": "string"},
    columns={
        "lot_id": "string", **_LOT, "wafers": "bigint", "runs": "bigint", "parts": "bigint", "judged": "bigint",
        "fails": "bigint", "first_start": "timestamp",
    },
    order=(),
    known_before=frozenset(_LOT),
    options={"insertion": "1"},
)  # fmt: skip
SHIPPED_SOURCES: Final = {source.name: source for source in (ATTEMPTS, WAFER_RUNS, LOTS)}
