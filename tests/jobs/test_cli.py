"""The command line and the jobs: answers, exit codes, JSON, and a real spark-submit."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fs_spark import FeatureStore, cli
from fs_spark.errors import SetupError
from fs_spark.features.catalogue import CATALOGUE
from fs_spark.on_workers import on_workers
from fs_spark.session import without_package
from tests.stores import label_spine, new_folder, open_store, versions, write_lot

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one lot, walked through the verbs by the tests in their order."""
    made = new_folder(tmp_path_factory.mktemp("cli"))
    write_lot(made / "in", 1, wafers=1)
    return made


def run(capsys: pytest.CaptureFixture[str], folder: Path, verb: str, *words: str) -> tuple[int, str, str]:
    code = cli.main([verb, *words, "--conf", str(folder / "conf" / "store.yaml")])
    said = capsys.readouterr()
    return code, said.out, said.err


def training_verbs(capsys: pytest.CaptureFixture[str], folder: Path, digest: str) -> None:
    """The verbs that follow a first training set."""
    code, out, _ = run(capsys, folder, "reproduce", "bin_model", "--from-source")
    assert (code, f"from the ingested rows, digest {digest}" in out) == (0, True)
    asked = ("--question", "next_insertion", "--insertion", "2", "--earlier-insertion", "1", "--split", "wafer")
    rules = ("--times", "--offset", "die_measured=1min", "--negatives", "0.5", "--keep", "spine")
    code, out, _ = run(capsys, folder, "train", "asked", "die_measured:vdd", *asked, *rules, "--json")
    manifest = json.loads(out)
    assert code == 0
    assert {"fails", "weight", "split", "vdd", "die_measured__age_s"} <= set(manifest["content"]["columns"])
    code, out, _ = run(capsys, folder, "history")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["asked", "bin_model"])
    assert run(capsys, folder, "history", "bin_model")[0] == 0
    code, out, _ = run(capsys, folder, "describe", "asked")
    assert (code, "offset 60 s" in out, "keeps    the spine" in out) == (0, True, True)
    code, out, _ = run(capsys, folder, "diff", "bin_model", "asked")
    assert (code, "the content differs" in out) == (0, True)
    code, out, _ = run(capsys, folder, "leaks", "bin_model", "--label", "fails")
    assert code == 0, out
    code, out, _ = run(capsys, folder, "vacuum", "--dry-run")
    assert (code, "training__bin_model" in out) == (0, True)


def test_the_verbs_in_their_order(
    spark: SparkSession, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, folder, "ingest", str(folder / "in"))
    assert (code, out.count("ingested")) == (0, 2)
    code, out, _ = run(capsys, folder, "plan")
    assert (code, out.count("register")) == (0, 4)
    assert run(capsys, folder, "apply")[0] == 0
    code, out, _ = run(capsys, folder, "materialize", "die_geometry", "die_neighborhood", "die_measured", "lot_so_far")
    assert (code, out.count("1 wafers written"), out.count("1 lots written")) == (0, 3, 1)
    spine = folder / "spine.parquet"
    label_spine(open_store(folder, spark)).write.parquet(str(spine))
    code, out, _ = run(capsys, folder, "train", "bin_model", "device_v2_0", "--spine", str(spine), "--json")
    manifest = json.loads(out)
    assert (code, manifest["name"]) == (0, "bin_model")
    code, out, _ = run(capsys, folder, "reproduce", "bin_model", "--json")
    assert json.loads(out)["content"]["digest"] == manifest["content"]["digest"]
    training_verbs(capsys, folder, manifest["content"]["digest"])
    assert run(capsys, folder, "export", "device_v2_0")[0] == 0
    die = spark.read.parquet(str(spine)).first()
    assert die is not None
    key = {name: die[name] for name in ("lot_id", "wafer_id", "die_x", "die_y")}
    code, out, _ = run(capsys, folder, "get", "device_v2_0", json.dumps(key))
    assert code == 0
    assert json.loads(out)["wafers_done"] == 1
    code, out, _ = run(capsys, folder, "get", "device_v2_0", json.dumps(key), "--at", "2025-03-01T00:00Z", "--status")
    assert code == 0
    early = json.loads(out)
    assert (early["wafers_done"], early["lot_so_far__v1.0__status"]) == (None, "missing")
    assert early["die_geometry__v1.0__status"] == "present"
    code, out, _ = run(capsys, folder, "history", "die_neighborhood")
    assert (code, "CREATE TABLE" in out) == (0, True)
    code, out, _ = run(capsys, folder, "rollback", "die_neighborhood", "1.0")
    assert (code, out.strip()) == (0, "die_neighborhood: v1.0 is promoted")
    before = versions(folder)
    for words in (
        ("ingest", str(folder / "in")),
        ("apply",),
        ("materialize",),
        ("train", "bin_model", "device_v2_0", "--spine", str(spine)),
        ("reproduce", "bin_model"),
        ("export", "device_v2_0"),
    ):
        assert run(capsys, folder, *words)[0] == 0
    assert versions(folder) == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["ingest", "/nowhere/at/all"], "no such file"),
        (["materialize", "die_neighbourhood"], "Hint"),
        (["train", "x", "die_neighborhood:nothing", "--spine", "/nowhere.parquet"], "no spine"),
        (["reproduce", "nothing"], "does not exist"),
        (["describe", "nothing"], "does not exist"),
        (["train", "x", "die_measured:vdd"], "either --spine or --question"),
        (["train", "x", "die_measured:vdd", "--question", "die_test", "--offset", "v=much"], "no view and span"),
        (["vacuum", "--keep-days", "-1"], "Hint"),
        (["export", "nothing"], "not configured"),
        (["get", "nothing", "{}"], "not published"),
        (["get", "device_v2_0", "{lot"], "no JSON"),
        (["get", "device_v2_0", "{}", "--at", "noon"], "not a moment"),
        (["get", "device_v2_0", "{}", "--at", "2025-03-03T12:00"], "without a zone"),
        (["history", "nothing"], "no table or view"),
    ],
)
def test_a_bad_request_is_one_error_and_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    before = versions(folder)
    code, out, err = run(capsys, folder, *words)
    assert (code, out) == (2, "")
    assert text in err
    assert "Traceback" not in err
    assert versions(folder) == before


def test_two_mistakes_in_the_configuration_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = new_folder(tmp_path / "wrong")
    (folder / "conf" / "store.yaml").write_text("root: ../store\nhorizn: interval 10 days\navailability: later\n")
    code, _, err = run(capsys, folder, "plan")
    assert code == 2
    assert "did you mean 'horizon'" in err
    assert "availability" in err


def test_files_set_aside_give_exit_code_3(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.stdf"
    bad.write_bytes(b"no tester file")
    code, out, _ = run(capsys, folder, "ingest", str(bad), str(folder / "in"))
    assert (code, "not an STDF file" in out) == (3, True)


@pytest.mark.parametrize("verb", sorted(cli._VERBS))
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([verb, "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert "example:" in said
    assert "--json" in said
    assert "--conf" in said


def test_init_writes_a_configuration_that_loads_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from fs_spark.config import load_configuration

    assert cli.main(["init", str(tmp_path / "conf")]) == 0
    assert len(load_configuration(tmp_path / "conf" / "store.yaml").views) == 13
    assert cli.main(["init", str(tmp_path / "conf")]) == 2
    assert "already" in capsys.readouterr().err


@pytest.mark.parametrize("job", ["ingest_stdf", "materialize_features", "build_training_set", "export_online"])
def test_jobs_take_the_arguments_of_the_verbs(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(f"jobs.{job}").main(["--help"])
    assert stopped.value.code == 0
    assert "example:" in capsys.readouterr().out


def submit_environment() -> dict[str, str]:
    from fs_spark.jvm import find_java

    binaries = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "JAVA_HOME": str(find_java().path),
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYSPARK_PYTHON": sys.executable,
    }


def test_spark_submit_with_the_printed_arguments(folder: Path, spark: SparkSession) -> None:
    conf = folder / "conf" / "store.yaml"
    before = versions(folder)
    command = (
        f"spark-submit --master 'local[2]' $(fs-spark submit-args --conf {conf}) "
        f"{ROOT}/jobs/materialize_features.py die_neighborhood --full --json --conf {conf}"
    )
    done = subprocess.run(
        ["bash", "-c", command], env=submit_environment(), capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert [view["view"] for view in report["views"]] == ["die_neighborhood__v1.0"]
    assert report["views"][0]["units_changed"] == 0  # another process and another JVM give the same bits
    assert versions(folder) == before


def test_features_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, tmp_path, "features")
    assert code == 0
    assert all(feature.key in out for feature in CATALOGUE)
    assert all(f"{family}: " in out for family in {feature.family for feature in CATALOGUE})
    code, out, _ = run(capsys, tmp_path, "features", "outcome_cluster", "--json")
    found = json.loads(out)["features"]
    assert [(f["key"], f["knowledge"], f["inputs"]) for f in found] == [
        ("fail__cluster_size", "before_test", ["passed"])
    ]
    code, _, err = run(capsys, tmp_path, "features", "outcome_clusters")
    assert code == 2
    assert "did you mean 'outcome_cluster'?" in err


def test_a_mistyped_verb_has_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    for word, hint in (("materialise", "did you mean 'materialize'?"), ("xyzzy", "fs-spark --help lists the verbs")):
        with pytest.raises(SystemExit) as ended:
            cli.main([word])
        assert ended.value.code == 2
        assert f"'{word}' is not a verb of fs-spark. Hint: {hint}" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, "fs_spark 0.1.0\n")


def test_a_terminal_that_is_not_utf_8_gets_escapes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "fs_spark.cli", "init", str(tmp_path / "µ")]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert b"\\xb5" in done.stdout


def test_a_store_and_its_reports_are_short_to_read(folder: Path) -> None:
    store = FeatureStore.open(folder / "conf" / "store.yaml")
    assert repr(store) == f"FeatureStore('{folder / 'store'}', views=4, services=5)"


def test_where_the_workers_lack_the_package_one_line_says_what_to_set() -> None:
    text = "An exception was thrown from the Python worker:\n" + "  File x\n" * 60
    told = without_package(RuntimeError(text + "ModuleNotFoundError: No module named 'fs_spark'"))
    assert told is not None
    assert str(told).startswith("the Python of the Spark workers has no package 'fs_spark'. Hint: ")
    assert all(word in str(told) for word in ("PYSPARK_PYTHON", "--py-files", "--archives"))
    assert "\n" not in str(told)
    assert without_package(RuntimeError(text + "ValueError: 3")) is None
    store = FeatureStore.__new__(FeatureStore)

    def verb(self: FeatureStore) -> None:
        raise RuntimeError(text + "ModuleNotFoundError: No module named 'numba'")

    with pytest.raises(SetupError, match="has no package 'numba'"):
        on_workers(verb)(store)


def test_what_the_jvm_prints_is_hidden_and_shown_where_it_does_not_start(tmp_path: Path) -> None:
    code = (
        "import logging, os, sys\n"
        "logging.basicConfig(level='INFO', format='%(message)s')\n"
        "from fs_spark.jvm import hide_jvm_output, jvm_output_hidden\n"
        "hide_jvm_output(True)\n"
        "with jvm_output_hidden():\n    os.system('echo ivy; echo log4j >&2')\n"
        "print('after', flush=True)\n"
        "try:\n"
        "    with jvm_output_hidden():\n        os.system('echo no memory >&2'); raise RuntimeError\n"
        "except RuntimeError:\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == "after\n"
    assert done.stderr == "what the JVM printed last:\nno memory\n"
