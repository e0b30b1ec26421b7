"""Out to the trainer: the same rows as the frame's in pandas, Arrow and parquet, and a run that leads back to them."""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import dataset, parquet
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fs_spark.errors import ReproductionError, RequestError, SetupError
from fs_spark.tables import Tables
from fs_spark.training import TrainingSet
from fs_spark.training.outputs import _packer, arrow_batches, to_pandas, write_parquet
from tests.rows import Rows, frame_of, plain, rows_of, settings
from tests.training.manifests import manifest_of

SCHEMA = (
    "lot_id string, die_x int, part bigint, vdd double, idd float, fails boolean, "
    "event_timestamp timestamp, fold string"
)
TIME = 1_741_000_000_123_456  # microseconds
LARGE = 2**53 + 1


def odd_rows(count: int) -> Rows:
    """Every third value is null, some floats are NaN or infinite, and integers are larger than a double holds."""
    return [
        {
            "lot_id": None if k % 3 == 0 else f"L{k}µ",
            "die_x": None if k % 3 == 1 else -k,
            "part": None if k % 3 == 2 else LARGE + k,
            "vdd": None if k % 3 == 0 else [math.nan, math.inf, -0.0, 0.1 + k][k % 4],
            "idd": None if k % 3 == 1 else math.nan if k % 5 == 0 else 0.5 * k,
            "fails": None if k % 3 == 2 else k % 2 == 0,
            "event_timestamp": None if k % 3 == 0 else TIME + k,
            "fold": ["train", "validation", None, "a/b=c"][k % 4],
        }
        for k in range(count)
    ]


@pytest.fixture
def frame(spark: SparkSession) -> DataFrame:
    return frame_of(spark, odd_rows(100), SCHEMA).repartition(3)


def texts(rows: Rows) -> list[str]:
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)


def arrow_rows(table: pa.Table) -> Rows:
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(at, field.name, table[field.name].cast(pa.int64()))
    return [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]


def manifest_for(frame: DataFrame, name: str = "bin_model") -> dict[str, Any]:
    return manifest_of(name, table=f"training__{name}", version=1, rows=frame.count())


# Arrow.


@pytest.mark.parametrize("rows", [1, 7, 33, 100, 65536])
def test_batches_together_are_the_frame(frame: DataFrame, rows: int) -> None:
    batches = list(arrow_batches(frame, rows=rows))
    assert max(batch.num_rows for batch in batches) <= rows
    table = pa.Table.from_batches(batches)
    assert (
        texts(arrow_rows(table))
        == texts(rows_of(frame))
        == texts([{k: plain(v) for k, v in r.items()} for r in odd_rows(100)])
    )
    assert table.schema.field("event_timestamp").type == pa.timestamp("us", "UTC")
    assert table.schema.field("die_x").type == pa.int32()


def test_times_are_utc_in_a_session_of_another_zone(frame: DataFrame) -> None:
    wanted = texts(rows_of(frame))
    with settings(frame.sparkSession, {"spark.sql.session.timeZone": "Asia/Tokyo"}):
        table = pa.Table.from_batches(list(arrow_batches(frame)))
        assert str(to_pandas(frame)["event_timestamp"].dtype) == "datetime64[us, UTC]"
    assert table.schema.field("event_timestamp").type == pa.timestamp("us", "UTC")
    assert texts(arrow_rows(table)) == wanted


def test_a_batch_spans_the_small_batches_of_spark(spark: SparkSession) -> None:
    """So that `rows` is what the trainer sees, whatever Spark sends to its workers."""
    with settings(spark, {"spark.sql.execution.arrow.maxRecordsPerBatch": "10"}):
        sizes = [batch.num_rows for batch in arrow_batches(spark.range(100).coalesce(1), rows=64)]
    assert sizes == [64, 36]


def test_an_empty_frame_gives_its_schema_and_no_batch(frame: DataFrame) -> None:
    reader = arrow_batches(frame.where("die_x > 0"))
    assert reader.schema.names == frame.columns
    assert list(reader) == []


def test_no_more_than_one_batch_is_held_in_a_worker() -> None:
    """The packer asks for the next batch only when what it holds is below `rows`."""
    taken = 0

    def incoming() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        for _ in range(20):
            taken += 10
            yield pa.record_batch({"id": list(range(10))})

    given = 0
    for batch in _packer(25)(incoming()):
        (packed,) = batch.column("packed").to_pylist()
        with pa.ipc.open_stream(packed) as stream:
            given += stream.read_all().num_rows
        assert taken - given < 10
    assert given == 200


def test_no_more_than_one_partition_is_fetched_for_a_batch(spark: SparkSession, tmp_path: Path) -> None:
    """Partitions mark that they were computed: the first batch needs the first one alone."""
    folder = str(tmp_path)

    def mark(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            (Path(folder) / str(batch.column(0)[0].as_py())).touch()
            yield batch

    frame = spark.range(0, 80, 1, 8).mapInArrow(mark, "id long")
    batches = arrow_batches(frame, rows=5)
    assert [batches.read_next_batch().num_rows, batches.read_next_batch().num_rows] == [5, 5]
    assert len(list(tmp_path.iterdir())) == 1
    assert sum(batch.num_rows for batch in batches) == 70
    assert len(list(tmp_path.iterdir())) == 8


def test_a_reader_that_stops_early_leaves_nothing_behind(frame: DataFrame) -> None:
    batches = arrow_batches(frame, rows=1)
    assert batches.read_next_batch().num_rows == 1
    del batches
    assert frame.count() == 100


def test_batches_of_no_rows_are_refused(frame: DataFrame) -> None:
    with pytest.raises(RequestError, match="Hint"):
        arrow_batches(frame, rows=0)


# pandas.


def test_pandas_keeps_values_and_types(frame: DataFrame) -> None:
    found = to_pandas(frame)
    types = {name: str(dtype) for name, dtype in found.dtypes.items()}
    assert types == {
        "lot_id": "object",
        "die_x": "Int32",
        "part": "Int64",
        "vdd": "float64",
        "idd": "float32",
        "fails": "boolean",
        "event_timestamp": "datetime64[us, UTC]",
        "fold": "object",
    }
    expected = sum(row["part"] for row in odd_rows(100) if row["part"] is not None)
    assert int(found["part"].sum()) == expected  # float64 would lose the last bits
    assert found["fails"].isna().sum() == 33
    assert found["event_timestamp"].max() == pd.Timestamp(TIME + 98, unit="us", tz="UTC")
    whole = to_pandas(frame.select(F.coalesce("die_x", F.lit(0)).alias("die_x"), F.lit(True).alias("fails")))
    assert [str(dtype) for dtype in whole.dtypes] == ["int32", "bool"]
    assert to_pandas(frame.where("die_x > 0")).shape == (0, 8)


# parquet.


def test_parquet_holds_the_rows_and_the_manifest(frame: DataFrame, tmp_path: Path) -> None:
    manifest = manifest_for(frame)
    written = write_parquet(frame, tmp_path / "out", manifest=manifest, rows_per_file=40)
    assert written.files == tuple(f"rows/part-{k:05}.parquet" for k in range(3))
    assert (written.rows, written.current) == (100, False)
    sizes = [parquet.read_metadata(tmp_path / "out" / file).num_rows for file in written.files]
    assert sizes == [40, 40, 20]
    found = parquet.read_table(tmp_path / "out" / "rows")
    assert texts(arrow_rows(found)) == texts(rows_of(frame))
    assert len(pd.read_parquet(tmp_path / "out" / "rows")) == 100
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    footer = json.loads(found.schema.metadata[b"fs_spark"])
    assert (footer["training_set"], footer["digest"]) == ("bin_model", manifest["content"]["digest"])


def test_a_split_is_a_folder_for_each_value(frame: DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "out"
    written = write_parquet(frame, out.as_uri(), manifest=manifest_for(frame), split="fold", rows_per_file=20)
    folders = {Path(file).parent.name for file in written.files}
    assert folders == {"fold=train", "fold=validation", "fold=a%2Fb%3Dc", "fold=__HIVE_DEFAULT_PARTITION__"}
    assert len(written.files) == 8
    train = parquet.read_table(out / "rows" / "fold=train", partitioning=None)
    assert train.num_rows == 25
    assert "fold" not in train.schema.names
    whole = dataset.dataset(out / "rows", partitioning="hive").to_table().select(frame.columns)
    assert texts(arrow_rows(whole)) == texts(rows_of(frame))


def test_a_split_by_booleans_is_written_as_hive_does(frame: DataFrame, tmp_path: Path) -> None:
    written = write_parquet(frame, tmp_path, manifest=manifest_for(frame), split="fails")
    assert {Path(file).parent.name for file in written.files} == {
        "fails=true",
        "fails=false",
        "fails=__HIVE_DEFAULT_PARTITION__",
    }


def test_an_empty_training_set_is_a_file_with_its_columns(frame: DataFrame, tmp_path: Path) -> None:
    empty = frame.where("die_x > 0")
    written = write_parquet(empty, tmp_path / "out", manifest=manifest_for(empty))
    assert written.files == ("rows/part-00000.parquet",)
    assert parquet.read_table(tmp_path / "out" / "rows").schema.names == frame.columns
    assert write_parquet(empty, tmp_path / "split", manifest=manifest_for(empty), split="fold").files == ()
    assert write_parquet(empty, tmp_path / "split", manifest=manifest_for(empty), split="fold").current


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_files_are_left_alone_and_others_are_refused(frame: DataFrame, tmp_path: Path) -> None:
    out, manifest = tmp_path / "out", manifest_for(frame)
    first = write_parquet(frame, out, manifest=manifest, rows_per_file=40)
    before = stamps(out)
    again = write_parquet(frame, out, manifest=manifest, rows_per_file=40)
    assert (again.files, again.rows, again.current) == (first.files, 100, True)
    for text, changed in (
        ("holds training set 'bin_model'", {"manifest": manifest_for(frame, "yield_model"), "rows_per_file": 40}),
        ("was written with", {"manifest": manifest, "rows_per_file": 50}),
        ("was written with", {"manifest": manifest, "rows_per_file": 40, "split": "fold"}),
    ):
        with pytest.raises(RequestError, match=text) as fault:
            write_parquet(frame, out, **changed)  # type: ignore[arg-type]
        assert "Hint: choose another folder" in str(fault.value)
    assert stamps(out) == before
    (out / first.files[0]).unlink()
    with pytest.raises(RequestError, match="holds 60 of 100 rows"):
        write_parquet(frame, out, manifest=manifest, rows_per_file=40)
    (out / "rows" / "notes.txt").write_text("mine")
    with pytest.raises(RequestError, match=r"notes\.txt is a file of others"):
        write_parquet(frame, out, manifest=manifest, rows_per_file=40)


def test_a_folder_with_other_files_is_refused(frame: DataFrame, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(RequestError, match=r"holds 1 files and no manifest\.json"):
        write_parquet(frame, tmp_path, manifest=manifest_for(frame))
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]


def test_rows_that_are_not_the_manifests_are_not_kept(frame: DataFrame, tmp_path: Path) -> None:
    with pytest.raises(ReproductionError, match="50 rows came, its manifest tells 100"):
        write_parquet(frame.limit(50), tmp_path / "out", manifest=manifest_for(frame))
    assert stamps(tmp_path) == {}
    written = write_parquet(frame, tmp_path / "out", manifest=manifest_for(frame))
    assert written.rows == 100


def test_a_split_that_is_none_is_refused_before_anything_is_written(frame: DataFrame, tmp_path: Path) -> None:
    for split, text in (("nothing", "no column 'nothing'"), ("vdd", "vdd is double")):
        with pytest.raises(RequestError, match=text):
            write_parquet(frame, tmp_path, manifest=manifest_for(frame), split=split)
    with pytest.raises(RequestError, match="more than 64 values"):
        write_parquet(
            frame.withColumn("lot_id", F.expr("uuid()")), tmp_path, manifest=manifest_for(frame), split="lot_id"
        )
    with pytest.raises(RequestError, match="rows_per_file"):
        write_parquet(frame, tmp_path, manifest=manifest_for(frame), rows_per_file=0)
    with pytest.raises(RequestError, match="Hint: give a folder"):
        write_parquet(frame, "nowhere://bucket/out", manifest=manifest_for(frame))
    assert stamps(tmp_path) == {}


# MLflow.


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tracking folder: MLflow's skinny package has no database, and wants to be asked for the file store."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return tmp_path / "runs"


@pytest.fixture
def stored(spark: SparkSession, frame: DataFrame, tmp_path: Path) -> TrainingSet:
    """A training set whose rows are kept in a Delta table."""
    frame.write.format("delta").save(str(tmp_path / "store" / "training__bin_model"))
    manifest = manifest_of("bin_model", table="training__bin_model", version=0, rows=100)
    tables = Tables(spark, root=str(tmp_path / "store"), catalog=None, horizon="interval 7 days")
    return TrainingSet("bin_model", tables.read("training__bin_model", 0), manifest, tables)


def test_a_run_leads_back_to_its_rows(stored: TrainingSet, tracking: Path) -> None:
    import mlflow

    with mlflow.start_run() as run:
        assert stored.log_to_mlflow(tags={"fold": "1"}) == run.info.run_id
    found = mlflow.MlflowClient().get_run(run.info.run_id)
    assert found.inputs is not None
    (logged,) = found.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in logged.tags} == {"mlflow.data.context": "training", "fold": "1"}
    assert logged.dataset.name == "bin_model"
    assert logged.dataset.digest == stored.digest[:36]
    source = json.loads(logged.dataset.source)
    tables = stored.tables
    assert tables is not None
    assert source["store"] == tables.root
    assert (source["table"], source["delta_table_version"], source["digest"]) == (
        "training__bin_model",
        0,
        stored.digest,
    )
    assert json.loads(str(logged.dataset.profile)) == {"rows": 100}
    columns = {c["name"]: c["type"] for c in json.loads(str(logged.dataset.schema))["mlflow_colspec"]}
    assert columns == {
        "lot_id": "string",
        "die_x": "integer",
        "part": "long",
        "vdd": "double",
        "idd": "float",
        "fails": "boolean",
        "event_timestamp": "datetime",
        "fold": "string",
    }
    artifact = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/{source['manifest']}")
    assert artifact == stored.manifest
    # and without fs_spark: MLflow itself reads the table, at that version
    stored.df.limit(1).write.format("delta").mode("append").save(tables.path("training__bin_model"))
    again = mlflow.data.get_source(logged.dataset).load()
    assert texts(rows_of(again)) == texts(rows_of(stored.df))


def test_a_run_is_named_by_its_id_or_is_active(stored: TrainingSet, tracking: Path) -> None:
    import mlflow

    with pytest.raises(RequestError, match=r"Hint: call it inside `with mlflow\.start_run"):
        stored.log_to_mlflow()
    assert mlflow.active_run() is None
    run = mlflow.MlflowClient().create_run("0")
    spine_only = TrainingSet("bin_model", stored.df, manifest_of("bin_model", rows=100))
    assert spine_only.log_to_mlflow(run_id=run.info.run_id, context="validation") == run.info.run_id
    inputs = mlflow.MlflowClient().get_run(run.info.run_id).inputs
    assert inputs is not None
    (logged,) = inputs.dataset_inputs
    assert logged.tags[0].value == "validation"
    assert logged.dataset.source_type == "fs_spark_training_set"


def test_without_mlflow_it_says_what_to_install(stored: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "mlflow":
            raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SetupError, match=r"Hint: pip install 'fs_spark\[mlflow\]'"):
        stored.log_to_mlflow()


# The methods of a training set.


def test_a_training_set_gives_its_rows_in_every_form(stored: TrainingSet, tmp_path: Path) -> None:
    wanted = texts(rows_of(stored.df))
    assert texts(arrow_rows(pa.Table.from_batches(list(stored.to_arrow_batches(rows=9))))) == wanted
    assert len(stored.to_pandas()) == 100
    assert stored.to_parquet(tmp_path / "out", split="fold").rows == 100
    assert datetime.fromtimestamp(TIME / 1e6, UTC) < stored.to_pandas()["event_timestamp"].max()
