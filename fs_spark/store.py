"""FeatureStore: the one door; thin, each verb is a module of its own."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs_spark import names as n
from fs_spark.config import Configuration, load_configuration
from fs_spark.errors import FeatureNotFoundError, RequestError, without_secrets
from fs_spark.events import describe, of_export, of_materialize, of_training_set, traced
from fs_spark.features.service import AskedFeatures, Features, named_service, names_service
from fs_spark.on_workers import on_workers
from fs_spark.tester_files import TesterFiles

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame, SparkSession

    from fs_spark.commits import Commit
    from fs_spark.features.definition import View
    from fs_spark.features.labels import LabelRequest
    from fs_spark.features.service import Roles
    from fs_spark.features.spine import SpineRequest
    from fs_spark.features.view import FeatureView
    from fs_spark.fits import FitReport
    from fs_spark.ingest.health import RepairReport
    from fs_spark.lifecycle import Plan, RegisteredViews
    from fs_spark.online import OnlineReader
    from fs_spark.online.export import ExportReport
    from fs_spark.online.verify import OnlineDifferences
    from fs_spark.outcomes import MaterializeReport
    from fs_spark.registry_state import Change, RegistryState
    from fs_spark.retention import VacuumReport
    from fs_spark.tables import Tables
    from fs_spark.training import PinnedTable, Prefix, TrainingRules, TrainingSet, TrainingSets


class FeatureStore(TesterFiles):
    """A feature store over one configuration folder. Opening it reads files alone; Spark is used by the verbs."""

    def __init__(self, config: Configuration, spark: SparkSession | None = None) -> None:
        self.config = config
        if config.store.spark.cache_folder is not None:
            os.environ.setdefault(n.CACHE_FOLDER, str(config.store.spark.cache_folder))
        self._spark = spark
        self._opened: Tables | None = None
        self._since = datetime.now(UTC)

    @classmethod
    def open(
        cls,
        conf: str | Path,
        spark: SparkSession | None = None,
        *,
        views: Sequence[FeatureView | Mapping[str, Any]] = (),
    ) -> FeatureStore:
        """Opens the store that `conf` (a store.yaml) describes.

        `views` are views beside those of the folder: each what its text would hold, as a mapping, or a FeatureView.

        Faults of the folder's other files are raised by the verbs that need these, and by `plan` all together.

        Raises     ConfigError with every fault of `conf`
        """
        return cls(load_configuration(conf, strict=False, views=views), spark)

    def __repr__(self) -> str:
        store = self.config.store
        place = self.config.root if store.catalog is None else store.catalog
        counts = f"views={len(self.config.views)}, services={len(self.config.services)}"
        return f"FeatureStore({without_secrets(str(place))!r}, {counts})"

    @property
    def _tables(self) -> Tables:
        if self._opened is None:
            from fs_spark.session import build_session, ensure_delta
            from fs_spark.tables import Tables

            spark = self._spark or build_session(self.config.store)
            ensure_delta(spark)
            store = self.config.store
            self._opened = Tables(spark, root=self.config.root, catalog=store.catalog, horizon=store.horizon)
        return self._opened

    def _warm(self, jobs: Callable[[], Iterable[str]]) -> None:
        """Compiles beside the start of a local session what its tasks will need; a cluster's nodes do it themselves."""
        spark = self._spark or (self._opened.spark if self._opened is not None else None)
        master = self.config.store.spark.master if spark is None else spark.conf.get("spark.master", "")
        if (master or "local").startswith("local") and "DATABRICKS_RUNTIME_VERSION" not in os.environ:
            from fs_spark.warm import start_warming

            start_warming(jobs())

    def _state(self) -> RegistryState:
        from fs_spark.registry import Registry

        return Registry(self._tables).state()

    def plan(self) -> Plan:
        """What `apply` would register, what it means and what computing it costs; nothing is written.

        Raises     ConfigError for every fault of the configuration and of the code that views call, a definition that
                   changed under its version, or a service that names a retired version
        """
        self.config.require()
        from fs_spark.functions import check_functions
        from fs_spark.lifecycle import make_plan

        state = self._state()
        views = self.config.resolved(state.registered)
        check_functions(views)
        return make_plan(
            self._tables, state, views, self.config.services, sources=self.config.source_texts(),
            configuration=self.config.ingest_text(),
        )  # fmt: skip

    def apply(self, *, reason: str | None = None) -> list[Change]:
        """Registers and promotes new view versions, and binds the products that have rows to them.

        The registry keeps who did it, when, and the `reason`.

        Raises     ConfigError for every fault of the configuration; TableConflictError where another job registered
                   another definition of a version meanwhile. Nothing is registered then
        """
        self.config.require()
        from fs_spark.binding import new_bindings
        from fs_spark.functions import check_functions
        from fs_spark.lifecycle.plans import check_retired
        from fs_spark.registry import Registry
        from fs_spark.registry_state import Entry
        from fs_spark.snapshot import Snapshot

        def bindings(planned: RegistryState) -> list[Entry]:
            if not self._tables.exists(n.FILES):
                return []
            return new_bindings(planned, self.config, Snapshot.newest(self._tables))

        registry = Registry(self._tables, since=self._since)
        state = registry.state()
        views = self.config.resolved(state.registered)
        check_functions(views)
        check_retired(state, views, self.config.services)
        _, changes = registry.register(
            state, views, configuration=self.config.ingest_text(), bindings=bindings,
            check=lambda now: check_retired(now, views, self.config.services), sources=self.config.source_texts(),
            reason=reason,
        )  # fmt: skip
        return changes

    @on_workers
    def materialize(self, views: Sequence[str] | None = None, *, full: bool = False) -> MaterializeReport:
        """Brings view tables up to what they are made from: the units that changed, or with `full` every one.

        Units (as each kind of view has them) that come out the same are not written, so a rerun adds no version.

        Raises     FeatureNotFoundError for an unknown view, RequestError where nothing was ingested or applied;
                   ConfigError where a file measures a parameter as another quantity than configured
        """
        from fs_spark.materialize import materialize
        from fs_spark.registry import Registry

        self.config.require("products", "units", "sources", "entities")
        self._warm(self._kernel_jobs)
        with traced("materialize", lambda: self._tables) as trace:
            report = materialize(self._tables, Registry(self._tables), self.config, views, full=full)
            describe(trace, of_materialize, report, self._tables)
        return report

    @on_workers
    def fit(self, view: str) -> FitReport:
        """Fits a registered view of kind `fitted` once, from the rows that its text names, as its input has them now.

        The values are kept in the registry with the versions that they came from; its rows are made by `materialize`.

        Raises     FeatureNotFoundError; RequestError for a view that is fitted already, or of which there are no rows;
                   TableConflictError where another job fitted it meanwhile to other values. Nothing is written then
        """
        from fs_spark.fits import fit_view
        from fs_spark.registry import Registry

        return fit_view(self._tables, Registry(self._tables), view)

    @on_workers
    def spine(
        self, request: SpineRequest | LabelRequest, *, columns: Sequence[str] | Mapping[str, str] = ()
    ) -> DataFrame:
        """The rows of a question: keys, time T, label, and a weight and side where asked.

        A `SpineRequest` asks the store's own tests; `columns` are of what is known of an attempt before it: names, or
        name -> row expression of these, of `event_timestamp` (T) and of the keys. A `LabelRequest` asks sources, which
        are brought in first, as by `materialize`; it holds its columns itself.

        Grain      as the request's question says; of a LabelRequest one row per event, or per key and time of the
                   grid, whose label is known
        Raises     RequestError for a test step, source or column that nothing is known of; LeakageError for a column
                   that is not known before T
        """
        from fs_spark.features.labels import LabelRequest

        if isinstance(request, LabelRequest):
            from fs_spark.label_spines import label_spine
            from fs_spark.registry import Registry

            if columns:
                raise RequestError(
                    "a LabelRequest holds its columns itself.\nHint: write LabelRequest(..., columns={...})"
                )
            self.config.require("sources")
            return label_spine(self._tables, Registry(self._tables), self.config, request)
        return self._spine_of_tests(request, columns)

    @on_workers
    def training_set(
        self,
        spine: DataFrame | pd.DataFrame | PinnedTable | SpineRequest | LabelRequest,
        features: Features,
        *,
        name: str,
        timestamp: str = n.EVENT_TIMESTAMP,
        prefix: Prefix = "none",
        rules: TrainingRules | None = None,
        roles: Roles | None = None,
    ) -> TrainingSet:
        """Joins features to a spine point in time and saves the rows under a name, with their manifest.

        `features` are references (`view:feature`, `view__v1.0:feature`) or names of services, as a list or as one
        text with blanks or commas between them; a mapping says more of one: `{"feature": "view:feature", "as": "name",
        "nulls": "skip"}`. `roles` say which columns hold the keys of a view in a role: with
        `{"payer": {"customer_id": "payer_id"}}` there is `payer.customer_activity:count_30d`, called
        `payer__count_30d`. `rules` change the join view by view (offset, ttl, availability) and say what is kept of
        the result. A question (`SpineRequest`, `LabelRequest`) stands for its spine, with the columns that the views
        are keyed by.

        Grain      one row per spine row; the spine's columns untouched, features after them
        Raises     SchemaError for a spine without a key or with naive times, FeatureNotFoundError; RequestError, also
                   for a service of which nothing can be known where a question is asked; TableConflictError where the
                   name holds other content. Nothing is half-written
        """
        from fs_spark.features.labels import LabelRequest
        from fs_spark.features.spine import SpineRequest
        from fs_spark.training import PinnedTable, TrainingRules, build_training_set, choose_views, spine_frame

        asked, state = self._asked_features(features), self._state()
        named = {**asked.roles, **(roles or {})}
        if isinstance(spine, LabelRequest):
            spine = self.spine(spine)
        elif isinstance(spine, SpineRequest):
            parts = {
                part: choose_views(given, state, prefix=prefix, roles=named) for part, given in asked.parts.items()
            }
            spine = self._asked(spine, parts)
        frame = spine if isinstance(spine, PinnedTable) else spine_frame(self._tables, spine, timestamp)
        with traced(f"train.{name}", lambda: self._tables) as trace:
            built = build_training_set(
                self._tables, state, frame, asked.references, name=name, timestamp=timestamp, prefix=prefix,
                rules=rules or TrainingRules(), roles=named,
            )  # fmt: skip
            describe(trace, of_training_set, built.manifest, self._tables)
        return built

    def _asked_features(self, features: Features) -> AskedFeatures:
        if names_service(features):
            self.config.require("services")
        return AskedFeatures.of(features, self.config.services)

    @on_workers
    def reproduce(self, name: str, *, from_source: bool = False) -> TrainingSet:
        """Rebuilds a training set from the versions in its manifest and compares digests.

        It is read from the feature tables, or with `from_source` computed anew from the ingested rows, both at their
        pinned versions and with the pinned definitions.

        Raises     ReproductionError with the columns that differ, RetentionError where a version is gone
        """
        from fs_spark.training import reproduce_training_set

        return reproduce_training_set(self._tables, self._state(), name, from_source=from_source)

    def training_sets(self) -> TrainingSets:
        """The saved training sets by name; `describe` tells of one, `diff` what differs between two."""
        from fs_spark.training import TrainingSets

        return TrainingSets(self._tables)

    @on_workers
    def export(self, service: str, *, at: datetime | None = None, full: bool = False) -> ExportReport:
        """Publishes the newest rows of a service's views online, all at once, for questions from `at` (now) on.

        Where an earlier version of the same tables is published, only keys that changed since are written, each in one
        step, and never over a later version; else, or with `full`, all of them beside what is there, then switched to.

        Of views of states what becomes due without a new row is published too: until the later of the watermark and
        `at`, and a view's `sla` (24 hours) more. Where the same rows are published already, and reach nearly as far,
        nothing is written.

        Raises     FeatureNotFoundError for an unknown service, RequestError where a view was never materialized
        """
        from fs_spark.online.export import export_service

        self.config.require("services")
        named_service(service, self.config.services)
        with traced(f"export.{service}", lambda: self._tables) as trace:
            report = export_service(
                self._tables, self._state(), self.config.services[service], self.config.online_url,
                mode=self.config.store.online_mode, at=at, full=full,
            )  # fmt: skip
            describe(trace, of_export, report, self._tables)
        return report

    @on_workers
    def verify_online(self, service: str, *, sample: int | None = None, seed: int = 0) -> OnlineDifferences:
        """Compares what is published, key by key, with the Delta versions that it was made from.

        All keys, or a sample that the seed gives. Keys are held here while all are compared.

        Raises     FeatureNotFoundError where nothing is published, RetentionError where a version is gone,
                   TableConflictError where the service is published anew meanwhile
        """
        from fs_spark.online.verify import verify_online

        return verify_online(
            self._tables, self._state(), service, self.config.online_url, sample=sample, seed=seed,
        )  # fmt: skip

    def online(self) -> OnlineReader:
        """A reader of the online store; needs neither Spark nor a JVM."""
        from fs_spark.online import open_online

        return open_online(self.config.online_url)

    def table(self, name: str, *, version: int | None = None) -> DataFrame:
        """Any table or view as a DataFrame, newest or at a Delta version.

        Ingested tables give the rows of kept files; those of single tests also `attempt`, `is_first` and `is_final`.
        """
        table = self._table_name(name)
        if version is None and table.startswith(n.TRAINING_PREFIX):
            version = self._kept_version(table)
        return self._counted(table, self._tables.read(table, version))

    def _kept_version(self, table: str) -> int | None:
        """The version of a training table that its manifest names; None where no manifest does."""
        from fs_spark.training.saved import find_manifest

        manifest = find_manifest(self._tables, table.removeprefix(n.TRAINING_PREFIX))
        return manifest["content"]["delta_version"] if manifest is not None else None

    def _table_name(self, name: str) -> str:
        from fs_spark.schemas import LAYOUTS

        if name in LAYOUTS and self._tables.exists(name):
            return name
        state = self._state()
        if name.startswith(n.TRAINING_PREFIX) and self._tables.exists(name):
            return name
        base, _, version = name.partition("__v")
        views = {view for view, _ in state.versions}
        if base not in views and self._tables.exists(n.TRAINING_PREFIX + name):
            return n.TRAINING_PREFIX + name
        if name in LAYOUTS:
            raise RequestError(f"table {name} does not exist yet. Hint: run `fs-spark ingest` first")
        known = [*LAYOUTS, *state.promoted]
        if base not in views:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"\nHint: did you mean {near[0]!r}?" if near else ""
            raise FeatureNotFoundError(f"no table or view {name!r}. There are: {', '.join(known)}.{hint}")
        view: View = state.registered(base, version or None) or state.view(name)  # a retired one's rows can be read
        if view.is_on_demand:
            raise RequestError(f"{view.qualified} is computed on demand. Hint: ask for its features by training_set")
        if not self._tables.exists(view.table):
            raise RequestError(
                f"{view.qualified} has no table: it was never materialized, or dropped. "
                f"Hint: run `fs-spark materialize {view.name}`"
            )
        return view.table

    def vacuum(
        self, *, keep_days: int | None = None, horizon: str | None = None, dry_run: bool = False
    ) -> VacuumReport:
        """Removes files that no version needs which is younger than `keep_days` (the configured horizon), or changes
        how long every table keeps its versions.

        Raises     RetentionError that names each saved training set which could not be reproduced any more
        """
        from fs_spark.retention import vacuum

        return vacuum(self._tables, keep_days=keep_days, horizon=horizon, dry_run=dry_run)

    def repair(self, *, dry_run: bool = False) -> RepairReport:
        """Keeps each ingested row once and removes rows that do not count, without the delivered files.

        What other software, a RESTORE or an earlier fs_spark did to the ingested tables. Rows of jobs that may be
        running are left alone. Files of which rows are missing are named: `ingest(again=True)` reads them anew.
        """
        from fs_spark.ingest.health import repair

        return repair(self._tables, dry_run=dry_run)

    def history(self, name: str) -> list[Commit]:
        """A table's or view's Delta commits, newest first."""
        return self._tables.history(self._table_name(name))

    def views(self) -> RegisteredViews:
        """The registered views: listed, shown, compared, promoted and retired."""
        from fs_spark.lifecycle import RegisteredViews

        self.config.require("services")
        return RegisteredViews(self._tables, self.config.services, self.config.online_url)

    def rollback(self, view: str, version: str | None = None, *, reason: str | None = None) -> View:
        """Promotes an older version of a view again, by default the one that was promoted before.

        One commit of the registry; the version's table is still there, so that this is immediate.

        Raises     FeatureNotFoundError; RequestError where no version was promoted before
        """
        return self.views().rollback(view, version, reason=reason)
