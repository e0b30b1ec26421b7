"""Tables of dies by a mapping of their columns: Parquet, CSV, Arrow; runs, touchdowns, times and faults."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv, parquet

from fs_spark.errors import StdfError
from fs_spark.inputs import Delivery, InputFile, read_die_table, read_input
from fs_spark.stdf import StdfFile, read_stdf
from tests.inputs.entries import REAL, at, bins, entry, read_file
from tests.stdf.files import ANY_PRODUCT, ANY_TESTER, product, real_file, two_by_three

KEYS = {"lot_id": "lot", "wafer_id": "wafer", "die_x": "x", "die_y": "y"}
T0 = at("2025-01-01T10:00:00")


def seconds(*values: float) -> list[datetime]:
    return [T0 + timedelta(seconds=value) for value in values]


def dies(**columns: Any) -> pa.Table:
    """Dies (0, 0), (1, 0), ... of one wafer; a column is a list, an Arrow array or one value for all."""
    n = next((len(value) for value in columns.values() if isinstance(value, list | pa.Array)), 3)
    usual: dict[str, Any] = {"lot": "L1", "wafer": "W1", "x": list(range(n)), "y": 0, "ok": True}
    given = {**usual, **columns}
    return pa.table({k: v if isinstance(v, list | pa.Array) else [v] * n for k, v in given.items() if v is not ...})


def read(table: pa.Table, columns: dict[str, str] | None = None, **options: Any) -> InputFile:
    delivery = options.pop("delivery", None)
    mapping = {**KEYS, "passed": "ok", **(columns or {"event_timestamp": "t"})}
    of = entry("die_table", columns={k: v for k, v in mapping.items() if v}, **options)
    return read_die_table(table, of, name="dies.parquet", file_id="f" * 64, delivery=delivery)


def column(found: InputFile, name: str) -> list[Any]:
    values: list[Any] = found.parts[name].to_pylist()
    return values


def parquet_of(table: pa.Table) -> bytes:
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()


def csv_of(table: pa.Table) -> bytes:
    out = io.BytesIO()
    csv.write_csv(table, out)
    return out.getvalue()


# the tables


def test_the_tables_are_those_of_stdf() -> None:
    found = read(dies(t=seconds(1, 2, 3), v=[1.0, 2.0, 3.0]), parameters={"v": {"test_num": 1, "test_name": "vdd"}})
    stdf = read_stdf(two_by_three(), testers=ANY_TESTER, products=ANY_PRODUCT)
    for name in ("parts", "runs", "tests", "results"):
        assert getattr(found, name).schema == getattr(stdf, name).schema, name
    assert found.part_results.type == stdf.part_results.type
    assert set(found.header) == {"node_nam", "job_nam", "lot_id"}


def test_rows_become_parts() -> None:
    table = dies(t=seconds(3, 1, 2), b=[1, 5, 7], s=[0, 1, 0], id=["a", "", None], ms=[10, 0, 30], tool="T9", prog="J")
    names = {"hard_bin": "b", "site": "s", "part_id": "id", "test_time_ms": "ms", "tester": "tool"}
    found = read(
        table,
        {**names, "event_timestamp": "t", "passed": "", "soft_bin": "b", "test_program": "prog"},
        passing_bins=[1, 7],
        insertion="CP2",
        product_id="chip",
    )
    rows = found.parts.drop_columns(["available_timestamp", "time_quality", "run_start", "run_start_local"]).to_pylist()
    assert rows[1] == {
        "file_id": "f" * 64, "run_id": f"{'f' * 16}_0000", "lot_id": "L1", "wafer_id": "W1", "die_x": 1, "die_y": 0,
        "head": None, "site": 1, "touchdown": 0, "part_index": 1, "part_id": None, "passed": False, "hard_bin": 5,
        "soft_bin": 5, "test_time_ms": None, "event_timestamp": seconds(1)[0], "event_local": None, "insertion": "CP2",
        "product_id": "chip", "test_program": "J", "tester": "T9",
    }  # fmt: skip
    assert column(found, "passed") == [True, False, True]
    assert column(found, "touchdown") == [2, 0, 1]
    assert column(found, "test_time_ms") == [10, None, 30]
    assert set(column(found, "time_quality")) == {"logged"}
    assert column(found, "available_timestamp") == column(found, "event_timestamp")
    (run,) = found.runs.to_pylist()
    assert (run["run_start"], run["run_finish"], run["run_end"]) == (None, None, seconds(3)[0])
    assert (run["touchdowns"], run["parts"], run["insertion"], run["tester"]) == (3, 3, "CP2", "T9")
    assert found.header == {"node_nam": "T9", "job_nam": "J", "lot_id": "L1"}
    assert (found.report.parts, found.report.warnings) == (3, [])


def test_insertion_and_product_that_nothing_tells() -> None:
    found = read(dies(t=seconds(1, 2, 3)))
    assert (set(column(found, "insertion")), set(column(found, "product_id"))) == ({"1"}, {"unknown"})


def test_rows_without_keys_are_kept() -> None:
    found = read(dies(t=seconds(1, 2, 3), lot=["L1", None, " "], x=[None, 1, 2], y=[0, None, 0]))
    assert column(found, "lot_id") == ["L1", None, None]
    assert column(found, "die_x") == [None, 1, 2]
    assert column(found, "die_y") == [0, None, 0]
    assert [(r["lot_id"], r["parts"]) for r in found.runs.to_pylist()] == [("L1", 1), (None, 2)]
    assert found.parts.num_rows == 3


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([True, False, None], {}, [True, False, None]),
        (["P", "F", None], {"pass_values": ["P", "PASS"]}, [True, False, None]),
        ([1, 0, None], {"pass_values": [1]}, [True, False, None]),
        ([0, 3, None], {"pass_values": [0]}, [True, False, None]),
        (pa.array([None, None, None]), {}, [None, None, None]),
    ],
)
def test_passes(values: Any, options: dict[str, Any], expected: list[bool | None]) -> None:
    assert column(read(dies(t=seconds(1, 2, 3), ok=values), **options), "passed") == expected


def test_numbers_in_other_types_that_mean_the_same() -> None:
    table = dies(
        t=seconds(1, 2, 3),
        lot=[7, 7, 7],
        wafer=pa.array(["A", "B", "A"]).dictionary_encode(),
        x=[1.0, float("nan"), -3.0],
        y=pa.array([1, 2, 3], pa.int16()),
    )
    found = read(table)
    assert column(found, "lot_id") == ["7", "7", "7"]
    assert column(found, "wafer_id") == ["A", "B", "A"]
    assert column(found, "die_x") == [1, None, -3]
    assert column(found, "die_y") == [1, 2, 3]


# runs, touchdowns, times


def test_rows_of_one_time_are_one_touchdown() -> None:
    found = read(dies(t=seconds(5, 1, 5, 1, 9)))
    assert column(found, "touchdown") == [1, 0, 1, 0, 2]
    assert column(found, "event_timestamp") == seconds(5, 1, 5, 1, 9)


def test_a_touchdown_ends_with_its_last_die() -> None:
    found = read(dies(t=seconds(1, 2, 3, 3), td=[4, 4, 9, 7]), {"event_timestamp": "t", "touchdown": "td"})
    assert column(found, "touchdown") == [0, 0, 2, 1]
    ends = column(found, "event_timestamp")
    backward = read(dies(t=seconds(1, 2), td=[9, 4]), {"event_timestamp": "t", "touchdown": "td"})
    assert column(backward, "touchdown") == [0, 1]
    # touchdowns of one time keep the order of their numbers, a microsecond apart
    assert ends == [*seconds(2, 2), seconds(3)[0] + timedelta(microseconds=1), *seconds(3)]


def test_one_run_for_each_wafer_insertion_start_and_head() -> None:
    table = dies(
        t=seconds(1, 2, 3, 4, 5, 6),
        wafer=["W2", "W1", "W1", "W1", "W1", "W2"],
        cp=["1", "1", "2", "1", "1", "1"],
        begin=seconds(0, 0, 0, 3, 0, 0),
        h=[1, 1, 1, 1, 2, 1],
    )
    found = read(table, {"event_timestamp": "t", "insertion": "cp", "run_start": "begin", "head": "h"})
    short = [run_id[-4:] for run_id in column(found, "run_id")]
    assert short == ["0000", "0001", "0002", "0003", "0004", "0000"]
    runs = found.runs.to_pylist()
    assert [(r["wafer_id"], r["insertion"], r["head"], r["parts"]) for r in runs] == [
        ("W2", "1", 1, 2), ("W1", "1", 1, 1), ("W1", "2", 1, 1), ("W1", "1", 1, 1), ("W1", "1", 2, 1),
    ]  # fmt: skip
    assert [r["run_start"] for r in runs] == seconds(0, 0, 0, 3, 0)
    assert [r["run_end"] for r in runs] == seconds(6, 2, 3, 4, 5)
    assert len({r["run_key"] for r in runs}) == 5
    assert column(found, "touchdown") == [0, 0, 0, 0, 0, 1]
    assert found.report.warnings != []  # the runs of W1 overlap


def test_the_same_run_again_has_the_same_key() -> None:
    first, again = read(dies(t=seconds(1, 2, 3))), read(dies(t=seconds(1, 2, 4), ok=False))
    other = read(dies(t=seconds(1, 2, 3), wafer="W2"))
    assert first.runs["run_key"].equals(again.runs["run_key"])
    assert not first.runs["run_key"].equals(other.runs["run_key"])
    later = read(dies(t=seconds(1001, 1002, 1003)))  # a retest is another run
    assert not first.runs["run_key"].equals(later.runs["run_key"])
    grown = read(dies(t=seconds(1, 2, 3, 4)))
    assert first.runs["run_key"].equals(grown.runs["run_key"])


def test_an_order_is_equally_spaced_from_start_to_finish() -> None:
    table = dies(n=[30, 10, 20, 20], a=T0, b=seconds(9)[0])
    found = read(table, {"order": "n", "run_start": "a", "run_finish": "b"})
    assert column(found, "touchdown") == [2, 0, 1, 1]
    assert column(found, "event_timestamp") == seconds(9, 3, 6, 6)
    (run,) = found.runs.to_pylist()
    assert (run["run_start"], run["run_finish"], run["time_quality"]) == (T0, seconds(9)[0], "equally_spaced")


def test_test_times_move_the_dies_within_the_run() -> None:
    columns = {"order": "n", "run_start": "a", "run_finish": "b", "test_time_ms": "ms"}
    table = dies(n=[0, 1, 2], ms=[1000, 4000, 1000], a=T0, b=seconds(9.3)[0])
    found = read(table, columns)
    assert column(found, "event_timestamp") == seconds(2.1, 7.2, 9.3)  # an index time of 1.1 s
    assert set(column(found, "time_quality")) == {"interpolated"}
    found = read(table.drop_columns("b"), {k: v for k, v in columns.items() if v != "b"})
    assert column(found, "event_timestamp") == seconds(1, 5, 6)
    assert set(column(found, "time_quality")) == {"cumulative"}


def test_without_an_order_no_die_comes_before_another() -> None:
    found = read(dies(b=seconds(9, 9, 9)), {"run_finish": "b"})
    assert (set(column(found, "touchdown")), set(column(found, "event_timestamp"))) == ({0}, set(seconds(9)))
    assert found.runs["time_quality"].to_pylist() == ["run_finish"]
    found = read(dies(a=seconds(0, 0, 0)), {"run_start": "a"})
    assert (set(column(found, "touchdown")), set(column(found, "time_quality"))) == ({0}, {"run_start"})


def test_a_start_for_the_whole_file_by_its_name() -> None:
    rule = {"field": "file_name", "pattern": r"_(\d{8})\.parquet$", "format": "%Y%m%d"}
    of = entry("die_table", columns={**KEYS, "passed": "ok", "order": "x"}, start=[rule], zone="Asia/Shanghai")
    found = read_die_table(dies(), of, name="a_20250102.parquet.gz", file_id="f" * 64)
    assert set(column(found, "run_start")) == {at("2025-01-01T16:00:00")}
    assert set(column(found, "run_start_local")) == {datetime(2025, 1, 2)}
    with pytest.raises(StdfError, match="3 of 3 rows have no start and no finish, the first is row 0"):
        read_die_table(dies(), of, name="a.parquet", file_id="f" * 64)


@pytest.mark.parametrize(
    "times",
    [
        pa.array(seconds(1, 2, 3), pa.timestamp("ns", tz="UTC")),
        pa.array(seconds(1, 2, 3), pa.timestamp("us", tz="Asia/Tokyo")),
        pa.array([t.replace(tzinfo=None) + timedelta(hours=1) for t in seconds(1, 2, 3)], pa.timestamp("s")),
        [f"{t + timedelta(hours=1):%d.%m.%Y %H:%M:%S}" for t in seconds(1, 2, 3)],
    ],
)
def test_times_in_other_types(times: Any) -> None:
    found = read(dies(t=times), zone="Europe/Berlin", time_format="%d.%m.%Y %H:%M:%S")
    assert column(found, "event_timestamp") == seconds(1, 2, 3)
    assert column(found, "event_local")[0] == datetime(2025, 1, 1, 11, 0, 1)


def test_text_with_a_zone() -> None:
    texts = [t.astimezone(timezone(timedelta(hours=k))).isoformat() for k, t in enumerate(seconds(1, 2, 3))]
    found = read(dies(t=texts), time_format="%Y-%m-%dT%H:%M:%S%z")
    assert column(found, "event_timestamp") == seconds(1, 2, 3)


def test_times_that_the_clock_shows_twice() -> None:
    local = [datetime(2025, 10, 26, 2, 30), datetime(2025, 10, 26, 3, 30)]
    found = read(dies(t=local), zone="Europe/Berlin")
    assert column(found, "event_timestamp") == [at("2025-10-26T00:30:00"), at("2025-10-26T02:30:00")]
    # but not before the run began
    begin = pa.array([at("2025-10-26T01:10:00")] * 2, pa.timestamp("us", tz="UTC"))
    found = read(dies(t=local, a=begin), {"event_timestamp": "t", "run_start": "a"}, zone="Europe/Berlin")
    assert column(found, "event_timestamp") == [at("2025-10-26T01:30:00"), at("2025-10-26T02:30:00")]


def test_when_results_can_be_known() -> None:
    closed = read(dies(t=seconds(1, 2, 3)), delivery=Delivery("file_close", margin_us=500_000))
    assert column(closed, "available_timestamp") == seconds(3.5, 3.5, 3.5)
    table = dies(t=seconds(1, 2, 3), b=seconds(8)[0])
    finished = read(table, {"event_timestamp": "t", "run_finish": "b"}, availability="file_close")
    assert column(finished, "available_timestamp") == seconds(8, 8, 8)
    later = read(dies(t=seconds(1, 2, 3)), delivery=Delivery("arrival", at_us=round(seconds(2)[0].timestamp() * 1e6)))
    assert column(later, "available_timestamp") == seconds(2, 2, 3)


# parameters


def test_columns_of_measured_values_become_results() -> None:
    nan, huge = float("nan"), 1e39
    table = dies(t=seconds(1, 2, 3), v=pa.array([1.5, None, nan]), i=pa.array([huge, 2, 3], pa.float64()))
    parameters = {
        "i": {"test_num": 7, "test_name": "idd", "unit": "A", "high_limit": 0.5},
        "v": {"test_num": 5, "test_name": "vdd", "unit": "V"},
    }
    found = read(table, parameters=parameters)
    tests = found.tests.select(["test_index", "test_num", "test_name", "record", "unit", "low_limit", "high_limit"])
    assert [tuple(row.values()) for row in tests.to_pylist()] == [
        (0, 7, "idd", "PTR", "A", None, 0.5),
        (1, 5, "vdd", "PTR", "V", None, None),
    ]
    rows = found.results.select(["part_index", "test_num", "test_name", "result", "occurrence", "element", "passed"])
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        (0, 7, "idd", None, 0, None, None),  # too large for a float32
        (0, 5, "vdd", 1.5, 0, None, None),
        (1, 7, "idd", 2.0, 0, None, None),
        (2, 7, "idd", 3.0, 0, None, None),
        (2, 5, "vdd", None, 0, None, None),  # NaN is measured, null is not
    ]
    assert set(found.results["lot_id"].to_pylist()) == {"L1"}
    assert set(found.results["file_id"].to_pylist()) == {"f" * 64}
    assert [len(part) for part in found.part_results.to_pylist()] == [2, 1, 2]


# files


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_parquet_and_csv_give_the_same(pack: Any) -> None:
    table = dies(t=seconds(1, 2, 3), lot=["01", "01", "NA"], wafer=["1.0", "1.0", "2"], v=[0.5, None, 2.5], other="x")
    options = {"parameters": {"v": {"test_num": 1, "test_name": "v"}}}
    of = entry("die_table", columns={**KEYS, "passed": "ok", "event_timestamp": "t"}, **options)
    a = read_input("dies.parquet", pack(parquet_of(table)), of)
    b = read_input("dies.csv", pack(csv_of(table)), of)
    assert column(a, "lot_id") == ["01", "01", "NA"]
    for name in ("parts", "runs", "tests", "results"):
        own = [
            t.drop_columns([c for c in ("file_id", "run_id") if c in t.column_names])
            for t in (getattr(a, name), getattr(b, name))
        ]
        assert own[0].equals(own[1]), name
    assert a.report.decompressed_bytes == len(parquet_of(table))
    assert (a.report.file_id, a.report.damage) == (column(a, "file_id")[0], None)


def test_a_cut_packed_csv_keeps_its_whole_lines() -> None:
    table = dies(t=[T0 + timedelta(seconds=k) for k in range(2000)])
    of = entry("die_table", columns={**KEYS, "passed": "ok", "event_timestamp": "t"})
    packed = gzip.compress(csv_of(table))
    found = read_input("dies.csv.gz", packed[: len(packed) // 2], of)
    assert found.report.damage == "gzip stream ends early"
    assert 100 < found.parts.num_rows < 2000
    assert column(found, "die_x") == list(range(found.parts.num_rows))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not readable as csv: Empty CSV file"),
        (b"PAR1 is no table", "not readable as parquet: "),
        (b"lot,wafer\nL1\n", "not readable as csv: .*Expected 2 columns, got 1"),
        (b"\xff\xfe", "the file is not utf-8"),
    ],
)
def test_what_is_no_table(data: bytes, reason: str) -> None:
    of = entry("die_table", columns={**KEYS, "passed": "ok", "event_timestamp": "t"})
    with pytest.raises(StdfError, match=reason):
        read_input("dies", data, of)


def test_another_delimiter_and_encoding() -> None:
    of = entry(
        "die_table", encoding="gb18030", delimiter=";", pass_values=["合格"], zone="Asia/Shanghai",
        columns={
            "lot_id": "批号", "wafer_id": "片号", "die_x": "X", "die_y": "Y",
            "passed": "结果", "event_timestamp": "时间",
        },
    )  # fmt: skip
    text = "批号;片号;X;Y;结果;时间\nB1;07;-3;4;合格;2025-08-30 17:08:18\nB1;07;-2;4;不良;2025-08-30 17:08:19\n"
    found = read_input("dies.csv", text.encode("gb18030"), of)
    assert [
        tuple(row.values()) for row in found.parts.select(["lot_id", "wafer_id", "die_x", "passed"]).to_pylist()
    ] == [
        ("B1", "07", -3, True),
        ("B1", "07", -2, False),
    ]
    assert column(found, "event_timestamp")[0] == at("2025-08-30T09:08:18")


def test_words_for_a_missing_value_in_a_csv() -> None:
    of = entry("die_table", columns={**KEYS, "passed": "ok", "event_timestamp": "t"})
    rows = ["L1,W1,0,0,true", "NULL,nan,nan,,", ",NA,null,1,false"]
    text = "lot,wafer,x,y,ok,t\n" + "".join(f"{row},2025-01-01T10:00:00Z\n" for row in rows)
    found = read_input("dies.csv", text.encode(), of)
    assert column(found, "lot_id") == ["L1", None, None]
    assert column(found, "wafer_id") == ["W1", None, "NA"]
    assert (column(found, "die_x"), column(found, "die_y")) == ([0, None, None], [0, None, 1])
    assert column(found, "passed") == [True, None, False]


def test_an_empty_table_has_no_run() -> None:
    found = read(dies(t=pa.array([], pa.timestamp("us", tz="UTC")), lot=pa.array([], pa.string())))
    assert (found.parts.num_rows, found.runs.num_rows, found.results.num_rows) == (0, 0, 0)


# faults


def test_all_faults_are_told_together() -> None:
    table = dies(
        t=pa.array([datetime(2025, 1, 1)] * 3), x=["a", "b", "c"], y=[0.5, 1, 2], ok=["P", "F", "P"], v=["1", "2", "3"]
    )
    table = table.append_column("v", table["v"])
    with pytest.raises(StdfError) as caught:
        read(
            table,
            {"event_timestamp": "t", "site": "sit", "hard_bin": "wafer", "test_time_ms": "lott"},
            parameters={"v": {"test_num": 1, "test_name": "v"}, "lot": {"test_num": 2, "test_name": "w"}},
        )
    first, *faults, last = str(caught.value).splitlines()
    assert first == "9 faults in the die table:"
    assert last == "Hint: mend the entry in inputs.yaml"
    wanted = [
        "die_x: column 'x' is string, not whole numbers",
        "die_y: column 'y' holds other than whole numbers of int32",
        "site: there is no column 'sit'. Hint: ",
        "hard_bin: column 'wafer' is string, not whole numbers",
        "passed: column 'ok' is string, not boolean. Hint: say which of its values pass in `pass_values`",
        "event_timestamp: the times of column 't' have no zone. Hint: give the entry its `zone`",
        "test_time_ms: there is no column 'lott'. Hint: did you mean 'lot'?",
        "parameters.v: 2 columns are named 'v'",
        "parameters.lot: column 'lot' is string, not numbers",
    ]
    assert len(faults) == len(wanted)
    for text in wanted:
        assert any(fault.startswith(f"- {text}") for fault in faults), text


@pytest.mark.parametrize(
    ("columns", "mapping", "text"),
    [
        ({"t": [T0, None, None]}, {}, "2 of 3 rows have no event_timestamp, the first is row 1"),
        ({"t": ["noon"] * 3}, {}, r"column 't' is text\. Hint: give the `time_format` of its times"),
        ({"t": [1, 2, 3]}, {}, "column 't' is int64, not a time"),
        ({"t": seconds(1, 2, 3), "td": [1, None, 2]}, {"touchdown": "td"}, "touchdown: 1 of 3 rows have none"),
        ({"t": seconds(1, 2, 3), "x": [2**31, 0, 0]}, {}, "die_x: column 'x' holds other than whole numbers of int32"),
        (
            {"t": seconds(1, 2, 3), "a": seconds(9, 9, 9), "b": seconds(8, 8, 8)},
            {"run_start": "a", "run_finish": "b"},
            "1 runs finish before they start",
        ),
    ],
)
def test_rows_that_cannot_be_used(columns: dict[str, Any], mapping: dict[str, str], text: str) -> None:
    with pytest.raises(StdfError, match=text):
        read(dies(**columns), {"event_timestamp": "t", **mapping})


def test_a_time_that_the_zone_skips_or_that_has_another_format() -> None:
    with pytest.raises(StdfError, match=r"column 't': local time 2025-03-30 02:30:00 does not exist in Europe/Berlin"):
        read(dies(t=[datetime(2025, 3, 30, 2, 30)]), zone="Europe/Berlin")
    with pytest.raises(StdfError, match=r"'noon' in column 't' is no time of the format '%Y-%m-%d'"):
        read(dies(t=["2025-01-01", "noon"]), zone="UTC", time_format="%Y-%m-%d")


def test_rows_before_their_run_and_runs_that_overlap_are_told() -> None:
    table = dies(t=seconds(1, 5, 4, 9), a=seconds(2, 2, 3, 3))
    found = read(table, {"event_timestamp": "t", "run_start": "a"})
    assert found.report.warnings == [
        "1 rows were tested before the start of their run",
        f"runs {'f' * 16}_0000 and {'f' * 16}_0001 of wafer W1 overlap in time",
    ]


# real data in another form


def test_a_real_lot_as_a_table(shared_data: Path) -> None:
    folder = shared_data / "aoi-wafer-stacking" / "S1M040120B_B004549"
    maps = [read_file(path, entry("wafer_map", **REAL)) for path in sorted(folder.glob("*.WaferMap"))]
    table = pa.concat_tables([found.parts for found in maps])
    names = {
        name: name for name in ("lot_id", "wafer_id", "die_x", "die_y", "hard_bin", "event_timestamp", "product_id")
    }
    of = entry("die_table", columns=names, zone="Asia/Shanghai")
    found = read_input("lot.parquet", parquet_of(table), of)
    assert (found.parts.num_rows, found.runs.num_rows) == (23_496, 24)
    assert pc.sum(found.parts["passed"]).as_py() == 22_530
    same = [
        c
        for c in table.column_names
        if c not in ("file_id", "run_id", "part_index", "time_quality", "run_start", "run_start_local")
    ]
    assert found.parts.select(same).equals(table.select(same))
    assert set(found.runs["touchdowns"].to_pylist()) == {1}
    ends = [one.runs["run_end"][0].as_py() for one in maps]
    assert found.runs["run_end"].to_pylist() == ends
    assert (
        bins(maps[0]).items()
        == {(row["die_x"], row["die_y"]): row["hard_bin"] for row in found.parts.slice(0, 979).to_pylist()}.items()
    )


@pytest.fixture(scope="module")
def retest(shared_data: Path) -> StdfFile:
    rule = {"field": "sblot_id", "pattern": r"_(W\d+)$"}
    wafer = (product(wafer_id=[rule]),)
    path = real_file(shared_data, "jervinkhoo-stdf-archive/PROD_69208_*_R1_*.std.gz")
    return read_stdf(path, testers=ANY_TESTER, products=wafer)


def test_a_real_stdf_file_as_a_wide_table(retest: StdfFile) -> None:
    """Parts and results of STDF, written as a table with a column for each test, come back."""
    tests = retest.tests.to_pylist()
    results = retest.results
    once = pc.equal(results["occurrence"], 0)
    wide = retest.parts.select(
        [
            "lot_id",
            "wafer_id",
            "die_x",
            "die_y",
            "passed",
            "site",
            "head",
            "event_timestamp",
            "run_start",
            "test_time_ms",
        ]
    )
    parameters: dict[str, Any] = {}
    for test in tests:
        own = pc.and_(once, pc.and_(pc.equal(results["test_num"], test["test_num"]),
                                    pc.equal(results["test_name"].cast(pa.string()), test["test_name"])))  # fmt: skip
        rows = results.filter(own)
        values = np.full(wide.num_rows, np.nan, np.float32)
        there = np.zeros(wide.num_rows, bool)
        index = rows["part_index"].to_numpy()
        values[index], there[index] = rows["result"].to_numpy(), True
        name = f"t{test['test_index']}"
        wide = wide.append_column(name, pa.array(values, mask=~there))
        parameters[name] = {"test_num": test["test_num"], "test_name": test["test_name"], "unit": test["unit"]}
    columns = {name: name for name in wide.column_names if name not in parameters}
    found = read_input("w.parquet", parquet_of(wide), entry("die_table", columns=columns, parameters=parameters))
    kept = [
        "die_x",
        "die_y",
        "passed",
        "site",
        "touchdown",
        "event_timestamp",
        "run_start",
        "test_time_ms",
        "part_index",
    ]
    assert found.parts.num_rows == 118
    assert found.parts.select(kept).equals(retest.parts.select(kept))
    assert found.runs.select(["run_start", "run_end", "touchdowns", "parts"]).equals(
        retest.runs.select(["run_start", "run_end", "touchdowns", "parts"])
    )
    keys = ["part_index", "test_num", "test_name", "occurrence", "result", "record"]

    def long(table: pa.Table) -> list[tuple[Any, ...]]:
        return sorted((tuple(row.values()) for row in table.select(keys).to_pylist()), key=repr)

    assert len(long(found.results)) > 10_000
    assert long(found.results) == long(results.filter(once))


def test_rows_of_spark_are_arrow_tables_too() -> None:
    """What `DataFrame.toArrow` gives: chunks, UTC times."""
    table = dies(t=pa.array(seconds(1, 2, 3), pa.timestamp("us", tz="UTC")))
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert chunked["t"].num_chunks == 2
    assert read(chunked).parts.equals(read(table).parts)
    assert read(table).parts["event_timestamp"][0].as_py().tzinfo in (UTC, table["t"][0].as_py().tzinfo)
