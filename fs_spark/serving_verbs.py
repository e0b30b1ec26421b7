"""The verb that serves published features over HTTP."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from fs_spark.answers import Answer, Verbs
from fs_spark.errors import ConfigError, RequestError
from fs_spark.online.reader import is_published
from fs_spark.store import FeatureStore

TOKEN: Final = "FS_SPARK_API_TOKEN"


def _serve(args: argparse.Namespace) -> Answer:
    from fs_spark.serving import Limits, Serving, serve

    url = FeatureStore.open(args.conf).config.online_url
    is_published(url)  # a URL that names no store is told now; one that holds nothing yet makes the server not ready
    limits = Limits(args.max_keys, args.max_body, args.max_concurrent, args.limit, args.timeout)
    if args.workers < 1:
        raise RequestError(f"--workers is {args.workers}.\nHint: at least one process serves.")
    serving = Serving(url, _token(args.token_file), limits, args.host, args.port, args.workers, args.drain, args.grace)
    serve(serving)
    return {"stopped": True}, "", 0


def _token(file: str | None) -> str | None:
    """The token of a file, else of the environment. Raises  ConfigError"""
    if file is None:
        told, where = os.environ.get(TOKEN), f"the environment's {TOKEN}"
        if told is None:
            return None
    else:
        where = file
        try:
            told = Path(file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError(f"the token's file {file} cannot be read: {fault}.\nHint: check --token-file.") from fault
    token = told.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigError(f"{where} holds no token.\nHint: one line of ASCII, as `openssl rand -hex 32` gives.")
    return token


SERVING_VERBS: Final[Verbs] = {
    "serve": (
        _serve,
        f"answer over HTTP from the online store (no Spark, no JVM); {TOKEN} or --token-file: what callers must bring",
        "fs-spark serve --port 8000 --token-file /run/secrets/fs_spark_token",
        [
            ("--host", {"default": "127.0.0.1", "help": "the address to listen on (default: %(default)s)"}),
            ("--port", {"type": int, "default": 8000, "help": "0 takes a free one (default: %(default)s)"}),
            ("--token-file", {"metavar": "FILE", "help": f"holds the token (default: the environment's {TOKEN})"}),
            ("--workers", {"type": int, "default": 1, "help": "processes (default: %(default)s); limits are for each"}),
            ("--max-keys", {"type": int, "default": 1000, "help": "keys of one request (default: %(default)s)"}),
            ("--max-body", {"type": int, "default": 1 << 20, "help": "bytes of one request (default: %(default)s)"}),
            (
                "--max-concurrent",
                {"type": int, "default": 64, "help": "requests under way; more get 503 (default: %(default)s)"},
            ),
            ("--limit", {"type": float, "metavar": "RATE", "help": "requests per second; more get 429"}),
            ("--timeout", {"type": float, "default": 10.0, "help": "seconds for one request (default: %(default)s)"}),
            (
                "--drain",
                {"type": float, "default": 0.0, "help": "seconds of /readyz 503 before a stop (default: %(default)s)"},
            ),
            (
                "--grace",
                {"type": int, "default": 30, "help": "seconds for requests under way at a stop (default: %(default)s)"},
            ),
        ],
    ),
}
