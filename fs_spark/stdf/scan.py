"""A file's bytes -> where its records, parts, results and tests are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.errors import StdfError
from fs_spark.stdf import linking
from fs_spark.stdf.framing import KINDS, Survey, survey
from fs_spark.stdf.linking import link_records, places_of
from fs_spark.stdf.records import Fields, read_fields
from fs_spark.stdf.texts import decode_text

Int64 = NDArray[np.int64]

_TEST_COLUMNS: Final = [
    linking.KIND, linking.NUMBER, linking.NAME, linking.NAME_SIZE, linking.FIRST, linking.OPTION,
    linking.UNIT, linking.UNIT_SIZE, linking.LOW, linking.HIGH, linking.ALTER,
]  # fmt: skip

PTR: Final = 3850
MPR: Final = 3855
FTR: Final = 3860
_WIR: Final = 522
_PIR: Final = 1290
_PRR: Final = 1300
_UNREAD: Final = (PTR, MPR, FTR, _PIR, _PRR, KINDS["STR"], KINDS["BPS"], KINDS["EPS"])
"""Records that are not kept one by one: results, the ends of parts, and what only `StdfFile.records` reads."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What the passes over a file's bytes find; places are bytes of record headers.

    kept_*     (records,) every record but results, PIR, PRR and what is skipped
    part_*     (parts,) in the order of PIR, then of a PRR without one; `part_prr` -1 was never closed
    result_*   (result records,) in file order; `result_part` -1 is outside any part
    test_*     (tests,) by their first record: (kind, TEST_NUM, name, unit) as bytes, `test_opt` -1 never reaches
               OPT_FLAG; `test_low`, `test_high` are the first ones with such a limit, `test_alter` one with others
    breaks     (n,) the first records behind bytes that were skipped: `data` is without these
    """

    data: NDArray[np.uint8]
    big_endian: bool
    encoding: str | None
    survey: Survey
    breaks: Int64
    kept_at: Int64
    kept_kind: NDArray[np.int32]
    part_prr: Int64
    part_run: Int64
    part_touchdown: Int64
    part_has_pir: NDArray[np.bool_]
    part_is_pseudo: NDArray[np.bool_]
    part_rows: Int64
    result_part: NDArray[np.int32]
    result_test: NDArray[np.int32]
    test_kind: Int64
    test_num: Int64
    test_name_at: Int64
    test_name_size: Int64
    test_first: Int64
    test_opt: Int64
    test_unit_at: Int64
    test_unit_size: Int64
    test_low: Int64
    test_high: Int64
    test_alter: Int64
    short_records: int
    overlong_fields: int
    results_outside_parts: int
    lost_ends: int
    """PRRs behind skipped bytes whose PIR is not there."""

    @property
    def counts(self) -> Int64:
        """Records by kind (65536,)."""
        return self.survey.counts

    @property
    def stopped_at(self) -> int:
        """The byte of `data` behind the last record."""
        return len(self.data) if self.survey.gaps else self.survey.stopped_at

    def fields(self, name: str, at: int) -> Fields:
        """The fields of the record at a byte, which is one of `name`."""
        return read_fields(name, self.payload(at), big_endian=self.big_endian, encoding=self.encoding)

    def text(self, at: int, size: int) -> str:
        return decode_text(self.data[at : at + size].tobytes(), self.encoding)

    def ends(self, at: Int64) -> Int64:
        """Byte behind each record."""
        ends: Int64 = at + 4 + self.numbers(at, "u2").astype(np.int64)
        return ends

    def payload(self, at: int) -> bytes:
        """The payload of the record at a byte."""
        (end,) = self.ends(np.array([at], np.int64))
        return self.data[at + 4 : end].tobytes()

    def records(self, name: str) -> list[tuple[int, Fields]]:
        """Place and fields of the records of a name."""
        return [(at, self.fields(name, at)) for at in self.places(name).tolist()]

    def between(self, wir: tuple[int, Fields], wrr: tuple[int, Fields]) -> bool:
        """Whether bytes were lost between a WIR and a WRR that names another wafer: they are not of one run."""
        lost = np.searchsorted(self.breaks, wir[0], "right") < np.searchsorted(self.breaks, wrr[0], "right")
        ids = {fields["wafer_id"] for _, fields in (wir, wrr)} - {None}
        return bool(lost) and len(ids) > 1

    def places(self, name: str) -> Int64:
        """Where the kept records of a name are."""
        found: Int64 = self.kept_at[self.kept_kind == KINDS[name]]
        return found

    def all_places(self, name: str) -> Int64:
        """Where the records of any name are."""
        if KINDS[name] not in _UNREAD:
            return self.places(name)
        found: Int64 = places_of(self.data, self.stopped_at, self.big_endian, KINDS[name], self.counts[KINDS[name]])
        return found

    def numbers(self, at: Int64, dtype: str) -> NDArray[Any]:
        """The numbers of `dtype` (u1, i2, u2, u4, f4) at the byte offsets `at`, (n,)."""
        size = int(dtype[1])
        raw = self.data[at[:, None] + np.arange(size)]
        numbers: NDArray[Any] = raw.view((">" if self.big_endian else "<") + dtype).ravel()
        return numbers


_KEPT: Final = np.ones(65536, np.bool_)
_KEPT[list(_UNREAD)] = False


def _without(data: NDArray[np.uint8], found: Survey) -> tuple[NDArray[np.uint8], Int64]:
    """The bytes of the records alone, and where in them something was left out."""
    pieces, begin = [], 0
    for gap, again in found.gaps:
        pieces.append(data[begin:gap])
        begin = again
    pieces.append(data[begin : found.stopped_at])
    return np.concatenate(pieces), np.cumsum([len(piece) for piece in pieces[:-1]])


def _lists_site_255(scanned: Scan) -> bool:
    return any(255 in (scanned.fields("SDR", at)["site_num"] or ()) for at in scanned.places("SDR").tolist())


def scan(data: bytes) -> Scan:
    """Frames and links a whole file. Raises StdfError where the first record is no FAR of STDF V4."""
    if not data:
        raise StdfError("the file is empty")
    if len(data) < 6 or data[2:4] != b"\x00\x0a":
        raise StdfError(f"not an STDF file: it begins with {data[:6].hex(' ')}, not with a FAR record")
    if data[:2] == b"\x00\x02":
        big = True
    elif data[:2] == b"\x02\x00":
        big = False
    else:
        raise StdfError(f"not an STDF file: its FAR record has the length bytes {data[:2].hex(' ')}, not 2")
    if data[5] != 4:
        raise StdfError(f"STDF version {data[5]} at byte 5. Hint: only V4 files can be read")
    if data[4] == 0:
        raise StdfError("CPU_TYPE 0 at byte 4: floats of a VAX. Hint: convert the file to IEEE numbers (CPU_TYPE 2)")
    buffer, breaks = np.frombuffer(data, np.uint8), np.empty(0, np.int64)
    found = survey(buffer, big)
    if found.gaps:
        buffer, breaks = _without(buffer, found)
    n_results = int(found.counts[[PTR, MPR, FTR]].sum())
    n_parts = int(found.counts[[_PIR, _PRR]].sum())
    size = len(buffer) if found.gaps else found.stopped_at
    has_pirs = bool(found.counts[_PIR])
    sizes = int(found.counts[_KEPT].sum()), n_parts, n_results

    def linked(site_255: bool) -> Scan:
        kept, parts, results, tests, faults = link_records(
            buffer, size, big, ~_KEPT, *sizes, breaks, has_pirs, site_255
        )
        counted = (int(n) for n in faults)
        return Scan(
            buffer,
            big,
            None,
            found,
            breaks,
            *kept,
            *parts,
            *results,
            *np.ascontiguousarray(tests[:, _TEST_COLUMNS].T),
            *counted,
        )

    scanned = linked(False)
    # a part of site 255 is none, but where the tester has such a site
    return linked(True) if bool(scanned.part_is_pseudo.any()) and _lists_site_255(scanned) else scanned
