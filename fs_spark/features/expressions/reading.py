"""From a text to sqlglot's tree of it, within limits, and errors that say where in the text they are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from sqlglot import TokenType, exp
from sqlglot.dialects.spark import Spark
from sqlglot.errors import ParseError, SqlglotError

from fs_spark.errors import ExpressionError

LONGEST: Final = 20_000
"""Characters of a text."""
DEEPEST: Final = 24
"""Brackets and CASE inside of each other: the parser takes 20 of Python's 1,000 calls for each."""
TALLEST: Final = 150
"""Operators above each other: a + b + c has 2."""
_SHORTER: Final = "Hint: give a part of it a name of its own"
_SHOWN: Final = 80
_LISTED: Final = 20


BINARY: Final = {
    "Add": "+",
    "Sub": "-",
    "Mul": "*",
    "Div": "/",
    "Mod": "%",
    "EQ": "=",
    "NEQ": "<>",
    "LT": "<",
    "LTE": "<=",
    "GT": ">",
    "GTE": ">=",
    "And": "AND",
    "Or": "OR",
    "DPipe": "concat",
    "Like": "LIKE",
}
PARTS: Final = {
    "Literal": ("this", "is_string"),
    "Boolean": ("this",),
    "Null": (),
    "Column": ("this", "table", "db", "catalog"),
    "Neg": ("this",),
    "Not": ("this",),
    "Is": ("this", "expression", "negate"),
    "Like": ("this", "expression", "negate"),
    "In": ("this", "expressions", "query", "negate"),
    "Between": ("this", "low", "high", "symmetric", "negate"),
    "Case": ("this", "ifs", "default"),
    "If": ("this", "true", "false"),
    "Cast": ("this", "to", "_type"),
    "TryCast": ("this", "to", "_type", "safe", "requires_string"),
    "Anonymous": ("this", "expressions"),
    "Div": ("this", "expression", "typed", "safe"),
    "DPipe": ("this", "expression", "safe"),
}
"""The parts of the parser's nodes that are read; others have `this` and `expression`."""
TYPES: Final = {
    "BOOLEAN": "boolean",
    "INT": "int",
    "BIGINT": "bigint",
    "DOUBLE": "double",
    "TEXT": "string",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMPTZ": "timestamp",
    "TIMESTAMPLTZ": "timestamp",
}
_SPARK: Any = Spark.Parser


class _Parser(_SPARK):  # type: ignore[misc]
    """Spark's grammar without its functions: each is a name and its arguments, whatever the parser's version knows."""

    # Versions up to 28 take % for an operator like +.
    TERM = {kind: node for kind, node in _SPARK.TERM.items() if kind != TokenType.MOD}
    FACTOR = {**_SPARK.FACTOR, TokenType.MOD: exp.Mod}
    FUNCTIONS: dict[str, Any] = {}
    FUNCTION_PARSERS = {name: parse for name, parse in _SPARK.FUNCTION_PARSERS.items() if name in ("CAST", "TRY_CAST")}


def nearest(wanted: str, known: Iterable[str], *, what: str) -> str:
    """The end of an error text: what there is, and the nearest name as a hint."""
    names = sorted(set(known))
    by_small = {name.lower(): name for name in names}
    near = difflib.get_close_matches(wanted.lower(), by_small, n=1, cutoff=0.6)
    listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    hint = f"\nHint: did you mean {by_small[near[0]]!r}?" if near else ""
    return f"\n{what}: {listed or 'nothing'}.{hint}"


class Source:
    """The text of an expression, as errors show it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts: dict[str, int] = {}

    def fault(self, at: int, wrong: str) -> NoReturn:
        """Raises what is wrong at an offset of the text. A hint stands on a line of its own."""
        first = max(0, min(at - _SHOWN // 2, len(self.text) - _SHOWN))
        shown = self.text[first : first + _SHOWN]
        shown = f"{'...' if first else ''}{shown}{'...' if first + _SHOWN < len(self.text) else ''}"
        said, hint, rest = wrong.partition("Hint: ")
        said, newline, listed = said.rstrip().partition("\n")
        raise ExpressionError(
            f"expression {shown!r}, character {at + 1}: {said.removesuffix('.')}.{newline}{listed}"
            + (f"\n{hint}{rest}" if hint else "")
        )

    def _offset(self, line: int, column: int) -> int:
        before = self.text.split("\n")[: line - 1]
        return min(sum(len(one) + 1 for one in before) + max(column, 0), max(len(self.text) - 1, 0))

    def place(self, node: Any) -> int:
        """Where a node stands in the text, as far as the parser says it: else where the first of its words stands."""
        said = node.meta.get("start")
        if said is None:
            parts = list(node.walk())
            starts = [one.meta["start"] for one in parts if one.meta.get("start") is not None]
            starts = starts or [self.starts[one.name] for one in parts if one.name in self.starts]
            said = min(starts, default=0)
        return int(said)

    def _tokens(self) -> list[Any]:
        try:
            return list(Spark().tokenize(self.text))
        except SqlglotError:
            end = max(len(self.text) - 1, 0)
            self.fault(end, "a quote or a comment is opened and not closed")

    def _check_tokens(self, tokens: list[Any]) -> None:
        depth = 0
        for token in tokens:
            kind = token.token_type.name
            if kind == "SEMICOLON":
                self.fault(
                    token.start, "';' ends an expression, and nothing may come behind it. Hint: one expression a text"
                )
            if kind in ("L_PAREN", "L_BRACKET", "CASE", "L_BRACE"):
                depth += 1
            elif kind in ("R_PAREN", "R_BRACKET", "END", "R_BRACE"):
                depth -= 1
            if depth > DEEPEST:
                self.fault(
                    token.start,
                    f"more than {DEEPEST} brackets or CASE inside of each other. {_SHORTER}",
                )
            if kind == "SELECT":
                self.fault(
                    token.start, "a subquery reads other rows. Hint: name a further input of the view, and its columns"
                )

    def syntax_tree(self) -> Any:
        """sqlglot's tree of the whole text.

        Raises     ExpressionError when it is too long, too deep, empty, not SQL or more than one expression
        """
        text = self.text
        if len(text) > LONGEST:
            self.fault(
                LONGEST,
                f"the text has {len(text):,} characters, and {LONGEST:,} are allowed. {_SHORTER}",
            )
        for at, character in enumerate(text):
            if "\ud800" <= character <= "\udfff":
                self.fault(at, "this is half of a character")
        if "\\" in text:
            self.fault(
                text.index("\\"),
                r"'\' is not part of row expressions, since its meaning in a text depends on the session. "
                "Hint: a quote stands between the other quotes, and a character such as a tab as itself",
            )
        tokens = self._tokens()
        if not tokens:
            self.fault(0, "the text is empty")
        self._check_tokens(tokens)
        for token in tokens:
            self.starts.setdefault(token.text, token.start)
        try:
            trees = _Parser(dialect="spark").parse_into(exp.Condition, tokens, text)
        except ParseError as fault:
            found = fault.errors[0] if fault.errors else {}
            word = str(found.get("highlight") or "")
            at = self._offset(int(found.get("line") or 1), int(found.get("col") or 1) - len(word))
            self.fault(at, _said(str(found.get("description") or ""), word))
        except RecursionError:
            self.fault(0, f"too many operators inside of each other. {_SHORTER}")
        tree = trees[0] if len(trees) == 1 else None
        if tree is None:
            self.fault(0, "this is not an expression")
        if _height(tree) > TALLEST:
            self.fault(0, f"more than {TALLEST} operators above each other. {_SHORTER}")
        return tree


def _said(description: str, word: str) -> str:
    """A fault of the grammar in our words: the parser's name its classes."""
    if "Required keyword" in description:
        return f"an operand is missing beside {word!r}"
    if "Unexpected token" in description:
        return f"{word!r} is not expected here. Hint: an operator or a comma may be missing before it"
    if description.startswith("Expecting )"):
        return f"a parenthesis is opened and not closed, up to {word!r}"
    if "Expected TYPE" in description:
        return f"{word!r} is not a type"
    return f"this is not an expression, at {word!r}: {description or 'it cannot be read'}"


def _height(tree: Any) -> int:
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [child for node in level for child in node.iter_expressions()]
    return deepest
