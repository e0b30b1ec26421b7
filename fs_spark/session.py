"""The only place that builds a SparkSession, and the words that start the same one under spark-submit.

Nothing happens at import, and `spark.stop()` is the caller's.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fs_spark.errors import SetupError
from fs_spark.jvm import find_java, jvm_output_hidden
from fs_spark.names import CACHE_FOLDER
from fs_spark.quick_start import Start, keep_jars, quick_start

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from fs_spark.config import SparkConfig, StoreConfig

_log = logging.getLogger(__name__)

DELTA_VERSION: Final = "4.4.0"
EXTENSION: Final = "io.delta.sql.DeltaSparkSessionExtension"
CATALOG: Final = "org.apache.spark.sql.delta.catalog.DeltaCatalog"

# What Delta's jar names as dependencies and Spark already ships, partly in other versions (Hadoop 3.4.2 beside
# 3.5.0). Without them 7 of 33 jars are left.
EXCLUDED: Final = (
    "org.apache.hadoop:*",
    "com.fasterxml.jackson.core:*",
    "com.fasterxml.jackson.module:*",
    "com.fasterxml.jackson.datatype:*",
    "org.apache.parquet:*",
    "org.apache.logging.log4j:*",
    "org.slf4j:*",
    "com.github.luben:zstd-jni",
    "org.xerial.snappy:*",
    "org.roaringbitmap:*",
    "commons-*:*",
    "org.apache.commons:*",
    "com.google.code.findbugs:jsr305",
    "javax.annotation:*",
    "io.airlift:aircompressor",
)

SUBMIT_HINT: Final = "spark-submit $(fs-spark submit-args) jobs/..."

_UTC: Final = {"spark.sql.session.timeZone": "UTC"}
_DELTA: Final = {"spark.sql.extensions": EXTENSION, "spark.sql.catalog.spark_catalog": CATALOG}

# Delta replays a table's log in 50 partitions by default; feature tables have tens of files.
_SMALL_TABLES: Final = {"spark.databricks.delta.snapshotPartitions": "2"}

# Below 2 GB Spark 4.2 adds up the sizes of all columns before each row that it sends to Python (a third of the time
# of sending 15 columns); a batch is bounded by its 10,000 rows anyway.
_ARROW: Final = {"spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1)}

_LOCAL: Final = {
    "spark.driver.extraJavaOptions": "-Darrow.enable_unsafe_memory_access=true",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}


def build_session(
    conf: StoreConfig | str | Path | None = None,
    *,
    master: str | None = None,
    app_name: str = "fs_spark",
    settings: Mapping[str, str] | None = None,
) -> SparkSession:
    """A SparkSession with Delta, in UTC.

    An active session is returned as it is: no setting of it is changed, `master` and `settings` do not apply.
    Otherwise `settings` win over the file's `spark.settings`, and these over the settings made here.
    Where the runtime brings Delta (Databricks, Delta among Spark's own jars, spark-submit) nothing is fetched;
    else Delta's jars come from `spark.jars_folder`, or from Maven on the first use.
    Under spark-submit the file's settings are those that `fs-spark submit-args` printed.

    Sets PYSPARK_PYTHON to this Python where it is unset, and, while a JVM is being started, JAVA_HOME.

    Raises  SetupError when no Java is found, or the session has no Delta
    """
    from pyspark.sql import SparkSession

    session = _existing_session()
    if session is not None:
        ensure_delta(session)
        return session

    # Workers would start the `python3` of PATH, which may be another Python without numpy.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    extra = dict(settings or {})
    spark = _spark_section(conf)
    remote = os.environ.get("SPARK_REMOTE") or (master if master and master.startswith("sc://") else None)
    builder = SparkSession.builder.appName(app_name)

    # Where something else started Spark, packages and static settings come too late or are not ours to change.
    server = remote is not None and not remote.startswith("local")
    if server or "DATABRICKS_RUNTIME_VERSION" in os.environ or "PYSPARK_GATEWAY_PORT" in os.environ:
        if remote is not None:
            builder = builder.remote(remote)
        return _checked(builder, _UTC | extra)

    chosen = remote or master or (spark.master if spark else None) or _default_master()
    if remote is not None:  # `local[2]`: a Connect server of its own, inside a new JVM
        builder = builder.remote(remote)
    elif chosen is not None:
        builder = builder.master(chosen)
    values = _session_settings(spark, chosen) | extra
    is_local = remote is None and chosen is not None and chosen.startswith("local")
    java = find_java()
    _log.info("Java %s from %s: %s", java.version, java.source, java.path)
    quick = is_local and (spark is None or spark.quick_start)
    start = quick_start(values, java, _jars_of_spark()) if quick else Start(values, java.path, False)
    with _java_home(start.java_home), jvm_output_hidden():
        session = _checked(builder, start.settings)
    if start.is_first:
        keep_jars(values["spark.jars.packages"], (session.conf.get("spark.jars", "") or "").split(","))
    return session


def ensure_delta(spark: SparkSession) -> None:
    """Checks that a session reads and writes Delta tables.

    Raises  SetupError, whose text is one line with the command that starts a job with Delta
    """
    if "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    # The settings alone prove nothing: without the jar Spark logs a warning and goes on. The extension brings
    # the function `table_changes`, which is there only when its class was loaded.
    cause: Exception | None = None
    missing = ""
    if spark.conf.get("spark.sql.catalog.spark_catalog", "builtin") == "builtin":
        missing = f"spark.sql.catalog.spark_catalog is not {CATALOG}"
    else:
        try:
            if not spark.catalog.functionExists("table_changes"):
                missing = f"spark.sql.extensions has no {EXTENSION}"
        except (PySparkException, Py4JJavaError) as error:  # Spark 4.2 gives the raw Java error for a missing class
            missing, cause = "its classes are not among the session's jars", error
    if missing:
        raise SetupError(
            f"this Spark session has no Delta ({missing}). Hint: start the job with `{SUBMIT_HINT}`, "
            "or let fs_spark.build_session make the session."
        ) from cause


def submit_args(conf: StoreConfig | str | Path | None = None) -> list[str]:
    """The words for `spark-submit $(fs-spark submit-args) job.py`: packages or jars, and the settings.

    Words have no blanks and no quotes, so the shell's word splitting gives them back as they are. Some have a `*`;
    it stands behind a colon (`org.slf4j:*`), where it matches no file.

    Raises  SetupError when a configured value cannot be such a word
    """
    spark = _spark_section(conf)
    master = spark.master if spark else None
    values = _session_settings(spark, master)
    words = ["--master", master] if master else []
    packages = values.pop("spark.jars.packages", None)
    excluded = values.pop("spark.jars.excludes", None)
    jars = values.pop("spark.jars", None)
    if packages:
        words += ["--packages", packages]
    if excluded:
        words += ["--exclude-packages", excluded]
    if jars:
        words += ["--jars", jars]
    for key in sorted(values):
        words += ["--conf", f"{key}={values[key]}"]
    bad = [word for word in words if re.search(r"[\s\"'\\]", word) or not word]
    if bad:
        raise SetupError(
            f"{len(bad)} words cannot pass through the shell unquoted: {bad}.\n"
            "Hint: use values without blanks, quotes and backslashes, or put them into spark-defaults.conf."
        )
    return words


def without_package(fault: BaseException) -> SetupError | None:
    """What to say where the Python of the executors lacks fs_spark or what it needs; None for any other fault."""
    found = re.search(r"ModuleNotFoundError: No module named '(\w+)", str(fault))
    if found is None or "worker" not in str(fault).lower():
        return None
    return SetupError(
        f"the Python of the Spark workers has no package {found[1]!r}. Hint: install fs_spark on every node and set "
        "PYSPARK_PYTHON to that Python, or send it: --py-files fs_spark.zip, --archives environment.tar.gz#environment"
    )


def _checked(builder: SparkSession.Builder, values: Mapping[str, str]) -> SparkSession:
    with warnings.catch_warnings():
        # Spark Connect first starts its server with all settings and then tries to set the static ones again.
        warnings.filterwarnings("ignore", message="Failed to set ", category=UserWarning)
        spark = builder.config(map=dict(values)).getOrCreate()
    ensure_delta(spark)
    from fs_spark.stdf import register_source

    with suppress(ImportError):  # the streaming interface of Python data sources is of Spark 4.2
        register_source(spark)
    return spark


def _existing_session() -> SparkSession | None:
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    try:
        # Not getActiveSession(): that is None in a second thread, and the builder would then change the
        # settings of the session which the first thread uses.
        return SparkSession.active()
    except PySparkRuntimeError:
        return None


def _spark_section(conf: StoreConfig | str | Path | None) -> SparkConfig | None:
    if conf is None:
        return None
    if isinstance(conf, (str, Path)):
        from fs_spark.config import load_store_config

        spark = load_store_config(conf).spark
        if spark.jars_folder is not None:
            folder = Path(conf).expanduser().resolve().parent / spark.jars_folder.expanduser()
            spark = spark.model_copy(update={"jars_folder": folder})
        return spark
    return conf.spark


def _session_settings(spark: SparkConfig | None, master: str | None) -> dict[str, str]:
    """Everything that a new session gets, without its master; later entries win."""
    values = _UTC | _DELTA | _SMALL_TABLES | _ARROW | _delta_jars(spark)
    if master is not None and master.startswith("local"):
        cores = str(_cores(master))
        # VACUUM lists a table's files in as many tasks as the second says, 10,000 by default.
        values |= _LOCAL | {
            # Adaptive execution makes each stage a job of its own and plans anew behind it; partitions are as many as
            # cores already.
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.shuffle.partitions": cores,
            "spark.sql.sources.parallelPartitionDiscovery.parallelism": cores,
        }
    cache = (spark.cache_folder if spark is not None else None) or os.environ.get(CACHE_FOLDER)
    if cache:
        values[f"spark.executorEnv.{CACHE_FOLDER}"] = str(cache)
    if spark is not None:
        if spark.shuffle_partitions is not None:
            values["spark.sql.shuffle.partitions"] = str(spark.shuffle_partitions)
        values |= spark.settings
    return values


def _delta_jars(spark: SparkConfig | None) -> dict[str, str]:
    folder = spark.jars_folder if spark else None
    if folder is not None:
        jars = sorted(folder.resolve().glob("*.jar"))
        if not any(jar.name.startswith(("delta-spark", "io.delta_delta-spark")) for jar in jars):
            raise SetupError(
                f"spark.jars_folder has no delta-spark jar: {folder} holds {len(jars)} jars.\n"
                "Hint: copy the jars that a session with a network puts into ~/.ivy2*/jars."
            )
        return {"spark.jars": ",".join(map(str, jars))}
    if any(_jars_of_spark().glob("delta-spark*.jar")):
        return {}
    return {"spark.jars.packages": delta_package(), "spark.jars.excludes": ",".join(EXCLUDED)}


def delta_package() -> str:
    """Delta's Maven coordinate for the installed Spark: `io.delta:delta-spark_4.2_2.13:4.4.0`."""
    import pyspark  # not importlib.metadata: a site's Spark is often no installed distribution

    minor = ".".join(pyspark.__version__.split(".")[:2])
    return f"io.delta:delta-spark_{minor}_2.13:{DELTA_VERSION}"


def _jars_of_spark() -> Path:
    import pyspark

    return Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent) / "jars"


def _default_master() -> str | None:
    # A site's Spark has its master in spark-defaults.conf; pip's has no such file.
    return None if os.environ.get("SPARK_HOME") or os.environ.get("SPARK_CONF_DIR") else "local[*]"


def _cores(master: str) -> int:
    match = re.match(r"local\[(\d+)", master)
    if match:
        return int(match.group(1))
    return (os.cpu_count() or 1) if master.startswith("local[*") else 1


@contextmanager
def _java_home(path: Path) -> Iterator[None]:
    """JAVA_HOME for a JVM that is started inside; as it was before, afterwards."""
    before = os.environ.get("JAVA_HOME")
    os.environ["JAVA_HOME"] = str(path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["JAVA_HOME"]
        else:
            os.environ["JAVA_HOME"] = before
