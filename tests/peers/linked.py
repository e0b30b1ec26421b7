"""A peer's records -> parts with results and tests, in the form of the naive scanner.

The peer decodes every field; names, linking and occurrences are those of `tests.oracles`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.oracles.stdf_results import FTR, MPR, PTR, name_tests
from tests.oracles.stdf_scan import is_pseudo, with_occurrence

KINDS = ("PIR", "PRR", "PTR", "MPR", "FTR", "TSR")
_RESULTS = {"PTR": PTR, "MPR": MPR, "FTR": FTR}
_SUMMED = {"P": PTR, "M": MPR, "F": FTR}
Fields = dict[str, Any]


def _text(fields: Fields, name: str) -> str:
    text: str = fields.get(name) or ""
    return text.rstrip(" \0")


def _number(value: float) -> float | None:
    return None if value != value else value  # NaN


def _values(name: str, fields: Fields) -> list[tuple[int | None, float | None]]:
    """(element, result) for every row of the record."""
    usable = "parm_flg" in fields and not fields["test_flg"] & 0x3F and not fields["parm_flg"] & 0x07
    if name == "PTR" and "result" in fields:
        return [(None, _number(fields["result"]) if usable else None)]
    if name == "MPR" and fields.get("rtn_rslt"):
        return [(k, _number(value) if usable else None) for k, value in enumerate(fields["rtn_rslt"])]
    return [(None, None)]


def _result(name: str, fields: Fields) -> dict[str, Any]:
    passed = None
    if "test_flg" in fields and not fields["test_flg"] & 0x40:
        passed = not fields["test_flg"] & 0x80
    limits = None
    if name != "FTR" and "opt_flag" in fields:
        flag = fields["opt_flag"]
        low = None if flag & 0x50 else fields.get("lo_limit")
        high = None if flag & 0xA0 else fields.get("hi_limit")
        limits = (_text(fields, "units") or None, low, high)
    return {
        "kind": _RESULTS[name],
        "test_num": fields["test_num"],
        "name": _text(fields, "test_txt"),
        "values": _values(name, fields),
        "passed": passed,
        "limits": limits,
    }


def _part(fields: Fields, results: list[dict[str, Any]]) -> dict[str, Any]:
    flag = fields.get("part_flg", 0x10)
    missing = {"soft_bin": 65535, "x_coord": -32768, "y_coord": -32768}
    soft_bin, x, y = (None if fields.get(name, none) == none else fields[name] for name, none in missing.items())
    return {
        "head": fields["head_num"],
        "site": fields["site_num"],
        "passed": None if flag & 0x10 else not flag & 0x08,
        "hard_bin": fields.get("hard_bin"),
        "soft_bin": soft_bin,
        "x": x,
        "y": y,
        "test_t": fields.get("test_t", 0),
        "part_id": _text(fields, "part_id"),
        "results": results,
    }


def link(records: Iterable[tuple[str, Fields]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The parts in the order of their PRR, without pseudo-parts, and the tests."""
    parts: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    summaries = []
    of_parts: list[list[dict[str, Any]]] = []
    open_parts: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for name, fields in records:
        if name == "TSR":
            kind = _SUMMED.get(fields.get("test_typ", ""))
            if kind and _text(fields, "test_nam"):
                summaries.append((kind, fields["test_num"], _text(fields, "test_nam")))
            continue
        place = (fields["head_num"], fields["site_num"])
        if name == "PIR":
            open_parts[place] = []
            of_parts.append(open_parts[place])
        elif name == "PRR":
            parts.append(_part(fields, open_parts.pop(place, [])))
        else:
            results.append(_result(name, fields))
            if place in open_parts:
                open_parts[place].append(results[-1])
    tests = name_tests(results, summaries, of_parts)
    kept = [part for part in parts if not is_pseudo(part, has_site_255=False)]
    for part in kept:
        part["results"] = with_occurrence(part["results"], tests)
    return kept, tests
