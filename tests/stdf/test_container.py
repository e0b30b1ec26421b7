"""Delivered bytes to STDF bytes: by content and not by name, with what is readable of a damaged file."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import random
from pathlib import Path

import pytest

from fs_spark.errors import StdfError
from fs_spark.stdf.container import read_delivered, unpack

PLAIN = random.Random(1).randbytes(3000) + bytes(2_500_000)
"""Longer than the pieces in which it is unpacked, with a beginning that does not compress."""


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "raw",
    [
        PLAIN,
        gzip.compress(PLAIN),
        gzip.compress(PLAIN, compresslevel=1, mtime=7),
        gzip.compress(PLAIN[:777]) + gzip.compress(b"") + gzip.compress(PLAIN[777:]),
        gzip.compress(PLAIN) + bytes(512),  # as tar and tapes pad
        bz2.compress(PLAIN),
        bz2.compress(PLAIN[:777]) + bz2.compress(PLAIN[777:], compresslevel=1),
    ],
    ids=["plain", "gz", "gz_again", "gz_members", "gz_padded", "bz2", "bz2_members"],
)
def test_the_same_content_is_the_same_file(raw: bytes) -> None:
    found = unpack(raw)
    assert found.data == PLAIN
    assert found.file_id == sha(PLAIN)
    assert found.delivered_bytes == len(raw)
    assert found.damage is None


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_empty_content(compress: object) -> None:
    found = unpack(compress(b""))  # type: ignore[operator]
    assert (found.data, found.damage, found.file_id) == (b"", None, sha(b""))


@pytest.mark.parametrize(
    ("cut", "at_least"), [(2, 0), (9, 0), (10, 0), (20, 0), (500, 0), (3010, 2000), (-8, len(PLAIN)), (-1, len(PLAIN))]
)
def test_a_cut_gzip_gives_what_came_before(cut: int, at_least: int) -> None:
    raw = gzip.compress(PLAIN)[:cut]
    found = unpack(raw)
    assert PLAIN.startswith(found.data)
    assert found.damage == "gzip stream ends early"
    assert found.file_id == sha(raw)  # not of the part that could be decompressed
    assert len(found.data) >= at_least


def test_a_cut_in_the_second_member_keeps_the_first() -> None:
    found = unpack(gzip.compress(PLAIN[:777]) + gzip.compress(PLAIN[777:])[:15])
    assert found.data[:777] == PLAIN[:777]
    assert found.damage == "gzip stream ends early"


@pytest.mark.parametrize("cut", [4, 14, 100, 2000, -5, -1])
def test_a_cut_bzip2_gives_what_came_before(cut: int) -> None:
    raw = bz2.compress(PLAIN)[:cut]
    found = unpack(raw)
    assert PLAIN.startswith(found.data)
    assert found.damage == "bzip2 stream ends early"
    assert found.file_id == sha(raw)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_bytes_after_the_end_are_reported_and_not_read(compress: object) -> None:
    raw = compress(PLAIN) + b"not compressed"  # type: ignore[operator]
    found = unpack(raw)
    assert found.data == PLAIN
    assert found.damage is not None
    assert "after the" in found.damage
    assert found.file_id == sha(raw)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_any_flipped_byte_is_found_or_harmless(compress: object) -> None:
    raw = bytearray(compress(PLAIN[:4000]))  # type: ignore[operator]
    for at in range(len(raw)):
        flipped = bytes(raw[:at]) + bytes([raw[at] ^ 0x55]) + bytes(raw[at + 1 :])
        found = unpack(flipped)
        assert found.damage or found.data in (PLAIN[:4000], flipped), f"byte {at}"


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    for raw in (gzip.compress(bytes(50 << 20)), bz2.compress(bytes(50 << 20))):
        with pytest.raises(StdfError, match=r"decompresses to more than 4000000 bytes.*Hint"):
            unpack(raw, cap=4_000_000)
    assert len(unpack(gzip.compress(bytes(3_900_000)), cap=4_000_000).data) == 3_900_000


def test_names_do_not_matter_and_a_missing_file_is_named(tmp_path: Path) -> None:
    misnamed = tmp_path / "lot.stdf.bz2"
    misnamed.write_bytes(gzip.compress(PLAIN))
    assert read_delivered(misnamed).data == PLAIN
    with pytest.raises(StdfError, match=r"nowhere\.stdf cannot be read: No such file"):
        read_delivered(tmp_path / "nowhere.stdf")
    with pytest.raises(StdfError, match="cannot be read: Is a directory"):
        read_delivered(tmp_path)
