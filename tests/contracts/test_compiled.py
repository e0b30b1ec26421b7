"""Compiled functions are kept where something can be written, and work where nothing can.

Root may write anywhere, so a folder that cannot be written is a file here: nothing can be made below it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

COMPILE = """
import sys, time
from fs_spark import compiled
compiled.source_digest = lambda: "digest"
@compiled.njit(cache=True)
def twice(x):
    return x + x
print(twice(2.5), compiled.cache_folders()[0], sum(twice._cache_hits.values()))
"""


def run(code: str, **environment: str) -> str:
    given = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "FS_SPARK_", "XDG_"))}
    given |= {"PYTHONPATH": str(ROOT), **environment}
    path = Path(environment["SCRIPTS"]) / "script.py"
    path.write_text(code)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, env=given, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def nowhere(tmp_path: Path) -> str:
    (tmp_path / "file").write_text("no folder")
    return str(tmp_path / "file" / "below")


def test_the_first_folder_that_can_be_written_is_used(tmp_path: Path, nowhere: str) -> None:
    named, home, temporary = tmp_path / "named", tmp_path / "home", tmp_path / "tmp"
    temporary.mkdir()
    own = {"SCRIPTS": str(tmp_path), "TMPDIR": str(temporary)}
    cases = [
        ({"FS_SPARK_CACHE_DIR": str(named), "HOME": str(home)}, named),
        ({"FS_SPARK_CACHE_DIR": nowhere, "HOME": str(home)}, home / ".cache" / "fs_spark"),
        ({"FS_SPARK_CACHE_DIR": nowhere, "HOME": nowhere}, temporary / f"fs_spark-{os.getuid()}"),
    ]
    for environment, folder in cases:
        assert run(COMPILE, **own, **environment) == f"5.0 {folder}/digest 0"
        assert run(COMPILE, **own, **environment) == f"5.0 {folder}/digest 1"  # kept for the next process
    assert (temporary / f"fs_spark-{os.getuid()}").stat().st_mode & 0o777 == 0o700
    nothing = {"FS_SPARK_CACHE_DIR": nowhere, "HOME": nowhere, "TMPDIR": nowhere}
    code = COMPILE.replace("import sys, time", "import tempfile; tempfile.tempdir = " + repr(nowhere))
    assert run(code, SCRIPTS=str(tmp_path), **nothing) == "5.0 None 0"


def test_a_temporary_folder_that_others_may_write_is_not_trusted(tmp_path: Path, nowhere: str) -> None:
    taken = tmp_path / f"fs_spark-{os.getuid()}"
    taken.mkdir()
    taken.chmod(0o777)
    said = run(COMPILE, SCRIPTS=str(tmp_path), TMPDIR=str(tmp_path), HOME=nowhere)
    assert said.startswith(f"5.0 {tmp_path}/fs_spark-")
    assert not said.startswith(f"5.0 {taken}/")


def test_a_broken_or_outdated_entry_is_compiled_anew(tmp_path: Path) -> None:
    environment = {"SCRIPTS": str(tmp_path), "FS_SPARK_CACHE_DIR": str(tmp_path / "kept"), "HOME": str(tmp_path)}
    run(COMPILE, **environment)
    (kept,) = (tmp_path / "kept" / "digest").glob("*.nbc")
    kept.unlink()
    assert run(COMPILE, **environment).endswith(" 0")
    other = COMPILE.replace('"digest"', '"other"')
    assert run(other, **environment) == f"5.0 {tmp_path}/kept/other 0"


def test_two_processes_do_not_compile_the_same_at_once(tmp_path: Path) -> None:
    """The second one waits and takes what the first one kept."""
    slow = COMPILE.replace(
        "print(twice",
        "import numba.core.compiler as c\n"
        "real = c.compile_extra\n"
        "c.compile_extra = lambda *a, **k: (time.sleep(3), real(*a, **k))[1]\n"
        "print(twice",
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FS_SPARK_CACHE_DIR": str(tmp_path / "kept")}
    script = tmp_path / "slow.py"
    script.write_text(slow)
    jobs = [
        subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    said = sorted(job.communicate(timeout=120)[0].split()[-1] for job in jobs)
    assert said == ["0", "1"]


def test_every_compiled_function_of_the_package_is_kept_so() -> None:
    for source in (ROOT / "fs_spark").rglob("*.py"):
        if source.name != "compiled.py":
            text = source.read_text()
            assert "from numba import njit" not in text, source
            assert "numba.njit" not in text, source
