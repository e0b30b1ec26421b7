"""What the body of a request asks for."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from fs_spark.errors import RequestError
from fs_spark.serving.refusal import RefusedError

EXAMPLE: Final = '{"keys": [{"customer_id": "C1"}]}'
_FIELDS: Final = ("keys", "features", "at", "status", "with_times", "request")
_KINDS: Final = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Question:
    """The arguments of `OnlineReader.get`, as JSON could say them."""

    keys: Sequence[Mapping[str, Any]]
    features: tuple[str, ...] | None = None
    at: datetime | None = None
    status: bool = False
    with_times: bool = False
    request: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None


def question_of(body: bytes, *, most_keys: int) -> Question:
    """The question in a body.

    Raises  RefusedError for a body that is not JSON (400) or has too many keys (413); RequestError for another form
    """
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise RefusedError(400, "RequestError", f"the body is not JSON: {fault}.", f"send {EXAMPLE}") from None
    if not isinstance(told, dict):
        raise RequestError(f"the body must be an object, found {_kind(told)}.\nHint: send {EXAMPLE}")
    unknown = [name for name in told if name not in _FIELDS]
    if unknown:
        raise RequestError(
            f"the body has an unknown field {unknown[0]!r}.\n{nearest(unknown[0], _FIELDS, 'its fields are')}"
        )
    keys = told.get("keys")
    if not isinstance(keys, list):
        found = _kind(keys) if "keys" in told else "nothing"
        raise RequestError(f"`keys` must be a list of objects, found {found}.\nHint: send {EXAMPLE}")
    if len(keys) > most_keys:
        raise RefusedError(
            413, "RequestError", f"{len(keys)} keys, at most {most_keys} are answered at once.", "ask in several parts"
        )
    for i, key in enumerate(keys):
        if type(key) is not dict:
            raise RequestError(f"key {i} must be an object, found {_kind(key)}.\nHint: send {EXAMPLE}")
    if len(told) == 1:
        return Question(keys)
    return Question(
        keys,
        _features(told.get("features")),
        _moment(told.get("at")),
        _flag(told, "status"),
        _flag(told, "with_times"),
        _request(told.get("request")),
    )


def nearest(wanted: str, known: Collection[str], told: str) -> str:
    """A hint: the nearest name, and all that are known."""
    near = difflib.get_close_matches(wanted, known, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"Hint: {meant}{told if not meant else told[0].upper() + told[1:]} {', '.join(known)}."


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "a number")


def _features(told: Any) -> tuple[str, ...] | None:
    if told is None:
        return None
    if not isinstance(told, list) or not all(isinstance(name, str) for name in told):
        raise RequestError(
            f"`features` must be a list of names or null, found {_kind(told)}"
            f"{' with other things than text' if isinstance(told, list) else ''}.\nHint: null asks for all features."
        )
    return tuple(told)


def _moment(told: Any) -> datetime | None:
    if told is None:
        return None
    hint = "Hint: write 2025-03-03T12:00:00Z; null asks for now."
    if not isinstance(told, str):
        raise RequestError(f"`at` must be text or null, found {_kind(told)}.\n{hint}")
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        raise RequestError(f"`at` is {told!r}, which is not a moment.\n{hint}") from None
    if moment.tzinfo is None:
        raise RequestError(f"`at` is {told!r}, without a zone.\n{hint}")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise RequestError(f"`at` is {told!r}, which in UTC is outside of the years 1 to 9999.\n{hint}") from None


def _flag(told: Mapping[str, Any], name: str) -> bool:
    value = told.get(name, False)
    if not isinstance(value, bool):
        raise RequestError(f"`{name}` must be a boolean, found {_kind(value)}.\nHint: write true or false.")
    return value


def _request(told: Any) -> Mapping[str, Any] | Sequence[Mapping[str, Any]] | None:
    if told is None or isinstance(told, dict):
        return told
    if isinstance(told, list) and all(isinstance(one, dict) for one in told):
        return told
    raise RequestError(
        f"`request` must be an object or a list of objects, found {_kind(told)}"
        f"{' with other things' if isinstance(told, list) else ''}.\n"
        "Hint: give one object for all keys, or a list with one for each."
    )
