"""Files read anew, dry runs, batches, and other inputs than STDF, in a real store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from fs_spark import spatial_views
from fs_spark.errors import RequestError
from fs_spark.ingest import run as ingest_run
from tests.stores import new_folder, open_store, versions, write_lot


def change(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / "conf" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_files_are_read_again_when_their_configuration_is_another(spark: SparkSession, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "again")
    files = write_lot(tmp_path / "in", 1, wafers=1)
    zone = '- {match: "SYN-*", zone: UTC}'
    change(folder, "testers.yaml", zone, "")
    dry = open_store(folder, spark).ingest(files, dry_run=True)
    assert ({f.status for f in dry.files}, dry.exit_code, dry.dry_run) == ({"unreadable"}, 2, True)
    assert versions(folder) == {}
    store = open_store(folder, spark)
    assert store.ingest(files).exit_code == 2
    before = versions(folder)
    again = store.ingest(files)
    assert {f.status for f in again.files} == {"duplicate"}
    assert all("set aside before" in (f.reason or "") for f in again.files)
    assert {f.status for f in store.ingest(again=True).files} == {"unreadable"}
    assert versions(folder) == before

    change(folder, "testers.yaml", "testers:", f"testers:\n  {zone}")
    store = open_store(folder, spark)
    assert {f.status for f in store.ingest(again=True).files} == {"ingested"}
    store.apply()
    store.materialize(["die_neighborhood", "lot_so_far"])
    parts = store.table("die_tests").count()
    results = store.table("test_results").count()
    before = versions(folder)
    assert {f.status for f in store.ingest(again=True).files} == {"duplicate"}
    assert versions(folder) == before

    # another zone and another name of the lot: the same files, other rows, and the features follow
    change(folder, "testers.yaml", zone, zone.replace("UTC", "Asia/Tokyo"))
    change(
        folder,
        "products.yaml",
        "part_typ: SYNCHIP}",
        "part_typ: SYNCHIP}\n    lot_id: [{field: lot_id, pattern: 'SYN(.*)', value: 'LOT\\1'}]",
    )
    then = store.table("die_tests").agg(F.min("event_timestamp")).collect()[0][0]
    store = open_store(folder, spark)
    assert {f.status for f in store.ingest(again=True, dry_run=True).files} == {"ingested"}
    assert versions(folder) == before
    assert {f.status for f in store.ingest(files, again=True).files} == {"ingested"}
    now = store.table("die_tests").agg(F.min("event_timestamp")).collect()[0][0]
    assert (then - now).total_seconds() == 9 * 3600
    assert (store.table("die_tests").count(), store.table("test_results").count()) == (parts, results)
    report = store.materialize(["die_neighborhood", "lot_so_far"])
    assert [(v.lots_recomputed, v.units_changed, v.units_removed) for v in report.views] == [(2, 1, 1), (2, 1, 1)]
    for view in ("die_neighborhood", "lot_so_far"):
        assert {r["lot_id"] for r in store.table(view).select("lot_id").distinct().collect()} == {"LOT0001"}


def test_a_delivery_in_several_batches(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = new_folder(tmp_path / "batches")
    files = write_lot(tmp_path / "in", 1, wafers=1)
    twin = tmp_path / "in" / "twin.stdf"
    shutil.copyfile(files[0], twin)
    monkeypatch.setattr(ingest_run, "_BATCH_BYTES", 1)
    assert [len(batch) for batch, _ in ingest_run.batches_of([str(f) for f in files])] == [1, 1]
    report = open_store(folder, spark).ingest([tmp_path / "in"])
    assert sorted(f.status for f in report.files) == ["duplicate", "ingested", "ingested"]
    assert open_store(folder, spark).table("files").count() == 2


def test_nothing_to_read_again(spark: SparkSession, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "none")
    with pytest.raises(RequestError, match="no delivered file"):
        open_store(folder, spark).ingest(again=True)
    assert versions(folder) == {}


def test_maps_of_bins_become_die_tests_and_features(spark: SparkSession, shared_data: Path, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "maps")
    (folder / "conf" / "inputs.yaml").write_text(
        "inputs:\n"
        "  - match: '*.WaferMap'\n"
        "    kind: wafer_map\n"
        "    zone: Asia/Shanghai\n"
        "    product_id: s1m\n"
        "    passing_bins: [1]\n"
        "    report: {pattern: '^(.+)_\\d+\\.WaferMap$', file: '\\1_report_gb18030.csv', encoding: gb18030}\n"
    )
    lot = shared_data / "aoi-wafer-stacking" / "S1M040120B_B004549"
    store = open_store(folder, spark)
    report = store.ingest(sorted(lot.glob("*_0[1-3].WaferMap")))
    assert [f.status for f in report.files] == ["ingested"] * 3
    store.apply()
    store.materialize(["die_neighborhood", "lot_so_far"])
    assert store.table("die_neighborhood").count() == 3 * 979
    done = store.table("lot_so_far").orderBy("event_timestamp").select("wafers_done").collect()
    assert [row[0] for row in done] == [1, 2, 3]
    # no order of testing is known, so no die of a wafer was seen before another
    assert store.table("die_neighborhood").where("neighbor_count > 0").count() == 0


def test_a_delta_table_of_dies_and_its_next_version(spark: SparkSession, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "dies")
    (folder / "conf" / "inputs.yaml").write_text(
        "inputs:\n"
        "  - match: '*/lab/dies'\n"
        "    kind: die_table\n"
        "    product_id: lab\n"
        "    columns: {lot_id: lot, wafer_id: wafer, die_x: x, die_y: y, passed: ok, event_timestamp: at}\n"
        "    parameters: {vdd: {test_num: 1, test_name: vdd, unit: V}}\n"
    )
    table = str(tmp_path / "lab" / "dies")

    def write(dies: int, mode: str) -> None:
        rows = spark.range(0, dies, 1, 3).selectExpr(
            "'L1' AS lot", "'W1' AS wafer", "int(id % 5) AS x", "int(id div 5) AS y", "id % 7 <> 0 AS ok",
            "timestamp_seconds(1700000000 + id) AS at", "double(id) / 4 AS vdd",
        )  # fmt: skip
        rows.write.format("delta").mode(mode).save(table)

    write(20, "error")
    store = open_store(folder, spark)
    assert [f.status for f in store.ingest([table]).files] == ["ingested"]
    assert (store.table("die_tests").count(), store.table("test_results").count()) == (20, 20)
    before = versions(folder)
    assert [f.status for f in store.ingest([table]).files] == ["duplicate"]
    assert versions(folder) == before
    write(25, "overwrite")
    files = write_lot(tmp_path / "in", 1, wafers=1)
    assert sorted(f.status for f in store.ingest([table, *files]).files) == ["ingested"] * 3
    dies = store.table("die_tests").where("lot_id = 'L1'")
    assert dies.count() == 25
    assert dies.where("touchdown = die_x + 5 * die_y").count() == 25
    assert store.table("die_tests").where("lot_id <> 'L1'").count() > 100
    both = dies.join(store.table("test_results"), ["file_id", "part_index"])
    assert both.where("result = touchdown / 4").count() == both.count() == 25


def test_rows_whose_source_versions_are_gone_are_compared_lot_by_lot(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data files of older versions can be removed by others; the next run then looks at all lots, not at some."""
    folder = new_folder(tmp_path / "gone")
    store = open_store(folder, spark)
    store.ingest(write_lot(tmp_path / "in", 1, wafers=1))
    store.apply()
    store.materialize(["die_neighborhood"])
    first = store.table("die_neighborhood").count()
    store.ingest(write_lot(tmp_path / "in", 2, wafers=1))

    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(spatial_views, "_changed_lots", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            store.materialize(["die_neighborhood"])

    path = folder / "store" / "files"
    spark.sql(f"OPTIMIZE delta.`{path}`")
    kept = {name.rsplit("/")[-1] for name in spark.read.format("delta").load(str(path)).inputFiles()}
    removed = [file for file in path.glob("*.parquet") if file.name not in kept]
    assert removed
    for file in removed:
        file.unlink()
    report = store.materialize(["die_neighborhood"])
    assert [(v.units_changed, v.units_removed) for v in report.views] == [(1, 0)]
    assert store.table("die_neighborhood").count() > first
    before = versions(folder)
    store.materialize(["die_neighborhood"])
    assert versions(folder) == before
