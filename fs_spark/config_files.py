"""A file of a configuration: read against its model, with every fault at its line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fs_spark.documents import Document, read_document
from fs_spark.errors import ConfigError, is_secret, without_secrets
from fs_spark.features.resolve_inputs import Path as TextPath


def known_keys(model: type[BaseModel], key: str) -> str:
    """A hint for a key that a model does not have: the nearest one, else all."""
    near = difflib.get_close_matches(key, list(model.model_fields), n=1)
    return f" Hint: did you mean {near[0]!r}?" if near else f" Hint: known keys are {', '.join(model.model_fields)}."


def config_error(folder: Path, faults: Sequence[str]) -> ConfigError:
    """All faults of a folder as one error, a line each."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return ConfigError(f"{folder}: {count} in the configuration:\n" + "\n".join(f"- {f}" for f in faults))


def place_of(file: Path, document: Document, path: Sequence[str | int]) -> str:
    """`testers.yaml:3`, or the file alone where a path is not in it."""
    line = document.line(path)
    return file.name if line is None else f"{file.name}:{line}"


def faults_of(file: Path, document: Document, model: type[BaseModel], error: ValidationError) -> list[str]:
    """What a model says of a file, each fault with its place, its key and a hint; secrets are not shown."""
    found = []
    for fault in error.errors():
        where = ".".join(str(step) for step in fault["loc"]) or "(whole file)"
        text = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            text = "unknown key." + (known_keys(model, str(fault["loc"][-1])) if len(fault["loc"]) == 1 else "")
        elif "Hint:" not in text:
            named = any(is_secret(str(step)) for step in fault["loc"])
            text += f" (found {'***' if named else without_secrets(repr(fault['input']))[:80]})"
        found.append(f"{place_of(file, document, fault['loc'])}: {where}: {text}")
    return found


def read_part(file: Path, model: type[BaseModel], faults: list[str], *, needed: bool) -> tuple[Any, Document]:
    """A file as its model, None where it has faults, which are added to `faults`; and the document, for places."""
    empty = Document(None, None)
    if not file.is_file():
        if needed:
            faults.append(f"{file} does not exist. Hint: `fs-spark init` writes a starter configuration")
            return None, empty
        return model(), empty
    try:
        document = read_document(file.read_text(encoding="utf-8"))
    except ConfigError as fault:
        faults.append(f"{file.name}: {fault}")
        return None, empty
    except UnicodeDecodeError as fault:
        faults.append(f"{file.name}: not readable as YAML: {fault}. Hint: save it as UTF-8")
        return None, empty
    try:
        return model.model_validate({} if document.content is None else document.content), document
    except ValidationError as error:
        faults.extend(faults_of(file, document, model, error))
        return None, document


def placer(file: Path, document: Document) -> Callable[[TextPath], str]:
    """Says where a part of a file stands."""
    return lambda path: place_of(file, document, path)


def whole_entries(model: type[BaseModel], field: str, document: Document) -> tuple[dict[str, Any], set[str]] | None:
    """Of a file with faults the entries that have none, and the names of the others: what reads these waits.

    None where the file names no entries that could be told apart.
    """
    content = document.content.get(field) if isinstance(document.content, dict) else None
    if not isinstance(content, dict):
        return None
    whole: dict[str, Any] = {}
    broken: set[str] = set()
    for name, body in content.items():
        try:
            whole |= getattr(model.model_validate({field: {name: body}}), field)
        except ValidationError:
            broken.add(str(name))
    return whole, broken
