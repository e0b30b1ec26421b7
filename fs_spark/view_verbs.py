"""The verbs of views on the command line: from features and plan to promote, rollback and retire."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from fs_spark.answers import LISTED, Answer, Verbs, as_moment
from fs_spark.errors import RequestError
from fs_spark.store import FeatureStore

if TYPE_CHECKING:
    from fs_spark.lifecycle.lineage import Direction


def _features(args: argparse.Namespace) -> Answer:
    """Needs no store."""
    from fs_spark.features.listing import catalogue_dicts, catalogue_text, chosen_features

    try:
        found = chosen_features(args.families)
    except ValueError as fault:
        raise RequestError(str(fault)) from fault
    return {"features": catalogue_dicts(found)}, catalogue_text(found), 0


def _plan(args: argparse.Namespace) -> Answer:
    from fs_spark.lifecycle.plans import CHANGED

    plan = FeatureStore.open(args.conf).plan()
    return plan.to_dict(), plan.to_text(), CHANGED if args.check and not plan.is_empty else 0


def _agreed(question: str) -> bool:
    """Whether somebody at the terminal says yes; who ends the input says no."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _apply(args: argparse.Namespace) -> Answer:
    """Who sits at a terminal sees the plan first and is asked."""
    store = FeatureStore.open(args.conf)
    if sys.stdin.isatty() and not (args.yes or args.json):
        plan = store.plan()
        asked = f"{plan.to_text()}\nregister these? [y/N] "
        if not plan.is_empty and not _agreed(asked):
            return {"changes": []}, "nothing was registered", 0
    changes = store.apply(reason=args.reason)
    text = "\n".join(f"{c.action:10} {c.view} v{c.version}" for c in changes) or "no view is defined"
    return {"changes": [vars(c) for c in changes]}, text, 0


def _materialize(args: argparse.Namespace) -> Answer:
    report = FeatureStore.open(args.conf).materialize(args.views or None, full=args.full)
    lines = [
        f"{v.view:28} {v.units_changed:6} {v.unit}s written, {v.units_removed} removed  (Delta version {v.version})"
        for v in report.views
    ]
    lines += [f"{n} tested dies of {p} are not on its wafer map" for p, n in report.dies_outside_map.items()]
    lines += [f"{v.view:28} stays as it was: {v.stopped}" for v in report.views if v.stopped]
    lines += [f"{v.view:28} waits: {v.waiting}" for v in report.views if v.waiting]
    lines += [f"{v.view:28} warning: {warning}" for v in report.views for warning in v.warnings]
    return report.to_dict(), "\n".join(lines), report.exit_code


def _fit(args: argparse.Namespace) -> Answer:
    store = FeatureStore.open(args.conf)
    begin, end = as_moment(args.begin), as_moment(args.end)
    if begin is None and end is None:
        report = store.fit(args.view)
        told = f"{report.view}: fitted from {report.rows} rows in {report.groups} groups, digest {report.digest}"
        return report.to_dict(), f"{told}\nnext: fs-spark materialize {args.view}", 0
    if begin is None or end is None:
        raise RequestError("a fit has a beginning and an end. Hint: give both --from and --to")
    from fs_spark.refit import write_refit

    known = [version for name, version in store._state().versions if name == args.view]
    file, version = write_refit(store.config.folder, args.view, known, begin, end)
    text = (
        f"{file}: version {version}\nnext: fs-spark apply, fs-spark fit {args.view}, fs-spark materialize {args.view}"
    )
    return {"file": str(file), "version": version}, text, 0


def _promote(args: argparse.Namespace) -> Answer:
    view = FeatureStore.open(args.conf).views().promote(args.view, args.version, reason=args.reason)
    return {"view": view.name, "version": view.version}, f"{view.name}: v{view.version} is promoted", 0


def _rollback(args: argparse.Namespace) -> Answer:
    view = FeatureStore.open(args.conf).rollback(args.view, args.version, reason=args.reason)
    return {"view": view.name, "version": view.version}, f"{view.name}: v{view.version} is promoted", 0


def _retire(args: argparse.Namespace) -> Answer:
    view = FeatureStore.open(args.conf).views().retire(args.view, args.version, reason=args.reason)
    text = f"{view.qualified} is retired. Its table stays; fs-spark promote {view.name} {view.version} takes it back"
    return {"view": view.name, "version": view.version}, text, 0


def _show(args: argparse.Namespace) -> Answer:
    card = FeatureStore.open(args.conf).views().show(args.view)
    return card.to_dict(), card.to_text(), 0


def _list(args: argparse.Namespace) -> Answer:
    from fs_spark.lifecycle.listing import listed

    rows = listed(FeatureStore.open(args.conf), args.what, all_versions=args.all)
    return {args.what: rows.rows}, rows.to_text(), 0


def _lineage(args: argparse.Namespace) -> Answer:
    direction: Direction = "both" if args.up == args.down else "up" if args.up else "down"
    found = FeatureStore.open(args.conf).views().lineage(args.feature, direction=direction)
    return found.to_dict(), found.to_mermaid() if args.mermaid else found.to_text(), 0


def _docs(args: argparse.Namespace) -> Answer:
    from fs_spark.docs import write_docs

    report = write_docs(FeatureStore.open(args.conf), args.folder)
    return report.to_dict(), f"{report.features} features of {report.views} views: open {report.index}", 0


_WHY: Final = ("--reason", {"help": "why, for those who read the registry later"})


VIEW_VERBS: Final[Verbs] = {
    "features": (
        _features,
        "list the catalogue of features: unit, when it is null, source, cost",
        "fs-spark features outcome_neighborhood wafer_values",
        [("families", {"nargs": "*", "help": "default: all"})],
    ),
    "plan": (
        _plan,
        "show what apply would register, what it means and what it costs",
        "fs-spark plan --check",
        [("--check", {"action": "store_true", "help": "exit with 5 where apply would register something"})],
    ),
    "apply": (
        _apply,
        "register new view versions",
        "fs-spark apply --yes --reason 'neighbors of two rings'",
        [("--yes", {"action": "store_true", "help": "do not ask at a terminal"}), _WHY],
    ),
    "list": (
        _list,
        "list what there is: views, services, entities, sources or training-sets",
        "fs-spark list views --all",
        [
            ("what", {"nargs": "?", "default": "views", "choices": LISTED}),
            ("--all", {"action": "store_true", "help": "of views every version, not the promoted ones alone"}),
        ],
    ),
    "show": (_show, "tell all of a view version", "fs-spark show die_neighborhood__v1.0", [("view", {})]),
    "fit": (
        _fit,
        "fit a view once, from the rows that its text names; with a span write the text of its next version",
        "fs-spark fit zscores\n  fs-spark fit zscores --from 2025-03-03T00:00Z --to 2025-03-10T00:00Z",
        [
            ("view", {}),
            ("--from", {"dest": "begin", "metavar": "MOMENT", "help": "fit events from here on, as a new version"}),
            ("--to", {"dest": "end", "metavar": "MOMENT", "help": "and before this"}),
        ],
    ),
    "materialize": (
        _materialize,
        "bring feature tables up to the ingested rows",
        "fs-spark materialize die_neighborhood lot_so_far",
        [("views", {"nargs": "*"}), ("--full", {"action": "store_true", "help": "recompute every lot"})],
    ),
    "lineage": (
        _lineage,
        "tell where a feature comes from and what uses it",
        "fs-spark lineage die_neighborhood:fail__neighbor_frac --up --mermaid",
        [
            ("feature", {"help": "view:feature, view__v1.0:feature, or a view"}),
            ("--up", {"action": "store_true", "help": "only what it is made from"}),
            ("--down", {"action": "store_true", "help": "only what is made of it"}),
            ("--mermaid", {"action": "store_true", "help": "as a flowchart for Mermaid"}),
        ],
    ),
    "docs": (
        _docs,
        "write a static site about all features, which opens from the disk",
        "fs-spark docs site",
        [("folder", {})],
    ),
    "promote": (
        _promote,
        "make a registered version the one that a view's name means",
        "fs-spark promote die_neighborhood 1.1",
        [("view", {}), ("version", {}), _WHY],
    ),
    "rollback": (
        _rollback,
        "promote the version of before, or an older one that is named",
        "fs-spark rollback die_neighborhood",
        [("view", {}), ("version", {"nargs": "?"}), _WHY],
    ),
    "retire": (
        _retire,
        "take a version out of use; refused while anything uses it",
        "fs-spark retire die_neighborhood 1.0 --reason 'the ring was counted twice'",
        [("view", {}), ("version", {}), _WHY],
    ),
}
