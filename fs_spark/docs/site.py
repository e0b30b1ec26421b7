"""Writes the site: pages from templates, beside the old ones, then put in their place."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql import DataFrame

from fs_spark import names as n
from fs_spark.docs import pictures
from fs_spark.docs.distribution import Distribution, distributions
from fs_spark.docs.meaning import Meaning, meaning_of
from fs_spark.errors import RequestError, SetupError
from fs_spark.features.definition import View
from fs_spark.features.differences import differences
from fs_spark.lifecycle.lineage import Lineage, Node, Surroundings, file_edges, lineage_of
from fs_spark.lifecycle.uses import Users, published_records, published_views
from fs_spark.on_workers import on_workers
from fs_spark.registry_state import RegistryState, version_order
from fs_spark.tables import Tables
from fs_spark.training.saved import manifests

if TYPE_CHECKING:
    import jinja2

    from fs_spark.store import FeatureStore

log = logging.getLogger(__name__)

MARK: Final = ".fs_spark_docs"
"""The file that tells a folder of ours from others."""


@dataclass(frozen=True)
class DocsReport:
    """What was written: pages by kind, and the page to open."""

    folder: str
    index: str
    views: int
    features: int

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass
class FeaturePage:
    name: str
    file: str
    type: str
    meaning: Meaning
    spread: Distribution | None
    bars: str = ""
    wafer: str = ""
    lineage: str = ""

    @property
    def null_told(self) -> str:
        return f"{100 * self.spread.missing_share:.1f} %" if self.spread is not None else ""

    @property
    def median(self) -> str:
        quantiles = self.spread.quantiles if self.spread is not None else None
        return pictures.shown(quantiles[2]) if quantiles else ""

    @property
    def quantiles(self) -> str:
        assert self.spread is not None
        return ", ".join(map(pictures.shown, self.spread.quantiles or ()))

    @property
    def least(self) -> str:
        return pictures.shown(self.spread.least if self.spread is not None else None)

    @property
    def most(self) -> str:
        return pictures.shown(self.spread.most if self.spread is not None else None)

    @property
    def mean(self) -> str:
        return pictures.shown(self.spread.mean if self.spread is not None else None)


@dataclass
class ViewPage:
    name: str
    version: str
    description: str
    entity: str
    keys: str
    knowledge: str
    kind: str
    owner: str
    tags: tuple[str, ...]
    sla: str
    table_told: str
    uses: str
    columns: Mapping[str, str]
    features: list[FeaturePage] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    lineage: str = ""


@on_workers
def write_docs(store: FeatureStore, folder: str | Path) -> DocsReport:
    """Writes a static site about the promoted views to `folder`, which holds nothing or such a site.

    It opens from the disk without a server: an index with a search, a page for each view and each feature with its
    meaning, values of the current version, lineage and versions. Where a site is there it is replaced as a whole.

    Raises     RequestError for a folder with anything else in it, and where no view is registered; SetupError without
               Jinja2
    """
    target = Path(folder).resolve()  # of a link what it leads to is replaced, not the link
    require_ours(target)
    templates = _templates()
    tables, state = store._tables, store._state()
    if not state.promoted:
        raise RequestError("no view is registered, so that there is nothing to tell. Hint: run `fs-spark apply` first")
    store.config.require("services")
    around = Surroundings(store.config.services, manifests(tables), published_records(store.config.online_url))
    users = Users(state, store.config.services, around.manifests, published_views(store.config.online_url))
    files = file_edges(tables)
    pages = []
    for at, name in enumerate(sorted(state.promoted), start=1):
        view = state.view(name)
        log.info("view %d of %d: %s", at, len(state.promoted), view.qualified)
        pages.append(_view_page(tables, state, around, users, files, view))
    _write(target, templates, pages, state)
    features = sum(len(page.features) for page in pages)
    return DocsReport(str(target), str(target / "index.html"), len(pages), features)


def require_ours(target: Path) -> None:
    """Raises RequestError for a folder that holds anything but a site of ours, as its mark lists it."""
    if target.exists() and not target.is_dir():
        raise RequestError(f"{target} is a file. Hint: name a folder")
    if not target.is_dir():
        return
    there = {str(file.relative_to(target)) for file in target.rglob("*") if not file.is_dir() or file.is_symlink()}
    others = sorted(there - {MARK} - _listed(target))
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        raise RequestError(
            f"{target} holds other files than a site of ours ({', '.join(others[:3])}{more}), which would be lost. "
            "Hint: name an empty or a new folder"
        )


def _listed(target: Path) -> set[str]:
    """The files that the mark of a site names; none where there is no mark of ours."""
    try:
        told = json.loads((target / MARK).read_text(encoding="utf-8"))
        return set(told["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _templates() -> jinja2.Environment:
    try:
        import jinja2
    except ImportError as fault:
        raise SetupError(f"Jinja2 is not there: {fault}. Hint: pip install 'fs_spark[docs]'") from fault
    return jinja2.Environment(
        loader=jinja2.PackageLoader("fs_spark.docs"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def _view_page(
    tables: Tables, state: RegistryState, around: Surroundings, users: Users, files: Sequence[tuple[Node, Node]],
    view: View,
) -> ViewPage:  # fmt: skip
    about = view.model_dump(mode="json", include={"sla"})
    at = tables.version(view.table) if not view.is_on_demand and tables.exists(view.table) else None
    rows = tables.read(view.table, at) if at is not None else None
    told = "computed on demand, from no table" if view.is_on_demand else f"{view.table}: not materialized"
    if at is not None:
        told = f"{view.table}, Delta version {at}"
    page = ViewPage(
        name=view.name,
        version=view.version,
        description=view.description,
        entity=getattr(view, "entity", ""),
        keys=", ".join(view.key_types),
        knowledge=view.knowledge,
        kind=view.kind,
        owner=view.owner,
        tags=view.tags,
        sla=about["sla"] or "",
        table_told=told,
        uses=users.of(view).to_text(),
        columns=view.columns,
        versions=_versions(state, view.name),
    )
    spread: Mapping[str, Distribution] = {}
    wafers: Mapping[str, str] = {}
    if rows is not None:
        apart = [*view.keys, *(name for name in (n.EVENT_TIMESTAMP,) if name in rows.columns)]
        spread = distributions(rows, view.columns, apart, count=tables.row_count(view.table, at))
        wafers = _wafer_maps(rows, view)
    whole = lineage_of(tables, state, around, view.qualified, files=files)
    page.lineage = pictures.lineage_picture(whole, _links(whole, state, up="../"))
    above = lineage_of(tables, state, around, view.qualified, direction="up", files=files)
    for name, kind in view.columns.items():
        found = lineage_of(tables, state, around, f"{view.qualified}:{name}", direction="down", files=files)
        for before, after in above.edges:
            found.add(above.nodes[before], above.nodes[after])
        one = spread.get(name)
        page.features.append(
            FeaturePage(
                name=name,
                file=f"{view.name}.{name}.html",
                type=kind,
                meaning=meaning_of(view, name),
                spread=one,
                bars=pictures.bars(one, f"distribution of {name}") if one is not None else "",
                wafer=wafers.get(name, ""),
                lineage=pictures.lineage_picture(found, _links(found, state, up="../")),
            )
        )
    return page


def _links(found: Lineage, state: RegistryState, *, up: str) -> dict[Node, str]:
    """The pages of the promoted views among the nodes."""
    promoted = {f"{name}__v{at}": name for name, at in state.promoted.items()}
    return {
        node: f"{up}views/{promoted[node.name]}.html"
        for node in found.nodes
        if node.kind == "view" and node.name in promoted and node != found.of
    }


def _versions(state: RegistryState, name: str) -> list[dict[str, Any]]:
    """The versions of a view, newest first, each with what became of it and what it changed."""
    known = sorted((at for view, at in state.versions if view == name), key=version_order)
    told = []
    for number, at in enumerate(known):
        before = known[number - 1] if number else None
        changed = None
        if before is not None:
            changed = list(map(str, differences(state.versions[name, before], state.versions[name, at])))
        stands = "retired" if (name, at) in state.retired else "promoted" if state.promoted.get(name) == at else ""
        history = [f"{one.done} {one}".strip() for one in state.events.get((name, at), ())]
        told.append({"version": at, "before": before, "changed": changed, "stands": stands, "history": history})
    return told[::-1]


def _wafer_maps(rows: DataFrame, view: View) -> dict[str, str]:
    """Of views of dies, each numeric feature on one wafer of the table: of each die the newest row."""
    if not set(n.DIE_KEYS) <= set(view.keys):
        return {}
    numeric = [name for name, kind in view.columns.items() if kind in ("double", "int", "bigint", "boolean")]
    first = rows.select(n.LOT_ID, n.WAFER_ID).limit(1).collect()
    if not first or not numeric:
        return {}
    lot, wafer = first[0]
    chosen = rows.where((rows[n.LOT_ID] == lot) & (rows[n.WAFER_ID] == wafer))
    times = [n.EVENT_TIMESTAMP] if n.EVENT_TIMESTAMP in rows.columns else []
    dies: dict[tuple[int, int], Mapping[str, Any]] = {}
    for row in sorted(
        chosen.select(n.DIE_X, n.DIE_Y, *times, *numeric).toArrow().to_pylist(),
        key=lambda row: row[times[0]] if times and row[times[0]] is not None else datetime.min.replace(tzinfo=UTC),
    ):
        if row[n.DIE_X] is not None and row[n.DIE_Y] is not None:
            dies[row[n.DIE_X], row[n.DIE_Y]] = row
    return {
        name: pictures.wafer_map(
            [(x, y, None if row[name] is None else float(row[name])) for (x, y), row in dies.items()],
            f"{name} on wafer {wafer} of lot {lot}",
            meaning_of(view, name).unit,
        )
        for name in numeric
    }


def _write(target: Path, templates: jinja2.Environment, pages: Sequence[ViewPage], state: RegistryState) -> None:
    """Writes the site into a folder of this job's own beside the target, and puts it in its place.

    A job that dies leaves the target as it was, or moved aside for a moment, and folders whose names begin with
    `.fs_spark_docs-` beside it.
    """
    files = {**_texts(templates, pages, state), "style.css": _style()}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f"{MARK}-", dir=target.parent))
        try:
            made = beside / "new"
            for name, text in {
                MARK: json.dumps({"fs_spark": version("fs_spark"), "files": sorted(files)}),
                **files,
            }.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).write_text(text, encoding="utf-8")
            if target.is_dir():
                require_ours(target)  # once more: the pages took a while
                os.replace(target, beside / "old")
            try:
                os.replace(made, target)
            except OSError:
                if (beside / "old").is_dir() and not target.exists():
                    os.replace(beside / "old", target)
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as fault:
        raise RequestError(
            f"the site could not be put at {target}: {fault.strerror or fault}. "
            "Hint: name a folder in a place that can be written; if another job was at it, run this again"
        ) from fault


def _style() -> str:
    return (Path(__file__).with_name("templates") / "style.css").read_text(encoding="utf-8")


def _texts(templates: jinja2.Environment, pages: Sequence[ViewPage], state: RegistryState) -> dict[str, str]:
    """Every page by its place in the site."""
    told = (
        f"fs_spark {version('fs_spark')}, registry at version {state.table_version}, "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    )
    index = templates.get_template("index.html").render(
        up="", told=told, views=pages, features=sum(len(page.features) for page in pages),
        indexes=_indexes(pages), search=_search(pages),
    )  # fmt: skip
    view_template, feature_template = templates.get_template("view.html"), templates.get_template("feature.html")
    files = {"index.html": index}
    for page in pages:
        files[f"views/{page.name}.html"] = view_template.render(up="../", told=told, view=page)
        for one in page.features:
            files[f"features/{one.file}"] = feature_template.render(up="../", told=told, view=page, one=one)
    return files


def _indexes(pages: Sequence[ViewPage]) -> list[tuple[str, list[tuple[str, list[ViewPage]]]]]:
    """By entity, tag and owner."""

    def grouped(names: dict[str, list[ViewPage]]) -> list[tuple[str, list[ViewPage]]]:
        return sorted(names.items())

    by_entity: dict[str, list[ViewPage]] = {}
    by_tag: dict[str, list[ViewPage]] = {}
    by_owner: dict[str, list[ViewPage]] = {}
    for page in pages:
        by_entity.setdefault(page.entity, []).append(page)
        by_owner.setdefault(page.owner or "nobody is named", []).append(page)
        for tag in page.tags or ("no tag",):
            by_tag.setdefault(tag, []).append(page)
    return [("entity", grouped(by_entity)), ("tag", grouped(by_tag)), ("owner", grouped(by_owner))]


def _search(pages: Sequence[ViewPage]) -> list[tuple[str, str, str, str]]:
    """Name, page, all words in lower case, and what is shown beside the name."""
    found = []
    for page in pages:
        words = " ".join([page.name, page.description, page.entity, page.owner, *page.tags]).lower()
        found.append((page.name, f"views/{page.name}.html", words, f"view of {page.entity}"))
        for one in page.features:
            more = f"{one.name} {one.meaning.description} {one.meaning.unit} {one.meaning.source}".lower()
            beside = " ".join(filter(None, (page.name, one.meaning.description)))
            found.append((one.name, f"features/{one.file}", f"{more} {words}", beside))
    return found
