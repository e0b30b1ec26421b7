"""Units as testers write them: which power of ten lies between two, or that they are of different quantities."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_PREFIXES: Final = {"T": 12, "G": 9, "M": 6, "k": 3, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18}
_SIGNS: Final = str.maketrans({"\u00b5": "u", "\u03bc": "u", "\u2126": "\u03a9"})
"""Micro has two code points, ohm too."""
_BASES: Final = {
    "V": ("volt", "volts"),
    "A": ("amp", "amps", "ampere", "amperes"),
    "W": ("watt", "watts"),
    "Hz": ("hertz",),
    "s": ("sec", "secs", "second", "seconds"),
    "F": ("farad", "farads"),
    "H": ("henry",),
    "\u03a9": ("ohm", "ohms"),
    "S": ("siemens",),
    "Pa": ("pascal",),
    "J": ("joule",),
    "T": ("tesla",),
    "m": ("meter", "meters", "metre"),
    "degC": ("c", "°c", "celsius", "cel", "deg c", "deg_c"),
    "K": ("kelvin",),
    "%": ("percent", "pct"),
    "dB": (),
    "dBm": (),
    "dBc": (),
}
_BARE: Final = ("degC", "K", "%", "dB", "dBm", "dBc")
"""Units that take no prefix."""
_SPELLED: Final = {text: base for base, others in _BASES.items() for text in (base.lower(), *others)} | {"s": "s"}


@lru_cache(maxsize=4096)
def readings(unit: str) -> tuple[tuple[int, str], ...]:
    """(power of ten, base unit) of all that a text may mean, the likeliest first; () where it means nothing known.

    As SI writes it first (`mA`, `MHz`, `Pa`), then in any case (`a`, `MV`, `mhz`, `ua`). M before V, A, W, s, F and H
    is milli, and m before Hz mega: no tester of wafers measures megavolts or millihertz.
    """
    text = unit.strip().translate(_SIGNS)
    found: list[tuple[int, str]] = []
    if text in _BASES:
        found.append((0, text))
    for base in _BASES:
        if base not in _BARE and text != base and text.endswith(base) and text[: -len(base)] in _PREFIXES:
            found.append((_power(text[: -len(base)], base), base))
    low = text.lower()
    for spelled, base in _SPELLED.items():
        if low == spelled:
            found.append((0, base))
        elif base not in _BARE and low.endswith(spelled) and len(low) == len(spelled) + 1:
            prefix = text[0] if text[0] in _PREFIXES else text[0].swapcase()
            if prefix in _PREFIXES:
                found.append((_power(prefix, base), base))
    if low == "s":
        found += [(0, "s"), (0, "S")]
    # pa and PA are picoampere on a tester, though Pa is pascal
    if low == "pa" and text != "Pa":
        found.sort(key=lambda reading: reading[1] == "Pa")
    return tuple(dict.fromkeys(found))


def _power(prefix: str, base: str) -> int:
    if prefix == "M" and base in ("V", "A", "W", "s", "F", "H"):
        return -3
    if prefix == "m" and base == "Hz":
        return 6
    if prefix in ("P", "p"):
        return -12
    return _PREFIXES[prefix]


def powers_between(unit: str, wanted: str) -> int | None:
    """k such that a number in `unit` times 10**k is that number in `wanted`; None for two quantities.

    A text that is empty is taken for the other; texts that mean nothing known are one unit where they are equal but
    for case and blanks.
    """
    if _plain(unit) == _plain(wanted) and not _differ(unit, wanted):
        return 0
    if not unit.strip() or not wanted.strip():
        return 0
    for power, base in readings(wanted):
        for other, same in readings(unit):
            if same == base:
                return other - power
    return None


def _plain(unit: str) -> str:
    return "".join(unit.split()).lower()


def _differ(unit: str, wanted: str) -> bool:
    """Whether two texts that only differ by case mean two things, as mohm and Mohm do."""
    return unit.strip() != wanted.strip() and readings(unit)[:1] != readings(wanted)[:1]
