"""What makes the JVM of a local session start fast: Delta's jars without Ivy, and an archive of loaded classes.

A cold start (a session, then a first read of a Delta table) loads and verifies classes and compiles what runs for a few
seconds only. So a session that is started here

- takes Delta's jars from our cache folder, where the first session that fetched them has put them;
- maps an archive of its classes (JEP 350, dynamic class-data sharing), which the first session that ran to its end has
  written when its JVM ended, beside the next one;
- hands methods to the slow, optimizing compiler C2 later than the JVM would: a job of minutes still gets there;
- collects garbage with one thread where there are but two cores, which G1's own threads would share.

Nothing of it can fail: what is missing, is of another Java, cannot be read or written, or is broken, is left out, and
an archive is checked before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlparse

from fs_spark.jvm import JavaHome, user_cache
from fs_spark.names import CACHE_FOLDER

log = logging.getLogger(__name__)

JAVA_OPTIONS: Final = "spark.driver.extraJavaOptions"
CLASS_PATH: Final = "spark.driver.extraClassPath"
LATE_C2: Final = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)
"""Ten times the JVM's own thresholds of C2."""
SERIAL_GC: Final = "-XX:+UseSerialGC"
_JAVA_ENVIRONMENT: Final = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
_CHECKED: Final = "-XX:+VerifySharedSpaces"  # its checksums
_QUIET: Final = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")
_NEEDED_BYTES: Final = 1 << 30
"""Free space below which no archive of some 200 MB is written."""
_KEPT: Final = 2
"""So many archives stay: one is made anew where Java, Spark, Delta or the options change."""
_DEAD_AFTER_S: Final = 3600
_WRAPPER: Final = """\
#!/bin/sh
# Written by fs_spark.quick_start: a JVM that ended well leaves the archive of its classes for those that come.
{java} "$@"
code=$?
if [ -e {part} ]; then  # Spark's launcher, which comes first, writes none
  if [ $code = 0 ] && [ -s {part} ]; then
    wc -c < {part} > {size} && mv -f {part} {archive}
  else
    rm -f {part}
  fi
  rm -rf {home}
fi
exit $code
"""


@dataclass(frozen=True)
class Start:
    """How to start a JVM: settings of the session, and the folder to put into JAVA_HOME."""

    settings: dict[str, str]
    java_home: Path
    is_first: bool
    """Whether Delta's jars are fetched by this session and should be kept."""


def cache_folder(environ: Mapping[str, str] | None = None) -> Path | None:
    """Our folder in the configured or the user's cache; None where it cannot be written."""
    env = os.environ if environ is None else environ
    named = env.get(CACHE_FOLDER)
    folder = (Path(named) if named else user_cache(env)) / "jvm"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None


def quick_start(settings: Mapping[str, str], java: JavaHome, spark_jars: Path) -> Start:
    """The settings of a local session with what is there to make it start fast.

    settings    of the session as configured; where options of Java contradict ours, those of the settings win
    spark_jars  the folder of Spark's own jars
    """
    folder = cache_folder()
    if folder is None:
        return Start(dict(settings), java.path, False)
    values = dict(settings)
    package = values.get("spark.jars.packages")
    jars = kept_jars(folder, package) if package is not None else ()
    if jars:
        del values["spark.jars.packages"]
        values.pop("spark.jars.excludes", None)
        values[CLASS_PATH] = os.pathsep.join([*map(str, jars), *filter(None, [values.get(CLASS_PATH)])])
    options = [*LATE_C2, *_collector(values), values.get(JAVA_OPTIONS, "")]
    home = java.path
    # the classes of jars that Ivy brings are not among those that can be archived
    if (jars or package is None) and not _has_folders(values, spark_jars):
        archive = folder / f"{_key(java, spark_jars, jars, values)}.jsa"
        if _is_whole(archive):
            options += [f"-XX:SharedArchiveFile={archive}", _CHECKED, *_QUIET]
        elif (part := _part(archive)) is not None and (wrapped := _wrapped(java, archive, part)) is not None:
            home = wrapped
            options += [f"-XX:ArchiveClassesAtExit={part}", *_QUIET]
    values[JAVA_OPTIONS] = " ".join(filter(None, options))
    return Start(values, home, package is not None and not jars)


def _collector(settings: Mapping[str, str]) -> list[str]:
    """The collector of garbage to ask for; none where somebody else asks for one, since a JVM takes no two."""
    asked = " ".join([settings.get(JAVA_OPTIONS, ""), *(os.environ.get(name, "") for name in _JAVA_ENVIRONMENT)])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [SERIAL_GC] if cores <= 2 and not re.search(r"-XX:[+-]Use\w*GC\b", asked) else []


def _has_folders(settings: Mapping[str, str], spark_jars: Path) -> bool:
    """Whether the class path holds folders with files, of which the JVM makes no archive: its end would be a fault."""
    places = [*settings.get(CLASS_PATH, "").split(os.pathsep), str(spark_jars.parent / "conf")]
    places += [os.environ.get(name, "") for name in ("SPARK_CONF_DIR", "HADOOP_CONF_DIR", "YARN_CONF_DIR")]
    if os.environ.get("SPARK_DIST_CLASSPATH"):
        return True
    return any(place and Path(place).is_dir() and any(Path(place).iterdir()) for place in places)


def _jars_folder(folder: Path, package: str) -> Path:
    return folder / f"jars-{hashlib.sha256(package.encode()).hexdigest()[:12]}"


def kept_jars(folder: Path, package: str) -> tuple[Path, ...]:
    """The jars of a package as they were kept; none where one of them is missing or has another size."""
    place = _jars_folder(folder, package)
    try:
        listed: dict[str, int] = json.loads((place / "jars.json").read_text("utf-8"))
        jars = [place / name for name in sorted(listed)]
        return tuple(jars) if all(jar.stat().st_size == listed[jar.name] for jar in jars) else ()
    except (OSError, ValueError, TypeError):
        return ()


def keep_jars(package: str, fetched: Sequence[str]) -> None:
    """Copies what Ivy has fetched to our cache; `fetched` are the entries of `spark.jars`."""
    folder = cache_folder()
    sources = [Path(unquote(urlparse(one).path)) for one in fetched if one]
    if folder is None or not sources or not all(source.is_file() for source in sources):
        return
    place = _jars_folder(folder, package)
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=folder) as made:
        made_in = Path(made) / "jars"
        made_in.mkdir()
        for source in sources:
            shutil.copyfile(source, made_in / source.name)
        sizes = {source.name: (made_in / source.name).stat().st_size for source in sources}
        (made_in / "jars.json").write_text(json.dumps(sizes), "utf-8")
        if place.exists() and not kept_jars(folder, package):  # one that was cut
            shutil.rmtree(place, ignore_errors=True)
        os.rename(made_in, place)  # fails where another process was first


def _key(java: JavaHome, spark_jars: Path, jars: Sequence[Path], settings: Mapping[str, str]) -> str:
    """What an archive depends on: the very Java, the class path with sizes and times of its jars, options."""
    told: list[object] = [str(java.path.resolve()), java.version]
    with contextlib.suppress(OSError):
        told.append((java.path / "release").read_text("utf-8", "replace"))
    for jar in [*sorted(spark_jars.glob("*.jar")), *jars]:
        seen = jar.stat()
        told.append((str(jar), seen.st_size, seen.st_mtime_ns))
    told += [
        _collector(settings),
        settings.get(JAVA_OPTIONS),
        settings.get(CLASS_PATH),
        os.environ.get("SPARK_DIST_CLASSPATH"),
    ]
    return "classes-" + hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _size_file(archive: Path) -> Path:
    return archive.with_suffix(".size")


def _is_whole(archive: Path) -> bool:
    """Whether an archive has the size that it was written with: a JVM that maps a cut one is aborted."""
    try:
        return archive.stat().st_size == int(_size_file(archive).read_text("utf-8"))
    except (OSError, ValueError):
        return False


def _part(archive: Path) -> Path | None:
    """Where the JVM writes its archive; None where space is short."""
    try:
        if shutil.disk_usage(archive.parent).free < _NEEDED_BYTES:
            return None
        older = sorted(archive.parent.glob("classes-*.jsa"), key=lambda path: path.stat().st_mtime, reverse=True)
        left = [path for path in archive.parent.glob("*.part") if path.stat().st_mtime < time.time() - _DEAD_AFTER_S]
        for path in [*older[_KEPT - 1 :], *left]:
            path.unlink()
            _size_file(path).unlink(missing_ok=True)
    except OSError:
        return None
    return archive.with_name(f"{archive.stem}-{os.getpid()}.part")


def _wrapped(java: JavaHome, archive: Path, part: Path) -> Path | None:
    """A JAVA_HOME whose `java` renames what the JVM has written at its end; None where there is no shell for it."""
    if os.name != "posix":
        return None
    place = archive.with_name(f"{archive.stem}-{os.getpid()}")
    script = _WRAPPER.format(
        home=shlex.quote(str(place)),
        java=shlex.quote(str(java.path / "bin" / "java")),
        part=shlex.quote(str(part)),
        archive=shlex.quote(str(archive)),
        size=shlex.quote(str(_size_file(archive))),
    )
    try:
        (place / "bin").mkdir(parents=True, exist_ok=True)
        (place / "bin" / "java").write_text(script, "utf-8")
        (place / "bin" / "java").chmod(0o755)
    except OSError:
        return None
    return place
