"""Units as testers write them, against a table written by hand."""

from __future__ import annotations

import pytest

from fs_spark.stdf.quantity import powers_between, readings

SAME = [
    ("A", "A"), ("a", "A"), ("v", "V"), (" V ", "V"), ("Volts", "V"), ("AMPS", "A"), ("mhz", "MHz"), ("MHZ", "MHz"),
    ("ua", "uA"), ("UA", "\u00b5A"), ("\u03bcA", "uA"), ("MV", "mV"), ("MA", "mA"), ("MS", "ms"), ("NS", "ns"),
    ("S", "s"), ("OHM", "\u2126"), ("Ohms", "ohm"), ("C", "degC"), ("\u00b0C", "degC"), ("percent", "%"), ("PF", "pF"),
    ("pa", "pA"), ("PA", "pA"), ("Pa", "Pa"), ("counts", "COUNTS"), ("my unit", "MyUnit"), ("", "A"), ("A", ""),
    ("HZ", "Hz"), ("KHZ", "kHz"), ("khz", "kHz"), ("Mohm", "MOHM"),
]  # fmt: skip
SCALED = [
    ("mA", "A", -3), ("ma", "A", -3), ("ua", "A", -6), ("nA", "uA", -3), ("A", "mA", 3), ("MV", "V", -3),
    ("kV", "V", 3), ("V", "MV", 3),
    ("mhz", "Hz", 6), ("GHz", "MHz", 3), ("Hz", "kHz", -3), ("us", "s", -6), ("ns", "ms", -6),
    ("pF", "F", -12), ("fF", "pF", -3), ("mohm", "ohm", -3), ("Mohm", "ohm", 6), ("kOhm", "\u03a9", 3),
    ("PA", "A", -12), ("mohm", "Mohm", -9), ("kPa", "Pa", 3), ("usec", "s", -6),
]  # fmt: skip
OTHER = [
    ("V", "A"),
    ("mV", "mA"),
    ("K", "degC"),
    ("dBm", "dB"),
    ("counts", "V"),
    ("V", "code"),
    ("Hz", "s"),
    ("S", "V"),
]


@pytest.mark.parametrize(("unit", "wanted"), SAME)
def test_texts_of_one_unit(unit: str, wanted: str) -> None:
    assert powers_between(unit, wanted) == 0
    assert powers_between(wanted, unit) == 0


@pytest.mark.parametrize(("unit", "wanted", "power"), SCALED)
def test_units_that_differ_by_a_prefix(unit: str, wanted: str, power: int) -> None:
    assert powers_between(unit, wanted) == power
    assert powers_between(wanted, unit) == -power


@pytest.mark.parametrize(("unit", "wanted"), OTHER)
def test_units_of_two_quantities(unit: str, wanted: str) -> None:
    assert powers_between(unit, wanted) is None
    assert powers_between(wanted, unit) is None


def test_any_text_is_read_without_a_fault() -> None:
    for text in ("", " ", "\u00b5", "m", "k", "\x00", "V" * 500, "mm", "1/s", "V/us", "dB", "\U0001f600", "M", "u"):
        readings(text)
        assert powers_between(text, text) == 0
