"""YAML texts: their content, and the line of each place in them. Texts that blow up are refused before they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from fs_spark.errors import ConfigError

MOST_NODES: Final = 200_000
"""Of a text with all its aliases written out; a folder of real rules has some hundred."""
MOST_CHARACTERS: Final = 4_000_000
MOST_LEVELS: Final = 100


@dataclass(frozen=True)
class Document:
    """What a text says, and its tree with the marks of the lines."""

    content: Any
    root: yaml.Node | None

    def line(self, path: Sequence[str | int]) -> int | None:
        """The line of the deepest part of a path that the text has; names of other things in it are left out."""
        node, found = self.root, None
        for step in path:
            if isinstance(node, yaml.MappingNode):
                pairs = [(key, value) for key, value in node.value if getattr(key, "value", None) == str(step)]
                if pairs:
                    found, node = pairs[-1][0].start_mark.line, pairs[-1][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                found = node.start_mark.line
        return None if found is None else found + 1


def read_document(text: str) -> Document:
    """Reads one YAML document.

    Raises     ConfigError where it is no YAML, is nested in itself or very deeply, or is very large with its aliases
               written out: nine lines of aliases can stand for a billion values
    """
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"a text of {len(text)} characters. Hint: a configuration has far below {MOST_CHARACTERS}")
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(None, None)
        nodes = _count(root)
        if nodes > MOST_NODES:
            raise ConfigError(
                f"with its aliases written out it has more than {MOST_NODES} values. "
                "Hint: remove aliases (*name) of aliases"
            )
        return Document(loader.construct_document(root), root)
    except yaml.MarkedYAMLError as fault:  # its own text shows the line, and what may be secret in it
        mark = fault.problem_mark or fault.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        what = " ".join(part for part in (fault.context, fault.problem) if part)
        raise ConfigError(
            f"not readable as YAML: {what}{place}. Hint: mind the indentation, quotes and brackets"
        ) from None
    except yaml.YAMLError as fault:
        raise ConfigError(
            f"not readable as YAML: {' '.join(str(fault).split())}. Hint: save it as plain text"
        ) from None
    except RecursionError as fault:
        raise ConfigError(f"nested too deeply. Hint: at most {MOST_LEVELS} levels") from fault
    except (ValueError, TypeError, OverflowError) as fault:  # a date such as 2025-13-45, a list as a key
        raise ConfigError(f"not readable as YAML: {fault}. Hint: put texts into quotes") from fault
    finally:
        if loader is not None:
            loader.dispose()


def _count(root: yaml.Node) -> int:
    """Nodes of a tree whose aliases are written out; each is visited once, so that it takes no longer than the text.

    Raises     ConfigError for a node that holds itself, and for very deep ones
    """
    counts: dict[int, int] = {}
    open_nodes: set[int] = set()

    def count(node: yaml.Node, level: int) -> int:
        if id(node) in counts:
            return counts[id(node)]
        if id(node) in open_nodes:
            raise ConfigError("an alias stands for what holds it. Hint: remove it")
        if level > MOST_LEVELS:
            raise ConfigError(f"nested too deeply. Hint: at most {MOST_LEVELS} levels")
        open_nodes.add(id(node))
        total = 1
        if isinstance(node, yaml.MappingNode):
            total += sum(count(key, level + 1) + count(value, level + 1) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(count(item, level + 1) for item in node.value)
        open_nodes.discard(id(node))
        counts[id(node)] = total
        return total

    return count(root, 0)
