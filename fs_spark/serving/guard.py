"""What stands around every route: token, limits, errors and counts."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
import traceback
from collections.abc import Container
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fs_spark.errors import (
    FeatureNotFoundError,
    FsSparkError,
    OnlineStoreError,
    RequestError,
    SetupError,
    TableConflictError,
    without_secrets,
)
from fs_spark.serving.limits import Limits, Pace
from fs_spark.serving.metrics import Metrics
from fs_spark.serving.refusal import RETRY_S, RefusedError

TOKENLESS: Final = ("/healthz", "/readyz")
"""Routes that need no token."""
_LIMITED: Final = "/services"
_STATUS: Final[dict[type[FsSparkError], int]] = {
    RequestError: 422,
    FeatureNotFoundError: 404,
    OnlineStoreError: 503,
    TableConflictError: 503,
    SetupError: 503,
}
log = logging.getLogger("fs_spark.serving")


class Guard:
    """An ASGI middleware; `services` are the names that may stand in a metric."""

    def __init__(
        self, app: ASGIApp, *, token: str | None, limits: Limits, metrics: Metrics, services: Container[str]
    ) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._limits = limits
        self._pace = None if limits.per_second is None else Pace(limits.per_second)
        self._metrics = metrics
        self._services = services
        self._busy = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        began = False

        async def sent(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        self._metrics.under_way.inc()
        try:
            try:
                await self._admitted(scope, receive, sent)
            except ClientDisconnect:
                self._metrics.failed("disconnected")
            except Exception as fault:  # whatever it is: no caller sees a traceback
                refusal = self._refusal(fault, scope["path"])
                self._metrics.failed(refusal.error)
                if not began:
                    await refusal.response()(scope, receive, send)
        finally:
            self._metrics.under_way.dec()
            route = getattr(scope.get("route"), "path", "")
            service = scope.get("path_params", {}).get("service", "")
            service = service if service in self._services else ""
            self._metrics.took(route, service, time.perf_counter() - begin)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if self._token is not None and path not in TOKENLESS:
            _require_token(scope, self._token)
        if not path.startswith(_LIMITED):
            await self._app(scope, receive, send)
            return
        if self._busy >= self._limits.concurrent:
            raise RefusedError(
                503, "ServiceUnavailable", f"{self._busy} requests are under way.", "ask again in a moment"
            )
        wait_s = 0.0 if self._pace is None else self._pace.wait_s()
        if wait_s:
            retry = {"Retry-After": str(max(RETRY_S, round(wait_s)))}
            most = f"at most {self._limits.per_second:g} requests per second are answered."
            raise RefusedError(429, "TooManyRequests", most, "ask again in a moment", headers=retry)
        self._busy += 1
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, receive, send)
        finally:
            self._busy -= 1

    def _refusal(self, fault: Exception, path: str) -> RefusedError:
        if isinstance(fault, RefusedError):
            return fault
        if isinstance(fault, TimeoutError):
            what = f"the request took longer than {self._limits.seconds:g} s."
            return RefusedError(503, "Timeout", what, "ask again, for fewer keys at once")
        for kind, status in _STATUS.items():
            if isinstance(fault, kind):
                return RefusedError.of(fault, status)
        reference = secrets.token_hex(8)
        told = "".join(traceback.format_exception(fault))
        log.error("reference %s: %r failed\n%s", reference, path, without_secrets(told))
        return RefusedError(
            500, "InternalError", f"a fault of the server; its log has it under reference {reference}.",
            "tell the reference to those who run the server",
        )  # fmt: skip


def _require_token(scope: Scope, token: bytes) -> None:
    told = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, given = told.partition(b" ")
    if not hmac.compare_digest(given.strip(), token) or scheme.lower() != b"bearer":
        what = "the request has a wrong token." if told else "the request has no token."
        headers = {"WWW-Authenticate": "Bearer"}
        raise RefusedError(401, "Unauthorized", what, "send the header `Authorization: Bearer TOKEN`", headers=headers)
