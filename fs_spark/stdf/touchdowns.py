"""Which parts were tested at one instant."""

from __future__ import annotations

from typing import Any

from fs_spark.compiled import njit


@njit(cache=True, nogil=True)
def touchdowns_of(
    head: Any, run: Any, begin: Any, end: Any, pseudo: Any, busy_until: Any, current: Any, run_of: Any, out: Any
) -> None:
    """Number of each part's touchdown from the bytes at which the parts begin and end; pseudo-parts have none.

    A part that was never closed holds its touchdown open to the end of its run, not of the file.

    Shapes     out and what it is made of (parts,), -1; room by head (256,): busy_until and current -1, run_of -2
    """
    touchdown = -1
    for p in range(len(head)):
        if pseudo[p]:
            continue
        h = head[p]
        if run[p] != run_of[h]:
            run_of[h] = run[p]
            busy_until[h] = -1
        if begin[p] > busy_until[h]:
            touchdown += 1
            current[h] = touchdown
        if end[p] > busy_until[h]:
            busy_until[h] = end[p]
        out[p] = current[h]
