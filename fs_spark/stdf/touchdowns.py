"""Which parts were tested at one instant."""

from __future__ import annotations

from typing import Any

import numpy as np

from fs_spark.compiled import njit


@njit(cache=True, nogil=True)
def touchdowns_of(head: Any, run: Any, begin: Any, end: Any, pseudo: Any) -> Any:
    """Number of each part's touchdown from the bytes at which the parts begin and end; pseudo-parts have none.

    A part that was never closed holds its touchdown open to the end of its run, not of the file.
    """
    out = np.full(head.shape[0], -1, np.int64)
    busy_until = np.full(256, -1, np.int64)
    current = np.full(256, -1, np.int64)
    run_of = np.full(256, -2, np.int64)
    touchdown = -1
    for p in range(head.shape[0]):
        if not pseudo[p]:
            if run[p] != run_of[head[p]]:
                run_of[head[p]], busy_until[head[p]] = run[p], -1
            if begin[p] > busy_until[head[p]]:
                touchdown += 1
                current[head[p]] = touchdown
            busy_until[head[p]] = max(busy_until[head[p]], end[p])
            out[p] = current[head[p]]
    return out
