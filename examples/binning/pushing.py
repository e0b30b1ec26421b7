"""Rows on their way to the online store: a process of its own pushes what has come, many touchdowns together.

So the loop beside the tester waits neither for the store nor for the interpreter's lock. A thread takes what comes off
the pipe, since a pipe that is full would hold the loop up.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final

from examples.binning.model import SERVICE
from fs_spark.online import open_pusher

TOGETHER_S: Final = 0.02
"""What comes within this time is pushed together."""
Touchdown = Mapping[str, Sequence[Mapping[str, Any]]]
"""By view the rows of one touchdown's dies."""


@dataclass
class Told:
    """What became of the rows: how many came and how many stood, pushes, and when each touchdown was online."""

    rows: int = 0
    stood: int = 0
    pushes: int = 0
    online_at: list[float] = field(default_factory=list)


def push_all(pipe: Connection, url: str) -> None:
    """Pushes what comes, until None comes; then says what became of it."""
    waiting: queue.SimpleQueue[Touchdown | None] = queue.SimpleQueue()

    def take() -> None:
        while (one := pipe.recv()) is not None:
            waiting.put(one)
        waiting.put(None)

    told = Told()
    with open_pusher(url) as pusher:
        threading.Thread(target=take, daemon=True).start()
        pipe.send("ready")
        is_open = True
        while is_open:
            batch = [waiting.get()]
            time.sleep(TOGETHER_S)
            while not waiting.empty():
                batch.append(waiting.get())
            is_open = batch[-1] is not None
            touchdowns = [one for one in batch if one is not None]
            for view in touchdowns[0] if touchdowns else ():
                rows = [row for one in touchdowns for row in one[view]]
                told.rows += len(rows)
                told.stood += pusher.push(SERVICE, view, rows)
                told.pushes += 1
            told.online_at += [time.monotonic()] * len(touchdowns)
    pipe.send(told)


class Pushing:
    """The process, as the loop sees it."""

    def __init__(self, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=push_all, args=(theirs, url), daemon=True)
        self._process.start()
        theirs.close()  # so that a process that dies is told here by the end of the pipe
        self._pipe.recv()

    def hand_over(self, touchdown: Touchdown) -> None:
        self._pipe.send(touchdown)

    def finish(self) -> Told:
        """Waits until all is online."""
        self._pipe.send(None)
        told = self._pipe.recv()
        self._process.join()
        assert isinstance(told, Told)
        return told
