"""Reading STDF: facts of the real files, the independent scanner, and the linking rules on files made by hand."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings

from fs_spark.stdf import StdfFile, read_stdf
from fs_spark.stdf.container import read_delivered, unpack
from fs_spark.stdf.reader import decode
from tests.oracles import stdf_scan
from tests.oracles.attempts import number_attempts
from tests.stdf.files import (
    ANY_PRODUCT,
    ANY_TESTER,
    START,
    WHOLE,
    Maker,
    in_zone,
    parts_with_results,
    plain_bytes,
    product,
    real_file,
    seconds_after,
    two_by_three,
    utc,
)

LOT2 = "noonchen-rust-stdf/lot2.stdf.gz"
PROD_R0 = "jervinkhoo-stdf-archive/PROD_69208_*_R0_*"
PROD_R1 = "jervinkhoo-stdf-archive/PROD_69208_*_R1_*"
A595 = "gattrell-stdf-radar/a595.stdf.gz"
STRIP = "jervinkhoo-stdf-archive/2a816*"
TM728 = "jervinkhoo-stdf-archive/*TM728*"
SUMMARY_1 = "jervinkhoo-stdf-archive/*W4B402-09E7*"
SUMMARY_2 = "jervinkhoo-stdf-archive/*W4B402-10F4*"
TEST_MPR = "jervinkhoo-stdf-archive/testMPR.stdf"
V93K = "nerohmot-stdf/v93k74_*"
GDR = "perl6-Parse-STDF/gdr.stdf.gz"
MAIN_LOT = "tang8560-stdf_reader/main_Lot_1*"
TFILE = "dugloon-pystdf/tfile.std"
SMALL_ONES = [
    LOT2, PROD_R0, PROD_R1, A595, STRIP, TM728, SUMMARY_1, SUMMARY_2, TEST_MPR, V93K, GDR, MAIN_LOT, TFILE,
]  # fmt: skip


def attempts(found: StdfFile) -> list[dict[str, Any]]:
    """The parts as numbered attempts of one insertion, on the wall clock."""
    return number_attempts(
        [{**row, "insertion": "1", "event_timestamp": row["event_local"]} for row in found.parts.to_pylist()]
    )


def percent_passed(rows: list[dict[str, Any]]) -> float:
    return round(100 * sum(row["passed"] for row in rows) / len(rows), 2)


# the independent scanner


def as_oracle(part: dict[str, Any]) -> dict[str, Any]:
    """A part of the reader under the oracle's names."""
    same = ("head", "site", "touchdown", "passed", "hard_bin", "soft_bin", "results")
    return {
        **{name: part[name] for name in same},
        "x": part["die_x"],
        "y": part["die_y"],
        "test_t": part["test_time_ms"] or 0,
        "part_id": part["part_id"] or "",
    }


def without_blanks(part: dict[str, Any]) -> dict[str, Any]:
    """A part of the oracle, which keeps trailing blanks; which wafer it is of is compared by itself."""
    left_out = ("wir", "run", "part_flg", "opened_at", "closed_at")
    kept = {name: value for name, value in part.items() if name not in left_out}
    return {**kept, "part_id": part["part_id"].rstrip(" \0")}


def wafers_of_parts(found: dict[str, Any]) -> list[str | None]:
    """By the oracle: the WIR's name for each part; None without a WIR or a name."""
    name_of_run = {wafer["run"]: wafer["wafer_id"].rstrip(" \0") or None for wafer in found["wafers"]}
    return [name_of_run.get(part["run"]) for part in found["parts"]]


def assert_like_the_oracle(data: bytes) -> None:
    expected = stdf_scan.scan(data)
    found = read_stdf(data)
    parts = parts_with_results(found, WHOLE)
    assert [as_oracle(part) for part in parts] == [without_blanks(part) for part in expected["parts"]]
    assert [part["part_index"] for part in parts] == list(range(len(parts)))
    assert found.report.dropped["pseudo_parts"] == expected["pseudo_parts"]
    assert found.report.byte_order == {"<": "little", ">": "big"}[expected["byte_order"]]
    assert found.report.records == len(expected["records"]) == sum(found.report.record_counts.values())
    assert len(data) - found.report.position == expected["trailing_bytes"]
    assert found.report.faults == expected["faults"]
    columns = ("record", "test_num", "test_name", "unit", "low_limit", "high_limit")
    assert list(zip(*(found.tests[c].to_pylist() for c in columns), strict=True)) == [
        tuple(test[c.replace("test_name", "name")] for c in columns) for test in expected["tests"]
    ]
    run_of: dict[str, int] = {}  # runs are numbered otherwise, but must be the same sets of parts
    for part, other in zip(parts, expected["parts"], strict=True):
        assert run_of.setdefault(part["run_id"], other["run"]) == other["run"]
    assert len(set(run_of.values())) == len(run_of)


@pytest.mark.parametrize("pattern", SMALL_ONES)
def test_real_file_reads_like_the_oracle(shared_data: Path, pattern: str) -> None:
    assert_like_the_oracle(plain_bytes(real_file(shared_data, pattern)))


@st.composite
def record_sequences(draw: st.DrawFn) -> bytes:
    """Parts that open and close in any order on two heads, with pseudo-parts, lost PIRs and PRRs, and new wafers."""
    out = Maker(draw(st.sampled_from(["little", "big"]))).begin()
    open_parts: dict[int, set[int]] = {1: set(), 2: set()}
    for _ in range(draw(st.integers(0, 40))):
        head = draw(st.sampled_from([1, 1, 2]))
        site = draw(st.sampled_from([0, 1, 2, 3, 255]))
        kind = draw(st.sampled_from(["pir", "pir", "ptr", "ptr", "prr", "prr", "prr", "wir"]))
        if kind == "pir":
            if site != 255 or site not in open_parts[head]:
                out.pir(site, head=head)
                open_parts[head].add(site)
        elif kind == "ptr":
            name = draw(st.sampled_from([None, "vdd", "idd"]))
            flags = {"test_flg": draw(st.sampled_from([0, 0, 2, 128])), "parm_flg": draw(st.sampled_from([0, 0, 4, 8]))}
            value = draw(st.sampled_from([0.0, 1.5, -2.25, math.nan]))
            out.ptr(site, draw(st.sampled_from([5, 6])), value, name, head_num=head, **flags)
        elif kind == "prr":
            pseudo: dict[str, Any] = draw(
                st.sampled_from([{}, {}, {}, {"hard_bin": 40_000}, {"part_id": "Test Plan Delimiter"}])
            )
            x, y = draw(st.sampled_from([-32768, -3, 4])), draw(st.sampled_from([0, 7]))
            flag = draw(st.sampled_from([0, 8, 16, 24]))
            out.prr(site, x, y, head=head, part_flg=flag, soft_bin=draw(st.sampled_from([2, 65535])), **pseudo)
            open_parts[head].discard(site)
        elif not open_parts[head]:  # a wafer that begins under an open part would be another rule's test
            out.wir(draw(st.sampled_from(["A", "B"])), head=head)
    for head in (1, 2):  # to the oracle a pseudo-part that never ends is a part that never ends
        if 255 in open_parts[head]:
            out.prr(255, 0, 0, head=head)
    return out.end()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(record_sequences())
def test_any_sequence_of_records_reads_like_the_oracle(data: bytes) -> None:
    assert_like_the_oracle(data)


# linking, by hand


def places(found: StdfFile, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(found.parts[name].to_pylist() for name in names), strict=True))


def test_a_touchdown_lasts_until_all_its_parts_are_closed() -> None:
    out = Maker().begin().wir("A").pir(0, 1).prr(0, 0, 0).pir(2).prr(1, 1, 0).prr(2, 2, 0).pir(0).prr(0, 0, 1)
    assert places(read_stdf(out.end()), "die_x", "die_y", "touchdown") == [(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 1)]


def test_two_heads_test_two_wafers_at_once() -> None:
    out = Maker().begin().wir("A", head=1).wir("B", head=2).pir(0, head=1).pir(0, head=2)
    out.ptr(0, 5, 1.0, "vdd", head_num=1).ptr(0, 5, 2.0, "vdd", head_num=2)
    out.prr(0, 0, 0, head=2).pir(0, head=2).prr(0, 1, 0, head=2).prr(0, 5, 5, head=1)
    found = read_stdf(out.wrr("B", head=2).wrr("A", head=1).end())
    assert places(found, "wafer_id", "die_x", "touchdown") == [("B", 0, 0), ("B", 1, 1), ("A", 5, 0)]
    assert [part["results"] for part in parts_with_results(found)] == [[(5, "vdd", 2.0, 0)], [], [(5, "vdd", 1.0, 0)]]


def test_a_part_is_of_the_last_wafer_begun_on_its_head() -> None:
    # the first wafer is closed after the second has begun, as in 2a816
    out = Maker().begin().wir("A", start=10).pir(0).prr(0, 0, 0).wir("B", start=50).pir(0).prr(0, 0, 0)
    found = read_stdf(out.wrr("A", finish=60).wrr("B", finish=90).end(), testers=ANY_TESTER)
    assert found.parts["wafer_id"].to_pylist() == ["A", "B"]
    start = datetime.fromtimestamp(START, ZoneInfo("UTC"))
    assert seconds_after(start, found.runs["run_finish"].to_pylist()) == [60, 90]


def test_the_name_in_the_wrr_wins_over_the_wir() -> None:
    out = Maker().begin().wir("slot 3").pir(0).prr(0, 0, 0).wrr("W7")
    assert read_stdf(out.end()).parts["wafer_id"].to_pylist() == ["W7"]


@pytest.mark.parametrize(
    ("sign", "dropped"),
    [
        ({"site_num": 255}, 1),
        ({"hard_bin": 32768}, 1),
        ({"part_id": "Test Plan Delimiter"}, 1),
        ({"hard_bin": 32767}, 0),
        ({"soft_bin": 65535}, 0),
    ],
)
def test_pseudo_parts_are_dropped_and_counted(sign: dict[str, Any], dropped: int) -> None:
    site = sign.pop("site_num", 0)
    out = Maker().begin().pir(site).ptr(site, 5, 7.0, "vdd").prr(site, 0, 0, **sign).pir(1).prr(1, 1, 0)
    found = read_stdf(out.end())
    assert found.report.dropped["pseudo_parts"] == dropped
    assert found.parts["die_x"].to_pylist() == ([1] if dropped else [0, 1])
    assert found.parts["touchdown"].to_pylist() == ([0] if dropped else [0, 1])
    assert found.parts["soft_bin"].to_pylist()[0] == (None if "soft_bin" in sign else 1)
    assert found.results.num_rows == 1 - dropped
    assert found.tests["test_name"].to_pylist() == ["vdd"]  # its record may be the only one that names the test


def test_a_part_on_head_255_stays() -> None:
    found = read_stdf(Maker().begin().pir(0, head=255).prr(0, 3, 4, head=255).end())
    assert places(found, "head", "die_x") == [(255, 3)]


@pytest.mark.parametrize(
    ("flag", "passed"), [(0b0000, True), (0b1000, False), (0b1_0000, None), (0b1_1000, None), (0b0111, True)]
)
def test_passed_is_bit_3_where_bit_4_is_clear(flag: int, passed: bool | None) -> None:
    found = read_stdf(Maker().begin().pir(0).prr(0, 0, 0, part_flg=flag, hard_bin=9).end())
    assert found.parts["passed"].to_pylist() == [passed]


def test_a_prr_may_stop_before_its_optional_fields() -> None:
    out = Maker().begin().pir(0)
    out.record("PRR", tail="omit", head_num=1, site_num=0, part_flg=8, num_test=0, hard_bin=4)
    found = read_stdf(out.pir(0).prr(0, 1, 1).end())
    names = ("touchdown", "passed", "hard_bin", "soft_bin", "die_x", "die_y", "test_time_ms", "part_id")
    assert places(found, *names)[0] == (0, False, 4, None, None, None, None, None)
    assert places(found, *names)[1][:3] == (1, True, 1)
    assert found.report.dropped["unclosed_parts"] == 0


def test_one_missing_coordinate_keeps_the_part_with_the_other() -> None:
    found = read_stdf(Maker().begin().pir(0).prr(0, -32768, 6).pir(0).prr(0, 5, -32768).end())
    assert places(found, "die_x", "die_y", "passed") == [(None, 6, True), (5, None, True)]


def test_a_part_that_never_ends_is_counted_and_a_prr_without_pir_is_a_part() -> None:
    found = read_stdf(Maker().begin().pir(0).prr(0, 0, 0).prr(1, 1, 0).pir(2).end())
    assert found.parts["die_x"].to_pylist() == [0, 1]
    assert found.report.dropped["unclosed_parts"] == 1
    assert any("PRR without PIR" in text for text in found.report.warnings)


def test_results_outside_every_part_are_counted() -> None:
    found = read_stdf(Maker().begin().ptr(0, 5, 1.0, "vdd").pir(0).ptr(1, 5, 2.0).prr(0, 0, 0).end())
    assert found.results.num_rows == 0
    assert found.report.dropped["results_outside_parts"] == 2


@pytest.mark.parametrize("bit", range(8))
def test_a_result_is_usable_by_its_flags(bit: int) -> None:
    out = Maker().begin().pir(0).ptr(0, 5, 7.0, "vdd", test_flg=1 << bit).ptr(0, 6, 8.0, "idd", parm_flg=1 << bit)
    results = read_stdf(out.prr(0, 0, 0).end()).results
    assert results["result"].to_pylist() == [7.0 if bit > 5 else None, 8.0 if bit > 2 else None]
    # bit 7 says failed, bit 6 that neither is said
    assert results["passed"].to_pylist() == [{6: None, 7: False}.get(bit, True), True]


def test_a_measured_nan_is_null_and_scales_scale_nothing() -> None:
    out = Maker().begin().pir(0).ptr(0, 5, math.nan, "vdd").ptr(0, 5, 0.5, res_scal=3, units="A").prr(0, 0, 0)
    results = read_stdf(out.end()).results
    assert results["result"].to_pylist() == [None, 0.5]
    assert results["occurrence"].to_pylist() == [0, 1]
    assert results["result"].type == pa.float32()


def test_names_units_and_limits_come_from_the_first_record_of_a_test() -> None:
    out = Maker().begin().pir(0, 1)
    out.ptr(0, 5, 1.0, "vdd", units="V", lo_limit=0.5, hi_limit=2.0).ptr(1, 5, 2.0)
    out.ptr(0, 5, 3.0, "vdd", units="mV", lo_limit=1.0, hi_limit=3.0)
    out.ptr(0, 6, 4.0, "idd", units="A", opt_flag=0x50 | 0xA0, lo_limit=0.0, hi_limit=0.0)
    out.ptr(0, 5, 9.0, "other")  # the number is not unique
    found = read_stdf(out.prr(0, 0, 0).prr(1, 1, 0).end())
    tests = [tuple(row.values())[2:8] for row in found.tests.to_pylist()]
    assert tests == [
        (5, "vdd", "PTR", "V", 0.5, 2.0),
        (6, "idd", "PTR", "A", None, None),
        (5, "other", "PTR", "V", 0.5, 2.0),  # the defaults of its number
    ]
    results = [part["results"] for part in parts_with_results(found)]
    milli = np.float32(0.003)  # 3 mV of a test in V
    assert results[0] == [(5, "vdd", 1.0, 0), (5, "vdd", milli, 1), (6, "idd", 4.0, 0), (5, "other", 9.0, 0)]
    assert results[1] == [(5, "vdd", 2.0, 0)]


@pytest.mark.parametrize(
    ("flag", "low", "high"),
    [(0, 1.0, 2.0), (0x10, None, 2.0), (0x40, None, 2.0), (0x20, 1.0, None), (0x80, 1.0, None), (0x0F, 1.0, 2.0)],
)
def test_a_limit_may_be_declared_absent(flag: int, low: float | None, high: float | None) -> None:
    out = Maker().begin().pir(0).ptr(0, 5, 1.5, "vdd", opt_flag=flag, lo_limit=1.0, hi_limit=2.0)
    (test,) = read_stdf(out.prr(0, 0, 0).end()).tests.to_pylist()
    assert (test["low_limit"], test["high_limit"]) == (low, high)


def test_trailing_blanks_do_not_make_two_tests_of_one() -> None:
    out = Maker().begin().pir(0).ptr(0, 5, 1.0, "vdd  ").ptr(0, 5, 2.0, "vdd").prr(0, 0, 0, part_id="7  ")
    found = read_stdf(out.end())
    assert found.tests["test_name"].to_pylist() == ["vdd"]
    assert parts_with_results(found)[0]["results"] == [(5, "vdd", 1.0, 0), (5, "vdd", 2.0, 1)]
    assert found.parts["part_id"].to_pylist() == ["7"]


def test_results_travel_with_their_parts_as_the_same_values() -> None:
    found = read_stdf(two_by_three("big"))
    nested = found.part_results.to_pylist()
    assert [[r["result"] for r in of_part] for of_part in nested] == [
        [value for _, _, value, _ in part["results"]] for part in parts_with_results(found)
    ]
    assert found.results["result"].to_pylist() == [1.5, 0.25, 2.0, 0.25, 2.5, 0.25, 3.0, 0.25, 3.5, 0.25, 4.0, 0.25]
    assert found.results["passed"].to_pylist() == [True] * 12


def test_without_configuration_only_the_wall_clock_is_known() -> None:
    found = read_stdf(two_by_three())
    parts = found.parts
    for name in ("run_start", "event_timestamp", "available_timestamp", "insertion", "product_id"):
        assert parts[name].null_count == parts.num_rows == 6
        assert parts[name].type == (pa.string() if name in ("insertion", "product_id") else pa.timestamp("us", "UTC"))
    assert parts["run_start_local"].to_pylist() == [datetime(2001, 9, 9, 1, 46, 50)] * 6
    # 90 s for three touchdowns, of which 1.5 s are test time
    ends = [datetime(2001, 9, 9, 1, 46, 50) + timedelta(seconds=30 * (i // 2 + 1)) for i in range(6)]
    assert parts["event_local"].to_pylist() == ends
    assert parts["lot_id"].to_pylist() == ["LOT1"] * 6
    assert parts["wafer_id"].to_pylist() == ["W1"] * 6


def test_with_configuration_the_times_are_utc() -> None:
    berlin = [in_zone("Europe/Berlin", match="TESTER1")]
    parts = read_stdf(two_by_three(), testers=berlin, products=ANY_PRODUCT).parts
    assert parts["run_start"].to_pylist() == [utc("2001-09-08T23:46:50")] * 6  # summer time: two hours
    assert parts["event_timestamp"].to_pylist()[::2] == [
        utc("2001-09-08T23:47:20"), utc("2001-09-08T23:47:50"), utc("2001-09-08T23:48:20")
    ]  # fmt: skip
    assert parts["available_timestamp"].to_pylist() == parts["event_timestamp"].to_pylist()
    assert set(parts["time_quality"].to_pylist()) == {"interpolated"}
    assert set(parts["insertion"].to_pylist()) == {"1"}


@pytest.mark.parametrize(
    ("availability", "margin", "expected"),
    [
        ("streaming", "90 s", "2001-09-09T01:47:20"),  # the margin is for the others
        ("file_close", None, "2001-09-09T01:48:40"),
        ("file_close", "90 s", "2001-09-09T01:50:10"),
        ("arrival", "1 h", "2001-09-10T13:00:00"),
    ],
)
def test_availability(availability: Any, margin: str | None, expected: str) -> None:
    found = decode(
        unpack(two_by_three()),
        file_name="x.stdf",
        testers=[in_zone(availability=availability, availability_margin=margin)],
        products=None,
        delivered_us=round(utc("2001-09-10T12:00:00").timestamp()) * 1_000_000,
    )
    assert found.parts["available_timestamp"].to_pylist()[0] == utc(expected)
    event, available = found.parts["event_timestamp"].to_pylist(), found.parts["available_timestamp"].to_pylist()
    assert all(b >= a for a, b in zip(event, available, strict=True))


def test_a_run_that_is_read_again_has_the_same_key_and_another_wafer_has_not() -> None:
    first = read_stdf(two_by_three("little"))
    again = read_stdf(two_by_three("big"))
    assert first.report.file_id != again.report.file_id
    assert first.runs["run_key"].to_pylist() == again.runs["run_key"].to_pylist()
    for changed in ({"node_nam": "T2"}, {"start_t": START + 1}, {"lot_id": "LOT2"}):
        assert read_stdf(two_by_three(**changed)).runs["run_key"].to_pylist() != first.runs["run_key"].to_pylist()
    other = Maker().begin().wir("W2").pir(0).prr(0, 0, 0).wrr("W2").end()
    assert read_stdf(other).runs["run_key"].to_pylist() != first.runs["run_key"].to_pylist()


def test_runs_of_one_wafer_that_overlap_in_time_are_reported() -> None:
    def twice(second_start: int) -> bytes:
        out = Maker().begin().wir("A", head=1, start=10).pir(0, head=1).prr(0, 0, 0, head=1).wrr("A", head=1, finish=50)
        out.wir("A", head=2, start=second_start).pir(0, head=2).prr(0, 0, 0, head=2)
        return out.wrr("A", head=2, finish=90).end()

    assert any("overlap" in text for text in read_stdf(twice(40)).report.warnings)
    assert read_stdf(twice(50)).report.warnings == []


# real files


class Diamond(NamedTuple):
    found: StdfFile
    data_rows: list[dict[str, Any]]

    def logged(self, name: str) -> np.ndarray:
        """What the file logs as this test for each part; the fields are float32 of whole numbers."""
        return logged(self.found, name)


def logged(found: StdfFile, name: str) -> np.ndarray:
    rows = found.results.filter(pc.equal(found.results["test_name"], name))
    assert rows["part_index"].to_pylist() == list(range(found.parts.num_rows))
    return np.rint(rows["result"].to_numpy()).astype(int)


@pytest.fixture(scope="module")
def diamond(shared_data: Path) -> Diamond:
    """Its header runs on UTC; only that makes it agree with the clock of Dresden that it logs per die."""
    delivered = read_delivered(real_file(shared_data, "nerohmot-stdf/diamond40_*"))
    found = decode(delivered, file_name="", testers=[in_zone("UTC", match="diamond40")], products=None)
    return Diamond(found, found.parts.to_pylist())


def test_diamond40_counts(diamond: Diamond) -> None:
    assert len(diamond.data_rows) == 4057
    assert len({(row["die_x"], row["die_y"]) for row in diamond.data_rows}) == 4056
    assert diamond.found.results.num_rows == 1_454_710 + 84_103
    assert {k: diamond.found.report.record_counts[k] for k in ("PTR", "FTR")} == {"PTR": 1_454_710, "FTR": 84_103}
    assert {row["site"] for row in diamond.data_rows} == {0, 1, 2, 3}
    assert diamond.found.parts["wafer_id"].unique().to_pylist() == ["Q4RA40-18"]
    assert diamond.found.report.dropped == {"pseudo_parts": 0, "unclosed_parts": 0, "results_outside_parts": 0}
    assert pc.min_max(diamond.found.parts["test_time_ms"]).as_py() == {"min": 91, "max": 9079}
    (run,) = diamond.found.runs.to_pylist()
    assert (run["wafer_diameter_mm"], run["die_width_mm"], run["die_height_mm"]) == (203.2, 2.21, 3.13)
    assert (run["center_x"], run["pos_x"], run["pos_y"], run["flat"]) == (None, None, "D", "R")


def test_diamond40_touchdowns_are_the_testers_own(diamond: Diamond) -> None:
    own = diamond.logged("NB_TouchDownNumber")
    pairs = {(row["touchdown"], number) for row, number in zip(diamond.data_rows, own, strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 1041
    dies: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for row in diamond.data_rows:
        dies[row["touchdown"]].add((row["die_x"], row["die_y"]))
    squares = 0
    for group in dies.values():
        left, low = min(x for x, _ in group), min(y for _, y in group)
        squares += group == {(left, low), (left + 1, low), (left, low + 1), (left + 1, low + 1)}
    assert squares == 979


def test_diamond40_one_die_is_probed_again_on_another_site(diamond: Diamond) -> None:
    rows = attempts(diamond.found)
    again = [row for row in rows if row["attempt"] == 2]
    assert len(again) == 1
    (first,) = (r for r in rows if r["is_first"] and all(r[k] == again[0][k] for k in ("die_x", "die_y")))
    assert first["site"] != again[0]["site"]


def test_diamond40_interpolated_times_against_its_own_clock(diamond: Diamond) -> None:
    fields = [diamond.logged(f"NB_SOT_{name}").tolist() for name in ("Year", "Month", "Day", "Hour", "Min", "Sec")]
    local = [datetime(*time) for time in zip(*fields, strict=True)]
    starts = [time.replace(tzinfo=ZoneInfo("Europe/Berlin")) for time in local]
    header = diamond.data_rows[0]["run_start"]
    assert min(starts) == header  # each with its own zone; read with one zone the header is 3600 s behind
    assert min(local) - header.replace(tzinfo=None) == timedelta(seconds=3600)

    longest: dict[int, int] = defaultdict(int)
    for row in diamond.data_rows:
        longest[row["touchdown"]] = max(longest[row["touchdown"]], row["test_time_ms"])
    errors = [
        abs((row["event_timestamp"] - timedelta(milliseconds=longest[row["touchdown"]]) - start).total_seconds())
        for row, start in zip(diamond.data_rows, starts, strict=True)
    ]
    assert max(errors) < 120
    assert np.median(errors) < 30
    assert {row["time_quality"] for row in diamond.data_rows} == {"interpolated"}


def test_lot2(shared_data: Path) -> None:
    found = read_stdf(real_file(shared_data, LOT2))
    rows = attempts(found)
    first, final = [r for r in rows if r["is_first"]], [r for r in rows if r["is_final"]]
    assert found.report.byte_order == "big"
    assert (len(rows), len(first)) == (1569, 1456)
    assert (percent_passed(first), percent_passed(final)) == (92.24, 95.40)
    retests = [r for r in rows if r["attempt"] == 2]
    assert retests == rows[-113:]
    assert sum(r["passed"] for r in retests) == 46
    assert found.parts["test_time_ms"].null_count == 1569
    assert len(found.results["part_index"].unique()) == 784
    (run,) = found.runs.to_pylist()
    assert (run["wafer_id"], run["time_quality"], run["touchdowns"]) == ("GAL-LOT-02", "equally_spaced", 1569)
    assert (run["center_x"], run["center_y"], run["wafer_diameter_mm"]) == (128, 128, None)


def test_prod_is_one_wafer_in_two_files(shared_data: Path) -> None:
    zone = [in_zone("Asia/Shanghai")]
    rules = ({"field": "sblot_id", "pattern": r"_W(\d+)$", "value": r"W\1"},)
    by_sublot = product("p69208", wafer_id=["wrr", "wir", *rules])
    r0, r1 = (read_stdf(real_file(shared_data, p), testers=zone, products=[by_sublot]) for p in (PROD_R0, PROD_R1))
    for found, results in ((r0, 75_648 - 104), (r1, 10_261 - 104)):  # the pseudo-part's 104 are dropped with it
        assert found.report.dropped["pseudo_parts"] == 1
        assert found.results.num_rows == results
        assert found.tests.num_rows == 104
    assert r0.parts["lot_id"].unique().to_pylist() == r1.parts["lot_id"].unique().to_pylist()
    assert set(r0.parts["wafer_id"].to_pylist()) == set(r1.parts["wafer_id"].to_pylist()) == {"W02"}

    rows = number_attempts(r0.parts.to_pylist() + r1.parts.to_pylist())
    before = [r for r in number_attempts(r0.parts.to_pylist()) if r["is_final"]]
    after = [r for r in rows if r["is_final"]]
    assert (len(before), len(after)) == (747, 747)
    assert (percent_passed(before), percent_passed(after)) == (84.20, 85.81)
    fails = {(r["die_x"], r["die_y"]) for r in before if not r["passed"]}
    assert {(r["die_x"], r["die_y"]) for r in r1.parts.to_pylist()} == fails
    assert (len(fails), sum(r["passed"] for r in r1.parts.to_pylist())) == (118, 12)
    gap = min(r1.parts["event_timestamp"].to_pylist()) - max(r0.parts["event_timestamp"].to_pylist())
    assert timedelta(hours=9) < gap < timedelta(hours=12)
    assert r1.runs["run_start"][0].as_py() - r0.runs["run_start"][0].as_py() > timedelta(hours=12)


def test_a595_three_wafers_in_one_file(shared_data: Path) -> None:
    found = read_stdf(real_file(shared_data, A595))
    assert found.runs["wafer_id"].to_pylist() == ["02", "03", "09"]
    assert found.runs["parts"].to_pylist() == [112] * 3
    dies = {(row["wafer_id"], row["die_x"], row["die_y"]) for row in found.parts.to_pylist()}
    assert len(dies) == 336
    assert found.runs["wafer_diameter_mm"].to_pylist() == [150.0] * 3
    (width,), (height,) = (set(found.runs[name].to_pylist()) for name in ("die_width_mm", "die_height_mm"))
    assert (width, height) == (pytest.approx(4.39, abs=0.005), pytest.approx(4.44, abs=0.005))


def test_2a816_one_strip_is_run_twice(shared_data: Path) -> None:
    found = read_stdf(real_file(shared_data, STRIP))
    assert found.runs["wafer_id"].to_pylist() == ["1748RSB011", "1748RSB010", "1748RSB001", "1748RSB011"]
    assert found.runs["touchdowns"].to_pylist() == [12] * 4
    assert found.runs["parts"].to_pylist() == [320] * 4
    assert len(found.parts["site"].unique()) == 30
    rows = attempts(found)
    assert sorted({r["attempt"] for r in rows}) == [1, 2]
    assert {r["wafer_id"] for r in rows if r["attempt"] == 2} == {"1748RSB011"}
    assert sum(r["attempt"] == 2 for r in rows) == 320


def test_tm728_a_partial_wafer(shared_data: Path) -> None:
    found = read_stdf(real_file(shared_data, TM728))
    (run,) = found.runs.to_pylist()
    assert (run["parts"], run["wafer_id"], run["center_x"], run["center_y"]) == (52, "D4N746-23B2", 21, 33)
    assert (run["wafer_diameter_mm"], run["die_width_mm"], run["pos_x"], run["pos_y"]) == (None, None, None, None)


@pytest.mark.parametrize("pattern", [SUMMARY_1, SUMMARY_2])
def test_a_summary_without_parts_gives_empty_tables(shared_data: Path, pattern: str) -> None:
    found = read_stdf(real_file(shared_data, pattern), testers=ANY_TESTER, products=ANY_PRODUCT)
    tables = (found.parts, found.results, found.runs, found.tests)
    assert [table.num_rows for table in tables] == [0, 0, 0, 1420]  # TSRs alone name the tests
    whole = read_stdf(two_by_three(), testers=ANY_TESTER, products=ANY_PRODUCT)
    for empty, full in zip(tables, (whole.parts, whole.results, whole.runs, whole.tests), strict=True):
        assert empty.schema == full.schema
    assert found.report.damage is None


def test_v93k74_parts_without_a_place(shared_data: Path) -> None:
    found = read_stdf(real_file(shared_data, V93K))
    assert (found.parts.num_rows, found.results.num_rows) == (140, 51_045)
    assert found.parts["die_x"].null_count == found.parts["die_y"].null_count == 140
    assert len(found.parts["site"].unique()) == 8
    sizes = found.parts.group_by("touchdown").aggregate([("site", "count")])["site_count"].to_pylist()
    assert sum(size == 8 for size in sizes) == 17
    assert found.parts["test_time_ms"].null_count == 0


def test_odd_files(shared_data: Path) -> None:
    gdr = read_stdf(real_file(shared_data, GDR))
    assert (gdr.parts.num_rows, gdr.results.num_rows, gdr.parts["die_x"].null_count) == (4, 9_560, 4)
    mpr = read_stdf(real_file(shared_data, TEST_MPR))
    assert (mpr.parts["site"].to_pylist(), mpr.parts["die_x"].to_pylist()) == ([3], [None])
    main_lot = read_stdf(real_file(shared_data, MAIN_LOT))
    assert (main_lot.parts.num_rows, main_lot.results.num_rows) == (13, 0)
    assert main_lot.runs["wafer_id"].to_pylist() == [None]
    assert len(set(places(main_lot, "die_x", "die_y"))) == 13
    tfile = read_stdf(real_file(shared_data, TFILE), testers=ANY_TESTER)
    assert tfile.parts.num_rows == 1
    assert tfile.runs["wafer_id"].to_pylist() == ["WRR Wafer ID"]
    assert tfile.report.dropped["results_outside_parts"] == 3  # of a site without a part
