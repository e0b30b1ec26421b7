"""Bytes of a text field -> text: UTF-8 where they are valid, else cp1252, else Latin-1, which every byte has."""

from __future__ import annotations

from typing import Final

_STRICT: Final = ("utf-8", "cp1252")


def decode_text(raw: bytes, encoding: str | None = None) -> str:
    """The text without trailing blanks and NULs. `encoding` is the tester's own and goes before the usual ones."""
    raw = raw.rstrip(b" \0")
    if raw.isascii() and encoding is None:
        return raw.decode("ascii")
    for name in (encoding, *_STRICT) if encoding else _STRICT:
        try:
            return raw.decode(name).rstrip(" \0")
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")
