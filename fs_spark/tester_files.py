"""What a store does with tester files, beside what it does with any table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fs_spark import names as n
from fs_spark.config import Configuration
from fs_spark.errors import RequestError, did_you_mean
from fs_spark.events import describe, of_ingest, traced
from fs_spark.on_workers import on_workers

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fs_spark.features.spine import SpineRequest
    from fs_spark.ingest import IngestReport
    from fs_spark.registry_state import RegistryState
    from fs_spark.tables import Tables
    from fs_spark.training import Chosen

log = logging.getLogger(__name__)


class TesterFiles:
    """The verbs of a store that know tests of dies on wafers."""

    config: Configuration

    if TYPE_CHECKING:

        @property
        def _tables(self) -> Tables: ...

        def _warm(self, jobs: Callable[[], Iterable[str]]) -> None: ...

        def _state(self) -> RegistryState: ...

        def table(self, name: str, *, version: int | None = None) -> DataFrame: ...

    @on_workers
    def ingest(self, sources: Sequence[str | Path] = (), *, again: bool = False, dry_run: bool = False) -> IngestReport:
        """Reads tester files (paths, globs, folders) into `files`, `wafer_runs`, `die_tests`, `tests`, `test_results`.

        A file whose decompressed bytes are known changes nothing; one that cannot be read is recorded with its reason
        and the rest go on; of a cut file the complete parts are kept. With `again`, known files are read anew when
        they were set aside or when the configuration of their tester or identity is another now (without sources:
        all delivered ones). With `dry_run` nothing is written.

        Raises     RequestError where a source names nothing, before any table changes
        """
        from fs_spark.ingest import ingest

        self.config.require("testers", "products", "inputs")
        self._warm(lambda: ["stdf"])
        with traced("ingest", lambda: self._tables) as trace:
            report = ingest(self._tables, self.config, sources, again=again, dry_run=dry_run)
            describe(trace, of_ingest, report, self._tables)
        return report

    def _kernel_jobs(self) -> list[str]:
        from fs_spark.features.compute import plan_of
        from fs_spark.features.view import FeatureView
        from fs_spark.warm import WINDOWS, kernel_jobs

        spatial = [view for view in self.config.views if isinstance(view, FeatureView)]
        plans = (plan_of(v.features, v.parameters, v.bins, v.settings) for v in spatial)
        states = any("last_event_timestamp" in view.times for view in self.config.views)
        return [*kernel_jobs(kernel for plan in plans for kernel in plan.kernels), *([WINDOWS] if states else [])]

    def _spine_of_tests(self, request: SpineRequest, columns: Sequence[str] | Mapping[str, str]) -> DataFrame:
        from fs_spark.transforms.spines import spine_of

        known = {row[0] for row in self.table(n.WAFER_RUNS).select(n.INSERTION).distinct().collect()}
        for insertion in (request.insertion, request.earlier_insertion):
            if insertion is not None and insertion not in known:
                raise RequestError(
                    f"nothing was ingested of insertion {insertion!r}.\n{did_you_mean(insertion, known)}"
                )
        return spine_of(self.table(n.DIE_TESTS), request, columns=columns)

    def _asked(self, request: SpineRequest, named: Mapping[str, Chosen]) -> DataFrame:
        """The spine of a question with the columns that views are keyed by or computed with; `named` are services.

        Raises     RequestError for a service whose features would all be null
        """
        from fs_spark.features.shipped import ATTEMPTS
        from fs_spark.unanswerable import unanswerable

        chosen = [one for part in named.values() for one in part.views]
        keys = dict.fromkeys(key for one in chosen for key in one.keys)
        keys |= dict.fromkeys(c for part in named.values() for one in part.on_demand for c in one.brought.values())
        own = n.LOT_KEYS if request.of_lots else n.DIE_KEYS
        columns = [key for key in keys if key not in own and key in ATTEMPTS.known_before]
        spine = self._spine_of_tests(request, columns)
        ingested = {row[0] for row in self.table(n.WAFER_RUNS).select(n.INSERTION).distinct().collect()}
        reasons = unanswerable(self._tables, self._state(), [one.view for one in chosen], request, ingested)
        for name, part in named.items():
            told = {one.label: reasons.get(one.view.qualified) for one in part.views}
            if told and all(told.values()) and not part.on_demand:
                lines = "\n".join(f"- {view}: {reason}" for view, reason in told.items())
                raise RequestError(
                    f"{name} can tell nothing about this question:\n{lines}\n"
                    "Hint: ask about another insertion, or for views of an earlier one"
                )
        for view, reason in reasons.items():
            log.warning("no feature of %s can be known: %s", view, reason)
        return spine

    def _counted(self, table: str, rows: DataFrame) -> DataFrame:
        """Of an ingested table the rows of kept files; those of dies with the numbers of their attempts."""
        from fs_spark.snapshot import kept_files
        from fs_spark.transforms.attempts import with_attempts
        from fs_spark.transforms.kept import only_kept

        if table in (n.WAFER_RUNS, n.DIE_TESTS, n.TESTS, n.TEST_RESULTS):
            rows = only_kept(rows, kept=kept_files(self._tables))
        return with_attempts(rows) if table == n.DIE_TESTS else rows
