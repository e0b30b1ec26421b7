"""inputs.yaml: what is shipped loads and works, the first entry wins, names by rules, and every fault is told."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from fs_spark import inputs
from fs_spark.config import load_configuration
from fs_spark.errors import ConfigError, StdfError
from fs_spark.inputs import files_beside, find_entry
from fs_spark.inputs.naming import FileName, word
from fs_spark.inputs.rules import InputsFile, NameRule
from fs_spark.stdf.container import Delivered, unpack
from tests.conftest import ROOT
from tests.inputs.entries import NOON, entry, passed, picture_of, places, read_file, read_text, run_of


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    folder = tmp_path / "conf"
    shutil.copytree(ROOT / "conf", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return folder


def examples() -> Any:
    """The examples of the shipped file, as they stand there behind `# `."""
    text = (ROOT / "conf" / "inputs.yaml").read_text("utf-8")
    commented = text[text.index("# inputs:\n") :]
    return yaml.safe_load("\n".join(line.removeprefix("#").removeprefix(" ") for line in commented.splitlines()))


# the file


def test_the_shipped_file_has_no_entries_and_is_not_needed(conf: Path) -> None:
    assert load_configuration(conf / "store.yaml").inputs == ()
    (conf / "inputs.yaml").unlink()
    assert load_configuration(conf / "store.yaml").inputs == ()


def test_the_shipped_examples_read_the_real_files(conf: Path, shared_data: Path) -> None:
    (conf / "inputs.yaml").write_text(yaml.safe_dump(examples(), allow_unicode=True))
    entries = load_configuration(conf / "store.yaml").inputs
    assert [one.kind for one in entries] == ["wafer_map", "text_map", "text_map", "die_table"]
    found = {}
    for pattern in ("*/*_B004549_24.WaferMap", "*/CP?__*_mapEx.txt", "*/AOI__*.txt"):
        for path in sorted((shared_data / "aoi-wafer-stacking").glob(pattern)):
            of = find_entry(str(path), entries)
            assert of is not None
            if "AOI" in path.name:  # its letters have a bin in another example alone
                of = of.model_copy(update={"bins": {"A": 10, "B": 11}})
            read = read_file(path, of)
            run = run_of(read)
            found[run["insertion"], run["wafer_id"]] = passed(read), str(run["run_finish"])[:19]
    assert found == {
        ("CP1", "24"): (923, "2025-08-31 07:19:12"),
        ("CP1", "02"): (934, "2025-03-24 04:00:00"),
        ("CP2", "02"): (927, "2025-03-24 04:00:00"),
        ("AOI", "02"): (923, "2025-07-21 01:50:40"),
    }


def test_all_faults_of_the_file_are_told(conf: Path) -> None:
    entries = [
        {"match": "*.WaferMap", "kind": "wafer_map", "zone": "Shanghai", "skip_bin": [1]},
        {"match": "*.csv", "kind": "die_table", "columns": {"die_x": "x", "die_y": "y"}},
        {"match": "*", "kind": "hex_map"},
    ]
    (conf / "inputs.yaml").write_text(yaml.safe_dump({"inputs": entries}))
    with pytest.raises(ConfigError) as caught:
        load_configuration(conf / "store.yaml")
    text = re.sub(r"(\.yaml):\d+: ", r"\1: ", str(caught.value))
    for part in (
        "4 faults in the configuration",
        "inputs.yaml: inputs.0.wafer_map.zone: 'Shanghai' is no time zone",
        "inputs.yaml: inputs.0.wafer_map.skip_bin: unknown key",
        "inputs.yaml: inputs.1.die_table: lot_id is not given. Hint: name its column, or give lot_id",
        "wafer_id is not given",
        "nothing tells a pass. Hint: name columns.passed, or columns.hard_bin with passing_bins",
        "nothing tells a time. Hint: name columns.event_timestamp",
        "inputs.yaml: inputs.2: ",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("kind", "options", "text"),
    [
        ("wafer_map", {}, "zone"),
        ("text_map", {"zone": "UTC", "bins": {"AB": 1}}, "at most 1 character"),
        ("text_map", {"zone": "UTC", "order": "spiral"}, "'none' or 'serpentine'"),
        ("text_map", {"zone": "UTC", "passing_bins": []}, "at least 1 item"),
        ("wafer_map", {"zone": "UTC", "encoding": "gb"}, "'gb' is not an encoding. Hint: such as"),
        ("wafer_map", {"zone": "UTC", "insertion": [{"pattern": "("}]}, "is no regular expression"),
        ("wafer_map", {"zone": "UTC", "insertion": [{"pattern": "a"}]}, r"value '\\1' does not fit pattern 'a'"),
        ("wafer_map", {"zone": "UTC", "lot_id": [{"field": "lot", "pattern": "(a)"}]}, "'file_name'"),
        ("wafer_map", {"zone": "UTC", "start": "2025-01-01T00:00:00Z"}, "timezone"),
        ("wafer_map", {"zone": "UTC", "start": [{"pattern": "(.)", "format": "%H:%M"}]}, "does not tell year"),
        ("wafer_map", {"zone": "UTC", "start": [{"pattern": "(.)", "format": "%Y-%m-%d %z"}]}, "leave out %z"),
    ],
)
def test_a_fault_of_an_entry(kind: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        entry(kind, **options)
    assert text in str(caught.value)


WHOLE = {"die_x": "x", "die_y": "y", "lot_id": "l", "wafer_id": "w", "passed": "p"}


@pytest.mark.parametrize(
    ("columns", "options", "text"),
    [
        ({"event_timestamp": "t"}, {"lot_id": "L1"}, "lot_id is given both as a column and for the whole file"),
        ({"run_start": "t"}, {"start": "2025-01-01", "zone": "UTC"}, "start is given both as a column"),
        ({}, {"start": "2025-01-01"}, "start and finish are local times. Hint: give the entry its `zone`"),
        ({"event_timestamp": "t", "order": "n"}, {}, "columns.order is of no use beside columns.event_timestamp"),
        ({"run_start": "t", "order": "n", "touchdown": "d"}, {}, "columns.order is of no use beside columns.touchdown"),
        ({"event_timestamp": "t"}, {"parameters": {k: {"test_num": 1, "test_name": "a"} for k in "vw"}}, "(1, 'a')"),
        ({"event_timestamp": "t"}, {"delimiter": ";;"}, "at most 1 character"),
    ],
)
def test_a_fault_of_a_die_table(columns: dict[str, str], options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        entry("die_table", columns={**WHOLE, **columns}, **options)
    assert text in str(caught.value)


# which entry


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("in/a.WaferMap", 0),
        ("in/A.WAFERMAP.gz", 0),
        ("in\\a.wafermap.bz2", 0),
        ("fab/AOI-3/x.txt", 1),
        ("fab/AOI-3/x_mapEx.txt", 1),
        ("fab/CP/x_mapEx.txt", 2),
        ("fab/CP/x.txt", None),
        ("fab/x.WaferMap/y.stdf", None),
    ],
)
def test_the_first_entry_that_matches_wins(path: str, expected: int | None) -> None:
    patterns = ("*.WaferMap", "*/AOI-?/*.txt", "*_mapEx.txt", "*_mapEx.*")
    listed = [{"match": match, "kind": "text_map", "zone": "UTC"} for match in patterns]
    entries = InputsFile.model_validate({"inputs": listed}).inputs
    found = find_entry(path, entries)
    assert found is (None if expected is None else entries[expected])


def test_the_name_of_a_file() -> None:
    assert FileName.of("a\\b/c.csv.gz") == FileName("a/b/c.csv", "c.csv")
    assert FileName.of("c.csv") == FileName("c.csv", "c.csv")
    assert FileName.of("s3://key:secret@bucket/a/c.csv.zst?region=x") == FileName("s3://bucket/a/c.csv", "c.csv")


def test_files_beside_a_path_or_a_uri(tmp_path: Path) -> None:
    (tmp_path / "report.csv").write_bytes(b"a,b")
    for path in (tmp_path / "a.WaferMap", (tmp_path / "a.WaferMap").as_uri()):
        assert files_beside(path)("report.csv") == b"a,b"
        with pytest.raises(StdfError, match=r"other\.csv cannot be read"):
            files_beside(path)("other.csv")


def test_a_file_beside_a_uri_has_its_query(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(source: str, **_: object) -> Delivered:
        return unpack(source.encode())

    monkeypatch.setattr(inputs, "read_delivered", told)
    assert files_beside("https://host/a/b.WaferMap?sig=x/y")("r.csv") == b"https://host/a/r.csv?sig=x/y"


# names by rules


def test_the_first_rule_that_finds_something_wins() -> None:
    said = {"file_name": "B1_07.txt", "lot_id": "b1.3", "wafer_id": None}
    rules = (
        NameRule(field="wafer_id", pattern="(.*)"),
        NameRule(field="lot_id", pattern=r"^(\w+)\.9"),
        NameRule(field="lot_id", pattern=r"^(\w)(\d)\.", value=r"\2-\1"),
        NameRule(pattern="(.+)"),
    )
    assert word(rules, said) == "1-b"
    assert word(rules[:2], said) is None
    assert (word("CP1", said), word(None, said), word("", said)) == ("CP1", None, None)


def test_rules_go_before_the_header_and_the_header_before_nothing() -> None:
    text = picture_of("1", Lot_ID="L9", Wafer_ID="4", Device="chip")
    run = run_of(read_text(text, entry("text_map", **NOON), "B1_07.txt"))
    assert [run[k] for k in ("lot_id", "wafer_id", "product_id", "insertion")] == ["L9", "4", "chip", "1"]
    rules = {"lot_id": [{"pattern": "^(B.)_"}], "wafer_id": [{"pattern": "_(X)"}], "product_id": "p"}
    rules |= {"insertion": [{"field": "path", "pattern": r"/(CP\d)-"}], "tester": "prober7", "test_program": "cp.1"}
    found = read_text(text, entry("text_map", **rules, **NOON), "in/CP2-prober/B1_07.txt")
    run = run_of(found)
    assert [run[k] for k in ("lot_id", "wafer_id", "product_id", "insertion")] == ["B1", "4", "p", "CP2"]
    assert (run["tester"], run["test_program"]) == ("prober7", "cp.1")
    assert found.header == {"node_nam": "prober7", "job_nam": "cp.1", "lot_id": "B1"}
    assert places(found) == [(0, 0)]
    nameless = run_of(read_text(picture_of("1"), entry("text_map", insertion=rules["insertion"], **NOON)))
    assert [nameless[k] for k in ("lot_id", "wafer_id", "product_id", "insertion")] == [None, None, "unknown", "1"]
