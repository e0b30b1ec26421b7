"""The points at which a verb writes, so that a test can stop there: to die, or to let another job go first.

Every write of a table goes through `Tables._retried`, every publication through `SqliteOnline.publish` or `update`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from fs_spark.online.sqlite import SqliteOnline
from fs_spark.tables import Tables

When = Literal["before", "after"]


class Died(BaseException):
    """Stands for the end of the process: nothing in the code catches it."""


@contextmanager
def writes_noted(stop: Callable[[int, When, str], None]) -> Iterator[list[str]]:
    """Calls `stop(number, when, table)` before and after each write; gives the names of the tables as written.

    What `stop` itself writes is not counted.
    """
    real, published, updated = Tables._retried, SqliteOnline.publish, SqliteOnline.update
    names: list[str] = []
    inside = False

    def around(name: str, write: Callable[[], Any]) -> Any:
        nonlocal inside
        if inside:
            return write()
        number = len(names)
        names.append(name)

        def told(when: When) -> None:
            nonlocal inside
            inside = True
            try:
                stop(number, when, name)
            finally:
                inside = False

        told("before")
        answer = write()
        told("after")
        return answer

    def retried(self: Tables, name: str, action: Callable[[], Any], **more: Any) -> None:
        around(name, lambda: real(self, name, action, **more))

    def publish(self: SqliteOnline, *args: Any, **more: Any) -> Any:
        return around("online", lambda: published(self, *args, **more))

    def update(self: SqliteOnline, *args: Any, **more: Any) -> Any:
        return around("online", lambda: updated(self, *args, **more))

    Tables._retried, SqliteOnline.publish, SqliteOnline.update = retried, publish, update  # type: ignore[method-assign]
    try:
        yield names
    finally:
        Tables._retried, SqliteOnline.publish, SqliteOnline.update = real, published, updated  # type: ignore[method-assign]
