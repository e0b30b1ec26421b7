"""Verbs that run Python on Spark's workers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


def on_workers(verb: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A verb that runs Python on Spark's workers: where they lack the package, one line says what to set."""

    @functools.wraps(verb)
    def carried_out(self: S, /, *args: P.args, **more: P.kwargs) -> R:
        try:
            return verb(self, *args, **more)
        except Exception as fault:
            from fs_spark.session import without_package

            told = without_package(fault)
            if told is None:
                raise
            raise told from None

    return carried_out
