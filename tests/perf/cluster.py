"""Verbs on a standalone cluster of two one-core workers, against the commit before verbs were made to start fast.

Each verb is a driver process of its own; its session's start is left out.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyspark

from fs_spark.jvm import find_java
from tests.conftest import ROOT
from tests.perf.verbs import BEFORE
from tests.stores import new_folder, write_lot

Measurement = dict[str, Any]
Measured = Callable[[str, float, float, int], Measurement]
VERBS = ("ingest", "apply", "materialize", "nothing", "train", "export")
_DRIVER = """
import sys, time
from fs_spark import FeatureStore
from fs_spark.session import build_session
conf, verb, master, tree, *files = sys.argv[1:]
spark = build_session(conf, master=master, settings={
    "spark.executorEnv.PYTHONPATH": tree, "spark.executor.memory": "1g", "spark.cores.max": "2",
    "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"})
spark.range(2).count()
store = FeatureStore.open(conf, spark)

def spine():
    second = store.table("die_tests").where("insertion = '2' AND is_final AND passed IS NOT NULL")
    keys = ("lot_id", "wafer_id", "die_x", "die_y")
    return second.selectExpr(*keys, "run_start AS event_timestamp", "NOT passed AS fails")

verbs = {
    "ingest": lambda: store.ingest(files),
    "apply": store.apply,
    "materialize": store.materialize,
    "nothing": store.materialize,
    "train": lambda: store.training_set(spine(), ["device_v2_0"], name="few"),
    "export": lambda: store.export("device_v2_0"),
}
start = time.perf_counter()
verbs[verb]()
print("SPENT", time.perf_counter() - start)
"""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[str]:
    """A master and its workers as processes; gives the master's address."""
    folder.mkdir(parents=True)
    java = find_java().path
    environment = os.environ | {
        "JAVA_HOME": str(java), "SPARK_LOG_DIR": str(folder), "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_DIRS": str(folder / "local"), "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "SPARK_SCALA_VERSION": "2.13",
    }  # fmt: skip
    port = free_port()
    jars = str(Path(pyspark.__file__).parent / "jars" / "*")
    begin = [str(java / "bin" / "java"), "-cp", jars, "-Xmx512m"]
    kept: list[subprocess.Popen[bytes]] = []

    def started(name: str, *words: str) -> None:
        log = (folder / f"{name}.log").open("wb")
        kept.append(subprocess.Popen([*begin, *words], env=environment, stdout=log, stderr=subprocess.STDOUT))

    try:
        started("master", "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", str(port),
                "--webui-port", str(free_port()))  # fmt: skip
        for number in range(workers):
            time.sleep(3)
            started(f"worker{number}", "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--cores", "1",
                    "--memory", "1200m", "--webui-port", str(free_port()), "--work-dir", str(folder / f"work{number}"),
                    f"spark://127.0.0.1:{port}")  # fmt: skip
        time.sleep(3)
        yield f"spark://127.0.0.1:{port}"
    finally:
        for process in reversed(kept):
            process.terminate()
        for process in kept:
            process.wait(30)


def spent(tree: Path, master: str, conf: Path, verb: str, files: list[Path]) -> float:
    """Seconds of a verb in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYSPARK_PYTHON": sys.executable}
    words = [sys.executable, "-c", _DRIVER, str(conf), verb, master, str(tree), *map(str, files)]
    done = subprocess.run(words, env=environment, cwd=tree, capture_output=True, text=True, check=False)
    told = [line for line in done.stdout.splitlines() if line.startswith("SPENT ")]
    if not told:
        raise RuntimeError(f"{verb} of {tree} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return float(told[0].split()[1])


def run(folder: Path, measured: Measured) -> Iterator[Measurement]:
    """Both commits verb by verb in turns, each on a store of its own and both on one cluster."""
    other = folder / "before"
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(other), BEFORE], cwd=ROOT, check=True)
    try:
        with cluster(folder / "cluster") as master:
            confs, files = {}, {}
            for tree in (other, ROOT):
                place = new_folder(folder / f"store_{tree.name}")
                files[tree] = write_lot(place / "in", 1)
                confs[tree] = place / "conf" / "store.yaml"
            for verb in VERBS:
                floor, ours = (spent(tree, master, confs[tree], verb, files[tree]) for tree in (other, ROOT))
                yield measured(f"cluster_{verb}", floor, ours, len(files[ROOT]))
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", str(other)], cwd=ROOT, check=True)
