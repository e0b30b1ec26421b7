"""Files in other units than the configuration: scaled by a prefix from the file's own unit, refused otherwise."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import FeatureStore
from fs_spark.errors import ConfigError
from fs_spark.features.view import FeatureView
from fs_spark.transforms.spatial import FileUnits, MeasuredTest, ProductBinding, per_unit_features
from fs_spark.wafer import WaferGeometry
from tests.rows import frame_of, rows_of
from tests.stores import new_folder, open_store, versions, write_lot

VIEW = FeatureView.model_validate(
    {"name": "m", "version": "1.0", "features": ["{p}"], "parameters": ["idd", "idd_ma", "vdd"]}
)
START = 1_738_000_000_000_000


def single(value: float) -> float:
    """What a float32 holds of it."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def test_results_are_scaled_file_by_file(spark: SparkSession) -> None:
    """Each value is double(float32) times the power of ten; a file in the parameter's unit keeps its values."""
    told: dict[str, str | None] = {"in_ma": "mA", "in_a": "A", "in_ua": "ua", "silent": None}
    measured = {file: single(0.1 * (k + 1)) for k, file in enumerate(told)}
    parts: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for k, file in enumerate(told):
        place = {"lot_id": "L", "wafer_id": f"W{k}", "run_id": file, "part_index": 0, "file_id": file}
        times = {"event_timestamp": START, "available_timestamp": START}
        parts.append({**place, **times, "die_x": 1, "die_y": 1, "touchdown": 0, "passed": True, "product_id": "p"})
        for number, name in ((1, "i"), (2, "v")):
            more = {"test_num": number, "test_name": name, "occurrence": 0, "element": None}
            results.append({**place, **more, "result": measured[file]})
    dies = frame_of(
        spark, parts, "lot_id string, wafer_id string, run_id string, part_index int, die_x int, die_y int, "
        "touchdown int, passed boolean, event_timestamp timestamp, available_timestamp timestamp, product_id string",
    )  # fmt: skip
    long = frame_of(
        spark, results, "file_id string, lot_id string, wafer_id string, run_id string, part_index int, "
        "test_num bigint, test_name string, occurrence int, element int, result float",
    )  # fmt: skip
    binding = ProductBinding(
        WaferGeometry(center_x=1.0, center_y=1.0),
        {
            "idd": MeasuredTest(1, "i", unit="A"),
            "idd_ma": MeasuredTest(1, "i", unit="mA"),
            "vdd": MeasuredTest(2, "v", unit="V"),
        },
    )
    names = ("A", "mA", "ua")
    rows = [
        {"file_id": file, "test_num": 1, "test_name": "i", "unit_of_file": names.index(unit)}
        for file, unit in told.items()
        if unit is not None
    ]
    units = FileUnits(
        frame_of(spark, rows, "file_id string, test_num bigint, test_name string, unit_of_file int"), names
    )
    found = {
        row["wafer_id"]: (row["idd"], row["idd_ma"], row["vdd"])
        for row in rows_of(per_unit_features(dies, long, view=VIEW, bindings={"p": binding}, units=units))
    }
    ma, a, ua, silent = measured.values()
    assert found == {
        "W0": (ma * 1e-3, ma, ma),
        "W1": (a, a * 1e3, a),
        "W2": (ua * 1e-6, ua * 1e-3, ua),
        "W3": (silent, silent, silent),
    }
    plain = rows_of(per_unit_features(dies, long, view=VIEW, bindings={"p": binding}))
    assert {row["idd"] for row in plain} == set(measured.values())


def with_unit(folder: Path, old: str, new: str) -> FeatureStore:
    path = folder / "conf" / "products.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return FeatureStore.open(folder / "conf" / "store.yaml")


def test_a_store_scales_and_refuses(spark: SparkSession, tmp_path: Path) -> None:
    """The synthetic files say A and MHz; the configuration wants mA, and then volts."""
    folder = new_folder(tmp_path / "units")
    for product in ("vdd: {test_num: 110044", "idd: {test_num: 800200", "idd: {test_num: 1220"):
        with_unit(folder, product, product.replace("dd:", "dd_other:"))
    with_unit(folder, "test_name: idd, unit: A", "test_name: idd, unit: V")
    store = open_store(folder, spark)
    store.apply()  # without a row there is nothing to compare with
    files = write_lot(tmp_path / "in", 1, wafers=1)
    assert {file.status for file in store.ingest(files).files} == {"ingested"}  # needs no unit
    line = next(
        number for number, text in enumerate((folder / "conf" / "products.yaml").read_text().splitlines(), 1)
        if "test_name: idd, unit: V" in text
    )  # fmt: skip
    standing = versions(folder)
    for verb in (store.apply, store.materialize):
        with pytest.raises(ConfigError) as fault:
            verb()
        text = str(fault.value)
        assert f"products.yaml:{line}: parameter 'idd' of product synchip is in 'V', but file " in text
        assert any(str(file) in text for file in files)
        assert "gives its test 1002 'idd' in 'A', another quantity. Hint: write `unit: A`" in text
    assert versions(folder) == standing  # nothing is registered, bound or made
    with_unit(folder, "test_name: idd, unit: V", "test_name: idd, unit: mA")
    with_unit(folder, "test_name: freq, unit: MHz", "test_name: freq, unit: mhz")
    store = open_store(folder, spark)
    store.apply()
    store.materialize(["die_measured"])
    idd = store.table("test_results").where("test_name = 'idd'").select("run_id", "part_index", "result")
    parts = store.table("die_tests").where("insertion = '1'").select(
        "run_id", "part_index", "lot_id", "wafer_id", "die_x", "die_y", "event_timestamp"
    )  # fmt: skip
    wanted = parts.join(idd, ["run_id", "part_index"]).withColumn("ma", F.col("result").cast("double") * 1e3)
    keys = ["lot_id", "wafer_id", "die_x", "die_y", "event_timestamp"]
    both = store.table("die_measured").select(*keys, "idd").join(wanted.select(*keys, "ma"), keys)
    rows = both.collect()
    assert len(rows) > 100
    assert all(row["idd"] == row["ma"] for row in rows)
    before = versions(folder)
    store.materialize(["die_measured"])
    assert versions(folder) == before
