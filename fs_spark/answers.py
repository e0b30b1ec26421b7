"""What verbs of the command line give, and how it is written."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from typing import Any

Answer = tuple[dict[str, Any], str, int]
"""What a verb gives: a report for machines, the same for people, and the exit code."""
Argument = tuple[str, dict[str, Any]]
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
