"""A small part of `python -m tests.fuzz.run`: mutated real files read as by the naive scanner, or are refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.fuzz.compare import difference
from tests.fuzz.mutate import Corpus


def test_mutants_are_read_as_the_scanner_reads_them(shared_data: Path) -> None:
    corpus = Corpus(shared_data)
    kinds: Counter[str] = Counter()
    for number in range(600):
        told, data = corpus.mutant(1, number)
        problem, kind = difference(data)
        assert problem is None, f"python -m tests.fuzz.run --seed 1 --only {number}: {told}: {problem}"
        kinds[kind] += 1
    assert min(kinds[kind] for kind in ("sound", "with faults", "damaged", "set aside")) >= 10, kinds
