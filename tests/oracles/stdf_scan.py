"""A naive STDF V4 scanner on `struct` alone: framing, parts, touchdowns, runs, results (semantics, 2.2 and 5)."""

import math
import struct
from typing import Any

from tests.oracles.stdf_frames import KNOWN, fields_end, read_records
from tests.oracles.stdf_results import NAMES, REQUIRED, TSR, name_tests, read_result, read_summary, text_of

MISSING_COORDINATE = -32768
MISSING_BIN = 65535

FAR, MIR, MRR = (0, 10), (1, 10), (1, 20)
WIR, WRR = (2, 10), (2, 20)
PIR, PRR = (5, 10), (5, 20)
LISTS_SITES = (1, 80)
WITH_TEXTS = ((1, 10), (1, 20), (1, 80), (2, 10), (2, 20))


def scan(data):
    """What a decompressed STDF V4 file holds, up to its last complete record.

    byte_order      "<" or ">", from FAR
    records         (typ, sub, offset of the record's header, REC_LEN) per record
    trailing_bytes  bytes after the last complete record
    start_t, finish_t   of MIR and MRR, None when the record is absent
    wafers          per WIR: head, start_t, wafer_id, run
    wafer_ends      per WRR: head, finish_t, wafer_id
    parts           per PRR in file order, without pseudo-parts: head, site, run, touchdown, part_id, part_flg, passed,
                    hard_bin, soft_bin, x, y, test_t,
                    results = [(record, test_num, name, occurrence, element, result, passed)] in file order
    tests           record, test_num, name, unit, low_limit, high_limit by their first record, then those of TSRs alone
    pseudo_parts    how many were dropped
    gaps            (first byte, byte behind) of what lies between records
    damage          None, "cut", "framing", "second_far", "second_mir", "no_header" or "no_mrr": why the walk stopped
                    at the byte `position`
    faults          counts of structural damage by name, without zeros

    `run` counts the wafer runs of the file (a WIR, or the parts of a head before its first WIR) as they begin, from 0.
    `touchdown` counts from 0 within the run. `occurrence` counts records of the same test within the part, from 0.
    """
    order = byte_order(data)
    frames = read_records(data, order)
    records, gaps, position, why = frames["records"], frames["gaps"], frames["position"], frames["why"]
    damage = None if why in ("complete", "padding", "trailing") else why
    faults = dict.fromkeys(
        ("unknown_records", "unclosed_parts", "lonely_prr", "results_outside_parts", "short_records",
         "overlong_fields", "missing_mrr", "repeated_mir", "padding_bytes", "trailing_bytes", "cpu_type",
         "parts_cut_by_damage"), 0
    )  # fmt: skip
    faults["cpu_type"] = int(data[4] != {"<": 2, ">": 1}[order])
    if why in ("padding", "trailing"):
        faults[f"{why}_bytes"] = len(data) - position
    faults["skipped_places"] = len(gaps)
    faults["skipped_bytes"] = sum(again - begin for begin, again in gaps)
    has_site_255 = any(
        r[:2] == LISTS_SITES
        and r[3] >= 3
        and r[3] >= 3 + data[r[2] + 6]
        and 255 in data[r[2] + 7 : r[2] + 7 + data[r[2] + 6]]
        for r in records
    )
    results, summaries = [], []
    u2, u4, i2 = (struct.Struct(order + code) for code in "HIh")

    def number(layout, offset, end, default):
        return layout.unpack_from(data, offset)[0] if offset + layout.size <= end else default

    def text(offset, end):
        """A Cn field and the offset behind it; empty when the record stops before it."""
        if offset >= end:
            return "", end
        stop = offset + 1 + data[offset]
        return text_of(data[offset + 1 : min(stop, end)]), stop

    start_t = finish_t = None
    mirs = mrrs = 0
    wafers, wafer_ends = [], []
    opened = []  # every part at its PIR
    closed = []  # the same dicts at their PRR
    open_parts: dict[Any, Any] = {}  # (head, site) -> part
    last_wir: dict[Any, Any] = {}  # head -> record index of its last WIR; one of head 255 is of heads without their own

    breaks = {again for _, again in gaps}
    given_up = set()  # (head, site) whose part began, if it did, before bytes that were lost

    def open_part(head, site, index):
        if (head, site) in open_parts:  # its PRR never came: no part, and open no longer
            open_parts[head, site]["closed_at"] = index - 1
        part = {
            "head": head,
            "site": site,
            "wir": last_wir.get(head, last_wir.get(255)),
            "opened_at": index,
            "closed_at": math.inf,
        }
        part["results"] = []
        open_parts[head, site] = part
        opened.append(part)

    for index, (typ, sub, offset, length) in enumerate(records):
        kind = (typ, sub)
        begin = offset + 4
        end = begin + length
        if offset in breaks:
            for part in open_parts.values():
                part["closed_at"] = index - 1
            open_parts.clear()
            if any(r[:2] == PIR for r in records):
                given_up = {(head, site) for head in range(256) for site in range(256)}
        if kind in WITH_TEXTS and length:
            faults["overlong_fields"] += fields_end(data, kind, begin, end, order)[1]
        if kind not in KNOWN:
            faults["unknown_records"] += 1
        if kind in REQUIRED:
            if length < REQUIRED[kind]:
                faults["short_records"] += 1
            if length >= 6:
                result = read_result(data, kind, begin, end, order)
                results.append(result)
                if result["over"]:
                    faults["overlong_fields"] += 1
                part = open_parts.get((data[begin + 4], data[begin + 5]))
                if part is None:
                    faults["results_outside_parts"] += 1
                else:
                    part["results"].append(result)
        elif kind == TSR:
            summary = read_summary(data, begin, end, order)
            if summary is not None:
                summaries.append(summary)
        elif kind == PIR and length < 2:
            faults["short_records"] += 1
        elif kind == PIR and length >= 2:
            given_up.discard((data[begin], data[begin + 1]))
            open_part(data[begin], data[begin + 1], index)
        elif kind == PRR and length < 2:
            faults["short_records"] += 1
        elif kind == PRR:
            if length < 7:
                faults["short_records"] += 1
            head, site = data[begin], data[begin + 1]
            if (head, site) in given_up and (head, site) not in open_parts:
                faults["parts_cut_by_damage"] += 1
                continue
            if length > 17 and begin + 18 + data[begin + 17] > end:
                faults["overlong_fields"] += 1
            if (head, site) not in open_parts:  # a PRR without a PIR is a part without results
                faults["lonely_prr"] += 1
                open_part(head, site, index)
            part = open_parts.pop((head, site))
            part["closed_at"] = index
            part["prr_at"] = offset
            part_flg = data[begin + 2] if length >= 3 else 0b0001_0000
            x = number(i2, begin + 9, end, MISSING_COORDINATE)
            y = number(i2, begin + 11, end, MISSING_COORDINATE)
            soft_bin = number(u2, begin + 7, end, MISSING_BIN)
            part["part_flg"] = part_flg
            part["passed"] = None if part_flg & 0b0001_0000 else part_flg & 0b0000_1000 == 0
            part["hard_bin"] = number(u2, begin + 5, end, None)
            part["soft_bin"] = None if soft_bin == MISSING_BIN else soft_bin
            part["x"] = None if x == MISSING_COORDINATE else x
            part["y"] = None if y == MISSING_COORDINATE else y
            part["test_t"] = number(u4, begin + 13, end, 0)
            part["part_id"], _ = text(begin + 17, end)
            closed.append(part)
        elif kind == WIR and length >= 1:
            head = data[begin]
            last_wir[head] = index
            wafer_id, _ = text(begin + 6, end)
            wafers.append(
                {"head": head, "start_t": number(u4, begin + 2, end, None), "wafer_id": wafer_id, "record": index}
            )
            wafers[-1]["at"] = offset
        elif kind == WRR and length >= 1:
            wafer_id, _ = text(begin + 26, end)
            wafer_ends.append({"head": data[begin], "finish_t": number(u4, begin + 2, end, None), "wafer_id": wafer_id})
            wafer_ends[-1]["at"] = offset
        elif kind == MIR:
            mirs += 1
            start_t = number(u4, begin + 4, end, None)
        elif kind == MRR:
            mrrs += 1
            finish_t = number(u4, begin, end, None)

    of_parts = [part["results"] for part in opened]
    pseudo = [part for part in closed if is_pseudo(part, has_site_255)]
    parts = [part for part in closed if not is_pseudo(part, has_site_255)]
    uncertain = [part for part in parts if not wafer_is_certain(part, gaps, wafers, wafer_ends)]
    parts = [part for part in parts if part not in uncertain]
    faults["unclosed_parts"] = sum("part_id" not in part for part in opened)
    faults["missing_mrr"] = int(mrrs == 0)
    faults["repeated_mir"] = max(mirs - 1, 0)
    if damage is None and mrrs == 0:
        damage = "no_mrr"
    # A pseudo-part is as if it had never been there: it neither begins a touchdown nor keeps one open.
    opened = [
        part
        for part in opened
        if (part["site"] != 255 or has_site_255) and ("part_id" not in part or not is_pseudo(part, has_site_255))
    ]
    number_runs(wafers, parts)
    number_touchdowns(opened)
    tests = name_tests(results, summaries, of_parts)
    for part in parts:
        part["results"] = with_occurrence(part["results"], tests)
        del part["prr_at"]
    return {
        "byte_order": order,
        "records": records,
        "trailing_bytes": len(data) - position,
        "position": position,
        "gaps": gaps,
        "uncertain_parts": len(uncertain),
        "damage": damage,
        "faults": {name: count for name, count in faults.items() if count},
        "tests": tests,
        "mirs": mirs,
        "start_t": start_t,
        "finish_t": finish_t,
        "wafers": wafers,
        "wafer_ends": wafer_ends,
        "parts": parts,
        "pseudo_parts": len(pseudo),
    }


def byte_order(data):
    """From REC_LEN of FAR, the first record, which is 2 in the file's order; CPU_TYPE 0 has floats of another kind."""
    if len(data) < 6 or (data[2], data[3]) != FAR:
        raise ValueError("not an STDF V4 file: it does not begin with FAR")
    orders = {b"\x02\x00": "<", b"\x00\x02": ">"}
    if bytes(data[:2]) not in orders or data[5] != 4 or data[4] == 0:
        raise ValueError(f"FAR has REC_LEN bytes {data[:2]}, CPU_TYPE {data[4]} and STDF_VER {data[5]}")
    return orders[bytes(data[:2])]


def wafer_is_certain(part, gaps, wafers, wafer_ends):
    """Whether no other wafer can have begun in the bytes that were lost before a part's end.

    A WIR behind them settles it; else the next WRR of the head before another WIR, by its name; and where none says
    a name, the file must name one wafer alone, which no WRR ended before the bytes.
    """
    lost = [again for _, again in gaps if again <= part["prr_at"]]
    if not lost:
        return True
    names = {wafer["wafer_id"].rstrip(" \0") for wafer in [*wafers, *wafer_ends]} - {""}
    if part["wir"] is None:
        return len(names) <= 1
    wir = next(wafer for wafer in wafers if wafer["record"] == part["wir"])
    if wir["at"] >= lost[-1]:
        return True
    heads = (part["head"], wir["head"], 255)
    ends = [wafer for wafer in wafer_ends if wafer["head"] in heads]
    begins = [wafer["at"] for wafer in wafers if wafer["head"] in heads and wafer["at"] > part["prr_at"]]
    behind = [wafer for wafer in ends if part["prr_at"] < wafer["at"] < min(begins, default=math.inf)]
    if behind and behind[0]["wafer_id"].rstrip(" \0") and wir["wafer_id"].rstrip(" \0"):
        return behind[0]["wafer_id"].rstrip(" \0") == wir["wafer_id"].rstrip(" \0")
    return len(names) <= 1 and not any(wir["at"] < wafer["at"] < lost[-1] for wafer in ends)


def is_pseudo(part, has_site_255):
    high_bin = part["hard_bin"] is not None and part["hard_bin"] > 32767
    return (
        (part["site"] == 255 and not has_site_255) or high_bin or part["part_id"].rstrip(" \0") == "Test Plan Delimiter"
    )


def run_of(part):
    """What tells the runs of a file apart: the WIR, or without one the head."""
    return ("wir", part["wir"]) if part["wir"] is not None else ("head", part["head"])


def number_runs(wafers, parts):
    """Give every WIR and every part its `run`; a head's parts before its first WIR are a run of their own."""
    begins = {}  # run -> record at which it begins
    for wafer in wafers:
        begins["wir", wafer["record"]] = wafer["record"]
    for part in parts:
        begins[run_of(part)] = min(begins.get(run_of(part), part["opened_at"]), part["opened_at"])
    number_of = {key: number for number, key in enumerate(sorted(begins, key=begins.__getitem__))}
    for wafer in wafers:
        wafer["run"] = number_of["wir", wafer.pop("record")]
    for part in parts:
        part["run"] = number_of[run_of(part)]


def number_touchdowns(opened):
    """Give every part its `touchdown`: one begins at a PIR when no part of that head and run is open.

    Touchdowns of which no part was completed get no number.
    """
    last: dict[Any, Any] = {}  # (head, run) -> its last touchdown, a list of parts
    touchdowns: dict[Any, Any] = {}  # run -> its touchdowns as they begin
    for part in opened:
        group = last.get((part["head"], run_of(part)))
        if group is not None and any(other["closed_at"] > part["opened_at"] for other in group):
            group.append(part)
        else:
            group = [part]
            last[part["head"], run_of(part)] = group
            touchdowns.setdefault(run_of(part), []).append(group)
    for of_run in touchdowns.values():
        completed = [group for group in of_run if any("part_id" in part for part in group)]
        for number, group in enumerate(completed):
            for part in group:
                part["touchdown"] = number


def with_occurrence(results, tests):
    """The rows of one part: an MPR gives one per element, which share the occurrence of their record."""
    seen: dict[Any, Any] = {}
    rows = []
    for result in results:
        occurrence = seen.get(result["test"], 0)
        seen[result["test"]] = occurrence + 1
        test = tests[result["test"]]
        for element, value in result["values"]:
            rows.append(
                (NAMES[result["kind"]], test["test_num"], test["name"], occurrence, element, value, result["passed"])
            )
    return rows
