"""What a person should know of a read file: odd records, no parts, no product entry, parameters that match no test."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from fs_spark.stdf.identity import Identity
from fs_spark.stdf.records import Fields
from fs_spark.stdf.rules import ProductConfig

if TYPE_CHECKING:
    from fs_spark.stdf.parts import Parts
    from fs_spark.stdf.reader import ReadReport
    from fs_spark.stdf.results import Test, Tests

_SAID: Final = {
    "unknown_records": "{} records of types that are not in STDF V4 were skipped by their length",
    "unclosed_parts": "{} parts have no end (PIR without PRR) and were left out",
    "lonely_prr": "{} parts end without having begun (PRR without PIR)",
    "results_outside_parts": "{} results belong to no part and were left out",
    "short_records": "{} records are shorter than their fields",
    "overlong_fields": "{} fields reach beyond the end of their record",
    "missing_mrr": "no MRR record",
    "repeated_mir": "the same header (MIR) comes {} more times",
    "cpu_type": "CPU_TYPE is not that of the byte order",
    "padding_bytes": "{} zero bytes behind the last record",
    "trailing_bytes": "{} bytes behind the MRR are no records and were not read",
    "skipped_places": "records break off at {} places",
    "skipped_bytes": "{} bytes are no records and were skipped",
    "parts_cut_by_damage": "{} parts begin in skipped bytes and were left out",
}


def notes(report: ReadReport, parts: Parts, tests: Tests) -> list[str]:
    """Sentences on what was noticed while reading."""
    found = [_SAID[name].format(count) for name, count in report.faults.items()]
    if lost := report.dropped.get("parts_of_no_certain_wafer"):
        found.append(f"{lost} parts behind skipped bytes were left out: no WIR or WRR tells their wafer for certain")
    if not len(parts.run):
        held = ", ".join(f"{name} {count}" for name, count in report.record_counts.items())
        found.append(f"no parts in this file (records: {held})")
    return found + tests.warnings


def product_notes(
    identity: Identity, head: Fields, products: Sequence[ProductConfig], tests: Sequence[Test]
) -> list[str]:
    """No entry of products.yaml for the file, or parameters of its product that match no test of it."""
    product = identity.product
    if all(product is not one for one in products):
        part, program, lot = (head[name] for name in ("part_typ", "job_nam", "lot_id"))
        pattern = f"part_typ: {part!r}" if part else f"lot_id: {lot!r}" if lot else "part_typ: '*'"
        return [
            f"no entry of products.yaml matches part type {part!r}, program {program!r}, lot {lot!r}: the product is "
            f"{product.product_id!r}, without parameters. "
            f"Hint: add `- {{product_id: {product.product_id!r}, match: {{{pattern}}}}}`"
        ]
    return parameter_notes(product, ((test.test_num, test.test_name) for test in tests))


def parameter_notes(product: ProductConfig, tests: Iterable[tuple[int, str]]) -> list[str]:
    """Each parameter of the product whose (TEST_NUM, TEST_TXT) is not among the tests, with the nearest ones."""
    there = dict.fromkeys(tests)
    if not there:
        return [f"no test in this file: {len(product.parameters)} parameters have no value"] * bool(product.parameters)
    found = []
    for name, wanted in product.parameters.items():
        if (wanted.test_num, wanted.test_name) in there:
            continue
        near = [test for test in there if test[1] == wanted.test_name or test[0] == wanted.test_num][:3]
        texts = difflib.get_close_matches(wanted.test_name.lower(), sorted({text.lower() for _, text in there}), n=3)
        near += [test for text in texts for test in there if test[1].lower() == text and test not in near]
        hint = " or ".join(f"{number} {text!r}" for number, text in near[:3]) or "`fs-spark inspect` lists its tests"
        found.append(
            f"parameter {name!r} matches no test of this file: {wanted.test_num} {wanted.test_name!r} is not there. "
            f"Hint: {'did you mean ' + hint + '?' if near else hint}"
        )
    return found
