"""Naive reading of PTR, MPR, FTR and TSR payloads on `struct` alone [STDF V4 p.45-58, semantics section 5]."""

import math
import struct
from typing import Any

PTR, MPR, FTR, TSR = (15, 10), (15, 15), (15, 20), (10, 30)
NAMES = {PTR: "PTR", MPR: "MPR", FTR: "FTR"}
REQUIRED = {PTR: 12, MPR: 12, FTR: 7}


class Payload:
    """A record's payload read from front to back; `over` tells that something announced reaches beyond it."""

    def __init__(self, data, begin, end, order):
        self.data, self.begin, self.at, self.end, self.order, self.over = data, begin, begin, end, order, False

    def number(self, code):
        """The next number, None where the record stops before it."""
        size = struct.calcsize(self.order + code)
        if self.at + size > self.end:
            self.at = self.end
            return None
        value = struct.unpack_from(self.order + code, self.data, self.at)[0]
        self.at += size
        return value

    def skip(self, size):
        """Whether so many bytes are there; they are passed."""
        if self.at + size > self.end:
            self.over = True
            self.at = self.end
            return False
        self.at += size
        return True

    def text(self):
        """The next Cn, as much of it as is there, without trailing blanks and NULs."""
        if self.at >= self.end:
            return ""
        length = self.data[self.at]
        start = self.at + 1
        stop = start + length
        if stop > self.end:
            self.over = True
            stop = self.end
            self.at = self.end
        else:
            self.at = stop
        return self.data[start:stop].decode("latin-1").rstrip(" \0")


def read_result(data, kind, begin, end, order):
    """One result record of at least 6 bytes.

    {kind, test_num, name, values: [(element, result)], passed, over, limits}; `limits` is None where the record stops
    before OPT_FLAG, else (unit, low, high).
    """
    payload = Payload(data, begin, end, order)
    length = end - begin
    test_num = payload.number("I")
    payload.at = begin + 6
    test_flag = payload.number("B")
    passed = None
    if test_flag is not None and not test_flag & 0b0100_0000:
        passed = not test_flag & 0b1000_0000
    limits = None
    name = ""
    values: list[Any] = [(None, None)]
    if kind in (PTR, MPR):
        parm_flag = payload.number("B")
        usable = length >= 12 and test_flag & 0b0011_1111 == 0 and parm_flag & 0b0000_0111 == 0
        if kind == PTR:
            payload.at = begin + 12
            if usable:
                values = [(None, real(struct.unpack_from(order + "f", data, begin + 8)[0]))]
            name = payload.text()
        elif length >= 12:
            pins, count = struct.unpack_from(order + "HH", data, begin + 8)
            first = begin + 12 + (pins + 1) // 2
            there = 0
            while there < count and first + 4 * there + 4 <= end:
                there += 1
            values = [
                (k, real(struct.unpack_from(order + "f", data, first + 4 * k)[0]) if usable else None)
                for k in range(there)
            ] or values
            payload.at = begin + 12
            if payload.skip((pins + 1) // 2 + 4 * count):
                name = payload.text()
        else:
            payload.at = end
        limits = None if payload.over else read_limits(payload, kind)
    else:
        name = functional_name(payload, begin)
    return {
        "kind": kind, "test_num": test_num, "name": name, "values": values, "passed": passed, "over": payload.over,
        "limits": limits,
    }  # fmt: skip


def real(value):
    return None if math.isnan(value) else value


def read_limits(payload, kind):
    """From behind TEST_TXT: ALARM_ID, OPT_FLAG, three scales, LO_LIMIT, HI_LIMIT, (MPR: START_IN ...), UNITS."""
    over = payload.over
    payload.text()  # ALARM_ID
    if payload.at >= payload.end:
        payload.over = over
        return None
    flag = payload.number("B")
    cut = False

    def next_number(code):
        nonlocal cut
        if cut:
            return None
        value = payload.number(code)
        cut = value is None
        return value

    for _ in range(3):
        next_number("b")
    low, high = next_number("f"), next_number("f")
    if kind == MPR and not cut:
        next_number("f")
        next_number("f")
        pins = struct.unpack_from(payload.order + "H", payload.data, payload.begin + 8)[0]
        inside = payload.at + 2 * pins <= payload.end
        payload.at = payload.at + 2 * pins if inside else payload.end
        cut = cut or not inside
    unit = None
    if not cut and payload.at < payload.end:
        length = payload.data[payload.at]
        if payload.at + 1 + length <= payload.end:  # a text that is cut off is none
            unit = payload.text() or None
    payload.over = over
    return unit, None if flag & 0b0101_0000 else low, None if flag & 0b1010_0000 else high


def functional_name(payload, begin):
    """TEST_TXT of an FTR: behind counts, four arrays, FAIL_PIN and three texts."""
    if payload.end - begin < 38:
        return ""
    payload.at = begin + 34
    returned, programmed = payload.number("H"), payload.number("H")
    for size in (2 * returned, (returned + 1) // 2, 2 * programmed, (programmed + 1) // 2):
        if not payload.skip(size):
            return ""
    bits = payload.number("H")
    if bits is None or not payload.skip((bits + 7) // 8):
        return ""
    for _ in range(3):  # VECT_NAM, TIME_SET, OP_CODE
        payload.text()
        if payload.over:
            return ""
    return payload.text()


def read_summary(data, begin, end, order):
    """(kind, test_num, name) of a TSR; None where it has no TEST_TYP of P, M or F, no number or no name."""
    kind = {b"P": PTR, b"M": MPR, b"F": FTR}.get(bytes(data[begin + 2 : min(begin + 3, end)]))
    payload = Payload(data, min(begin + 3, end), end, order)
    test_num = payload.number("I")
    for _ in range(3):
        payload.number("I")
    if payload.at >= payload.end or payload.at + 1 + data[payload.at] > end:
        return None
    name = payload.text()
    if kind is None or test_num is None or not name:
        return None
    return kind, test_num, name


def name_tests(results, summaries):
    """Gives every result its `test`, an index into the tests; returns the tests.

    A test is (kind, number, name). A record without a name is of the first test of its kind and number with one;
    limits are of the test's first record that reaches OPT_FLAG, else of the first such test of the same number.
    """
    first_name: dict[Any, str] = {}
    for result in results:
        key = (result["kind"], result["test_num"])
        if result["name"] and key not in first_name:
            first_name[key] = result["name"]
    summed: dict[Any, str] = {}
    for kind, number, name in summaries:
        summed.setdefault((kind, number), name)
    tests: list[Any] = []
    place: dict[Any, int] = {}
    for result in results:
        key = (result["kind"], result["test_num"])
        name = result["name"] or first_name.get(key) or summed.get(key, "")
        identity = (*key, name)
        if identity not in place:
            place[identity] = len(tests)
            tests.append({"identity": identity, "limits": None})
        result["test"] = place[identity]
        test = tests[result["test"]]
        if test["limits"] is None:
            test["limits"] = result["limits"]
    of_number: dict[Any, Any] = {}
    for test in tests:
        if test["limits"] is not None:
            of_number.setdefault(test["identity"][:2], test["limits"])
    for test in tests:
        if test["limits"] is None:
            test["limits"] = of_number.get(test["identity"][:2])
    seen = {test["identity"][:2] for test in tests}
    for identity in dict.fromkeys(summaries):
        if identity[:2] not in seen:
            tests.append({"identity": identity, "limits": None})
    named = []
    for test in tests:
        kind, number, name = test["identity"]
        unit, low, high = test["limits"] or (None, None, None)
        named.append(
            {
                "record": NAMES[kind],
                "test_num": number,
                "name": name,
                "unit": unit,
                "low_limit": low,
                "high_limit": high,
            }
        )
    return named
