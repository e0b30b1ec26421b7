"""The general layers know no wafers: whatever an entity is, the same code serves it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

WORDS = frozenset(
    {"lot", "wafer", "die", "touchdown", "insertion", "tester", "site", "probe", "bin", "stdf"}
)  # fmt: skip
"""A product stays allowed: it is what a view version is bound to."""
GENERAL = (
    "store.py", "registry.py", "materialize.py", "changes.py", "unit_tables.py", "table_views.py", "view_inputs.py",
    "shared_passes.py", "sources.py", "label_spines.py", "view_files.py", "view_texts.py", "training/*.py",
    "online/*.py", "serving/*.py", "transforms/as_of*.py", "transforms/kinds/*.py", "transforms/labels.py",
    "transforms/splits.py",
)  # fmt: skip
DOOR = ("from fs_spark.tester_files import TesterFiles", "class FeatureStore(TesterFiles):")
"""The one place where the store meets tester files."""


def words_of(line: str) -> set[str]:
    parts = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", line).lower())
    return {one for part in parts for one in (part, part.removesuffix("s")) if one in WORDS}


def told(text: str) -> Iterator[tuple[int, set[str]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() not in DOOR and (found := words_of(line)):
            yield number, found


def test_general_layers_hold_no_word_of_wafers() -> None:
    files = [file for pattern in GENERAL for file in sorted((ROOT / "fs_spark").glob(pattern))]
    assert len(files) > 40
    faults = [
        f"{file.relative_to(ROOT)}:{number}: {', '.join(sorted(found))}"
        for file in files
        for number, found in told(Path(file).read_text("utf-8"))
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("keys = n.LOT_KEYS", {"lot"}),
        ("class DieRows:", {"die"}),
        ('"""Rows of testers."""', {"tester"}),
        ("product_id, allot, combine, opposite", set()),
        ("STDF files", {"stdf"}),
        ("bins: list[int]", {"bin"}),
    ],
)
def test_words_are_found_in_code_and_texts(line: str, found: set[str]) -> None:
    assert words_of(line) == found
