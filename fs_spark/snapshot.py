"""The ingested tables at versions of one moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fs_spark import names as n
from fs_spark.conflicts import SWAPS, pause
from fs_spark.errors import RequestError, TableConflictError
from fs_spark.schemas import LAYOUTS
from fs_spark.tables import Tables
from fs_spark.transforms.kept import KeptFiles, only_kept

_FEW: Final = 200
"""So many files are named in a filter; beyond it they are joined."""
SOURCES = (n.FILES, n.WAFER_RUNS, n.DIE_TESTS, n.TEST_RESULTS, n.TESTS)


@dataclass(frozen=True)
class Snapshot:
    """The ingested tables at fixed versions."""

    tables: Tables
    versions: dict[str, int]

    @classmethod
    def newest(cls, tables: Tables, *, create: bool = True) -> Snapshot:
        """The tables as they are now; who only reads (`create=False`) makes none that is missing.

        Raises     RequestError where nothing was ingested yet
        """
        if not tables.exists(n.FILES):
            raise RequestError("nothing was ingested yet. Hint: run `fs-spark ingest` first")
        for name in SOURCES if create else ():  # an ingest that died in its first minute may have left some of them out
            tables.create(name, LAYOUTS[name])
        there = [name for name in SOURCES if create or tables.exists(name)]
        for attempt in range(SWAPS):
            files = tables.version(n.FILES)
            versions = {name: files if name == n.FILES else tables.version(name) for name in there}
            # rows that a version of `files` names are removed only after a later one
            if tables.version(n.FILES) == files:
                return cls(tables, versions)
            pause(attempt)
        raise TableConflictError(
            f"table {n.FILES} changed {SWAPS} times in a row while it was read. Hint: run the job again"
        )

    @cached_property
    def kept(self) -> KeptFiles:
        """The files whose rows count."""
        return kept_files(self.tables, self.versions[n.FILES])

    @property
    def files(self) -> DataFrame:
        """What of `files` the other tables are read by; held by the driver, which has read it already."""
        return self.kept.files

    @cached_property
    def told_units(self) -> frozenset[tuple[int, str, str]]:
        """Number, name and unit of each test, as any kept file tells it; blanks and nulls left out."""
        told = self.read(n.TESTS).select(n.TEST_NUM, n.TEST_NAME, F.trim("unit").alias("unit")).where("unit <> ''")
        return frozenset((row[0], row[1], row[2]) for row in told.distinct().collect())

    @cached_property
    def _changed(self) -> dict[tuple[int, int | None], list[str]]:
        return {}

    def changed_lots(self, files: int, runs: int | None) -> list[str]:
        """Lots of the files that came, went or were read anew since these versions of `files` and `wafer_runs`."""
        if (files, runs) not in self._changed:
            self._changed[files, runs] = self._changed_since(files, runs)
        return self._changed[files, runs]

    def _changed_since(self, files: int, earlier: int | None) -> list[str]:
        then, now = (_made_with(self.tables, version) for version in (files, self.versions[n.FILES]))
        moved = sorted({file_id for file_id, _, _ in then ^ now})
        if not moved:
            return []
        runs = self.tables.read(n.WAFER_RUNS, self.versions[n.WAFER_RUNS])
        if earlier not in (None, self.versions[n.WAFER_RUNS]):  # a file read again may tell of another lot now
            runs = runs.unionByName(self.tables.read(n.WAFER_RUNS, earlier))
        named = self.tables.spark.createDataFrame(pa.table({n.FILE_ID: pa.array(moved, pa.string())}))
        lots = runs.join(F.broadcast(named), n.FILE_ID, "left_semi").select(n.LOT_ID).distinct()
        return [row[n.LOT_ID] for row in lots.collect() if row[n.LOT_ID] is not None]

    def kept_runs(self) -> DataFrame:
        """The kept rows of `wafer_runs`, with what `only_runs` needs."""
        return self.kept.of(self.tables.read(n.WAFER_RUNS, self.versions[n.WAFER_RUNS]))

    def read(self, name: str) -> DataFrame:
        """A table's kept rows."""
        rows = self.tables.read(name, self.versions[name])
        return rows if name == n.FILES else only_kept(rows, kept=self.kept)


def _made_with(tables: Tables, version: int) -> set[tuple[str, str | None, str]]:
    """Files whose rows count at a version of `files`, each with what its rows were made with and their batch."""
    there = [name for name in (n.FILE_ID, "status", "settings", n.BATCH_ID) if name in tables.columns(n.FILES, version)]
    rows = tables.rows(n.FILES, there, version=version).to_pylist()
    return {(r[n.FILE_ID], r["settings"], r.get(n.BATCH_ID) or "") for r in rows if r["status"] in n.KEPT}


def kept_files(tables: Tables, version: int | None = None) -> KeptFiles:
    """The files whose rows count at a version of `files`, as a frame that Spark need not read."""
    there = tables.columns(n.FILES, version)
    wanted = [name for name in (n.FILE_ID, "path", "status", "settings", n.BATCH_ID) if name in there]
    table = tables.rows(n.FILES, wanted, version=version)
    few = None
    if table.num_rows <= _FEW:
        kept = [row for row in table.to_pylist() if row["status"] in n.KEPT]
        few = frozenset((row[n.FILE_ID], row.get(n.BATCH_ID) or "") for row in kept)
    return KeptFiles(tables.spark.createDataFrame(table), few)
