"""Naive reading of PTR, MPR, FTR and TSR payloads on `struct` alone [STDF V4 p.45-58, semantics section 5]."""

import math
import struct
from typing import Any

PTR, MPR, FTR, TSR = (15, 10), (15, 15), (15, 20), (10, 30)
NAMES = {PTR: "PTR", MPR: "MPR", FTR: "FTR"}
REQUIRED = {PTR: 12, MPR: 12, FTR: 7}


def text_of(raw):
    """UTF-8 where valid, else cp1252, else Latin-1, without trailing blanks and NULs."""
    raw = bytes(raw).rstrip(b" \0")
    for encoding in ("utf-8", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            pass
    return raw.decode("latin-1")


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
        return text_of(self.data[start:stop])


def read_result(data, kind, begin, end, order):
    """One result record of at least 6 bytes.

    {kind, test_num, name, values: [(element, result)], passed, over, limits}; `limits` is None where the record stops
    before OPT_FLAG, else (unit, low, high), each None where the record gives none.
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


def finite(value):
    return value if value is not None and math.isfinite(value) else None


PREFIXES = {"": 0, "m": -3, "u": -6, "n": -9, "p": -12, "k": 3}


def power_between(unit, other):
    """The power of ten from one unit to another of the same quantity, for V and A alone."""
    if unit == other:
        return 0
    if unit[-1:].upper() not in ("V", "A") or unit[-1].upper() != other[-1:].upper():
        return None
    if unit[:-1] not in PREFIXES or other[:-1] not in PREFIXES:
        return None
    return PREFIXES[unit[:-1]] - PREFIXES[other[:-1]]


def scaled(value, power):
    if value is None or power == 0:
        return value
    value = value * 10.0**power if power > 0 else value / 10.0**-power
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def name_in_order(results, of_parts):
    """Names for records without one whose number several names share: those of the first part that has them all.

    A part that stops early has the first of them. One with more records of that test number, or with other names in
    these places, leaves them unnamed.
    """
    names: dict[Any, set[str]] = {}
    for result in results:
        result["named"] = result["name"]
        if result["name"]:
            names.setdefault((result["kind"], result["test_num"]), set()).add(result["name"])
    for key in [key for key, found in names.items() if len(found) > 1]:
        lists = [[r for r in part if (r["kind"], r["test_num"]) == key] for part in of_parts]
        whole = [some for some in lists if len(some) > 1 and all(r["name"] for r in some)]
        for some in lists:
            order = whole[0] if whole else []
            if len(some) <= len(order) and all(r["name"] in ("", o["name"]) for r, o in zip(some, order, strict=False)):
                for r, o in zip(some, order, strict=False):
                    r["named"] = o["name"]
    return names


def name_tests(results, summaries, of_parts):
    """Gives every result its `test`, an index into the tests, and its values in that test's unit; returns the tests.

    A test is (kind, number, name), in the order of the first records that say so. A record without a name is of the
    only test of its kind and number with one, see `name_in_order` where there are several. A unit of another quantity
    makes another test. Limits are of the first record that has them, the unit of the first that has one; a test
    without any record that reaches OPT_FLAG has those of the first such test of its number.
    """
    names = name_in_order(results, of_parts)
    summed: dict[Any, str] = {}
    for kind, number, name in summaries:
        summed.setdefault((kind, number), name)
    # as written: records of one name, and among them those with another unit than their first
    written: dict[Any, Any] = {}
    for result in results:
        key = (result["kind"], result["test_num"], result["name"])
        unit = (result["limits"] or (None,))[0]
        group = written.setdefault((*key, None), {"unit": None, "results": []})
        if unit is not None and group["unit"] is not None and unit != group["unit"]:
            group = written.setdefault((*key, unit), {"unit": unit, "results": []})
        group["unit"] = group["unit"] or unit
        group["results"].append(result)
    tests: list[Any] = []
    place: dict[Any, int] = {}
    for (kind, number, name, _), group in written.items():
        of_number = names.get((kind, number), set())
        for result in group["results"]:
            result["home"] = group
        if not name and len(of_number) > 1 and all(r["named"] for r in group["results"]):
            group["place"] = None  # all of them have a name by their order
            continue
        if not name:
            name = next(iter(of_number)) if len(of_number) == 1 else "" if of_number else summed.get((kind, number), "")
        at = place.setdefault((kind, number, name, None), len(tests))
        power = 0
        if at < len(tests) and group["unit"] and tests[at]["unit"] and group["unit"] != tests[at]["unit"]:
            power = power_between(group["unit"], tests[at]["unit"])
            if power is None:
                at = place.setdefault((kind, number, name, group["unit"]), len(tests))
                name = f"{name} [{group['unit']}]"
        group["place"], group["power"] = at, power or 0
        if power:
            continue
        if at == len(tests):
            tests.append({"identity": (kind, number, name), "unit": None, "records": []})
        tests[at]["unit"] = tests[at]["unit"] or group["unit"]
        tests[at]["records"] += group["results"]
    for result in results:
        home = result["home"]
        if result["named"] != result["name"]:
            home = written[result["kind"], result["test_num"], result["named"], None]
        result["test"] = home["place"]
        result["values"] = [(element, scaled(value, home["power"])) for element, value in result["values"]]
    order = {id(result): k for k, result in enumerate(results)}
    limits_of_number: dict[Any, Any] = {}
    for test in tests:
        reached = [r["limits"] for r in sorted(test["records"], key=lambda r: order[id(r)]) if r["limits"] is not None]
        test["limits"] = None
        if reached:
            low = next((limits[1] for limits in reached if limits[1] is not None), None)
            high = next((limits[2] for limits in reached if limits[2] is not None), None)
            test["limits"] = reached[0][0], finite(low), finite(high)
            limits_of_number.setdefault(test["identity"][:2], test["limits"])
    seen = {test["identity"][:2] for test in tests}
    for identity in dict.fromkeys(summaries):
        if identity[:2] not in seen:
            tests.append({"identity": identity, "unit": None, "limits": None})
            tests[-1]["alone"] = True
    named = []
    for test in tests:
        kind, number, name = test["identity"]
        limits = test["limits"] or (None if test.get("alone") else limits_of_number.get((kind, number)))
        unit, low, high = limits or (None, None, None)
        named.append(
            {
                "record": NAMES[kind],
                "test_num": number,
                "name": name,
                "unit": test["unit"] or unit,
                "low_limit": low,
                "high_limit": high,
            }
        )
    return named
