"""Eight processes, a JVM each, that register in one store at once; threads of one session do it in test_life.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.conftest import ROOT
from tests.stores import new_folder, open_store

pytestmark = pytest.mark.soak

WRITERS = 8
TEXT = "name: {name}\nversion: '1.0'\ninsertion: '1'\nfeatures: [{features}]\n"
STORE = "root: {root}\nspark: {{master: 'local[1]', settings: {{spark.driver.memory: 1g}}}}\n"


def apply_at_once(folder: Path, views: Sequence[tuple[str, str]]) -> list[tuple[int, str]]:
    """A process for each view, by its name and features; what each ended with, and what it said on stderr."""
    jobs = []
    try:
        for number, (name, features) in enumerate(views):
            conf = new_folder(folder / f"{number}", views=()) / "conf"
            (conf / "views" / f"{name}.yaml").write_text(TEXT.format(name=name, features=features), "utf-8")
            (conf / "services.yaml").write_text("services: {}\n", "utf-8")
            (conf / "store.yaml").write_text(STORE.format(root=folder / "store"), "utf-8")
            words = ["apply", "--yes", "--conf", str(conf / "store.yaml")]
            command = [sys.executable, "-m", "fs_spark.cli", *words]
            jobs.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True))
        told = [job.communicate(timeout=900)[1] for job in jobs]
        return [(job.returncode, text) for job, text in zip(jobs, told, strict=True)]
    finally:
        for job in jobs:
            job.kill()


def registered(folder: Path, spark: SparkSession) -> list[str]:
    """The versions in the registry, one for each entry that defines one; entries are numbered from 1 on."""
    table = open_store(folder / "0", spark)._tables.read("registry")
    entries = [row.asDict() for row in table.select("entry", "kind", "view", "version").collect()]
    assert sorted(row["entry"] for row in entries) == list(range(1, len(entries) + 1))
    return sorted(f"{row['view']} {row['version']}" for row in entries if row["kind"] == "view_version")


def test_different_views_are_all_registered_once(spark: SparkSession, tmp_path: Path) -> None:
    names = [f"one_{number}" for number in range(WRITERS)]
    done = apply_at_once(tmp_path, [(name, "neighbor_count") for name in names])
    assert [code for code, _ in done] == [0] * WRITERS, done
    assert registered(tmp_path, spark) == [f"{name} 1.0" for name in names]
    assert set(open_store(tmp_path / "0", spark)._state().promoted) == set(names)


def test_of_different_texts_of_one_version_one_stands(spark: SparkSession, tmp_path: Path) -> None:
    counted = ("neighbor_count", "fail__neighbor_count", "fail__neighbor_frac", "ring5_count")
    texts = [*counted, *(f"{one}, fail__ring5_count" for one in counted)]
    done = apply_at_once(tmp_path, [("one", text) for text in texts])
    assert sorted(code for code, _ in done) == [0, *[2] * (WRITERS - 1)], done
    refused = "TableConflictError: another job registered another definition of one v1.0 while this one ran; the first"
    assert all(refused in said for code, said in done if code), done
    assert registered(tmp_path, spark) == ["one 1.0"]
    first = next(text for (code, _), text in zip(done, texts, strict=True) if code == 0)
    assert list(open_store(tmp_path / "0", spark)._state().versions["one", "1.0"].columns) == first.split(", ")
