"""What a feature is: a frozen value that names its kernel, its knowledge class and when it is undefined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Knowledge = Literal["static", "before_test", "at_test", "after_wafer"]
Boundary = Literal["at_or_before", "strictly_before"]
EntityName = Literal["die", "wafer", "lot"]

ENTITY_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "die": ("lot_id", "wafer_id", "die_x", "die_y"),
    "wafer": ("lot_id", "wafer_id"),
    "lot": ("lot_id",),
}

BOUNDARIES: Final[dict[str, Boundary]] = {
    "static": "at_or_before",
    "before_test": "at_or_before",
    "at_test": "strictly_before",
    "after_wafer": "strictly_before",
}
"""The boundary of the join by knowledge class: a row of `at_test` or later never meets its own instant."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One line of the catalogue.

    `per` says how columns are made of it: `die` gives the bare name, `fail` gives `fail__<name>`, and
    `parameter` gives `<parameter>__<name>` for each parameter of the view (`value` gives the bare parameter).
    """

    name: str
    kernel: Literal["radial", "neighbors", "measured", "lots"]
    per: Literal["die", "fail", "parameter"]
    entity: EntityName
    knowledge: Knowledge
    dtype: Literal["double", "int", "boolean"]
    unit: str
    undefined_when: str
    source: str

    @property
    def key(self) -> str:
        """How a view definition writes it: `radius_mm`, `fail__neighbor_frac`, `{p}__neighbor_mean`, `{p}`."""
        if self.per == "die":
            return self.name
        if self.per == "fail":
            return f"fail__{self.name}"
        return "{p}" if self.name == "value" else f"{{p}}__{self.name}"

    def columns(self, parameters: tuple[str, ...]) -> tuple[str, ...]:
        """The column names that it gives in a view over `parameters`."""
        if self.per != "parameter":
            return (self.key,)
        return tuple(self.key.replace("{p}", parameter) for parameter in parameters)
