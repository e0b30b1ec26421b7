"""What two versions of a view mean differently, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fs_spark.features.definition import View

_NAMES: Final = ("name", "column", "called")
"""By what an entry of a list is told from the others."""


@dataclass(frozen=True)
class Difference:
    """A place in a definition, and what stands there; None where nothing does."""

    place: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.place}: {self.after}"
        if self.after is None:
            return f"- {self.place}: {self.before}"
        return f"~ {self.place}: {self.before} -> {self.after}"


def differences(before: View, after: View) -> list[Difference]:
    """Where the definitions differ, in the order of the later one; versions and notes for people are left out."""
    old, new = dict(_flat(_told(before))), dict(_flat(_told(after)))
    places = [*new, *(place for place in old if place not in new)]
    return [Difference(place, old.get(place), new.get(place)) for place in places if old.get(place) != new.get(place)]


def _told(view: View) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(view.to_json())
    told.pop("version", None)
    return told


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, one in value.items():
            yield from _flat(one, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        seen: dict[str, int] = {}
        for number, one in enumerate(value):
            named = next((str(one[name]) for name in _NAMES if one.get(name)), str(number))
            seen[named] = seen.get(named, 0) + 1
            yield from _flat(one, f"{place}[{named}{f'#{seen[named]}' if seen[named] > 1 else ''}]")
    elif isinstance(value, list) and place.endswith("features") and all(isinstance(one, str) for one in value):
        for one in value:  # each is there or not, whatever stands before it
            yield f"{place}[{one}]", one
    else:
        yield place, value if isinstance(value, str) else json.dumps(value, sort_keys=True)
