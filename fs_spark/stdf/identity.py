"""Which tester, product, lot, wafer and insertion a file speaks of: ordered rules over its header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from fs_spark.errors import StdfError
from fs_spark.stdf.records import Fields
from fs_spark.stdf.rules import ProductConfig, Rule, TesterConfig

DEFAULT_INSERTION = "1"


def _matches(pattern: str, value: str | None) -> bool:
    return pattern == "*" or (value is not None and fnmatchcase(value.lower(), pattern.lower()))


def find_tester(mir: Fields, testers: Sequence[TesterConfig]) -> TesterConfig:
    """The first entry that matches NODE_NAM or TSTR_TYP. Raises StdfError where none does: no zone is guessed."""
    for tester in testers:
        if _matches(tester.match, mir["node_nam"]) or _matches(tester.match, mir["tstr_typ"]):
            return tester
    raise StdfError(
        f"no time zone is configured for tester {mir['node_nam']!r} of type {mir['tstr_typ']!r}. "
        'Hint: add it to testers.yaml, for example {match: "%s", zone: Europe/Berlin}' % (mir["node_nam"] or "*")
    )


def find_product(mir: Fields, products: Sequence[ProductConfig]) -> ProductConfig:
    """The first product whose patterns all match; else one named by PART_TYP, with the default rules."""
    for product in products:
        wanted = product.match
        if all(_matches(getattr(wanted, name), mir[name]) for name in ("part_typ", "job_nam", "lot_id")):
            return product
    return ProductConfig(product_id=mir["part_typ"] or "unknown")


def apply_rule(rule: Rule, mir: Fields, file_name: str) -> str | None:
    text = file_name if rule.field == "file_name" else mir[rule.field]
    found = re.search(rule.pattern, text) if text else None
    return (found.expand(rule.value) or None) if found else None


def first_match(rules: Sequence[Rule], mir: Fields, file_name: str) -> str | None:
    return next((value for rule in rules if (value := apply_rule(rule, mir, file_name))), None)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the configuration makes of one file's header."""

    product: ProductConfig
    lot_id: str | None
    insertion: str

    @classmethod
    def of(cls, mir: Fields, products: Sequence[ProductConfig], file_name: str) -> Identity:
        product = find_product(mir, products)
        return cls(
            product=product,
            lot_id=first_match(product.lot_id, mir, file_name) or mir["lot_id"],
            insertion=first_match(product.insertion, mir, file_name) or DEFAULT_INSERTION,
        )

    def wafer_id(self, mir: Fields, file_name: str, *, wir: str | None, wrr: str | None) -> str | None:
        """The wafer's name by the product's ordered rules [STDF V4 p.36: WRR wins over WIR]."""
        for rule in self.product.wafer_id:
            value = {"wrr": wrr, "wir": wir}[rule] if isinstance(rule, str) else apply_rule(rule, mir, file_name)
            if value:
                return value
        return None
