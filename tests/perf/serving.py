"""Features over HTTP against an empty route of FastAPI; by itself without Spark: `python -m tests.perf.serving`.

Requests begin at a fixed pace whether or not earlier ones are answered, and count from when they were due, so that a
pause of the server is seen by every request that falls into it. The server has one core, the client another.
"""

from __future__ import annotations

import argparse
import collections
import gc
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fs_spark.online.batches import ViewRows
from fs_spark.online.codec import RowSchema
from fs_spark.online.records import ServiceRecord, ViewRecord
from fs_spark.online.sqlite import SqliteOnline

ROOT = Path(__file__).resolve().parents[2]
KEYS, FEATURES, PER_SECOND, ROUND_S, ROUNDS, CONNECTIONS = 100_000, 20, 500, 2.0, 15, 16
BASE_US = 1_700_000_000_000_000
Measurement = dict[str, Any]
Measured = Callable[[str, float, float, int], Measurement]


def http_get(folder: Path, measured: Measured, scale: float) -> Iterator[Measurement]:
    """One key at 500 requests per second; floor: an empty route served in the same way."""
    count = max(round(KEYS * scale), 1000)
    url = _published(folder, count)
    cores = sorted(os.sched_getaffinity(0))
    with _server("empty", "", cores[0]) as empty, _server("features", url, cores[0]) as features:
        os.sched_setaffinity(0, {cores[-1]})
        try:
            asked = [_post(f"L{i}") for i in np.random.default_rng(4).integers(0, count, 1000)]
            rounds = max(round(ROUNDS * min(scale, 1)), 1)
            actions = [(empty, [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]), (features, asked)]
            for port, requests in actions:
                _paced(port, requests, 1.0)
            took = [[_paced(port, requests, ROUND_S) for port, requests in actions] for _ in range(rounds)]
        finally:
            os.sched_setaffinity(0, set(cores))
    p50, p99 = (np.array([[np.percentile(one, q) for one in pair] for pair in took]).min(axis=0) for q in (50, 99))
    yield {
        **measured("http_get", float(p99[0]), float(p99[1]), round(PER_SECOND * ROUND_S * rounds)),
        **{f"{what}_ms": round(float(value) * 1e3, 3) for what, value in
           (("floor_p50", p50[0]), ("p50", p50[1]), ("floor_p99", p99[0]), ("p99", p99[1]))},
    }  # fmt: skip


def _published(folder: Path, count: int) -> str:
    schema = RowSchema(tuple(f"f{i}" for i in range(FEATURES)), ("double",) * FEATURES)
    event = pa.array(np.full(count, BASE_US), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    values = pa.array(np.random.default_rng(3).normal(size=count))
    names = ["lot_id", "event_timestamp", "available_timestamp", *schema.names]
    columns = [pa.array([f"L{i}" for i in range(count)]), event, event, *([values] * FEATURES)]
    features = tuple((name, name) for name in schema.names)
    record = ServiceRecord("s", (ViewRecord("v__v1.0", ("lot_id",), 1, features, schema),))
    batch = pa.RecordBatch.from_arrays(columns, names=names)
    path = folder / "online.sqlite"
    SqliteOnline(path).publish(record, [ViewRows("v__v1.0", ("lot_id",), schema, 1, [batch])])
    return f"sqlite:///{path}"


def _post(lot: str) -> bytes:
    body = json.dumps({"keys": [{"lot_id": lot}]}).encode()
    head = f"POST /services/s/features HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@contextmanager
def _server(kind: str, url: str, core: int) -> Iterator[int]:
    """A process of its own on one core; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "tests.perf.serving", "--serve", kind, "--url", url, "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def _paced(port: int, requests: list[bytes], seconds: float) -> np.ndarray:
    """Seconds from when each request was due to the last byte of its answer. The client never sleeps."""
    count = round(seconds * PER_SECOND)
    took = np.full(count, np.nan)
    selector = selectors.EpollSelector()
    idle: collections.deque[socket.socket] = collections.deque()
    for _ in range(CONNECTIONS):
        one = socket.create_connection(("127.0.0.1", port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(one, selectors.EVENT_READ, [b"", -1])
        idle.append(one)
    gc.collect()
    gc.disable()
    sent, done = 0, 0
    start = time.perf_counter()
    while done < count:
        while sent < count and idle and time.perf_counter() >= start + sent / PER_SECOND:
            one = idle.popleft()
            selector.get_key(one).data[:] = [b"", sent]
            one.sendall(requests[sent % len(requests)])
            sent += 1
        for key, _ in selector.select(0):
            key.data[0] += key.fileobj.recv(65536)  # type: ignore[union-attr]
            if _is_whole(key.data[0]):
                took[key.data[1]] = time.perf_counter() - start - key.data[1] / PER_SECOND
                idle.append(key.fileobj)  # type: ignore[arg-type]
                done += 1
    gc.enable()
    for one in idle:
        one.close()
    selector.close()
    return took


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode())
    return len(body) == int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


def _serve(kind: str, url: str, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI

    from fs_spark.serving import Serving
    from fs_spark.serving.server import listening, uvicorn_config

    def empty() -> FastAPI:
        app = FastAPI()

        @app.get("/")
        async def nothing() -> dict[str, str]:
            return {}

        gc.collect()
        gc.freeze()
        return app

    config = uvicorn_config(empty if kind == "empty" else Serving(url))
    with listening("127.0.0.1", port) as listener:
        uvicorn.Server(config).run(sockets=[listener])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--serve", choices=["empty", "features"])
    parser.add_argument("--url", default="")
    parser.add_argument("--port", type=int, default=0)
    args = parser.parse_args()
    if args.serve:
        _serve(args.serve, args.url, args.port)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="fs_spark_perf_"))
    try:
        for line in http_get(folder, _measured, args.scale):
            print(json.dumps({"benchmark": "serving", **line}), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _measured(name: str, floor_s: float, run_s: float, rows: int) -> Measurement:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return {"name": name, "ratio": round(run_s / floor_s, 2), "floor_s": round(floor_s, 6), "run_s": round(run_s, 6),
            "rows": rows, "at": at}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
