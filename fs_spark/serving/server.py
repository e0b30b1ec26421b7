"""An app behind uvicorn, in one process or several, which ends without cutting off a request."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from fs_spark.errors import SetupError, without_secrets
from fs_spark.serving.app import create_app
from fs_spark.serving.limits import Limits
from fs_spark.serving.metrics import FOLDER

_BACKLOG: Final = 2048
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
log = logging.getLogger("fs_spark.serving")


@dataclass(frozen=True)
class Serving:
    """What is served where.

    drain_s  how long a stopping server goes on to take requests while /readyz says 503, so that none is sent any more
    grace_s  how long the requests under way may take then
    """

    url: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    limits: Limits = field(default_factory=Limits)
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    drain_s: float = 0.0
    grace_s: int = 30

    def __call__(self) -> FastAPI:
        """The app, in the process that serves it: uvicorn calls this where its loop runs already."""
        app = create_app(self.url, token=self.token, limits=self.limits)
        _say_stopping_first(app, self.drain_s)
        gc.collect()
        gc.freeze()  # what is here stays: no collection looks at it while somebody waits
        return app


def serve(serving: Serving) -> None:
    """Serves until SIGTERM or Ctrl-C. Raises  SetupError where the address cannot be had"""
    listener = listening(serving.host, serving.port)
    config = uvicorn_config(serving, workers=serving.workers, grace_s=serving.grace_s)
    name, port = listener.getsockname()[:2]
    shown = f"[{name}]" if ":" in name else name
    log.info("serving %s on http://%s:%d, routes at /docs", without_secrets(serving.url), shown, port)
    if serving.token is None and serving.host not in _LOOPBACK:
        log.warning("no token is set: whoever reaches %s:%d reads all features", shown, port)
    server = uvicorn.Server(config)
    with listener, _ending_quietly(server):
        if serving.workers > 1:
            with _counted_together():
                Multiprocess(config, sockets=[listener]).run()
        else:
            server.run(sockets=[listener])


def uvicorn_config(app: Callable[[], FastAPI], *, workers: int = 1, grace_s: int = 30) -> uvicorn.Config:
    """How any app is served here."""
    return uvicorn.Config(
        app, factory=True, workers=workers, log_config=None, access_log=False, proxy_headers=False,
        server_header=False, ws="none", timeout_graceful_shutdown=grace_s,
    )  # fmt: skip


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises  SetupError where the address cannot be had"""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small packets at once only where the protocol is named: else each answer waits 40 ms for an ACK
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(_BACKLOG)
    except (OSError, OverflowError) as fault:
        found.close()
        raise SetupError(f"{host}:{port} cannot be served on: {fault}.\nHint: choose --host and --port.") from fault
    return found


def _say_stopping_first(app: FastAPI, drain_s: float) -> None:
    """Has SIGTERM set `app.state.stopping`, and uvicorn stop when `drain_s` have passed."""
    stop = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()

    def stopping(number: int, frame: FrameType | None) -> None:
        first, app.state.stopping = not app.state.stopping, True
        if not callable(stop):
            return
        if first and drain_s > 0:
            loop.call_soon_threadsafe(loop.call_later, drain_s, stop, number, None)
        else:
            stop(number, frame)

    signal.signal(signal.SIGTERM, stopping)


@contextmanager
def _ending_quietly(server: uvicorn.Server) -> Iterator[None]:
    """A signal before uvicorn looks at signals ends it too; that it raises it once more at its end is no fault."""

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _counted_together() -> Iterator[None]:
    """A folder in which processes write what they count, so that each tells the sum."""
    with tempfile.TemporaryDirectory(prefix="fs_spark_metrics_") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]
