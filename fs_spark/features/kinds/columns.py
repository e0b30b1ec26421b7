"""`columns`: columns of one source, renamed and typed, a row for each of its rows."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict


class ColumnsTransform(BaseModel):
    """Feature column -> column of the source; `revisions: first` gives each row as it was first known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gives_states: ClassVar[bool] = False
    kind: Literal["columns"] = "columns"
    picks: tuple[tuple[str, str], ...]
    revisions: Literal["all", "first"] = "all"
