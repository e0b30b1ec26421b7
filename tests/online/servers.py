"""Redis servers of tests: real ones, on ports that the system chose, in folders of their own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis


def program(name: str) -> str:
    """Where a program of Redis is. A test without it fails: it is never skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"these tests need {name}, version 7 or later.\nHint: apt-get install redis-server redis-tools")
    return found


def free_port(*, below: int = 65536) -> int:
    """A port that the system gives; a cluster node needs another one, 10000 above."""
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
        if port < below:
            return port


def wait_for(what: Callable[[], Any], *, seconds: float = 20.0) -> Any:
    """What it says as soon as it says anything. A fault of Redis counts as nothing."""
    end = time.monotonic() + seconds
    fault: Exception | None = None
    while time.monotonic() < end:
        try:
            found = what()
            if found:
                return found
        except (redis.RedisError, redis.exceptions.RedisClusterException, OSError) as met:
            fault = met
        time.sleep(0.02)
    raise TimeoutError(f"it did not come to be within {seconds} s: {fault}")


@dataclass
class Server:
    """One redis-server process; `start` after `kill` takes what it left on disk."""

    folder: Path
    options: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    more: dict[str, Any] = field(default_factory=dict)
    """What a client needs beside the place: a password, TLS."""
    sentinel: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / f"{self.port}.sock"

    @property
    def log(self) -> str:
        return (self.folder / f"{self.port}.log").read_text(errors="replace")

    def start(self) -> Server:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [program("redis-server")]
        if self.sentinel:
            command += [str(self.folder / "sentinel.conf"), "--sentinel"]
        else:
            command += ["--save", "", "--unixsocket", str(self.socket), "--bind", "127.0.0.1", "--dir", self.folder]  # type: ignore[list-item]
            command += ["--enable-debug-command", "yes", "--repl-diskless-sync-delay", "0"]
        if "--tls-port" not in self.options:
            command += ["--port", str(self.port)]
        command += ["--logfile", str(self.folder / f"{self.port}.log"), *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with self.client() as client:
                wait_for(client.ping)
        except TimeoutError as fault:
            raise TimeoutError(f"{fault}\n{self.log[-2000:]}") from None
        return self

    def client(self, **more: Any) -> redis.Redis:
        return redis.Redis(port=self.port, **{**self.more, **more})

    def kill(self) -> None:
        """As kill -9 does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None


@contextmanager
def running(*servers: Server) -> Iterator[None]:
    """They run meanwhile, whatever happens."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in reversed(servers):
            server.kill()


def names_of(client: redis.Redis, pattern: str = "*") -> list[bytes]:
    return sorted(client.scan_iter(match=pattern, count=5000))
