"""The HTTP interface of an online store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from fs_spark.errors import FsSparkError, OnlineStoreError
from fs_spark.names import HIDDEN
from fs_spark.online.records import Published, ViewRecord
from fs_spark.serving.guard import Guard, log
from fs_spark.serving.json_rows import json_bytes, json_rows
from fs_spark.serving.layout import layout_of
from fs_spark.serving.limits import Limits
from fs_spark.serving.local_source import open_reader
from fs_spark.serving.metrics import CONTENT_TYPE, Metrics
from fs_spark.serving.pages import ARROW, described, routes_page
from fs_spark.serving.question import question_of
from fs_spark.serving.refusal import JSON, RefusedError
from fs_spark.serving.served_store import Opener, ServedStore, age_s

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES: Final = {404: "NotFound", 405: "MethodNotAllowed"}
_NO_NETWORK: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def create_app(store: str | Opener, *, token: str | None = None, limits: Limits | None = None) -> FastAPI:
    """The app that serves an online store: its URL, or what opens a reader of it.

    With a `token` all routes but /healthz and /readyz need it as `Authorization: Bearer TOKEN`. Where
    `app.state.stopping` is set, /readyz says that no more requests should be sent.
    """
    url = store
    served = ServedStore((lambda: open_reader(url)) if isinstance(url, str) else url)
    limits = limits or Limits()
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await served.all_published()
        except OnlineStoreError as fault:
            log.warning("the server is not ready: %s", fault)
        yield
        await served.close()

    app = FastAPI(
        title="fs_spark", version=version("fs_spark"), docs_url=None, redoc_url=None, redirect_slashes=False,
        lifespan=lifespan,
    )  # fmt: skip
    app.state.stopping = False
    app.add_middleware(Guard, token=token, limits=limits, metrics=metrics, services=served.known)
    app.add_exception_handler(HTTPException, _refused)
    _add_features(app, served, limits, metrics, locked=token is not None)  # first: it is asked most, and found first
    _add_services(app, served, limits, metrics, locked=token is not None)
    _add_health(app, served, limits)
    if token is not None:
        _tell_of_token(app)
    return app


def _add_features(app: FastAPI, served: ServedStore, limits: Limits, metrics: Metrics, *, locked: bool) -> None:
    @app.post(
        "/services/{service}/features",
        summary="Features by key",
        openapi_extra=described(400, 404, 413, 422, 429, 503, body=True, service=True, token=locked),
    )
    async def features(request: Request) -> Response:
        service = request.path_params["service"]
        question = question_of(await _body(request, limits.body_bytes), most_keys=limits.keys)
        published, layout, rows = await served.answer(service, question)
        metrics.answered(service, rows, layout.statuses)
        head = {"service": service, "generation": published.generation}
        if ARROW in request.headers.get("accept", ""):
            from fs_spark.serving.arrow_rows import arrow_rows

            return Response(arrow_rows(head, rows, layout), media_type=ARROW)
        return Response(json_rows(head, rows, layout), media_type=JSON)


def _add_services(app: FastAPI, served: ServedStore, limits: Limits, metrics: Metrics, *, locked: bool) -> None:
    @app.get("/metrics", summary="Counts for Prometheus", openapi_extra=described(token=locked))
    async def told(request: Request) -> Response:
        try:
            async with asyncio.timeout(limits.seconds):
                published = await served.all_published()
        except (FsSparkError, TimeoutError):  # /readyz says so; what was counted is there all the same
            published = []
        return Response(metrics.text(published), media_type=CONTENT_TYPE)

    @app.get("/services", summary="The published services", openapi_extra=described(503, token=locked))
    async def services(request: Request) -> Response:
        return _json({"services": await served.services()})

    @app.get(
        "/services/{service}",
        summary="A service: its keys, features, views and their Delta versions",
        openapi_extra=described(404, 503, service=True, token=locked),
    )
    async def describe(request: Request) -> Response:
        return _json(_description(await served.published(request.path_params["service"])))

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return HTMLResponse(routes_page(app.openapi()), headers=_NO_NETWORK)


def _add_health(app: FastAPI, served: ServedStore, limits: Limits) -> None:
    @app.get("/healthz", summary="Whether the process lives", openapi_extra=described())
    async def healthz(request: Request) -> Response:
        return _json({"status": "alive"})

    @app.get("/readyz", summary="Whether requests can be answered", openapi_extra=described(503))
    async def readyz(request: Request) -> Response:
        if app.state.stopping:
            raise RefusedError(503, "ServiceUnavailable", "the server is stopping.", "ask another one")
        async with asyncio.timeout(limits.seconds):
            services = await served.services()
        if not services:
            raise RefusedError(503, "ServiceUnavailable", "no service is published.", "run `fs-spark export`")
        return _json({"status": "ready", "services": len(services)})


async def _body(request: Request, most: int) -> bytes:
    """The body. Raises  RefusedError for one that is too large, before all of it is read"""
    told = request.headers.get("content-length", "")
    size = int(told) if told.isdecimal() else 0
    parts = []
    if size <= most:
        size = 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > most:
                break
    if size > most:
        raise RefusedError(413, "RequestError", f"the body has more than {most} bytes.", "ask in several parts")
    return b"".join(parts)


def _json(told: dict[str, Any]) -> Response:
    return Response(json_bytes(told), media_type=JSON)


def _refused(_: Request, fault: Exception) -> Response:
    """Paths and methods that there are not; the guard answers."""
    status = fault.status_code if isinstance(fault, HTTPException) else 500
    detail = str(fault.detail) if isinstance(fault, HTTPException) else ""
    raise RefusedError(status, _NAMES.get(status, "HTTPException"), f"{detail}.", "/docs lists the routes")


def _description(published: Published) -> dict[str, Any]:
    record = published.record
    layout = layout_of(published, None, with_times=False, status=False)
    return {
        "service": record.service,
        "generation": published.generation,
        "age_seconds": age_s(published),
        "keys": dict(layout.keys),
        "features": dict(layout.answers),
        "request": dict(layout.brought),
        "views": [_view(view) for view in record.views],
        "on_demand": [{"view": one.view, "features": [name for name, _ in one.values]} for one in record.on_demand],
    }


def _view(view: ViewRecord) -> dict[str, Any]:
    return {
        "view": view.view,
        "role": view.role,
        "keys": list(view.asked_by),
        "features": [name for name in view.outputs if not name.startswith(HIDDEN)],
        "delta_version": view.delta_version,
        "up_to_date_at": _moment(view.fresh_us),
        "answers_until": _moment(view.until_us),
        "ttl_seconds": None if view.ttl_us is None else view.ttl_us / 1e6,
        "sla_seconds": None if view.sla_us is None else view.sla_us / 1e6,
    }


def _moment(us: int | None) -> datetime | None:
    return None if us is None else _EPOCH + timedelta(microseconds=us)


def _tell_of_token(app: FastAPI) -> None:
    plain = app.openapi

    def with_token() -> dict[str, Any]:
        told = plain()
        schemes = told.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["token"] = {"type": "http", "scheme": "bearer"}
        return told

    app.openapi = with_token  # type: ignore[method-assign]
