"""A Delta table as the driver can read it by itself: its log, its properties, and the rows of a small one.

Spark reads a table's log by jobs of its own: six for the first look at a version, a second and more where nothing else
is to do. Where the table lies in a folder of this machine delta-rs reads the log in milliseconds. Everything here has
the answer None where that cannot be done (object stores, catalogs, a feature that is not known here), and Spark is
asked then. Nothing is ever written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from pyspark.sql.types import StructType

from fs_spark.commits import Commit

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyspark.sql import SparkSession

FEW_FILES: Final = 32
"""So many files Spark lists on the driver; a table with more is left to Delta, which leaves out files by their
statistics."""
_KNOWN_FEATURES: Final = frozenset({"deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
_PLAIN: Final = re.compile(r"[\w/.,+=@~ -]+")
"""Names of folders that delta-rs, Spark and the system take for the same: no `%`, no letters of patterns."""


def local_folder(spark: SparkSession, root: str | None) -> str | None:
    """The store's folder on this machine; None where the session's files may be others than ours."""
    if root is None or type(spark).__module__.startswith("pyspark.sql.connect"):
        return None
    folder = root.removeprefix("file://").removeprefix("file:")
    return folder if _PLAIN.fullmatch(folder) else None


@dataclass(frozen=True)
class LocalTable:
    """A Delta table of this machine at one of its versions."""

    _path: str
    _table: DeltaTable

    @classmethod
    def open(cls, path: str, version: int | None = None) -> LocalTable | None:
        """None where there is no Delta table, or not that version, or one that delta-rs does not know."""
        if not (Path(path) / "_delta_log").is_dir():
            return None
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        try:
            return cls(path, DeltaTable(path, version=version))
        except (DeltaError, OSError):
            return None

    @property
    def version(self) -> int:
        return int(self._table.version())

    @property
    def table_id(self) -> str:
        return str(self._table.metadata().id)

    @property
    def properties(self) -> dict[str, str]:
        return {key: value for key, value in self._table.metadata().configuration.items() if value is not None}

    @property
    def schema(self) -> StructType:
        return StructType.fromJson(json.loads(self._table.schema().to_json()))

    def history(self, limit: int | None) -> list[Commit] | None:
        """Commits, newest first."""
        try:
            told = self._table.history(limit)
        except Exception:  # a log that others have cut
            return None
        return [Commit.logged(one) for one in told] if told and all("version" in one for one in told) else None

    def files(self) -> list[str] | None:
        """Its data files, where their rows are the table's rows just as they stand in them."""
        protocol = self._table.protocol()
        if set(protocol.reader_features or ()) - _KNOWN_FEATURES or self._table.metadata().partition_columns:
            return None
        if protocol.min_reader_version == 2:  # names of columns are mapped
            return None
        if "deletionVectors" in (protocol.reader_features or ()) and self._table.deletion_vectors().read_all().num_rows:
            return None
        # not `file_uris`, which writes odd letters of the folder as in a URI
        named = [unquote(path) for path in self._actions().column("path").to_pylist()]
        if any("://" in name or name.startswith("/") for name in named):  # a shallow clone's
            return None
        return [f"{self._path}/{name}" for name in named]

    def _actions(self) -> pa.Table:
        import pyarrow as pa

        return pa.table(self._table.get_add_actions())

    def row_count(self) -> int | None:
        """Rows, as the log counts them in each file."""
        if self.files() is None:
            return None
        counts = self._actions().column("num_records")
        return sum(counts.to_pylist()) if counts.null_count == 0 else None

    def few_files(self) -> list[str] | None:
        """Its files for Spark's own reader of parquet, where they are few."""
        files = self.files()
        if files is None or len(files) > FEW_FILES:
            return None
        return files

    def rows(self, columns: Sequence[str] | None, where: Any = None) -> pa.Table | None:
        """Rows in memory; `where` is an expression of pyarrow.compute, times are in UTC."""
        files = self.files()
        if files is None:
            return None
        import pyarrow as pa
        import pyarrow.dataset as ds

        schema = pa.schema(self._table.schema().to_arrow())
        if not files:
            empty = schema.empty_table()
            return empty.select(list(columns)) if columns is not None else empty
        reading = ds.ParquetReadOptions(coerce_int96_timestamp_unit="us")
        found = ds.dataset(files, schema=schema, format=ds.ParquetFileFormat(read_options=reading))
        return found.to_table(columns=list(columns) if columns is not None else None, filter=where)
