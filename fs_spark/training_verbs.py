"""The verbs of training sets on the command line: train, reproduce, describe, diff, leaks, vacuum."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from fs_spark.answers import Answer, Verbs
from fs_spark.errors import RequestError
from fs_spark.features.spine import DIE_LABELS, LOT_LABELS, QUESTIONS, GroupSplit, NegativeSampling, SpineRequest
from fs_spark.stdf.rules import Duration
from fs_spark.store import FeatureStore

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


_SHARES: Final = {"train": 0.7, "validation": 0.15, "test": 0.15}


def _spans(texts: Sequence[str] | None) -> dict[str, timedelta]:
    """`view=30d` -> the view's span."""
    found = {}
    for text in texts or ():
        view, _, span = text.partition("=")
        try:
            found[view] = TypeAdapter(Duration).validate_python(span)
        except ValidationError as fault:
            raise RequestError(f"{text!r} is no view and span. Hint: write die_measured=30d") from fault
    return found


def _from_file(store: FeatureStore, path: Path) -> tuple[DataFrame, FeatureStore]:
    from fs_spark.session import build_session

    if not path.exists():
        raise RequestError(f"no spine at {path}. Hint: give a parquet file or a Delta table's folder")
    spark = build_session(store.config.store)
    kind = "delta" if (path / "_delta_log").is_dir() else "parquet"
    return spark.read.format(kind).load(str(path)), FeatureStore(store.config, spark)


def _train(args: argparse.Namespace) -> Answer:
    from fs_spark.training import TrainingRules

    if (args.spine is None) == (args.question is None):
        raise RequestError("give either --spine or --question. Hint: --question die_test asks the store's own rows")
    store = FeatureStore.open(args.conf)
    rules = TrainingRules(
        offset=_spans(args.offset),
        ttl=_spans(args.ttl),
        ignore_availability=tuple(args.ignore_availability or ()),
        times=args.times,
        keep=args.keep,
    )
    spine: DataFrame | SpineRequest
    if args.spine is not None:
        spine, store = _from_file(store, Path(args.spine))
    else:
        negatives = NegativeSampling(args.negatives, args.seed) if args.negatives is not None else None
        split = GroupSplit(args.split, _SHARES, args.seed) if args.split is not None else None
        spine = SpineRequest(
            args.question, args.label, args.insertion, args.earlier_insertion, attempts=args.attempts,
            negatives=negatives, split=split,
        )  # fmt: skip
    built = store.training_set(
        spine, " ".join(args.features), name=args.name, timestamp=args.timestamp, prefix=args.prefix, rules=rules
    )
    lines = [f"{built.name}: {built.rows} rows, digest {built.digest}"]
    shares = built.manifest["content"]["empty"]
    lines += [f"{100 * share:.1f} % of the rows have no feature of {view}" for view, share in shares.items() if share]
    return built.manifest, "\n".join(lines), 0


def _reproduce(args: argparse.Namespace) -> Answer:
    rebuilt = FeatureStore.open(args.conf).reproduce(args.name, from_source=args.from_source)
    source = "from the ingested rows" if args.from_source else "from the feature tables"
    return rebuilt.manifest, f"{rebuilt.name}: the same {rebuilt.rows} rows again {source}, digest {rebuilt.digest}", 0


def _describe(args: argparse.Namespace) -> Answer:
    saved = FeatureStore.open(args.conf).training_sets()
    return saved.manifest(args.name), saved.describe(args.name), 0


def _diff(args: argparse.Namespace) -> Answer:
    """Two versions of views where both names have one, else two training sets."""
    store = FeatureStore.open(args.conf)
    named = [re.search(r"__v\d+\.\d+$", name) is not None for name in (args.name, args.other)]
    if all(named):
        views = store.views().diff(args.name, args.other, sample=args.sample)
        return views.to_dict(), views.to_text(), 0
    if any(named):
        raise RequestError(
            f"{args.name} and {args.other} cannot be compared: one is a version of a view, the other a training set. "
            "Hint: name two versions, as in die_neighborhood__v1.0 die_neighborhood__v1.1, or two training sets"
        )
    found = store.training_sets().diff(args.name, args.other)
    return found.to_dict(), found.to_text(), 0


def _leaks(args: argparse.Namespace) -> Answer:
    from fs_spark import leaks

    store = FeatureStore.open(args.conf)
    report = leaks.check(store.training_sets()[args.name], label=args.label, store=store)
    return report.to_dict(), report.to_text(), 0 if report.ok else 2


def _vacuum(args: argparse.Namespace) -> Answer:
    report = FeatureStore.open(args.conf).vacuum(keep_days=args.keep_days, horizon=args.horizon, dry_run=args.dry_run)
    return report.to_dict(), report.to_text(), 0


TRAINING_VERBS: Final[Verbs] = {
    "train": (
        _train,
        "join features to a spine and save the training set",
        "fs-spark train bin_model --spine spine.parquet die_neighborhood:fail__neighbor_frac device_v2_0\n"
        "  fs-spark train next_test device_v2_1 --question next_insertion --insertion 2 --earlier-insertion 1 "
        "--attempts first --split lot",
        [
            ("name", {}),
            ("features", {"nargs": "+", "help": "view:feature, view__v1.0:feature, or a service"}),
            ("--spine", {"help": "parquet file or Delta folder with keys and a time"}),
            ("--question", {"choices": QUESTIONS, "help": "a spine from the store's own rows instead"}),
            ("--label", {"help": f"of the question: {', '.join(DIE_LABELS)}; of a lot: {', '.join(LOT_LABELS)}"}),
            ("--insertion", {"default": "1", "help": "the insertion that is predicted (default: %(default)s)"}),
            ("--earlier-insertion", {"help": "the insertion that is wholly known"}),
            (
                "--attempts",
                {
                    "choices": ["first", "final", "all"],
                    "help": "of each die; first, where views are keyed "
                    "by what is known of an attempt, such as its tester",
                },
            ),
            ("--negatives", {"type": float, "help": "share of the passes that is kept, with weights"}),
            ("--split", {"choices": ["lot", "wafer"], "help": "adds a column with train, validation and test"}),
            ("--seed", {"type": int, "default": 0}),
            ("--timestamp", {"default": "event_timestamp"}),
            ("--prefix", {"choices": ["none", "view"], "default": "none"}),
            ("--offset", {"action": "append", "metavar": "VIEW=SPAN", "help": "features as they stood before: v=30d"}),
            ("--ttl", {"action": "append", "metavar": "VIEW=SPAN", "help": "the oldest row that counts"}),
            ("--ignore-availability", {"action": "append", "metavar": "VIEW"}),
            ("--times", {"action": "store_true", "help": "adds the event time and age of the chosen rows"}),
            ("--keep", {"choices": ["rows", "spine"], "default": "rows"}),
        ],
    ),
    "reproduce": (
        _reproduce,
        "rebuild a training set and compare",
        "fs-spark reproduce bin_model --from-source",
        [("name", {}), ("--from-source", {"action": "store_true", "help": "compute the features anew"})],
    ),
    "describe": (_describe, "tell what a training set was made of", "fs-spark describe bin_model", [("name", {})]),
    "diff": (
        _diff,
        "compare two training sets by their manifests, or two versions of a view by meaning and values",
        "fs-spark diff bin_model bin_model_2\n  fs-spark diff die_neighborhood__v1.0 die_neighborhood__v1.1",
        [
            ("name", {}),
            ("other", {}),
            ("--sample", {"type": int, "default": 10_000, "help": "rows of views to compare (default: %(default)s)"}),
        ],
    ),
    "leaks": (
        _leaks,
        "test a training set for features that know too much (exit code 2: some do)",
        "fs-spark leaks bin_model --label fails",
        [("name", {}), ("--label", {"required": True})],
    ),
    "vacuum": (
        _vacuum,
        "remove old files, but none that a training set needs",
        "fs-spark vacuum --keep-days 90 --dry-run",
        [
            ("--keep-days", {"type": int, "help": "remove what no version younger than this needs; default: horizon"}),
            ("--horizon", {"help": "change how long versions are kept: 'interval 365 days'"}),
            ("--dry-run", {"action": "store_true"}),
        ],
    ),
}
