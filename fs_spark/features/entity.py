"""Entities: what features are of, and the columns that name one."""

from __future__ import annotations

import re
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fs_spark.features.types import KeyType

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
RESERVED_COLUMNS: Final = frozenset(
    {
        "event_timestamp", "available_timestamp", "sequence", "last_event_timestamp", "valid_to", "unit_bucket",
        "unit_from",
    }
)  # fmt: skip
"""Columns that tables of views have of their own."""


class Entity(BaseModel):
    """What a view's rows are of: `keys` are its columns and their types."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    keys: dict[str, KeyType] = Field(min_length=1)
    description: str = ""

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name an entity. Hint: use [a-z0-9_], such as store_item")
        return name

    @field_validator("keys")
    @classmethod
    def _are_names(cls, keys: dict[str, KeyType]) -> dict[str, KeyType]:
        bad = [key for key in keys if not re.fullmatch(r"[a-z][a-z0-9_]*", key) or key in RESERVED_COLUMNS]
        if bad:
            raise ValueError(
                f"{', '.join(map(repr, bad))} cannot name a key. Hint: use [a-z0-9_] and no name of a time"
            )
        return keys


DIE: Final = Entity(name="die", keys={"lot_id": "string", "wafer_id": "string", "die_x": "int", "die_y": "int"})
WAFER: Final = Entity(name="wafer", keys={"lot_id": "string", "wafer_id": "string"})
LOT: Final = Entity(name="lot", keys={"lot_id": "string"})
SHIPPED: Final = {entity.name: entity for entity in (DIE, WAFER, LOT)}
"""Entities that need no text."""
