"""What the routes say of themselves: for OpenAPI, and as one page that needs no network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any, Final

from fs_spark.serving.question import EXAMPLE

ARROW: Final = "application/vnd.apache.arrow.stream"
_ERROR: Final = {
    "type": "object",
    "required": ["error", "message", "hint"],
    "properties": {
        "error": {"type": "string", "description": "the error's name, such as RequestError"},
        "message": {"type": "string"},
        "hint": {"type": "string", "description": "what to do"},
    },
}
_ERRORS: Final = {
    400: "the body is not JSON",
    401: "no token, or a wrong one",
    404: "the service is not published",
    413: "too many keys or bytes",
    422: "a question that cannot be answered: an unknown, missing or mistyped column, an unknown feature",
    429: "too many requests in this second",
    500: "a fault of the server, with the reference under which its log has it",
    503: "the online store is down, or too many requests are under way",
}
_SERVICE: Final = {"name": "service", "in": "path", "required": True, "schema": {"type": "string"}}
_ROW: Final = {"type": "object", "additionalProperties": True}
_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "keys": {
        "type": "array",
        "items": _ROW,
        "description": "each with all key columns of the service: text, an integer, a date in ISO 8601, or null",
    },
    "features": {
        "type": ["array", "null"],
        "items": {"type": "string"},
        "description": "names of features; null asks for all",
    },
    "at": {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "the moment that is asked for, with its zone; null is now",
    },
    "status": {
        "type": "boolean",
        "default": False,
        "description": "adds VIEW__status, VIEW__event_timestamp and VIEW__age_s for each view",
    },
    "with_times": {"type": "boolean", "default": False, "description": "adds VIEW__event_timestamp for each view"},
    "request": {
        "anyOf": [_ROW, {"type": "array", "items": _ROW}, {"type": "null"}],
        "description": "for features on demand: an object for all keys, or a list with one for each",
    },
}
_BODY: Final = {
    "type": "object",
    "required": ["keys"],
    "additionalProperties": False,
    "properties": _FIELDS,
    "example": json.loads(EXAMPLE),
}
_ROWS: Final = (
    "one for each key, in order: its columns, then the features, null where there is no value. "
    "Moments are ISO 8601 in UTC with microseconds and Z, dates ISO 8601. JSON has no NaN and no infinities: "
    'they are the texts "NaN", "Infinity" and "-Infinity".'
)
_ANSWER: Final = {
    "type": "object",
    "required": ["service", "generation", "rows"],
    "properties": {
        "service": {"type": "string"},
        "generation": {"type": "integer", "description": "the number of the publication that all rows are of"},
        "rows": {
            "type": "array",
            "items": _ROW,
            "description": _ROWS,
        },
    },
}


def described(*errors: int, body: bool = False, service: bool = False, token: bool = False) -> dict[str, Any]:
    """What OpenAPI says of a route beside its name: a value for `openapi_extra`."""
    codes = [*errors, 401] if token else errors
    told: dict[str, Any] = {
        "responses": {
            str(code): {"description": _ERRORS[code], "content": {"application/json": {"schema": _ERROR}}}
            for code in sorted({*codes, 500})
        }
    }
    if service:
        told["parameters"] = [_SERVICE]
    if token:
        told["security"] = [{"token": []}]
    if body:
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": _BODY}}}
        binary = {"schema": {"type": "string", "format": "binary"}}
        told["responses"]["200"] = {
            "description": "the rows; with `Accept: " + ARROW + "` as one Arrow IPC stream",
            "content": {"application/json": {"schema": _ANSWER}, ARROW: binary},
        }
    return told


def routes_page(openapi: Mapping[str, Any]) -> str:
    """All routes on one page of HTML."""
    rows = "".join(
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(route.get('summary', ''))}</td></tr>"
        for path, methods in openapi["paths"].items()
        for method, route in methods.items()
    )
    fields = "".join(
        f"<tr><td><code>{name}</code></td><td>{html.escape(one['description'])}</td></tr>"
        for name, one in _FIELDS.items()
    )
    told = html.escape(_ROWS)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>fs_spark</title>
<style>body{{font-family:sans-serif;margin:2em;max-width:60em}}td{{padding:.2em 1em .2em 0;vertical-align:top}}</style>
</head><body>
<h1>fs_spark {html.escape(str(openapi["info"]["version"]))}</h1>
<table>{rows}</table>
<h2>Asking for features</h2>
<pre>curl -d '{html.escape(EXAMPLE)}' http://.../services/SERVICE/features</pre>
<table>{fields}</table>
<p>The answer's <code>rows</code>: {told} With <code>Accept: {ARROW}</code> they are one Arrow IPC stream,
bit for bit.</p>
<p>Errors are <code>{{"error": ..., "message": ..., "hint": ...}}</code>.
All of this for machines: <a href="openapi.json">openapi.json</a></p>
</body></html>
"""
