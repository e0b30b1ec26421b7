"""Texts of expressions that are made by rule: products of columns, bins, and columns for the words of a vocabulary."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Final, Literal

from fs_spark.errors import ExpressionError
from fs_spark.features.expressions.tree import quoted, text_literal

_WORD: Final = re.compile(r"[^a-z0-9]+")


def _bare(column: str) -> str:
    return column.rsplit(".", 1)[-1]


def _distinct(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    by_name: dict[str, str] = {}
    for name, text in pairs:
        if name in by_name:
            raise ExpressionError(
                f"two expressions would be called {name!r}: {by_name[name]} and {text}. Hint: rename one of them"
            )
        by_name[name] = text
    return pairs


def terms(degree: Literal[2, 3], of: Sequence[str]) -> list[tuple[str, str]]:
    """Names and texts of the products of columns of one degree: of 2 the squares and pairs, of 3 the cubes and triples.

    For each column in the order of the text: its power, then its products with columns behind it. No constant, not the
    columns themselves, no products of another degree; of degree 3 no square beside another column.

    >>> terms(degree=2, of=["vdd", "m.idd"])
    [('vdd__pow2', 'vdd * vdd'), ('vdd__x__idd', 'vdd * m.idd'), ('idd__pow2', 'm.idd * m.idd')]
    >>> [name for name, _ in terms(degree=3, of=["a", "b", "c"])]
    ['a__pow3', 'a__x__b__x__c', 'b__pow3', 'c__pow3']
    """
    if degree not in (2, 3):
        raise ExpressionError(f"terms have degree 2 or 3, and {degree!r} was given")
    if not of:
        raise ExpressionError("terms need columns. Hint: of: [vdd, idd]")
    made = []
    for place, first in enumerate(of):
        made.append((f"{_bare(first)}__pow{degree}", " * ".join([quoted(first)] * degree)))
        for others in combinations(of[place + 1 :], degree - 1):
            product = (first, *others)
            made.append(("__x__".join(map(_bare, product)), " * ".join(map(quoted, product))))
    return _distinct(made)


def bins(column: str, edges: Sequence[float]) -> list[tuple[str, str]]:
    """Name and text of the number of the bin in which a column lies, from 0; outside of the edges it is null.

    >>> bins("vdd", [0, 0.5, 1])
    [('vdd__bin', 'bin(vdd, 0, 0.5, 1)')]
    """
    if len(edges) < 2 or any(isinstance(edge, bool) or not math.isfinite(edge) for edge in edges):
        raise ExpressionError(f"bins of {column!r} need two edges or more, each a finite number")
    if any(low >= high for low, high in pairwise(edges)):
        raise ExpressionError(f"the edges of the bins of {column!r} do not rise: {', '.join(map(str, edges))}")
    return [(f"{_bare(column)}__bin", f"bin({quoted(column)}, {', '.join(repr(edge) for edge in edges)})")]


def one_hot(column: str, vocabulary: Sequence[str]) -> list[tuple[str, str]]:
    """Names and texts of one int column a word: 1 where the column is that word, 0 where it is another, else null.

    >>> one_hot("color", ["Light blue"])
    [('color__is_light_blue', "CAST(color = 'Light blue' AS int)")]
    """
    if not vocabulary:
        raise ExpressionError(f"one_hot of {column!r} needs the words of its vocabulary")
    made = []
    for word in vocabulary:
        name = _WORD.sub("_", str(word).lower()).strip("_")
        if not isinstance(word, str) or not name:
            raise ExpressionError(f"{word!r} in the vocabulary of {column!r} gives no name: it needs letters or digits")
        if "\\" in word or ("'" in word and '"' in word):
            raise ExpressionError(f"{word!r} in the vocabulary of {column!r} holds \\, or both kinds of quotes")
        made.append((f"{_bare(column)}__is_{name}", f"CAST({quoted(column)} = {text_literal(word)} AS int)"))
    return _distinct(made)
