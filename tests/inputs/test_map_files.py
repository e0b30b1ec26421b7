"""Wafer maps of bins: the real lots, and small ones by hand."""

from __future__ import annotations

import csv
import gzip
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fs_spark.errors import StdfError
from fs_spark.inputs import Delivery, InputFile, read_input
from fs_spark.stdf import read_stdf
from tests.inputs.entries import (
    LOT_REPORT,
    NOON,
    REAL,
    REAL_ORIGIN,
    at,
    bins,
    entry,
    list_of,
    passed,
    picture_of,
    places,
    read_file,
    read_text,
    run_of,
)
from tests.stdf.files import ANY_PRODUCT, ANY_TESTER, two_by_three

TABLES = ("parts", "runs", "tests", "results")


@pytest.fixture(scope="module")
def lot(shared_data: Path) -> Path:
    return shared_data / "aoi-wafer-stacking" / "S1M040120B_B004549"


@pytest.fixture(scope="module")
def stages(shared_data: Path) -> Path:
    return shared_data / "aoi-wafer-stacking" / "B003990_02_stages"


@pytest.fixture(scope="module")
def lists(lot: Path) -> dict[str, InputFile]:
    """The 24 lists of the lot, by wafer."""
    return {path.stem[-2:]: read_file(path, entry("wafer_map", **REAL)) for path in sorted(lot.glob("*.WaferMap"))}


def report_rows(lot: Path) -> list[dict[str, str]]:
    (path,) = lot.glob("*.csv")
    rows = [[cell.strip() for cell in row] for row in csv.reader(path.read_text("gb18030").splitlines())]
    head = next(row for row in rows if "Wafer ID" in row)
    return [dict(zip(head, row, strict=False)) for row in rows if row and row[0].isdigit()]


# the tables


def test_the_tables_are_those_of_stdf() -> None:
    found = read_text(list_of((0, 0, 1)), entry("wafer_map", **NOON))
    stdf = read_stdf(two_by_three(), testers=ANY_TESTER, products=ANY_PRODUCT)
    for name in TABLES:
        assert getattr(found, name).schema == getattr(stdf, name).schema, name
    assert found.part_results.type == stdf.part_results.type
    assert (found.tests.num_rows, found.results.num_rows) == (0, 0)
    assert found.part_results.to_pylist() == [[]]
    assert {"node_nam", "job_nam", "lot_id"} <= set(found.header)
    assert type(found.report) is type(stdf.report)


def test_a_packed_file_is_the_same_file() -> None:
    text, of = list_of((0, 0, 1)), entry("wafer_map", **NOON)
    packed = read_input("a.WaferMap.gz", gzip.compress(text.encode()), of)
    assert packed.report.file_id == hashlib.sha256(text.encode()).hexdigest()
    assert packed.parts.equals(read_text(text, of, "a.WaferMap").parts)
    assert packed.report.decompressed_bytes == packed.report.position == len(text)


# the real lot of 24 wafers


def test_every_wafer_of_the_lot_is_whole(lists: dict[str, InputFile]) -> None:
    assert list(lists) == [f"{k:02}" for k in range(1, 25)]
    for wafer, found in lists.items():
        assert found.parts.num_rows == found.report.parts == len(set(places(found))) == 979
        assert (found.report.damage, found.report.warnings, found.report.dropped) == (None, [], {"marks": 2})
        run = run_of(found)
        assert (run["lot_id"], run["wafer_id"], run["product_id"]) == ("B004549", wafer, "S1M040120B")
        assert (run["insertion"], run["tester"], run["parts"], run["touchdowns"]) == ("1", None, 979, 1)
        assert (run["wafer_diameter_mm"], run["die_width_mm"], run["die_height_mm"]) == (150.0, 4.134, 3.74)
        assert (run["flat"], run["pos_x"], run["pos_y"]) == ("D", "R", "D")
    assert len({run_of(found)["run_key"] for found in lists.values()}) == 24


def test_bins_and_yields_are_those_of_the_report(lot: Path, lists: dict[str, InputFile]) -> None:
    rows = report_rows(lot)
    assert len(rows) == 24
    for row in rows:
        found = lists[row["Wafer ID"]]
        numbers = found.parts["hard_bin"].to_pylist()
        assert {b: numbers.count(b) for b in range(20)} == {b: int(row[f"BIN{b}"]) for b in range(20)}
        assert (passed(found), 979) == (int(row["Pass"]), int(row["Total"]))
        assert f"{passed(found) / 9.79:.2f}%" == row["Yield"]
    assert sum(passed(found) for found in lists.values()) == 22_530


def test_times_are_those_of_the_report(lists: dict[str, InputFile]) -> None:
    first, eighth = run_of(lists["01"]), run_of(lists["08"])
    assert first["run_start"] is None
    assert first["run_finish"] == first["run_end"] == at("2025-08-30T09:08:18")  # 17:08:18 in Shanghai
    assert (eighth["run_start"], eighth["run_end"]) == (at("2025-08-31T00:32:00"), at("2025-08-31T00:59:29"))
    assert eighth["run_start_local"].isoformat() == "2025-08-31T08:32:00"
    for found in lists.values():
        run = run_of(found)
        assert run["time_quality"] == "run_finish"
        for name in ("event_timestamp", "available_timestamp"):
            assert set(found.parts[name].to_pylist()) == {run["run_finish"]}
        assert set(found.parts["touchdown"].to_pylist()) == {0}
    ends = [run_of(found)["run_end"] for found in lists.values()]
    assert ends == sorted(ends)


def test_the_pictures_of_the_lot_show_the_same_dies(lot: Path, lists: dict[str, InputFile]) -> None:
    of = entry("text_map", origin=REAL_ORIGIN, **REAL)
    for wafer, listed in lists.items():
        drawn = read_file(lot / f"S1M040120B_B004549_{wafer}_mapEx.txt", of)
        assert bins(drawn) == bins(listed)
        a, b = run_of(drawn), run_of(listed)
        assert {k for k in a if a[k] != b[k]} == {"file_id", "run_id"}  # one run: the second file to come is set aside


# the real wafer of five insertions


@pytest.mark.parametrize(
    ("pattern", "passing", "warnings"),
    [
        ("FAB_CP__*", 937, []),
        ("CP1__*", 934, []),
        ("WLBI__*", 930, []),
        ("CP2__*", 927, []),
        # its header repeats that of CP2; four dies that passed there have letters
        ("AOI__*", 923, ["the file tells of 927 passing dies, its map has 923"]),
    ],
)
def test_one_wafer_through_five_insertions(stages: Path, pattern: str, passing: int, warnings: list[str]) -> None:
    (path,) = stages.glob(pattern)
    insertion = {"field": "file_name", "pattern": "^(.+?)__"}
    lot, wafer = ({"pattern": r"_(B\d+)_(\d\d)", "value": value} for value in (r"\1", r"\2"))
    options: dict[str, Any] = {"insertion": [insertion], "lot_id": [lot], "wafer_id": [wafer], **NOON}
    if path.suffix == ".txt":
        options |= {"origin": REAL_ORIGIN, "bins": {"A": 10, "B": 11}, "columns": 34, "rows": 37}
    found = read_file(path, entry("wafer_map" if path.suffix == ".WaferMap" else "text_map", **options))
    assert (found.parts.num_rows, passed(found)) == (979, passing)
    assert found.report.warnings == warnings
    assert found.report.dropped == {"marks": 2}
    run = run_of(found)
    assert (run["lot_id"], run["wafer_id"], run["insertion"]) == ("B003990", "02", path.name.split("__")[0])
    assert run["flat"] == (None if pattern == "WLBI__*" else "D")
    (listed,) = stages.glob("WLBI__*")
    assert set(places(found)) == set(places(read_file(listed, entry("wafer_map", **NOON))))


def test_dies_that_the_inspection_marks_had_passed(stages: Path) -> None:
    of = entry("text_map", bins={"A": 10, "B": 11}, passing_bins=[1, 10, 11], **NOON)
    (inspected,), (probed,) = stages.glob("AOI__*"), stages.glob("CP2__*")
    after, before = read_file(inspected, of), bins(read_file(probed, entry("text_map", **NOON)))
    assert passed(after) == 927
    assert {before[place] for place, number in bins(after).items() if number >= 10} == {1}


def test_a_letter_without_a_bin_is_refused(stages: Path) -> None:
    (path,) = stages.glob("AOI__*")
    with pytest.raises(StdfError, match=r"no bin is configured for 'A' \(2 times\), 'B' \(2 times\)\. Hint: such"):
        read_file(path, entry("text_map", **NOON))


# times


def test_a_file_without_a_time_is_refused(stages: Path) -> None:
    (path,) = stages.glob("CP1__*")
    with pytest.raises(StdfError, match=r"nothing tells when CP1__\S+ was measured\. Hint: give `start` or `finish`"):
        read_file(path, entry("text_map", zone="UTC"))
    (path,) = stages.glob("FAB_CP__*")
    with pytest.raises(StdfError, match=r"\(its header gives '2025-07-09 20:08:59'\)"):
        read_file(path, entry("text_map", zone="UTC"))


@pytest.mark.parametrize(
    ("pattern", "kind", "rule", "expected"),
    [
        ("FAB_CP__*", "text_map", {"field": "time", "pattern": "(.+)"}, "2025-07-09T12:08:59"),
        ("WLBI__*", "wafer_map", {"pattern": r"_(\d{8}_\d{6})\.", "format": "%Y%m%d_%H%M%S"}, "2025-03-25T08:58:31"),
        ("AOI__*", "text_map", {"pattern": r"_(\d{14})\.", "format": "%Y%m%d%H%M%S"}, "2025-07-21T01:50:40"),
    ],
)
def test_times_by_rules(stages: Path, pattern: str, kind: str, rule: dict[str, str], expected: str) -> None:
    (path,) = stages.glob(pattern)
    options = {"bins": {"A": 10, "B": 11}} if kind == "text_map" else {}
    found = read_file(path, entry(kind, zone="Asia/Shanghai", finish=[rule], **options))
    assert set(found.parts["event_timestamp"].to_pylist()) == {at(expected)}
    begun = read_file(path, entry(kind, zone="Asia/Shanghai", start=[rule], **options))
    run = run_of(begun)
    assert (run["run_start"], run["run_finish"], run["time_quality"]) == (at(expected), None, "run_start")


def test_a_time_in_another_format() -> None:
    of = entry("wafer_map", zone="UTC", finish=[{"pattern": "(.+)", "format": "%Y%m%d"}])
    with pytest.raises(StdfError, match=r"'map' is no time of the format '%Y%m%d'\. Hint: mend the format"):
        read_text(list_of((0, 0, 1)), of)


def test_serpentine_order_is_equally_spaced_from_start_to_finish(lot: Path, lists: dict[str, InputFile]) -> None:
    found = read_file(lot / "S1M040120B_B004549_08.WaferMap", entry("wafer_map", order="serpentine", **REAL))
    run = run_of(found)
    assert (run["touchdowns"], run["time_quality"]) == (979, "equally_spaced")
    assert (run["run_start"], run["run_end"]) == (at("2025-08-31T00:32:00"), at("2025-08-31T00:59:29"))
    order = sorted(zip(found.parts["touchdown"].to_pylist(), places(found), strict=True))
    assert [k for k, _ in order] == list(range(979))
    walk = [place for _, place in order]
    assert walk[:7] == [(-3, -18), (-2, -18), (-1, -18), (0, -18), (1, -18), (2, -18), (5, -17)]
    times = found.parts["event_timestamp"].to_pylist()
    by_time = [place for _, place in sorted(zip(times, places(found), strict=True))]
    assert by_time == walk
    steps = {b - a for a, b in zip(sorted(times), sorted(times)[1:], strict=False)}
    assert max(steps) - min(steps) <= timedelta(microseconds=1)
    assert bins(found) == bins(lists["08"])
    # without a start only the order is known
    found = read_file(lot / "S1M040120B_B004549_01.WaferMap", entry("wafer_map", order="serpentine", **REAL))
    times = sorted(found.parts["event_timestamp"].to_pylist())
    assert times[-1] == at("2025-08-30T09:08:18")
    assert times[0] == times[-1] - timedelta(microseconds=978)
    assert run_of(found)["time_quality"] == "run_finish"


@pytest.mark.parametrize(
    ("pos", "walk"),
    [
        (("R", "D"), [(0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2)]),
        (("L", "D"), [(1, 0), (0, 0), (0, 1), (1, 1), (1, 2), (0, 2)]),
        (("R", "U"), [(0, 2), (1, 2), (1, 1), (0, 1), (0, 0), (1, 0)]),
    ],
)
def test_serpentine_begins_at_the_top_left(pos: tuple[str, str], walk: list[tuple[int, int]]) -> None:
    dies = [(x, y, 1) for y in range(3) for x in range(2)]
    of = entry("wafer_map", order="serpentine", pos_x=pos[0], pos_y=pos[1], **NOON)
    found = read_text(list_of(*dies), of)
    assert [place for _, place in sorted(zip(found.parts["touchdown"].to_pylist(), places(found), strict=True))] == walk
    assert found.parts["part_index"].to_pylist() == list(range(6))  # the order of the file


def test_a_row_of_marks_counts_as_a_row() -> None:
    of = entry("wafer_map", order="serpentine", **NOON)
    found = read_text(list_of((0, 0, 257), (0, 1, 1), (1, 1, 1)), of)
    assert dict(zip(places(found), found.parts["touchdown"].to_pylist(), strict=True)) == {(1, 1): 0, (0, 1): 1}


def test_local_times_take_the_zone_of_the_entry() -> None:
    def event(zone: str, **times: str) -> Any:
        found = read_text(list_of((0, 0, 1)), entry("wafer_map", zone=zone, **times))
        assert found.parts["event_local"][0].as_py().isoformat().replace("T", " ") == times["finish"]
        return found.parts["event_timestamp"][0].as_py()

    assert event("America/New_York", finish="2025-07-01 08:00:00") == at("2025-07-01T12:00:00")
    # the clock shows 02:30 twice: the earlier for a start, for a finish the first that is not before its start
    twice = "2025-10-26 02:30:00"
    assert event("Europe/Berlin", finish=twice) == at("2025-10-26T00:30:00")
    assert event("Europe/Berlin", start="2025-10-26 02:45:00", finish=twice) == at("2025-10-26T01:30:00")
    with pytest.raises(StdfError, match=r"does not exist in Europe/Berlin\. Hint: check the zone of .* inputs\.yaml"):
        event("Europe/Berlin", finish="2025-03-30 02:30:00")
    with pytest.raises(StdfError, match=r"finishes .* before it starts"):
        event("UTC", start="2025-01-02 00:00:00", finish="2025-01-01 00:00:00")


@pytest.mark.parametrize(
    ("options", "delivery", "expected"),
    [
        ({}, Delivery(), "2025-01-01T12:00:00"),
        ({}, Delivery("file_close", margin_us=90_000_000), "2025-01-01T12:01:30"),
        ({"availability": "file_close", "availability_margin": "1 h"}, Delivery("arrival"), "2025-01-01T13:00:00"),
        ({"availability": "arrival"}, Delivery(at_us=1_735_819_200_000_000), "2025-01-02T12:00:00"),
        ({"availability": "arrival"}, Delivery(at_us=0), "2025-01-01T12:00:00"),  # never before the event
    ],
)
def test_when_results_can_be_known(options: dict[str, str], delivery: Delivery, expected: str) -> None:
    found = read_text(list_of((0, 0, 1)), entry("wafer_map", **NOON, **options), delivery=delivery)
    assert found.parts["available_timestamp"].to_pylist() == [at(expected)]


# the report


def reported(report: str, **options: Any) -> InputFile:
    of = entry("wafer_map", zone="UTC", report={"pattern": "^(.)", "file": r"\1.csv", **options})
    return read_text(list_of((0, 0, 1), Wafer_No="07"), of, "a.WaferMap", beside={"a.csv": report.encode()}.__getitem__)


def test_a_report_of_the_lot() -> None:
    rows = "title\n\nWafer ID, Start Time ,Stop Time\n06,x,y\n07,2025-01-01 10:00:00,2025-01-01 11:00:00\nTotal,\n"
    run = run_of(reported(rows))
    assert (run["run_start"], run["run_finish"]) == (at("2025-01-01T10:00:00"), at("2025-01-01T11:00:00"))
    run = run_of(reported(rows, start=None))
    assert (run["run_start"], run["run_finish"]) == (None, at("2025-01-01T11:00:00"))


def test_the_entry_goes_before_the_report() -> None:
    rows = "Wafer ID,Start Time,Stop Time\n07,2025-01-01 10:00:00,2025-01-01 11:00:00\n"
    of = {"zone": "UTC", "report": {"pattern": "^(.)", "file": r"\1.csv"}, "start": "2025-01-01 09:00:00"}
    text, beside = list_of((0, 0, 1), Wafer_No="07"), {"a.csv": rows.encode()}.__getitem__
    run = run_of(read_text(text, entry("wafer_map", **of), "a.WaferMap", beside=beside))
    assert (run["run_start"], run["run_finish"]) == (at("2025-01-01T09:00:00"), at("2025-01-01T11:00:00"))


@pytest.mark.parametrize(
    ("report", "text"),
    [
        ("Wafer ID,Start Time\n07,x\n", r"a\.csv lacks Stop Time\. Hint: name its columns"),
        ("Wafer,Start Time,Stop Time\n", r"a\.csv lacks Wafer ID, Start Time, Stop Time"),
        ("Wafer ID,Start Time,Stop Time\n07,,\n", r"nothing tells when a\.WaferMap was measured"),
        ("Wafer ID,Start Time,Stop Time\n08,,2025-01-01 11:00:00\n", r"nothing tells when a\.WaferMap was measured"),
        ("Wafer ID,Start Time,Stop Time\n07,,1\n07,,2\n", r"holds wafer 07 2 times"),
        ("Wafer ID,Start Time,Stop Time\n07,,noon\n", r"'noon' is no time of the format"),
    ],
)
def test_a_report_that_does_not_help(report: str, text: str) -> None:
    with pytest.raises(StdfError, match=text):
        reported(report)


def test_a_report_that_is_not_there_or_in_another_encoding(lot: Path, tmp_path: Path) -> None:
    path = lot / "S1M040120B_B004549_01.WaferMap"
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    with pytest.raises(StdfError, match=r"report_gb18030\.csv cannot be read"):
        read_file(copy, entry("wafer_map", **REAL))
    with pytest.raises(StdfError, match="cannot be reached"):
        read_input(str(path), path.read_bytes(), entry("wafer_map", **REAL))
    utf8 = {**LOT_REPORT, "encoding": "utf-8"}
    with pytest.raises(StdfError, match=r"is not utf-8 \(byte 0\)\. Hint: name its `encoding`"):
        read_file(path, entry("wafer_map", zone="UTC", report=utf8))


# damage


def test_a_cut_list_keeps_its_whole_lines(lot: Path) -> None:
    path, of = lot / "S1M040120B_B004549_01.WaferMap", entry("wafer_map", **NOON)
    raw = path.read_bytes()
    whole = bins(read_file(path, of))
    counts = set()
    for cut in range(raw.index(b"[MAP]:") + 40, len(raw) - len("\n## END ##"), 97):
        found = read_input(path.name, raw[:cut], of)
        assert found.report.damage == "the file stops before ## END ##"
        assert bins(found).items() <= whole.items()
        assert found.report.warnings == []
        counts.add(found.parts.num_rows)
    assert max(counts) == 979
    assert len(counts) > 80


def test_a_number_that_is_cut_off_is_not_read() -> None:
    text = list_of((0, 0, 1), (1, 0, 257), (2, 0, 11))
    for cut, seen in (("25", [1]), ("1 0 257", [1]), ("2 0 1", [1]), ("2 0 11 ", [1]), ("2 0 11 \n", [1, 11])):
        found = read_text(text[: text.index(cut) + len(cut)], entry("wafer_map", **NOON))
        assert found.parts["hard_bin"].to_pylist() == seen, cut
        assert found.report.damage == "the file stops before ## END ##"


def test_a_cut_picture_keeps_its_rows_where_they_can_be_placed(lot: Path, stages: Path) -> None:
    of = entry("text_map", origin=REAL_ORIGIN, **NOON)
    path = lot / "S1M040120B_B004549_01_mapEx.txt"
    lines = path.read_text().splitlines(keepends=True)
    cut = read_text("".join(lines[:20]), of)
    assert cut.report.damage == "the picture stops after 6 of 37 rows"
    assert bins(cut).items() <= bins(read_file(path, of)).items()
    assert cut.parts.num_rows == 6 + 12 + 16 + 18 + 20 + 23
    assert cut.report.warnings == []
    # here a blank column stands at each side: how many of the rest is blank is not known
    (path,) = stages.glob("CP1__*")
    lines = path.read_text().splitlines(keepends=True)
    with pytest.raises(StdfError, match="the header tells of 34 columns, the picture has 36, of which 23 hold dies"):
        read_text("".join(lines[:20]), of)
    (path,) = stages.glob("FAB_CP__*")
    lines = path.read_text().splitlines(keepends=True)
    with pytest.raises(StdfError, match=r"the picture shows \d+ of 979 dies"):
        read_text("".join(lines[:20]), of)


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("wafer_map", "", r"no \[MAP\] in 0 lines\. Hint: is the entry's `kind` right\?"),
        ("wafer_map", "[MAP]:\n\n## END ##", r"the list under \[MAP\] is empty$"),
        ("wafer_map", "[MAP]:\n", r"the list under \[MAP\] is empty, and the file is cut"),
        ("wafer_map", "[MAP]:\n0 0 1\nx\n0 1 1\n## END ##", r"line 3 is no `x y bin`, found 'x'"),
        ("text_map", "", "no map in 0 lines"),
        ("text_map", "a: 1\nb: 2\n", "no map in 2 lines"),
        ("text_map", "...\n...", "the map is blank"),
        ("text_map", "Map Column: 5\n111\n", "the header tells of 5 columns, the picture has 3, of which 3 hold dies"),
        ("text_map", "1?\n", r"no bin is configured for '\?' \(1 times\)"),
    ],
)
def test_what_is_no_map(kind: str, text: str, reason: str) -> None:
    with pytest.raises(StdfError, match=reason):
        read_text(text, entry(kind, **NOON))


def test_text_in_another_encoding_needs_its_name() -> None:
    raw = list_of((0, 0, 1), Product="晶圆").encode("gb18030")
    with pytest.raises(StdfError, match="the file is not utf-8"):
        read_input("map", raw, entry("wafer_map", **NOON))
    assert run_of(read_input("map", raw, entry("wafer_map", encoding="gb18030", **NOON)))["product_id"] == "晶圆"


# small maps


def test_a_small_picture() -> None:
    text = picture_of(".S3.", "112.", "", Lot_ID="L9", Wafer_ID="4", Device="chip", Map_Column="3", Map_Row="2")
    found = read_text(text, entry("text_map", origin=(10, 20), passing_bins=[1, 3], **NOON))
    assert found.parts.select(["die_x", "die_y", "hard_bin", "passed"]).to_pylist() == [
        {"die_x": 12, "die_y": 20, "hard_bin": 3, "passed": True},
        {"die_x": 10, "die_y": 21, "hard_bin": 1, "passed": True},
        {"die_x": 11, "die_y": 21, "hard_bin": 1, "passed": True},
        {"die_x": 12, "die_y": 21, "hard_bin": 2, "passed": False},
    ]
    up = read_text(text, entry("text_map", origin=(10, 20), pos_x="L", pos_y="U", **NOON))
    assert places(up) == [(8, 20), (10, 19), (9, 19), (8, 19)]
    assert (run_of(up)["pos_x"], run_of(up)["pos_y"]) == ("L", "U")


def test_a_map_of_marks_alone_has_a_run_without_parts() -> None:
    found = read_text(list_of((0, 0, 257)), entry("wafer_map", **NOON))
    run = run_of(found)
    assert (found.parts.num_rows, run["parts"], run["touchdowns"], run["run_end"]) == (0, 0, 0, None)


def test_dies_on_the_place_of_another_are_kept_and_told() -> None:
    found = read_text(list_of((0, 0, 1), (0, 0, 5)), entry("wafer_map", skip_bins=[], **NOON))
    assert found.parts["passed"].to_pylist() == [True, False]
    assert found.report.warnings == ["1 dies stand on the place of another"]


# where a picture lies


def test_coordinates_count_from_the_corner_of_the_picture() -> None:
    of = entry("text_map", **NOON)
    whole, cut = picture_of(".111.", "11111", ".151."), picture_of(".111.", ".1111", ".151.")
    for text in (whole, cut):
        found = read_text(text, of)
        assert [place for place, number in bins(found).items() if number == 5] == [(2, 2)]
        assert found.report.unanchored_picture == (5, 3)
    left = read_text(cut, entry("text_map", pos_x="L", pos_y="U", origin=(10, 20), **NOON))
    assert [place for place, number in bins(left).items() if number == 5] == [(8, 18)]
    blanks = read_text("Product: P\n\n     \n 111 \n 151 ", of)  # blanks as wide as the picture are a row of it
    assert [place for place, number in bins(blanks).items() if number == 5] == [(2, 2)]


@pytest.mark.parametrize("header", ["MaxXY: 5 3", "X:5 Y:3", "x : 5, y : 3", "Map Column: 5\nMap Row: 3"])
def test_a_told_size_anchors_a_picture(header: str) -> None:
    for rows in ("..111\n11111\n.151.", ".......\n.  111.\n.11111.\n. 151 .\n......."):
        found = read_text(f"{header}\n\n{rows}\n", entry("text_map", **NOON))
        assert [place for place, number in bins(found).items() if number == 5] == [(2, 2)]
        assert found.report.unanchored_picture is None
    with pytest.raises(StdfError, match="the header tells of 5 columns, the picture has 4"):
        read_text(f"{header}\n\n111.\n111.\n151.\n", entry("text_map", **NOON))


def test_the_entry_may_tell_the_size() -> None:
    found = read_text(picture_of("..1..", "..5.."), entry("text_map", columns=5, rows=2, **NOON))
    assert (bins(found), found.report.unanchored_picture) == ({(2, 0): 1, (2, 1): 5}, None)
    with pytest.raises(StdfError, match="tells of 6 columns"):
        read_text(picture_of("..1..", "..5.."), entry("text_map", columns=6, rows=2, **NOON))


@pytest.mark.parametrize(
    ("pattern", "size", "counted", "options"),
    [
        ("legic_*", (95, 91), {"1": 5885, "0": 476, "R": 1}, {"bins": {"R": 10}}),
        ("melexis_*", (87, 118), {"1": 6435, "X": 1770, "0": 108}, {"bins": {"X": 10}, "skip_bins": ["T"]}),
    ],
)
def test_real_maps_with_their_size_in_one_line(
    shared_data: Path, pattern: str, size: tuple[int, int], counted: dict[str, int], options: dict[str, Any]
) -> None:
    (path,) = (shared_data / "mametng-wafermaps").glob(pattern)
    found = read_file(path, entry("text_map", **options, **NOON))
    assert found.parts.num_rows == sum(counted.values())
    assert passed(found) == counted["1"]
    assert found.report.unanchored_picture is None
    assert found.report.damage is None
    header, _, picture = path.read_text().partition("\n\n")
    rows = picture.strip("\n").splitlines()
    assert (len(rows[0]), len(rows)) == size
    for (x, y), number in bins(found).items():
        assert {"1": 1, "0": 0}.get(rows[y][x], 10) == number
    assert run_of(found)["wafer_id"] == path.name.split("_")[1].removesuffix(".map")
    assert run_of(found)["flat"] == "D", header
