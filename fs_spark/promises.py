"""How long a table promises to keep its versions, and who has lowered that promise for a VACUUM."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fs_spark.commits import interval_days

RETENTION: Final = ("delta.deletedFileRetentionDuration", "delta.logRetentionDuration")
VACUUMED_BY: Final = "fs_spark.vacuumed_by"
"""A property of a table whose promise is lowered while a VACUUM runs: the process that will put it back."""
_DELTA_DEFAULTS: Final = ("interval 7 days", "interval 30 days")
_GIVEN_UP_S: Final = 6 * 3600.0


def own_mark() -> str:
    """Names this process: machine, process, time."""
    return f"{socket.gethostname()}/{os.getpid()}/{time.time():.0f}"


def is_running(mark: str) -> bool:
    """Whether the process of a mark may still run: not after hours, when its number may be another process's, and
    before that it is known on its own machine alone."""
    machine, process, since = mark.rsplit("/", 2)
    if time.time() - float(since) > _GIVEN_UP_S:
        return False
    if machine != socket.gethostname():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True)
class Promise:
    """A table's promise: Delta's interval texts for removed files and for the log.

    `said` holds the table's properties, `vacuumed_by` names who lowered the promise, if anybody did.
    """

    files: str
    log: str
    said: Mapping[str, str]
    vacuumed_by: str | None

    @classmethod
    def of(cls, properties: Mapping[str, str] | None) -> Promise:
        said = dict(properties or {})
        files, log = (said.get(key, default) for key, default in zip(RETENTION, _DELTA_DEFAULTS, strict=True))
        return cls(files, log, said, said.get(VACUUMED_BY))

    def broken(self, horizon: str) -> tuple[str, str] | None:
        """The first property that promises less than the horizon, and what it says."""
        for key in RETENTION:
            if interval_days(self.said.get(key, "interval 7 days")) < interval_days(horizon):
                return key, self.said.get(key, "not set")
        return None
