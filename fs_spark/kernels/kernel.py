"""A kernel as a value: what the engine has to know of it, said beside its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any, Protocol

from fs_spark.kernels.replay import Int32, Lattice

ColumnOf = tuple[str, str]
"""A kernel's name and one of its columns."""


class Places(Protocol):
    """A wafer's dies, and the zones that they lie in."""

    @property
    def lattice(self) -> Lattice: ...
    @property
    def zones(self) -> Int32: ...
    @property
    def center(self) -> tuple[float, float]: ...


@dataclass(frozen=True)
class Asked:
    """What a view asks of one kernel: which of its columns, for which parameters and bins, by which settings."""

    columns: frozenset[str]
    parameters: tuple[str, ...]
    bins: tuple[int, ...]
    settings: Any

    def wants(self, *prefixes: str) -> bool:
        """Whether a column is asked for that begins with one of the texts."""
        return any(column.startswith(prefixes) for column in self.columns)


def _nothing(asked: Asked, wafer: Places, sites: int) -> dict[str, Any]:
    return {}


def _no_reach(asked: Asked) -> float:
    return 0.0


@dataclass(frozen=True)
class Kernel:
    """One kernel; its name is that of its module, whose `KERNEL` it is.

    revision     raised with every change that gives other values: all lots of the views that use it are then computed
                 anew, and what was made by another revision can be named
    columns      the columns of `run`'s output, by their place
    new_state    (lattice, **options) -> a state in which nothing is known; None where nothing is replayed
    run          (lattice, replay, state, bounds, ask, tell, out): for the attempts [bounds[k], bounds[k + 1]) of one
                 instant after the other fills in `out` from what was told before, if `ask`, then takes them in, if
                 `tell`. One function, since each one that numba compiles costs half a second and more
    options      (asked, wafer, number of sites) -> keywords of `new_state`
    reach_mm     how far around a die it looks on the lattice's grid; 5 x 5 dies are always there
    of_values    its output has one plane for each parameter, (p, columns, n); else (columns, n)
    of_bins      behind its columns there is one more for each bin of the view
    made_of      of a kernel that combines others: column -> the columns that it is made of
    combine      (column, own value (n,), those columns (n,)) -> (n,)
    """

    revision: int
    columns: tuple[str, ...]
    new_state: Callable[..., Any] | None = None
    run: Callable[..., None] | None = None
    options: Callable[[Asked, Places, int], dict[str, Any]] = _nothing
    reach_mm: Callable[[Asked], float] = _no_reach
    of_values: bool = False
    of_bins: bool = False
    made_of: Mapping[str, tuple[ColumnOf, ...]] = field(default_factory=dict)
    combine: Callable[..., Any] | None = None

    @cached_property
    def place(self) -> dict[str, int]:
        """Column -> its place in the output."""
        return {column: at for at, column in enumerate(self.columns)}


def kernel_of(name: str) -> Kernel:
    """The kernel that the catalogue calls `name`."""
    found: Kernel = import_module(f"fs_spark.kernels.{name}").KERNEL
    return found
