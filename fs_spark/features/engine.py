"""The kernels of a view over one wafer: which are needed, their states, and the columns that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.features.feature import Feature, Input, Kernel
from fs_spark.features.mapped import MappedWafer
from fs_spark.features.settings import SpatialSettings
from fs_spark.kernels import (
    clusters,
    density,
    local_values,
    nearest,
    neighborhood,
    order_statistics,
    wafer_counts,
    wafer_values,
)
from fs_spark.kernels.replay import Replay

Float64 = NDArray[np.float64]

KERNELS: Final[dict[Kernel, Any]] = {
    "neighborhood": neighborhood,
    "density": density,
    "nearest": nearest,
    "clusters": clusters,
    "wafer_counts": wafer_counts,
    "local_values": local_values,
    "wafer_values": wafer_values,
    "order_statistics": order_statistics,
}
OF_VALUES: Final = frozenset({"local_values", "wafer_values", "order_statistics"})
IQR_OF_SIGMA: Final = 1.35
"""The interquartile range of a normal distribution in sigmas, as AEC-Q001 rounds it."""

# own columns -> the columns of kernels that they are made of
CONTEXT: Final[dict[str, tuple[tuple[Kernel, str], ...]]] = {
    "value": (),
    "nnr_median": (("local_values", "neighbor_median"),),
    "nnr_mean": (("local_values", "neighbor_mean"),),
    "nnr_ratio": (("local_values", "neighbor_median"),),
    "zscore": (("wafer_values", "wafer_mean"), ("wafer_values", "wafer_std")),
    "robust_zscore": (("order_statistics", "wafer_median"), ("order_statistics", "wafer_iqr")),
    "plane_residual": (("local_values", "gradient_value"),),
}


def _over(above: Float64, below: Float64) -> Float64:
    """The quotient, NaN where `below` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below != 0, above / below, np.nan)


def own_column(name: str, own: Float64, context: Sequence[Float64]) -> Float64:
    """A die's own value against its context, NaN where either is, and where there is nothing to divide by."""
    if name == "value":
        return own
    if name == "nnr_ratio":
        return _over(own, context[0])
    if name == "zscore":
        return _over(own - context[0], context[1])
    if name == "robust_zscore":
        return _over(own - context[0], context[1] / IQR_OF_SIGMA)
    return own - context[0]


@dataclass(frozen=True)
class Plan:
    """What a view asks of the kernels, worked out once: features of one knowledge class and entity."""

    features: tuple[Feature, ...]
    parameters: tuple[str, ...] = ()
    bins: tuple[int, ...] = ()
    settings: SpatialSettings = field(default_factory=lambda: SpatialSettings())

    @cached_property
    def columns(self) -> dict[str, str]:
        """Feature column -> type, in the order of the view."""
        return {name: f.dtype for f in self.features for name in f.columns(self.parameters, self.bins, self.settings)}

    @cached_property
    def asked(self) -> frozenset[tuple[Kernel, str]]:
        """Kernels and their columns."""
        found: set[tuple[Kernel, str]] = set()
        for f in self.features:
            if f.kernel == "own":
                found.update(CONTEXT[f.shown])
            else:
                found.add((f.kernel, kernel_column(f)))
            if f.kernel == "whole_wafer":
                found.update(whole_wafer_context(f.shown))
        return frozenset(found)

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        return tuple(kernel for kernel in KERNELS if any(k == kernel for k, _ in self.asked))

    @cached_property
    def inputs(self) -> frozenset[Input]:
        return frozenset(i for f in self.features for i in f.inputs)

    @cached_property
    def measures(self) -> bool:
        return any(f.of_parameters for f in self.features)

    def wants(self, *prefixes: str) -> bool:
        """Whether a column of a kernel is asked for that begins with one of the texts."""
        return any(column.startswith(prefixes) for _, column in self.asked)

    @property
    def reach_mm(self) -> float:
        return self.settings.reach_mm if self.wants("fail__density", "radius_gradient") else 0.0


def whole_wafer_context(name: str) -> tuple[tuple[Kernel, str], ...]:
    """The columns that PAT limits and flags are made of."""
    if name.startswith("robust_pat"):
        return CONTEXT["robust_zscore"]
    return CONTEXT["zscore"] if name.startswith("pat") else ()


def kernel_column(feature: Feature) -> str:
    """What the kernel calls it."""
    return f"fail__{feature.shown}" if feature.per == "fail" else feature.shown


def _new_state(kernel: Kernel, plan: Plan, wafer: MappedWafer, sites: int) -> Any:
    lattice, settings, parameters = wafer.lattice, plan.settings, len(plan.parameters)
    if kernel == "neighborhood":
        return neighborhood.new_state(
            lattice,
            side_weight=settings.gdbn_side_weight,
            corner_weight=settings.gdbn_corner_weight,
            bins=plan.wants("fail__neighbor_same_bin", "neighbor_same_bin"),
            block=plan.wants("ring5", "fail__ring5"),
        )
    if kernel == "density":
        return density.new_state(lattice, box_mm=settings.density_box_mm, sigma_mm=settings.density_sigma_mm)
    if kernel == "wafer_counts":
        return wafer_counts.new_state(
            lattice,
            rings=int(wafer.ring.max(initial=-1)) + 1,
            sectors=int(wafer.sector.max(initial=-1)) + 1,
            reticle=int(wafer.reticle.max(initial=-1)) + 1,
            sites=sites,
            bins=plan.bins,
        )
    if kernel == "local_values":
        return local_values.new_state(
            lattice,
            parameters,
            ranks=plan.wants("neighbor_min", "neighbor_max", "neighbor_median", "neighbor_range"),
            gradient=plan.wants("gradient"),
            surface=plan.wants("radius_gradient"),
            radius_mm=settings.gradient_radius_mm,
        )
    if kernel == "wafer_values":
        return wafer_values.new_state(
            lattice,
            parameters,
            center=wafer.center,
            sites=sites,
            surface=plan.wants("plane_", "bowl_"),
            moran=("wafer_values", "moran_i") in plan.asked,
        )
    return KERNELS[kernel].new_state(lattice, *((parameters,) if kernel in OF_VALUES else ()))


class Engine:
    """The states of a view's kernels on one wafer."""

    def __init__(self, plan: Plan, wafer: MappedWafer, *, sites: int, states: dict[Kernel, Any] | None = None) -> None:
        self.plan, self.wafer = plan, wafer
        self.states = states or {kernel: _new_state(kernel, plan, wafer, sites) for kernel in plan.kernels}

    def showing(self, plan: Plan) -> Engine:
        """The same states through a plan that asks for some of the features."""
        return Engine(plan, self.wafer, sites=0, states={kernel: self.states[kernel] for kernel in plan.kernels})

    def _outs(self, rows: int) -> dict[Kernel, Float64]:
        outs: dict[Kernel, Float64] = {}
        for kernel in self.plan.kernels:
            width = len(KERNELS[kernel].COLUMNS) + (len(self.plan.bins) if kernel == "wafer_counts" else 0)
            outs[kernel] = np.empty((len(self.plan.parameters), width, rows) if kernel in OF_VALUES else (width, rows))
        return outs

    def walk(self, replay: Replay) -> Float64:
        """All instants of a replay -> the view's columns (c, n), for its kernels' features."""
        outs = self._outs(len(replay.die))
        for kernel, out in outs.items():
            KERNELS[kernel].walk(self.wafer.lattice, replay, self.states[kernel], out)
        return self.columns(outs, replay, slice(None))

    def query(self, replay: Replay, first: int, last: int, outs: dict[Kernel, Float64]) -> None:
        for kernel, state in self.states.items():
            KERNELS[kernel].query(self.wafer.lattice, replay, state, first, last, outs[kernel])

    def push(self, replay: Replay, first: int, last: int) -> None:
        for kernel, state in self.states.items():
            KERNELS[kernel].push(self.wafer.lattice, replay, state, first, last)

    def ask(self, replay: Replay, first: int, last: int) -> Float64:
        """Columns of the attempts [first, last), asked at one instant: (c, last - first)."""
        outs = self._outs(len(replay.die))
        self.query(replay, first, last, outs)
        return self.columns(outs, replay, slice(first, last))

    def columns(self, outs: dict[Kernel, Float64], replay: Replay, rows: slice) -> Float64:
        """Kernels' columns -> the view's columns, (c, rows)."""
        die = replay.die[rows]
        found = np.empty((len(self.plan.columns), len(die)))
        at = 0
        for feature in self.plan.features:
            if feature.of_parameters:
                for p in range(len(self.plan.parameters)):
                    found[at] = self._of_parameter(feature, p, outs, replay, rows)
                    at += 1
            elif feature.per == "bin":
                width = len(wafer_counts.COLUMNS)
                for b in range(len(self.plan.bins)):
                    found[at] = outs["wafer_counts"][width + b, rows]
                    at += 1
            elif feature.kernel == "map":
                found[at] = self.wafer.possible[die]
                at += 1
            else:
                found[at] = outs[feature.kernel][COLUMN_AT[feature.kernel][kernel_column(feature)], rows]
                at += 1
        return found

    def context(self, name: tuple[Kernel, str], p: int, outs: dict[Kernel, Float64], rows: slice) -> Float64:
        """A column of a parameter."""
        kernel, column = name
        return outs[kernel][p, COLUMN_AT[kernel][column], rows]

    def _of_parameter(
        self, feature: Feature, p: int, outs: dict[Kernel, Float64], replay: Replay, rows: slice
    ) -> Float64:
        own = replay.values[p, rows]
        if feature.kernel == "own":
            return own_column(feature.shown, own, [self.context(c, p, outs, rows) for c in CONTEXT[feature.shown]])
        if feature.kernel == "whole_wafer":
            center, spread = (self.context(c, p, outs, rows) for c in whole_wafer_context(feature.shown))
            sigma = spread / IQR_OF_SIGMA if feature.shown.startswith("robust") else spread
            low, high = center - self.plan.settings.pat_sigmas * sigma, center + self.plan.settings.pat_sigmas * sigma
            if feature.shown.endswith("_low"):
                return low
            if feature.shown.endswith("_high"):
                return high
            return np.where(np.isnan(own) | np.isnan(low), np.nan, (own < low) | (own > high))
        return self.context((feature.kernel, feature.shown), p, outs, rows)


COLUMN_AT: Final[dict[Kernel, dict[str, int]]] = {
    kernel: {column: at for at, column in enumerate(module.COLUMNS)} for kernel, module in KERNELS.items()
}
