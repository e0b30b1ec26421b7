"""`python -m tests.peers.compare`: reader and writer against pystdf and Semi-ATE-STDF, value for value.

Real files and files of a synthetic lot are read by `read_stdf` and by each peer; files by the writer are read by the
peers and compared with what was written. One line per file and peer: the values that are equal, what differs, and why a
peer failed (what it read before is compared all the same). Exit code 1 when something differs.

A peer lives in an environment of its own, which pip makes at first use.
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from fs_spark.stdf import StdfFile, read_stdf
from fs_spark.stdf.layouts import RECORDS
from fs_spark.stdf.writer import ByteOrder, Tail
from fs_spark.synth import LotSpec, generate_lot
from tests.conftest import ROOT
from tests.peers.environments import PEERS, Dump, Peer, python_of
from tests.peers.linked import KINDS, link
from tests.peers.written import differences, written
from tests.stdf.files import WHOLE, parts_with_results, plain_bytes

_TEST = ("record", "test_num", "test_name", "unit", "low_limit", "high_limit")
_SHOWN = 5


def exact(row: tuple[Any, ...] | None, *, strips: bool) -> tuple[Any, ...] | None:
    """Floats by their bits, so that -0.0 is not 0.0; texts without blanks at their ends where the peer strips them."""

    def value_of(value: Any) -> Any:
        if isinstance(value, float):
            return struct.pack("f", value)
        return (value.strip() or None) if strips and isinstance(value, str) else value

    return None if row is None else tuple(map(value_of, row))


class Tally:
    """Values that were compared and that are equal, by kind of record, and the first that are not."""

    def __init__(self, *, strips: bool) -> None:
        self.strips = strips
        self.compared, self.equal = Counter[str](), Counter[str]()
        self.odd: list[str] = []

    def of(self, kind: str, ours: tuple[Any, ...] | None, theirs: tuple[Any, ...] | None, where: str) -> None:
        self.compared[kind] += 1
        if exact(ours, strips=self.strips) == exact(theirs, strips=self.strips):
            self.equal[kind] += 1
        else:
            self.odd.append(f"{where}: {ours}, the peer has {theirs}")

    def __str__(self) -> str:
        return ", ".join(f"{kind} {self.equal[kind]:,} of {n:,}" for kind, n in self.compared.items()) or "nothing"


def _pairs(ours: list[Any], theirs: list[Any]) -> Iterator[tuple[int, Any, Any]]:
    for k in range(max(len(ours), len(theirs))):
        yield k, ours[k] if k < len(ours) else None, theirs[k] if k < len(theirs) else None


def _ours(part: dict[str, Any]) -> tuple[Any, ...]:
    names = ("head", "site", "passed", "hard_bin", "soft_bin", "die_x", "die_y")
    return (*(part[name] for name in names), part["test_time_ms"] or 0, part["part_id"] or "")


def _theirs(part: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(value for name, value in part.items() if name != "results")


def read_by_both(found: StdfFile, dump: Dump) -> Tally:
    """Every part, every result and every test of a file; after a peer's failure only what it read before."""
    parts, tests = link(dump)
    ours = parts_with_results(found, WHOLE)
    tally = Tally(strips=dump.peer.strips_texts)
    for k, mine, other in _pairs(ours[: len(parts)] if dump.failure else ours, parts):
        tally.of("PRR", mine and _ours(mine), other and _theirs(other), f"part {k}")
        of_part = ((mine or {}).get("results", []), (other or {}).get("results", []))
        for n, row, value in _pairs(*of_part):
            tally.of((row or value)[0], row, value, f"part {k}, result {n}")
    if not dump.failure:
        mine_tests = [tuple(test[name] for name in _TEST) for test in found.tests.to_pylist()]
        for n, test, value in _pairs(mine_tests, [tuple(test.values()) for test in tests]):
            tally.of("tests", test, value, f"test {n}")
    return tally


def _show(name: str, dump: Dump, what: str, odd: list[str]) -> int:
    failure = f"; fails behind {dump.count:,} records: {dump.failure[:200]}" if dump.failure else ""
    print(f"{name[:50]:50}  {dump.peer.name:21}  equal: {what}{failure}", flush=True)
    for line in odd[:_SHOWN]:
        print(f"    {line[:400]}")
    if len(odd) > _SHOWN:
        print(f"    and {len(odd) - _SHOWN:,} more")
    return len(odd)


def read_files(paths: list[Path], peers: dict[Peer, Path], folder: Path) -> int:
    """Reads each file by `read_stdf` and by the peers; the number of differences."""
    odd = 0
    for path in paths:
        plain = folder / "plain.stdf"
        plain.write_bytes(plain_bytes(path))
        found = read_stdf(plain.read_bytes())
        for peer, python in peers.items():
            dump = Dump(peer, python, plain, KINDS)
            tally = read_by_both(found, dump)
            odd += _show(path.name, dump, str(tally), tally.odd)
    return odd


def read_written(seed: int, peers: dict[Peer, Path], folder: Path) -> int:
    """Every record of the writer in both byte orders, field by field; the number of differences."""
    odd = 0
    for order in get_args(ByteOrder):
        for tail in get_args(Tail):
            content, given = written(seed, order, tail)
            path = folder / "written.stdf"
            path.write_bytes(content)
            for peer, python in peers.items():
                dump = Dump(peer, python, path, list(RECORDS))
                count, found = differences(given, dump, counts_bits=peer.counts_bits)
                what = f"{count:,} of {len(given):,} records read, {len(found)} fields differ"
                odd += _show(f"written, {order}, tails {tail}", dump, what, found)
    return odd


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", type=Path, help="folder for the peers' environments")
    parser.add_argument("--only", default="", help="part of the name of the real files")
    parser.add_argument("--peer", default="", help="part of the name of the peers")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    peers = {peer: python_of(peer, args.env) for peer in PEERS if args.peer in peer.name}
    real = [path for path in sorted((ROOT.parent / "shared" / "data").glob("*/*.st*")) if args.only in path.name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        odd = read_written(args.seed, peers, folder)
        for order in get_args(ByteOrder):
            spec = LotSpec(lot_id=f"LOT{order[0].upper()}", wafers=2, byte_order=order, die_width_mm=12.0)
            odd += read_files(list(generate_lot(spec, folder / order).files), peers, folder)
        odd += read_files(real, peers, folder)
    print(f"{odd:,} differences")
    return 1 if odd else 0


if __name__ == "__main__":
    sys.exit(main())
