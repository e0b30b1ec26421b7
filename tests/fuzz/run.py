"""`python -m tests.fuzz.run --count 100000 --seed 1`: mutated real files through the reader and the naive scanner.

Exit code 1 when one crashes, hangs, takes more than 64 MB + 5 x its size, or is read otherwise than by the scanner.
`--only N` does one mutant again; `--write FILE` keeps its bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fs_spark.stdf import read_stdf
from tests.conftest import ROOT
from tests.fuzz.compare import difference
from tests.fuzz.mutate import Corpus

LIMIT_S = 10
CHUNK = 500


class Outcome(NamedTuple):
    number: int
    kind: str
    problem: str | None
    seconds: float
    memory_share: float  # of what is allowed


class HangError(Exception):
    """A mutant took longer than LIMIT_S."""


def _alarm(*_: Any) -> None:
    raise HangError


def _status(name: str) -> int:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def one(corpus: Corpus, seed: int, number: int) -> Outcome:
    told, data = corpus.mutant(seed, number)
    signal.signal(signal.SIGALRM, _alarm)
    _reset_peak()
    before = _status("VmRSS")
    problem, kind, seconds = None, "crashed", 0.0
    try:
        signal.alarm(LIMIT_S)
        start = time.perf_counter()
        with contextlib.suppress(Exception):  # what it is, the comparison tells
            read_stdf(data).results  # noqa: B018
        seconds = time.perf_counter() - start
        signal.alarm(0)
        grown = _status("VmHWM") - before
        problem, kind = difference(data)
        allowed = 64e6 + 5 * len(data)
        if grown > allowed:
            problem = f"{grown / 1e6:.0f} MB for {len(data)} bytes"
    except HangError:
        return Outcome(number, "hung", f"{told}: longer than {LIMIT_S} s", LIMIT_S, 0.0)
    except Exception as fault:  # any other than StdfError is a crash
        return Outcome(number, "crashed", f"{told}: {type(fault).__name__}: {fault}", seconds, 0.0)
    finally:
        signal.alarm(0)
    return Outcome(number, kind, problem and f"{told}: {problem}", seconds, grown / allowed)


_CORPUS: Corpus | None = None


def _chunk(task: tuple[int, range]) -> list[Outcome]:
    global _CORPUS
    if _CORPUS is None:
        _CORPUS = Corpus(ROOT.parent / "shared" / "data")
        for number in range(20):  # what is loaded once is no memory of a file
            difference(_CORPUS.mutant(0, number)[1])
    seed, numbers = task
    return [one(_CORPUS, seed, number) for number in numbers]


def outcomes(seed: int, count: int, jobs: int) -> Iterator[Outcome]:
    tasks = [(seed, range(first, min(first + CHUNK, count))) for first in range(0, count, CHUNK)]
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=40) as pool:
        for some in pool.imap_unordered(_chunk, tasks):
            yield from some


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int)
    parser.add_argument("--write", type=Path)
    args = parser.parse_args(argv)
    if args.only is not None:
        told, data = Corpus(ROOT.parent / "shared" / "data").mutant(args.seed, args.only)
        if args.write:
            args.write.write_bytes(data)
        print(told, len(data), "bytes")
        print(difference(data))
        return 0
    kinds: Counter[str] = Counter()
    failed, done, slowest, largest, started = 0, 0, 0.0, 0.0, time.monotonic()
    for outcome in outcomes(args.seed, args.count, args.jobs):
        done += 1
        kinds[outcome.kind] += 1
        slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.memory_share)
        if outcome.problem:
            failed += 1
            if failed <= 50:
                print(f"--seed {args.seed} --only {outcome.number}  {outcome.problem[:400]}", flush=True)
        if done % 5000 == 0:
            print(f"{done} of {args.count}, {time.monotonic() - started:.0f} s, {failed} failed", flush=True)
    print(
        f"{done} mutants, {failed} failed: {dict(kinds)}; slowest {slowest:.3f} s, "
        f"most memory {100 * largest:.0f} % of 64 MB + 5 x the file"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
