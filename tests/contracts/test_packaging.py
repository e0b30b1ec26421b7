"""What the wheel contains, and that it and the sdist work where the repository is not."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import resources
from pathlib import Path

import pytest

from tests.conftest import ROOT


def test_every_package_is_shipped() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    on_disk = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "fs_spark").rglob("__init__.py")}
    assert listed == on_disk | {"fs_spark.starter"}


def test_the_starter_configuration_is_conf() -> None:
    starter = resources.files("fs_spark.starter")
    names = sorted(str(file.relative_to(ROOT / "conf")) for file in (ROOT / "conf").rglob("*.yaml"))
    assert "store.yaml" in names
    for name in names:
        assert starter.joinpath(*name.split("/")).read_bytes() == (ROOT / "conf" / name).read_bytes()


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_what_is_built_works_elsewhere(kind: str, tmp_path: Path) -> None:
    """Built from what git knows, installed in an environment of its own, used where the repository is not."""
    tree, built, home = tmp_path / "tree", tmp_path / "dist", tmp_path / "home"
    home.mkdir()
    known = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(known, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    run(sys.executable, "-m", "build", f"--{kind}", "--outdir", str(built), str(tree), cwd=home)
    (archive,) = built.iterdir()
    run(sys.executable, "-m", "venv", str(tmp_path / "venv"), cwd=home)
    python = tmp_path / "venv" / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    run(str(python), *install, str(archive), cwd=home)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    told = run(str(python), "-c", "import fs_spark; print(fs_spark.__file__)", cwd=home)
    assert told.strip().startswith(str(packages)), told
    verb = str(tmp_path / "venv" / "bin" / "fs-spark")
    assert run(verb, "--version", cwd=home).startswith("fs_spark ")
    run(verb, "init", "conf", cwd=home)
    assert (home / "conf" / "views" / "die_neighborhood.yaml").is_file()
    assert "neighbor_count" in run(verb, "features", "outcome_neighborhood", cwd=home)
    assert (packages / "fs_spark" / "py.typed").is_file()
    (info,) = packages.glob("fs_spark-*.dist-info")
    assert re.search(r"^License(-Expression)?: Apache-2\.0$", (info / "METADATA").read_text("utf-8"), re.MULTILINE)
    assert list(info.rglob("LICENSE"))


def run(*words: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
