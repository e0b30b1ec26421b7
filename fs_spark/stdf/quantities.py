"""Units as testers write them: which are one quantity, and by which power of ten they differ."""

from __future__ import annotations

from typing import Final

_PREFIXES: Final = {
    "f": -15, "p": -12, "n": -9, "u": -6, "\u00b5": -6, "\u03bc": -6, "m": -3, "": 0, "k": 3, "K": 3, "M": 6, "G": 9,
}  # fmt: skip
_IN_ANY_CASE: Final = {
    "v": "V", "volt": "V", "volts": "V", "a": "A", "amp": "A", "amps": "A", "w": "W", "watt": "W", "sec": "s",
    "hz": "Hz", "ohm": "Ohm", "ohms": "Ohm", "\u03c9": "Ohm",
}  # fmt: skip
_AS_WRITTEN: Final = ("s", "S", "F", "H")
_LARGE: Final = ("M", "G")


def _base_and_power(unit: str) -> tuple[str, int] | None:
    """None for what is no unit with a prefix."""
    for prefix in sorted(_PREFIXES, key=len, reverse=True):
        if unit.startswith(prefix):
            base = unit[len(prefix) :]
            name = base if base in _AS_WRITTEN else _IN_ANY_CASE.get(base.lower())
            # MV and MA are written for mV and mA too: a large prefix is only certain before Hz and Ohm
            if name and (prefix not in _LARGE or name in ("Hz", "Ohm")):
                return name, _PREFIXES[prefix]
    return None


def power_between(unit: str, other: str) -> int | None:
    """The power of ten by which values in `unit` become values in `other`; None where these are two quantities.

    >>> power_between("mV", "V"), power_between("V", "uV"), power_between("V", "A"), power_between("MV", "V")
    (-3, 6, None, None)
    """
    if unit.strip() == other.strip():
        return 0
    one, two = _base_and_power(unit.strip()), _base_and_power(other.strip())
    return one[1] - two[1] if one and two and one[0] == two[0] else None
