"""What one process takes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fs_spark.errors import RequestError


@dataclass(frozen=True)
class Limits:
    """Limits of requests for features; those of one process, where there are several.

    keys        most keys of one request
    body_bytes  most bytes of one request
    concurrent  most requests under way at once; further ones get 503 at once
    per_second  most requests begun per second, in the mean of a second; None is without end
    seconds     how long one request may take

    Raises  RequestError with every fault
    """

    keys: int = 1000
    body_bytes: int = 1 << 20
    concurrent: int = 64
    per_second: float | None = None
    seconds: float = 10.0

    def __post_init__(self) -> None:
        told = {
            "keys": self.keys,
            "bytes of a request": self.body_bytes,
            "requests at once": self.concurrent,
            "requests per second": 1 if self.per_second is None else self.per_second,
            "seconds": self.seconds,
        }
        faults = [f"at most {value} {name}" for name, value in told.items() if not value > 0]
        if faults:
            raise RequestError(f"nothing could be asked: {', '.join(faults)}.\nHint: a limit is greater than 0.")


@dataclass
class Pace:
    """Lets through as many requests per second as are allowed, those of one second at once at most."""

    per_second: float
    now: Callable[[], float] = time.monotonic
    _left: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._left, self._at = self._most, self.now()

    @property
    def _most(self) -> float:
        return max(self.per_second, 1.0)

    def wait_s(self) -> float:
        """0 where one more may begin, which then counts; else the seconds until one may."""
        now = self.now()
        self._left = min(self._most, self._left + (now - self._at) * self.per_second)
        self._at = now
        if self._left < 1:
            return (1 - self._left) / self.per_second
        self._left -= 1
        return 0.0
