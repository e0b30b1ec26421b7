"""The catalogue for people: as text, as a Markdown table, as dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fs_spark.features.catalogue import CATALOGUE, FAMILIES, features_of_family
from fs_spark.features.feature import Feature


def chosen_features(families: Sequence[str]) -> tuple[Feature, ...]:
    """The features of some families, of all where none is named. Raises ValueError for an unknown family."""
    return tuple(f for family in families for f in features_of_family(family)) if families else CATALOGUE


def cost_of(family: str) -> str:
    return FAMILIES.get(family, FAMILIES["full_*"])


def catalogue_dicts(features: Sequence[Feature]) -> list[dict[str, Any]]:
    return [{"key": f.key, **asdict(f), "cost": cost_of(f.family)} for f in features]


def catalogue_text(features: Sequence[Feature]) -> str:
    """Family by family: its class, its cost, and a line for each feature."""
    lines: list[str] = []
    for family in dict.fromkeys(f.family for f in features):
        mine = [f for f in features if f.family == family]
        lines += ["", f"{family}: {mine[0].knowledge}, by {mine[0].entity}; cost: {cost_of(family)}"]
        lines += [
            f"  {f.key:32} {f.unit or '-':8} null when {f.undefined_when}; {f.source}"
            if f.undefined_when != "never"
            else f"  {f.key:32} {f.unit or '-':8} never null; {f.source}"
            for f in mine
        ]
    return "\n".join(lines[1:])


def catalogue_markdown() -> str:
    """One row per family; those of the whole wafer that repeat others are one row."""
    rows = ["| family | known | features | cost |", "|---|---|---|---|"]
    whole: list[str] = []
    for family in dict.fromkeys(f.family for f in CATALOGUE):
        mine = features_of_family(family)
        if family.startswith("full_"):
            whole.append(family)
            continue
        names = ", ".join(f"`{f.key}`" for f in mine)
        rows.append(f"| `{family}` | {mine[0].knowledge}, {mine[0].entity} | {names} | {cost_of(family)} |")
    names = ", ".join(f"`{family}`" for family in whole)
    rows.append(
        f"| {names} | after_wafer, die | the features above with `full_` before their name | {FAMILIES['full_*']} |"
    )
    return "\n".join(rows)
