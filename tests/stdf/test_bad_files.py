"""Files that are not what they should be: complete parts or StdfError, and nothing else."""

from __future__ import annotations

import bz2
import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fs_spark.errors import StdfError
from fs_spark.stdf import StdfFile, read_stdf
from fs_spark.stdf.writer import ByteOrder, StdfWriter
from tests.stdf.files import ANY_PRODUCT, ANY_TESTER, Maker, in_zone, parts_with_results, two_by_three

DEPENDS_ON_THE_END = ("file_id", "run_id", "event_timestamp", "event_local", "available_timestamp", "time_quality")


def configured(data: bytes) -> StdfFile:
    return read_stdf(data, testers=ANY_TESTER, products=ANY_PRODUCT)


def lasting(found: StdfFile) -> list[dict[str, Any]]:
    """What a part keeps when the rest of its file is cut off."""
    return [{k: v for k, v in part.items() if k not in DEPENDS_ON_THE_END} for part in parts_with_results(found)]


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_file_cut_at_any_byte_gives_its_complete_parts(order: ByteOrder) -> None:
    data = two_by_three(order)
    whole = lasting(configured(data))
    counts: list[int] = []
    for cut in range(len(data)):
        try:
            found = configured(data[:cut])
        except StdfError:
            assert not counts, f"unreadable at byte {cut}, but readable before"
            continue
        parts = lasting(found)
        assert parts == whole[: len(parts)]
        assert found.report.damage
        assert found.report.position <= cut
        assert found.parts["event_timestamp"].null_count == 0
        counts.append(len(parts))
    assert counts == sorted(counts)
    assert set(counts) == set(range(7))
    assert read_stdf(data).report.damage is None


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_compressed_file_cut_at_any_byte_gives_complete_parts(compress: Callable[[bytes], bytes]) -> None:
    data = two_by_three() + b"\x00\x00\x05\x0a" * 3
    raw = compress(data)
    whole = lasting(configured(data))
    for cut in range(len(raw)):
        try:
            found = configured(raw[:cut])
        except StdfError:
            continue
        parts = lasting(found)
        assert parts == whole[: len(parts)]
        assert found.report.damage
    assert lasting(configured(raw)) == whole


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_raise_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    data = two_by_three("little" if seed % 2 else "big")
    for _ in range(150):
        flipped = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 6])):
            flipped[rng.randrange(len(data))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        try:
            found = read_stdf(bytes(flipped), testers=[in_zone("Europe/Berlin")], products=ANY_PRODUCT)
        except StdfError:
            continue
        assert found.parts.num_rows == found.report.parts == len(found.part_results)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "the file is empty"),
        (b"Lot;Wafer;X;Y\n1;2;3;4\n", "not an STDF file: it begins with 4c 6f 74 3b"),
        (b"\x02\x00", "not an STDF file"),
        (b"\x02\x00\x00\x0a\x02", "not an STDF file"),
        (b"\x00\x00\x00\x0a\x02\x04", "length bytes 00 00"),
        (b"\x02\x00\x00\x0a\x02\x03", "STDF version 3 at byte 5. Hint: only V4"),
        (b"\x00\x02\x00\x0a\x01\x05", "STDF version 5"),
        (b"\x02\x00\x00\x0a\x02\x04", "no MIR record in 1 records"),
        (gzip.compress(b"hello", mtime=0), "not an STDF file"),
        (b"\x1f\x8b", "gzip stream ends early"),
        (b"BZh9", "bzip2 stream ends early"),
        (b"\x1f\x8bnot a gzip file at all", "gzip stream is damaged"),
    ],
)
def test_what_is_no_stdf_file_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(StdfError) as caught:
        read_stdf(data)
    assert text in str(caught.value)


def test_a_file_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.stdf").write_text("these are notes\n")
    with pytest.raises(StdfError, match="not an STDF file"):
        read_stdf(tmp_path / "notes.stdf")
    (tmp_path / "good.txt").write_bytes(two_by_three())
    assert read_stdf(str(tmp_path / "good.txt")).parts.num_rows == 6


def test_no_mir_is_refused_even_with_parts() -> None:
    out = StdfWriter()
    out.record("FAR")
    out.record("PIR", head_num=1, site_num=0)
    out.record("PRR", tail="omit", head_num=1, site_num=0, part_flg=0, num_test=0, hard_bin=1)
    with pytest.raises(StdfError, match="no MIR record in 3 records"):
        read_stdf(out.content)


def test_no_mrr_is_damage_but_keeps_the_parts() -> None:
    found = read_stdf(Maker().begin().pir(0).prr(0, 0, 0).content)
    assert found.parts.num_rows == 1
    assert found.report.damage is not None
    assert "no MRR record" in found.report.damage


def test_an_unknown_record_is_skipped() -> None:
    data = two_by_three()
    far, rest = data[:6], data[6:]
    vendor = b"\x03\x00\xb4\x05abc"
    assert lasting(configured(far + vendor + rest + vendor)) == lasting(configured(data))


@pytest.mark.parametrize("testers", [[], [in_zone(match="OTHER*")]])
def test_a_tester_without_a_zone_is_refused_with_what_to_add(testers: list[Any]) -> None:
    with pytest.raises(StdfError) as caught:
        read_stdf(two_by_three(), testers=testers)
    text = str(caught.value)
    assert "no time zone is configured for tester 'TESTER1' of type 'SIM'" in text
    assert 'Hint: add it to testers.yaml, for example {match: "TESTER1", zone:' in text
