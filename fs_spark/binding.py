"""What a view version uses of a product: its wafer map, its tests, and the units that its files tell."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.config import Configuration
from fs_spark.errors import ConfigError
from fs_spark.features.definition import View
from fs_spark.features.view import FeatureView
from fs_spark.registry import Registry
from fs_spark.registry_state import BINDING, Entry, RegistryState
from fs_spark.snapshot import Snapshot
from fs_spark.stdf.quantity import powers_between
from fs_spark.stdf.rules import ProductConfig
from fs_spark.transforms.bindings import MeasuredTest, ProductBinding, binding_body
from fs_spark.transforms.spatial import FileUnits
from fs_spark.transforms.units import UNIT
from fs_spark.wafer import place_codes, resolve_geometry

log = logging.getLogger(__name__)

Measured = tuple[str, str, MeasuredTest]
"""A product, a parameter of it, and the test that measures it."""
_RECORDED = ("wafer_diameter_mm", "die_width_mm", "die_height_mm", "center_x", "center_y", "pos_x", "pos_y", "flat")


def _recorded(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """By product what most of its runs recorded of its map, value by value; ties go to the smallest."""
    runs = snapshot.read(n.WAFER_RUNS).where(F.col(n.PRODUCT_ID).isNotNull())
    votes: dict[str, dict[str, dict[Any, int]]] = {}
    for row in runs.groupBy(n.PRODUCT_ID, *_RECORDED).agg(F.count(F.lit(1)).alias("runs")).collect():
        told = votes.setdefault(row[n.PRODUCT_ID], {name: {} for name in _RECORDED})
        for name in _RECORDED:
            if row[name] is not None:
                told[name][row[name]] = told[name].get(row[name], 0) + row["runs"]
    return {
        product: {
            name: min(cast, key=lambda value: (-cast[value], value)) if cast else None for name, cast in told.items()
        }
        for product, told in votes.items()
    }


def _places(snapshot: Snapshot, products: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """By product the places at which dies of it were tested, (n, 2) of (x, y), sorted."""
    placed = F.col(n.DIE_X).isNotNull() & F.col(n.DIE_Y).isNotNull()
    dies = snapshot.read(n.DIE_TESTS).where(placed & F.col(n.PRODUCT_ID).isin(list(products)))
    found = dies.select(n.PRODUCT_ID, n.DIE_X, n.DIE_Y).distinct().toArrow()
    product = found[n.PRODUCT_ID].combine_chunks().dictionary_encode()
    codes = product.indices.to_numpy(zero_copy_only=False)
    x, y = (found[axis].to_numpy().astype(np.int64) for axis in (n.DIE_X, n.DIE_Y))
    places = dict.fromkeys(products, np.zeros((0, 2), np.int64))
    for code, name in enumerate(product.dictionary.to_pylist()):
        here = codes == code
        order = np.argsort(place_codes(x[here], y[here]))
        places[name] = np.stack([x[here][order], y[here][order]], axis=1)
    return places


def tests_of(product: ProductConfig, parameters: Iterable[str]) -> dict[str, MeasuredTest]:
    """The tests that the configuration names for parameters of a product now."""
    found = {name: product.parameters[name] for name in parameters if name in product.parameters}
    return {
        name: MeasuredTest(one.test_num, one.test_name, one.occurrence, one.element, one.unit.strip())
        for name, one in found.items()
    }


def binding_entry(view: View, product_id: str, binding: ProductBinding, resolved_from: Mapping[str, int]) -> Entry:
    """The registry's entry of what a view version uses of a product."""
    body = binding_body(binding, resolved_from)
    return Entry(BINDING, view.name, view.version, product_id, hashlib.sha256(body.encode()).hexdigest(), body)


def new_bindings(state: RegistryState, config: Configuration, snapshot: Snapshot) -> list[Entry]:
    """What each view version will use of each product that has rows and that it does not know yet: its map, its tests.

    A binding stays as it is made; another map or mapping is a new view version.

    Raises     ConfigError where a file measures a parameter as another quantity, before anything is bound for good
    """
    recorded = _recorded(snapshot)
    lacking = {
        key: [product for product in sorted(recorded) if product not in state.bindings.get(key, {})]
        for key in sorted(state.versions)
        if isinstance(state.versions[key], FeatureView) or state.versions[key].bound_parameters
    }
    wanted = sorted({product for products in lacking.values() for product in products})
    if not wanted:
        return []
    configured = {product.product_id: product for product in config.products}
    setups = {product: configured.get(product, ProductConfig(product_id=product)) for product in wanted}
    places = _places(snapshot, wanted)
    maps = {
        product: resolve_geometry(
            places[product],
            recorded=recorded[product],
            configured=setups[product].wafer_map.model_dump(),
            edge_exclusion_mm=config.store.wafer_map.edge_exclusion_mm,
        )
        for product in wanted  # no part of it has a place yet: it is bound when the first one comes
        if len(places[product]) or setups[product].wafer_map.rows
    }
    entries: list[Entry] = []
    measured: set[Measured] = set()
    for key, products in lacking.items():
        view = state.versions[key]
        for product in products:
            if product not in maps:
                continue
            tests = tests_of(setups[product], view.bound_parameters)
            entries.append(binding_entry(view, product, ProductBinding(maps[product], tests), snapshot.versions))
            log.info("%s: wafer map of %s from %s", view.qualified, product, maps[product].geometry_source)
            measured |= {(product, name, test) for name, test in tests.items()}
    check_units(snapshot, measured, config)
    return entries


def bind_products(registry: Registry, state: RegistryState, config: Configuration, snapshot: Snapshot) -> RegistryState:
    """Binds each product that has rows to each view version that does not know it yet; see `new_bindings`."""
    return registry.bind(state, new_bindings(state, config, snapshot))


def _told_units(snapshot: Snapshot, tests: Sequence[MeasuredTest]) -> DataFrame:
    """The units that kept files give these tests: one row per file and test, blanks and nulls left out."""
    numbers = sorted({test.test_num for test in tests})
    told = snapshot.read(n.TESTS).where(F.col(n.TEST_NUM).isin(numbers) & (F.trim("unit") != ""))
    return told.groupBy(n.FILE_ID, n.TEST_NUM, n.TEST_NAME).agg(F.min(F.trim("unit")).alias("unit"))


def check_units(snapshot: Snapshot, measured: Collection[Measured], config: Configuration) -> None:
    """Raises ConfigError for each parameter that a file measures as another quantity than the parameter is."""
    wanted = [one for one in measured if one[2].unit]
    if not wanted:
        return
    odd = {
        (number, name, unit)
        for number, name, unit in snapshot.told_units
        for _, _, test in wanted
        if (test.test_num, test.test_name) == (number, name) and powers_between(unit, test.unit) is None
    }
    if not odd:  # most often nobody need ask which file of which product it was
        return
    products = sorted({product for product, _, _ in wanted})
    runs = snapshot.read(n.WAFER_RUNS).where(F.col(n.PRODUCT_ID).isin(products))
    told = _told_units(snapshot, [test for _, _, test in wanted])
    paths = told.join(F.broadcast(runs.select(n.FILE_ID, n.PRODUCT_ID).distinct()), n.FILE_ID)
    paths = paths.join(F.broadcast(snapshot.files.select(n.FILE_ID, "path")), n.FILE_ID)
    found = paths.groupBy(n.PRODUCT_ID, n.TEST_NUM, n.TEST_NAME, "unit").agg(F.min("path").alias("path")).collect()
    faults = []
    for row in sorted(found):
        for product, name, test in sorted(wanted, key=lambda one: one[:2]):
            same = (product, test.test_num, test.test_name) == (row[n.PRODUCT_ID], row[n.TEST_NUM], row[n.TEST_NAME])
            if same and powers_between(row["unit"], test.unit) is None:
                place = config.places.get(f"{row[n.PRODUCT_ID]}/{name}", "products.yaml")
                faults.append(
                    f"{place}: parameter {name!r} of product {row[n.PRODUCT_ID]} is in {test.unit!r}, but file "
                    f"{row['path']} gives its test {test.test_num} {test.test_name!r} in {row['unit']!r}, another "
                    f"quantity. Hint: write `unit: {row['unit']}` at that parameter if the test is the right one, else "
                    "map the parameter to another test (a view that is bound to this product needs a new version)"
                )
    if faults := list(dict.fromkeys(faults)):
        raise ConfigError("parameters and tests differ in their units:\n" + "\n".join(f"- {f}" for f in faults))


def file_units(snapshot: Snapshot, view: FeatureView, bindings: Mapping[str, ProductBinding]) -> FileUnits | None:
    """The tests of files whose results are scaled, None where all are in their parameter's unit."""
    return units_of_tests(snapshot, view.parameters, bindings)


def units_of_tests(
    snapshot: Snapshot, parameters: Sequence[str], bindings: Mapping[str, ProductBinding]
) -> FileUnits | None:
    """The same for some parameters."""
    tests = [test for b in bindings.values() for name, test in b.parameters.items() if name in parameters]
    tests = [test for test in tests if test.unit]
    if not tests or n.TESTS not in snapshot.versions:  # rows of before units were known
        return None
    numbers = {test.test_num for test in tests}
    units = sorted({unit for number, _, unit in snapshot.told_units if number in numbers})
    names = tuple(unit for unit in units if any(powers_between(unit, test.unit) for test in tests))
    if not names:
        return None
    place = F.array_position(F.array(*map(F.lit, names)), F.col("unit")).cast("int") - 1
    scaled = _told_units(snapshot, tests).where(F.col("unit").isin(list(names)))
    return FileUnits(scaled.select(n.FILE_ID, n.TEST_NUM, n.TEST_NAME, place.alias(UNIT)), names)


def count_outside(snapshot: Snapshot, bindings: Mapping[str, ProductBinding]) -> dict[str, int]:
    """Dies that were tested but are not on their product's map, by product."""
    counts = {}
    for product, dies in _places(snapshot, sorted(bindings)).items():
        if len(dies):
            outside = int(bindings[product].geometry.outside(*dies.T).sum())
            if outside:
                counts[product] = outside
    return counts
