"""What a task makes of files, without Spark: rows of one schema, and of a bad file its row alone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fs_spark.ingest.staging import STAGING_DDL, FileTask
from fs_spark.inputs.rules import InputsFile
from fs_spark.names import DUPLICATE, INGESTED, TRUNCATED, UNREADABLE
from fs_spark.stdf import read_stdf
from fs_spark.stdf.container import Limits, unpack
from tests.stdf.files import ANY_PRODUCT, ANY_TESTER, Maker, in_zone, product, two_by_three, utc

ARRIVED = utc("2025-06-01T00:00:00")


def task(*paths: Path, **options: Any) -> FileTask:
    usual = {
        "testers": ANY_TESTER, "products": ANY_PRODUCT, "availability": "streaming", "margin_us": 0,
        "delivered_us": round(ARRIVED.timestamp() * 1e6), "inputs": (), "known": {}, "stored_runs": {},
    }  # fmt: skip
    return FileTask(paths=tuple(map(str, paths)), **{**usual, **options})


def staged(work: FileTask) -> dict[str, list[dict[str, Any]]]:
    """The rows by kind, each with its `source`."""
    numbers = list(range(len(work.paths)))
    batches = list(work(iter([pa.record_batch({"id": pa.array([k], pa.int64())}) for k in numbers])))
    assert len({batch.schema.to_string() for batch in batches}) == 1
    rows = [row for batch in batches for row in batch.to_pylist()]
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in ("file", "run", "test", "part")}
    for row in rows:
        source = {"source": row["source"]}
        assert (row["told"] is None, row["part"] is None) == (row["kind"] == "part", row["kind"] == "file")
        if row["kind"] == "part":
            row["part"]["results"] = results_of(row["part"])
            found["part"].append({**source, **row["part"]})
            continue
        (told,) = row["told"]
        found["file"].append({**source, **told["file"], "extends": told["extends"], "counts": told["counts"]})
        for kind in ("run", "test"):
            found[kind] += [{**source, **one} for one in told[f"{kind}s"]]
    return found


def results_of(part: dict[str, Any]) -> list[dict[str, Any]]:
    """The lists of a part's row, put together again; taken out of the row."""
    names = ("test", "occurrence", "element", "value", "passed")
    lists = [part.pop(f"result_{name}") for name in names]
    lists[2] = lists[2] or [-1] * len(lists[0])
    return [
        {
            "test_index": test,
            "occurrence": occurrence,
            "element": element if element >= 0 else None,
            "result": None if value != value else value,
            "passed": None if passed < 0 else passed == 1,
        }
        for test, occurrence, element, value, passed in zip(*lists, strict=True)
    ]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.stdf"
    path.write_bytes(two_by_three())
    return path


def test_a_good_file(good: Path) -> None:
    rows = staged(task(good))
    (file,) = rows["file"]
    read = read_stdf(good, testers=ANY_TESTER, products=ANY_PRODUCT)
    assert file["file_id"] == read.report.file_id
    assert (file["status"], file["reason"], file["position"]) == (INGESTED, None, None)
    assert (file["path"], file["delivered_at"]) == (str(good), ARRIVED)
    assert (file["lot_id"], file["tester"], file["test_program"]) == ("LOT1", "TESTER1", "JOB")
    assert (file["delivered_bytes"], file["decompressed_bytes"]) == (good.stat().st_size,) * 2
    assert (file["byte_order"], file["parts"], file["parts_without_key"]) == ("little", 6, 0)
    assert json.loads(file["dropped"]) == {"pseudo_parts": 0, "results_outside_parts": 0, "unclosed_parts": 0}
    assert json.loads(file["run_keys"]) == read.runs["run_key"].to_pylist()
    assert file["counts"] == {"tests": 2, "runs": 1, "parts": 6, "results": 12}
    assert file["extends"] == []
    assert [row["test_name"] for row in rows["test"]] == ["vdd", "idd"]
    assert [row["wafer_id"] for row in rows["run"]] == ["W1"]

    parts = read.parts.to_pylist()
    results = read.part_results.to_pylist()
    for row, part, of_part in zip(rows["part"], parts, results, strict=True):
        assert row.pop("results") == of_part
        assert row.pop("source") == 0
        assert row == {name: part[name] for name in row}
    assert set(parts[0]) - set(row) == {"event_local", "run_start_local"}


def test_a_bad_file_gives_its_row_alone_and_the_others_go_on(good: Path, tmp_path: Path) -> None:
    text, missing, empty, no_parts = (tmp_path / name for name in ("notes.stdf", "gone.stdf", "empty.stdf", "cut.stdf"))
    text.write_text("no STDF here")
    empty.write_bytes(b"")
    no_parts.write_bytes(good.read_bytes()[:150])
    rows = staged(task(text, missing, good, empty, no_parts))
    assert [file["status"] for file in rows["file"]] == [UNREADABLE, UNREADABLE, INGESTED, UNREADABLE, UNREADABLE]
    assert [file["path"] for file in rows["file"]] == [str(p) for p in (text, missing, good, empty, no_parts)]
    reasons = [file["reason"] or "" for file in rows["file"]]
    assert "not an STDF file" in reasons[0]
    assert "cannot be read" in reasons[1]
    assert "empty" in reasons[3]
    assert "before any complete part" in reasons[4]
    assert {row["source"] for kind in ("run", "test", "part") for row in rows[kind]} == {2}
    ids = [file["file_id"] for file in rows["file"]]
    assert len(set(ids)) == 5
    assert all(len(file_id) == 64 for file_id in ids)
    assert rows["file"][0]["counts"] == {"tests": 0, "runs": 0, "parts": 0, "results": 0}


def test_a_tester_without_a_zone_is_a_reason(good: Path) -> None:
    (file,) = staged(task(good, testers=(in_zone(match="OTHER"),)))["file"]
    assert file["status"] == UNREADABLE
    assert "Hint: add it to testers.yaml" in file["reason"]


def test_a_known_file_is_not_read_again_whatever_its_name_or_wrapping(good: Path, tmp_path: Path) -> None:
    again = tmp_path / "copy.stdf.gz"
    again.write_bytes(gzip.compress(good.read_bytes()))
    rows = staged(task(again, known={unpack(good.read_bytes()).file_id: "any"}))
    assert [len(rows[kind]) for kind in ("file", "run", "test", "part")] == [1, 0, 0, 0]
    assert (rows["file"][0]["status"], rows["file"][0]["counts"]["parts"]) == (DUPLICATE, 0)


def test_a_cut_file_keeps_its_parts_and_says_where_it_stops(good: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.stdf"
    cut.write_bytes(good.read_bytes()[:-30])
    rows = staged(task(cut))
    (file,) = rows["file"]
    assert file["status"] == TRUNCATED
    assert "cut off" in file["reason"]
    assert 0 < file["position"] < cut.stat().st_size
    assert len(rows["part"]) == 6


def test_a_longer_file_of_a_known_run_extends_the_stored_one(good: Path) -> None:
    data = good.read_bytes()
    read = read_stdf(data, testers=ANY_TESTER, products=ANY_PRODUCT)
    (run_key,) = read.runs["run_key"].to_pylist()
    short = unpack(data[:-30])
    (file,) = staged(task(good, stored_runs={run_key: (short.file_id, len(short.data))}))["file"]
    assert file["extends"] == [short.file_id]
    other = unpack(b"x" * 40)
    (file,) = staged(task(good, stored_runs={run_key: (other.file_id, 40)}))["file"]
    assert file["extends"] == []
    whole = unpack(data)
    (file,) = staged(task(good, stored_runs={run_key: (whole.file_id, len(whole.data))}))["file"]
    assert file["extends"] == []  # a file does not extend itself
    (file,) = staged(task(good, stored_runs={"another run": (short.file_id, len(short.data))}))["file"]
    assert file["extends"] == []


def test_parts_without_a_key_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.stdf"
    path.write_bytes(Maker().begin().wir("W").pir(0).prr(0, -32768, 1).pir(0).prr(0, 1, 1).wrr("W").end())
    assert staged(task(path))["file"][0]["parts_without_key"] == 1
    path.write_bytes(Maker().begin().pir(0).prr(0, 1, 1).pir(0).prr(0, 2, 1).end())
    assert staged(task(path))["file"][0]["parts_without_key"] == 2


def test_a_summary_file_is_ingested_without_parts(shared_data: Path) -> None:
    rows = staged(task(*sorted(shared_data.glob("jervinkhoo-stdf-archive/*_sum.stdf.gz"))))
    assert [(file["status"], file["parts"]) for file in rows["file"]] == [(INGESTED, 0), (INGESTED, 0)]
    assert rows["part"] == rows["run"] == []


def test_availability_by_arrival_is_the_first_delivery_plus_a_margin(good: Path) -> None:
    rows = staged(task(good, availability="arrival", margin_us=1_500_000))
    expected = utc("2025-06-01T00:00:01").replace(microsecond=500_000)
    assert {row["available_timestamp"] for row in rows["part"]} == {expected}


def test_many_parts_travel_in_several_batches(tmp_path: Path) -> None:
    out = Maker().begin().wir("W")
    for x in range(9000):
        out.pir(0).ptr(0, 5, x / 4, "vdd").prr(0, x, 0)
    path = tmp_path / "long.stdf"
    path.write_bytes(out.wrr("W", finish=9000).end(9001))
    batches = list(task(path)(iter([pa.record_batch({"id": pa.array([0], pa.int64())})])))
    assert [batch.num_rows for batch in batches] == [1, 8192, 808]
    rows = staged(task(path))["part"]
    assert [row["die_x"] for row in rows] == list(range(9000))
    assert [row["results"][0]["result"] for row in rows] == [x / 4 for x in range(9000)]


def test_the_schema_for_spark_names_every_column(good: Path) -> None:
    (batch, *_) = task(good)(iter([pa.record_batch({"id": pa.array([0], pa.int64())})]))
    assert STAGING_DDL.startswith("source bigint, kind string, told array<struct<file: struct<file_id: string, ")
    for field in batch.schema:
        assert f"{field.name} " in STAGING_DDL
    assert "result_value: array<float>, result_passed: array<tinyint>" in STAGING_DDL
    assert "run_start_local: timestamp_ntz" in STAGING_DDL


# what a person is told


def told(work: FileTask) -> list[str]:
    (file,) = staged(work)["file"]
    return list(json.loads(file["warnings"]))


def test_a_parameter_that_matches_no_test_is_said_with_the_nearest(good: Path) -> None:
    wanted = {
        "vdd": {"test_num": 5, "test_name": "vdd"}, "idd": {"test_num": 6, "test_name": "Idd"},
        "other": {"test_num": 77, "test_name": "vdd"}, "far": {"test_num": 99, "test_name": "nothing like it"},
    }  # fmt: skip
    warnings = told(task(good, products=(product("any", parameters=wanted),)))
    assert warnings == [
        "parameter 'idd' matches no test of this file: 6 'Idd' is not there. Hint: did you mean 6 'idd' or 5 'vdd'?",
        "parameter 'other' matches no test of this file: 77 'vdd' is not there. Hint: did you mean 5 'vdd' or 6 'idd'?",
        "parameter 'far' matches no test of this file: 99 'nothing like it' is not there. "
        "Hint: `fs-spark inspect` lists its tests",
    ]
    assert told(task(good, products=(product("any", parameters={"vdd": wanted["vdd"]}),))) == []


def test_a_file_without_a_product_entry_says_what_to_add(good: Path) -> None:
    (warning,) = told(task(good, products=(product("other", match={"part_typ": "OTHER*"}),)))
    assert warning == (
        "no entry of products.yaml matches part type 'CHIP', program 'JOB', lot 'LOT1': the product is 'CHIP', without "
        "parameters. Hint: add `- {product_id: 'CHIP', match: {part_typ: 'CHIP'}}`"
    )


def test_a_file_without_parts_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "sum.stdf"
    path.write_bytes(Maker().begin().end())
    (file,) = staged(task(path))["file"]
    assert (file["status"], file["parts"]) == (INGESTED, 0)
    assert json.loads(file["warnings"]) == ["no parts in this file (records: FAR 1, MIR 1, MRR 1)"]


def test_what_was_noticed_is_said(tmp_path: Path) -> None:
    path = tmp_path / "odd.stdf"
    path.write_bytes(two_by_three() + b"\x00\x00\x07\x07" + b"\r\n")
    (file,) = staged(task(path))["file"]
    assert file["status"] == INGESTED
    assert any("behind the MRR" in warning for warning in json.loads(file["warnings"]))


def test_a_joined_file_keeps_its_first_lot_and_says_how_to_split(tmp_path: Path) -> None:
    path = tmp_path / "joined.stdf.gz"
    one, other = two_by_three(), two_by_three(lot_id="LOT2")
    path.write_bytes(gzip.compress(one) + gzip.compress(other) + gzip.compress(other))
    rows = staged(task(path))
    (file,) = rows["file"]
    assert (file["status"], file["lot_id"], file["parts"]) == (TRUNCATED, "LOT1", 6)
    assert f"`head -c {len(one)} FILE > first.stdf`" in file["reason"]
    assert {part["lot_id"] for part in rows["part"]} == {"LOT1"}


def test_a_bomb_is_set_aside_with_the_setting_to_change(tmp_path: Path) -> None:
    path = tmp_path / "bomb.stdf.gz"
    path.write_bytes(gzip.compress(bytes(10_000_000)))
    (file,) = staged(task(path))["file"]
    assert file["status"] == UNREADABLE
    assert file["reason"] == (
        "decompresses to more than 200 times its size. Hint: raise `decompression.largest_ratio` in store.yaml if "
        "that is wanted"
    )
    (file,) = staged(task(path, limits=Limits(largest_bytes=9_000_000, largest_ratio=10**6)))["file"]
    assert "more than 9000000 bytes. Hint: raise `decompression.largest_bytes`" in file["reason"]


def test_maps_say_how_large_their_picture_is(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    path.write_text("Lot ID: L\nWafer ID: 1\n\n.111.\n.1111\n.151.\n")
    entry = InputsFile.model_validate(
        {"inputs": [{"match": "*.map", "kind": "text_map", "zone": "UTC", "finish": "2025-01-01 12:00:00"}]}
    ).inputs
    (file,) = staged(task(path, inputs=entry))["file"]
    assert json.loads(file["dropped"]) == {"marks": 0, "unanchored_picture": [5, 3]}


def test_a_report_that_is_a_link_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("Wafer ID,Start Time,Stop Time\n1,,2025-01-01 12:00:00\n")
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.map"
    path.write_text("Lot ID: L\nWafer ID: 1\n\n.111.\n")
    (tmp_path / "in" / "a.csv").symlink_to(outside)
    report = {"pattern": r"^(.+)\.map$", "file": r"\1.csv"}
    entry = InputsFile.model_validate(
        {"inputs": [{"match": "*.map", "kind": "text_map", "zone": "UTC", "report": report}]}
    ).inputs
    (file,) = staged(task(path, inputs=entry))["file"]
    assert (file["status"], "a link out of the folder" in file["reason"]) == (UNREADABLE, True)
    (file,) = staged(task(path, inputs=entry, follow_links=True))["file"]
    assert (file["status"], file["parts"]) == (INGESTED, 3)
