"""What `fs-spark inspect` shows of any file that can be ingested, and what the configuration would make of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from fs_spark.config import Configuration
from fs_spark.errors import StdfError
from fs_spark.inputs import InputFile, files_beside, find_entry, read_input
from fs_spark.inputs.rules import InputEntry
from fs_spark.stdf.container import DEFAULT_LIMITS, Delivered, read_delivered
from fs_spark.stdf.identity import find_product, find_tester
from fs_spark.stdf.inspection import Inspection, inspect_file
from fs_spark.stdf.reader import decode
from fs_spark.stdf.sources import without_credentials
from fs_spark.stdf.suggest import suggest as suggest_parameters

_PRODUCT_RULES: Final = ("lot_id", "wafer_id", "insertion")


@dataclass(frozen=True)
class Seen:
    """The answer for machines and for people."""

    report: dict[str, Any]
    text: str
    damaged: bool


def inspect_path(path: str, config: Configuration | None, *, suggest: bool = False, limit: int = 10) -> Seen:
    """Reads one file as ingest would.

    Raises     StdfError that names the file
    """
    try:
        entry = find_entry(path, config.inputs) if config else None
        delivered = read_delivered(path, limits=config.store.decompression.limits if config else DEFAULT_LIMITS)
        if entry is not None:
            return _of_input(path, delivered, entry, config)
        return _of_stdf(path, delivered, config, suggest=suggest, limit=limit)
    except StdfError as fault:
        shown = without_credentials(path)
        raise StdfError(str(fault) if shown in str(fault) else f"{shown}: {fault}") from fault


def _of_stdf(path: str, delivered: Delivered, config: Configuration | None, *, suggest: bool, limit: int) -> Seen:
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    products = config.products if config else None
    applies: dict[str, Any] = {}
    untimed: list[str] = []
    found = decode(delivered, file_name=name, testers=None, products=products)
    if config:
        try:
            tester = find_tester(found.header, config.testers)
            applies["tester rule"], applies["zone"] = tester.match, tester.zone
            applies["availability"] = tester.availability or config.store.availability
            found = decode(delivered, file_name=name, testers=config.testers, products=products)
        except StdfError as fault:
            untimed = [f"ingest would set this file aside: {fault}"]
    deny: list[str] = []
    if products is not None:
        product = find_product(dict(found.header), products)
        deny = list(product.deny)
        applies |= {"product": product.product_id, "insertion": _one(found.runs["insertion"]),
                    "lot": _one(found.runs["lot_id"]), "parameters": len(product.parameters)}  # fmt: skip
        applies |= {f"{rule} rules": len(getattr(product, rule)) for rule in _PRODUCT_RULES if getattr(product, rule)}
    damaged = bool(found.report.damage)
    if suggest:
        proposed = suggest_parameters(found, deny=deny, limit=limit)
        return Seen(proposed.to_dict(), proposed.to_text(), damaged)
    seen = inspect_file(found, path, found.bins)
    return _seen(seen, applies, untimed, damaged)


def _of_input(path: str, delivered: Delivered, entry: InputEntry, config: Configuration | None) -> Seen:
    limits = config.store.decompression.limits if config else DEFAULT_LIMITS
    beside = files_beside(path, limits=limits, follow_links=bool(config and config.store.follow_links))
    found: InputFile = read_input(path, delivered, entry, beside=beside)
    applies = {
        "inputs.yaml entry": f"{entry.match} ({entry.kind})",
        "zone": getattr(entry, "zone", None),
        "product": _one(found.runs["product_id"]),
        "insertion": _one(found.runs["insertion"]),
        "lot": _one(found.runs["lot_id"]),
    }
    return _seen(inspect_file(found, path), applies, [], bool(found.report.damage))


def _one(column: pa.ChunkedArray) -> str | None:
    """What all rows say; several, as a text."""
    values = dict.fromkeys(column.to_pylist())
    return ", ".join(str(value) for value in values if value is not None) or None


def _seen(seen: Inspection, applies: dict[str, Any], warnings: list[str], damaged: bool) -> Seen:
    report = {**seen.to_dict(), "applies": applies}
    report["warnings"] = [*warnings, *seen.warnings]
    lines = [f"{name:<18}{value}" for name, value in applies.items() if value is not None]
    text = seen.to_text()
    if lines:
        head, mark, rest = text.partition("\n\n")
        text = head + "\n\nwhat the configuration makes of it\n" + "\n".join(lines) + mark + rest
    text += "".join(f"\nwarning: {warning}" for warning in warnings)
    return Seen(report, text, damaged)
