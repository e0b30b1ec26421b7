"""Out to the trainer: pandas, Arrow batches, parquet files, and an MLflow run that leads back to its rows.

None of them promises an order of rows: Spark gives partitions as it has them. Sort or shuffle on the other side.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pyarrow as pa
from pyspark.sql import DataFrame

from fs_spark.errors import ReproductionError, RequestError, SetupError, without_secrets

if TYPE_CHECKING:
    import pandas as pd

    from fs_spark.training.saved import TrainingSet

MANIFEST_FILE: Final = "manifest.json"
ROWS_FOLDER: Final = "rows"
"""A folder of their own: pandas and pyarrow read every file of a folder, and a manifest is no parquet."""
MOST_SPLITS: Final = 64
"""Files that are written side by side."""

_KEY: Final = b"fs_spark"
_NULL_FOLDER: Final = "__HIVE_DEFAULT_PARTITION__"
_MLFLOW_DIGEST: Final = 36
"""MLflow's limit (MAX_DATASET_DIGEST_SIZE); the whole digest stands in the source."""
_MLFLOW_TYPES: Final = {
    "boolean": "boolean",
    "tinyint": "integer",
    "smallint": "integer",
    "int": "integer",
    "bigint": "long",
    "float": "float",
    "double": "double",
    "date": "datetime",
    "timestamp": "datetime",
    "timestamp_ntz": "datetime",
    "binary": "binary",
}


def _in_utc(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us", "UTC") if pa.types.is_timestamp(kind) and kind.tz is not None else kind


def _schema(frame: DataFrame) -> pa.Schema:
    found = frame.limit(0).toArrow().schema
    return pa.schema([pa.field(field.name, _in_utc(field.type)) for field in found])


def _packer(rows: int) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa  # a nested function travels as it is: the workers need pyarrow and nothing of ours

        def packed(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, parts[0].schema) as stream:
                stream.write_table(pa.Table.from_batches(parts).combine_chunks())
            return pa.RecordBatch.from_arrays([pa.array([sink.getvalue().to_pybytes()], pa.binary())], names=["packed"])

        held: list[pa.RecordBatch] = []
        count = 0
        for batch in batches:
            while batch.num_rows:
                part = batch.slice(0, rows - count)
                batch = batch.slice(part.num_rows)
                held.append(part)
                count += part.num_rows
                if count == rows:
                    yield packed(held)
                    held, count = [], 0
        if held:
            yield packed(held)

    return pack


def arrow_batches(frame: DataFrame, *, rows: int = 65536) -> pa.RecordBatchReader:
    """A frame's rows as Arrow batches of at most `rows`, fetched as they are asked for.

    An iterator of record batches that also knows its `schema`, which is all that an empty frame gives. Held at a time
    are one batch here and one partition of the frame in the driver's JVM, whatever the frame's size; a partition of a
    stored table is at most `spark.sql.files.maxPartitionBytes` of its files. Nulls and NaN stay apart, times are UTC.
    No order of rows is promised.

    Raises     RequestError where `rows` is below 1
    """
    if rows < 1:
        raise RequestError(f"batches of {rows} rows cannot be made. Hint: give rows=65536")
    schema = _schema(frame)

    def unpacked() -> Iterator[pa.RecordBatch]:
        # Spark hands rows out one partition at a time, but as Python objects: so a row is a whole batch. To read the
        # files of `frame.inputFiles()` instead would give other rows as soon as the frame has a filter, or the table
        # deletion vectors, as ours have.
        for row in frame.mapInArrow(_packer(rows), "packed binary").toLocalIterator():
            with pa.ipc.open_stream(row["packed"]) as stream:
                for batch in stream:
                    columns = [c.cast(f.type) for c, f in zip(batch.columns, schema, strict=True)]
                    yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, unpacked())


def to_pandas(frame: DataFrame) -> pd.DataFrame:
    """A frame as a pandas DataFrame, all of it in memory.

    Times are `datetime64[us, UTC]`. A missing float is NaN. An integer or boolean column with nulls is of pandas'
    nullable type, since float64 and object would lose large integers and the type. No order of rows is promised.
    """
    import pandas as pd

    nullable = {pa.int8(): "Int8", pa.int16(): "Int16", pa.int32(): "Int32", pa.int64(): "Int64", pa.bool_(): "boolean"}
    table = frame.toArrow()
    table = table.cast(pa.schema([pa.field(f.name, _in_utc(f.type)) for f in table.schema]))
    found: pd.DataFrame = table.to_pandas()
    for field in table.schema:
        if field.type in nullable and table[field.name].null_count:
            dtype = pd.api.types.pandas_dtype(nullable[field.type])
            found[field.name] = table[field.name].to_pandas(types_mapper=lambda _, dtype=dtype: dtype)
    return found


@dataclass(frozen=True)
class ParquetFiles:
    """`files` below `folder`; `current` says that they were there already and nothing was written."""

    folder: str
    files: tuple[str, ...]
    rows: int
    current: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Writer:
    """Parquet files of at most `rows_per_file` rows in one folder, one open at a time."""

    def __init__(self, system: Any, folder: str, schema: pa.Schema, rows_per_file: int) -> None:
        self.system, self.folder, self.schema, self.rows_per_file = system, folder, schema, rows_per_file
        self.files: list[str] = []
        self.rows = self._in_file = 0
        self._open: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        while batch.num_rows:
            part = batch.slice(0, self.rows_per_file - self._in_file)
            batch = batch.slice(part.num_rows)
            if self._open is None:
                self.begin()
            self._open.write_batch(part)
            self.rows += part.num_rows
            self._in_file += part.num_rows
            if self._in_file == self.rows_per_file:
                self.close()

    def begin(self) -> None:
        from pyarrow import parquet

        self.system.create_dir(self.folder, recursive=True)
        self.files.append(f"{self.folder}/part-{len(self.files):05}.parquet")
        self._open = parquet.ParquetWriter(self.files[-1], self.schema, filesystem=self.system)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open, self._in_file = None, 0


def _place(folder: str | Path) -> tuple[Any, str]:
    from pyarrow import fs

    text = str(folder)
    if "://" not in text:
        return fs.LocalFileSystem(), str(Path(text).expanduser().absolute())
    try:
        system, where = fs.FileSystem.from_uri(text)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
        raise RequestError(
            f"{text} cannot be written: {fault}. Hint: give a folder, or a URI that Arrow knows"
        ) from fault
    return system, where.rstrip("/")


def _there(system: Any, root: str, label: Mapping[str, Any], manifest: Mapping[str, Any]) -> ParquetFiles | None:
    """What an earlier call wrote, None where the folder is free.

    Raises     RequestError where anything else is there
    """
    from pyarrow import fs, parquet

    infos = system.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    files = sorted(info.path for info in infos if info.type == fs.FileType.File)
    other = "Hint: choose another folder, or remove this one; files are never overwritten"
    if not files:
        return None
    if f"{root}/{MANIFEST_FILE}" not in files:
        raise RequestError(
            f"{root} holds {len(files)} files and no {MANIFEST_FILE}: others' files, or a write that did not end.\n"
            + other
        )
    with system.open_input_stream(f"{root}/{MANIFEST_FILE}") as stream:
        found = json.loads(stream.read())
    if found != json.loads(json.dumps(manifest)):
        raise RequestError(
            f"{root} holds training set {found.get('name')!r} with digest {found['content']['digest'][:12]}, this one "
            f"is {manifest['name']!r} with {manifest['content']['digest'][:12]}.\n{other}"
        )
    files.remove(f"{root}/{MANIFEST_FILE}")
    rows = 0
    for path in files:
        if not path.endswith(".parquet"):
            raise RequestError(f"{path} is a file of others.\n{other}")
        with system.open_input_file(path) as source:
            footer = parquet.read_metadata(source)
        wrote = json.loads((footer.metadata or {}).get(_KEY, b"{}"))
        if wrote != label:
            raise RequestError(f"{path} was written with {wrote}, asked for is {dict(label)}.\n{other}")
        rows += footer.num_rows
    if rows != manifest["content"]["rows"]:
        raise RequestError(f"{root} holds {rows} of {manifest['content']['rows']} rows.\n{other}")
    return ParquetFiles(root, tuple(path[len(root) + 1 :] for path in files), rows, current=True)


def _split_folder(column: str, value: Any) -> str:
    text = _NULL_FOLDER if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return f"{column}={quote(text, safe='')}"


def _check_split(frame: DataFrame, split: str) -> None:
    kinds = dict(frame.dtypes)
    if split not in kinds:
        raise RequestError(f"there is no column {split!r} to split by. Hint: one of {', '.join(kinds)}")
    if kinds[split] not in ("string", "int", "bigint", "smallint", "tinyint", "boolean"):
        raise RequestError(f"{split} is {kinds[split]}. Hint: split by a column of texts, integers or booleans")


def _parts(batch: pa.RecordBatch, split: str | None) -> Iterator[tuple[str, pa.RecordBatch]]:
    """A batch by the folder that its rows go to, without the column that the folder's name tells."""
    import pyarrow.compute as pc

    if split is None:
        yield "", batch
        return
    column = batch.column(split)
    rest = batch.drop_columns([split])
    for value in column.unique().to_pylist():
        here = pc.is_null(column) if value is None else pc.equal(column, pa.scalar(value, column.type))
        yield _split_folder(split, value), rest.filter(here)


def write_parquet(
    frame: DataFrame,
    folder: str | Path,
    *,
    manifest: Mapping[str, Any],
    rows_per_file: int = 1_000_000,
    split: str | None = None,
) -> ParquetFiles:
    """Writes a training set's rows to `folder`/rows/part-*.parquet, and last its manifest to `folder`/manifest.json.

    With `split`, a column such as `fold`, its rows go to `folder`/rows/fold=train/part-*.parquet, and the column
    itself is left to the folder's name, as Hive does. `folder` is local or a URI that Arrow knows; the rows pass
    through this process, one batch in memory. Every file names its training set and digest under the key `fs_spark`
    of its footer. No order of rows is promised: shuffle in the loader.

    Raises     RequestError where the folder holds anything but these very files (then they are left as they are),
               ReproductionError where other rows came than the manifest tells, and nothing is kept
    """
    if rows_per_file < 1:
        raise RequestError(f"files of {rows_per_file} rows cannot be made. Hint: give rows_per_file=1000000")
    if split is not None:
        _check_split(frame, split)
    content = manifest["content"]
    label = {"training_set": manifest["name"], "digest": content["digest"]}
    label |= {"split": split, "rows_per_file": rows_per_file}
    system, root = _place(folder)
    there = _there(system, root, label, manifest)
    if there is not None:
        return there
    batches = arrow_batches(frame)
    schema = batches.schema if split is None else batches.schema.remove(batches.schema.get_field_index(split))
    schema = schema.with_metadata({_KEY: json.dumps(label, sort_keys=True)})
    writers: dict[str, _Writer] = {}

    def writer(part: str) -> _Writer:
        if part not in writers:
            if len(writers) == MOST_SPLITS:
                raise RequestError(f"{split} has more than {MOST_SPLITS} values. Hint: split by a coarser column")
            writers[part] = _Writer(system, "/".join(filter(None, (root, ROWS_FOLDER, part))), schema, rows_per_file)
        return writers[part]

    finished = False
    try:
        for batch in batches:
            for part, rows in _parts(batch, split):
                writer(part).write(rows.replace_schema_metadata(schema.metadata))
        if not writers and split is None:
            writer("").begin()  # no rows: a file that still tells the columns
        for one in writers.values():
            one.close()
        count = sum(one.rows for one in writers.values())
        if count != content["rows"]:
            raise ReproductionError(
                f"training set {manifest['name']!r}: {count} rows came, its manifest tells {content['rows']}.\n"
                f"Hint: `fs-spark reproduce {manifest['name']}` tells what differs"
            )
        system.create_dir(root, recursive=True)
        with system.open_output_stream(f"{root}/{MANIFEST_FILE}") as stream:
            stream.write(json.dumps(manifest, indent=2, sort_keys=True).encode())
        finished = True
    finally:
        if not finished:
            for one in writers.values():
                one.close()
                for path in one.files:
                    system.delete_file(path)
    files = sorted(path[len(root) + 1 :] for one in writers.values() for path in one.files)
    return ParquetFiles(root, tuple(files), count, current=False)


def _source(training_set: TrainingSet, artifact: str) -> tuple[str, dict[str, Any]]:
    """Type and content of an MLflow source. A stored table is of MLflow's own type `delta_table`, so that
    `mlflow.data.get_source(...).load()` reads the rows where nobody has fs_spark.
    """
    manifest, tables = training_set.manifest, training_set.tables
    content = manifest["content"]
    source = {
        "store": without_secrets(tables.catalog or str(tables.root)) if tables is not None else None,
        "training_set": manifest["name"],
        "digest": content["digest"],
        "keep": content["keep"],
        "table": content["table"],
        "delta_table_version": content["delta_version"],
        "manifest": artifact,
    }
    if tables is None or content["keep"] != "rows":
        return "fs_spark_training_set", source
    place = "delta_table_name" if tables.catalog else "path"
    where = tables.identifier(content["table"]) if tables.catalog else tables.path(content["table"])
    source[place] = without_secrets(where)
    return "delta_table", source


def log_input(
    training_set: TrainingSet,
    *,
    context: str = "training",
    tags: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> str:
    """Logs a training set as an input of an MLflow run, and its manifest as training_sets/<name>/manifest.json.

    The input names the store, the table that keeps the rows and its Delta version; its digest is the beginning of the
    manifest's. `run_id` is the active run unless it is given; it is given back.

    Raises     SetupError without MLflow, RequestError where no run is active
    """
    try:
        import mlflow
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.types import ColSpec, DataType, Schema, TensorSpec
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
    except ImportError as fault:
        raise SetupError(f"MLflow is not there: {fault}. Hint: pip install 'fs_spark[mlflow]'") from fault
    manifest = training_set.manifest
    run = mlflow.active_run()
    chosen = run_id or (run.info.run_id if run is not None else None)
    if chosen is None:  # MLflow would begin a run and leave it open, which the caller's own start_run then runs into
        raise RequestError("no MLflow run is active. Hint: call it inside `with mlflow.start_run():`, or give run_id")
    artifact = f"training_sets/{manifest['name']}/{MANIFEST_FILE}"
    kind, source = _source(training_set, artifact)
    fields = training_set.df.schema.fields
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(DataType[_MLFLOW_TYPES.get(f.dataType.simpleString(), "string")], f.name, required=not f.nullable)
        for f in fields
    ]
    dataset = Dataset(
        name=manifest["name"],
        digest=manifest["content"]["digest"][:_MLFLOW_DIGEST],
        source_type=kind,
        source=json.dumps(source),
        schema=json.dumps({"mlflow_colspec": Schema(columns).to_dict()}),
        profile=json.dumps({"rows": manifest["content"]["rows"]}),
    )
    labels = [InputTag(MLFLOW_DATASET_CONTEXT, context), *(InputTag(k, v) for k, v in (tags or {}).items())]
    client = mlflow.MlflowClient()
    client.log_dict(chosen, dict(manifest), artifact)
    client.log_inputs(chosen, datasets=[DatasetInput(dataset, labels)])
    return str(chosen)
