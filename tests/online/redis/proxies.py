"""A connection through this process, which cuts it at a chosen byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Literal

Way = Literal["up", "down"]
"""To the server, or from it."""


class Proxy:
    """Before a server on this machine. `counted` are the bytes that went each way.

    `cut` says after how many bytes of a way, counted from then on, all connections end; each new one gets as many where
    `each` is true, and is left alone where it is not.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.counted = {"up": 0, "down": 0}
        self._left: int | None = None
        self._way: Way = "up"
        self._each = False
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut(self, way: Way, after: int, *, each: bool = False) -> None:
        with self._lock:
            self._way, self._left, self._each = way, after, each
        if each:
            self._end()

    def heal(self) -> None:
        with self._lock:
            self._left, self._each = None, False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._end()
        for thread in self._threads:
            thread.join(10)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, run: object, *args: object) -> None:
        thread = threading.Thread(target=run, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            budget = [self._left] if self._each else None
            with self._lock:
                self._open += [client, server]
            self._start(self._carry, client, server, "up", budget)
            self._start(self._carry, server, client, "down", budget)

    def _carry(self, source: socket.socket, target: socket.socket, way: Way, budget: list[int | None] | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                allowed = self._allowed(way, len(data), budget)
                if allowed:
                    target.sendall(data[:allowed])
                if allowed < len(data):
                    self._end() if budget is None else None
                    break
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _allowed(self, way: Way, count: int, budget: list[int | None] | None) -> int:
        with self._lock:
            left = budget[0] if budget is not None else self._left
            if way == self._way and left is not None:
                allowed = min(count, left)
                if budget is not None:
                    budget[0] = left - allowed
                else:
                    self._left = None if allowed < count else left - allowed
                count = allowed
            self.counted[way] += count
            return count

    def _end(self) -> None:
        with self._lock:
            sockets, self._open = self._open, []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
