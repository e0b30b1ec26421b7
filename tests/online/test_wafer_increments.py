"""A new lot, a rollback and its way back reach the online table: as changes where they are, else by one switch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark.errors import RequestError
from tests.stores import new_folder, open_store, write_lot

SERVICE = {"features": ["die_measured:vdd", "lot_so_far:wafers_done"], "defaults": {"vdd": 0}}


def test_lots_and_rollbacks_reach_the_online_table(spark: SparkSession, tmp_path: Path) -> None:
    new_folder(tmp_path, views=("die_measured", "lot_so_far"))
    services = tmp_path / "conf" / "services.yaml"
    services.write_text(yaml.safe_dump({"services": {"chip": SERVICE}}), "utf-8")
    store = open_store(tmp_path, spark)
    for number in (1, 2):
        store.ingest(write_lot(tmp_path / "in", number, wafers=1))
        store.apply()
        store.materialize()
        report = store.export("chip")
        dies = store.table("die_measured").where(F.col("lot_id") == f"SYN{number:04}").select("die_x", "die_y")
        assert report.kind == ("full" if number == 1 else "incremental")
        assert report.rows == {"die_measured__v1.0": dies.distinct().count(), "lot_so_far__v1.0": 1}
        assert not any(report.gone.values())
    assert (report.generation, store.export("chip").kind) == (1, "current")
    assert store.verify_online("chip").is_equal

    text = tmp_path / "conf" / "views" / "die_measured.yaml"
    changed = yaml.safe_load(text.read_text("utf-8")) | {"version": "1.1"}
    text.write_text(yaml.safe_dump(changed), "utf-8")
    newer = open_store(tmp_path, spark)
    newer.apply()
    newer.materialize()
    assert (newer.export("chip").kind, newer.rollback("die_measured").version) == ("full", "1.0")
    with newer.online() as online:
        assert [view.view for view in online.describe("chip").views] == ["die_measured__v1.1", "lot_so_far__v1.0"]
        assert newer.export("chip").generation == 3
        assert [view.view for view in online.describe("chip").views] == ["die_measured__v1.0", "lot_so_far__v1.0"]
        key = {"lot_id": "none", "wafer_id": "W1", "die_x": 0, "die_y": 0}
        (found,) = online.get("chip", [key], ["vdd"], status=True)
        assert (found["vdd"], found["die_measured__v1.0__status"]) == (0.0, "default")
        assert json.dumps(online.published("chip").report)

    for faulty, told in (({"vdd": "x"}, "'vdd' is double, its default 'x'"), ({"bin": 1}, "'bin' is not a stored")):
        services.write_text(yaml.safe_dump({"services": {"chip": {**SERVICE, "defaults": faulty}}}), "utf-8")
        with pytest.raises(RequestError, match=told):
            open_store(tmp_path, spark).export("chip")
