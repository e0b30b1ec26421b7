"""A request that is not answered, and what its caller is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson
from fastapi import Response

from fs_spark.errors import FsSparkError

JSON: Final = "application/json"
RETRY_S: Final = 1
_LISTED: Final = "GET /services lists the services, GET /services/SERVICE what one has and needs"
_LONGEST: Final = 2000
"""Characters of a message: a fault of a request may quote it."""


class RefusedError(Exception):
    """An answer that is an error: status, the error's name, what is wrong and a hint."""

    def __init__(
        self, status: int, error: str, message: str, hint: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.hint = hint
        self.headers = dict(headers or {})
        if status == 503:
            self.headers.setdefault("Retry-After", str(RETRY_S))

    @classmethod
    def of(cls, fault: FsSparkError, status: int) -> RefusedError:
        """The fault as its caller sees it."""
        message, found, hint = str(fault).rpartition("Hint: ")
        if not found:
            message, hint = hint, _LISTED
        return cls(status, type(fault).__name__, message.strip(), hint.strip())

    def response(self) -> Response:
        told = {"error": self.error, "message": _short(self.message), "hint": _short(self.hint)}
        return Response(orjson.dumps(told), self.status, self.headers, JSON)


def _short(text: str) -> str:
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return text.encode(errors="backslashreplace").decode()
