"""`python -m tests.fuzz.run --count 100000 --seed 1`: mutated real files through the reader and the naive scanner.

Exit code 1 when one crashes, hangs, takes more than 64 MB + 5 x its size, or is read otherwise than by the scanner.
`--only N` does one mutant again; `--write FILE` keeps its bytes. `--bounds` compiles the passes over the bytes with a
check of every index, without which numba reads beyond an array in silence (about three times slower).
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from fs_spark.stdf import read_stdf
from tests.conftest import ROOT
from tests.fuzz.compare import difference
from tests.fuzz.mutate import Corpus

DATA = ROOT.parent / "shared" / "data"
LIMIT_S = 10


class Outcome(NamedTuple):
    number: int
    kind: str
    problem: str | None
    seconds: float
    memory_share: float  # of what is allowed


def _status(name: str) -> int:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def one(corpus: Corpus, seed: int, number: int) -> Outcome:
    told, data = corpus.mutant(seed, number)
    _reset_peak()
    before = _status("VmRSS")
    start = time.perf_counter()
    with contextlib.suppress(Exception):  # what it is, the comparison tells
        read_stdf(data).results  # noqa: B018
    seconds = time.perf_counter() - start
    grown, allowed = _status("VmHWM") - before, 64e6 + 5 * len(data)
    try:
        problem, kind = difference(data)
    except Exception as fault:  # any other than StdfError is a crash
        problem, kind = f"{type(fault).__name__}: {fault}", "crashed"
    if grown > allowed:
        problem = f"{grown / 1e6:.0f} MB for {len(data)} bytes"
    return Outcome(number, kind, problem and f"{told}: {problem}", seconds, grown / allowed)


def _work(seed: int, numbers: range, told: Connection) -> None:
    """Sends each number before it does that mutant, then the outcome, and None at the end.

    The alarm ends the process, also inside compiled code, where no Python would notice it.
    """
    corpus = Corpus(DATA)
    for number in range(20):  # what is loaded once is no memory of a file
        with contextlib.suppress(Exception):
            difference(corpus.mutant(0, number)[1])
    for number in numbers:
        told.send(number)
        signal.alarm(LIMIT_S)
        outcome = one(corpus, seed, number)
        signal.alarm(0)
        told.send(outcome)
    told.send(None)


class _Worker:
    """A process that does some of the mutants."""

    def __init__(self, seed: int, numbers: range) -> None:
        context = multiprocessing.get_context("spawn")
        self.seed, self.numbers, self.at = seed, numbers, numbers.start
        self.told, other = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(seed, numbers, other), daemon=True)
        self.process.start()
        other.close()

    def ended(self) -> Outcome:
        """The outcome of the mutant that ended the process."""
        self.process.join()
        code = self.process.exitcode
        kind, why = "crashed", f"the process ended with {code}"
        if code == -signal.SIGALRM:
            kind, why = "hung", f"longer than {LIMIT_S} s"
        return Outcome(self.at, kind, why, 0.0, 0.0)

    def behind(self) -> _Worker:
        """One that goes on behind the mutant that ended this one."""
        return _Worker(self.seed, range(self.at + self.numbers.step, self.numbers.stop, self.numbers.step))


def outcomes(seed: int, count: int, jobs: int) -> Iterator[Outcome]:
    """As they come."""
    workers = {worker.told: worker for worker in (_Worker(seed, range(first, count, jobs)) for first in range(jobs))}
    while workers:
        for told in multiprocessing.connection.wait(list(workers)):
            assert isinstance(told, Connection)
            worker = workers[told]
            try:
                said: Outcome | int | None = told.recv()
            except EOFError:
                yield worker.ended()
                del workers[told]
                worker = worker.behind()
                workers[worker.told] = worker
                continue
            if isinstance(said, Outcome):
                yield said
            elif said is None:
                del workers[told]
            else:
                worker.at = said


def check_bounds() -> None:
    """For this process's children: numba checks indexes, in a cache of its own."""
    os.environ["NUMBA_BOUNDSCHECK"] = "1"
    os.environ["NUMBA_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / "fs_spark_fuzz_bounds")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--bounds", action="store_true")
    args = parser.parse_args(argv)
    if args.only is not None:
        told, data = Corpus(DATA).mutant(args.seed, args.only)
        if args.write:
            args.write.write_bytes(data)
        print(told, len(data), "bytes")
        problem, kind = difference(data)
        print(f"{kind}: {problem or 'read as by the scanner'}")
        return 1 if problem else 0
    if args.bounds:
        check_bounds()
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
