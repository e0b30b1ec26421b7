"""What Delta tables say of themselves and hold: newest, or at a version.

By DataFrame options and SQL, so that all of it runs through Spark Connect, and by the driver alone where it can.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from fs_spark.commits import Commit
from fs_spark.delta_log import LocalTable, local_folder
from fs_spark.errors import RetentionError, SchemaError
from fs_spark.promises import Promise

if TYPE_CHECKING:
    import pyarrow as pa

_NAME: Final = re.compile(r"[A-Za-z0-9_]+")


def _is_there(path: str) -> bool:
    """Whether a data file is there; True where Arrow does not know its file system."""
    from urllib.parse import unquote

    import pyarrow as pa
    from pyarrow import fs

    try:
        system, where = fs.FileSystem.from_uri(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        return True
    return bool(system.get_file_info(unquote(where)).type != fs.FileType.NotFound)


class TableReader:
    """The tables under one folder or in one schema of a catalog, to be read."""

    def __init__(self, spark: SparkSession, *, root: str | None, catalog: str | None) -> None:
        self.spark, self.root, self.catalog = spark, root, catalog
        self._folder = local_folder(spark, root) if catalog is None else None

    def identifier(self, name: str) -> str:
        """How SQL names the table."""
        if not _NAME.fullmatch(name):
            raise SchemaError(f"{name!r} is no table name. Hint: letters, digits and underscores only")
        return f"{self.catalog}.{name}" if self.catalog else f"delta.`{self.path(name)}`"

    def path(self, name: str) -> str:
        return f"{str(self.root).rstrip('/')}/{name}"

    def _local(self, name: str, version: int | None = None) -> LocalTable | None:
        """The table where this process can read its log by itself."""
        return LocalTable.open(f"{self._folder}/{name}", version) if self._folder is not None else None

    def _properties(self, name: str) -> dict[str, str] | None:
        """What the table says of itself; None where it is not there."""
        local = self._local(name)
        if local is not None:
            return local.properties
        if self._folder is not None and not os.path.isdir(f"{self._folder}/{name}/_delta_log"):
            return None  # Spark would need longer to say so
        detail = self._detail(name)
        return dict(detail["properties"]) if detail is not None and detail["format"] == "delta" else None

    def _detail(self, name: str) -> Row | None:
        try:
            return self.spark.sql(f"DESCRIBE DETAIL {self.identifier(name)}").collect()[0]
        except AnalysisException as fault:
            if any(mark in str(fault) for mark in ("PATH_NOT_FOUND", "PATH_DOES_NOT_EXIST", "TABLE_OR_VIEW_NOT_FOUND")):
                return None
            if any(mark in str(fault) for mark in ("DELTA_MISSING_DELTA_TABLE", "DELTA_TABLE_NOT_FOUND")):
                return None
            raise

    def read(self, name: str, version: int | None = None) -> DataFrame:
        """A table as a DataFrame, newest or at a version.

        Raises     RetentionError where that version is not there any more
        """
        local = self._local(name, version)
        files = local.few_files() if local is not None else None
        if local is not None and files is not None and all(map(os.path.exists, files)):
            if not files:
                return self.spark.createDataFrame([], local.schema)
            return self.spark.read.schema(local.schema).parquet(*files)
        return self.delta(name, version)

    def rows(
        self, name: str, columns: Sequence[str] | None = None, *, version: int | None = None, where: Any = None
    ) -> pa.Table:
        """Rows of a small table in memory, times in UTC; `where` is an expression of pyarrow.compute."""
        local = self._local(name, version)
        try:
            found = local.rows(columns, where) if local is not None else None
        except FileNotFoundError:  # Delta's own reader says what is gone
            found = None
        if found is not None:
            return found
        frame = self.read(name, version)
        table = (frame.select(*columns) if columns is not None else frame).toArrow()
        return table.filter(where) if where is not None else table

    def columns(self, name: str, version: int | None = None) -> list[str]:
        local = self._local(name, version)
        return local.schema.fieldNames() if local is not None else self.read(name, version).columns

    def delta(self, name: str, version: int | None = None) -> DataFrame:
        """A table as Delta's own DataFrame, which stays at its newest version where none is named.

        Raises     RetentionError where that version is not there any more
        """
        reader = self.spark.read.format("delta")
        if version is None:
            return reader.table(self.identifier(name)) if self.catalog else reader.load(self.path(name))
        reader = reader.option("versionAsOf", version)
        try:
            frame = reader.table(self.identifier(name)) if self.catalog else reader.load(self.path(name))
            frame.schema  # noqa: B018  resolves the version now, before any job runs
        except AnalysisException as fault:
            raise RetentionError(
                f"version {version} of table {name} cannot be read: {str(fault).splitlines()[0]}\n"
                f"Hint: `fs-spark history {name}` lists the versions that are kept"
            ) from fault
        return frame

    def has_change_feed(self, name: str) -> bool:
        """Whether commits of the table keep which rows they added and removed."""
        return (self._properties(name) or {}).get("delta.enableChangeDataFeed") == "true"

    def change_feed(self, name: str, since: int, until: int) -> DataFrame:
        """Rows that commits after version `since`, up to `until`, added and removed, with `_change_type`."""
        reader = self.spark.read.format("delta").option("readChangeFeed", "true")
        reader = reader.option("startingVersion", since + 1).option("endingVersion", until)
        if since >= until:
            frame = self.delta(name, until)
            told = {"_change_type": F.lit(None).cast("string"), "_commit_version": F.lit(None).cast("bigint")}
            return frame.where("false").withColumns(told)
        return reader.table(self.identifier(name)) if self.catalog else reader.load(self.path(name))

    def row_count(self, name: str, version: int | None = None) -> int | None:
        """How many rows the log says that a table has; None where it alone does not say."""
        local = self._local(name, version)
        return local.row_count() if local is not None else None

    def table_id(self, name: str) -> str | None:
        """Delta's identity of a table: one that was dropped and made again has another. None where it is not there."""
        local = self._local(name)
        if local is not None:
            return local.table_id
        detail = self._detail(name)
        return str(detail["id"]) if detail is not None else None

    def is_empty(self, name: str, version: int | None = None) -> bool:
        """Whether a table has no row."""
        local = self._local(name, version)
        counted = local.row_count() if local is not None else None
        return not counted if counted is not None else self.read(name, version).isEmpty()

    def unreadable(self, name: str, version: int) -> str | None:
        """Why a version cannot be read, None where it can: its log and, as far as Arrow sees them, its data files."""
        if self._properties(name) is None:
            return "the table is not there"
        local = self._local(name, version)
        try:
            files = local.few_files() if local is not None else None
            files = files if files is not None else self.delta(name, version).inputFiles()
        except RetentionError as fault:
            return str(fault).splitlines()[0].split(" cannot be read: ")[-1]
        missing = [path for path in files if not _is_there(path)]
        if missing:
            return f"{len(missing)} of its {len(files)} data files were removed, such as {missing[0].rsplit('/')[-1]}"
        return None

    def foreign(self, path: str) -> tuple[DataFrame, int]:
        """A Delta table outside the store as it stands, and its version."""
        version = int(self.spark.sql(f"DESCRIBE HISTORY delta.`{path}` LIMIT 1").collect()[0]["version"])
        return self.spark.read.format("delta").option("versionAsOf", version).load(path), version

    def history(self, name: str, limit: int | None = None) -> list[Commit]:
        """Commits, newest first."""
        local = self._local(name)
        told = local.history(limit) if local is not None else None
        if told is not None:
            return told
        bound = f" LIMIT {limit}" if limit else ""
        described = self.spark.sql(f"DESCRIBE HISTORY {self.identifier(name)}{bound}")
        # microseconds: a datetime would come in the zone of this process, without saying so
        rows = described.withColumn("micros", F.unix_micros("timestamp")).collect()
        return [Commit.of(row) for row in rows]

    def version(self, name: str) -> int:
        """The newest version number."""
        local = self._local(name)
        if local is not None:
            return local.version
        return self.history(name, limit=1)[0].version

    def watermark(self, name: str) -> dict[str, Any]:
        """What the write in force said it was made from; {} where nobody said."""
        return self.standing(name)[1]

    def standing(self, name: str) -> tuple[int, dict[str, Any]]:
        """The newest version, and what the write in force there said it was made from; {} where nobody said.

        A RESTORE to a version is followed to that version; one to a time names none, so nobody said.
        """
        commits = {commit.version: commit for commit in self.history(name)}
        newest = max(commits, default=-1)
        return newest, self._made_from(commits, newest)

    def made_from_at(self, name: str, version: int) -> dict[str, Any]:
        """What the write in force at a version said it was made from; {} where nobody said."""
        commits = {commit.version: commit for commit in self.history(name)}
        return self._made_from(commits, version)

    @staticmethod
    def _made_from(commits: dict[int, Commit], at: int | None) -> dict[str, Any]:
        while at is not None and at in commits:
            commit = commits[at]
            if commit.is_restore:
                at = commit.restored_from
            elif "fs_spark" in commit.metadata:
                return dict(commit.metadata["fs_spark"])
            else:
                at -= 1
        return {}

    def promise(self, name: str) -> Promise:
        """How long the table promises to keep its versions."""
        return Promise.of(self._properties(name))

    def retention(self, name: str) -> tuple[str, str]:
        """How long the table promises to keep removed files, and its log: Delta's interval texts."""
        promise = self.promise(name)
        return promise.files, promise.log
