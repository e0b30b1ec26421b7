"""The verbs of the online store on the command line: export and get."""

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
    report = FeatureStore.open(args.conf).export(args.service)
    if report.current:
        return report.to_dict(), f"{report.service} is published as it is; nothing was written", 0
    lines = [
        f"{view:28} {rows:8} rows  (Delta version {report.delta_versions[view]})" for view, rows in report.rows.items()
    ]
    return report.to_dict(), "\n".join(lines), 0


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
    "export": (_export, "publish a service's newest rows online", "fs-spark export device_v2_0", [("service", {})]),
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
