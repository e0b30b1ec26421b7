"""What an input file is called, and what its name and header say by the entry's rules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Final

from fs_spark.errors import StdfError
from fs_spark.inputs.rules import InputEntry, Moments, NameRule, Words
from fs_spark.stdf.sources import without_credentials

_PACKED: Final = (".gz", ".bz2", ".xz", ".lzma", ".zst", ".zip")

Said = Mapping[str, str | None]
"""What the rules look at: `file_name`, `path`, and of the header `lot_id`, `wafer_id`, `product_id` and `time`."""


@dataclass(frozen=True, slots=True)
class FileName:
    """A file's name without what tells that it is packed (`a.csv.gz` is `a.csv`), a URI without user and query."""

    path: str
    name: str

    @classmethod
    def of(cls, path: str) -> FileName:
        path = without_credentials(path).replace("\\", "/")
        for suffix in _PACKED:
            if path.lower().endswith(suffix):
                path = path[: -len(suffix)]
        return cls(path=path, name=path.rsplit("/", 1)[-1])

    @property
    def said(self) -> dict[str, str | None]:
        return {"file_name": self.name, "path": self.path}


def find_entry(path: str, entries: Sequence[InputEntry]) -> InputEntry | None:
    """The first entry that matches the file's name, or its path where the pattern has a slash, in any case."""
    file = FileName.of(path)
    for entry in entries:
        text = file.path if "/" in entry.match else file.name
        if fnmatchcase(text.lower(), entry.match.lower()):
            return entry
    return None


def _by_rule(rule: NameRule, said: Said) -> str | None:
    text = said.get(rule.field)
    found = re.search(rule.pattern, text) if text else None
    return found.expand(rule.value) if found else None


def word(source: Words | None, said: Said) -> str | None:
    """A constant, or what the first rule that matches reads."""
    if source is None or isinstance(source, str):
        return source or None
    return next((value for rule in source if (value := _by_rule(rule, said))), None)


def moment(source: Moments | None, said: Said) -> datetime | None:
    """A wall clock's time: a constant, or what the first rule that matches reads.

    Raises StdfError where a rule matches text that is no time.
    """
    if source is None or isinstance(source, datetime):
        return source
    for rule in source:
        text = _by_rule(rule, said)
        if text:
            return wall_clock(text, rule.format)
    return None


def wall_clock(text: str, form: str) -> datetime:
    try:
        return datetime.strptime(text.strip(), form)  # noqa: DTZ007  a wall clock's
    except ValueError as fault:
        raise StdfError(f"{text!r} is no time of the format {form!r}. Hint: mend the format in inputs.yaml") from fault
