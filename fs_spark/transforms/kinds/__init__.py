"""Kinds of views and how they are computed: one line each; what their texts say stands in `fs_spark.features.kinds`."""

from __future__ import annotations

from typing import Final

from fs_spark.functions import load_function
from fs_spark.transforms.kinds.against import AGAINST
from fs_spark.transforms.kinds.computation import Computation, Reach, Scope, SharedComputation
from fs_spark.transforms.kinds.events import EVENTS
from fs_spark.transforms.kinds.functions import functions
from fs_spark.transforms.kinds.states import STATES

__all__ = ["COMPUTATIONS", "SHARED", "Computation", "Reach", "Scope", "SharedComputation"]

COMPUTATIONS: Final[dict[str, Computation]] = {
    "against": AGAINST,
    "columns": EVENTS,
    "expressions": EVENTS,
    "fitted": EVENTS,
    "function": functions(load_function),
    "rolling": STATES,
    "aggregate": STATES,
}
SHARED: Final[dict[str, SharedComputation]] = {"rolling": STATES, "aggregate": STATES}
"""Those of them that several views can share the shuffle of."""
