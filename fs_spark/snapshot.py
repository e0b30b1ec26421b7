"""The ingested tables at versions of one moment."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame

from fs_spark import names as n
from fs_spark.conflicts import SWAPS, pause
from fs_spark.errors import RequestError, TableConflictError
from fs_spark.schemas import LAYOUTS
from fs_spark.tables import Tables
from fs_spark.transforms.kept import kept_runs, only_kept

SOURCES = (n.FILES, n.WAFER_RUNS, n.DIE_TESTS, n.TEST_RESULTS, n.TESTS)


@dataclass(frozen=True)
class Snapshot:
    """The ingested tables at fixed versions."""

    tables: Tables
    versions: dict[str, int]

    @classmethod
    def newest(cls, tables: Tables) -> Snapshot:
        """Raises RequestError where nothing was ingested yet."""
        if not tables.exists(n.FILES):
            raise RequestError("nothing was ingested yet. Hint: run `fs-spark ingest` first")
        for name in SOURCES:  # an ingest that died in its first minute may have left some of them out
            tables.create(name, LAYOUTS[name])
        for attempt in range(SWAPS):
            files = tables.version(n.FILES)
            versions = {name: files if name == n.FILES else tables.version(name) for name in SOURCES}
            # rows that a version of `files` names are removed only after a later one
            if tables.version(n.FILES) == files:
                return cls(tables, versions)
            pause(attempt)
        raise TableConflictError(
            f"table {n.FILES} changed {SWAPS} times in a row while it was read. Hint: run the job again"
        )

    def kept_runs(self) -> DataFrame:
        """The kept rows of `wafer_runs`, with what `only_runs` needs."""
        return kept_runs(self.tables.read(n.WAFER_RUNS, self.versions[n.WAFER_RUNS]), files=self.read(n.FILES))

    def read(self, name: str) -> DataFrame:
        """A table's kept rows."""
        rows = self.tables.read(name, self.versions[name])
        return rows if name == n.FILES else only_kept(rows, files=self.read(n.FILES))
