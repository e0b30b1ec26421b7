"""The whole catalogue, a process for each other CPU: `python -m tests.soak.any_cpu`; exit code 4 where bits differ."""

from __future__ import annotations

import sys
import tempfile

from tests.kernels.catalogue_bits import catalogue_bits
from tests.kernels.test_any_cpu import OTHER, bits_in_another_process


def main() -> int:
    here = catalogue_bits()
    differing = 0
    with tempfile.TemporaryDirectory() as cache:
        compiled = {"NUMBA_CPU_NAME": "x86-64-v2", "NUMBA_CACHE_DIR": cache}  # all kernels anew: a minute or two
        for name, settings in {**OTHER, "numba for x86-64-v2": compiled}.items():
            there = bits_in_another_process(settings)
            other = sorted(column for column in here if here[column] != there.get(column))
            differing += bool(other)
            line = f"{name}: {len(here)} columns, {len(other)} differ {' '.join(other[:10])}".rstrip()
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    return 4 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
