"""What a person is shown of a file, and which tests are told to be metadata."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fs_spark import cli
from fs_spark.stdf import read_stdf
from fs_spark.stdf.inspection import inspect_file
from fs_spark.stdf.suggest import short_name, suggest
from tests.oracles.attempts import number_attempts
from tests.stdf.files import Maker, real_file, two_by_three


def test_lot2_as_a_person_reads_it(shared_data: Path) -> None:
    found = read_stdf(real_file(shared_data, "noonchen-rust-stdf/lot2*"))
    seen = inspect_file(found, "lot2.stdf.gz")
    (wafer,) = seen.wafers
    assert (wafer["wafer_id"], wafer["dies"], wafer["touchdowns"]) == ("GAL-LOT-02", 1456, 1569)
    assert [a["yield_percent"] for a in wafer["attempts"]] == [92.24, 40.71]
    assert wafer["attempts"][1]["parts"] == 113
    assert wafer["final"] == {"parts": 1456, "passed": 1389, "yield_percent": 95.4}
    text = seen.to_text()
    for line in ("big-endian", "wafer GAL-LOT-02: 1456 dies in 1569 touchdowns", "final: 1456 parts, 95.40 % pass"):
        assert line in text
    assert sum(one["parts"] for one in seen.bins if one["kind"] == "hard") == 1569
    assert sum(test["results"] for test in seen.tests) == 52_403


def test_attempts_of_an_inspection_are_those_of_the_oracle(shared_data: Path) -> None:
    from fs_spark.stdf.inspection import attempt_numbers

    found = read_stdf(real_file(shared_data, "noonchen-rust-stdf/lot2*"))
    rows = [{**row, "insertion": "1", "event_timestamp": row["event_local"]} for row in found.parts.to_pylist()]
    expected = [(row["attempt"], row["is_final"]) for row in number_attempts(rows)]
    assert attempt_numbers(found.parts) == expected


def test_a_damaged_file_tells_its_faults_and_exits_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.stdf"
    path.write_bytes(Maker().begin().wir("W").pir(0).ptr(0, 5, 1.0, "vdd").prr(0, 1, 1).end()[:-3])
    assert cli.main(["inspect", str(path), "--conf", "nowhere.yaml"]) == 3
    said = capsys.readouterr().out
    assert "warning: cut off in the record at byte" in said
    assert "wafer W: 1 dies in 1 touchdowns" in said
    assert cli.main(["inspect", str(tmp_path / "gone.stdf"), "--conf", "nowhere.yaml"]) == 2


def test_metadata_of_diamond40(shared_data: Path) -> None:
    """Clocks, places, touchdown numbers and counts of passing sites that the file logs as tests."""
    found = read_stdf(real_file(shared_data, "nerohmot-stdf/diamond40_*"))
    proposed = suggest(found, deny=["(?i)leakage"], limit=20)
    told = {name: why for _, name, why in proposed.metadata}
    for name in ("DUT_X_COORD", "DUT_Y_COORD", "SN_XY_COORD", "TEL_X", "TEL_Y"):
        assert told[name] == "a function of the die's place"
    for name in ("NB_SOT_Hour", "NB_SOT_Min", "NB_SOT_Sec", "NB_SOT_SecSinceFirstRun", "NB_TouchDownNumber"):
        assert "clock" in told[name]
    assert told["NB_PassSitesCnt"].startswith("the number of")
    assert told["NB_ActiveSite"] == "a function of the site"
    assert told["ContactPass"].startswith("a function of")
    assert told["Leakage_H_GP2_DIG"] == "its name is denied"
    names = [candidate.test_name for candidate in proposed.candidates]
    assert len(names) == 20
    assert not set(names) & set(told)
    assert not any(name.startswith("NB_") or "COORD" in name for name in names)
    assert "idd_vsup" in names
    assert proposed.to_text().startswith("parameters:\n  ")


def test_what_is_proposed_and_what_is_not() -> None:
    rng = random.Random(1)
    out = Maker().begin().wir("W")
    order = 0
    for y in range(0, 20, 2):
        for x in range(20):
            out.pir(0, 1)
            order += 1
            passes = [rng.random() < 0.8 for _ in range(2)]
            for site in (0, 1):
                smooth = math.sin(x / 6) + math.cos((y + site) / 7) + rng.gauss(0, 0.05)
                values = {
                    "smooth": smooth, "twin": 2 * smooth + 1, "noise": rng.gauss(0, 1), "constant": 3.0,
                    "x": float(x), "place": 100.0 * x + y + site, "counter": float(order),
                    "passing": float(sum(passes)), "bin": 1.0 if passes[site] else 7.0, "site": float(site),
                }  # fmt: skip
                for number, (name, value) in enumerate(values.items()):
                    out.ptr(site, number, value, f"T {name}")
                if order % 3 == 0:
                    out.ptr(site, 50, smooth + 5, "rare")
            for site in (0, 1):
                out.prr(site, x, y + site, passed=passes[site])
    proposed = suggest(read_stdf(out.wrr("W").end()))
    assert [candidate.name for candidate in proposed.candidates] == ["t_smooth", "t_noise"]
    assert proposed.candidates[0].spatial > 0.9 > abs(proposed.candidates[1].spatial)
    told = {name: why for _, name, why in proposed.metadata}
    assert set(told) == {"T x", "T place", "T counter", "T passing", "T bin", "T site"}
    assert "order of testing" in told["T counter"]
    assert told["T passing"] == "the number of passing sites in the touchdown"


def test_short_names() -> None:
    taken: set[str] = set()
    assert [short_name(text, taken) for text in ("Idd@5.0V", "idd 5 0 v", "__", "a" * 60)] == [
        "idd_5_0v", "idd_5_0_v", "test", "a" * 40,
    ]  # fmt: skip
    assert short_name("IDD@5.0V", taken) == "idd_5_0v_2"


CONF = {
    "store.yaml": "root: tables\n",
    "testers.yaml": "testers: [{match: 'TESTER*', zone: Europe/Berlin}]\n",
    "products.yaml": "products: [{product_id: P7, match: {part_typ: CHIP}, parameters: "
    "{vdd: {test_num: 5, test_name: VDD}}}]\n",
    "inputs.yaml": "inputs: [{match: '*.map', kind: text_map, zone: UTC, finish: 2025-01-01 12:00:00}]\n",
}


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "conf").mkdir()
    for name, text in CONF.items():
        (tmp_path / "conf" / name).write_text(text)
    return tmp_path / "conf" / "store.yaml"


def inspected(path: Path, conf: Path | str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    code = cli.main(["inspect", str(path), "--conf", str(conf), *more])
    caught = capsys.readouterr()
    return code, caught.out + caught.err


def test_what_the_configuration_makes_of_a_file(tmp_path: Path, conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lot.stdf"
    path.write_bytes(two_by_three())
    code, said = inspected(path, conf, capsys)
    assert code == 0
    for line in ("tester rule       TESTER*", "zone              Europe/Berlin", "product           P7",
                 "insertion         1", "lot               LOT1",
                 "warning: parameter 'vdd' matches no test of this file: 5 'VDD' is not there. "
                 "Hint: did you mean 5 'vdd' or 6 'idd'?"):  # fmt: skip
        assert line in said
    _, told = inspected(path, conf, capsys, "--json")
    applies = json.loads(told)["applies"]
    assert (applies["product"], applies["zone"], applies["insertion"]) == ("P7", "Europe/Berlin", "1")
    path.write_bytes(two_by_three(node_nam="OTHER", tstr_typ="OTHER"))
    code, said = inspected(path, conf, capsys)
    assert (code, "ingest would set this file aside: no time zone is configured" in said) == (0, True)


def test_maps_are_inspected_too(tmp_path: Path, conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.map"
    path.write_text("Product: P7\nLot ID: L\nWafer ID: 3\n\n.111.\n.151.\n")
    code, said = inspected(path, conf, capsys)
    assert code == 0
    assert "inputs.yaml entry *.map (text_map)" in said
    assert "wafer 3: 6 dies in 1 touchdowns" in said
    assert "product           P7" in said
    assert "hard bins   1: 5, 5: 1" in said
    code, said = inspected(path, conf, capsys, "--json")
    assert json.loads(said)["applies"]["lot"] == "L"


def test_errors_name_the_file(tmp_path: Path, conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in {"notes.stdf": b"notes", "b.map": b"Lot ID: L\n\n\n", "c.stdf.gz": b"\x1f\x8bnothing"}.items():
        (tmp_path / name).write_bytes(content)
        code, said = inspected(tmp_path / name, conf, capsys)
        assert (code, str(tmp_path / name) in said) == (2, True)
        assert said.count(str(tmp_path / name)) == 1


def test_json_of_infinite_limits_and_results_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "inf.stdf"
    out = Maker().begin().wir("W").pir(0)
    for number, value in enumerate((math.inf, -math.inf, math.nan, 1.0)):
        out.ptr(0, number, value, "vdd", opt_flag=0, lo_limit=-math.inf, hi_limit=math.inf, units="V")
    path.write_bytes(out.prr(0, 1, 1).end())
    _, said = inspected(path, "nowhere.yaml", capsys, "--json")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    tests = json.loads(said, parse_constant=refuse)["tests"]
    assert [test["low_limit"] for test in tests] == [None] * 4


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    path = tmp_path / "large.stdf"
    out = Maker().begin().wir("W").pir(0)
    for number in range(3000):
        out.ptr(0, number, 1.0, f"a test with a name {number}")
    path.write_bytes(out.prr(0, 1, 1).end())
    words = [sys.executable, "-m", "fs_spark.cli", "inspect", str(path), "--conf", "nowhere.yaml", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(60), said) == (0, b"")
