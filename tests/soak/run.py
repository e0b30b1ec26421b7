"""`make soak`: every verb killed at every write, and every pair of verbs at once at every write of the first.

`python -m tests.soak.run [--seed N] [--minutes M] [--state FILE] [--processes] [killed] [at_once]`. The cases are
drawn in an order that the seed gives; each result is a line of the state file, and a case that passed there with the
same code is not run again, so that a run that was cut goes on where it was.

killed    the verb ends at a write (with `--processes`: kill -9 of a process of its own), and is run once more: the
          store holds what an undisturbed run gives
at_once   the second verb runs whole at a write of the first: nothing is doubled, lost or half done, whatever each of
          the two says, and when both have been run again the store holds what both give one after the other
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from fs_spark import promises, tables
from fs_spark.errors import FsSparkError
from fs_spark.session import build_session
from tests.conftest import ROOT
from tests.faults.verbs import ORDER, VERBS, content, copied, walked
from tests.faults.writes import Died, When, writes_noted
from tests.stores import open_store, write_lot

WORDS = {
    "ingest": lambda folder: ["ingest", str(folder / "in")],
    "apply": lambda folder: ["apply"],
    "materialize": lambda folder: ["materialize"],
    "export": lambda folder: ["export", "device_v2_0"],
    "vacuum": lambda folder: ["vacuum", "--keep-days", "1"],
    "repair": lambda folder: ["repair"],
}
"""The verbs as words; `train` takes a spine that only Python has, and is killed inside this process."""


@dataclass(frozen=True)
class Case:
    kind: str
    verb: str
    number: int
    when: When
    other: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind} {self.verb} {self.number} {self.when} {self.other}".strip()


def code_digest() -> str:
    found = hashlib.sha256()
    for folder in ("fs_spark", "tests/faults", "tests/soak"):
        for source in sorted((ROOT / folder).rglob("*.py")):
            found.update(source.read_bytes())
    return found.hexdigest()[:12]


class Soak:
    def __init__(self, spark: SparkSession, place: Path, *, processes: bool) -> None:
        self.spark, self.place, self.processes = spark, place, processes
        self.counter = 0

    def stages(self) -> dict[str, tuple[Path, int, dict[str, Any]]]:
        """Before each verb: the store; how many writes the verb has; what the store holds after it."""
        made = {}
        folder = walked(self.spark, self.place / "all", ())
        for verb in ORDER:
            before = self.copy(folder, f"before {verb}")
            with writes_noted(lambda *_: None) as names:
                VERBS[verb](open_store(folder, self.spark), folder)
            made[verb] = (before, len(names), content(self.spark, folder))
        return made

    def pairs(self) -> dict[str, tuple[Path, int]]:
        """A store in which every verb has something to do, and how many writes each verb has there."""
        folder = walked(self.spark, self.place / "pairs", ("ingest", "apply", "materialize", "export"))
        write_lot(folder / "in", 2, wafers=1)
        VERBS["ingest"](open_store(folder, self.spark), folder)
        write_lot(folder / "in", 3, wafers=1)
        for number, name in enumerate(("die_one", "die_two")):
            text = f"name: {name}\nversion: '1.0'\ninsertion: '{number + 1}'\nfeatures: [neighbor_count]\n"
            (folder / "conf" / "views" / f"{name}.yaml").write_text(text)
        made = {}
        for verb in VERBS:
            copy = self.copy(folder, f"count {verb}")
            with writes_noted(lambda *_: None) as names:
                VERBS[verb](open_store(copy, self.spark), copy)
            made[verb] = (folder, len(names))
            shutil.rmtree(copy)
        return made

    def copy(self, folder: Path, name: str | None = None) -> Path:
        self.counter += 1
        to = self.place / (name or f"case {self.counter}")
        made = copied(folder, to)
        shutil.copytree(folder / "in", made / "in", dirs_exist_ok=True)
        return made

    def killed(self, case: Case, before: Path, undisturbed: dict[str, Any]) -> str | None:
        folder = self.copy(before)
        if self.processes and case.verb in WORDS:
            words = [*WORDS[case.verb](folder), "--conf", str(folder / "conf" / "store.yaml")]
            command = [sys.executable, "-m", "tests.faults.killed", "*", str(case.number + 1), case.when, *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
            if done.returncode != -9:
                return f"was not killed: {done.returncode} {done.stderr[-500:]}"
        else:

            def stop(at: int, when: When, name: str) -> None:
                if (at, when) == (case.number, case.when):
                    raise Died(name)

            try:
                with writes_noted(stop):
                    VERBS[case.verb](open_store(folder, self.spark), folder)
                return "did not reach its write"
            except Died:
                pass
        VERBS[case.verb](open_store(folder, self.spark), folder)
        return difference(moved(content(self.spark, folder), folder), moved(undisturbed, self.place / "all"))

    def at_once(self, case: Case, ready: Path) -> str | None:
        folder, apart = self.copy(ready), self.copy(ready)
        said: list[str] = []

        def run(verb: str, at: Path) -> None:
            try:
                VERBS[verb](open_store(at, self.spark), at)
            except FsSparkError as fault:
                said.append(f"{verb}: {type(fault).__name__}: {fault}")

        def stop(at: int, when: When, name: str) -> None:
            if (at, when) == (case.number, case.when):
                run(case.other, folder)

        with writes_noted(stop):
            run(case.verb, folder)
        for at in (folder, apart):
            for verb in ORDER:
                run(verb, at) if verb != "vacuum" else None
        found = difference(moved(content(self.spark, folder), folder), moved(content(self.spark, apart), apart))
        return found if found is None else f"{found}; said: {said}"


def moved(found: dict[str, Any], folder: Path) -> str:
    """A store's content whatever its place and the number of its registry entries' writers."""
    return json.dumps(found, sort_keys=True, default=str).replace(str(folder), "")


def difference(one: str, other: str) -> str | None:
    if one == other:
        return None
    a, b = json.loads(one), json.loads(other)
    return f"other content: {[key for key in {**a, **b} if a.get(key) != b.get(key)]}"


def cases(kinds: list[str], writes: dict[str, int], pairs: dict[str, int]) -> Iterator[Case]:
    whens: tuple[When, When] = ("before", "after")
    for verb, count in writes.items():
        if "killed" in kinds:
            yield from (Case("killed", verb, number, when) for number in range(count) for when in whens)
    for verb, count in pairs.items():
        if "at_once" in kinds:
            yield from (Case("at_once", verb, k, "before", other) for k in range(count) for other in VERBS)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run")
    parser.add_argument("kinds", nargs="*", default=["killed", "at_once"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--state", type=Path, default=ROOT / ".soak" / "results.jsonl")
    parser.add_argument("--processes", action="store_true")
    args = parser.parse_args(argv)
    kinds = args.kinds or ["killed", "at_once"]
    # a process that died inside this one counts as ended
    tables.own_mark = lambda: f"{promises.own_mark().split('/')[0]}/999999999/0"  # type: ignore[attr-defined]
    spark = build_session(master="local[2]", app_name="fs_spark-soak")
    digest, until = code_digest(), time.monotonic() + 60 * args.minutes
    args.state.parent.mkdir(parents=True, exist_ok=True)
    lines = args.state.read_text().splitlines() if args.state.exists() else []
    passed = {told["case"] for told in map(json.loads, lines) if told["code"] == digest and told["fault"] is None}
    failed = 0
    with tempfile.TemporaryDirectory() as place, args.state.open("a") as state:
        soak = Soak(spark, Path(place), processes=args.processes)
        stages = soak.stages() if "killed" in kinds else {}
        pairs = soak.pairs() if "at_once" in kinds else {}
        todo = list(cases(kinds, {v: c for v, (_, c, _) in stages.items()}, {v: c for v, (_, c) in pairs.items()}))
        random.Random(args.seed).shuffle(todo)
        left = [case for case in todo if case.key not in passed]
        print(f"seed {args.seed}, code {digest}: {len(todo)} cases, {len(todo) - len(left)} passed before", flush=True)
        done = 0
        for case in left:
            if time.monotonic() > until:
                break
            start = time.monotonic()
            run: Callable[[], str | None]
            if case.kind == "killed":
                before, _, undisturbed = stages[case.verb]
                run = lambda: soak.killed(case, before, undisturbed)  # noqa: B023, E731
            else:
                ready = pairs[case.verb][0]
                run = lambda: soak.at_once(case, ready)  # noqa: B023, E731
            try:
                fault = run()
            except Exception:
                fault = traceback.format_exc()[-2000:]
            failed += fault is not None
            done += 1
            told = {"case": case.key, "code": digest, "fault": fault, "seconds": round(time.monotonic() - start, 1)}
            state.write(json.dumps(told) + "\n")
            state.flush()
            print(f"{'FAILED' if fault else 'passed'} {case.key} ({told['seconds']} s) {fault or ''}", flush=True)
        print(f"{len(todo) - len(left) + done - failed} passed, {failed} failed, {len(left) - done} left")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
