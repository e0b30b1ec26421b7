"""The kernels of a view over one wafer: which are needed, their states, and the columns that they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fs_spark.features.feature import Feature, Input
from fs_spark.features.mapped import MappedWafer
from fs_spark.features.settings import SpatialSettings
from fs_spark.kernels.kernel import Asked, ColumnOf, Kernel, kernel_of
from fs_spark.kernels.replay import Replay
from fs_spark.kernels.whole_wafer import pat_limits

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def changed_kernels(then: Mapping[str, int], now: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Kernels of another revision than rows were made by: name -> (then, now). Where nobody said, it was the first."""
    return {name: (then.get(name, 1), number) for name, number in now.items() if then.get(name, 1) != number}


def kernel_column(feature: Feature) -> str:
    """What the kernel calls it."""
    return f"fail__{feature.shown}" if feature.per == "fail" else feature.shown


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
    def asked(self) -> frozenset[ColumnOf]:
        """Kernels and their columns, with those that others are made of."""
        found = {(f.kernel, kernel_column(f)) for f in self.features}
        for kernel, column in list(found):
            found.update(kernel_of(kernel).made_of.get(column, ()))
        return frozenset(found)

    @cached_property
    def kernels(self) -> dict[str, Kernel]:
        """All that the columns come from, by name."""
        return {name: kernel_of(name) for name in sorted({name for name, _ in self.asked})}

    @cached_property
    def replayed(self) -> dict[str, Kernel]:
        """Those that are asked and told instant by instant."""
        return {name: kernel for name, kernel in self.kernels.items() if kernel.run is not None}

    @property
    def revisions(self) -> dict[str, int]:
        """The revision of each kernel that the columns come from."""
        return {name: kernel.revision for name, kernel in self.kernels.items()}

    def asked_of(self, name: str) -> Asked:
        columns = frozenset(column for kernel, column in self.asked if kernel == name)
        return Asked(columns, self.parameters, self.bins, self.settings)

    @cached_property
    def inputs(self) -> frozenset[Input]:
        return frozenset(i for f in self.features for i in f.inputs)

    @cached_property
    def measures(self) -> bool:
        return any(f.of_parameters for f in self.features)

    @property
    def reach_mm(self) -> float:
        """How far the kernels look around a die on the lattice's grid."""
        return max((kernel.reach_mm(self.asked_of(name)) for name, kernel in self.replayed.items()), default=0.0)


class Engine:
    """The states of a view's kernels on one wafer."""

    def __init__(self, plan: Plan, wafer: MappedWafer, *, sites: int, states: dict[str, Any] | None = None) -> None:
        self.plan, self.wafer = plan, wafer
        self.states: dict[str, Any] = states if states is not None else {}
        if states is None:
            for name, kernel in plan.replayed.items():
                assert kernel.new_state is not None
                options = kernel.options(plan.asked_of(name), wafer, sites)
                self.states[name] = kernel.new_state(wafer.lattice, **options)

    def showing(self, plan: Plan) -> Engine:
        """The same states through a plan that asks for some of the features."""
        return Engine(plan, self.wafer, sites=0, states={name: self.states[name] for name in plan.replayed})

    def _outs(self, rows: int) -> dict[str, Float64]:
        outs: dict[str, Float64] = {}
        for name, kernel in self.plan.replayed.items():
            width = len(kernel.columns) + (len(self.plan.bins) if kernel.of_bins else 0)
            outs[name] = np.empty((len(self.plan.parameters), width, rows) if kernel.of_values else (width, rows))
        return outs

    def _run(self, replay: Replay, bounds: Int64, *, ask: bool, tell: bool) -> dict[str, Float64]:
        outs = self._outs(len(replay.die) if ask else 0)
        for name, out in outs.items():
            run = self.plan.replayed[name].run
            assert run is not None
            run(self.wafer.lattice, replay, self.states[name], bounds, ask, tell, out)
        return outs

    def walk(self, replay: Replay) -> Float64:
        """All instants of a replay -> the view's columns (c, n), for its kernels' features."""
        return self.columns(self._run(replay, replay.instants, ask=True, tell=True), replay, slice(None))

    def push(self, replay: Replay, first: int, last: int) -> None:
        self._run(replay, np.array([first, last], np.int64), ask=False, tell=True)

    def ask(self, replay: Replay, first: int, last: int) -> Float64:
        """Columns of the attempts [first, last), asked at one instant: (c, last - first)."""
        outs = self._run(replay, np.array([first, last], np.int64), ask=True, tell=False)
        return self.columns(outs, replay, slice(first, last))

    def columns(self, outs: dict[str, Float64], replay: Replay, rows: slice) -> Float64:
        """Kernels' columns -> the view's columns, (c, rows)."""
        die = replay.die[rows]
        found = np.empty((len(self.plan.columns), len(die)))
        at = 0
        for feature in self.plan.features:
            kernel = self.plan.kernels[feature.kernel]
            if feature.of_parameters:
                for p in range(len(self.plan.parameters)):
                    found[at] = self._of_parameter(feature, p, outs, replay, rows)
                    at += 1
            elif feature.per == "bin":
                for b in range(len(self.plan.bins)):
                    found[at] = outs[feature.kernel][len(kernel.columns) + b, rows]
                    at += 1
            elif feature.kernel == "map":
                found[at] = self.wafer.possible[die]
                at += 1
            else:
                found[at] = outs[feature.kernel][kernel.place[kernel_column(feature)], rows]
                at += 1
        return found

    def _column(self, name: ColumnOf, p: int, outs: dict[str, Float64], rows: slice) -> Float64:
        """A kernel's column of a parameter."""
        kernel, column = name
        return outs[kernel][p, self.plan.kernels[kernel].place[column], rows]

    def _of_parameter(self, feature: Feature, p: int, outs: dict[str, Float64], replay: Replay, rows: slice) -> Float64:
        kernel, own = self.plan.kernels[feature.kernel], replay.values[p, rows]
        if kernel.combine is not None:
            parts = [self._column(c, p, outs, rows) for c in kernel.made_of[feature.shown]]
            return np.asarray(kernel.combine(feature.shown, own, parts), np.float64)
        if feature.kernel == "whole_wafer":
            return self._of_limits(feature.shown, p, own, replay)
        return self._column((feature.kernel, feature.shown), p, outs, rows)

    def _of_limits(self, name: str, p: int, own: Float64, replay: Replay) -> Float64:
        """PAT limits from what was told, or whether own values are beyond them."""
        counted = replay.known
        if self.plan.settings.pat_population == "passing":
            counted = counted & (replay.outcome == 1)
        low, high = pat_limits(
            replay.values[p, counted], sigmas=self.plan.settings.pat_sigmas, robust=name.startswith("robust")
        )
        if name.endswith("flag"):
            return np.where(np.isnan(own) | np.isnan(low), np.nan, (own < low) | (own > high))
        return np.full(own.shape, low if name.endswith("low") else high)
