"""The verbs of the online store on the command line: export, verify-online and get."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from fs_spark.answers import Answer, Verbs, as_json, as_moment
from fs_spark.errors import RequestError
from fs_spark.store import FeatureStore


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as fault:
        raise RequestError(f'{text!r} is no JSON: {fault}. Hint: write \'{{"lot_id": "L1", ...}}\'') from fault


def _export(args: argparse.Namespace) -> Answer:
    report = FeatureStore.open(args.conf).export(args.service, full=args.full)
    if report.current:
        return report.to_dict(), f"{report.service} is published as it is; nothing was written", 0
    lines = []
    for view, rows in report.rows.items():
        gone = f", {report.gone[view]} without rows now" if report.gone.get(view) else ""
        lines.append(f"{view:28} {rows:8} rows{gone}  (Delta version {report.delta_versions[view]})")
    lines.append(
        f"{report.kind} export, generation {report.generation}: {report.size_bytes / 1e6:.1f} MB in "
        f"{report.seconds:.1f} s, {report.keys_per_s:,.0f} keys/s"
    )
    return report.to_dict(), "\n".join(lines), 0


def _verify(args: argparse.Namespace) -> Answer:
    found = FeatureStore.open(args.conf).verify_online(args.service, sample=args.sample, seed=args.seed)
    lines = []
    for one in found.views:
        counted = ", ".join(f"{count} {kind}" for kind, count in one.counts.items() if count) or "all equal"
        lines.append(f"{one.view:28} {one.keys:8} keys  {counted}")
        lines += [f"  {kind}: {as_json(key)}" for kind, key in one.examples]
    return found.to_dict(), "\n".join(lines), 0 if found.is_equal else 4


def _get(args: argparse.Namespace) -> Answer:
    keys = []
    for text in args.keys:
        key = _read(text)
        keys += key if isinstance(key, list) else [key]
    request = _read(args.request) if args.request is not None else None
    with FeatureStore.open(args.conf).online() as reader:
        answers = reader.get(
            args.service, keys, args.features or None, at=as_moment(args.at), status=args.status, request=request,
        )  # fmt: skip
    return {"rows": answers}, "\n".join(map(as_json, answers)), 0


ONLINE_VERBS: Final[Verbs] = {
    "export": (
        _export,
        "publish a service's newest rows online",
        "fs-spark export device_v2_0",
        [("service", {}), ("--full", {"action": "store_true", "help": "all keys, not only those that changed"})],
    ),
    "verify-online": (
        _verify,
        "compare what is published with the tables it was made from; exit code 4 if they differ",
        "fs-spark verify-online device_v2_0 --sample 1000",
        [
            ("service", {}),
            ("--sample", {"type": int, "metavar": "KEYS", "help": "of each view (default: all keys)"}),
            ("--seed", {"type": int, "default": 0, "help": "chooses the sample"}),
        ],
    ),
    "get": (
        _get,
        "read online features (no Spark, no JVM)",
        'fs-spark get device_v2_0 \'{"lot_id": "L1", "wafer_id": "W01", "die_x": 3, "die_y": -4}\'',
        [
            ("service", {}),
            ("keys", {"nargs": "+", "help": "a JSON object, or a list of them"}),
            ("--features", {"nargs": "+", "help": "default: all of the service"}),
            ("--at", {"metavar": "MOMENT", "help": "as of when, such as 2025-03-03T12:00Z (default: now)"}),
            (
                "--request",
                {"metavar": "JSON", "help": "for features on demand: an object, or one for each key"},
            ),
            ("--status", {"action": "store_true", "help": "say of each view: present, missing, stale or beyond"}),
        ],
    ),
}
