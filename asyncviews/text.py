"""Text of clients in log records."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` on one line, safe for a terminal: what is not printable, and each backslash, is
    escaped as in a Python string.

    Otherwise a path with ``%0d%0a`` in it writes lines of its own into a log.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_printable, text))


def quotable(text: str) -> str:
    """Return `text` as `printable()` does, for a place between double quotes."""
    return printable(text).replace('"', r"\"")


def _printable(char: str) -> str:
    if char.isprintable() and char != "\\":
        return char
    return char.encode("unicode_escape").decode("ascii")
