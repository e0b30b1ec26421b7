"""What is compiled beforehand is compiled once a machine, dealt out evenly, and said only where it is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fs_spark import cli, warm
from fs_spark.names import CACHE_FOLDER
from tests.conftest import ROOT


def test_the_jobs_are_dealt_out_evenly() -> None:
    assert warm.dealt(["stdf", "wafer_values", "local_values", "clusters"], 2) == [
        ["stdf", "local_values"],
        ["wafer_values", "clusters"],
    ]
    assert warm.dealt(["stdf"], 4) == [["stdf"]]
    assert sorted(job for hand in warm.dealt(warm.all_jobs(), 3) for job in hand) == sorted(warm.all_jobs())


def test_kernels_bring_those_that_they_are_made_of() -> None:
    assert warm.kernel_jobs(["neighborhood", "map"]) == ["neighborhood"]
    assert "local_values" in warm.kernel_jobs(["own"])


def test_a_job_is_compiled_once_and_found_by_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_FOLDER, str(tmp_path))
    assert warm.cold(["neighborhood", "density"]) == ["neighborhood", "density"]
    code = "from fs_spark.kernels import neighborhood as k; from fs_spark.warm import compile_job; "
    code += "compile_job('neighborhood'); print(sum(k._run._cache_hits.values()))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for is_kept in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        assert (int(done.stdout) > 0) is is_kept
    assert warm.cold(["neighborhood", "density"]) == ["density"]
    monkeypatch.setattr(warm, "_started", lambda hand: pytest.fail(f"started for {hand}"))
    warm.start_warming(["neighborhood"])  # nothing is left to do


def test_where_nothing_can_be_kept_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(CACHE_FOLDER, str(tmp_path / "file" / "below"))
    assert cli.main(["warm"]) == 2
    assert "Hint: set FS_SPARK_CACHE_DIR" in capsys.readouterr().err
    warm.start_warming(["neighborhood"])  # a verb goes on without
