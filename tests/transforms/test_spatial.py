"""Ingested rows to feature rows: the shipped views against the oracles, whatever the partitions and batches."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from math import isclose, nan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from fs_spark import names as n
from fs_spark.config import load_configuration
from fs_spark.errors import SchemaError
from fs_spark.features.view import FeatureView
from fs_spark.schemas import view_layout
from fs_spark.transforms.spatial import MeasuredTest, ProductBinding, per_unit_features
from fs_spark.transforms.units import whole_units
from fs_spark.wafer import WaferGeometry
from tests.frames import assert_frames_close
from tests.oracles.lots import lot_so_far
from tests.oracles.neighbors import neighborhood_all
from tests.rows import Rows, frame_of, rows_of, settings

CONF = Path(__file__).resolve().parents[2] / "conf" / "store.yaml"
VIEWS = {view.name: view for view in load_configuration(CONF).views if isinstance(view, FeatureView)}
PARAMETERS = ("vdd", "idd", "freq", "temp")

PARTS = (
    "lot_id string, wafer_id string, run_id string, part_index int, die_x int, die_y int, touchdown int, "
    "passed boolean, event_timestamp timestamp, available_timestamp timestamp, product_id string"
)
RESULTS = (
    "lot_id string, wafer_id string, run_id string, part_index int, test_num bigint, test_name string, "
    "occurrence int, result float"
)

# Two products name the same parameters differently: test 1 is vdd in one and freq in the other, test 2 has two texts.
BINDINGS = {
    "chip": ProductBinding(
        geometry=WaferGeometry(center_x=1.5, center_y=1.5, rows=tuple((y, 0, 3) for y in range(4))),
        parameters={
            "vdd": MeasuredTest(1, "vdd"),
            "idd": MeasuredTest(2, "idd", "last"),
            "freq": MeasuredTest(3, "f", "first"),
        },
    ),
    "wide": ProductBinding(
        geometry=WaferGeometry(
            center_x=3, center_y=-3, pitch_x=2, pitch_y=2, rows=tuple((-y, 0, 6) for y in (6, 4, 2, 0))
        ),
        parameters={
            "freq": MeasuredTest(1, "vdd", "last"),
            "idd": MeasuredTest(2, "idd again"),
            "temp": MeasuredTest(4, "t"),
        },
    ),
}
TESTS = ((1, "vdd"), (2, "idd"), (2, "idd again"), (3, "f"), (4, "t"), (5, "clock"))


def geometry_of(product: str | None) -> WaferGeometry:
    return BINDINGS[product].geometry if product in BINDINGS else WaferGeometry(0, 0)


def random_lots(rng: random.Random, *, late: bool) -> tuple[Rows, Rows]:
    """Four lots of three products and of none: runs that overlap, retests, parts without a place, lost wafers."""
    parts: Rows = []
    results: Rows = []
    for lot, product in {"L1": "chip", "L2": "wide", "L3": "unbound", "L4": None}.items():
        step = geometry_of(product).pitch_x
        for run, wafer in enumerate(["W1", "W2", "W1", None]):
            dies = [(x * step, y * -step if product == "wide" else y) for x in range(4) for y in range(4)]
            rng.shuffle(dies)
            dies = dies[: 12 if run < 2 else 6] + rng.sample(dies, 2)
            time = rng.randrange(5)
            arrival = rng.randrange(20, 60)
            for index, (x, y) in enumerate(dies):
                if index % 2 == 0:
                    time += rng.choice([1, 1, 2])
                lost = rng.random() < 0.08
                parts.append(
                    {
                        "lot_id": None if rng.random() < 0.02 else lot,
                        "wafer_id": wafer,
                        "run_id": f"{lot}-{run}",
                        "part_index": 100 * run + index,  # so that `sequence` tells attempts of equal time apart
                        "die_x": None if lost else x,
                        "die_y": None if lost and rng.random() < 0.5 else y,
                        "touchdown": index // 2,
                        "passed": rng.choice([True, True, False, None]),
                        "event_timestamp": time,
                        "available_timestamp": (time if rng.random() < 0.7 else arrival) if late else time,
                        "product_id": product,
                    }
                )
                results += random_results(rng, parts[-1])
        results += random_results(rng, {**parts[-1], "wafer_id": "W9", "run_id": f"{lot}-9"})  # no part of W9 is there
    return parts, results


def random_results(rng: random.Random, part: dict[str, Any]) -> Rows:
    keys = {name: part[name] for name in ("lot_id", "wafer_id", "run_id", "part_index")}
    rows = []
    for number, name in TESTS:
        for occurrence in range(rng.choice([0, 1, 1, 3])):
            value = rng.choice([None, nan, 1.5, rng.gauss(1, 0.1), rng.gauss(1, 0.1), rng.gauss(1, 0.1)])
            value = None if value is None else float(np.float32(value))
            rows.append({**keys, "test_num": number, "test_name": name, "occurrence": occurrence, "result": value})
    return rows


def with_measured(parts: Rows, results: Rows) -> Rows:
    """Attempts with the value of each parameter, by looking at every result for every one of them."""
    joined = []
    for part in parts:
        binding = BINDINGS.get(part["product_id"], ProductBinding())
        row = dict(part)
        for parameter in PARAMETERS:
            test = binding.parameters.get(parameter)
            mine = [
                (result["occurrence"], result["result"])
                for result in results
                if test is not None
                and (result["run_id"], result["part_index"]) == (part["run_id"], part["part_index"])
                and (result["test_num"], result["test_name"]) == (test.test_num, test.test_name)
            ]
            chosen = None
            if mine and test is not None:
                chosen = sorted(mine)[0 if test.occurrence == "first" else -1][1]
            row[parameter] = None if chosen is None or chosen != chosen else chosen
        joined.append(row)
    return joined


def expected_rows(view: FeatureView, parts: Rows, results: Rows) -> Rows:
    attempts = with_measured(parts, results)
    keyed = [a for a in attempts if None not in (a["lot_id"], a["wafer_id"])]
    expected: Rows = []
    if view.name == "lot_so_far":
        for lot in sorted({a["lot_id"] for a in keyed}):
            rows = lot_so_far([a for a in keyed if a["lot_id"] == lot], parameters=PARAMETERS)
            expected += [{**row, "sequence": 0} for row in rows]
        return expected
    placed = [a for a in keyed if None not in (a["die_x"], a["die_y"])]
    sequence = {(a["run_id"], a["part_index"]): (a["touchdown"] << 32) | a["part_index"] for a in placed}
    if view.name == "die_measured":
        rows = placed
    else:
        rows = []
        for wafer in sorted({(a["lot_id"], a["wafer_id"]) for a in placed}):
            mine = [a for a in placed if (a["lot_id"], a["wafer_id"]) == wafer]
            geometry = geometry_of(mine[0]["product_id"])
            wafer_map = {(int(x), int(y)) for x, y in geometry.dies} or None
            pitch = (geometry.pitch_x, geometry.pitch_y)
            rows += neighborhood_all(mine, pitch=pitch, wafer_map=wafer_map, parameters=PARAMETERS)
    for row in rows:
        expected.append({**row, "sequence": sequence[(row["run_id"], row["part_index"])]})
    return expected


def features(
    spark: SparkSession, name: str, parts: Rows, results: Rows, *, partitions: int = 2, bindings: Any = BINDINGS
) -> DataFrame:
    return per_unit_features(
        frame_of(spark, parts, PARTS).repartition(partitions),
        frame_of(spark, results, RESULTS).repartition(partitions),
        view=VIEWS[name],
        bindings=bindings,
    )


def in_order(rows: Rows, keys: Sequence[str]) -> Rows:
    return sorted(rows, key=lambda row: [row[key] for key in (*keys, *TIMES)])


TIMES = ("event_timestamp", "available_timestamp", "sequence")


def assert_same(actual: Any, expected: Any, where: Any) -> None:
    if isinstance(expected, float) and isinstance(actual, float):
        assert isclose(actual, expected, rel_tol=1e-12, abs_tol=1e-15), where
    else:
        assert actual == expected, where
        assert type(actual) is type(expected), where


@pytest.mark.parametrize(("seed", "late"), [(1, False), (2, True)])
@pytest.mark.parametrize("name", ["die_neighborhood", "die_measured", "lot_so_far"])
def test_equals_the_oracle(spark: SparkSession, name: str, seed: int, late: bool) -> None:
    view = VIEWS[name]
    parts, results = random_lots(random.Random(seed), late=late)
    actual = features(spark, name, parts, results)
    assert actual.columns == [*view.keys, *TIMES, *view.columns]
    assert [field.dataType for field in actual.schema] == [field.dataType for field in view_layout(view).schema]
    rows = in_order(rows_of(actual), view.keys)
    expected = in_order(expected_rows(view, parts, results), view.keys)
    assert len(rows) == len(expected) > 10
    for row, wanted in zip(rows, expected, strict=True):
        for column in actual.columns:
            assert_same(row[column], wanted[column], (column, wanted))
    for column in view.columns:  # the lots are rich enough: every feature is there for some rows
        assert any(row[column] is not None for row in rows), column


@pytest.mark.parametrize("name", ["die_neighborhood", "lot_so_far"])
def test_same_bits_for_any_partitions_batches_and_order(spark: SparkSession, name: str) -> None:
    rng = random.Random(3)
    parts, results = random_lots(rng, late=True)
    found = []
    for partitions, shuffles, batch in ((1, 1, 10_000), (2, 2, 7), (7, 7, 10_000), (200, 3, 7)):
        changed = {
            "spark.sql.shuffle.partitions": str(shuffles),
            "spark.sql.execution.arrow.maxRecordsPerBatch": str(batch),
        }
        with settings(spark, changed):
            rows = rows_of(features(spark, name, parts, results, partitions=partitions))
        found.append(sorted(map(repr, rows)))
        rng.shuffle(parts)
        rng.shuffle(results)
    assert len(found[0]) > 10
    assert found[1:] == [found[0]] * 3


def part(x: int | None, y: int | None, touchdown: int, *, passed: bool | None = True, **more: Any) -> dict[str, Any]:
    """A part of run r on wafer W of lot L; the touchdown is its time."""
    keys = {"lot_id": "L", "wafer_id": "W", "run_id": "r", "product_id": "chip"}
    times = {"event_timestamp": touchdown, "available_timestamp": touchdown, "touchdown": touchdown}
    return {**keys, "die_x": x, "die_y": y, "part_index": touchdown, "passed": passed, **times, **more}


def result(of: int, value: float | None, *, occurrence: int = 0, **more: Any) -> dict[str, Any]:
    keys = {"lot_id": "L", "wafer_id": "W", "run_id": "r", "part_index": of}
    return {**keys, "test_num": 1, "test_name": "vdd", "occurrence": occurrence, "result": value, **more}


def test_a_neighborhood_by_hand(spark: SparkSession) -> None:
    parts = [
        part(0, 0, 0, passed=False),
        part(1, 0, 1),
        part(0, 0, 2),  # the retest of the first
        part(3, 3, 2, part_index=9, passed=False),  # far away, and in the touchdown of the retest
        part(1, 1, 3),
        part(2, 3, 3, part_index=10),
    ]
    results = [result(0, 1.0), result(1, 2.0), result(2, 4.0), result(9, 8.0), result(10, None)]
    schema = (
        "part_index bigint, die_x int, die_y int, neighbor_possible int, neighbor_count int, "
        "fail__neighbor_count int, fail__neighbor_frac double, vdd__neighbor_mean double, vdd__neighbor_std double"
    )
    columns = [column.split()[0] for column in schema.split(", ")]
    expected = [
        (0, 0, 0, 3, 0, 0, None, None, None),
        (1, 1, 0, 5, 1, 1, 1.0, 1.0, None),
        (2, 0, 0, 3, 1, 0, 0.0, 2.0, None),
        (9, 3, 3, 3, 0, 0, None, None, None),
        (3, 1, 1, 8, 2, 0, 0.0, 3.0, 2**0.5),
        (10, 2, 3, 5, 1, 1, 1.0, 8.0, None),
    ]
    actual = features(spark, "die_neighborhood", parts, results)
    index = actual.selectExpr("sequence % 4294967296 as part_index", *columns[1:])
    wanted = frame_of(spark, [dict(zip(columns, row, strict=True)) for row in expected], schema)
    assert_frames_close(index, wanted, keys=["part_index"], rtol=1e-15)


def test_geometry_by_hand(spark: SparkSession) -> None:
    """3 x 4 mm dies around (0, 0): the die at (1, 1) is 5 mm out; one row per die, whatever its attempts."""
    geometry = WaferGeometry(
        0, 0, die_width_mm=3, die_height_mm=4, wafer_diameter_mm=20, pos_x="R", pos_y="D", edge_exclusion_mm=3
    )
    parts = [part(1, 1, 0), part(1, 1, 1), part(0, 0, 2), part(None, 1, 3), part(0, 0, 1, lot_id="M", product_id="x")]
    view = VIEWS["die_geometry"]
    frame = frame_of(spark, parts, PARTS)
    actual = per_unit_features(frame, None, view=view, bindings={"chip": ProductBinding(geometry)})
    far, corner = 5.0, float(np.hypot(4.5, 6.0))
    nothing = dict.fromkeys((*TIMES, *view.columns))
    expected = [
        {"lot_id": "L", "die_x": 0, "die_y": 0, "x_mm": 0.0, "y_mm": 0.0, "radius_mm": 0.0, "radius_norm": 0.0,
         "angle_rad": 0.0, "edge_distance_mm": 7.5, "is_edge": False},
        {"lot_id": "L", "die_x": 1, "die_y": 1, "x_mm": 3.0, "y_mm": -4.0, "radius_mm": far, "radius_norm": 0.5,
         "angle_rad": float(np.arctan2(-4, 3)), "edge_distance_mm": 10 - corner, "is_edge": True},
        {"lot_id": "M", "die_x": 0, "die_y": 0},
    ]  # fmt: skip
    schema = (
        "lot_id string, wafer_id string, die_x int, die_y int, event_timestamp timestamp, "
        "available_timestamp timestamp, sequence bigint, x_mm double, y_mm double, radius_mm double, "
        "radius_norm double, angle_rad double, edge_distance_mm double, is_edge boolean"
    )
    wanted = frame_of(spark, [{**nothing, "wafer_id": "W", "sequence": 0, **row} for row in expected], schema)
    assert_frames_close(actual, wanted, keys=["lot_id", "die_x"], rtol=1e-15, atol=1e-300)


def measured(spark: SparkSession, parts: Rows, results: Rows, **options: Any) -> dict[Any, Any]:
    rows = rows_of(features(spark, "die_measured", parts, results, **options))
    return {(row["lot_id"], row["die_x"]): tuple(row[p] for p in PARAMETERS) for row in rows}


def test_first_and_last_occurrence(spark: SparkSession) -> None:
    """By the occurrence counter, not by the order of rows; an unusable first one is null, not the second."""
    idd = {"test_num": 2, "test_name": "idd"}
    results = [
        *(result(0, value, occurrence=o, **more) for o, value in ((2, 3.0), (0, 1.0), (1, 2.0)) for more in ({}, idd)),
        *(result(1, value, occurrence=o, **more) for o, value in ((0, None), (2, nan), (1, 2.0)) for more in ({}, idd)),
        result(2, 9.0, test_name="vdd again"),
        result(2, 9.0, test_num=11),
    ]
    found = measured(spark, [part(x, 0, x) for x in range(3)], results)
    assert found == {("L", 0): (1.0, 3.0, None, None), ("L", 1): (None,) * 4, ("L", 2): (None,) * 4}


def test_products_measure_by_their_own_mapping(spark: SparkSession) -> None:
    parts = [
        part(0, 0, 0),
        part(0, 0, 0, lot_id="M", run_id="s", product_id="wide"),
        part(0, 0, 0, lot_id="N", run_id="t", product_id="unbound"),
        part(0, 0, 0, lot_id="O", run_id="u", product_id=None),
    ]
    results = [
        {**result(0, float(number), test_num=number, test_name=name), "lot_id": lot, "run_id": run}
        for lot, run in {"L": "r", "M": "s", "N": "t", "O": "u"}.items()
        for number, name in TESTS
    ]
    assert measured(spark, parts, results) == {
        ("L", 0): (1.0, 2.0, 3.0, None),
        ("M", 0): (None, 2.0, 1.0, 4.0),
        ("N", 0): (None,) * 4,
        ("O", 0): (None,) * 4,
    }
    assert measured(spark, parts, results, bindings={}) == {(lot, 0): (None,) * 4 for lot in "LMNO"}


def test_parts_of_equal_number_in_two_runs_keep_their_values(spark: SparkSession) -> None:
    parts = [part(0, 0, 0), part(1, 0, 0, run_id="s"), part(2, 0, 0, wafer_id="V", run_id="t")]
    results = [result(0, 1.0), result(0, 2.0, run_id="s"), result(0, 3.0, wafer_id="V", run_id="t")]
    found = measured(spark, parts, results)
    assert {x: values[0] for (_, x), values in found.items()} == {0: 1.0, 1: 2.0, 2: 3.0}


def test_rows_with_a_null_key_are_left_out(spark: SparkSession) -> None:
    parts = [
        part(0, 0, 0),
        part(None, 0, 1),
        part(0, None, 2),
        part(1, 0, 3, lot_id=None),
        part(1, 0, 4, wafer_id=None),
    ]
    results = [result(0, 1.0), result(3, 2.0, lot_id=None), result(4, 2.0, wafer_id=None)]
    assert measured(spark, parts, results) == {("L", 0): (1.0, None, None, None)}


def test_a_wafer_with_results_but_no_parts_is_ignored(spark: SparkSession) -> None:
    results = [result(0, 1.0), result(0, 5.0, wafer_id="V"), result(0, 5.0, lot_id="M")]
    assert measured(spark, [part(0, 0, 0)], results) == {("L", 0): (1.0, None, None, None)}
    assert measured(spark, [], results) == {}


def test_missing_columns_are_listed(spark: SparkSession) -> None:
    parts, results = frame_of(spark, [], PARTS), frame_of(spark, [], RESULTS)
    view = VIEWS["die_neighborhood"]
    with pytest.raises(SchemaError, match="die_tests lacks touchdown, passed"):
        per_unit_features(parts.drop("touchdown", "passed"), results, view=view, bindings=BINDINGS)
    with pytest.raises(SchemaError, match="test_results lacks test_name, occurrence"):
        per_unit_features(parts, results.drop("test_name", "occurrence"), view=view, bindings=BINDINGS)


@pytest.mark.parametrize("seed", range(5))
def test_units_are_whole_whatever_the_batches(seed: int) -> None:
    rng = random.Random(seed)
    keys = sorted((rng.choice("ab"), rng.choice(["1", "11"])) for _ in range(40))
    table = pa.table({n.LOT_ID: [a for a, _ in keys], n.WAFER_ID: [b for _, b in keys], "row": range(40)})
    batches: list[pa.RecordBatch] = []
    start = 0
    while start < 40:
        size = rng.choice([0, 1, 3, 10])
        batches += table.slice(start, size).combine_chunks().to_batches() or [table.to_batches()[0].slice(0, 0)]
        start += size
    units: list[pa.Table] = []
    for some, edges in whole_units(iter(batches), [n.LOT_ID, n.WAFER_ID], rows=rng.choice([1, 5, 100])):
        assert edges[0] == 0
        assert edges[-1] == some.num_rows
        units += [some.slice(start, stop - start) for start, stop in pairwise(edges)]
    assert [row for unit in units for row in unit["row"].to_pylist()] == list(range(40))
    found = [set(zip(unit[n.LOT_ID].to_pylist(), unit[n.WAFER_ID].to_pylist(), strict=True)) for unit in units]
    assert found == [{key} for key in sorted(set(keys))]
