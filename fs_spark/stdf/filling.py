"""A pass over the bytes of a file that reads its results, part after part (compiled by numba)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fs_spark.compiled import njit
from fs_spark.stdf.framing import u2
from fs_spark.stdf.linking import mpr_elements, u4


@njit(cache=True, nogil=True)
def fill_results(
    data: Any, size: Any, big: Any, result_part: Any, result_test: Any, test_of: Any, begins: Any, cursor: Any,
    seen: Any, count_of: Any, test: Any, element: Any, value: Any, occurrence: Any, usable: Any, passed: Any, told: Any,
) -> None:  # fmt: skip
    """Rows of all kept parts, part after part, into `test` and what follows it.

    Shapes     begins (parts,): each part's first row, -1 for a part that is dropped; room: cursor (parts,), a copy of
               it, seen and count_of (tests,), -1 and 0; test ... told (rows,), zeros
    """
    at: Any = np.int64(0)
    r = 0
    while at < size:
        length = u2(data, at, big)
        kind = np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
        at += 4
        end = at + length
        if kind == 3850 or kind == 3855 or kind == 3860:
            part = result_part[r]
            row = cursor[part] if part >= 0 else -1
            if row >= 0:
                fine = kind != 3860 and length >= 12 and data[at + 6] & 0x3F == 0 and data[at + 7] & 0x07 == 0
                says = length >= 7 and data[at + 6] & 0x40 == 0
                good = says and data[at + 6] & 0x80 == 0
                first = at + 8
                count = 1
                step = 0
                if kind == 3855:
                    first, count, _ = mpr_elements(data, at, end, big)
                    step = 1
                    if count < 1:
                        fine = False
                        count = 1
                        step = 0
                for k in range(count):
                    test[row] = test_of[result_test[r]]
                    element[row] = k if step else -1
                    if fine:
                        bits = u4(data, first + 4 * k, big)
                        value[row] = bits
                        usable[row] = not (bits & 0x7F800000 == 0x7F800000 and bits & 0x7FFFFF != 0)
                    passed[row] = good
                    told[row] = says
                    row += 1
                cursor[part] = row
            r += 1
        at = end
    # how often the same test came before in the same part: rows of a part stand together, elements of a record too
    for part in range(len(cursor)):
        for row in range(begins[part], cursor[part]):
            if element[row] > 0:
                occurrence[row] = occurrence[row - 1]
            else:
                t = test[row]
                if seen[t] != part:
                    seen[t] = part
                    count_of[t] = 0
                occurrence[row] = count_of[t]
                count_of[t] += 1
