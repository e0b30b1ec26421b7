"""The README's code and the notebooks run, and print what they say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fs_spark.cli import main
from fs_spark.features.listing import catalogue_markdown

ROOT = Path(__file__).resolve().parents[2]


def test_readme_code_prints_what_the_readme_shows(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(?P<code>.*?)```\n+```text\n(?P<shown>.*?)```", text, re.DOTALL)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    assert main(["init", "conf"]) == 0
    capsys.readouterr()
    names: dict[str, object] = {}
    exec(compile(found["code"], "README.md", "exec"), names)
    assert capsys.readouterr().out.strip() == found["shown"].strip()
    training = re.search(r"```py\n(?P<code>.*?)```", text, re.DOTALL)
    assert training is not None
    exec(compile(training["code"], "README.md", "exec"), names)
    assert "asked: " in capsys.readouterr().out
    assert (tmp_path / "out" / "asked" / "manifest.json").is_file()


@pytest.mark.parametrize("notebook", sorted(p.name for p in (ROOT / "notebooks").glob("*.py")))
def test_notebook_runs(
    notebook: str,
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FS_SPARK_NOTEBOOK_FOLDER", str(tmp_path))
    path = ROOT / "notebooks" / notebook
    assert path.read_text().startswith("# Databricks notebook source\n")
    runpy.run_path(str(path))
    said = re.findall(r"rows, digest (\w+)", capsys.readouterr().out)
    assert len(said) == 2
    assert said[0] == said[1]
    assert (tmp_path / "wafer.png").read_bytes().startswith(b"\x89PNG")


def test_readme_shows_the_catalogue() -> None:
    assert catalogue_markdown() in (ROOT / "README.md").read_text(encoding="utf-8")
