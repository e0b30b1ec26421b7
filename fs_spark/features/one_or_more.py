"""Lists of configuration files in which a single value may stand for a list of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic_core import CoreSchema, core_schema


class _OneOrMore:
    """Reads `[a]` from `a`; its JSON Schema says so."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_listed, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: Any) -> dict[str, Any]:
        listed: dict[str, Any] = handler(core)
        return {"anyOf": [listed, listed["items"]]} if "items" in listed else listed


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, int, Mapping)) else value


OneOrMore = _OneOrMore()
Names = Annotated[tuple[str, ...], OneOrMore]
"""One name or several."""
