"""The leak check of a training set, its own or one made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pyspark.sql import DataFrame

from fs_spark import names as n
from fs_spark.errors import RequestError, RetentionError
from fs_spark.leaks.fits import check_fits
from fs_spark.leaks.future import check_future
from fs_spark.leaks.label import check_label
from fs_spark.leaks.on_demand import check_on_demand
from fs_spark.leaks.oracle import check_oracle, history_of, spine_frame
from fs_spark.leaks.prefixes import check_prefixes
from fs_spark.leaks.report import Findings, LeakReport, NotRun
from fs_spark.leaks.rows import ArrowRows, Sample, SparkRows, TrainingRows, require
from fs_spark.leaks.rules import LeakLimits, ViewTimes
from fs_spark.leaks.source import check_source
from fs_spark.leaks.times import check_times
from fs_spark.training.chosen import EVENT
from fs_spark.training.on_demand import asked_part
from fs_spark.training.pinned import joined_views, pinned_frames, view_called, view_name
from fs_spark.training.saved import TrainingSet
from fs_spark.transforms.as_of import AsOfView
from fs_spark.transforms.as_of_view import check_join

if TYPE_CHECKING:
    import pandas as pd

    from fs_spark.registry_state import RegistryState
    from fs_spark.tables import Tables

_NO_VIEWS = "no view's rows were given. Hint: views=[AsOfView(...)]"
_NO_STORE = "no store was given. Hint: store=FeatureStore.open(...)"


class FeatureStore(Protocol):
    """What of a `fs_spark.FeatureStore` is used; the class itself stands above this package."""

    @property
    def _tables(self) -> Tables: ...

    def _state(self) -> RegistryState: ...


@dataclass
class Known:
    """What is known of a set beside its rows: the views that can be read, those of which only times are, and which
    column comes from which view."""

    views: list[AsOfView] = field(default_factory=list)
    times: list[ViewTimes] = field(default_factory=list)
    features: dict[str, str | None] = field(default_factory=dict)
    on_demand: list[dict[str, Any]] = field(default_factory=list)
    """Features that were computed from what the join gave, as the manifest has them."""
    read: list[AsOfView] = field(default_factory=list)
    """The views with what these read."""


def check(
    training_set: TrainingSet | DataFrame | pd.DataFrame,
    *,
    label: str,
    timestamp: str | None = None,
    views: Sequence[AsOfView | ViewTimes] = (),
    store: FeatureStore | None = None,
    limits: LeakLimits | None = None,
) -> LeakReport:
    """Looks for features that know what lies after their row's time, and for those that tell the label.

    Of a TrainingSet the manifest says the views and the time; with its `store` their rows are read at the pinned
    versions. Of a frame made elsewhere, `views` are the rows that its features came from, named as in the set
    (`columns={"column of the set": "column of the view"}`), or the columns that tell their times. What cannot be
    looked at without them is listed in the report, with the reason.

    oracle    a seeded sample is rebuilt by a naive loop over the views' rows, and compared bit for bit
    future    later rows of the views are changed and added, and the sample is joined anew; of a store's own set also
              later tests among the ingested rows: features must keep their bits; and of views of a function some rows
              are computed without what was known after them (`prefix`)
    label     features equal to the label, one-to-one with it, of an implausible AUC, or null by it. Of a TrainingSet
              its features; else every column but the label, the time, the views' keys and the named times
    fit       every row whose time is before what was fitted for its features was known, or whose row was fitted
    times     every row whose named event or availability is after its time; of the sample, the chosen rows'

    Grain      nothing is written; the driver holds the sample, its keys' rows and a share of the columns
    Raises     SchemaError for a column that is not there or has the wrong type; RequestError for a label that is null
               or the same throughout, and for a store without a training set of its own
    """
    chosen, findings = limits or LeakLimits(), Findings()
    given = _rows_of(training_set, chosen)
    require(given, {label: "the label"})
    known = _known(training_set, given, views, store, findings)
    origin = None
    if isinstance(training_set, TrainingSet):
        time = timestamp or str(training_set.manifest["timestamp"])
        origin = (training_set, store) if store is not None else None
    else:
        time = timestamp or n.EVENT_TIMESTAMP
        used = {label, time, *(key for view in known.views for key in view.keys)}
        used |= {key for one in known.times for key in one.keys}
        used |= {column for one in known.times for column in one.columns}
        known.features.update({c: known.features.get(c) for c in given.columns if c not in used})
    if known.views or known.times or known.on_demand:
        require(given, {time: "the time column"})
        given.require_time(time)
    check_label(given, label, {c: v for c, v in known.features.items() if c != label}, chosen, findings)
    if known.times:
        check_times(given, time, known.times, findings)
    elif not known.views:
        findings.not_run.append(
            NotRun("times", None, "no view and no time column was named. Hint: views=[ViewTimes()]")
        )
    if known.views:
        _check_join(given, time, known.views, chosen, findings, origin)
    if isinstance(training_set, TrainingSet) and store is not None:
        check_fits(training_set.df, time, store._tables, training_set.manifest, store._state(), findings)
        check_prefixes(store._tables, store._state(), training_set.manifest, chosen, findings)
    if known.on_demand:
        _check_on_demand(given, time, known, chosen, findings)
    return findings.report()


def _rows_of(training_set: TrainingSet | DataFrame | pd.DataFrame, limits: LeakLimits) -> TrainingRows:
    if isinstance(training_set, TrainingSet):
        return SparkRows(training_set.df)
    if isinstance(training_set, DataFrame):
        return SparkRows(training_set)
    import pandas as pd

    if isinstance(training_set, pd.DataFrame):
        return ArrowRows.of(training_set, limits.seed)
    raise RequestError(
        f"{type(training_set).__name__} is no training set. Hint: give a TrainingSet, a Spark or a pandas DataFrame"
    )


def _known(
    training_set: TrainingSet | DataFrame | pd.DataFrame,
    given: TrainingRows,
    views: Sequence[AsOfView | ViewTimes],
    store: FeatureStore | None,
    findings: Findings,
) -> Known:
    known = Known([v for v in views if isinstance(v, AsOfView)], [v for v in views if isinstance(v, ViewTimes)])
    if store is not None and (views or not isinstance(training_set, TrainingSet)):
        raise RequestError(
            "a store is of use for a TrainingSet of its own, whose manifest says the views.\n"
            "Hint: leave out `store`, or give `store.training_sets()[name]` without `views`"
        )
    if isinstance(training_set, TrainingSet):
        _add_manifest(known, training_set.manifest, store, findings)
    for view in known.views:
        if not isinstance(view.frame, DataFrame):
            raise RequestError(
                f"the rows of view {view.name} are a {type(view.frame).__name__}, not a Spark frame. "
                "Hint: spark.createDataFrame(rows)"
            )
        require(given, dict.fromkeys(view.all_outputs, f"the feature of view {view.name}"))
        known.features.update(dict.fromkeys((c for c in view.all_outputs if c != view.event_as), view.name))
        if view.event_as is not None and all(one.event != view.event_as for one in known.times):
            known.times.append(ViewTimes(view.name, view.event_as, None, view.boundary, view.offset, view.keys))
    if not known.views and not known.on_demand:
        reason = _NO_STORE if isinstance(training_set, TrainingSet) else _NO_VIEWS
        findings.not_run += [NotRun("oracle", None, reason), NotRun("future at the join", None, reason)]
    if store is None:
        own = isinstance(training_set, TrainingSet)
        reason = _NO_STORE if own else "it is no training set of a store, whose ingested rows could be changed"
        findings.not_run.append(NotRun("future at the source", None, reason))
    return known


def _add_manifest(known: Known, manifest: dict[str, Any], store: FeatureStore | None, findings: Findings) -> None:
    """Adds what a training set's manifest says: the features, the times, and with a store the rows of its views."""
    asked = [part for one in manifest["views"] if (part := asked_part(one)) is not None]
    for pinned in asked:
        name, called = view_name(pinned), view_called(pinned)
        known.features.update({output: name for output, _ in pinned["columns"]})
        if pinned.get("since"):
            known.features[pinned["since"]] = name
        if pinned["times"]:
            known.features[f"{called}__age_s"] = name
            event, offset = f"{called}__event_timestamp", timedelta(seconds=pinned["offset_s"])
            keys = tuple(pinned.get("by") or pinned["keys"])
            known.times.append(ViewTimes(name, event, None, pinned["boundary"], offset, keys))
    for part in manifest.get("on_demand", ()):
        known.features.update({output: view_name(part) for output, _ in part["columns"]})
    if store is None:
        return
    try:
        frames = pinned_frames(store._tables, manifest["views"])
        known.views.extend(one for view in joined_views(asked, frames) for one in view.by_column())
        if manifest.get("on_demand"):
            known.read = [one for view in joined_views(manifest["views"], frames) for one in view.by_column()]
            known.on_demand = list(manifest["on_demand"])
    except RetentionError as gone:
        for check in ("oracle", "future at the join"):
            findings.not_run.append(NotRun(check, None, str(gone)))


def _check_on_demand(
    given: TrainingRows, time: str, known: Known, limits: LeakLimits, findings: Findings
) -> None:  # fmt: skip
    """Features on demand of a sample, computed anew from what the oracle finds that the join should have given."""
    keys = [key for view in known.read for key in view.keys]
    brought = [column for part in known.on_demand for shown, column in part["brought"].items() if shown != EVENT]
    outputs = [output for part in known.on_demand for output, _ in part["columns"]]
    require(given, {**dict.fromkeys(keys, "the key"), **dict.fromkeys(brought, "the column"),
                    **dict.fromkeys(outputs, "the feature")})  # fmt: skip
    rows = given.sample(list(dict.fromkeys([*keys, time, *brought, *outputs])), limits.sample, limits.seed)
    sample = Sample.of(rows, time, nan_is_null=isinstance(given, ArrowRows))
    histories = [history_of(view, sample, limits) for view in known.read]
    check_on_demand(known.on_demand, histories, sample, findings)


def _check_join(
    given: TrainingRows, time: str, views: list[AsOfView], limits: LeakLimits, findings: Findings,
    origin: tuple[TrainingSet, FeatureStore] | None,
) -> None:  # fmt: skip
    """Everything that rebuilds a sample: by the oracle, with another future at the join and, of a store's own training
    set (`origin`), at the source."""
    keys = [key for view in views for key in view.keys]
    require(given, dict.fromkeys(keys, "the key"))
    columns = dict.fromkeys([*keys, time, *(c for view in views for c in view.all_outputs)])
    rows = given.sample(list(columns), limits.sample, limits.seed)
    sample = Sample.of(rows, time, nan_is_null=isinstance(given, ArrowRows))
    spark = views[0].frame.sparkSession
    check_join(spine_frame(sample, [*keys, time], spark), views, time, ())
    histories = [history_of(view, sample, limits) for view in views]
    right = [check_oracle(history, sample, findings) for history in histories]
    check_future(histories, right, sample, spark, findings)
    if origin is not None:
        own, store = origin
        check_source(store._tables, store._state(), own.manifest, sample, limits, findings)
