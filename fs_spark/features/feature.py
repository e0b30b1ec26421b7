"""What a feature is: a frozen value that names its kernel, its knowledge class and when it is undefined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from fs_spark.features.definition import Boundary, boundary_of
from fs_spark.features.entity import SHIPPED
from fs_spark.features.settings import SpatialSettings

Knowledge = Literal["static", "before_test", "at_test", "after_wafer"]
EntityName = Literal["die", "wafer", "lot"]
Per = Literal["die", "fail", "bin", "parameter", "ring", "sector", "zone", "parameter_ring", "number"]
Input = Literal["place", "map", "passed", "hard_bin", "site", "value"]

ENTITY_KEYS: Final[dict[str, tuple[str, ...]]] = {name: tuple(entity.keys) for name, entity in SHIPPED.items()}

BOUNDARIES: Final[dict[str, Boundary]] = {
    knowledge: boundary_of(knowledge) for knowledge in ("static", "before_test", "at_test", "after_wafer")
}
"""The boundary of the join by knowledge class: a row of `at_test` or later never meets its own instant."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One line of the catalogue.

    `per` says how columns are made of it: `die` gives the bare name, `fail` gives `fail__<name>`, `bin` gives
    `bin<b>__<name>` for each bin of the view, `parameter` gives `<parameter>__<name>` for each parameter (`value` gives
    the bare parameter), `ring`, `sector` and `zone` give `<per><k>__<name>` by the view's settings, `parameter_ring`
    gives `<parameter>__ring<k>_<name>`, and `number` gives `<name>_00` and so on, `count` of them.
    `kernel` is the module in `fs_spark.kernels` whose `KERNEL` gives it, `result` the column of the kernel that it
    shows, where that has another name.
    """

    name: str
    family: str
    kernel: str
    per: Per
    entity: EntityName
    knowledge: Knowledge
    dtype: Literal["double", "int", "boolean"]
    unit: str
    inputs: tuple[Input, ...]
    undefined_when: str
    source: str
    result: str = ""
    count: int = 1

    @property
    def key(self) -> str:
        """How a view definition writes it: `radius_mm`, `fail__neighbor_frac`, `{p}__neighbor_mean`, `{p}`."""
        prefix = {"fail": "fail__", "bin": "{bin}__", "ring": "{ring}__", "sector": "{sector}__", "zone": "{zone}__"}
        if self.per == "parameter":
            return "{p}" if self.name == "value" else f"{{p}}__{self.name}"
        if self.per == "parameter_ring":
            return f"{{p}}__{{ring}}_{self.name}"
        return f"{self.name}_{{n}}" if self.per == "number" else prefix.get(self.per, "") + self.name

    @property
    def shown(self) -> str:
        """The kernel's column."""
        return self.result or self.name

    @property
    def of_parameters(self) -> bool:
        return self.per in ("parameter", "parameter_ring")

    def columns(
        self, parameters: tuple[str, ...], bins: tuple[int, ...] = (), settings: SpatialSettings | None = None
    ) -> tuple[str, ...]:
        """The column names that it gives in a view over `parameters`, `bins` and `settings`."""
        chosen = settings or SpatialSettings()
        keys = [self.key.replace("{p}", p) for p in parameters] if self.of_parameters else [self.key]
        places: dict[str, list[str]] = {
            "{bin}": [f"bin{b}" for b in bins],
            "{ring}": [f"ring{k}" for k in range(chosen.rings)],
            "{sector}": [f"sector{k}" for k in range(chosen.sectors)],
            "{zone}": [f"zone{k}" for k in range(1 + (chosen.rings - 1) * chosen.sectors)],
            "{n}": [f"{k:02}" for k in range(self.count)],
        }
        for mark, names in places.items():
            if mark in self.key:
                keys = [key.replace(mark, name) for key in keys for name in names]
        return tuple(keys)

    def by_kernel(
        self, parameters: tuple[str, ...] = (), bins: tuple[int, ...] = (), settings: SpatialSettings | None = None
    ) -> dict[str, str]:
        """Column names -> the kernel's names for them."""
        told = replace(self, name=self.shown, result="").columns(parameters, bins, settings)
        return dict(zip(self.columns(parameters, bins, settings), told, strict=True))

    def called(self, key: str) -> Feature:
        """The same under the key that it had before it was renamed."""
        before, _, behind = self.key.partition(self.name)
        earlier = replace(self, name=key.removeprefix(before).removesuffix(behind), result=self.shown)
        assert earlier.key == key, (key, earlier.key)
        return earlier

    def of_the_whole_wafer(self) -> Feature:
        """The same over the complete wafer: all neighbors, all dies, known when the wafer has ended."""
        return replace(
            self,
            name=f"full_{self.name}",
            family=f"full_{self.family}",
            knowledge="after_wafer",
            result=self.shown,
        )
