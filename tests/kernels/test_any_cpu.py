"""The same rows give the same bits on any CPU: the whole catalogue in processes that believe to have another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.kernels.catalogue_bits import catalogue_bits

OTHER: dict[str, dict[str, str]] = {
    "numpy without AVX-512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
    "glibc without FMA": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4"},
    "OpenBLAS of another CPU": {"OPENBLAS_CORETYPE": "Nehalem"},
}
"""What libraries choose by the CPU, and how they are told to choose otherwise. Code of numba: tests/soak/any_cpu.py."""


def bits_in_another_process(environment: dict[str, str]) -> dict[str, str]:
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.kernels.catalogue_bits"],
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    found: dict[str, str] = json.loads(told.stdout)
    return found


def test_the_libraries_of_another_cpu_give_the_same_bits() -> None:
    """All settings at once: each on its own is in the soak."""
    every = {name: value for settings in OTHER.values() for name, value in settings.items()}
    here, there = catalogue_bits(), bits_in_another_process(every)
    assert len(here) > 200
    assert {name for name in here if here[name] != there.get(name)} == set()


CALLED = (
    *(f"np.{name}" for name in ("exp", "log", "sin", "cos", "tan", "arc", "hypot", "power", "linalg", "dot", "matmul")),
    *(f"np.{name}" for name in ("einsum", "mean", "std", "var", "quantile", "percentile", "median", "cbrt")),
    *(f"math.{name}" for name in ("exp", "log", "sin", "cos", "tan", "a", "hypot", "pow", "dist")),
    *("scipy", ".mean(", ".std(", ".dot(", " @ ", "fastmath"),
)


@pytest.mark.parametrize("folder", ["kernels", "features"])
def test_kernels_call_nothing_that_chooses_its_code_by_the_cpu(folder: str) -> None:
    faults = []
    for file in sorted((ROOT / "fs_spark" / folder).glob("*.py")):
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
            code = line.split("#")[0]
            if any(name in code for name in CALLED):
                faults.append(f"{Path(file).name}:{number}: {line.strip()}")
    assert not faults, "\n".join(faults)
