"""fs-spark: the store's verbs on the command line.

Exit codes: 0 done; 3 done with files set aside; 2 the caller's fault or nothing readable; 1 a fault of fs_spark.
"""

from __future__ import annotations

import argparse
import difflib
import io
import logging
import os
import re
import shutil
import sys
import traceback
from collections.abc import Sequence
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from fs_spark.answers import Answer, Verbs, as_json
from fs_spark.errors import FsSparkError, RequestError, without_secrets
from fs_spark.jvm import hide_jvm_output
from fs_spark.online_verbs import ONLINE_VERBS
from fs_spark.serving_verbs import SERVING_VERBS
from fs_spark.store import FeatureStore
from fs_spark.training_verbs import TRAINING_VERBS
from fs_spark.view_verbs import VIEW_VERBS

log = logging.getLogger("fs_spark")


def _init(args: argparse.Namespace) -> Answer:
    """Writes the starter configuration; never over a file that is there."""
    from fs_spark.config_schemas import write_config_schemas

    folder = Path(args.folder)
    starter = resources.files("fs_spark.starter")
    written = []
    names = [f"{name}.yaml" for name in ("store", "testers", "products", "inputs", "entities", "sources", "services")]
    sources = [(name, starter / name) for name in names]
    sources += [(f"views/{view.name}", view) for view in (starter / "views").iterdir() if view.name.endswith(".yaml")]
    taken = [name for name, _ in sources if (folder / name).exists()]
    if taken:
        raise RequestError(f"{folder} holds {', '.join(taken)} already. Hint: choose an empty folder")
    for name, source in sources:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with resources.as_file(source) as path:
            shutil.copyfile(path, folder / name)
        written.append(str(folder / name))
    written += map(str, write_config_schemas(folder))
    return (
        {"written": written},
        f"wrote {len(written)} files to {folder}\nnext: fs-spark ingest FILES --conf {folder}/store.yaml",
        0,
    )


def _ingest(args: argparse.Namespace) -> Answer:
    if not args.files and not args.again:
        raise RequestError(
            "no file to read. Hint: name files, globs or folders; --again alone takes all delivered ones"
        )
    report = FeatureStore.open(args.conf).ingest(args.files, again=args.again, dry_run=args.dry_run)
    lines = [
        "\n".join(
            [f"{f.status:15} {f.parts:7} parts  {f.path}"]
            + [f"{'':15} {f.reason}"] * bool(f.reason)
            + [f"{'':15} warning: {warning}" for warning in f.warnings]
        )
        for f in report.files
    ]
    if report.dry_run:
        lines.append("dry run: nothing was written")
    return report.to_dict(), "\n".join(lines), report.exit_code


def _inspect(args: argparse.Namespace) -> Answer:
    """Needs no store: without a configuration the times are the tester's wall clock."""
    from fs_spark.config import load_configuration
    from fs_spark.inspect_file import inspect_path

    config = load_configuration(args.conf, strict=False) if Path(args.conf).exists() else None
    if config is not None:
        config.require("products")
    seen = inspect_path(args.file, config, suggest=args.suggest, limit=args.limit)
    return seen.report, seen.text, 3 if seen.damaged else 0


def _history(args: argparse.Namespace) -> Answer:
    store = FeatureStore.open(args.conf)
    if args.table is None:
        saved = store.training_sets()
        named = {name: saved.manifest(name)["content"] for name in saved}
        lines = [f"{name:28} {told['rows']:9} rows  digest {told['digest'][:12]}" for name, told in named.items()]
        return {"training_sets": named}, "\n".join(lines) or "no training set is saved", 0
    commits = store.history(args.table)
    lines = [f"{'version':>7}  {'when (UTC)':19}  {'operation':28} {'rows':>10}  made from"]
    for c in commits:
        rows = f"{c.rows:+}" if c.rows is not None else ""
        when = f"{c.timestamp:%Y-%m-%d %H:%M:%S}" if c.timestamp is not None else ""
        lines.append(f"{c.version:7}  {when:19}  {c.operation:28} {rows:>10}  {c.made_from}".rstrip())
    return {"commits": [vars(c) | {"rows": c.rows, "made_from": c.made_from} for c in commits]}, "\n".join(lines), 0


def _repair(args: argparse.Namespace) -> Answer:
    report = FeatureStore.open(args.conf).repair(dry_run=args.dry_run)
    return report.to_dict(), report.to_text(), 3 if report.lacking else 0


def _submit_args(args: argparse.Namespace) -> Answer:
    from fs_spark.session import submit_args

    words = submit_args(args.conf if Path(args.conf).exists() else None)
    return {"arguments": words}, " ".join(words), 0


def _warm(args: argparse.Namespace) -> Answer:
    from fs_spark.quick_start import cache_folder
    from fs_spark.warm import all_jobs, cold, warm

    if cache_folder() is None:
        raise RequestError(
            "nothing that is compiled can be kept. Hint: set FS_SPARK_CACHE_DIR to a folder that can be written"
        )
    compiled = warm()
    if left := cold(all_jobs()):
        raise RequestError(
            f"not everything could be compiled and kept: {', '.join(left)}. Hint: set FS_SPARK_CACHE_DIR to a folder "
            "that can be written"
        )
    if args.jvm:
        from fs_spark.warm import warm_jvm

        warm_jvm(args.conf if Path(args.conf).exists() else None)
    text = f"compiled {', '.join(compiled)}" if compiled else "everything is compiled on this machine already"
    return {"compiled": compiled}, text, 0


def _demo(args: argparse.Namespace) -> Answer:
    from fs_spark.demo import run_demo

    report = run_demo(Path(args.folder), wafers=args.wafers, lots=args.lots)
    return report, "", 0


_FIRST: Verbs = {
    "init": (
        _init,
        "write a starter configuration",
        "fs-spark init conf",
        [("folder", {"nargs": "?", "default": "conf"})],
    ),
    "ingest": (
        _ingest,
        "read tester files into the tables",
        "fs-spark ingest in/*.stdf.gz",
        [
            ("files", {"nargs": "*", "help": "files, globs, folders or URIs"}),
            ("--again", {"action": "store_true", "help": "read files anew that were set aside or are configured anew"}),
            ("--dry-run", {"action": "store_true", "help": "report what would become of the files, write nothing"}),
        ],
    ),
    "inspect": (
        _inspect,
        "show what a tester file holds (no Spark, no JVM)",
        "fs-spark inspect in/lot.stdf.gz --suggest",
        [
            ("file", {}),
            ("--suggest", {"action": "store_true", "help": "propose parameters for products.yaml instead"}),
            ("--limit", {"type": int, "default": 10, "help": "most parameters to propose"}),
        ],
    ),
}
_LAST: Verbs = {
    "history": (
        _history,
        "list the Delta versions of a table, view or training set; without a name all training sets",
        "fs-spark history die_tests",
        [("table", {"nargs": "?"})],
    ),
    "repair": (
        _repair,
        "keep each ingested row once and remove rows that do not count; names files of which rows are missing",
        "fs-spark repair --dry-run",
        [("--dry-run", {"action": "store_true", "help": "report what would be done, write nothing"})],
    ),
    "submit-args": (
        _submit_args,
        "print what spark-submit needs",
        "spark-submit $(fs-spark submit-args) jobs/materialize_features.py --conf conf/store.yaml",
        [],
    ),
    "warm": (
        _warm,
        "compile everything beforehand, for images and nodes",
        "fs-spark warm",
        [
            (
                "--jvm",
                {"action": "store_true", "help": "keep what makes a local session start fast as well"},
            )
        ],
    ),
    "demo": (
        _demo,
        "a lot from tester files to a served row",
        "fs-spark demo",
        [
            ("--folder", {"default": "demo_store"}),
            ("--lots", {"type": int, "default": 4}),
            ("--wafers", {"type": int, "default": 4}),
        ],
    ),
}
_VERBS: Verbs = {**_FIRST, **VIEW_VERBS, **TRAINING_VERBS, **ONLINE_VERBS, **SERVING_VERBS, **_LAST}


class _Parser(argparse.ArgumentParser):
    """Names the nearest verb for one that is mistyped."""

    def error(self, message: str) -> NoReturn:
        mistyped = re.search(r"invalid choice: '([^']*)'", message)
        if mistyped and "argument VERB" in message:
            near = difflib.get_close_matches(mistyped[1], _VERBS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "fs-spark --help lists the verbs"
            message = f"{mistyped[1]!r} is not a verb of fs-spark. Hint: {hint}"
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fs-spark", description="A feature store for semiconductor wafer test.")
    parser.add_argument("--version", action="version", version=f"fs_spark {version('fs_spark')}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, (_, what, example, arguments) in _VERBS.items():
        one = verbs.add_parser(
            verb,
            help=what,
            description=what,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for name, options in arguments:
            one.add_argument(name, **options)
        one.add_argument("--conf", default="conf/store.yaml", help="the store's configuration (default: %(default)s)")
        one.add_argument("--json", action="store_true", help="print the report as JSON")
        one.add_argument("--jvm-output", action="store_true", help="show what Spark's JVM prints")
    return parser


def run(verb: str, argv: Sequence[str]) -> int:
    """Carries out one verb and prints its answer; what jobs call."""
    return main([verb, *argv])


class _Discreet(logging.Formatter):
    """Log lines and tracebacks whose URLs have no password."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def _discreet_traceback(kind: type[BaseException], fault: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(without_secrets("".join(traceback.format_exception(kind, fault, trace))))


def main(argv: Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):  # a terminal that is not UTF-8 gets escapes, not an error
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = _parser().parse_args(argv)
    hide_jvm_output(not args.jvm_output)
    if argv is None:
        sys.excepthook = _discreet_traceback
    lines = logging.StreamHandler()
    lines.setFormatter(_Discreet("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    log.setLevel(logging.WARNING if args.json else logging.INFO)
    try:
        report, text, code = _VERBS[args.verb][0](args)
    except FsSparkError as fault:
        if args.json:
            print(as_json({"error": type(fault).__name__, "message": str(fault)}))
        print(f"{type(fault).__name__}: {fault}", file=sys.stderr)
        return 2
    if args.json or text:
        return _printed(as_json(report) if args.json else text, code)
    return code


def _printed(text: str, code: int) -> int:
    """Prints an answer; who reads it may stop early, as `head` does, and that is no fault."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python says so again when it ends
    return code


if __name__ == "__main__":
    sys.exit(main())
