"""The text of a fitted view with other rows to fit, as its next version."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import yaml

from fs_spark.errors import RequestError


def write_refit(folder: Path, name: str, versions: Iterable[str], begin: datetime, end: datetime) -> tuple[Path, str]:
    """Changes the version and the rows of `fit` in the view's text, and nothing else of it.

    Gives the file and the new version, which is above those of the text and of `versions`.

    Raises     RequestError where the folder has no such text, or the span is none
    """
    if begin.tzinfo is None or end.tzinfo is None:
        raise RequestError("a span of a fit needs a zone. Hint: --from 2025-03-03T00:00Z --to 2025-03-10T00:00Z")
    if begin >= end:
        raise RequestError(f"--from {begin.isoformat()} is not before --to {end.isoformat()}")
    for file in sorted((folder / "views").glob("*.yaml")):
        text = file.read_text("utf-8")
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as fault:
            raise RequestError(f"{file.name} is no YAML: {fault}. Hint: `fs-spark plan` names its place") from None
        if not isinstance(root, yaml.MappingNode) or _value(root, "name") != name:
            continue
        told, transform = _node(root, "version"), _node(root, "transform")
        fit = _node(transform, "fit") if isinstance(transform, yaml.MappingNode) else None
        if told is None or fit is None:
            raise RequestError(f"{file.name}: {name} has no `fit` to change. Hint: it is of another kind")
        newest = max((int(v.split(".")[0]), int(v.split(".")[1])) for v in [*versions, str(told.value)])
        version = f"{newest[0]}.{newest[1] + 1}"
        moments = {"from": f'"{begin.isoformat()}"', "to": f'"{end.isoformat()}"'}
        changes = [(told, f'"{version}"'), *_spans(file.name, text, fit, moments)]
        changes = sorted(changes, key=lambda pair: -pair[0].start_mark.index)
        for node, new in changes:
            first, last = node.start_mark.index, node.end_mark.index
            kept = text[first:last]
            text = text[:first] + new + kept[len(kept.rstrip()) :] + text[last:]
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        beside.write_text(text, "utf-8")
        beside.replace(file)
        return file, version
    raise RequestError(f"no text of view {name!r} in {folder / 'views'}. Hint: it may be written in Python")


def _spans(file: str, text: str, fit: yaml.Node, moments: dict[str, str]) -> list[tuple[yaml.Node, str]]:
    """What becomes of `fit`: other moments, with the rows that it names beside them; a span stands for lots."""
    there = {name: _node(fit, name) for name in moments} if isinstance(fit, yaml.MappingNode) else {}
    whole = [(node, moments[name]) for name, node in there.items() if node is not None]
    if len(whole) == len(moments):
        return whole
    if "#" in text[fit.start_mark.index : fit.end_mark.index]:
        raise RequestError(f"{file}: a comment inside `fit` would be lost. Hint: write `from` and `to` there yourself")
    rows = _node(fit, "rows") if isinstance(fit, yaml.MappingNode) else None
    named = yaml.SafeLoader("").construct_object(rows, deep=True) if rows is not None else None
    kept = f"rows: {yaml.safe_dump(named, default_flow_style=True).strip()}, " if named else ""
    return [(fit, f"{{{kept}from: {moments['from']}, to: {moments['to']}}}")]


def _node(mapping: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for name, value in mapping.value if name.value == key), None)


def _value(mapping: yaml.MappingNode, key: str) -> str | None:
    node = _node(mapping, key)
    return node.value if isinstance(node, yaml.ScalarNode) else None
