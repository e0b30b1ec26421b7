"""The naive scanner on MPR, FTR, TSR, limits and broken framing, by hand."""

import math
import struct

import pytest

from tests.oracles.stdf_scan import scan


def record(order, typ, sub, body=b""):
    return struct.pack(order + "HBB", len(body), typ, sub) + body


def cn(text):
    return bytes([len(text)]) + text.encode()


def file_of(order, *records, mrr=True):
    head = record(order, 0, 10, bytes([1 if order == ">" else 2, 4]))
    head += record(order, 1, 10, struct.pack(order + "IIB", 1000, 1010, 1))
    end = record(order, 1, 20, struct.pack(order + "I", 1020)) if mrr else b""
    return head + b"".join(records) + end


def in_part(order, *records):
    prr = struct.pack(order + "BBBHHHhhI", 1, 0, 0, 3, 1, 1, 3, 4, 250)
    return [record(order, 5, 10, b"\1\0"), *records, record(order, 5, 20, prr + cn("1"))]


def ptr(order, number, value, tail=b""):
    return record(order, 15, 10, struct.pack(order + "IBBBBf", number, 1, 0, 0, 0, value) + tail)


def mpr(order, number, values, *, flag=0, count=None, tail=b"", pins=3):
    body = struct.pack(order + "IBBBBHH", number, 1, 0, flag, 0, pins, len(values) if count is None else count)
    body += b"\0" * ((pins + 1) // 2) + b"".join(struct.pack(order + "f", value) for value in values)
    return record(order, 15, 15, body + tail)


def ftr(order, number, name, *, flag=0):
    body = struct.pack(order + "IBBBBIIIIiih", number, 1, 0, flag, 0, 1, 2, 3, 4, 5, 6, 7)
    body += struct.pack(order + "HH", 1, 2) + b"\0" * (2 + 1 + 4 + 1)
    body += struct.pack(order + "H", 9) + b"\0\0" + cn("vector") + cn("") + cn("op") + cn(name)
    return record(order, 15, 20, body)


@pytest.mark.parametrize("order", ["<", ">"])
def test_elements_of_an_mpr_share_the_occurrence_of_their_record(order):
    records = in_part(
        order,
        mpr(order, 9, [1.5, math.nan], tail=cn("pins ")),
        mpr(order, 9, [2.5], flag=0b1000_0010, tail=cn("pins")),
        mpr(order, 9, [], flag=0b0100_0000),
        mpr(order, 9, [4.0], count=3),
    )
    found = scan(file_of(order, *records))
    (part,) = found["parts"]
    assert part["results"] == [
        ("MPR", 9, "pins", 0, 0, 1.5, True),
        ("MPR", 9, "pins", 0, 1, None, True),
        ("MPR", 9, "pins", 1, 0, None, False),
        ("MPR", 9, "pins", 2, None, None, None),
        ("MPR", 9, "pins", 3, 0, 4.0, True),
    ]
    assert found["faults"] == {"overlong_fields": 1}
    assert found["damage"] is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_ftr_has_its_name_behind_its_arrays(order):
    records = in_part(
        order, ftr(order, 7, "scan"), ftr(order, 7, "scan", flag=0b1000_0000), ptr(order, 7, 1.0, cn("v"))
    )
    records.insert(3, record(order, 15, 20, struct.pack(order + "IBB", 7, 1, 0)))  # stops before its flag
    found = scan(file_of(order, *records))
    assert found["parts"][0]["results"] == [
        ("FTR", 7, "scan", 0, None, None, True),
        ("FTR", 7, "scan", 1, None, None, False),
        ("FTR", 7, "scan", 2, None, None, None),
        ("PTR", 7, "v", 0, None, 1.0, True),
    ]
    assert found["faults"] == {"short_records": 1}
    assert [test["record"] for test in found["tests"]] == ["FTR", "PTR"]


@pytest.mark.parametrize("order", ["<", ">"])
def test_limits_are_of_the_first_record_that_has_them(order):
    limits = struct.pack(order + "Bbbbff", 0, 0, 0, 0, 1.0, 2.0) + cn("V")
    no_low = struct.pack(order + "Bbbbff", 0b0100_0000, 0, 0, 0, 8.0, 9.0)
    tsr = record(order, 10, 30, struct.pack(order + "BBcIIII", 255, 0, b"P", 6, 1, 1, 1) + cn("named by its TSR"))
    alone = record(order, 10, 30, struct.pack(order + "BBcIIII", 255, 0, b"F", 6, 1, 1, 1) + cn("alone"))
    records = in_part(
        order,
        ptr(order, 5, 0.0),
        ptr(order, 5, 0.0, cn("vdd") + cn("") + limits),
        ptr(order, 5, 0.0, cn("vdd") + cn("") + no_low),
        ptr(order, 5, 0.0, cn("other")),
        ptr(order, 6, 0.0, cn("") + cn("") + no_low),
    )
    found = scan(file_of(order, *records, tsr, alone, alone))
    assert [tuple(test.values()) for test in found["tests"]] == [
        ("PTR", 5, "", "V", 1.0, 2.0),  # one of two names: which is not known
        ("PTR", 5, "vdd", "V", 1.0, 2.0),
        ("PTR", 5, "other", "V", 1.0, 2.0),
        ("PTR", 6, "named by its TSR", None, None, 9.0),
        ("FTR", 6, "alone", None, None, None),
    ]


def test_where_the_walk_over_the_records_stops():
    whole = file_of("<")
    vendor = record("<", 180, 7, b"x" * 9)
    found = scan(file_of("<", vendor, vendor))
    assert (found["damage"], found["faults"]) == (None, {"unknown_records": 2})
    found = scan(file_of("<", vendor, b"\0\0\0\0 damage", *in_part("<", ptr("<", 5, 1.0))))
    assert (found["damage"], found["gaps"]) == (None, [(19, 43)])
    assert len(found["parts"]) == 1
    found = scan(file_of("<", vendor, b"\0\0\0\0 damage", mrr=False))
    assert (found["damage"], found["position"]) == ("framing", 19)
    found = scan(whole + b"\0" * 9)
    assert (found["damage"], found["position"], found["faults"]) == (None, len(whole), {"padding_bytes": 9})
    found = scan(whole + whole)
    assert (found["damage"], found["position"]) == ("second_far", len(whole))
    found = scan(whole + b"\r\n")
    assert (found["damage"], found["faults"]) == (None, {"trailing_bytes": 2})
    assert scan(whole[:-1])["damage"] == "cut"
    assert scan(whole[:-1])["faults"] == {"missing_mrr": 1}
    found = scan(file_of("<", mrr=False))
    assert (found["damage"], found["faults"]) == ("no_mrr", {"missing_mrr": 1})


def test_faults_of_parts():
    pir, prr = record("<", 5, 10, b"\1\0"), record("<", 5, 20, struct.pack("<BBBHHHhhI", 1, 0, 0, 3, 1, 1, 3, 4, 250))
    found = scan(
        file_of("<", ptr("<", 5, 1.0), prr, pir, pir, record("<", 5, 20, b"\1\0\0"), record("<", 5, 10, b"\1"))
    )
    assert found["faults"] == {
        "unclosed_parts": 1, "lonely_prr": 1, "results_outside_parts": 1, "short_records": 2,
    }  # fmt: skip
    assert len(found["parts"]) == 2
