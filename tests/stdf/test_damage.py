"""Bytes that are no records, records of others, second headers and tails: what is kept, and that it is said."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import pytest

from fs_spark.errors import StdfError
from fs_spark.stdf import StdfFile, read_stdf
from fs_spark.stdf.writer import ByteOrder, encode_record
from tests.fuzz.compare import difference
from tests.stdf.files import ANY_PRODUCT, ANY_TESTER, Maker, parts_with_results, two_by_three

ORDERS: tuple[ByteOrder, ...] = ("little", "big")


def read(data: bytes) -> StdfFile:
    """Reads as ingest does, and as the naive scanner does."""
    problem, _ = difference(data)
    assert problem is None
    return read_stdf(data, testers=ANY_TESTER, products=ANY_PRODUCT)


def vendor(order: ByteOrder, payload: bytes = b"abcdef", typ: int = 180, sub: int = 10) -> bytes:
    return struct.pack({"little": "<", "big": ">"}[order] + "HBB", len(payload), typ, sub) + payload


def ends_of(data: bytes, order: ByteOrder) -> list[int]:
    """The byte behind each record."""
    ends, at = [], 0
    while at < len(data):
        at += 4 + int.from_bytes(data[at : at + 2], order)
        ends.append(at)
    return ends


def dies(found: StdfFile) -> list[tuple[Any, ...]]:
    return [(part["lot_id"], part["wafer_id"], part["die_x"], part["die_y"]) for part in found.parts.to_pylist()]


def results(found: StdfFile) -> list[Any]:
    return [part["results"] for part in parts_with_results(found)]


# records that are not in the specification


@pytest.mark.parametrize("order", ORDERS)
def test_vendors_records_in_any_number_between_any_two_records_are_skipped(order: ByteOrder) -> None:
    data = two_by_three(order)
    whole = read(data)
    many = b"".join(
        vendor(order, bytes([k]) * size, *kind)
        for k, (size, kind) in enumerate(
            [(0, (180, 1)), (6, (181, 2)), (300, (1, 95)), (11, (1, 102)), (4, (15, 40)), (9, (200, 200))]
        )
    )
    for at in ends_of(data, order):
        for inserted in (many, many * 30):
            found = read(data[:at] + inserted + data[at:])
            assert found.report.damage is None, at
            assert dies(found) == dies(whole)
            assert results(found) == results(whole)
            assert found.report.faults == {"unknown_records": len(inserted) // len(many) * 6}
            assert any("not in STDF V4" in warning for warning in found.report.warnings)


def test_vendors_records_behind_every_record() -> None:
    data = two_by_three()
    pieces, at = [], 0
    for end in ends_of(data, "little"):
        pieces.append(data[at:end] + vendor("little", b"x" * (end % 7)) * 2)
        at = end
    found = read(b"".join(pieces))
    assert (found.report.damage, results(found)) == (None, results(read(data)))


def test_a_cut_file_with_vendors_records_keeps_its_complete_parts() -> None:
    data = two_by_three()
    ends = ends_of(data, "little")
    behind = data[: ends[3]] + vendor("little") * 2 + data[ends[3] :]
    for cut in range(ends[3], len(behind)):
        found = read(behind[:cut])
        assert dies(found) == dies(read(data))[: found.report.parts]


# damage


DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "4096 zeros in between": lambda data, at: data[:at] + bytes(4096) + data[at:],
    "noise in between": lambda data, at: data[:at] + random.Random(at).randbytes(700) + data[at:],
    "text in between": lambda data, at: data[:at] + b"Connection lost, retrying ...\r\n" * 20 + data[at:],
    "12 bytes overwritten": lambda data, at: data[:at] + b"\xff" * 12 + data[at + 12 :],
    "one byte gone": lambda data, at: data[:at] + data[at + 1 :],
    "one byte more": lambda data, at: data[:at] + b"\x07" + data[at:],
}


def lot_of(order: ByteOrder, dies: int = 20) -> bytes:
    out = Maker(order).begin().wir("W1")
    for k in range(0, dies, 2):
        out.pir(0, 1)
        for site in (0, 1):
            out.ptr(site, 5, k + site, "vdd", units="V", lo_limit=0.0, hi_limit=100.0)
            out.ptr(site, 6, -float(k + site), "idd")
        for site in (0, 1):
            out.prr(site, k + site, 7)
    return out.wrr("W1").end()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_complete_parts_behind_damage_are_kept_and_no_row_is_invented(order: ByteOrder, damage: str) -> None:
    data = lot_of(order)
    whole = dict(zip(dies(read(data)), results(read(data)), strict=True))
    ends = ends_of(data, order)
    begin, end = ends[2], ends[-3]
    for at in range(begin, end, 59):
        found = read(DAMAGES[damage](data, at))
        assert 12 <= found.report.parts <= 20, (at, found.report.damage)
        if "overwritten" not in damage:  # which may leave all lengths as they were, and then cannot be noticed
            for die, values in zip(dies(found), results(found), strict=True):
                assert values == whole.get(die, values), (at, die)
            strange = [die for die in dies(found) if die not in whole]
            assert len(strange) <= 1, (at, strange)  # a byte more or less inside of a PRR's own fields
        if found.report.skipped:
            assert found.report.damage
            assert found.report.faults["skipped_bytes"] > 0
            assert any("skipped" in warning for warning in found.report.warnings)


@pytest.mark.parametrize("order", ORDERS)
def test_damage_in_the_header_of_a_result_costs_its_touchdown_at_most(order: ByteOrder) -> None:
    data = lot_of(order)
    ends = ends_of(data, order)
    whole = dict(zip(dies(read(data)), results(read(data)), strict=True))
    starts = [at for at in ends[:-1] if data[at + 2 : at + 4] == b"\x0f\x0a"]
    for start in starts[6:14]:
        for length in (0, 3, 9, 200, 65535):
            broken = bytearray(data)
            broken[start : start + 2] = length.to_bytes(2, order)
            found = read(bytes(broken))
            assert found.report.parts >= 18, (start, length)
            for die, values in zip(dies(found), results(found), strict=True):
                assert values == whole[die], (start, length)


def test_two_damages_and_a_cut_tail() -> None:
    data = lot_of("little")
    ends = ends_of(data, "little")
    first, second, cut = ends[20], ends[40], ends[70] + 5
    broken = data[:first] + b"\xee" * 50 + data[first:second] + bytes(77) + data[second:cut]
    found = read(broken)
    assert found.report.faults["skipped_places"] == 2
    assert found.report.skipped == ((first, first + 50), (second + 50, second + 127))
    text = found.report.damage or ""
    assert text.startswith(f"50 bytes from byte {first} on are no records and were skipped; 77 bytes from byte")
    assert text.endswith(f"cut off in the record at byte {ends[70] + 127}")
    assert found.report.position == first
    whole = dict(zip(dies(read(data)), results(read(data)), strict=True))
    assert all(whole[die] == values for die, values in zip(dies(found), results(found), strict=True))


def test_a_part_that_damage_cut_is_no_part_and_gets_nothing_of_the_next() -> None:
    out = Maker().begin().wir("W1").pir(0).ptr(0, 5, 1.0, "vdd")
    before = out.content
    other = Maker().ptr(0, 6, 2.0, "idd").prr(0, 8, 8).pir(0).ptr(0, 5, 3.0, "vdd").prr(0, 9, 9).wrr("W1").end()
    found = read(before + b"\xaa" * 100 + other)
    assert dies(found) == [("LOT1", "W1", 9, 9)]
    assert results(found) == [[(5, "vdd", 3.0, 0)]]
    assert found.report.faults["unclosed_parts"] == 1
    assert found.report.faults["parts_cut_by_damage"] == 1
    assert found.report.faults["results_outside_parts"] == 1


def two_wafers(between: bytes, *, last: str | None = "W2") -> bytes:
    out = Maker().begin().wir("W1").pir(0).ptr(0, 5, 1.0, "vdd").prr(0, 1, 1).content
    then = Maker().pir(0).ptr(0, 5, 2.0, "vdd").prr(0, 2, 2).pir(0).ptr(0, 5, 2.0, "vdd").prr(0, 3, 3)
    return out + between + (then.wrr(last).end() if last else then.end())


def test_damage_that_may_have_held_the_end_of_a_wafer_gives_it_no_dies_of_another() -> None:
    lost = b"\x99" * 60
    found = read(two_wafers(lost))
    assert dies(found) == [("LOT1", "W1", 1, 1)]
    assert found.report.dropped["parts_of_no_certain_wafer"] == 2
    assert any("no WIR or WRR tells their wafer" in warning for warning in found.report.warnings)
    assert dies(read(two_wafers(lost, last="W1"))) == [("LOT1", "W1", k, k) for k in (1, 2, 3)]
    assert dies(read(two_wafers(lost, last=None))) == [("LOT1", "W1", k, k) for k in (1, 2, 3)]
    ended = encode_record("WRR", "little", head_num=1, finish_t=1, part_cnt=1, wafer_id="W1")
    assert dies(read(two_wafers(ended + lost, last=None))) == [("LOT1", "W1", 1, 1)]
    begun = encode_record("WIR", "little", head_num=1, start_t=1_000_000_010, wafer_id="W2")
    assert dies(read(two_wafers(lost + begun))) == [("LOT1", "W1", 1, 1), ("LOT1", "W2", 2, 2), ("LOT1", "W2", 3, 3)]


# second headers


def two_lots(order: ByteOrder, other: ByteOrder, *, far: bool) -> tuple[bytes, bytes]:
    first, second = two_by_three(order, lot_id="LOTA"), two_by_three(other, lot_id="LOTB")
    return first, second if far else second[6:]


@pytest.mark.parametrize("far", [True, False])
@pytest.mark.parametrize("order", ORDERS)
def test_a_second_header_ends_the_file_and_says_how_to_split(order: ByteOrder, far: bool) -> None:
    first, second = two_lots(order, order, far=far)
    for joined in (first + second, first + second + second, first + bytes(512) + second, first + b"\r\n" + second):
        found = read(joined)
        assert {die[0] for die in dies(found)} == {"LOTA"}
        assert found.report.parts == 6
        at = len(joined) - len(second) * (2 if joined.endswith(second + second) else 1)
        text = found.report.damage or ""
        assert f"at byte {at}" in text or f"begins at byte {at}" in text
        assert f"head -c {at} FILE > first.stdf" in text
        rest = joined[at:] if far else joined[:6] + joined[at:]
        assert {die[0] for die in dies(read(rest))} == {"LOTB"}


def test_a_second_file_in_the_other_byte_order() -> None:
    for order, other in (ORDERS, ORDERS[::-1]):
        first, second = two_lots(order, other, far=True)
        for joined in (first + second, first + second[:40]):
            found = read(joined)
            assert "a second file begins" in (found.report.damage or "")
            assert (found.report.parts, {die[0] for die in dies(found)}) == (6, {"LOTA"})


def test_a_second_header_of_the_same_lot_is_another_file_unless_it_says_the_same() -> None:
    data = two_by_three()
    ends = ends_of(data, "little")
    same = data[ends[0] : ends[1]]
    found = read(data[: ends[5]] + same + data[ends[5] :])
    assert (found.report.damage, found.report.parts) == (None, 6)
    assert found.report.faults == {"repeated_mir": 1}
    later = two_by_three(start_t=1_000_500_000)[6:]
    found = read(data + later)
    assert found.report.parts == 6
    assert "a second header" in (found.report.damage or "")


def test_a_header_behind_parts_is_not_theirs() -> None:
    data = two_by_three()
    ends = ends_of(data, "little")
    with pytest.raises(StdfError, match="no MIR record in"):
        read_stdf(data[: ends[0]] + data[ends[1] :] + data[ends[0] : ends[1]])


# tails


@pytest.mark.parametrize(
    "tail", [b"\r\n", b"\n", b"\0\0", b"\0" * 513, b"\x1a" * 128, b"\x1a", b"-- end of file --", b" "]
)
@pytest.mark.parametrize("order", ORDERS)
def test_bytes_behind_a_whole_file_are_said_and_are_no_damage(order: ByteOrder, tail: bytes) -> None:
    data = two_by_three(order)
    for body in (data, data + vendor(order)):
        found = read(body + tail)
        assert found.report.damage is None
        assert found.report.parts == 6
        assert any("bytes behind" in warning for warning in found.report.warnings)


def test_records_behind_the_end_that_no_header_introduces_are_not_read() -> None:
    data, other = two_by_three(), two_by_three(lot_id="LOTB")
    behind = other[ends_of(other, "little")[1] :]
    found = read(data + b"\xee" * 40 + behind)
    assert found.report.parts == 6
    assert "records without a header" in (found.report.damage or "")


@pytest.mark.parametrize("order", ORDERS)
def test_site_255_is_a_site_where_an_sdr_lists_it(order: ByteOrder) -> None:
    def data(*sites: int) -> bytes:
        out = Maker(order).begin()
        out.record("SDR", tail="omit", head_num=1, site_grp=1, site_num=list(sites))
        return out.wir("W1").pir(255).ptr(255, 5, 1.0, "vdd").prr(255, 1, 1).pir(2).prr(2, 2, 1).wrr("W1").end()

    assert dies(read(data(2, 255))) == [("LOT1", "W1", 1, 1), ("LOT1", "W1", 2, 1)]
    found = read(data(2, 3))
    assert dies(found) == [("LOT1", "W1", 2, 1)]
    assert found.report.dropped["pseudo_parts"] == 1
