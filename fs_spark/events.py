"""OpenLineage events of the verbs that write, through the official client, where its configuration is there.

One run for each verb; `materialize` has one for each view too, whose parent it is, so that a catalogue draws what each
table is made from. An event that cannot be sent is a warning: no job fails for it.

Specification: https://openlineage.io/docs/spec/object-model (2-0-2); names of datasets:
https://openlineage.io/docs/spec/naming
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fs_spark import names as n
from fs_spark.errors import without_secrets

if TYPE_CHECKING:
    from fs_spark.ingest.run import IngestReport
    from fs_spark.online.export import ExportReport
    from fs_spark.outcomes import MaterializeReport
    from fs_spark.tables import Tables

log = logging.getLogger(__name__)

PRODUCER: Final = "urn:fs-spark"
_FILE: Final = "openlineage.yml"
_CONTAINERS: Final = ("abfs", "abfss", "wasb", "wasbs")
"""Schemes that write a container where others have a user."""
_VIEW: Final = re.compile(r"[a-z0-9_]+__v\d+\.\d+")
"""In the label of a published view, which may have a role before it and a column after it."""


def is_configured() -> bool:
    """Whether the client has a configuration: by the environment, here, or in the home folder."""
    if os.environ.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    named = ("OPENLINEAGE_URL", "OPENLINEAGE_CONFIG")
    if any(name in named or name.startswith("OPENLINEAGE__") for name in os.environ):
        return True
    return Path(_FILE).is_file() or (Path.home() / ".openlineage" / _FILE).is_file()


@dataclass(frozen=True)
class Place:
    """A dataset: its namespace and name, and what is known of it at one version."""

    namespace: str
    name: str
    version: int | None = None
    columns: tuple[tuple[str, str], ...] = ()
    rows: int | None = None


@dataclass
class Trace:
    """What a run has read and written, as far as it is known when it ends."""

    inputs: list[Place] = field(default_factory=list)
    outputs: list[Place] = field(default_factory=list)
    parts: dict[str, Trace] = field(default_factory=dict)
    """Runs within this one, by the name of their job."""


def place_of(path: str, **known: Any) -> Place:
    """A path or URI as a dataset: `file` and the absolute path, or the scheme with its host, and the rest."""
    parts = urlsplit(path)
    if len(parts.scheme) > 1 and parts.netloc:
        user, _, host = parts.netloc.rpartition("@")
        authority = parts.netloc if user and ":" not in user and parts.scheme in _CONTAINERS else host
        return Place(f"{parts.scheme}://{authority}", parts.path.lstrip("/") or "/", **known)
    return Place("file", str(Path(parts.path if parts.scheme == "file" else path).absolute()), **known)


def table_place(tables: Tables, name: str, at: int | None = None) -> Place:
    """A table of the store at a version, with its columns and rows."""
    known: dict[str, Any] = {"version": at}
    if tables.exists(name):
        schema = tables.delta(name).schema
        known["columns"] = tuple((one.name, one.dataType.simpleString()) for one in schema.fields)
        known["rows"] = tables.row_count(name, at)
    if tables.root is None:
        return Place("catalog", f"{tables.catalog}.{name}", **known)
    return place_of(tables.path(name), **known)


def of_ingest(trace: Trace, report: IngestReport, tables: Tables) -> None:
    """The delivered files whose rows came in, and the tables that took them."""
    if report.dry_run:
        return
    from fs_spark.snapshot import SOURCES as INGESTED

    trace.inputs += [place_of(file.path) for file in report.files if file.status in n.KEPT]
    if trace.inputs:
        trace.outputs += [table_place(tables, name, tables.version(name)) for name in INGESTED if tables.exists(name)]


def of_training_set(trace: Trace, manifest: Mapping[str, Any], tables: Tables) -> None:
    """The tables of its views, its spine where that is a table of the store, and the table that keeps it."""
    pinned = manifest["spine"].get("pinned")
    views = [(view["table"], view["delta_version"]) for view in manifest["views"]]
    spines = [(pinned["table"], pinned["delta_version"])] if pinned else []
    trace.inputs += [table_place(tables, *one) for one in [*views, *spines]]
    content = manifest["content"]
    if content["table"] is not None:
        trace.outputs.append(table_place(tables, content["table"], content["delta_version"]))


def of_export(trace: Trace, report: ExportReport, tables: Tables) -> None:
    """The tables of the published views, and the place where a service is published."""
    for label, at in report.delta_versions.items():
        found = _VIEW.search(label)
        if found is not None:
            trace.inputs.append(table_place(tables, found[0].replace(".", "_"), at))
    store = place_of(report.url.removeprefix("sqlite://"))
    rows = sum(report.rows.values()) if not report.current else None
    trace.outputs.append(Place(store.namespace, f"{store.name}/{report.service}", rows=rows))


def of_materialize(trace: Trace, report: MaterializeReport, tables: Tables) -> None:
    """Each view's table, made from the tables that its last commit names."""
    for view in report.views:
        if view.stopped or view.waiting:
            continue
        sources: Mapping[str, int] = tables.standing(view.table)[1].get("sources", {})
        part = trace.parts.setdefault(f"materialize.{view.view}", Trace())
        part.inputs += [table_place(tables, name, at) for name, at in sources.items()]
        part.outputs.append(table_place(tables, view.table, view.version))
        trace.outputs += part.outputs
        trace.inputs += [one for one in part.inputs if one not in trace.inputs]


def describe(trace: Trace | None, of: Callable[..., None], told: Any, tables: Tables) -> None:
    """Adds to a trace what a verb did, by one of the functions above; what cannot be found out is a warning."""
    if trace is None:
        return
    try:
        of(trace, told, tables)
    except Exception as fault:
        log.warning("what is told to OpenLineage lacks its datasets: %s", without_secrets(str(fault)))


@contextmanager
def traced(job: str, told: Callable[[], Tables]) -> Iterator[Trace | None]:
    """Sends START, then COMPLETE with what the trace holds, or FAIL; None where nothing is configured.

    `told` is asked for nothing but the version of Spark.
    """
    client = _client() if is_configured() else None
    if client is None:
        yield None
        return
    run = _Run(client, job, told)
    run.send("START", Trace())
    trace = Trace()
    try:
        yield trace
    except BaseException as fault:
        run.send("FAIL", trace, fault)
        run.close()
        raise
    for name, part in trace.parts.items():
        within = _Run(client, name, told, parent=run)
        within.send("START", Trace())
        within.send("COMPLETE", part)
    run.send("COMPLETE", trace)
    run.close()


def _client() -> Any:
    try:
        from openlineage.client import OpenLineageClient
    except ImportError:
        log.warning("OpenLineage is configured, but its client is not there: no event is sent. "
                    "Hint: pip install 'fs_spark[lineage]'")  # fmt: skip
        return None
    try:
        return OpenLineageClient()
    except Exception as fault:
        told = without_secrets(str(fault))
        log.warning("OpenLineage's configuration cannot be used, no event is sent: %s", told)
        return None


class _Run:
    def __init__(self, client: Any, job: str, told: Callable[[], Tables], parent: _Run | None = None) -> None:
        from openlineage.client.uuid import generate_new_uuid

        self.client, self.job, self._told, self.parent = client, job, told, parent
        self.id = str(generate_new_uuid())
        self.namespace = os.environ.get("OPENLINEAGE_NAMESPACE", "fs_spark")

    def send(self, state: str, trace: Trace, fault: BaseException | None = None) -> None:
        """Raises nothing: what cannot be sent is told in the log."""
        try:
            self.client.emit(self._event(state, trace, fault))
        except Exception as problem:
            told = without_secrets(str(problem))
            log.warning("the OpenLineage event %s of %s was not sent: %s", state, self.job, told)

    def close(self) -> None:
        try:
            self.client.close()
        except Exception as problem:
            log.warning("OpenLineage's client did not end well: %s", without_secrets(str(problem)))

    def _event(self, state: str, trace: Trace, fault: BaseException | None) -> Any:
        from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
        from openlineage.client.generated import error_message_run, job_type_job, parent_run, processing_engine_run

        facets: dict[str, Any] = {
            "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
                self._told().spark.version, "spark", version("fs_spark"), producer=PRODUCER
            )
        }
        if self.parent is not None:
            facets["parent"] = parent_run.ParentRunFacet(
                parent_run.Run(self.parent.id), parent_run.Job(self.namespace, self.parent.job), producer=PRODUCER
            )
        if fault is not None:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
                f"{type(fault).__name__}: {without_secrets(str(fault))}", "PYTHON", producer=PRODUCER
            )
        kind = job_type_job.JobTypeJobFacet("BATCH", "FS_SPARK", "JOB", producer=PRODUCER)
        return RunEvent(
            eventType=RunState[state],
            eventTime=datetime.now(UTC).isoformat(),
            run=Run(self.id, facets),
            job=Job(self.namespace, self.job, {"jobType": kind}),
            inputs=[InputDataset(one.namespace, one.name, facets=_facets(one)) for one in _once(trace.inputs)],
            outputs=[
                OutputDataset(one.namespace, one.name, _statistics(one), facets=_facets(one))
                for one in _once(trace.outputs)
            ],
            producer=PRODUCER,
        )


def _once(places: Sequence[Place]) -> list[Place]:
    return list(dict.fromkeys(places))


def _facets(place: Place) -> dict[str, Any]:
    from openlineage.client.generated import dataset_version_dataset, schema_dataset

    facets: dict[str, Any] = {}
    if place.version is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(str(place.version), producer=PRODUCER)
    if place.columns:
        fields = [schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in place.columns]
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields, producer=PRODUCER)
    return facets


def _statistics(place: Place) -> dict[str, Any]:
    from openlineage.client.generated import output_statistics_output_dataset

    if place.rows is None:
        return {}
    return {
        "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            place.rows, producer=PRODUCER
        )
    }
