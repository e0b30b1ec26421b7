"""`fs-spark serve` as a process of its own: how it starts, counts, and ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from fs_spark import cli
from fs_spark.errors import RequestError, SetupError
from fs_spark.serving import Limits
from fs_spark.serving.limits import Pace
from fs_spark.serving.server import listening
from tests.conftest import ROOT
from tests.serving.samples import ONE, publish_device

ASKED = json.dumps({"keys": [ONE]}).encode()


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    publish_device(tmp_path / "online.db")
    made = tmp_path / "store.yaml"
    made.write_text(f"root: {tmp_path}/tables\nonline: sqlite:///online.db\n", "utf-8")
    return made


@contextmanager
def serving(conf: Path, *words: str, token: str | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """The process, its port, and the file that it logs to."""
    command = [sys.executable, "-m", "fs_spark.cli", "serve", "--conf", str(conf), "--port", "0", *words]
    environment = {**os.environ, **({} if token is None else {"FS_SPARK_API_TOKEN": token})}
    log = conf.parent / "log"
    with (
        log.open("wb") as lines,
        subprocess.Popen(command, cwd=ROOT, env=environment, stderr=lines, start_new_session=True) as process,
    ):
        try:
            yield process, port_of(log), log
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its workers too


def port_of(log: Path) -> int:
    for _ in range(600):
        found = re.search(r"on http://127\.0\.0\.1:(\d+)", log.read_text("utf-8"))
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(log.read_text("utf-8"))


def ask(port: int, path: str, data: bytes | None = None, token: str | None = None) -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()


def until_ready(port: int) -> None:
    for _ in range(400):
        try:
            if ask(port, "/readyz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("never ready")


def test_a_stop_finishes_requests_under_way(conf: Path, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("from-a-file\n")
    with serving(conf, "--token-file", str(secret), "--drain", "1", token="from-environment") as (process, port, log):
        until_ready(port)
        assert ask(port, "/services", token="from-environment")[0] == 401
        assert ask(port, "/services", token="from-a-file")[0] == 200
        with socket.create_connection(("127.0.0.1", port)) as under_way:
            head = f"POST /services/device_v1/features HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ASKED)}\r\n"
            under_way.sendall(f"{head}Authorization: Bearer from-a-file\r\n\r\n".encode() + ASKED[:5])
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            status, told = ask(port, "/readyz")  # it still takes requests, and says that it should get none
            assert (status, "is stopping" in told) == (503, True)
            assert ask(port, "/services", token="from-a-file")[0] == 200
            time.sleep(1.2)
            with pytest.raises(OSError):
                ask(port, "/readyz")
            assert process.poll() is None
            under_way.sendall(ASKED[5:])
            answer = b""
            while part := under_way.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["rows"][0]["wafers_done"] == 4
        assert process.wait(10) == 0
    assert "Traceback" not in log.read_text("utf-8")
    assert "from-a-file" not in log.read_text("utf-8")


def test_processes_count_together(conf: Path) -> None:
    with serving(conf, "--workers", "2", "--grace", "1") as (process, port, log):
        until_ready(port)
        deadline = time.monotonic() + 15
        while len(workers := children(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        for halted in workers:  # so that each of them answers some
            os.kill(halted, signal.SIGSTOP)
            for _ in range(20):
                assert ask(port, "/services/device_v1/features", ASKED)[0] == 200
            os.kill(halted, signal.SIGCONT)
        _, text = ask(port, "/metrics")
        assert 'fs_spark_keys_total{service="device_v1",status="present",view="lots__v2.1"} 40.0' in text
        assert 'fs_spark_generation{service="device_v1"} 1.0' in text
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert "Traceback" not in log.read_text("utf-8")


def children(pid: int) -> list[int]:
    told = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    return [int(one) for one in told if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def run(capsys: pytest.CaptureFixture[str], conf: Path, *words: str) -> str:
    assert cli.main(["serve", "--conf", str(conf), *words]) == 2
    return capsys.readouterr().err


def test_what_cannot_be_served_is_said_before(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FS_SPARK_API_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = run(capsys, conf, "--port", str(taken.getsockname()[1]))
    assert "SetupError: 127.0.0.1:" in told
    assert "Hint: choose --host and --port" in told
    assert "at most 0 keys, at most -1.0 requests per second" in run(capsys, conf, "--max-keys", "0", "--limit", "-1")
    assert "--workers is 0" in run(capsys, conf, "--workers", "0")
    assert "cannot be read" in run(capsys, conf, "--token-file", str(tmp_path / "none"))
    (tmp_path / "empty").write_text("\n")
    assert "holds no token" in run(capsys, conf, "--token-file", str(tmp_path / "empty"))
    monkeypatch.setenv("FS_SPARK_API_TOKEN", "µ")
    assert "the environment's FS_SPARK_API_TOKEN holds no token" in run(capsys, conf)
    conf.write_text(f"root: {tmp_path}/tables\nonline: http://me:hunter2@host\n", "utf-8")
    told = run(capsys, conf)
    assert "online" in told
    assert "hunter2" not in told


LEAN = """
import sys
import fs_spark.cli
heavy = [name for name in ("fastapi", "starlette", "uvicorn", "prometheus_client", "orjson") if name in sys.modules]
assert not heavy, heavy
sys.modules["prometheus_client"] = None
try:
    import fs_spark.serving
except fs_spark.errors.SetupError as fault:
    print(fault)
"""


def test_nothing_is_imported_before_and_the_extra_is_named() -> None:
    done = subprocess.run([sys.executable, "-c", LEAN], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("serving needs prometheus_client"), done.stderr
    assert done.stdout.endswith("Hint: pip install 'fs_spark[serve]'\n")


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """asyncio sets TCP_NODELAY only on sockets that name their protocol; without it each answer takes 40 ms."""
    with listening("127.0.0.1", 0) as one:
        assert one.proto == socket.IPPROTO_TCP
    with pytest.raises(SetupError, match=r"Hint: choose --host"):
        listening("127.0.0.1", 2**20)


def test_a_pace_lets_through_what_a_second_allows() -> None:
    now = [0.0]
    pace = Pace(10, lambda: now[0])
    assert [pace.wait_s() for _ in range(10)] == [0.0] * 10
    assert pace.wait_s() == pytest.approx(0.1)
    now[0] = 0.25
    assert [bool(pace.wait_s()) for _ in range(3)] == [False, False, True]
    now[0] = 100.0
    assert [bool(pace.wait_s()) for _ in range(11)] == [False] * 10 + [True]


def test_limits_that_allow_nothing_are_refused() -> None:
    with pytest.raises(RequestError, match="at most 0 bytes of a request, at most 0 seconds"):
        Limits(body_bytes=0, seconds=0)
