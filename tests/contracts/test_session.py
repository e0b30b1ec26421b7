"""How a session comes about: with Delta, in UTC, without Java on the machine, and under spark-submit."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from fs_spark.config import SparkConfig, StoreConfig
from fs_spark.errors import SetupError
from fs_spark.session import EXCLUDED, build_session, delta_package, ensure_delta, submit_args

JOB = """\
import sys
from fs_spark import FsSparkError, build_session

try:
    spark = build_session(**SETTINGS)
except FsSparkError as error:
    sys.exit(f"job: {error}")
spark.range(5).write.format("delta").save(sys.argv[1])
print("rows", spark.read.format("delta").load(sys.argv[1]).count())
print("zone", spark.conf.get("spark.sql.session.timeZone"))
print("partitions", spark.conf.get("spark.sql.shuffle.partitions"))
print("python", spark.range(1).mapInPandas(lambda frames: frames, "id long").count())
spark.stop()
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    file = tmp_path / "job.py"
    file.write_text(JOB.replace("**SETTINGS", ""), "utf-8")
    return file


def clean_environment(**more: str) -> dict[str, str]:
    """This process has started a JVM perhaps, and left its marks."""
    marks = ("PYSPARK", "SPARK", "JAVA_HOME", "_PYSPARK")
    return {key: value for key, value in os.environ.items() if not key.startswith(marks)} | more


def run(*words: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], env=env, capture_output=True, text=True, timeout=300, check=False)


def test_spark_runs_without_java_on_the_machine(tmp_path: Path) -> None:
    without_java = tmp_path / "bin"
    without_java.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for tool in Path(folder).glob("*"):
            if not tool.name.startswith("java") and not (without_java / tool.name).is_symlink():
                (without_java / tool.name).symlink_to(tool)
    file = tmp_path / "job.py"
    file.write_text(JOB.replace("**SETTINGS", 'master="local[2]"'), "utf-8")
    env = clean_environment(PATH=str(without_java), XDG_CACHE_HOME=str(tmp_path / "cache"))
    done = run(sys.executable, file, tmp_path / "table", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:4] == ["rows 5", "zone UTC", "partitions 2", "python 1"]
    assert sorted(home.name[:7] for home in (tmp_path / "cache" / "fs_spark").iterdir()) == ["jvm", "jvm-21."]


def test_an_active_session_comes_back_as_it_is(spark: SparkSession) -> None:
    before = dict(spark.conf.getAll)
    again = build_session(master="local[7]", app_name="x", settings={"spark.sql.shuffle.partitions": "99"})
    assert again is spark
    with ThreadPoolExecutor(1) as pool:  # where getActiveSession() is None
        assert pool.submit(build_session, settings={"spark.sql.shuffle.partitions": "99"}).result() is spark
    assert dict(spark.conf.getAll) == before


def test_the_session_of_the_tests(spark: SparkSession) -> None:
    ensure_delta(spark)
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.driver.host") == "127.0.0.1"
    assert spark.conf.get("spark.driver.memory") == "2g"
    assert os.environ["PYSPARK_PYTHON"]


def test_submit_args_for_a_cluster(tmp_path: Path) -> None:
    words = submit_args()
    settings = dict(word.split("=", 1) for word in words if word.startswith("spark."))
    assert words[:2] == ["--packages", delta_package()]
    assert words[2:4] == ["--exclude-packages", ",".join(EXCLUDED)]
    assert words[4::2] == ["--conf"] * len(settings)
    assert sorted(settings) == [
        "spark.databricks.delta.snapshotPartitions",
        "spark.sql.catalog.spark_catalog",
        "spark.sql.execution.arrow.maxBytesPerBatch",
        "spark.sql.extensions",
        "spark.sql.session.timeZone",
    ]


def test_submit_args_pass_through_the_shell(tmp_path: Path) -> None:
    file = tmp_path / "store.yaml"
    file.write_text(
        "root: store\nspark: {master: 'local[2]', shuffle_partitions: 5, settings: {spark.a: b}}\n", "utf-8"
    )
    words = submit_args(file)
    assert words[:2] == ["--master", "local[2]"]
    assert {"spark.sql.shuffle.partitions=5", "spark.a=b", "spark.ui.enabled=false"} <= set(words)
    (tmp_path / "words").write_text("\n".join(words), "utf-8")
    told = run("bash", "-c", f"cd {tmp_path} && printf '%s\\n' $(cat words)", env=clean_environment())
    assert told.stdout.splitlines() == words


def test_submit_args_refuse_what_the_shell_would_split() -> None:
    conf = StoreConfig(root="store", spark=SparkConfig(settings={"spark.driver.extraJavaOptions": "-Da=b -Dc=d"}))
    with pytest.raises(SetupError, match=r"spark\.driver\.extraJavaOptions=-Da=b -Dc=d.*\nHint:"):
        submit_args(conf)


def test_jars_of_a_folder_take_the_place_of_packages(tmp_path: Path) -> None:
    (tmp_path / "jars").mkdir()
    file = tmp_path / "store.yaml"
    file.write_text("root: store\nspark: {jars_folder: jars}\n", "utf-8")
    with pytest.raises(SetupError, match="has no delta-spark jar"):
        submit_args(file)
    for name in ("delta-storage-4.4.0.jar", "delta-spark_4.2_2.13-4.4.0.jar"):
        (tmp_path / "jars" / name).touch()
    words = submit_args(file)
    folder = tmp_path.resolve() / "jars"
    jars = f"{folder}/delta-spark_4.2_2.13-4.4.0.jar,{folder}/delta-storage-4.4.0.jar"
    assert words[:2] == ["--jars", jars]
    assert "--packages" not in words


def submit(*words: str | Path) -> subprocess.CompletedProcess[str]:
    env = clean_environment(PYSPARK_PYTHON=sys.executable)
    return run(Path(pyspark.__file__).parent / "bin" / "spark-submit", *words, env=env)


def test_a_job_with_the_submit_args_has_delta(job: Path, tmp_path: Path) -> None:
    conf = StoreConfig(root="store", spark=SparkConfig(master="local[2]", shuffle_partitions=3))
    done = submit(*submit_args(conf), job, tmp_path / "table")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:4] == ["rows 5", "zone UTC", "partitions 3", "python 1"]


def test_a_job_without_them_ends_in_one_line(job: Path, tmp_path: Path) -> None:
    done = submit("--master", "local[2]", job, tmp_path / "table")
    assert done.returncode == 1
    told = done.stdout + done.stderr  # spark-submit gives all that Python writes to stdout
    line = next(line for line in told.splitlines() if line.startswith("job: "))
    assert "Hint: start the job with `spark-submit $(fs-spark submit-args) jobs/...`" in line
    assert "Traceback" not in told


class _Conf:
    def get(self, key: str, default: str) -> str:
        return {"spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog"}.get(key, default)


class _Catalog:
    def functionExists(self, name: str) -> bool:
        return False


class _Session:
    conf, catalog = _Conf(), _Catalog()


def test_delta_settings_without_its_extension_are_not_enough() -> None:
    with pytest.raises(SetupError, match=r"spark\.sql\.extensions has no io\.delta") as refused:
        ensure_delta(_Session())  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
