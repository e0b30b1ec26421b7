"""Checks of what a caller asks for: each raises RequestError that says what was found and what to give instead."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from fs_spark.errors import RequestError
from fs_spark.features.spans import micros, read_span

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZONED: Final = "times of the store are UTC: write datetime(2025, 3, 1, tzinfo=timezone.utc)"


def require_one_of(what: str, given: object, known: Sequence[str]) -> None:
    if given in known:
        return
    near = difflib.get_close_matches(str(given), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"give {' or '.join(map(repr, known))}"
    raise RequestError(f"{what} {given!r} is not known; there are {', '.join(known)}.\nHint: {hint}")


def require_kind(what: str, given: object, kind: type | tuple[type, ...], example: str) -> None:
    if not isinstance(given, kind):
        raise RequestError(f"{what} is {given!r}.\nHint: give {example}")


def require_text(what: str, given: object) -> None:
    if not isinstance(given, str) or not given:
        raise RequestError(f"{what} is {given!r}, no text.\nHint: write it as in the table, for example '2'")


def require_texts(what: str, given: object) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(text, str) for text in given):
        raise RequestError(f"{what} is {given!r}, no list of texts.\nHint: write {what}=['...']")
    if not given:
        raise RequestError(f"{what} is empty: nothing would be left.\nHint: leave {what} out for all of them")


def require_instant(what: str, given: object) -> int:
    """Microseconds since 1970 of a time with a zone."""
    if not isinstance(given, datetime) or given.utcoffset() is None:
        raise RequestError(f"{what} is {given!r}, not a time with a zone.\nHint: {_ZONED}")
    return micros(given - _EPOCH)


def require_elapsed(what: str, given: object) -> timedelta:
    """A span of zero or more, from a timedelta or a text such as '7 d'."""
    try:
        span = read_span(given)
    except OverflowError as fault:
        raise RequestError(f"{what}: {given!r} is too long for a span.\nHint: give some years at most") from fault
    except ValueError as fault:
        raise RequestError(f"{what}: {str(fault).replace('. Hint: ', '.' + chr(10) + 'Hint: ')}") from fault
    if not isinstance(span, timedelta):
        raise RequestError(f"{what} is {given!r}, not a span.\nHint: write a number and a unit, such as '7 d'")
    if span < timedelta(0):
        raise RequestError(f"{what} is {span}, which is negative.\nHint: give a span of zero or more")
    return span
