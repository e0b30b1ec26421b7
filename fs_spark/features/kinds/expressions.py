"""`expressions`: values computed row by row from a source or other views, or on demand where they are asked for."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from fs_spark.features.types import ColumnType


class ExpressionsTransform(BaseModel):
    """Feature column -> expression in canonical form.

    On demand they are computed after the join, from what it gave of the inputs, from T, the keys and the columns that
    the question brings (`request`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gives_states: ClassVar[bool] = False
    kind: Literal["expressions"] = "expressions"
    values: tuple[tuple[str, str], ...]
    revisions: Literal["all", "first"] = "all"
    on_demand: bool = False
    request: dict[str, ColumnType] = {}

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what definitions of before do not have."""
        told: dict[str, Any] = handler(self)
        return told if self.on_demand else {k: v for k, v in told.items() if k not in ("on_demand", "request")}
