"""Reading benchmarks: the real diamond40, a small file in a new process, pystdf, and an ingest of 8 lots."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
Measurement = dict[str, Any]
Measure = Callable[[str, float, float, int], Measurement]
BestOf = Callable[..., list[float]]

_PEAK = """
import sys
from pathlib import Path
from fs_spark.stdf import read_stdf

def status(name):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(name)) * 1024

small, large = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes()
read_stdf(small).results
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS") - len(large)
found = read_stdf(large)
found.results
print((status("VmHWM") - before) / 1e6)
"""
_SMALL = """
import sys
from fs_spark.stdf import read_stdf
read_stdf(sys.argv[1]).results
"""
_PYSTDF = """
import sys, time
from pystdf.IO import Parser
from pystdf import V4

class Count:
    rows = 0
    def after_send(self, source, data):
        self.rows += 1

start = time.perf_counter()
with open(sys.argv[1], "rb") as file:
    parser, sink = Parser(inp=file), Count()
    parser.addSink(sink)
    parser.parse()
print(time.perf_counter() - start, sink.rows)
"""


def unpacked(folder: Path, pattern: str) -> Path:
    """A real file, decompressed into `folder`."""
    packed = next(iter(DATA.glob(pattern)))
    raw = packed.read_bytes()
    plain = folder / (packed.name.split(".")[0] + ".stdf")
    plain.write_bytes(bz2.decompress(raw) if packed.suffix == ".bz2" else gzip.decompress(raw))
    return plain


def _python(code: str, *words: object, python: str = sys.executable) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, "-c", code, *map(str, words)], check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout


def read(folder: Path, best_of: BestOf, measured: Measure) -> list[Measurement]:
    """diamond40 to `parts` and `results`, one core; floor: SHA-256 of the same bytes, which every reading needs."""
    from fs_spark.stdf import read_stdf

    large, small = unpacked(folder, "nerohmot-stdf/diamond40*"), unpacked(folder, "noonchen-rust-stdf/lot2*")
    data = large.read_bytes()

    def run() -> None:
        found = read_stdf(data)
        assert found.parts.num_rows == 4057
        assert found.results.num_rows == 1_538_813

    floor_s, run_s = best_of(7, lambda: hashlib.sha256(data).digest(), run)
    peak = float(_python(_PEAK, small, large))
    lines = [
        {
            **measured("diamond40", floor_s, run_s, 1_538_813),
            "mb_per_s": round(len(data) / run_s / 1e6, 1),
            "peak_mb": round(peak, 1),
            "peak_per_file": round(peak * 1e6 / len(data), 2),
        }
    ]
    bare = "import sys, numpy, pyarrow; open(sys.argv[1], 'rb').read()"
    floor_s, run_s = best_of(5, lambda: _python(bare, small), lambda: _python(_SMALL, small))
    lines.append(measured("small_file", floor_s, run_s, 1569))
    return lines


def pystdf(folder: Path, best_of: BestOf, measured: Measure) -> list[Measurement]:
    """The ratio is how many times faster than pystdf, on a file of lot2, both in this run."""
    from fs_spark.stdf import read_stdf

    home = Path(tempfile.gettempdir()) / "fs_spark_peer_pystdf"
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "pystdf==1.4.0"], check=True)
    plain = unpacked(folder, "noonchen-rust-stdf/lot2*")
    data = plain.read_bytes()

    def theirs() -> float:
        return float(_python(_PYSTDF, plain, python=str(python)).split()[0])

    def ours() -> float:
        start = time.perf_counter()
        read_stdf(data).results  # noqa: B018
        return time.perf_counter() - start

    ours()
    slow, fast = (min(action() for _ in range(3)) for action in (theirs, ours))
    line = measured("pystdf", slow, fast, 52_403)
    return [{**line, "ratio": round(slow / fast, 1)}]


def ingest(spark: SparkSession, folder: Path, best_of: BestOf, measured: Measure, *, copies: int) -> list[Measurement]:
    """Copies of diamond40 as different lots; floor: Spark writes the same tables from parquet."""
    from fs_spark.ingest.run import TABLES
    from tests.stores import new_folder, open_store

    files = lots(folder, copies)
    new_folder(folder / "ingest")
    tables, parquet = folder / "ingest" / "store", folder / "parquet"

    def run() -> None:
        shutil.rmtree(tables, ignore_errors=True)
        report = open_store(folder / "ingest", spark).ingest(files)
        assert [f.status for f in report.files] == ["ingested"] * copies

    run()
    for name in TABLES:
        spark.read.format("delta").load(str(tables / name)).write.parquet(str(parquet / name))

    def floor() -> None:
        for name in TABLES:
            rows = spark.read.parquet(str(parquet / name))
            rows.write.format("delta").mode("overwrite").save(str(folder / "floor" / name))

    floor_s, run_s = best_of(2, floor, run)
    size = sum(path.stat().st_size for path in files)
    line = measured("ingest", floor_s, run_s, copies * 1_538_813)
    return [{**line, "mb_per_s": round(size / run_s / 1e6, 1)}]


def lots(folder: Path, count: int) -> list[Path]:
    """diamond40 as `count` different lots, plain: the lot's name in the MIR differs in its last characters."""
    data = unpacked(folder, "nerohmot-stdf/diamond40*").read_bytes()
    (folder / "in").mkdir()
    made = []
    for k in range(count):
        made.append(folder / "in" / f"copy{k}.stdf")
        made[-1].write_bytes(with_lot(data, k))
    return made


def with_lot(data: bytes, number: int) -> bytes:
    """The bytes with another LOT_ID of the same length in the MIR, its first text."""
    record = 0
    while data[record + 2 : record + 4] != b"\x01\x0a":
        record += 4 + (data[record] | data[record + 1] << 8)
    at = record + 4 + 15  # behind the header of the MIR and its fixed fields
    size = data[at]
    lot = f"{data[at + 1 : at + 1 + size].decode()[:-2]}{number:02}".encode()
    return data[: at + 1] + lot + data[at + 1 + size :]
