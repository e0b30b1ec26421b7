"""Compiles what a verb will need, beside the start of its JVM, on all cores, once a machine.

`python -m fs_spark.warm stdf neighborhood` compiles the reader of tester files and one kernel. A function that a Spark
task needs meanwhile is waited for, not compiled twice (see `fs_spark.compiled`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from fs_spark.quick_start import cache_folder

STDF: Final = "stdf"
WINDOWS: Final = "windows"
_SECONDS: Final = {
    WINDOWS: 9, STDF: 5, "wafer_values": 5, "local_values": 3, "clusters": 2, "order_statistics": 2, "wm811k": 2,
    "wafer_counts": 1, "nearest": 1, "density": 1, "neighborhood": 1,
}  # fmt: skip
"""About how long each takes, by which they are dealt out; what is not named takes hardly any time."""
_MOST: Final = 4
_JVM_ENDS_IN_S: Final = 60
_SOURCES: Final = ("kernels", "stdf", "features")
_running: list[subprocess.Popen[bytes]] = []


def kernel_jobs(kernels: Iterable[str]) -> list[str]:
    """The jobs that compile these kernels and those that they are made of."""
    from fs_spark.kernels.kernel import kernel_of

    wanted = set(kernels)
    for name in list(wanted):
        wanted |= {kernel for parts in kernel_of(name).made_of.values() for kernel, _ in parts}
    return sorted(wanted & set(_SECONDS))


def all_jobs() -> list[str]:
    return list(_SECONDS)


@cache
def _key() -> str:
    """What compiled code depends on, told without importing numba: sources, versions, the processor."""
    told: list[object] = [sys.version_info[:2], metadata.version("numba"), platform.machine()]
    for package in _SOURCES:
        for source in sorted((Path(__file__).parent / package).glob("*.py")):
            told.append((package, source.name, source.stat().st_size, source.stat().st_mtime_ns))
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
        told += sorted({line for line in stream if line.startswith(("model name", "flags", "Features"))})
    told += [os.environ.get(name) for name in ("NUMBA_CPU_NAME", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT")]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _marker(folder: Path, job: str) -> Path:
    return folder / f"warm-{_key()}-{job}"


def cold(jobs: Iterable[str]) -> list[str]:
    """Those that were not compiled on this machine; none where that cannot be told."""
    folder = cache_folder()
    return [job for job in jobs if not _marker(folder, job).exists()] if folder is not None else []


def dealt(jobs: Sequence[str], processes: int) -> list[list[str]]:
    """The jobs for each process, of about equal time."""
    hands: list[list[str]] = [[] for _ in range(processes)]
    for job in sorted(jobs, key=lambda job: -_SECONDS.get(job, 1)):
        min(hands, key=lambda hand: sum(_SECONDS.get(one, 1) for one in hand)).append(job)
    return [hand for hand in hands if hand]


def start_warming(jobs: Iterable[str]) -> None:
    """Starts processes that compile what is not compiled yet, and does not wait for them; nothing of it can fail."""
    _running[:] = [process for process in _running if process.poll() is None]
    wanted = cold(jobs)
    if not wanted or _running or sys.flags.isolated or getattr(sys, "frozen", False):
        return
    with contextlib.suppress(OSError):
        _running.extend(_started(hand) for hand in dealt(wanted, min(_MOST, os.cpu_count() or 1)))


def _started(hand: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-m", "fs_spark.warm", *hand],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=environment, start_new_session=True,
    )  # fmt: skip


def warm(jobs: Iterable[str] | None = None) -> list[str]:
    """Compiles everything (or these jobs) that is not compiled yet, on all cores, and waits for it; gives the jobs."""
    wanted = cold(all_jobs() if jobs is None else jobs)
    started = [_started(hand) for hand in dealt(wanted, os.cpu_count() or 1)]
    for process in started:
        process.wait()
    return wanted


def warm_jvm(conf: str | None) -> None:
    """Runs two local sessions: the first fetches Delta's jars, the second leaves the archive of its classes."""
    code = (
        "import sys; from fs_spark.session import build_session; "
        "build_session(*sys.argv[1:], master='local[2]').range(9).groupBy('id').count().collect()"
    )
    words = [sys.executable, "-c", code, *([conf] if conf is not None else [])]
    folder = cache_folder()
    for _ in range(2):
        subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        until = time.monotonic() + _JVM_ENDS_IN_S
        while folder is not None and any(folder.glob("*.part")) and time.monotonic() < until:
            time.sleep(0.5)  # the JVM outlives its Python while it writes


def compile_job(job: str) -> None:
    """Compiles in this process and says so on the disk."""
    if job == STDF:
        _read_a_file()
    elif job == WINDOWS:
        _slide_windows()
    else:
        _compute_a_wafer(job)
    folder = cache_folder()
    if folder is not None:
        with contextlib.suppress(OSError):
            _marker(folder, job).touch()


def _read_a_file() -> None:
    from fs_spark.stdf import read_stdf
    from fs_spark.synth import LotSpec, generate_lot

    spec = LotSpec(lot_id="WARM", seed=1, wafers=1, die_width_mm=30.0, die_height_mm=30.0)
    with tempfile.TemporaryDirectory() as folder:
        for path in generate_lot(spec, Path(folder)).files:
            read_stdf(path)


def _slide_windows() -> None:
    """Every statistic over every kind of window."""
    import numpy as np

    from fs_spark.kernels.sliding import NEVER, NONE, Feature, History, Window, state_rows

    event = np.arange(8, dtype=np.int64) * 3_600_000_000
    end = np.array([NEVER] * 7 + [9 * 3_600_000_000], np.int64)
    history = History(
        edges=np.array([0, 4, 8], np.int64), event_us=event, row=np.arange(8), start_us=event, end_us=end,
        values=np.array([[1.0, 2.0, np.nan, 4.0, 1e16, 1.0, -1e16, 3.0]]), codes=np.arange(8)[None] % 3,
        keep=np.ones((1, 8), np.bool_), earlier_event_us=np.full(2, NONE, np.int64),
    )  # fmt: skip
    windows = [Window(span_us=7_200_000_000), Window(span_us=86_400_000_000, last=2), Window()]
    numbers = ("count", "sum", "mean", "std", "min", "max", "median", "slope")
    features = [Feature(w, name, 0) for w in range(3) for name in numbers]  # type: ignore[arg-type]
    features += [Feature(w, "rows") for w in range(3)]
    for w in range(3):
        features += [Feature(w, "quantile", 0, 0.9), Feature(w, "ewm", 0, 3_600_000_000)]
        features += [Feature(w, name, 0, None, True) for name in ("count", "distinct", "first", "last")]  # type: ignore[arg-type]
        features.append(Feature(w, "share", 0, 1, True))
    state_rows(history, windows=windows, features=features, from_us=0, until_us=20 * 3_600_000_000)


def _compute_a_wafer(kernel: str) -> None:
    """All features of one kernel, in each class, over five by five dies."""
    import pyarrow as pa

    from fs_spark.features.catalogue import CATALOGUE
    from fs_spark.features.compute import compute_features
    from fs_spark.kernels.kernel import kernel_of
    from fs_spark.wafer import WaferGeometry

    size = 5
    places = [(x, y) for x in range(size) for y in range(size)]
    count = len(places)
    times = pa.array([1_700_000_000_000_000 + 1_000_000 * k for k in range(count)], pa.int64())
    dies = pa.table(
        {
            "lot_id": ["L"] * count,
            "wafer_id": ["W"] * count,
            "die_x": pa.array([x for x, _ in places], pa.int32()),
            "die_y": pa.array([y for _, y in places], pa.int32()),
            "event_timestamp": times.cast(pa.timestamp("us", "UTC")),
            "available_timestamp": times.cast(pa.timestamp("us", "UTC")),
            "run_id": ["R"] * count,
            "part_index": pa.array(range(count), pa.int32()),
            "touchdown": pa.array(range(count), pa.int32()),
            "passed": [k % 3 > 0 for k in range(count)],
            "hard_bin": pa.array([1 + k % 3 for k in range(count)], pa.int32()),
            "head": pa.array([1] * count, pa.int32()),
            "site": pa.array([k % 2 for k in range(count)], pa.int32()),
            "v": pa.array([float(k % 7) for k in range(count)], pa.float32()),
        }
    )
    middle = size // 2
    geometry = WaferGeometry(
        center_x=float(middle), center_y=float(middle), rows=tuple((y, 0, size - 1) for y in range(size)),
        wafer_diameter_mm=200.0, die_width_mm=20.0, die_height_mm=20.0,
    )  # fmt: skip
    asked: dict[tuple[str, str], list[str]] = {}
    for feature in CATALOGUE:
        parts = {name for made in kernel_of(feature.kernel).made_of.values() for name, _ in made}
        if feature.kernel == kernel or kernel in parts:
            asked.setdefault((feature.knowledge, feature.entity), []).append(feature.key)
    for features in asked.values():
        compute_features(dies, geometry, features=features, parameters=("v",), bins=(2,), known="all")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        compile_job(name)
