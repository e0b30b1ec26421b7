"""What verbs of the command line give, and how it is written."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from fs_spark.errors import RequestError

Answer = tuple[dict[str, Any], str, int]
"""What a verb gives: a report for machines, the same for people, and the exit code."""
Argument = tuple[str, dict[str, Any]]
LISTED = ("views", "services", "entities", "sources", "training-sets")
"""What `fs-spark list` lists."""
Verbs = dict[str, tuple[Callable[[argparse.Namespace], Answer], str, str, list[Argument]]]


def as_json(report: Any) -> str:
    """JSON has no infinity and no NaN: they are null."""
    try:
        return json.dumps(report, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(json.loads(json.dumps(report, default=str))), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_moment(text: str | None) -> datetime | None:
    """A moment as people write it: 2025-03-03T12:00Z. Raises RequestError for what is none."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as fault:
        raise RequestError(f"{text!r} is not a moment. Hint: write it as 2025-03-03T12:00:00Z") from fault
