"""`expressions`: values computed row by row from a source, or from other views."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict


class ExpressionsTransform(BaseModel):
    """Feature column -> expression in canonical form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gives_states: ClassVar[bool] = False
    kind: Literal["expressions"] = "expressions"
    values: tuple[tuple[str, str], ...]
    revisions: Literal["all", "first"] = "all"
