"""Where a feature comes from, and what is made of it: views, sources, tables, files and testers behind it; services,
training sets, publications and models after it."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from fs_spark import names as n
from fs_spark.errors import FeatureNotFoundError, RequestError, did_you_mean, without_secrets
from fs_spark.features.definition import View
from fs_spark.features.service import FeatureReference, FeatureService
from fs_spark.features.shipped import SHIPPED_SOURCES
from fs_spark.features.table_view import SourceInput, TableView, ViewInput
from fs_spark.lifecycle.uses import view_of
from fs_spark.registry_state import RegistryState
from fs_spark.tables import Tables

if TYPE_CHECKING:
    from fs_spark.online.records import ServiceRecord

log = logging.getLogger(__name__)
Direction = Literal["up", "down", "both"]
_FILES_TOLD: Final = 20
"""So many files are named; of more their number is told."""
_SHAPES: Final = {
    "feature": ("([", "])"), "view": ("[", "]"), "source": ("[/", "/]"), "table": ("[(", ")]"), "file": (">", "]"),
    "tester": ("{{", "}}"), "service": ("(", ")"), "training set": ("[[", "]]"), "online": ("((", "))"),
    "model": ("{", "}"),
}  # fmt: skip


@dataclass(frozen=True, order=True)
class Node:
    """A thing of one kind; `told` is what is known of it: versions, counts, the columns that are read."""

    kind: str
    name: str
    told: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for name in ("name", "told"):
            object.__setattr__(self, name, without_secrets(getattr(self, name)))

    def __str__(self) -> str:
        return f"{self.kind} {self.name}{f' ({self.told})' if self.told else ''}"


@dataclass
class Lineage:
    """Things and what is made of what: (what it is made from, what is made); `of` is where it was asked."""

    of: Node
    nodes: dict[Node, Node] = field(default_factory=dict)
    edges: list[tuple[Node, Node]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes.setdefault(self.of, self.of)

    def add(self, before: Node, after: Node) -> None:
        for one in (before, after):
            self.nodes.setdefault(one, one)
        if (before, after) not in self.edges:
            self.edges.append((before, after))

    def above(self, node: Node) -> list[Node]:
        return [self.nodes[before] for before, after in self.edges if after == node]

    def below(self, node: Node) -> list[Node]:
        return [self.nodes[after] for before, after in self.edges if before == node]

    def to_dict(self) -> dict[str, Any]:
        return {
            "of": asdict(self.of),
            "nodes": [asdict(node) for node in self.nodes.values()],
            "edges": [{"from": f"{a.kind} {a.name}", "to": f"{b.kind} {b.name}"} for a, b in self.edges],
        }

    def to_text(self) -> str:
        """Two trees: what it is made from, then what is made of it; a thing that came before is not unfolded again."""
        lines = [str(self.of)]
        for title, follow in (("made from", self.above), ("used by", self.below)):
            if follow(self.of):
                lines.append(title)
                lines += _tree(self.of, follow, set(), 1)
        return "\n".join(lines)

    def to_mermaid(self) -> str:
        """A flowchart that Mermaid draws, from files on the left to models on the right."""
        number = {node: f"n{at}" for at, node in enumerate(self.nodes)}
        lines = ["flowchart LR"]
        for node, called in number.items():
            left, right = _SHAPES[node.kind]
            lines.append(f'  {called}{left}"{_escaped(node.kind)}: {_escaped(node.name)}"{right}')
        lines += [f"  {number[a]} --> {number[b]}" for a, b in self.edges]
        return "\n".join(lines)


def _escaped(text: str) -> str:
    return re.sub(r'["#<>&]', lambda found: f"#{ord(found[0])};", text)


def _tree(node: Node, follow: Any, seen: set[Node], depth: int) -> Iterator[str]:
    for one in follow(node):
        again = one in seen and bool(follow(one))
        yield f"{'  ' * depth}{one}{' ...' if again else ''}"
        if one not in seen:
            seen.add(one)
            yield from _tree(one, follow, seen, depth + 1)


@dataclass(frozen=True)
class Surroundings:
    """What a store knows of the users of its views."""

    services: Mapping[str, FeatureService]
    manifests: Mapping[str, Mapping[str, Any]]
    published: Mapping[str, ServiceRecord]
    models: dict[tuple[str, str], Sequence[tuple[str, str]]] = field(default_factory=dict)
    """MLflow runs by training set and digest, as far as they were asked for."""

    def models_of(self, name: str, digest: str) -> Sequence[tuple[str, str]]:
        if (name, digest) not in self.models:
            self.models[name, digest] = runs_with(name, digest)
        return self.models[name, digest]


def lineage_of(
    tables: Tables,
    state: RegistryState,
    around: Surroundings,
    asked: str,
    *,
    direction: Direction = "both",
    files: Sequence[tuple[Node, Node]] | None = None,
) -> Lineage:
    """The lineage of `view:feature`, `view__v1.0:feature`, or of all of a view.

    `files` are what `file_edges` gave, where many are asked for.

    Raises     FeatureNotFoundError for an unknown view or feature; RequestError for a text that names none
    """
    name, _, feature = asked.partition(":")
    if ":" in asked:
        try:
            reference = FeatureReference.parse(asked)
        except ValueError as fault:
            raise RequestError(
                f"{asked!r} names no feature. Hint: write view:feature, or view__v1.0:feature"
            ) from fault
        name, feature = f"{reference.view}{f'__v{reference.version}' if reference.version else ''}", reference.feature
    base, _, version = name.partition("__v")
    view = state.registered(base, version or None) or state.view(name)
    if feature and feature not in view.columns:
        raise FeatureNotFoundError(
            f"{view.qualified} has no feature {feature!r}.\n{did_you_mean(feature, list(view.columns))}"
        )
    node = Node("feature", f"{view.qualified}:{feature}") if feature else _view_node(tables, view)
    found = Lineage(node)
    if feature:
        found.add(_view_node(tables, view), node)
    if direction in ("up", "both"):
        _Up(tables, state, found, files).view(view)
    if direction in ("down", "both"):
        _Down(tables, state, around, found).of(view, feature or None, node)
    return found


def _view_node(tables: Tables, view: View) -> Node:
    if view.is_on_demand:
        return Node("view", view.qualified, "on demand")
    told = f"Delta version {tables.version(view.table)}" if tables.exists(view.table) else "not materialized"
    return Node("view", view.qualified, told)


@dataclass
class _Up:
    tables: Tables
    state: RegistryState
    found: Lineage
    files: Sequence[tuple[Node, Node]] | None
    seen: set[str] = field(default_factory=set)
    measured: list[str] = field(default_factory=list)

    def view(self, view: View) -> None:
        if view.qualified in self.seen:
            return
        self.seen.add(view.qualified)
        node = _view_node(self.tables, view)
        if not isinstance(view, TableView):
            self._ingested(node, "attempts", view)
            return
        for one in view.inputs:
            if isinstance(one, ViewInput):
                below = self.state.versions[(one.name, one.version)]
                self.found.add(_view_node(self.tables, below), node)
                self.view(below)
            elif one.name in SHIPPED_SOURCES:
                self._ingested(node, one.name, view, one)
            else:
                self._source(node, one)

    def _source(self, node: Node, one: SourceInput) -> None:
        text = json.loads(self.state.sources.get(one.name, "{}"))
        kind = next((kind for kind in ("delta", "parquet", "csv", "table") if text.get(kind)), None)
        source = Node("source", one.name, f"{kind} {text[kind]}" if kind else "")
        table = f"source__{one.name}"
        self.found.add(source, node)
        if self.tables.exists(table):
            self.found.add(Node("table", table, f"Delta version {self.tables.version(table)}"), source)

    def _ingested(self, node: Node, source: str, view: View, one: SourceInput | None = None) -> None:
        """What was ingested, by the tables that it lies in, the files that it came in, and who tested."""
        origin = Node("source", source, "ingested") if one is not None else node
        if one is not None:
            self.found.add(origin, node)
        measured = view.bound_parameters
        read = [one for one in (n.WAFER_RUNS, n.DIE_TESTS, *([n.TEST_RESULTS] if measured else []))
                if self.tables.exists(one)]  # fmt: skip
        self.measured += [name for name in measured if name not in self.measured]
        for table in read:
            told = f"Delta version {self.tables.version(table)}"
            if table == n.TEST_RESULTS:
                told += f": {', '.join(self.measured)}"
            node = Node("table", table, told)
            self.found.nodes[node] = node  # what is measured may have become more
            self.found.add(node, origin)
        if self.files is None:
            self.files = file_edges(self.tables)
        for before, after in self.files:
            for place in read if after == Node("table", n.WAFER_RUNS) else [None]:
                self.found.add(before, after if place is None else Node("table", place))


def file_edges(tables: Tables) -> list[tuple[Node, Node]]:
    """Tester -> file -> the table of runs; many files are told as one, and none where nothing was ingested."""
    if not tables.exists(n.FILES) or not tables.exists(n.WAFER_RUNS):
        return []
    from pyspark.sql import functions as F

    from fs_spark.snapshot import Snapshot

    snapshot, runs = Snapshot.newest(tables, create=False), Node("table", n.WAFER_RUNS)
    paths = snapshot.files.where(F.col("status").isin(*n.KEPT)).select(n.FILE_ID, "path")
    tested = snapshot.kept_runs().select(n.FILE_ID, n.TESTER).distinct()
    found: list[tuple[Node, Node]] = []
    count = paths.count()
    if count <= _FILES_TOLD:
        for row in paths.join(tested, n.FILE_ID, "left").orderBy("path", n.TESTER).collect():
            file = Node("file", row["path"])
            found.append((file, runs))
            if row[n.TESTER]:
                found.append((Node("tester", row[n.TESTER]), file))
        return found
    files = Node("file", f"{count} files", f"`fs-spark history {n.FILES}` lists their deliveries")
    found.append((files, runs))
    by_tester = tested.groupBy(n.TESTER).agg(F.count(n.FILE_ID).alias("files")).collect()
    for row in sorted(by_tester, key=lambda row: row[n.TESTER] or ""):
        if row[n.TESTER]:
            found.append((Node("tester", row[n.TESTER], f"{row['files']} files"), files))
    return found


@dataclass
class _Down:
    tables: Tables
    state: RegistryState
    around: Surroundings
    found: Lineage

    def of(self, view: View, feature: str | None, node: Node) -> None:
        """Users of a feature (of any of a view's where it is None), and of the views that read it."""
        for other in self.state.versions.values():
            if (other.name, other.version) in self.state.retired or not isinstance(other, TableView):
                continue
            for one in other.inputs:
                if isinstance(one, ViewInput) and (one.name, one.version) == (view.name, view.version) and (
                    feature is None or feature in one.columns
                ):  # fmt: skip
                    below = _view_node(self.tables, other)
                    known = below in self.found.nodes and any(a == below for a, _ in self.found.edges)
                    self.found.add(node, below)
                    if not known:
                        self.of(other, None, below)
        promoted = self.state.promoted.get(view.name) == view.version
        for service in self.around.services.values():
            if any(
                one.view == view.name and feature in (None, one.feature)
                and (one.version == view.version or (one.version is None and promoted))
                for one in service.references
            ):  # fmt: skip
                self.found.add(node, Node("service", service.name))
        for name, manifest in self.around.manifests.items():
            for part in (*manifest["views"], *manifest.get("on_demand", ())):
                read = {column for _, column in part["columns"]}
                if (part["view"], part["version"]) == (view.name, view.version) and feature in (None, *read):
                    saved = Node("training set", name, f"digest {manifest['content']['digest'][:12]}")
                    self.found.add(node, saved)
                    self._models(saved, manifest)
        for name, record in self.around.published.items():
            for held in record.views:
                if held.view == view.qualified and feature in (None, *(column for _, column in held.features)):
                    self.found.add(node, Node("online", name, f"Delta version {held.delta_version}"))
            for demand in record.on_demand:
                if view_of(demand.view) == view.qualified and feature in (
                    None,
                    *(output for output, _ in demand.values),
                ):
                    self.found.add(node, Node("online", name, "on demand"))

    def _models(self, saved: Node, manifest: Mapping[str, Any]) -> None:
        for run, experiment in self.around.models_of(saved.name, manifest["content"]["digest"]):
            self.found.add(saved, Node("model", run, f"MLflow run of experiment {experiment}"))


def runs_with(name: str, digest: str) -> Sequence[tuple[str, str]]:
    """MLflow runs that logged a training set: run id and experiment; none without MLflow or where no server is set.

    Only a server that the environment names (MLFLOW_TRACKING_URI) or that this process set is asked.
    """
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError:
        return ()
    if not (os.environ.get("MLFLOW_TRACKING_URI") or mlflow.is_tracking_uri_set()):
        return ()
    client, found = mlflow.MlflowClient(), []
    try:
        for experiment in client.search_experiments():
            token = None
            while True:
                runs = client.search_runs([experiment.experiment_id], f"datasets.name = '{name}'", page_token=token)
                for run in runs:
                    told = [one.dataset for one in run.inputs.dataset_inputs] if run.inputs is not None else []
                    if any(one.name == name and digest.startswith(one.digest) for one in told):
                        found.append((run.info.run_id, experiment.name))
                token = runs.token
                if not token:
                    break
    except MlflowException as fault:
        log.warning("MLflow cannot be asked for models: %s", str(fault).splitlines()[0])
    return found
