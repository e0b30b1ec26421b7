"""`python -m tests.faults.killed TABLE COUNT before|after VERB ...`: a verb whose process is killed at a write.

The COUNT-th write of TABLE, the one that makes it included; `*` stands for any table.
"""

from __future__ import annotations

import os
import signal
import sys

from fs_spark import cli
from tests.faults.writes import When, writes_noted


def main(argv: list[str]) -> int:
    table, count, when, *words = argv
    seen = 0

    def stop(at: int, reached: When, name: str) -> None:
        nonlocal seen
        if reached == when and table in (name, "*"):
            seen += 1
            if seen == int(count):
                os.kill(os.getpid(), signal.SIGKILL)

    with writes_noted(stop):
        return cli.main(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
