"""What a view version uses of a product: its wafer map, its tests, and the units that its files tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.config import Configuration
from fs_spark.errors import ConfigError
from fs_spark.features.view import FeatureView
from fs_spark.registry import Entry, Registry, RegistryState, binding_entry
from fs_spark.snapshot import Snapshot
from fs_spark.stdf.quantity import powers_between
from fs_spark.stdf.rules import ProductConfig
from fs_spark.transforms.spatial import FileUnits, MeasuredTest, ProductBinding
from fs_spark.transforms.units import UNIT
from fs_spark.wafer import resolve_geometry

log = logging.getLogger(__name__)

_RECORDED = ("wafer_diameter_mm", "die_width_mm", "die_height_mm", "center_x", "center_y", "pos_x", "pos_y", "flat")


def products_of(snapshot: Snapshot) -> list[str]:
    rows = snapshot.read(n.WAFER_RUNS).select(n.PRODUCT_ID).distinct().collect()
    return sorted(row[n.PRODUCT_ID] for row in rows if row[n.PRODUCT_ID] is not None)


def _recorded_geometry(snapshot: Snapshot, product: str) -> dict[str, Any]:
    """What most of the product's runs recorded, value by value; ties go to the smallest."""
    runs = snapshot.read(n.WAFER_RUNS).where(F.col(n.PRODUCT_ID) == product)
    counted = runs.groupBy(*_RECORDED).count().collect()
    told: dict[str, Any] = {}
    for name in _RECORDED:
        votes: dict[Any, int] = {}
        for row in counted:
            if row[name] is not None:
                votes[row[name]] = votes.get(row[name], 0) + row["count"]
        told[name] = min(votes, key=lambda value: (-votes[value], value)) if votes else None
    return told


def bind_products(registry: Registry, state: RegistryState, config: Configuration, snapshot: Snapshot) -> RegistryState:
    """Binds each product that has rows to each view version that does not know it yet: its wafer map and its tests.

    A binding stays as it is made; another map or mapping is a new view version.
    """
    configured = {product.product_id: product for product in config.products}
    entries: list[Entry] = []
    products = products_of(snapshot)
    resolved: dict[str, Any] = {}
    made: dict[str, dict[str, MeasuredTest]] = {}
    for (name, version), view in sorted(state.versions.items()):
        bound = state.bindings.get((name, version), {})
        for product in products:
            if product in bound:
                continue
            setup = configured.get(product, ProductConfig(product_id=product))
            if product not in resolved:
                places = (
                    snapshot.read(n.DIE_TESTS)
                    .where((F.col(n.PRODUCT_ID) == product) & F.col(n.DIE_X).isNotNull() & F.col(n.DIE_Y).isNotNull())
                    .select(n.DIE_X, n.DIE_Y)
                    .distinct()
                    .collect()
                )
                resolved[product] = (
                    resolve_geometry(
                        sorted((row[n.DIE_X], row[n.DIE_Y]) for row in places),
                        recorded=_recorded_geometry(snapshot, product),
                        configured=setup.wafer_map.model_dump(),
                        edge_exclusion_mm=config.store.wafer_map.edge_exclusion_mm,
                    )
                    if places or setup.wafer_map.rows
                    else None
                )
            geometry = resolved[product]
            if geometry is None:  # no part of it has a place yet: it is bound when the first one comes
                continue
            tests = {
                parameter: MeasuredTest(
                    found.test_num, found.test_name, found.occurrence, found.element, found.unit.strip()
                )
                for parameter in view.parameters
                if (found := setup.parameters.get(parameter))
            }
            binding = ProductBinding(geometry, tests)
            entries.append(binding_entry(view, product, binding, dict(snapshot.versions)))
            log.info("%s: wafer map of %s from %s", view.qualified, product, geometry.geometry_source)
            made.setdefault(product, {}).update(tests)
    check_units(snapshot, made, config)  # before anything is bound for good

    def unbound(now: RegistryState) -> list[Entry]:
        return [e for e in entries if e.product_id not in now.bindings.get((e.view, e.version), {})]

    return registry.extend(state, unbound)


def _told_units(snapshot: Snapshot, tests: Sequence[MeasuredTest]) -> DataFrame:
    """The units that kept files give these tests: one row per file and test, blanks and nulls left out."""
    numbers = sorted({test.test_num for test in tests})
    told = snapshot.read(n.TESTS).where(F.col(n.TEST_NUM).isin(numbers) & (F.trim("unit") != ""))
    return told.groupBy(n.FILE_ID, n.TEST_NUM, n.TEST_NAME).agg(F.min(F.trim("unit")).alias("unit"))


def check_units(snapshot: Snapshot, products: Mapping[str, Mapping[str, MeasuredTest]], config: Configuration) -> None:
    """Raises ConfigError for each parameter that a file measures as another quantity than the parameter is."""
    wanted = [test for tests in products.values() for test in tests.values() if test.unit]
    if not wanted:
        return
    runs = snapshot.read(n.WAFER_RUNS).where(F.col(n.PRODUCT_ID).isin(sorted(products)))
    told = _told_units(snapshot, wanted).join(runs.select(n.FILE_ID, n.PRODUCT_ID).distinct(), n.FILE_ID)
    paths = told.join(snapshot.read(n.FILES).select(n.FILE_ID, "path"), n.FILE_ID)
    found = paths.groupBy(n.PRODUCT_ID, n.TEST_NUM, n.TEST_NAME, "unit").agg(F.min("path").alias("path")).collect()
    faults = []
    for row in sorted(found):
        for name, test in sorted(products[row[n.PRODUCT_ID]].items()):
            same = (test.test_num, test.test_name) == (row[n.TEST_NUM], row[n.TEST_NAME])
            if same and powers_between(row["unit"], test.unit) is None:
                place = config.places.get(f"{row[n.PRODUCT_ID]}/{name}", "products.yaml")
                faults.append(
                    f"{place}: parameter {name!r} of product {row[n.PRODUCT_ID]} is in {test.unit!r}, but file "
                    f"{row['path']} gives its test {test.test_num} {test.test_name!r} in {row['unit']!r}, another "
                    f"quantity. Hint: write `unit: {row['unit']}` at that parameter if the test is the right one, else "
                    "map the parameter to another test (a view that is bound to this product needs a new version)"
                )
    if faults:
        raise ConfigError("parameters and tests differ in their units:\n" + "\n".join(f"- {f}" for f in faults))


def file_units(snapshot: Snapshot, view: FeatureView, bindings: Mapping[str, ProductBinding]) -> FileUnits | None:
    """The tests of files whose results are scaled, None where all are in their parameter's unit."""
    tests = [test for b in bindings.values() for name, test in b.parameters.items() if name in view.parameters]
    tests = [test for test in tests if test.unit]
    if not tests or n.TESTS not in snapshot.versions:  # rows of before units were known
        return None
    told = _told_units(snapshot, tests)
    units = sorted(row["unit"] for row in told.select("unit").distinct().collect())
    names = tuple(unit for unit in units if any(powers_between(unit, test.unit) for test in tests))
    if not names:
        return None
    place = F.array_position(F.array(*map(F.lit, names)), F.col("unit")).cast("int") - 1
    scaled = told.where(F.col("unit").isin(list(names)))
    return FileUnits(scaled.select(n.FILE_ID, n.TEST_NUM, n.TEST_NAME, place.alias(UNIT)), names)


def count_outside(snapshot: Snapshot, bindings: dict[str, ProductBinding]) -> dict[str, int]:
    """Dies that were tested but are not on their product's map, by product."""
    places = snapshot.read(n.DIE_TESTS).where(F.col(n.DIE_X).isNotNull() & F.col(n.DIE_Y).isNotNull())
    found: dict[str, list[tuple[int, int]]] = {}
    for row in places.select(n.PRODUCT_ID, n.DIE_X, n.DIE_Y).distinct().collect():
        found.setdefault(row[n.PRODUCT_ID], []).append((row[n.DIE_X], row[n.DIE_Y]))
    counts = {}
    for product, dies in found.items():
        if product in bindings:
            outside = int(bindings[product].geometry.outside(*zip(*dies, strict=True)).sum())
            if outside:
                counts[product] = outside
    return counts
