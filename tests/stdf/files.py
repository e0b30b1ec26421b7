"""Small STDF files made record by record, the real ones by pattern, and read parts in a form to compare."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fs_spark.stdf import rules
from fs_spark.stdf.reader import StdfFile
from fs_spark.stdf.writer import ByteOrder, StdfWriter

START = 1_000_000_000
"""2001-09-09 01:46:40 on the wall clock."""


def in_zone(zone: str = "UTC", *, match: str = "*", **options: Any) -> rules.TesterConfig:
    """An entry of testers.yaml (a test module that imports its class would have it collected as a test)."""
    return rules.TesterConfig.model_validate({"match": match, "zone": zone, **options})


def product(product_id: str = "any", **options: Any) -> rules.ProductConfig:
    """An entry of products.yaml."""
    return rules.ProductConfig.model_validate({"product_id": product_id, **options})


ANY_TESTER = (in_zone(),)
ANY_PRODUCT = (product(),)


class Maker(StdfWriter):
    """A writer with a lot's usual values filled in: `head` and `site` are always numbers, times count from START."""

    def begin(self, **mir: Any) -> Maker:
        named = {"lot_id": "LOT1", "part_typ": "CHIP", "node_nam": "TESTER1", "tstr_typ": "SIM", "job_nam": "JOB"}
        self.record("FAR")
        self.record("MIR", setup_t=START - 60, start_t=mir.pop("start_t", START), stat_num=1, **{**named, **mir})
        return self

    def wir(self, wafer_id: str, *, head: int = 1, start: int = 10) -> Maker:
        self.record("WIR", head_num=head, start_t=START + start, wafer_id=wafer_id)
        return self

    def wrr(self, wafer_id: str | None, *, head: int = 1, finish: int = 100) -> Maker:
        self.record("WRR", tail="omit", head_num=head, finish_t=START + finish, part_cnt=0, wafer_id=wafer_id)
        return self

    def pir(self, *sites: int, head: int = 1) -> Maker:
        for site in sites:
            self.record("PIR", head_num=head, site_num=site)
        return self

    def ptr(self, site: int, number: int, result: float, name: str | None = None, **fields: Any) -> Maker:
        flags = {"head_num": 1, "test_flg": 0, "parm_flg": 0}
        self.record(
            "PTR", tail="omit", test_num=number, site_num=site, result=result, test_txt=name, **{**flags, **fields}
        )
        return self

    def prr(self, site: int, x: int, y: int, *, head: int = 1, passed: bool = True, **fields: Any) -> Maker:
        usual: dict[str, Any] = {
            "part_flg": 0 if passed else 8,
            "num_test": 1,
            "hard_bin": 1 if passed else 5,
            "soft_bin": 1,
        }
        usual |= {"test_t": 500, "part_id": f"{x},{y}"}
        self.record("PRR", tail="omit", head_num=head, site_num=site, x_coord=x, y_coord=y, **{**usual, **fields})
        return self

    def end(self, finish: int = 120) -> bytes:
        self.record("MRR", tail="omit", finish_t=START + finish)
        return self.content


def two_by_three(order: ByteOrder = "little", **mir: Any) -> bytes:
    """One wafer, three touchdowns of two parts, two tests each; the second die of a touchdown fails."""
    out = Maker(order).begin(**mir).wir("W1")
    for touchdown in range(3):
        out.pir(0, 1)
        for site in (0, 1):
            out.ptr(site, 5, 1.5 + touchdown + site / 2, "vdd", units="V", lo_limit=1.0, hi_limit=9.0)
            out.ptr(site, 6, 0.25, "idd")
        for site in (0, 1):
            out.prr(site, site, touchdown, passed=site == 0)
    return out.wrr("W1").end()


def real_file(data: Path, pattern: str) -> Path:
    """The one real file of this pattern."""
    found = sorted(data.glob(pattern))
    assert len(found) == 1, f"{pattern} under {data} gave {found}"
    return found[0]


def plain_bytes(path: Path) -> bytes:
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else bz2.decompress(raw) if path.suffix == ".bz2" else raw


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def seconds_after(start: datetime, times: Sequence[datetime]) -> list[float]:
    return [(time - start) / timedelta(seconds=1) for time in times]


SHORT = ("test_num", "test_name", "result", "occurrence")
WHOLE = ("record", "test_num", "test_name", "occurrence", "element", "result", "passed")


def parts_with_results(found: StdfFile, columns: Sequence[str] = SHORT) -> list[dict[str, Any]]:
    """Each part with `results`, a list of tuples of some of their columns in file order."""
    parts: list[dict[str, Any]] = found.parts.to_pylist()
    for part in parts:
        part["results"] = []
    for index, *result in zip(*(found.results[c].to_pylist() for c in ("part_index", *columns)), strict=True):
        parts[index]["results"].append(tuple(result))
    return parts
