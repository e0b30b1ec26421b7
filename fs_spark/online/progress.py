"""How far a load is, in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fs_spark.online.batches import Chunk

log = logging.getLogger(__name__)

EVERY_S: Final = 5.0


class Progress:
    """Keys so far and their rate, every few seconds."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._start = self._told = time.monotonic()
        self.keys = 0

    def reached(self, keys: int) -> None:
        """So many keys are written in all."""
        self.keys = keys
        now = time.monotonic()
        if now - self._told >= EVERY_S:
            self._told = now
            log.info("%s: %d keys written, %.0f keys/s", self._label, keys, keys / (now - self._start))

    def over(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """The chunks, counted as they go by."""
        for chunk in chunks:
            yield chunk
            self.reached(self.keys + len(chunk.keys))
