"""A job may die at any write; running it once more gives what an undisturbed run gives.

Here each verb dies once, inside this process, and one process is really killed; tests/soak/run.py kills at every write.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from fs_spark import promises, tables
from tests.faults.verbs import ORDER, VERBS, content, copied, walked
from tests.faults.writes import Died, When, writes_noted
from tests.stores import open_store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stages(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Before each verb: the store as the verbs before it left it; with what it holds when the verb has run."""
    made: dict[str, tuple[Path, dict[str, Any]]] = {}
    folder = walked(spark, tmp_path_factory.mktemp("stages") / "all", ())
    for verb in ORDER:
        before = copied(folder, folder.parent / f"before {verb}")
        shutil.copytree(folder / "in", before / "in")
        VERBS[verb](open_store(folder, spark), folder)
        made[verb] = (before, content(spark, folder))
    return made


def die_at(number: int, when: When) -> Any:
    def stop(at: int, reached: When, name: str) -> None:
        if (at, reached) == (number, when):
            raise Died(name)

    return stop


# The write of each verb that is worth most: rows that do not count yet, a registration, units, rows of a training set.
@pytest.mark.parametrize(
    ("verb", "table", "when"),
    [
        ("ingest", "die_tests", "after"),
        ("ingest", "files", "after"),
        ("apply", "registry", "after"),
        ("materialize", "die_neighborhood__v1_0", "after"),
        ("train", "training__bin_model", "after"),
        ("export", "online", "before"),
    ],
)
def test_a_verb_that_died_is_completed_by_running_it_again(
    spark: SparkSession,
    tmp_path: Path,
    stages: dict[str, tuple[Path, dict[str, Any]]],
    verb: str,
    table: str,
    when: When,
) -> None:
    before, undisturbed = stages[verb]
    folder = copied(before, tmp_path / "store")
    shutil.copytree(before / "in", folder / "in")
    reached: list[str] = []

    def stop(at: int, now: When, name: str) -> None:
        reached.append(name)
        if (name, now) == (table, when) and reached.count(name) > (1 if when == "before" else 2) - (table == "online"):
            raise Died(name)  # the second write of a table: the first one makes it

    with pytest.raises(Died), writes_noted(stop):
        VERBS[verb](open_store(folder, spark), folder)
    VERBS[verb](open_store(folder, spark), folder)
    assert content(spark, folder) == undisturbed


def test_a_vacuum_that_died_left_a_low_promise_which_the_next_one_mends(
    spark: SparkSession,
    tmp_path: Path,
    stages: dict[str, tuple[Path, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, undisturbed = stages["vacuum"]
    folder = copied(before, tmp_path / "store")
    machine = promises.own_mark().split("/")[0]
    monkeypatch.setattr(tables, "own_mark", lambda: f"{machine}/999999999/0")  # no such process
    with pytest.raises(Died), writes_noted(die_at(0, "after")):
        VERBS["vacuum"](open_store(folder, spark), folder)
    VERBS["vacuum"](open_store(folder, spark), folder)
    assert content(spark, folder) == undisturbed


def test_a_process_that_is_killed_leaves_nothing_half_done(
    spark: SparkSession, tmp_path: Path, stages: dict[str, tuple[Path, dict[str, Any]]]
) -> None:
    """kill -9 of the driver behind the rows and before the commit marker."""
    before, undisturbed = stages["ingest"]
    folder = copied(before, tmp_path / "store")
    shutil.copytree(before / "in", folder / "in")
    words = ["ingest", str(folder / "in"), "--conf", str(folder / "conf" / "store.yaml")]
    command = [sys.executable, "-m", "tests.faults.killed", "die_tests", "2", "after", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == -9, done.stderr[-3000:]
    store = open_store(folder, spark)
    assert store.table("die_tests").isEmpty()
    assert not store._tables.read("die_tests").isEmpty()
    assert VERBS["ingest"](store, folder).exit_code == 0
    assert content(spark, folder) == undisturbed
