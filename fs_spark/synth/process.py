"""What the fab did to a wafer: smooth variation, defects in clusters, an edge ring, a scratch.

Each die gets a number of latent defects, a Poisson draw from a defect density that varies over the wafer. A defect may
kill the die at CP1, may add leakage to `idd`, and may fail later, at CP2. So a good die's own results tell only part of
its risk, its neighbors' fails tell more, and the wafer's and lot's level more again.

Source: the mixed Poisson yield model with a varying defect density, B. T. Murphy, "Cost-size optima of monolithic
integrated circuits", Proc. IEEE 52 (1964); the clusters are Gaussian bumps. The constants are invented.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fs_spark.synth.probing import Dies

Floats = npt.NDArray[np.float64]

RING_EVERY: Final = 3
SCRATCH_EVERY: Final = 4
MEAN_LOG_DEFECTS: Final = -1.65
CLUSTERS_PER_WAFER: Final = 9


class LotProcess(NamedTuple):
    """What all wafers of a lot share; speed and supply in standard deviations, defects as a log density."""

    speed: float
    supply: float
    log_defects: float
    first_ring: int
    first_scratch: int


class WaferProcess(NamedTuple):
    """The latent state of one wafer, an array (n,) over its dies each."""

    speed: Floats
    supply: Floats
    defects: Floats
    leakage: Floats
    """Extra current in mA that the defects draw."""


def draw_lot(rng: np.random.Generator) -> LotProcess:
    """The lot's levels, and from which wafer on every third has a ring and every fourth a scratch."""
    return LotProcess(
        speed=float(rng.normal(0.0, 0.5)),
        supply=float(rng.normal(0.0, 0.5)),
        log_defects=float(rng.normal(0.0, 0.2)),
        first_ring=int(rng.integers(RING_EVERY)),
        first_scratch=int(rng.integers(SCRATCH_EVERY)),
    )


def draw_wafer(rng: np.random.Generator, lot: LotProcess, dies: Dies, *, index: int, radius_mm: float) -> WaferProcess:
    """The wafer's fields at its dies and their defects; `index` counts wafers from 0."""
    u, v = dies.x_mm / radius_mm, dies.y_mm / radius_mm
    r = np.hypot(u, v)
    speed = lot.speed + rng.normal(0.0, 0.35) + rng.normal(-1.0, 0.3) * (r**2 - 0.5) + _smooth(rng, u, v)
    supply = lot.supply + rng.normal(0.0, 0.25) + rng.normal(0.8, 0.3) * (r**2 - 0.5) + _tilt(rng, u, v)
    log_density = MEAN_LOG_DEFECTS + lot.log_defects + rng.normal(0.0, 0.3) + 0.4 * (r**2 - 0.5) + _clusters(rng, u, v)
    if index % RING_EVERY == lot.first_ring:
        log_density = log_density + 1.8 / (1.0 + np.exp(-(r - 0.86) / 0.025))
    density = np.exp(log_density)
    if index % SCRATCH_EVERY == lot.first_scratch:
        density = density + 2.2 * _scratch(rng, u, v)
    defects = rng.poisson(density).astype(np.float64)
    leakage = 0.55 * rng.gamma(np.maximum(defects, 1e-9), 1.0)
    return WaferProcess(speed=speed, supply=supply, defects=defects, leakage=leakage)


def draw_failing(rng: np.random.Generator, defects: Floats, *, fraction: float) -> npt.NDArray[np.bool_]:
    """Which dies fail when each defect is fatal with this probability."""
    return rng.random(len(defects)) < 1.0 - (1.0 - fraction) ** defects


def _tilt(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    a, b = rng.normal(0.0, 0.3, size=2)
    return np.asarray(a * u + b * v)


def _smooth(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """A random field of variance about 0.1, smooth over a third of the radius (random waves)."""
    field = np.zeros_like(u)
    for along_u, along_v, phase in zip(
        rng.normal(0.0, 3.0, 24), rng.normal(0.0, 3.0, 24), rng.uniform(0, 2 * np.pi, 24), strict=True
    ):
        field += np.cos(along_u * u + along_v * v + phase)
    return np.asarray(field * np.sqrt(0.2 / 24))


def _clusters(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """Gaussian bumps of the log density, a tenth to a fourth of the radius wide."""
    field = np.zeros_like(u)
    for _ in range(CLUSTERS_PER_WAFER):
        at_u, at_v = rng.uniform(-0.9, 0.9, size=2)
        width, height = rng.uniform(0.10, 0.25), rng.gamma(4.0, 0.45)
        field += height * np.exp(-((u - at_u) ** 2 + (v - at_v) ** 2) / (2 * width**2))
    return field


def _scratch(rng: np.random.Generator, u: Floats, v: Floats) -> Floats:
    """1 on a slightly bent line across part of the wafer, falling to 0 within 4 % of the radius."""
    angle = rng.uniform(0, np.pi)
    offset, bend, length = rng.uniform(-0.5, 0.5), rng.normal(0.0, 0.25), rng.uniform(0.35, 0.7)
    along = np.cos(angle) * u + np.sin(angle) * v
    across = -np.sin(angle) * u + np.cos(angle) * v - offset - bend * along**2
    return np.asarray(np.exp(-((across / 0.04) ** 2)) * (np.abs(along) <= length))
