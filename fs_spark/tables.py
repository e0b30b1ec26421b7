"""Delta tables: the only file that reads and writes them.

By DataFrame options and SQL alone, so that all of it runs through Spark Connect. Every table keeps its versions for
the configured horizon, numbers its commits by in-commit time, and takes no null keys.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from fs_spark.errors import RetentionError, SchemaError, TableConflictError
from fs_spark.schemas import TableLayout

_CONFLICTS: Final = (
    "DELTA_CONCURRENT",
    "ConcurrentAppendException",
    "ConcurrentDeleteReadException",
    "MetadataChanged",
)
_ATTEMPTS: Final = 6
_RETENTION: Final = ("delta.deletedFileRetentionDuration", "delta.logRetentionDuration")
_DELTA_DEFAULTS: Final = ("interval 7 days", "interval 30 days")
_KEEPS_FILES: Final = frozenset(
    {
        "CREATE TABLE",
        "CREATE TABLE AS SELECT",
        "SET TBLPROPERTIES",
        "UNSET TBLPROPERTIES",
        "ADD COLUMNS",
        "CHANGE COLUMN",
        "ADD CONSTRAINT",
        "DROP CONSTRAINT",
        "CLUSTER BY",
        "UPGRADE PROTOCOL",
        "ADD FEATURE",
        "VACUUM START",
        "VACUUM END",
    }
)
"""Operations that take no file out of a table; one that is not named here may."""
_NAME: Final = re.compile(r"[A-Za-z0-9_]+")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _is_conflict(fault: Exception) -> bool:
    """By its text: Delta's conflicts reach Python as a PySparkException, a Py4JJavaError or Connect's own."""
    return any(mark in str(fault) for mark in _CONFLICTS)


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


@dataclass(frozen=True)
class Commit:
    """One line of a table's history."""

    version: int
    operation: str
    metadata: dict[str, Any]
    restored_from: int | None
    timestamp: datetime | None = None
    parameters: dict[str, str | None] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)

    @property
    def is_restore(self) -> bool:
        return self.operation == "RESTORE"

    @property
    def may_remove(self) -> bool:
        """Whether it may have taken files, or a file's earlier deletion vector, out of the table."""
        if self.operation in ("WRITE", "STREAMING UPDATE"):
            return self.parameters.get("mode", self.parameters.get("outputMode")) != "Append"
        return self.operation not in _KEEPS_FILES


class Tables:
    """The tables under one folder or in one schema of a catalog.

    `horizon` is Delta's interval text; a table that promises to keep its versions for less is refused.
    """

    def __init__(self, spark: SparkSession, *, root: str | None, catalog: str | None, horizon: str) -> None:
        self.spark, self.root, self.catalog, self.horizon = spark, root, catalog, horizon
        self._known: set[str] = set()

    def identifier(self, name: str) -> str:
        """How SQL names the table."""
        if not _NAME.fullmatch(name):
            raise SchemaError(f"{name!r} is no table name. Hint: letters, digits and underscores only")
        return f"{self.catalog}.{name}" if self.catalog else f"delta.`{self.path(name)}`"

    def path(self, name: str) -> str:
        return f"{str(self.root).rstrip('/')}/{name}"

    def _detail(self, name: str) -> Row | None:
        try:
            return self.spark.sql(f"DESCRIBE DETAIL {self.identifier(name)}").collect()[0]
        except AnalysisException as fault:
            if any(mark in str(fault) for mark in ("PATH_NOT_FOUND", "PATH_DOES_NOT_EXIST", "TABLE_OR_VIEW_NOT_FOUND")):
                return None
            if any(mark in str(fault) for mark in ("DELTA_MISSING_DELTA_TABLE", "DELTA_TABLE_NOT_FOUND")):
                return None
            raise

    def exists(self, name: str) -> bool:
        """Whether the table is there; on the first look its retention is checked.

        Raises     RetentionError where it keeps its versions for less than the horizon
        """
        if name in self._known:
            return True
        detail = self._detail(name)
        if detail is None or detail["format"] != "delta":
            return False
        kept = detail["properties"] or {}
        wanted = int(self.horizon.split()[1])
        for key in _RETENTION:
            found = re.fullmatch(r"interval (\d+) days?", kept.get(key, "interval 7 days"))
            if not found or int(found[1]) < wanted:
                promised = ", ".join(f"'{one}' = '{self.horizon}'" for one in _RETENTION)
                raise RetentionError(
                    f"table {name} keeps its versions too briefly: {key} is {kept.get(key, 'not set')}, "
                    f"the configured horizon is {self.horizon}.\n"
                    f"Hint: ALTER TABLE {self.identifier(name)} SET TBLPROPERTIES ({promised}); "
                    "or lower `horizon` in store.yaml"
                )
        self._known.add(name)
        return True

    def create(self, name: str, layout: TableLayout, *, anew: bool = False) -> None:
        """Makes the table unless it is there; a table of another schema at its place is refused.

        `anew` replaces what an unfinished build left behind.

        Raises     SchemaError where columns differ, RetentionError where versions are kept too briefly
        """
        there = self.exists(name)
        if there and not anew:
            self._check_schema(name, layout.schema)
            return
        columns = ", ".join(
            f"`{f.name}` {f.dataType.simpleString()}{'' if f.nullable else ' NOT NULL'}" for f in layout.schema.fields
        )
        properties = {
            **dict.fromkeys(_RETENTION, self.horizon),
            "delta.enableInCommitTimestamps": "true",
            "delta.enableDeletionVectors": str(layout.replaced_in_place).lower(),
        }
        listed = ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())
        clustered = f"CLUSTER BY ({', '.join(layout.cluster_by)})" if layout.cluster_by else ""
        # Delta takes CREATE OR REPLACE of a path for a CREATE, and refuses another schema.
        verb = "REPLACE TABLE" if there else "CREATE TABLE IF NOT EXISTS"
        self.spark.sql(
            f"{verb} {self.identifier(name)} ({columns}) USING delta {clustered} TBLPROPERTIES ({listed})"
        ).collect()
        self._known.add(name)

    def _check_schema(self, name: str, wanted: StructType) -> None:
        found = {f.name: f.dataType.simpleString() for f in self.read(name).schema.fields}
        faults = [
            f"{f.name}: "
            + (f"found {found[f.name]}" if f.name in found else "absent")
            + f", needs {f.dataType.simpleString()}"
            for f in wanted.fields
            if found.get(f.name) != f.dataType.simpleString()
        ]
        faults += [f"{extra}: not expected" for extra in found if extra not in wanted.fieldNames()]
        if faults:
            raise SchemaError(
                f"the table at {self.identifier(name)} has another schema:\n"
                + "\n".join(f"- {fault}" for fault in faults)
                + "\nHint: point store.yaml at another root or catalog, or move that table away"
            )

    def read(self, name: str, version: int | None = None) -> DataFrame:
        """A table as a DataFrame, newest or at a version.

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

    def unreadable(self, name: str, version: int) -> str | None:
        """Why a version cannot be read, None where it can: its log and, as far as Arrow sees them, its data files."""
        if self._detail(name) is None:
            return "the table is not there"
        try:
            files = self.read(name, version).inputFiles()
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
        bound = f" LIMIT {limit}" if limit else ""
        described = self.spark.sql(f"DESCRIBE HISTORY {self.identifier(name)}{bound}")
        # microseconds: a datetime would come in the zone of this process, without saying so
        rows = described.withColumn("micros", F.unix_micros("timestamp")).collect()
        commits = []
        for row in rows:
            parameters = row["operationParameters"] or {}
            restored = parameters.get("version") if row["operation"] == "RESTORE" else None
            try:
                metadata = json.loads(row["userMetadata"] or "{}")
            except json.JSONDecodeError:
                metadata = {}
            commits.append(
                Commit(
                    version=int(row["version"]),
                    operation=row["operation"],
                    metadata=metadata if isinstance(metadata, dict) else {},
                    restored_from=int(restored) if restored and str(restored).isdigit() else None,
                    timestamp=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row["micros"]),
                    parameters=dict(parameters),
                    metrics=dict(row["operationMetrics"] or {}),
                )
            )
        return commits

    def version(self, name: str) -> int:
        """The newest version number."""
        return self.history(name, limit=1)[0].version

    def watermark(self, name: str) -> dict[str, Any]:
        """What the write in force said it was made from; {} where nobody said.

        A RESTORE to a version is followed to that version; one to a time names none, so nobody said.
        """
        commits = {commit.version: commit for commit in self.history(name)}
        at: int | None = max(commits, default=-1)
        while at is not None and at in commits:
            commit = commits[at]
            if commit.is_restore:
                at = commit.restored_from
            elif "fs_spark" in commit.metadata:
                return dict(commit.metadata["fs_spark"])
            else:
                at -= 1
        return {}

    def retention(self, name: str) -> tuple[str, str]:
        """How long the table promises to keep removed files, and its log: Delta's interval texts."""
        detail = self._detail(name)
        kept = (detail["properties"] if detail is not None else None) or {}
        files, log = (kept.get(key, default) for key, default in zip(_RETENTION, _DELTA_DEFAULTS, strict=True))
        return files, log

    def set_retention(self, name: str, files: str, log: str) -> None:
        """Both at once: of a single one Delta checks it against the other's default, not against the other's value."""
        values = ", ".join(f"'{key}' = '{value}'" for key, value in zip(_RETENTION, (files, log), strict=True))
        self._known.discard(name)  # the next look checks anew what the table promises
        statement = f"ALTER TABLE {self.identifier(name)} SET TBLPROPERTIES ({values})"
        self._retried(name, lambda: self.spark.sql(statement).collect())

    def vacuum(self, name: str, *, days: int, shorten: bool) -> int | None:
        """Removes files which no version of the last `days` uses; how many, None where Delta does not log it.

        Delta takes no fewer days than the table promises. With `shorten` the promise is lowered and put back
        afterwards; meanwhile Delta refuses older versions. Where this process dies in between, the table is left with
        the low promise, and `exists` refuses it with the statement that mends it.
        """
        promised = self.retention(name)
        if shorten:
            self.set_retention(name, f"interval {days} days", promised[1])
        try:
            self.spark.sql(f"VACUUM {self.identifier(name)} RETAIN {24 * days} HOURS").collect()
            logged = [c.metrics for c in self.history(name, limit=3) if c.operation == "VACUUM END"]
        finally:
            if shorten:
                self.set_retention(name, *promised)
        return int(logged[0]["numDeletedFiles"]) if logged and "numDeletedFiles" in logged[0] else None

    def vacuum_dry_run(self, name: str, *, days: int) -> int:
        """How many files a VACUUM would remove; `days` not below what the table promises."""
        return self.spark.sql(f"VACUUM {self.identifier(name)} RETAIN {24 * days} HOURS DRY RUN").count()

    def _ordered(self, name: str, frame: DataFrame) -> DataFrame:
        return frame.select(*self.read(name).columns)

    def _write(self, name: str, frame: DataFrame, mode: str, options: dict[str, str]) -> None:
        def once() -> None:
            writer = self._ordered(name, frame).write.format("delta").mode(mode).options(**options)
            if self.catalog:
                writer.saveAsTable(self.identifier(name))
            else:
                writer.save(self.path(name))

        self._retried(name, once)

    def _retried(self, name: str, action: Any) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                action()
                return
            except Exception as fault:
                if not _is_conflict(fault):
                    raise
                if attempt == _ATTEMPTS - 1:
                    raise TableConflictError(
                        f"table {name} was written by others {_ATTEMPTS} times in a row while this write was tried.\n"
                        "Hint: run the job again when the other writer is done"
                    ) from fault
                time.sleep(0.2 * 2**attempt)

    @staticmethod
    def _options(made_from: dict[str, Any] | None) -> dict[str, str]:
        return {"userMetadata": json.dumps({"fs_spark": made_from}, sort_keys=True)} if made_from is not None else {}

    def append(
        self, name: str, frame: DataFrame, *, once_as: str | None = None, made_from: dict[str, Any] | None = None
    ) -> None:
        """Adds rows. With `once_as`, a name for these very rows, Delta drops a second write of the same name."""
        options = self._options(made_from)
        if once_as is not None:
            options |= {"txnAppId": f"{name}:{once_as}", "txnVersion": "1"}
        self._write(name, frame, "append", options)

    def replace(
        self, name: str, frame: DataFrame, keys: Sequence[str], *, made_from: dict[str, Any] | None = None
    ) -> None:
        """Replaces all rows that share `keys` with a row of `frame`, in one commit.

        Needs a table with deletion vectors: without them Delta 4.4 fails where the rows are not broadcast.
        """
        self._write(name, frame, "overwrite", {"replaceUsing": ", ".join(keys), **self._options(made_from)})

    def replace_where(
        self, name: str, frame: DataFrame, key: str, values: Iterable[str], *, made_from: dict[str, Any] | None = None
    ) -> None:
        """Replaces the rows whose `key` is one of `values` by `frame`, which has no others, in one commit.

        Files that hold such rows are written anew, so that the table needs no deletion vectors.
        """
        chosen = f"`{key}` IN ({', '.join(map(_quoted, values))})"
        self._write(name, frame, "overwrite", {"replaceWhere": chosen, **self._options(made_from)})

    def overwrite(self, name: str, frame: DataFrame, *, made_from: dict[str, Any] | None = None) -> None:
        self._write(name, frame, "overwrite", self._options(made_from))

    def delete_units(
        self, name: str, units: Iterable[dict[str, str]], *, made_from: dict[str, Any] | None = None
    ) -> None:
        """Removes units by their literal keys, in one commit."""
        listed = [" AND ".join(f"`{k}` = {_quoted(v)}" for k, v in unit.items()) for unit in units]
        if listed:
            chosen = " OR ".join(f"({one})" for one in listed)
            self._write(
                name, self.read(name).limit(0), "overwrite", {"replaceWhere": chosen, **self._options(made_from)}
            )
