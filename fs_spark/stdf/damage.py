"""What a file lost where its records broke off: said in words, counted, and parts whose wafer is not certain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fs_spark.stdf import framing
from fs_spark.stdf.framing import KINDS, Survey
from fs_spark.stdf.layouts import CPU_TYPES
from fs_spark.stdf.records import runs_over
from fs_spark.stdf.scan import Scan

_SHOWN = 3


def _split(at: int, *, header_only: bool) -> str:
    """How to cut a file in two at a byte; a second part without a FAR borrows that of the first."""
    rest = f"tail -c +{at + 1} FILE"
    if header_only:
        rest = f"(head -c 6 FILE; {rest})"
    return f"Hint: unpack it and split it there: `head -c {at} FILE > first.stdf` and `{rest} > second.stdf`"


def why_it_stopped(survey: Survey) -> str | None:
    """Why the walk over the records stopped before the end of the file."""
    at, second = survey.stopped_at, survey.second_at
    if survey.why == framing.CUT:
        return f"cut off in the record at byte {at}"
    if survey.why == framing.FRAMING_LOST:
        return f"framing lost: at byte {at} stands no record of STDF V4, nor behind it"
    if survey.why == framing.SECOND_FILE and second is not None:
        return f"a second file begins at byte {second}, which was not read. {_split(second, header_only=False)}"
    if survey.why == framing.SECOND_HEADER and second is not None:
        if not survey.counts[KINDS["MIR"]]:
            return f"the header (MIR) stands behind parts, at byte {second}: whose they are is not certain"
        return f"a second header (MIR) begins at byte {second}, which was not read. {_split(second, header_only=True)}"
    if survey.why == framing.NO_HEADER:
        return f"records without a header (MIR) begin at byte {second}, behind the MRR; they were not read"
    if not survey.counts[KINDS["MRR"]]:
        return f"no MRR record: the file stops at byte {at}"
    return None


def what_was_lost(survey: Survey) -> str | None:
    """The skipped places, and why the file ends early; None for one that is whole."""
    told = [
        f"{again - begin} bytes from byte {begin} on are no records and were skipped"
        for begin, again in survey.gaps[:_SHOWN]
    ]
    if len(survey.gaps) > _SHOWN:
        told.append(f"{len(survey.gaps) - _SHOWN} more such places")
    stopped = why_it_stopped(survey)
    return "; ".join([*told, *([stopped] if stopped else [])]) or None


def first_loss(survey: Survey) -> int:
    """The first byte that was not read as a record."""
    return survey.gaps[0][0] if survey.gaps else survey.stopped_at


def count_faults(scanned: Scan, size: int) -> dict[str, int]:
    """Structural damage by its name, without zeros. `size` is the file's."""
    survey, counts = scanned.survey, scanned.counts
    left = size - survey.stopped_at
    found = {
        "unknown_records": int(counts.sum() - counts[list(KINDS.values())].sum()),
        "unclosed_parts": int((scanned.part_prr < 0).sum()),
        "lonely_prr": int((~scanned.part_has_pir).sum()),
        "results_outside_parts": scanned.results_outside_parts,
        "short_records": scanned.short_records,
        "overlong_fields": scanned.overlong_fields + _overlong_fields(scanned),
        "missing_mrr": int(not counts[KINDS["MRR"]]),
        "repeated_mir": max(int(counts[KINDS["MIR"]]) - 1, 0),
        "cpu_type": int(scanned.data[4] != CPU_TYPES["big" if scanned.big_endian else "little"]),
        "padding_bytes": left if survey.why == framing.PADDING else 0,
        "trailing_bytes": left if survey.why == framing.TRAILING else 0,
        "skipped_places": len(survey.gaps),
        "skipped_bytes": sum(again - begin for begin, again in survey.gaps),
        "parts_cut_by_damage": scanned.lost_ends,
    }
    return {name: count for name, count in found.items() if count}


_TEXTS = ("MIR", "MRR", "SDR", "WIR", "WRR")


def _overlong_fields(scanned: Scan) -> int:
    """Records apart from results with a field that reaches beyond their end."""
    found = sum(
        runs_over(name, scanned.payload(at), big_endian=scanned.big_endian)
        for name in _TEXTS
        for at in scanned.places(name).tolist()
    )
    prr = scanned.part_prr[scanned.part_prr >= 0]
    end = scanned.ends(prr)
    prr, end = prr[end - prr > 21], end[end - prr > 21]
    return found + int((prr + 22 + scanned.data[prr + 21] > end).sum())


def doubtful_parts(scanned: Scan) -> NDArray[np.bool_]:
    """Parts behind lost bytes, among which the end of their wafer and the begin of another may have been, (parts,).

    They are certain where a WIR stands behind the bytes; where the next WRR of their head names the wafer of the last
    WIR; and, without such a WRR, where the file names no other wafer and that one was not ended before.
    """
    doubtful = np.zeros(len(scanned.part_prr), bool)
    if not len(scanned.breaks):
        return doubtful
    wirs = [(at, fields) for at, fields in scanned.records("WIR") if fields["head_num"] is not None]
    wrrs = scanned.records("WRR")
    names = {fields["wafer_id"] for _, fields in (*wirs, *wrrs)} - {None}
    for part in np.flatnonzero(scanned.part_prr > scanned.breaks[0]).tolist():
        prr, run = int(scanned.part_prr[part]), int(scanned.part_run[part])
        lost = int(scanned.breaks[np.searchsorted(scanned.breaks, prr, "right") - 1])
        if run < 0:
            doubtful[part] = len(names) > 1
            continue
        begun, wir = wirs[run]
        if begun >= lost:
            continue
        heads = (int(scanned.data[prr + 4]), wir["head_num"], 255)
        following = min(
            (at for at, other in wirs if at > prr and other["head_num"] in heads), default=len(scanned.data)
        )
        ends = [(at, wrr["wafer_id"]) for at, wrr in wrrs if wrr["head_num"] in heads]
        named = next((name for at, name in ends if prr < at < following), None)
        if named is not None and wir["wafer_id"] is not None:
            doubtful[part] = named != wir["wafer_id"]
        else:
            doubtful[part] = len(names) > 1 or any(begun < at < lost for at, _ in ends)
    return doubtful
