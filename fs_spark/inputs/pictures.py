"""What a map file shows, whatever its format: header, dies with their bins, and whether it is whole."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fs_spark.errors import StdfError
from fs_spark.inputs.rules import TextMapEntry, WaferMapEntry

Int64 = NDArray[np.int64]

_LABELS: Final = {
    "product_id": ("product", "device", "device name"),
    "lot_id": ("wafer lots", "lot id", "lot no."),
    "wafer_id": ("wafer no", "wafer id", "waferid"),
    "time": ("meas time",),
    "size": ("wafer size",),
    "die_width": ("index x", "dice sizex"),
    "die_height": ("index y", "dice sizey"),
    "flat": ("notch", "flat/notch"),
    "columns": ("map column",),
    "rows": ("map row",),
    "dies": ("gross die", "total tested", "tested"),
    "passed": ("total prober pass dies", "pass die", "total pass", "pickable"),
}
"""What the formats call one thing: the list, the picture with a measuring time, the picture with a die size."""

_NAME_OF: Final = {label: name for name, labels in _LABELS.items() for label in labels}
_DIE: Final = re.compile(r"\s*(-?\d{1,9})\s+(-?\d{1,9})\s+(-?\d{1,9})(?:\s+-?\d+)*\s*")
_NOTCH: Final = re.compile(r"(?:notch|flat)\W*(up|down|left|right)", re.IGNORECASE)
_MAX_XY: Final = re.compile(r"(?:max\s*xy\s*:\s*(\d+)[\s,]+(\d+)|x\s*:\s*(\d+)[\s,;]+y\s*:\s*(\d+))", re.IGNORECASE)
"""The size of the picture in one line: `MaxXY: 95 91`, `X:150 Y:94`."""
_ORIENT: Final = re.compile(r"orient\s*:\s*(12|3|6|9)", re.IGNORECASE)
_OF_HOUR: Final = {"12": "up", "3": "right", "6": "down", "9": "left"}
_BLANK: Final = ". "


@dataclass(frozen=True, slots=True)
class WaferPicture:
    """What a map file shows; `x`, `y`, `bins` (dies,) in the order of the file, `top` is the y of its first row."""

    header: dict[str, str]
    x: Int64
    y: Int64
    bins: Int64
    marks: int
    top: int
    damage: str | None = None
    unanchored: tuple[int, int] | None = None
    """Columns and rows of a picture whose place on the wafer nothing but its own corner tells."""


def _header(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        if size := _MAX_XY.fullmatch(line.strip()):
            columns, rows = (text for text in size.groups() if text)
            found.setdefault("columns", columns)
            found.setdefault("rows", rows)
            continue
        if hour := _ORIENT.fullmatch(line.strip()):
            found.setdefault("flat", _OF_HOUR[hour[1]])
            continue
        label, colon, value = line.partition(":")
        name = _NAME_OF.get(label.strip().lower())
        if colon and name and value.strip():
            found.setdefault(name, value.strip())
        elif not colon and (notch := _NOTCH.fullmatch(line.strip())):
            found.setdefault("flat", notch[1])
    return found


def number(header: dict[str, str], name: str) -> float | None:
    """A number of the header, whatever unit stands behind it (`6"`)."""
    found = re.match(r"\d+(?:\.\d+)?", header.get(name, ""))
    return float(found[0]) if found else None


def read_wafer_map(text: str, entry: WaferMapEntry) -> WaferPicture:
    """A list of `x y bin` between `[MAP]` and a summary. One that lacks `## END ##` is cut.

    Raises     StdfError where no list is found, or a line of it is something else
    """
    lines = text.splitlines()
    begin = next((k for k, line in enumerate(lines) if line.strip().startswith("[MAP]")), None)
    if begin is None:
        raise StdfError(f"no [MAP] in {len(lines)} lines. Hint: is the entry's `kind` right?")
    whole = any(line.strip() == "## END ##" for line in lines[begin:])
    if not whole and not text.endswith("\n"):
        lines = lines[:-1]  # a number that is cut off is another number
    dies, after = [], begin + 1
    for after in range(begin + 1, len(lines) + 1):
        found = _DIE.fullmatch(lines[after]) if after < len(lines) else None
        if found is None:
            break
        dies.append((int(found[1]), int(found[2]), int(found[3])))
    stray = next((k for k in range(after, len(lines)) if _DIE.fullmatch(lines[k])), None)
    if stray is not None:
        raise StdfError(f"line {after + 1} is no `x y bin`, found {lines[after].strip()!r:.60}. Hint: mend the file")
    if not dies:
        raise StdfError("the list under [MAP] is empty" + ("" if whole else ", and the file is cut"))
    x, y, bins = np.array(dies, np.int64).T
    marks = np.isin(bins, [*entry.skip_bins])
    return WaferPicture(
        header=_header(lines[:begin] + lines[after:]),
        x=x[~marks],
        y=y[~marks],
        bins=bins[~marks],
        marks=int(marks.sum()),
        top=int(y.min() if entry.pos_y == "D" else y.max()),
        damage=None if whole else "the file stops before ## END ##",
    )


def _box(used: NDArray[np.bool_], size: float | None, what: str) -> tuple[int, bool]:
    """Where the map begins on one axis of the picture, and whether it is whole.

    Blank columns or rows may stand around the map: a size that is told is the picture's, or that of what is not blank
    in it. Without one the map begins where the picture does, since how much of its margin is blank differs by wafer.
    """
    places = np.flatnonzero(used)
    begin, found = int(places[0]), int(places[-1]) - int(places[0]) + 1
    if size is None or len(used) == size:
        return 0, True
    if found == size:
        return begin, True
    if what == "row" and len(used) < size:
        return begin, False
    raise StdfError(
        f"the header tells of {size:.0f} {what}s, the picture has {len(used)}, of which {found} hold dies. "
        "Hint: where the dies lie on the wafer cannot be told; mend the file"
    )


def _picture(lines: list[str]) -> tuple[list[str], list[str]]:
    """The lines above the picture, and its rows. Lines of blanks as wide as the picture are rows of it."""
    begin = next(
        (k for k, line in enumerate(lines) if line.strip() and ":" not in line and not _NOTCH.fullmatch(line.strip())),
        len(lines),
    )
    head, rows = lines[:begin], lines[begin:]
    while rows and not rows[-1].strip():
        rows.pop()
    width = max(map(len, rows), default=0)
    while head and width and not head[-1].strip() and len(head[-1]) == width:
        rows.insert(0, head.pop())
    return head, rows


def read_text_map(text: str, entry: TextMapEntry) -> WaferPicture:
    """A picture, one character a die, under lines of `label: value`. One with too few rows is cut.

    Raises     StdfError where there is no picture, a character has no bin, or the dies cannot be placed
    """
    lines = text.splitlines()
    head, rows = _picture(lines)
    header = _header(head)
    if not rows:
        raise StdfError(f"no map in {len(lines)} lines. Hint: is the entry's `kind` right?")
    width = max(map(len, rows))
    cells = np.array([list(row.ljust(width)) for row in rows])
    bin_of = {**{str(k): k for k in range(10)}, **entry.bins}
    shown = Counter(cells.ravel().tolist())
    known = {*bin_of, *entry.skip_bins, *_BLANK}
    strange = {character: count for character, count in sorted(shown.items()) if character not in known}
    if strange:
        told = ", ".join(f"{c!r} ({n} times)" for c, n in list(strange.items())[:10])
        raise StdfError(f"no bin is configured for {told}. Hint: such as `bins: {{{next(iter(strange))}: 10}}`")
    blank = np.isin(cells, list(_BLANK))
    marks = np.isin(cells, [*entry.skip_bins, ""]) & ~blank
    die = ~(blank | marks)
    if blank.all():
        raise StdfError("the map is blank. Hint: is the entry's `kind` right?")
    sizes = [
        given if given is not None else number(header, name)
        for given, name in ((entry.columns, "columns"), (entry.rows, "rows"))
    ]
    left, _ = _box(np.asarray((~blank).any(axis=0)), sizes[0], "column")
    top, whole = _box(np.asarray((~blank).any(axis=1)), sizes[1], "row")
    row, column = np.nonzero(die)
    dies, placed = number(header, "dies"), None not in sizes
    damage = None if whole else f"the picture stops after {len(rows)} of {sizes[1]:.0f} rows"
    if dies is not None and not placed and len(row) < dies:
        raise StdfError(
            f"the picture shows {len(row)} of {dies:.0f} dies. Hint: the file is cut, or skip_bins is wrong"
        )
    x0, y0 = entry.origin
    return WaferPicture(
        header=header,
        x=x0 + (column - left) * (1 if entry.pos_x == "R" else -1),
        y=y0 + (row - top) * (1 if entry.pos_y == "D" else -1),
        bins=np.array([bin_of[c] for c in cells[die].tolist()], np.int64),
        marks=int(marks.sum()),
        top=y0,
        damage=damage,
        unanchored=None if placed else (width, len(rows)),
    )
